"""The report of an experiment: report.md, report.json and report.html (one file, curves inside) beside its cells."""

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from reasonmill.proof.chart import Line, chart
from reasonmill.proof.plan import (
    BASE,
    BY_DIFFICULTY,
    FILTERED,
    FOUR_PER_PROBLEM,
    LOOP_ARMS,
    RANDOM,
    REJECTION_SAMPLING,
    Cell,
    Plan,
)
from reasonmill.proof.statistics import MEASURES, Share, interval, resamples, shares

ALL = "all"
TITLES = {
    "pass1": "pass@1", "greedy": "greedy", "pass_n": "pass@{n}", "flawed_steps": "flawed steps",
    "flawed_of_right": "flawed of the right answers",
}  # fmt: skip
ARM_TITLES = {
    BASE: "untrained", FILTERED: "filtered", REJECTION_SAMPLING: "rejection sampling", RANDOM: "random, same size",
    FOUR_PER_PROBLEM: "four per problem", BY_DIFFICULTY: "by difficulty",
}  # fmt: skip
AIMS = (  # what was hoped for, before it was measured: gain of an arm of the loop on its start, in points
    ("pass1", "arithmetic", 15.0), ("pass1", "countdown", 8.0), ("greedy", ALL, 0.0), ("pass_n", ALL, -2.0),
)  # fmt: skip
RIVAL_AIM = ("pass1", "dial", 3.0)  # of `filtered` over rejection sampling, in points
CELLS_NOTE = (
    "Flawed rows: share of the trained rows with a step that the generator's rules call wrong. Critique role: AUROC of "
    "the policy's own in-place verdicts on the steps of its own samples."
)


@dataclass(frozen=True)
class Row:
    """A measure of one arm after one night, over the seeds that finished it."""

    arm: str
    night: int
    family: str
    measure: str
    num_seeds: int
    share: Share | None


@dataclass(frozen=True)
class Aim:
    """A difference that was hoped for, and what it is."""

    text: str
    wanted: float
    found: Share | None  # None: not measured yet


def write_report(out: Path, plan: Plan, results: Mapping[Cell, Mapping]) -> dict[str, Path]:
    """Writes the three files; their paths by name."""
    rows, aims = report_rows(plan, results), found_aims(plan, results)
    texts = {
        "report.md": as_markdown(plan, results, rows, aims),
        "report.json": json.dumps({"plan": asdict(plan), "rows": [asdict(row) for row in rows],
                                   "aims": [asdict(aim) for aim in aims], "cells": [_summary(c, r) for c, r in
                                   results.items()]}, indent=1) + "\n",
        "report.html": as_html(plan, results, rows, aims),
    }  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (out / name).write_text(text, encoding="utf-8")
    return {name: out / name for name in texts}


# numbers ------------------------------------------------------------------------------------------


def report_rows(plan: Plan, results: Mapping[Cell, Mapping]) -> list[Row]:
    """Every measure of every arm, night and family that some seed has finished, night 0 first."""
    if not results:
        return []
    draws = _draws(plan, results)
    rows = []
    for arm, night in sorted({(cell.arm, cell.night) for cell in results}, key=lambda key: (_place(key[0]), key[1])):
        by_seed = _of(results, arm, night)
        for family, members in _families(results).items():
            for measure in MEASURES:
                share = interval(shares(by_seed, measure, members, draws))
                rows.append(Row(arm, night, family, measure, len(by_seed), share))
    return rows


def found_aims(plan: Plan, results: Mapping[Cell, Mapping]) -> list[Aim]:
    """The aims beside what was found after the last night, paired over problems and over the seeds that both have."""
    aims = []
    for arm in [arm for arm in LOOP_ARMS if arm in plan.arms]:
        last = (arm, plan.num_nights)
        for measure, family, wanted in AIMS:
            text = f"{_title(measure, plan)}, {family}: {ARM_TITLES[arm]} after night {last[1]} against untrained"
            aims.append(Aim(text, wanted, difference(plan, results, last, (BASE, 0), measure, family)))
        if arm != FILTERED:  # tried because of Countdown, where no filter helps
            for rival in (FILTERED, REJECTION_SAMPLING):
                text = f"pass@1, countdown: {ARM_TITLES[arm]} against {ARM_TITLES[rival]}, night {last[1]}"
                aims.append(Aim(text, 0.0, difference(plan, results, last, (rival, last[1]), "pass1", "countdown")))
    measure, family, wanted = RIVAL_AIM
    for rival in (REJECTION_SAMPLING, RANDOM):
        for night in range(1, plan.num_nights + 1):
            text = f"{_title(measure, plan)}, {family}: filtered against {ARM_TITLES[rival]}, night {night}"
            found = difference(plan, results, (FILTERED, night), (rival, night), measure, family)
            aims.append(Aim(text, wanted if rival == REJECTION_SAMPLING else 0.0, found))
    return aims


