"""Curves over the nights as one SVG: a line and a band per arm, shares in per cent."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

from reasonmill.proof.statistics import Share

COLOURS = ("#1b6ca8", "#c8553d", "#6b8e5a", "#8a6bb8", "#b8860b")
WIDTH, HEIGHT = 340, 250
LEFT, RIGHT, TOP, BOTTOM = 42, 24, 28, 52
LEGEND_LEFT, ROW = 12.0, 16  # of the legend
LETTER = 5.6  # width of one in the legend, about


@dataclass(frozen=True)
class Line:
    """One arm: (night, share) in the order of the nights."""

    name: str
    points: list[tuple[int, Share]]


def chart(title: str, lines: Sequence[Line]) -> str:
    """The lines in one picture; without a point an empty frame with its title."""
    points = [point for line in lines for point in line.points]
    last = max((night for night, _ in points), default=1) or 1
    low, high = axis_range([share for _, share in points])
    x = lambda night: LEFT + (WIDTH - LEFT - RIGHT) * night / last
    y = lambda value: TOP + (HEIGHT - TOP - BOTTOM) * (high - 100 * value) / (high - low)
    parts = [f'<text x="{LEFT}" y="16" font-weight="600">{html.escape(title)}, %</text>']
    for tick in ticks(low, high):
        at = y(tick / 100)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end" fill="#666">{tick:g}</text>')
    for night in range(last + 1):
        label = "start" if night == 0 else f"night {night}"
        parts.append(f'<text x="{x(night):.1f}" y="{HEIGHT - 34}" text-anchor="middle" fill="#666">{label}</text>')
    places = legend_places([line.name for line in lines])
    for index, line in enumerate(lines):
        colour = COLOURS[index % len(COLOURS)]
        upper = [f"{x(night):.1f},{y(share.high):.1f}" for night, share in line.points]
        lower = [f"{x(night):.1f},{y(share.low):.1f}" for night, share in reversed(line.points)]
        parts.append(f'<polygon points="{" ".join(upper + lower)}" fill="{colour}" opacity="0.13"/>')
        middle = " ".join(f"{x(night):.1f},{y(share.value):.1f}" for night, share in line.points)
        parts.append(f'<polyline points="{middle}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [
            f'<circle cx="{x(night):.1f}" cy="{y(share.value):.1f}" r="3" fill="{colour}"/>'
            for night, share in line.points
        ]
        at, row = places[index]
        below = HEIGHT + ROW * row
        parts.append(f'<rect x="{at:.0f}" y="{below - 18}" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{at + 14:.0f}" y="{below - 9}" font-size="10.5">{html.escape(line.name)}</text>')
    height = HEIGHT + ROW * max((row for _, row in places), default=0)
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{html.escape(title)}" font-size="11" '
        f'font-family="system-ui, sans-serif">{"".join(parts)}</svg>'
    )


def legend_places(names: Sequence[str]) -> list[tuple[float, int]]:
    """Left end and row (from 0) of every name: side by side, in a new row where the width is used up."""
    places, at, row = [], LEGEND_LEFT, 0
    for name in names:
        width = 28 + LETTER * len(name)
        if at > LEGEND_LEFT and at + width > WIDTH:
            at, row = LEGEND_LEFT, row + 1
        places.append((at, row))
        at += width
    return places


def axis_range(shares: Sequence[Share]) -> tuple[float, float]:
    """Lowest and highest value of the axis, in per cent: whole tens round all intervals, at least ten apart."""
    if not shares:
        return 0.0, 100.0
    low = 10 * math.floor(min(share.low for share in shares) * 10)
    high = 10 * math.ceil(max(share.high for share in shares) * 10)
    low = max(0, min(low, high - 10))
    return float(low), float(max(high, low + 10))


def ticks(low: float, high: float) -> list[float]:
    """Whole tens, or fives on a short axis, or twenties on a long one."""
    step = 5.0 if high - low <= 20 else 10.0 if high - low <= 60 else 20.0
    first = math.ceil(low / step) * step
    return [first + index * step for index in range(int((high - first) // step) + 1)]
