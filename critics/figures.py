"""Pictures of a critic, as PNG.

    reliability, roc, value_by_depth     of step scores: calibrated? do they rank? also as solutions grow long?
    best_of_n                            what selection by the critic is worth, between the baselines and the oracle
    overoptimisation                     what the critic thinks of what it selects, and what that is worth
    coverage                             accuracy where only the problems of the highest scores are answered
    score_against_gold                   share of right rollouts in bins of their lowest step score

The last four are drawn from the rows of `critic_report`, so those of any night can be drawn again. matplotlib is
imported when a figure is asked for, and draws without a screen.
"""

import base64
import io
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from critics.errors import CriticDataError
from critics.evaluation import CountedSteps
from critics.metrics import NUM_BINS, auroc, calibration_error, reliability_bins, roc_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RIGHT, WRONG, REFERENCE = "#1b6ca8", "#c8553d", "#9a9a9a"
LEGEND = {"fontsize": 8, "title_fontsize": 8, "framealpha": 0.8, "edgecolor": "none"}
MIN_STEPS_AT_DEPTH = 5  # fewer labelled steps make no point
SIZE_INCHES, DOTS_PER_INCH = (5.2, 4.4), 150
INLINE_DOTS_PER_INCH = 72
MAX_INLINE_BYTES = 48 * 1024  # of text, below the 64 KiB that an event may carry
BASELINE = "#6b8e5a"
ORACLE = "#8a6bb8"

Report = Mapping[str, Mapping[str, float | None]]
"""Slice -> metric -> value, of one critic and night."""
DrawFn = Callable[["Axes"], None]


def write_figures(folder: Path, steps: CountedSteps, title: str) -> list[Path]:
    """reliability.png, roc.png (unless a class is absent) and value_by_depth.png; returns what was written."""
    return _write_all(folder, _step_drawings(steps), title)


def write_report_figures(folder: Path, report: Report, steps: CountedSteps, title: str) -> list[Path]:
    """All figures of one critic's report, those of steps only where some have gold labels; returns what was written."""
    drawings = _step_drawings(steps) if steps.scores else {}
    return _write_all(folder, {**drawings, **_report_drawings(report)}, title)


def inline_figure(report: Report, title: str) -> str | None:
    """`best_of_n` as a Markdown image that carries its own bytes; None where it has no curve or is too large."""
    drawing = _report_drawings(report).get("best_of_n")
    if drawing is None:
        return None
    picture = io.BytesIO()
    _figure(drawing, title).savefig(picture, format="png", dpi=INLINE_DOTS_PER_INCH)
    text = f"![{title}](data:image/png;base64,{base64.b64encode(picture.getvalue()).decode()})"
    return text if len(text) <= MAX_INLINE_BYTES else None


def draw_best_of_n(axes: "Axes", report: Report) -> None:
    """Expected accuracy of the best of n by each way to choose; greedy decoding is a line."""
    found = report["all"]
    lines = {
        "oracle (pass@n)": ("pass_at_", "", ORACLE),
        "critic, lowest step": ("best_of_", "_min", RIGHT),
        "critic, product": ("best_of_", "_product", "#5aa0d0"),
        "majority": ("majority_of_", "", BASELINE),
        "own log-probability": ("best_of_", "_policy_logprob", WRONG),
    }
    for name, (before, after, colour) in lines.items():
        curve = _by_n(found, before, after)
        if curve:
            axes.plot(list(curve), list(curve.values()), color=colour, marker="o", markersize=3.5, label=name)
    if found.get("greedy") is not None:
        axes.axhline(found["greedy"], color=REFERENCE, linestyle="--", linewidth=1, label="greedy")
    _n_axis(axes, list(_by_n(found, "pass_at_", "")))
    axes.set(ylabel="accuracy on held-out problems", ylim=(0, 1.02))
    axes.legend(loc="lower right", **LEGEND)


