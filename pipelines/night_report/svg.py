"""Plots as SVG text: axes, lines, dots with intervals, bars; drawn by hand, so that a page needs nothing from outside.

Everything is plain data: a `Frame` says how numbers become places, a `Series` what is drawn. Texts are escaped; labels
of points and lines stand beside them and are pushed apart where they would lie on each other.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

INK, SOFT, LINE = "#1d2127", "#69717b", "#e2e5e9"
BLUE, ORANGE, GREEN, PURPLE, GREY = "#2463a8", "#c2601a", "#2f7d5b", "#7a5aa6", "#98a0a9"
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 10, 40
LABEL_HEIGHT = 13


@dataclass(frozen=True)
class Axis:
    """Numbers from `low` to `high`; `ticks` are (number, text); a logarithmic axis needs numbers above 0."""

    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    title: str = ""
    is_log: bool = False

    def place(self, value: float) -> float:
        """Where a number lies, 0 at `low` and 1 at `high`."""
        low, high, value = (math.log(number) if self.is_log else number for number in (self.low, self.high, value))
        return 0.5 if high == low else (value - low) / (high - low)


@dataclass(frozen=True)
class Point:
    """A point; `low` and `high` bound its interval, `label` stands beside it, `note` shows on hovering."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    label: str = ""
    note: str = ""


@dataclass(frozen=True)
class Series:
    """Points drawn alike: `line` joins them, `dots` marks them, `bars` draws down to the axis."""

    name: str
    points: Sequence[Point]
    colour: str
    is_line: bool = True
    is_dots: bool = True
    is_dashed: bool = False
    bar_width: float | None = None  # in numbers of the x axis; None: no bars


@dataclass(frozen=True)
class Frame:
    """Size in pixels, both axes, and room at the right for labels."""

    x: Axis
    y: Axis
    width: int = 460
    height: int = 250
    right: int = RIGHT
    lines: Sequence[tuple[float, float, float, float]] = field(default=())  # reference lines x1, y1, x2, y2

    def px(self, value: float) -> float:
        return LEFT + self.x.place(value) * (self.width - LEFT - self.right)

    def py(self, value: float) -> float:
        return self.height - BOTTOM - self.y.place(value) * (self.height - BOTTOM - TOP)


def share_axis(title: str, low: float = 0.0, high: float = 1.0) -> Axis:
    """An axis of shares with a tick at every fifth, or tenth where it is short."""
    step = 0.2 if high - low > 0.5 else 0.1
    first = math.ceil(round(low / step, 6))
    values = [round(index * step, 6) for index in range(first, int(round(high / step, 6)) + 1)]
    return Axis(low, high, [(value, f"{100 * value:.0f}") for value in values], title)


def nice_axis(values: Sequence[float], title: str, num_ticks: int = 4) -> Axis:
    """An axis from 0 over the values, with round numbers at its ticks."""
    top = max([*values, 0.0]) or 1.0
    rough = top / num_ticks
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough - 1e-12)
    count = math.ceil(round(top / step, 9))
    return Axis(0.0, count * step, [(index * step, short(index * step)) for index in range(count + 1)], title)


def log_axis(values: Sequence[float], title: str) -> Axis:
    """A logarithmic axis over positive values, with ticks at 1, 2 and 5 times powers of ten."""
    low, high = min(values) / 1.3, max(values) * 1.3
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    return Axis(low, high, [(tick, short(tick)) for tick in ticks if low <= tick <= high], title, is_log=True)


