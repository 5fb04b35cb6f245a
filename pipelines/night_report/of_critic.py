"""Sections of the critic and the judges: calibration, depth, agreement, disagreements, the audited sample."""

from collections.abc import Sequence
from html import escape

from pipelines.budget import wilson_interval
from pipelines.night_report.facts import NightFacts
from pipelines.night_report.html import Raw, code, empty, figure, paragraph, share, side_by_side, table
from pipelines.night_report.material import Material
from pipelines.night_report.svg import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    Axis,
    Frame,
    Point,
    Series,
    legend,
    plot,
    share_axis,
)


def critic(material: Material) -> str:
    return side_by_side(_reliability(material.facts), _drift(material.facts))


def _reliability(facts: NightFacts) -> str:
    rows = facts.rows["step_reliability"]
    if not rows:
        return empty(
            "No step of this night has both a critic's score and a gold label, so calibration is not measured."
        )
    points = [Point(row["mean_score"], row["share_right"], note=f"{row['num_steps']:,} steps") for row in rows]
    most = max(row["num_steps"] for row in rows)
    weights = [Point((row["bin"] + 0.5) / 10, 0.18 * row["num_steps"] / most) for row in rows]
    series = [
        Series("steps in the bin", weights, "#cfd5dc", bar_width=0.08),
        Series("right among steps of this score", points, BLUE),
    ]
    frame = Frame(share_axis("step score, %"), share_axis("right, %"), 420, 270, lines=[(0.0, 0.0, 1.0, 1.0)])
    total = sum(row["num_steps"] for row in rows)
    error = sum(row["num_steps"] * abs(row["mean_score"] - row["share_right"]) for row in rows) / total
    caption = f"Reliability on {total:,} steps of tonight's samples: mean distance from the diagonal {error:.3f}."
    return figure(plot(frame, series, "reliability of step scores"), caption, legend(series))


def _drift(facts: NightFacts) -> str:
    rows = [row for row in facts.rows["critic_drift"] if row["night"] <= facts.night]
    if not rows:
        return empty("No critic was measured up to this night.")
    names = {"auroc_frozen": ("AUROC in problem, frozen", BLUE),
             "auroc_unguided": ("AUROC in problem, unguided trees", GREEN),
             "step_auroc": ("AUROC of all steps pooled", GREY), "calibration_error": ("calibration error", ORANGE),
             "drift": ("drift (PSI)", PURPLE)}  # fmt: skip
    series = [
        Series(words, found, colour)
        for name, (words, colour) in names.items()
        if (found := [
            Point(index, row[name], note=f"{row['night']}: {row[name]:.3f}")
            for index, row in enumerate(rows) if row[name] is not None
        ])
    ]  # fmt: skip
    top = max([1.0, *(point.y for one in series for point in one.points)])
    frame = Frame(nights_axis([row["night"] for row in rows]), share_axis("", 0.0, top), 420, 270)
    caption = (
        "AUROC in problem: chance that a right answer outscores a wrong one to the same problem, mean over problems, "
        "on samples of the frozen evaluation problems and on tonight's trees that no critic guided. Pooled: right "
        "against wrong steps by gold labels, of all frozen problems together, which rewards knowing easy problems. "
        "Calibration error on the same steps. Drift compares the scores of the night's samples with the current "
        "critic's."
    )
    return figure(plot(frame, series, "critic over nights"), caption, legend(series))


