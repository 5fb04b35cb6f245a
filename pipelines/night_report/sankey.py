"""A flow of rows between columns of nodes as SVG (a Sankey diagram).

The height of a node is the larger one of what flows in and out; a node that gives its rows to several sets is as high
as all of them, and one that gives only some of them away shows the rest as its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from pipelines.night_report.svg import SOFT, short, text, wrap

NODE_WIDTH, GAP, TOP, SIDE = 12, 16, 26, 4
LABEL_HEIGHT = 32  # of the two lines beside a node
MIN_HEIGHT = 2.0


@dataclass(frozen=True)
class Link:
    """Rows that go from a node of column `place` to one of the next; tokens None: not known."""

    place: int
    source: str
    target: str
    num_rows: int
    num_tokens: int | None = None


@dataclass(frozen=True)
class Box:
    """Where a node is drawn."""

    x: float
    y: float
    height: float


def sankey(
    links: Sequence[Link],
    columns: Sequence[str],
    colours: Mapping[str, str],
    *,
    order: Sequence[str] = (),
    words: Mapping[tuple[int, str], str] | None = None,
    width: int = 1000,
    height: int = 320,
    label_width: int = 165,
) -> str:
    """The diagram; `columns` are headings, `order` names nodes from the top, others follow by size.

    words: what stands below a node's name, by column and name; of others the rows and tokens.
    """
    sizes = node_sizes(links)
    boxes = laid_out(sizes, order, len(columns), width - label_width, height)
    scale = _scale(sizes, len(columns), height)
    parts = [
        text(SIDE + place * _pitch(len(columns), width - label_width), 14, title, kind="axis")
        for place, title in enumerate(columns)
    ]
    used: dict[tuple[str, tuple[int, str]], float] = {}
    for link in sorted(links, key=lambda one: (one.place, _rank(one.source, order), _rank(one.target, order))):
        source, target = (link.place, link.source), (link.place + 1, link.target)
        start = used.get(("out", source), boxes[source].y)
        end = used.get(("in", target), boxes[target].y)
        thick = max(link.num_rows * scale, 0.7)
        parts.append(_ribbon(link, boxes[source].x + NODE_WIDTH, start, boxes[target].x, end, thick, colours))
        used["out", source], used["in", target] = start + thick, end + thick
    for (place, name), box in boxes.items():
        colour = colours.get(name, SOFT)
        parts.append(
            f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{NODE_WIDTH}" height="{box.height:.1f}" fill="{colour}"/>'
        )
        rows, tokens = totals(links, place, name)
        counts = f"{short(rows)} rows" + (f", {short(tokens)} tokens" if tokens is not None else "")
        middle = box.y + box.height / 2
        parts.append(text(box.x + NODE_WIDTH + 5, middle - 2, name.replace("_", " "), kind="node"))
        parts.append(text(box.x + NODE_WIDTH + 5, middle + 12, (words or {}).get((place, name), counts), kind="count"))
    bottom = max((box.y + max(box.height, LABEL_HEIGHT) for box in boxes.values()), default=height)
    return wrap(width, round(bottom) + 6, "".join(parts), "flow of rollouts from problems into training sets")


def node_sizes(links: Sequence[Link]) -> dict[tuple[int, str], int]:
    """(column, name) -> rows: the larger one of what flows in and out."""
    inflow: dict[tuple[int, str], int] = {}
    outflow: dict[tuple[int, str], int] = {}
    for link in links:
        source, target = (link.place, link.source), (link.place + 1, link.target)
        outflow[source] = outflow.get(source, 0) + link.num_rows
        inflow[target] = inflow.get(target, 0) + link.num_rows
    nodes = dict.fromkeys([*outflow, *inflow])
    return {node: max(inflow.get(node, 0), outflow.get(node, 0)) for node in nodes}


def totals(links: Sequence[Link], place: int, name: str) -> tuple[int, int | None]:
    """Rows and tokens of a node: what flows in, or out of the first column; tokens None unless all are known."""
    into = [link for link in links if (link.place + 1, link.target) == (place, name)]
    found = into or [link for link in links if (link.place, link.source) == (place, name)]
    known = [link.num_tokens for link in found if link.num_tokens is not None]
    return sum(link.num_rows for link in found), sum(known) if len(known) == len(found) else None


def laid_out(
    sizes: Mapping[tuple[int, str], int], order: Sequence[str], num_columns: int, width: float, height: float
) -> dict[tuple[int, str], Box]:
    """Boxes of the nodes, column by column, those of `order` first, then the larger ones."""
    scale, boxes = _scale(sizes, num_columns, height), {}
    for place in range(num_columns):
        names = [name for column, name in sizes if column == place]
        y = float(TOP)
        for name in sorted(names, key=lambda one: (_rank(one, order), -sizes[place, one], one)):
            tall = max(sizes[place, name] * scale, MIN_HEIGHT)
            boxes[place, name] = Box(SIDE + place * _pitch(num_columns, width), y, tall)
            y += tall + max(GAP, LABEL_HEIGHT - tall)
    return boxes


def _pitch(num_columns: int, width: float) -> float:
    return (width - NODE_WIDTH - 2 * SIDE) / max(num_columns - 1, 1)


def _scale(sizes: Mapping[tuple[int, str], int], num_columns: int, height: float) -> float:
    """Pixels per row, so that the fullest column fits."""
    scales = []
    for place in range(num_columns):
        column = [size for (where, _), size in sizes.items() if where == place]
        if sum(column):
            scales.append(max(height - TOP - (LABEL_HEIGHT + 4) * len(column), 40) / sum(column))
    return min(scales, default=1.0)


def _rank(name: str, order: Sequence[str]) -> int:
    return order.index(name) if name in order else len(order)


def _ribbon(link: Link, x1: float, y1: float, x2: float, y2: float, thick: float, colours: Mapping[str, str]) -> str:
    middle = (x1 + x2) / 2
    path = (
        f"M{x1:.1f},{y1:.1f}C{middle:.1f},{y1:.1f} {middle:.1f},{y2:.1f} {x2:.1f},{y2:.1f}"
        f"V{y2 + thick:.1f}C{middle:.1f},{y2 + thick:.1f} {middle:.1f},{y1 + thick:.1f} {x1:.1f},{y1 + thick:.1f}Z"
    )
    tokens = "" if link.num_tokens is None else f", {link.num_tokens:,} tokens"
    note = f"{link.source} to {link.target}: {link.num_rows:,} rows{tokens}".replace("_", " ")
    colour = colours.get(link.target, colours.get(link.source, SOFT))
    return f'<path d="{path}" fill="{colour}" fill-opacity=".22"><title>{escape(note)}</title></path>'