def draw_overoptimisation(axes: "Axes", report: Report) -> None:
    """The critic's score of what it selects, and what that is worth, against n; the best n is marked."""
    found = report["all"]
    gold, thought = _by_n(found, "best_of_", "_min"), _by_n(found, "selected_score_", "_min")
    axes.plot(list(thought), list(thought.values()), color=WRONG, marker="o", markersize=3.5, label="critic's score")
    axes.plot(list(gold), list(gold.values()), color=RIGHT, marker="o", markersize=3.5, label="gold: share right")
    best = int(found["best_n_min"])
    axes.axvline(best, color=REFERENCE, linestyle="--", linewidth=1, label=f"best n: {best}")
    _n_axis(axes, list(gold))
    axes.set(ylabel="of the selected rollout", ylim=(0, 1.02))
    axes.legend(title=f"lost from there: {found['overoptimised_min']:.3f}", loc="lower right", **LEGEND)


def draw_coverage(axes: "Axes", report: Report) -> None:
    """Accuracy over the problems that are answered, from the surest on, by critic and by log-probability."""
    ways = {"critic, lowest step": ("_min", RIGHT), "own log-probability": ("_policy_logprob", WRONG)}
    for name, (after, colour) in ways.items():
        curve = _by_n(report["all"], "selective_accuracy_", after)
        if curve:
            axes.plot(
                [per_cent / 100 for per_cent in curve], list(curve.values()),
                color=colour, marker="o", markersize=3.5, label=name,
            )  # fmt: skip
    axes.set(xlabel="share of problems answered", ylabel="accuracy over these", xlim=(0, 1.02), ylim=(0, 1.02))
    axes.legend(title="best of all samples", loc="lower left", **LEGEND)