def difference(
    plan: Plan,
    results: Mapping[Cell, Mapping],
    ours: tuple[str, int],
    theirs: tuple[str, int],
    measure: str,
    family: str,
) -> Share | None:
    """Share of `ours` (arm, night) minus that of `theirs`, over the seeds that finished both."""
    seeds = _seeds(results, *ours) & _seeds(results, *theirs)
    members = _families(results).get(family, frozenset()) if results else frozenset()
    if not seeds or not members:
        return None
    draws = _draws(plan, results)
    of = [shares(_of(results, *one, seeds), measure, members, draws) for one in (ours, theirs)]
    return interval(of[0] - of[1])


def _draws(plan: Plan, results: Mapping[Cell, Mapping]) -> np.ndarray:
    num_problems = len(next(iter(results.values()))["measurement"]["problem_ids"])
    return resamples(num_problems, plan.num_bootstrap)


def _families(results: Mapping[Cell, Mapping]) -> dict[str, frozenset[str]]:
    """Name -> the families that it stands for, `all` first."""
    names = sorted(set(next(iter(results.values()))["measurement"]["families"]))
    return {ALL: frozenset(names), **{name: frozenset([name]) for name in names}}


def _of(results: Mapping[Cell, Mapping], arm: str, night: int, seeds: set[int] | None = None) -> list[Mapping]:
    """Measurements of an arm's night by seed; all families are in each."""
    found = [cell for cell in results if (cell.arm, cell.night) == (arm, night)]
    return [results[cell]["measurement"] for cell in sorted(found) if seeds is None or cell.seed in seeds]


def _seeds(results: Mapping[Cell, Mapping], arm: str, night: int) -> set[int]:
    return {cell.seed for cell in results if (cell.arm, cell.night) == (arm, night)}


def _place(arm: str) -> int:
    return list(ARM_TITLES).index(arm)


def _title(measure: str, plan: Plan) -> str:
    return TITLES[measure].format(n=plan.num_evaluation_samples)


def _summary(cell: Cell, result: Mapping) -> dict[str, object]:
    """A cell without its numbers per problem."""
    judged = result["measurement"]["verdict_auroc"]
    return {**{key: value for key, value in result.items() if key != "measurement"}, "verdict_auroc": judged,
            "name": cell.name}  # fmt: skip


# text ---------------------------------------------------------------------------------------------


def as_markdown(plan: Plan, results: Mapping[Cell, Mapping], rows: Sequence[Row], aims: Sequence[Aim]) -> str:
    """What was compared, the aims, one table per family, and the cells."""
    lines = ["# Does the data improve the policy?", "", setting(plan, results), "", *_aim_lines(aims)]
    for family in dict.fromkeys(row.family for row in rows):
        lines += ["", f"## {family}", "", *_table(plan, [row for row in rows if row.family == family])]
    return "\n".join([*lines, "", "## What each cell trained on", "", *_cell_table(results), ""])


def setting(plan: Plan, results: Mapping[Cell, Mapping]) -> str:
    """One paragraph: how much was done of what was planned, and how to read the numbers."""
    num_planned = plan.num_seeds * (1 + len(plan.arms) * plan.num_nights)
    return (
        f"{len(results)} of {num_planned} cells finished: {plan.num_seeds} seed(s), {plan.num_nights} nights, arms "
        f"{', '.join(plan.arms)}. {plan.num_evaluation_problems} frozen evaluation problems of every family (`all` "
        f"counts the families alike, which the frozen set does not), {plan.num_evaluation_samples} samples each at "
        f"temperature 1. Per night {plan.num_sample_problems} problems with {plan.group_size} samples, "
        f"{plan.num_search_problems} with a tree, and {plan.num_training_tokens:,} completion tokens of training in "
        "every arm. Night 1's pool is shared; later pools are drawn by each arm's own policy. Intervals: 95 %, "
        "bootstrap over problems, pooled over seeds; they do not hold the spread of seeds."
    )