def nights_axis(nights: Sequence[str]) -> Axis:
    """Nights side by side, at most six of them named."""
    step = max(1, -(-len(nights) // 6))
    ticks = [(index, night[5:]) for index, night in enumerate(nights) if (len(nights) - 1 - index) % step == 0]
    return Axis(-0.3, len(nights) - 0.7, ticks, "night")


def depth(material: Material) -> str:
    errors, values = material.facts.rows["first_error_depth"], material.facts.rows["value_depth"]
    if not errors and not values:
        return empty("The night has neither first errors nor values of steps.")
    pictures = []
    gold = [row for row in errors if row["source"] == "gold" and row["num_reached"]]
    if gold:
        points = [
            Point(row["step"] + 1, row["num_first_errors"] / row["num_reached"],
                  note=f"{row['num_first_errors']:,} of {row['num_reached']:,}")
            for row in gold
        ]  # fmt: skip
        x = Axis(0.4, max(point.x for point in points) + 0.6, [(point.x, f"{point.x:g}") for point in points], "step")
        top = max(0.2, max(point.y for point in points) * 1.15)
        frame = Frame(x, share_axis("first wrong here, %", 0.0, top), 420, 250)
        series = [Series("by gold labels", points, ORANGE, bar_width=0.6)]
        caption = "First wrong step among rollouts that were right so far, by the generator's rules."
        pictures.append(figure(plot(frame, series, "first errors by depth"), caption))
    else:
        trees = [row for row in errors if row["source"] == "trees"]
        rows = [[row["step"] + 1, row["num_first_errors"]] for row in trees]
        why = empty("These problems have no gold labels; first errors are those that trees estimate.")
        pictures.append(why + table(["step", "first errors by trees"], rows))
    names = {"tree_value": ("tree value (mean)", PURPLE), "critic_right": ("critic, right steps", BLUE),
             "critic_first_wrong": ("critic, first wrong steps", ORANGE)}  # fmt: skip
    series = [
        Series(words, found, colour)
        for key, (words, colour) in names.items()
        if (found := [
            Point(row["depth"], row["value"], note=f"{row['num']:,} steps") for row in values if row["series"] == key
        ])
    ]  # fmt: skip
    if series:
        last = max(point.x for one in series for point in one.points)
        every = max(1, last // 10)
        x = Axis(0.6, last + 0.4, [(place, str(place)) for place in range(1, last + 1, every)], "depth")
        picture = plot(Frame(x, share_axis("value, %"), 420, 250), series, "value by depth")
        pictures.append(figure(picture, "What trees and critic say of steps at each depth.", legend(series)))
    return side_by_side(*pictures)


def judges(material: Material) -> str:
    return _agreement(material) + _flips(material)


def _agreement(material: Material) -> str:
    rows = material.facts.rows["judge_agreement"]
    if not rows:
        return empty("No two agents criticised the same rollout on this night, so agreement is not measured.")
    body = [
        [row["agent"], row["other_agent"], row["num_rollouts"], share(row["verdict_agreement"]),
         None if row["kappa"] is None else f"{row['kappa']:.2f}", row["num_steps"], share(row["step_agreement"])]
        for row in rows
    ]  # fmt: skip
    heads = ["agent", "other agent", "rollouts", "same verdict", "kappa", "steps", "same on a step"]
    return table(heads, body)


def _flips(material: Material) -> str:
    rows = material.facts.flips
    if not rows:
        return empty("Position flips: no pair of this night was judged in both orders (pair_judgments.num_pairs).")
    body = [
        [row["judge"], row["num_pairs"], _rate(row["num_consistent"], row["num_pairs"]), row["num_first_twice"],
         row["num_second_twice"], row["num_half_ties"], row["num_unreadable"], share(row["chosen_share"])]
        for row in rows
    ]  # fmt: skip
    heads = [
        "judge of pairs", "pairs", "same in both orders", "first one twice", "second one twice", "tie in one order",
        "not read", "prefers the chosen side",
    ]  # fmt: skip
    note = (
        "The policy is shown tonight's pairs in both orders. A judge that names the same place twice follows the "
        "position; the last column leaves ties out and counts both orders. In brackets: 95 % (Wilson)."
    )
    return table(heads, body) + paragraph(note)


def _rate(count: int, total: int) -> str:
    if not total:
        return "not known"
    low, high = wilson_interval(count, total)
    return f"{share(count / total)} ({share(low)} to {share(high)})"


def disagreements(material: Material) -> str:
    rows = material.facts.rows["disagreements"]
    if not rows:
        return empty("No step of this night has two opinions (critic, judges, Monte Carlo) to compare.")
    body = []
    for row in rows:
        tree = row["tree_id"]
        link = material.links.get(tree) if tree else None
        shown = f'<a href="{escape(link)}">tree {escape(tree[:8])}</a>' if link else code(tree and tree[:8]).html
        counted = None if row["monte_carlo"] is None else f"{row['monte_carlo']:.2f} of {row['num_completions']}"
        prompt, step = escape(row["prompt"] or ""), escape(row["step_text"] or "")
        words = f'<span class="prompt">{prompt}</span><br><code>{step}</code>'
        outcome = {1.0: "right", 0.0: "wrong"}.get(row["outcome_reward"], "not graded")
        body.append([
            Raw(words), row["step"] + 1, f"{row['critic']:.2f}",
            None if row["judge"] is None else f"{row['judge']:.2f}", counted, outcome, Raw(shown),
            Raw(f"<code>reasonmill datasets lineage {escape(row['rollout_id'])}</code>"),
        ])  # fmt: skip
    heads = ["problem and step", "step", "critic", "judges", "Monte Carlo", "answer", "tree", "where it went"]
    note = (
        "1 means right. Judges: share of the agents; Monte Carlo: share of right completions below the same steps in "
        "tonight's trees. A right answer after a wrong step, and the other way round, is what they see differently."
    )
    return paragraph(note) + table(heads, body)


def audit(material: Material) -> str:
    rows = material.facts.audit
    if not rows:
        return empty(
            "No audited sample: there is no right answer, or drawn ones wait for people. `reasonmill datasets review "
            "export --from audited_sample` gives those to label, and `datasets review import` brings the labels back."
        )
    words = {
        "right": "flawless among right answers",
        "judge_error": "wrongly accepted or rejected by the critic (by its probabilities: its mean doubt)",
        "right_among_accepted": "flawless among those the critic accepts (the filter's yield)",
        "accepted_among_right": "accepted among the flawless",
    }  # fmt: skip
    body = [
        [words[row["measure"]], share(row["naive"]), share(row["doubly_robust"]),
         f"{share(row['low'])} to {share(row['high'])}"]
        for row in rows
    ]  # fmt: skip
    note = (
        f"{rows[0]['num_audited']:,} of {rows[0]['num_rows']:,} right answers were drawn with known probabilities; "
        f"people labelled {rows[0]['num_by_people']:,} of them, and the generator's rules, in the place of people, the "
        "others. The critic's word on all right answers is corrected by what it got wrong on these. Its word "
        "is a probability, the lowest score of the steps: the second column is its mean, or of wrong calls the mean of "
        "what it leaves to the other side. It accepts from 0.5 on."
    )
    heads = ["share", "by the critic's probabilities", "corrected", "95 %"]
    return paragraph(note) + table(heads, body)