def draw_score_against_gold(axes: "Axes", report: Report) -> None:
    """Share of right rollouts in bins of equal mass of their lowest step score."""
    bins = [report[name] for name in sorted(report, key=_number) if name.startswith("score_bin=")]
    axes.plot([0, 1], [0, 1], color=REFERENCE, linestyle="--", linewidth=1, label="calibrated")
    points = [(one["mean_score_min"], one["share_right"]) for one in bins]
    axes.plot(
        *zip(*points, strict=True), color=RIGHT, marker="o", markersize=4, label=f"{len(bins)} bins of equal mass"
    )
    axes.set(xlabel="lowest step score of a rollout", ylabel="share of right rollouts", xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(loc="best", **LEGEND)


def draw_reliability(axes: "Axes", steps: CountedSteps) -> None:
    """Share of right steps against the mean score of each of 15 bins of equal mass; below: where the scores lie."""
    bins = reliability_bins(steps.scores, steps.is_right)
    axes.plot([0, 1], [0, 1], color=REFERENCE, linestyle="--", linewidth=1, label="calibrated")
    means = [one.mean_probability for one in bins]
    axes.plot(
        means,
        [one.mean_label for one in bins],
        color=RIGHT,
        marker="o",
        markersize=4,
        label=f"{len(bins)} bins of equal mass",
    )
    low, high = _share_interval(bins[0].num_items if bins else 1, [one.mean_label for one in bins])
    axes.fill_between(means, low, high, color=RIGHT, alpha=0.15, linewidth=0, label="95 % interval")
    counts, edges = np.histogram(steps.scores, bins=40, range=(0, 1))
    axes.bar(edges[:-1], 0.12 * counts / counts.max(), width=1 / 40, align="edge", color=REFERENCE, alpha=0.5)
    axes.text(0.99, 0.13, "where the scores lie", color="#6a6a6a", fontsize=7, ha="right", transform=axes.transAxes)
    axes.set(xlabel="score", ylabel="share of right steps", xlim=(0, 1), ylim=(0, 1.02))
    error = calibration_error(steps.scores, steps.is_right, NUM_BINS)
    axes.legend(title=f"ECE {error:.3f}", loc="best", **LEGEND)


def draw_roc(axes: "Axes", steps: CountedSteps) -> None:
    """Right steps accepted against wrong steps accepted, over all thresholds."""
    wrong, right = roc_curve(steps.scores, steps.is_right)
    axes.plot([0, 1], [0, 1], color=REFERENCE, linestyle="--", linewidth=1, label="chance")
    axes.plot(wrong, right, color=RIGHT, linewidth=1.6, label=f"AUROC {auroc(steps.scores, steps.is_right):.3f}")
    axes.set(
        xlabel="share of wrong steps accepted", ylabel="share of right steps accepted", xlim=(0, 1), ylim=(0, 1.02)
    )
    axes.legend(loc="lower right", **LEGEND)


def draw_value_by_depth(axes: "Axes", steps: CountedSteps) -> None:
    """Mean score of right and of first wrong steps at each depth; 95 % interval as if steps were independent."""
    for is_right, colour, name in ((True, RIGHT, "right steps"), (False, WRONG, "first wrong steps")):
        by_depth = _scores_by_depth(steps, is_right)
        if by_depth:
            means_D = np.array([np.mean(scores) for scores in by_depth.values()])
            errors_D = np.array([np.std(scores, ddof=1) / len(scores) ** 0.5 for scores in by_depth.values()])
            low_D, high_D = means_D - 1.96 * errors_D, means_D + 1.96 * errors_D
            axes.fill_between(list(by_depth), low_D, high_D, color=colour, alpha=0.15, linewidth=0)
            axes.plot(list(by_depth), means_D, color=colour, marker="o", markersize=4, label=name)
    axes.set(xlabel=f"step (from 0; at least {MIN_STEPS_AT_DEPTH} of a kind)", ylabel="score", ylim=(0, 1.02))
    axes.xaxis.get_major_locator().set_params(integer=True)
    if axes.lines:
        axes.legend(title="mean and its 95 % interval", loc="best", **LEGEND)


def _step_drawings(steps: CountedSteps) -> dict[str, DrawFn]:
    drawings = {"reliability": draw_reliability, "value_by_depth": draw_value_by_depth}
    if roc_curve(steps.scores, steps.is_right) is not None:
        drawings["roc"] = draw_roc
    return {name: partial(draw, steps=steps) for name, draw in drawings.items()}


def _report_drawings(report: Report) -> dict[str, DrawFn]:
    if "pass_at_1" not in report.get("all", {}):
        return {}
    drawings = {"best_of_n": draw_best_of_n, "overoptimisation": draw_overoptimisation, "coverage": draw_coverage}
    drawings["score_against_gold"] = draw_score_against_gold
    return {name: partial(draw, report=report) for name, draw in drawings.items()}


def _write_all(folder: Path, drawings: Mapping[str, DrawFn], title: str) -> list[Path]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths = {folder / f"{name}.png": draw for name, draw in drawings.items()}
        for path, draw in paths.items():
            _figure(draw, title).savefig(path, dpi=DOTS_PER_INCH)
        return list(paths)
    except OSError as error:
        raise CriticDataError(
            f"Figures cannot be written to {folder}: {error.strerror}; name another folder."
        ) from error


def _figure(draw: DrawFn, title: str) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    axes = figure.subplots()
    draw(axes)
    axes.set_title(title, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _by_n(metrics: Mapping[str, float | None], before: str, after: str) -> dict[int, float]:
    """n -> value of the metrics `<before><n><after>`, n rising; undefined ones are left out."""
    pattern = re.compile(rf"{re.escape(before)}(\d+){re.escape(after)}")
    found = {int(match[1]): value for name, value in metrics.items() if (match := pattern.fullmatch(name))}
    return {n: found[n] for n in sorted(found) if found[n] is not None}


def _number(name: str) -> int:
    digits = re.search(r"\d+$", name)
    return int(digits[0]) if digits else -1


def _n_axis(axes: "Axes", n_values: Sequence[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(n_values, [str(n) for n in n_values])
    axes.set_xlabel("n")


def _scores_by_depth(steps: CountedSteps, is_right: bool) -> dict[int, list[float]]:
    by_depth: dict[int, list[float]] = {}
    for score, right, depth in zip(steps.scores, steps.is_right, steps.depths, strict=True):
        if right == is_right:
            by_depth.setdefault(depth, []).append(score)
    return {depth: by_depth[depth] for depth in sorted(by_depth) if len(by_depth[depth]) >= MIN_STEPS_AT_DEPTH}


def _share_interval(num_items: int, shares: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's 95 % interval of a share of `num_items` items."""
    shares_B, z = np.asarray(shares, dtype=float), 1.96
    middle = (shares_B + z**2 / (2 * num_items)) / (1 + z**2 / num_items)
    half = z * np.sqrt(shares_B * (1 - shares_B) / num_items + z**2 / (4 * num_items**2)) / (1 + z**2 / num_items)
    return middle - half, middle + half
