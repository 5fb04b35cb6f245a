"""The picture of a version's card: six panels, one PNG.

    lengths          characters of what is learned from
    depth            steps per solution, and where the first wrong step stands
    difficulty       rows of each set by the problem's difficulty
    pass rates       of the sampled problems, and of those that rl_groups learns from
    label sources    origins, methods and filters behind the rows
    on-policy share  share of each set's rows that tonight's policy wrote

A panel without numbers says so. matplotlib is imported when a picture is drawn, and draws without a screen; names from
data are drawn as plain text.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import WorkspaceError
from pipelines.lake import Lake
from pipelines.warehouse import Warehouse

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OVERVIEW = "figures/overview.png"
READ = ("sft", "preference", "stepwise", "rl_groups", "rollouts", "problems", "consistent_rollouts", "replay")
COLOURS = ("#1b6ca8", "#c8553d", "#6b8e5a", "#8a6bb8")
SOFT = "#7a7a7a"
SIZE_INCHES, DOTS_PER_INCH = (13.0, 7.4), 110
NUM_BINS = 24
MAX_BARS, MAX_NAME = 10, 28
Rows = Sequence[Mapping[str, object]]


def draw_overview(lake: Lake, night: str, manifest: Mapping[str, object], building: Path) -> dict[str, object]:
    """Writes the picture into a version that is being built; its entry for the manifest's `files`."""
    with Warehouse(lake, READ) as warehouse:
        found = {
            name: warehouse.named(f"datasets/figure_{name}", night=night).to_pylist()
            for name in ("lengths", "depths", "difficulties", "pass_rates", "sources")
        }
    path = building / OVERVIEW
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _draw(found, on_policy_shares(manifest), path)
        data = path.read_bytes()
    except OSError as error:
        raise WorkspaceError(
            f"{path} could not be written: {error.strerror or error}. No version was published."
        ) from error
    return {"path": OVERVIEW, "num_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def on_policy_shares(manifest: Mapping[str, object]) -> dict[str, float]:
    """Set -> share of its rows that tonight's policy had a hand in; sets whose models are not known are left out."""
    policies = str(manifest["models"].get("policy", "")).split("+")
    sets = {name: entry for name, entry in manifest["sets"].items() if entry["policies"]}
    return {
        name: min(1.0, sum(entry["policies"].get(one, 0) for one in policies) / entry["num_rows"])
        for name, entry in sets.items()
    }


def _draw(found: Mapping[str, Rows], shares: Mapping[str, float], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 3).flatten()
    _histograms(panels[0], found["lengths"], "length", "characters")
    _lines(panels[1], found["depths"], "depth", "steps (first wrong: its index)")
    _groups(panels[2], found["difficulties"], "difficulty", "difficulty of the problem")
    _histograms(panels[3], found["pass_rates"], "pass rate", "share of right answers", "problems", (0.0, 1.0))
    bars = [(f"{row['set_name']}: {row['source']}", row["num_rows"]) for row in found["sources"]]
    _bars(panels[4], bars, "label sources", "rows")
    _bars(panels[5], list(shares.items()), "on-policy share", "rows by tonight's policy", limit=1.0)
    figure.savefig(path, format="png", metadata={"Software": None})


def _series(rows: Rows) -> dict[str, tuple[list, list]]:
    """Series -> its places and counts, in order."""
    series: dict[str, tuple[list, list]] = {}
    for row in rows:
        places, counts = series.setdefault(row["series"], ([], []))
        places.append(row["x"])
        counts.append(row["num_rows"])
    return series


def _titled(axes: "Axes", title: str, label: str, is_empty: bool, counted: str = "rows") -> bool:
    """Sets the names; True where there is nothing to draw, and says so."""
    axes.set_title(title, fontsize=11, loc="left")
    axes.set_xlabel(label, fontsize=9)
    axes.set_ylabel(counted, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    if is_empty:
        axes.text(0.5, 0.5, "nothing to show", ha="center", va="center", color=SOFT, transform=axes.transAxes)
    return is_empty


def _histograms(
    axes: "Axes", rows: Rows, title: str, label: str, counted: str = "rows", limits: tuple[float, float] | None = None
) -> None:
    import numpy as np

    series = _series(rows)
    if _titled(axes, title, label, not series, counted):
        return
    low, high = limits or (0, max(max(places) for places, _ in series.values()))
    edges = np.linspace(low, max(high, low + 1), NUM_BINS + 1)
    for (name, (places, counts)), colour in zip(series.items(), COLOURS, strict=False):
        heights, _ = np.histogram(places, bins=edges, weights=counts)
        axes.stairs(heights, edges, color=colour, fill=True, alpha=0.18)
        axes.stairs(heights, edges, color=colour, linewidth=1.4, label=name)
    axes.legend(fontsize=8, frameon=False)


def _lines(axes: "Axes", rows: Rows, title: str, label: str) -> None:
    series = _series(rows)
    if _titled(axes, title, label, not series):
        return
    for (name, (places, counts)), colour in zip(series.items(), COLOURS, strict=False):
        axes.plot(places, counts, color=colour, marker="o", markersize=3.5, linewidth=1.4, label=name)
    axes.set_ylim(bottom=0)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(fontsize=8, frameon=False)


def _groups(axes: "Axes", rows: Rows, title: str, label: str) -> None:
    """Bars side by side; unknown difficulties stand last."""
    series = _series(rows)
    if _titled(axes, title, label, not series):
        return
    places = sorted({row["x"] for row in rows}, key=lambda place: (place is None, place or 0))
    width = 0.8 / len(series)
    for index, ((name, (xs, counts)), colour) in enumerate(zip(series.items(), COLOURS, strict=False)):
        known = dict(zip(xs, counts, strict=True))
        where = [number + (index - (len(series) - 1) / 2) * width for number in range(len(places))]
        axes.bar(where, [known.get(place, 0) for place in places], width, color=colour, label=name)
    axes.set_xticks(range(len(places)), ["unknown" if place is None else f"{place}" for place in places])
    axes.legend(fontsize=8, frameon=False)


def _bars(axes: "Axes", bars: Sequence[tuple[str, float]], title: str, label: str, limit: float | None = None) -> None:
    """Bars that lie, the first on top; at most MAX_BARS."""
    if _titled(axes, title, label, not bars, ""):
        return
    shown = bars[:MAX_BARS]
    names = [name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…" for name, _ in shown]
    values = [value for _, value in shown]
    drawn = axes.barh(range(len(shown)), values, color=COLOURS[0], height=0.65)
    axes.set_yticks(range(len(shown)), names, parse_math=False, fontsize=8)
    axes.bar_label(drawn, [f"{value:.0%}" if limit else f"{value:,}" for value in values], fontsize=8, padding=3)
    axes.invert_yaxis()
    axes.set_xlim(0, (limit or max(values)) * 1.18)
    if len(bars) > MAX_BARS:
        axes.set_title(f"{title} (the first {MAX_BARS} of {len(bars)})", fontsize=11, loc="left")
