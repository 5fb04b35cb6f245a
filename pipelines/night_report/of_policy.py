"""Sections of the policy: accuracy against tokens, pass@k, transitions, exploration and exploitation."""

from pipelines.night_report.facts import Rows
from pipelines.night_report.html import empty, figure, paragraph, share, side_by_side, table
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
    log_axis,
    plot,
    share_axis,
)

BASELINES, ORACLES = ("greedy", "majority", "pass_at"), ("oracle",)
STATES = ("unsolved", "mixed", "solved")


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
    picture = figure(plot(frame, series, "accuracy against tokens"), caption, legend(series), is_large=True)
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
    level = "the dashed level is greedy decoding tonight" if lines else "greedy decoding was not measured tonight"
    caption = f"{tonight[0]['num_problems']:,} problems; {level}."
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
    covered = [
        Point(row["threshold"], row["num_selected_problems"] / row["num_problems"],
              note=f"{row['num_selected_problems']:,} of {row['num_problems']:,} problems")
        for row in material.facts.balance
    ]  # fmt: skip
    series = [Series("query effect", points, BLUE), Series("problems with a selected sample", covered, GREEN)]
    ticks = [(part / 5, f"{part / 5:g}") for part in range(7)]
    frame = Frame(
        Axis(0.0, 1.2, ticks, "threshold on lowest step score / 5 + [right]"), share_axis("share, %"), 420, 240
    )
    best = max(material.facts.balance, key=lambda row: row["query_effect"] or 0.0)
    caption = (
        f"B-STaR's query effect (arXiv 2412.17256) is highest, {best['query_effect']:.3f}, at {best['threshold']:.1f}: "
        f"{best['num_selected']:,} samples selected. It is a mean over the problems that have a selected sample; from "
        "0.2 on only right samples are selected."
    )
    return side_by_side(
        f"<div>{explore}</div>",
        "<div><h3>Exploitation</h3>" + figure(plot(frame, series, "query effect"), caption, legend(series)) + "</div>",
    )