def short(value: float) -> str:
    """A number in few characters: 12.5k, 3.2M, 0.25."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def plot(frame: Frame, series: Sequence[Series], title: str) -> str:
    """The plot; `title` is what a screen reader says of it."""
    parts = [_grid(frame)]
    for line in frame.lines:
        x1, y1, x2, y2 = frame.px(line[0]), frame.py(line[1]), frame.px(line[2]), frame.py(line[3])
        parts.append(_line(x1, y1, x2, y2, GREY, 'stroke-dasharray="4 3"'))
    parts += [_bars(frame, one) for one in series if one.bar_width is not None]
    parts += [_curve(frame, one) for one in series if one.is_line and one.bar_width is None]
    parts += [_dots(frame, one) for one in series if one.is_dots and one.bar_width is None]
    parts.append(_labels(frame, series))
    return wrap(frame.width, frame.height, "".join(parts), title)


def wrap(width: int, height: int, inside: str, title: str) -> str:
    """An SVG element of a size."""
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="{escape(title)}">{inside}</svg>'
    )


def legend(series: Sequence[Series]) -> str:
    """The names of some series beside their colours, as HTML."""
    items = "".join(f'<li><i style="background:{one.colour}"></i>{escape(one.name)}</li>' for one in series)
    return f'<ul class="legend">{items}</ul>'


def text(x: float, y: float, words: str, *, anchor: str = "start", kind: str = "", extra: str = "") -> str:
    """A text; `kind` is a class of the page's style sheet."""
    name = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{name}{extra}>{escape(words)}</text>'


def _grid(frame: Frame) -> str:
    left, right, base = LEFT, frame.width - frame.right, frame.height - BOTTOM
    parts = []
    for value, words in frame.y.ticks:
        y = frame.py(value)
        parts.append(_line(left, y, right, y, LINE))
        parts.append(text(left - 7, y + 4, words, anchor="end", kind="tick"))
    for value, words in frame.x.ticks:
        parts.append(text(frame.px(value), base + 16, words, anchor="middle", kind="tick"))
    parts.append(_line(left, base, right, base, GREY))
    parts.append(text((left + right) / 2, frame.height - 6, frame.x.title, anchor="middle", kind="axis"))
    middle = (TOP + base) / 2
    turn = f' transform="rotate(-90 12 {middle:.1f})"'
    parts.append(text(12, middle, frame.y.title, anchor="middle", kind="axis", extra=turn))
    return "".join(parts)


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, extra: str = "") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" {extra}/>'


def _curve(frame: Frame, series: Series) -> str:
    places = " ".join(f"{frame.px(point.x):.1f},{frame.py(point.y):.1f}" for point in series.points)
    dash = ' stroke-dasharray="5 4"' if series.is_dashed else ""
    return f'<polyline points="{places}" fill="none" stroke="{series.colour}" stroke-width="1.8"{dash}/>'


def _dots(frame: Frame, series: Series) -> str:
    parts = []
    for point in series.points:
        x, y = frame.px(point.x), frame.py(point.y)
        if point.low is not None and point.high is not None:
            parts.append(_line(x, frame.py(point.low), x, frame.py(point.high), series.colour, 'stroke-opacity=".45"'))
        note = f"<title>{escape(point.note)}</title>" if point.note else ""
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.4" fill="{series.colour}">{note}</circle>')
    return "".join(parts)


def _bars(frame: Frame, series: Series) -> str:
    parts, half, base = [], (series.bar_width or 0.0) / 2, frame.py(frame.y.low)
    for point in series.points:
        left, right, top = frame.px(point.x - half), frame.px(point.x + half), frame.py(point.y)
        note = f"<title>{escape(point.note)}</title>" if point.note else ""
        parts.append(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{max(right - left, 0.5):.1f}" '
            f'height="{max(base - top, 0.0):.1f}" fill="{series.colour}" fill-opacity=".85">{note}</rect>'
        )
    return "".join(parts)


def _labels(frame: Frame, series: Sequence[Series]) -> str:
    named = [(point, one.colour) for one in series for point in one.points if point.label]
    parts = []
    for x in sorted({point.x for point, _ in named}):
        column = sorted((item for item in named if item[0].x == x), key=lambda item: -item[0].y)
        places = pushed_apart([frame.py(point.y) for point, _ in column], LABEL_HEIGHT, TOP, frame.height - BOTTOM)
        for (point, colour), y in zip(column, places, strict=True):
            parts.append(text(frame.px(x) + 8, y + 4, point.label, kind="label", extra=f' fill="{colour}"'))
    return "".join(parts)


def pushed_apart(places: Sequence[float], distance: float, low: float, high: float) -> list[float]:
    """Rising places moved by a pass down and one up, until they keep their distance, within bounds if they fit."""
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + distance) if moved else max(place, low))
    limit = high
    for index in range(len(moved) - 1, -1, -1):
        moved[index] = min(moved[index], limit)
        limit = moved[index] - distance
    return moved
