"""The parts of the report, each from the facts to HTML; a part without data says why in a sentence."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from pipelines.night_report.alarms import Alarm
from pipelines.night_report.facts import NightFacts, Row, Rows
from pipelines.night_report.html import Raw, code, empty, figure, paragraph, share, side_by_side, signed, table
from pipelines.night_report.log import changes_of
from pipelines.night_report.sankey import Link, sankey
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
    log_axis,
    nice_axis,
    plot,
    share_axis,
)

FLOW_COLUMNS = ("problems", "answered by", "grade", "filter", "training sets")
FLOW_ORDER = (
    "problems", "samples", "search", "right", "wrong", "not_graded", "kept", "tree_paths", "refinements",
    "replay", "rl_groups",
    "sft", "preference", "stepwise",
)  # fmt: skip
FLOW_COLOURS = {
    "right": BLUE, "wrong": ORANGE, "not_graded": GREY, "kept": GREEN, "tree_paths": PURPLE, "refinements": "#8a7a3c",
    "replay": "#8a7a3c",
    "problems": "#4a525c", "samples": "#4a525c", "search": "#4a525c", "rl_groups": GREEN, "sft": GREEN,
    "preference": GREEN, "stepwise": GREEN,
}  # fmt: skip
BASELINES, ORACLES = ("greedy", "majority", "pass_at"), ("oracle",)
STATES = ("unsolved", "mixed", "solved")
SET_NAMES = ("sft", "preference", "stepwise", "prompts", "rl_groups")


@dataclass(frozen=True)
class Material:
    """What the sections are made of.

    Attributes:
        facts: what the lake says.
        alarms: what has changed too much.
        manifest, before: of the night's dataset version and of the one before it; None where there is none.
        links: where trees can be looked at: tree id -> address of its page.
    """

    facts: NightFacts
    alarms: Sequence[Alarm]
    manifest: Mapping[str, object] | None
    before: Mapping[str, object] | None
    links: Mapping[str, str]


@dataclass(frozen=True)
class Section:
    """A part of the page: `key` is its anchor."""

    key: str
    title: str
    body: str


def all_sections(material: Material) -> list[Section]:
    """Every section in the order of the page."""
    return [Section(key, title, write(material)) for key, title, write in SECTIONS]


# what came out -----------------------------------------------------------------------------------


def flow(material: Material) -> str:
    rows = material.facts.rows["night_flow"]
    if not rows:
        return empty("No rollout of this night is in the lake, so nothing flowed.")
    links = [
        Link(**{name: row[name] for name in ("place", "source", "target", "num_rows", "num_tokens")}) for row in rows
    ]
    (counts,) = material.facts.rows["night_problems"]
    lead = (
        f"{counts['num_problems']:,} problems: {counts['num_search_problems']:,} searched, "
        f"{counts['num_sample_problems']:,} sampled. Widths are rows; a row may enter several sets. Filters judge "
        "groups of samples, so paths of trees pass beside them."
    )
    picture = sankey(links, FLOW_COLUMNS, FLOW_COLOURS, order=FLOW_ORDER)
    return paragraph(lead) + figure(picture, "Rows and completion tokens from problems to training sets.")


def filters(material: Material) -> str:
    steps = material.facts.rows["filter_steps"]
    if not steps:
        return empty("No filter has judged this night's rollouts.")
    night = material.facts.night
    reasons = [row for row in material.facts.rows["filter_yields"] if row["night"] == night]
    by_method: dict[str, str] = {}
    for row in reasons:
        if row["reason"] != "kept":
            words = f"{row['reason']} {row['num_rollouts']:,}"
            by_method[row["method"]] = ", ".join(filter(None, [by_method.get(row["method"]), words]))
    out = table(
        ["filter", "judged", "removed", "share removed", "alone", "reasons"],
        [
            [code(row["method"]), row["num_in"], row["num_removed"], share(row["share_removed"]), row["num_alone"],
             Raw(escape(by_method.get(row["method"], "")).replace(", ", "<br>"))]
            for row in steps
        ],
    )  # fmt: skip
    overlaps = material.facts.rows["filter_overlaps"]
    if not overlaps:
        return out + empty("Only one filter judged the rollouts, so there is no overlap to show.")
    rows = [
        [code(row["filter"]), code(row["other"]), row["num_removed"], row["num_other"], row["num_both"],
         share(row["overlap"])]
        for row in overlaps
    ]  # fmt: skip
    heads = ["filter", "other", "removed by first", "by other", "by both", "overlap (both / either)"]
    return out + "<h3>Overlaps</h3>" + table(heads, rows)


def changes(material: Material) -> str:
    rows = material.facts.rows["set_changes"]
    if not rows:
        return empty("The night has no training sets.")
    parts = []
    if material.manifest is not None:
        parts.append(f"<p>Version {code(material.manifest['version']).html}</p>")
    body = [
        [code(row["set_name"]), row["num_rows"], row["num_before"], row["num_added"], row["num_removed"]]
        for row in rows
    ]
    parts.append(table(["set", "rows", "rows the night before", "new", "gone"], body))
    if material.facts.previous is None:
        parts.append(empty("This is the first night of the lake, so there is no version to compare with."))
    return "".join(parts) + "<h3>Contamination certificate</h3>" + _certificate(material.manifest)


def _certificate(manifest: Mapping[str, object] | None) -> str:
    if manifest is None:
        return empty("No version was published on this night.")
    found = manifest.get("contamination")
    if not isinstance(found, Mapping):
        return empty("The manifest of this version carries no contamination certificate: nothing is certified.")
    rows = [[code(name), code(value if isinstance(value, str) else json.dumps(value))] for name, value in found.items()]
    return table(["field", "value"], rows)


def pairs(material: Material) -> str:
    lengths = material.facts.rows["pair_lengths"]
    if not lengths:
        return empty("No preference pair was mined on this night.")
    body = [
        [row["kind"], row["num_pairs"], f"{row['chosen_chars']:.0f}", f"{row['rejected_chars']:.0f}",
         share(row["share_longer"]), *(f"{row[name]:.2f}" for name in ("margin_p10", "margin_p50", "margin_p90"))]
        for row in lengths
    ]  # fmt: skip
    heads = ["kind", "pairs", "chosen, characters", "rejected", "chosen longer", "margin 10 %", "50 %", "90 %"]
    out = table(heads, body)
    margins = [row for row in material.facts.rows["night_pair_margins"] if row["margin_from"] is not None]
    pictures = []
    for colour, kind in zip((BLUE, PURPLE, GREEN, ORANGE), [row["kind"] for row in lengths], strict=False):
        of_kind = [row for row in margins if row["kind"] == kind]
        if of_kind:
            points = [
                Point(row["margin_from"] + 0.05, row["num_pairs"], note=f"{row['num_pairs']:,} pairs")
                for row in of_kind
            ]
            low, high = min(row["margin_from"] for row in of_kind), max(row["margin_from"] for row in of_kind) + 0.1
            step = max(1, round((high - low) * 10 / 5)) / 10
            ticks = [
                (low + part * step, f"{low + part * step:.1f}") for part in range(int((high - low) / step + 1e-9) + 1)
            ]
            frame = Frame(Axis(low, high, ticks, "margin"), nice_axis([point.y for point in points], "pairs"), 360, 210)
            pictures.append(
                figure(plot(frame, [Series(kind, points, colour, bar_width=0.09)], kind), f"Margins: {kind}")
            )
    return out + side_by_side(*pictures)


# policy -----------------------------------------------------------------------------------------


def accuracy(material: Material) -> str:
    rows = material.facts.rows["strategy_accuracy"]
    if not rows:
        return empty(
            "There is no policy report of this night: there were no evaluation problems, or it did not finish."
        )
    points: dict[str, list[Point]] = {"baseline": [], "with critic": [], "own scores": [], "oracle": []}
    for row in rows:
        label = strategy_words(row["strategy"])
        note = f"{label}: {share(row['accuracy'])}, {row['num_tokens']:,.0f} tokens per problem"
        point = Point(max(row["num_tokens"], 1.0), row["accuracy"], row["low"], row["high"], label, note)
        points[_family(row["strategy"])].append(point)
    colours = {"baseline": GREY, "with critic": BLUE, "own scores": ORANGE, "oracle": PURPLE}
    series = [Series(name, found, colours[name], is_line=False) for name, found in points.items() if found]
    tokens = [max(row["num_tokens"], 1.0) for row in rows]
    frame = Frame(
        log_axis(tokens, "all tokens per problem: read, written, and read by the critic"),
        share_axis("right, %"), 900, 360, right=190,
    )  # fmt: skip
    caption = f"{rows[0]['num_problems']:,} frozen evaluation problems; bars are 95 % intervals."
    picture = figure(plot(frame, series, "accuracy against tokens"), caption, legend(series))
    body = [
        [strategy_words(row["strategy"]), share(row["accuracy"]), f"{share(row['low'])} to {share(row['high'])}",
         f"{row['num_tokens']:,.0f}"]
        for row in rows
    ]  # fmt: skip
    heads = ["strategy", "right", "95 %", "tokens per problem"]
    return picture + f"<details><summary>as a table</summary>{table(heads, body)}</details>"


def _family(strategy: str) -> str:
    if strategy.startswith(ORACLES):
        return "oracle"
    if strategy.startswith(BASELINES):
        return "baseline"
    return "with critic" if "critic" in strategy else "own scores"


def strategy_words(strategy: str) -> str:
    """best_of_8_critic -> best of 8, critic."""
    for end in ("_mean_logprob", "_logprob", "_critic", "_certainty", "_self_prm"):
        if strategy.endswith(end):
            return f"{strategy.removesuffix(end).replace('_', ' ')}, {end[1:].replace('_', ' ')}"
    return strategy.replace("_", " ").replace("pass at ", "pass@")


def pass_at_k(material: Material) -> str:
    rows = [row for row in material.facts.rows["pass_at_k"] if row["night"] <= material.facts.night]
    tonight = [row for row in rows if row["night"] == material.facts.night]
    if not tonight:
        return empty("No frozen evaluation problem was sampled on this night.")
    curves = [("tonight", tonight, BLUE, False)]
    shipped = _shipped(rows, tonight)
    if shipped:
        curves.append((f"shipped policy ({shipped[0]['night']})", shipped, GREY, True))
    series = [
        Series(name, [Point(row["k"], row["pass"], note=f"pass@{row['k']} {share(row['pass'])}") for row in found],
               colour, is_dashed=dashed)
        for name, found, colour, dashed in curves
    ]  # fmt: skip
    greedy = material.facts.numbers.get("greedy")
    lines = [] if greedy is None else [(1.0, greedy, float(max(row["k"] for row in tonight)), greedy)]
    ks = sorted({row["k"] for row in tonight})
    x = Axis(1, max(max(ks), 2), [(k, str(k)) for k in ks], "k samples at the temperature of rollouts", is_log=True)
    frame = Frame(x, share_axis("solved, %"), 460, 260, lines=lines)
    before = material.facts.metrics.get(shipped[0]["night"], {}) if shipped else {}
    body = [
        [f"pass@{row['k']}", share(row["pass"]), share(next((o["pass"] for o in shipped if o["k"] == row["k"]), None))]
        for row in tonight
    ]
    body.insert(0, ["greedy", share(greedy), share(before.get("greedy"))])
    who = (
        "The policy is still that of the first night of the lake, so there is nothing to compare it with."
        if not shipped else ""
    )  # fmt: skip
    caption = f"{tonight[0]['num_problems']:,} problems; the dashed level is greedy decoding tonight."
    return side_by_side(
        figure(plot(frame, series, "pass at k"), caption, legend(series)),
        table(["", "tonight", "shipped policy"], body) + (empty(who) if who else ""),
    )


def _shipped(rows: Rows, tonight: Rows) -> Rows:
    """Rows of the first night's policy, where tonight's is another one."""
    first = [row for row in rows if row["night"] == rows[0]["night"]]
    return [] if first[0]["policy_version"] == tonight[0]["policy_version"] else first


def transitions(material: Material) -> str:
    rows = material.facts.rows["pass_transitions"]
    if not rows:
        return empty("No problem of this night was sampled on an earlier night, so nothing can have changed.")
    out = []
    for kind in ("evaluation", "training"):
        found = {(row["before"], row["after"]): row["num_problems"] for row in rows if row["problems"] == kind}
        if not found:
            out.append(f"<div><h3>{kind} problems</h3>" + empty("None was sampled before.") + "</div>")
            continue
        body = [[f"before: {one}", *(found.get((one, other), 0) for other in STATES)] for one in STATES]
        better = sum(num for (one, other), num in found.items() if STATES.index(other) > STATES.index(one))
        worse = sum(num for (one, other), num in found.items() if STATES.index(other) < STATES.index(one))
        lead = paragraph(
            f"{better:,} better, {worse:,} worse (regressions), {sum(found.values()) - better - worse:,} as before."
        )
        heads = ["", *(f"now {state}" for state in STATES)]
        out.append(f"<div><h3>{kind} problems</h3>{lead}{table(heads, body)}</div>")
    note = "Unsolved: no sample right; solved: all right; each problem against the last night that sampled it."
    return paragraph(note) + side_by_side(*out)


def exploration(material: Material) -> str:
    rows = material.facts.rows["exploration"]
    if not rows:
        return empty("No group of independent samples was graded on this night.")
    size = rows[0]["samples_per_problem"]
    body = [[f"{row['num_solutions']} or more", share(row["share_of_problems"])] for row in rows]
    explore = (
        "<h3>Exploration</h3>"
        + paragraph(f"Problems with so many different right solutions among {size:.3g} samples.")
        + table(["different right solutions", "problems"], body)
    )
    if not material.facts.balance:
        reason = empty("The samples have no step scores, so selection by them cannot be judged.")
        return side_by_side(f"<div>{explore}</div>", f"<div><h3>Exploitation</h3>{reason}</div>")
    points = [
        Point(
            row["threshold"],
            row["query_effect"] or 0.0,
            note=f"{row['num_selected']:,} selected, {row['num_right']:,} right",
        )
        for row in material.facts.balance
    ]
    precise = [
        Point(row["threshold"], row["num_right"] / row["num_selected"])
        for row in material.facts.balance if row["num_selected"]
    ]  # fmt: skip
    series = [Series("query effect", points, BLUE), Series("right among selected", precise, GREEN)]
    ticks = [(part / 5, f"{part / 5:g}") for part in range(7)]
    frame = Frame(
        Axis(0.0, 1.2, ticks, "threshold on lowest step score / 5 + [right]"), share_axis("share, %"), 420, 240
    )
    best = max(material.facts.balance, key=lambda row: row["query_effect"] or 0.0)
    caption = (
        f"B-STaR's query effect (arXiv 2412.17256) is highest, {best['query_effect']:.3f}, at {best['threshold']:.1f}: "
        f"{best['num_selected']:,} samples selected."
    )
    return side_by_side(
        f"<div>{explore}</div>",
        "<div><h3>Exploitation</h3>" + figure(plot(frame, series, "query effect"), caption, legend(series)) + "</div>",
    )


# critic and judges ------------------------------------------------------------------------------


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
    names = {"step_auroc": ("step AUROC", BLUE), "rollout_auroc": ("rollout AUROC", GREEN),
             "calibration_error": ("calibration error", ORANGE), "drift": ("drift (PSI)", PURPLE)}  # fmt: skip
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
        "On the frozen evaluation problems; drift compares the scores of the night's samples with the current critic's."
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
    rows = material.facts.rows["judge_agreement"]
    if not rows:
        return empty("No two agents criticised the same rollout on this night, so agreement is not measured.")
    body = [
        [row["agent"], row["other_agent"], row["num_rollouts"], share(row["verdict_agreement"]),
         None if row["kappa"] is None else f"{row['kappa']:.2f}", row["num_steps"], share(row["step_agreement"])]
        for row in rows
    ]  # fmt: skip
    heads = ["agent", "other agent", "rollouts", "same verdict", "kappa", "steps", "same on a step"]
    flips = (
        "Position flips: not measured. The agents of a night judge one solution at a time and compare no two of them."
    )
    return table(heads, body) + empty(flips)


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
        "right": "flawless among right answers", "judge_error": "wrongly called by the critic",
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
        "others. The critic's word on all right answers is corrected by what it got wrong on these."
    )
    heads = ["share", "as the critic says", "corrected", "95 %"]
    return paragraph(note) + table(heads, body)


# cost and alarms --------------------------------------------------------------------------------


def ledger(material: Material) -> str:
    rows = material.facts.rows["token_ledger"]
    if not rows:
        return empty("No tokens were counted on this night.")
    body = [
        [row["purpose"], row["num_requests"], row["prompt_tokens"], row["completion_tokens"], row["critic_tokens"],
         row["row_tokens"], _beside(row), row["error_tokens"]]
        for row in rows
    ]  # fmt: skip
    heads = [
        "purpose",
        "requests",
        "prompt tokens",
        "generated",
        "read by critics",
        "in usable rows",
        "beside rows",
        "in failed rows",
    ]
    note = (
        "Beside rows: candidates and completions that value a step; they leave their values, not their text. Replayed "
        "answers count as if they were asked again; how many were replayed stands below."
    )
    out = paragraph(note) + table(heads, body)
    stages = material.facts.rows["stage_costs"]
    if not stages:
        return out + empty("Seconds per stage are not recorded: the night was run before this was done.")
    body = [
        [row["stage"], None if row["seconds"] is None else f"{row['seconds']:,.1f}", row["num_requests"],
         row["num_from_store"], row["num_request_errors"], row["completion_tokens"], _rate(row), row["engine"]]
        for row in stages
    ]  # fmt: skip
    heads = [
        "stage",
        "seconds",
        "requests",
        "repeated (from the store)",
        "failed",
        "generated by the engine",
        "tokens/s",
        "engine",
    ]
    return out + "<h3>Stages</h3>" + table(heads, body)


def _beside(row: Row) -> int | None:
    if row["completion_tokens"] is None or row["row_tokens"] is None:
        return None
    return max(row["completion_tokens"] - row["row_tokens"] - row["error_tokens"], 0)


def _rate(row: Row) -> str | None:
    if not row["completion_tokens"] or not row["seconds"]:
        return None
    return f"{row['completion_tokens'] / row['seconds']:,.0f}"


def history(material: Material) -> str:
    facts = material.facts
    names = sorted(facts.numbers)
    before = facts.metrics.get(facts.previous, {}) if facts.previous else {}
    body = [
        [code(name), f"{facts.numbers[name]:.4g}", f"{before[name]:.4g}" if name in before else None,
         signed(facts.numbers[name] - before[name]) if name in before else None,
         Raw(sparkline([value for _, value in facts.over_nights(name)]))]
        for name in names
    ]  # fmt: skip
    heads = ["number", "tonight", "night before", "change", "over nights"]
    return table(heads, body) or empty("No number of this night is known.")


def sparkline(values: Sequence[float], width: int = 110, height: int = 20) -> str:
    """A line over nights without axes; nothing for a single night."""
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    spread = (high - low) or 1.0
    places = [
        (3 + index * (width - 6) / (len(values) - 1), height - 3 - (value - low) / spread * (height - 6))
        for index, value in enumerate(values)
    ]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    x, y = places[-1]
    return (
        f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" aria-hidden="true">'
        f'<polyline points="{points}" fill="none" stroke="{BLUE}" stroke-width="1.4"/>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.4" fill="{BLUE}"/></svg>'
    )


def what_changed(material: Material) -> str:
    log = material.facts.log
    if not log or log[-1]["night"] != material.facts.night:
        return empty("What made this night was not recorded.")
    found = changes_of(log[-1], log[-2] if len(log) > 1 else None)
    row = log[-1]
    made_by = [
        ["policy", code(row["policy_id"]), code((row["policy_version"] or "")[:12])],
        ["critic", code(row["critic_id"]), ""],
        ["search guided by the critic of", row["guide_night"] or "no critic", ""],
        ["engine", row["engine"] or "not recorded", ""],
        ["code", code((row["code_digest"] or "")[:12]), ""],
        ["dataset version", code(row["dataset_version"]), ""],
    ]
    out = table(["made by", "", "digest"], made_by)
    if len(log) < 2:
        return out + empty("This is the first night that is recorded, so nothing has changed.")
    if not found:
        return out + empty(
            f"Nothing has changed since {log[-2]['night']}: configuration, code, model and critic are the same."
        )
    rows = [[one.what, code(one.before), code(one.after)] for one in found]
    return out + f"<h3>Since {log[-2]['night']}</h3>" + table(["changed", "before", "now"], rows)


SectionFn = Callable[[Material], str]
SECTIONS: tuple[tuple[str, str, SectionFn], ...] = (
    ("flow", "From problems to datasets", flow),
    ("filters", "Filters", filters),
    ("accuracy", "Accuracy against tokens", accuracy),
    ("pass", "Policy: pass@k and greedy", pass_at_k),
    ("transitions", "What was learned, what was lost", transitions),
    ("critic", "Critic: calibration and drift", critic),
    ("depth", "First errors and values by depth", depth),
    ("judges", "Agreement of judges", judges),
    ("disagreements", "Where Monte Carlo, judges and critic disagree", disagreements),
    ("audit", "Audited sample", audit),
    ("pairs", "Preference pairs", pairs),
    ("exploration", "Exploration and exploitation", exploration),
    ("ledger", "Cost ledger", ledger),
    ("changes", "Dataset version", changes),
    ("log", "What made this night", what_changed),
    ("numbers", "All numbers", history),
)