def _aim_lines(aims: Sequence[Aim]) -> list[str]:
    lines = ["| difference | found, points | 95 % | wanted |", "|---|---|---|---|"]
    for aim in aims:
        wanted = f"at least {aim.wanted:+.0f}"
        found = "not measured yet | " if aim.found is None else _points(aim.found)
        lines.append(f"| {aim.text} | {found} | {wanted} |")
    return lines


def _points(share: Share) -> str:
    return f"{100 * share.value:+.1f} | {100 * share.low:+.1f} to {100 * share.high:+.1f}"


def _table(plan: Plan, rows: Sequence[Row]) -> list[str]:
    by_key = {(row.arm, row.night, row.measure): row for row in rows}
    lines = [
        "| arm | night | seeds | " + " | ".join(_title(measure, plan) for measure in MEASURES) + " |",
        "|---|---|---|" + "---|" * len(MEASURES),
    ]
    for arm, night in dict.fromkeys((row.arm, row.night) for row in rows):
        of = [by_key[arm, night, measure] for measure in MEASURES]
        values = " | ".join(_percent(row.share) for row in of)
        lines.append(f"| {ARM_TITLES[arm]} | {night} | {of[0].num_seeds} | {values} |")
    return lines


def _percent(share: Share | None) -> str:
    return "" if share is None else f"{100 * share.value:.1f} ({100 * share.low:.1f}-{100 * share.high:.1f})"


def _cell_table(results: Mapping[Cell, Mapping]) -> list[str]:
    lines = [
        CELLS_NOTE, "",
        "| cell | version | rows | flawed rows | tokens | steps | critique role | seconds: train, measure, pool |",
        "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for cell, result in results.items():
        training = result.get("training", {})
        seconds = ", ".join(f"{value:.0f}" for value in result["seconds"].values())
        judged = result["measurement"]["verdict_auroc"]
        values = (
            cell.name, result.get("version", ""), result.get("num_rows", ""), _share(result.get("flawed_row_share")),
            training.get("num_tokens", ""), training.get("num_steps", ""), _share(judged), seconds,
        )  # fmt: skip
        lines.append("| " + " | ".join(str(value) for value in values) + " |")
    return lines


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


# page ---------------------------------------------------------------------------------------------

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1080px; padding: 0 1rem; color: #222; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; font-size: 13px; } td, th { padding: 3px 10px; border-bottom: 1px solid #ddd; }
th { text-align: left; } td { font-variant-numeric: tabular-nums; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(330px, 1fr)); gap: 12px; }
.wide { overflow-x: auto; }
"""


def as_html(plan: Plan, results: Mapping[Cell, Mapping], rows: Sequence[Row], aims: Sequence[Aim]) -> str:
    """The same as one page without outside files: curves over the nights, then the tables."""
    parts = [f"<h1>Does the data improve the policy?</h1><p>{html.escape(setting(plan, results))}</p>"]
    parts.append(_html_table(_aim_lines(aims)))
    for family in dict.fromkeys(row.family for row in rows):
        of = [row for row in rows if row.family == family]
        charts = "".join(chart(_title(measure, plan), _lines(of, measure)) for measure in MEASURES)
        table = _html_table(_table(plan, of))
        parts.append(f'<h2>{html.escape(family)}</h2><div class="charts">{charts}</div>{table}')
    parts.append(f"<h2>What each cell trained on</h2><p>{html.escape(_cell_table(results)[0])}</p>")
    parts.append(_html_table(_cell_table(results)[2:]))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Does the data improve the policy?</title>'
        f"<style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _lines(rows: Sequence[Row], measure: str) -> list[Line]:
    """One line per arm, each beginning with the untrained policy."""
    known = [row for row in rows if row.measure == measure and row.share is not None]
    start = [(row.night, row.share) for row in known if row.arm == BASE]
    arms = [arm for arm in dict.fromkeys(row.arm for row in known) if arm != BASE]
    return [
        Line(ARM_TITLES[arm], start + [(row.night, row.share) for row in known if row.arm == arm]) for arm in arms
    ] or [Line(ARM_TITLES[BASE], start)]


def _html_table(lines: Sequence[str]) -> str:
    """A table of Markdown lines: head, rule, rows."""
    cells = [[html.escape(cell.strip()) for cell in line.strip("|").split("|")] for line in lines]
    head = "".join(f"<th>{cell}</th>" for cell in cells[0])
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in cells[2:])
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'
