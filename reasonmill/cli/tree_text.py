"""Draws a search tree with rich: numbers in columns on the left, the tree and its steps on the right."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

    from pipelines.trees.view import TreeView, ViewNode

BAR_CHARS = 8
MIN_STEP_CHARS = 16  # a step is cut no shorter than this to make room for its marks
BLOCKS = "▏▎▍▌▋▊▉█"
HIGH, LOW = "bright_blue", "yellow"  # told apart by people who do not see red and green
OUTCOMES = {"right": ("✓ right", HIGH), "wrong": ("✗ wrong", LOW), "no grade": ("no grade", "dim")}


@dataclass(frozen=True)
class Cut:
    """How much of a tree is drawn.

    Attributes:
        max_depth: steps from the root.
        max_children: children of a node, the most visited ones; marked ones are drawn beyond it.
        max_nodes: nodes in all.
    """

    max_depth: int = 12
    max_children: int = 6
    max_nodes: int = 120


def tree_lines(view: "TreeView", width: int, cut: Cut) -> Iterator["Text"]:
    """The header, the nodes one per line in at most `width` columns, and a note on what was left out."""
    from rich.text import Text

    yield from _header(view, width)
    weight_name = "visits" if view.has_visits else "nodes"
    columns = f"{'node':>6} {weight_name:>7} {'':<{BAR_CHARS}} value  step"
    yield Text(columns, style="bold")
    num_drawn = 0
    for prefix, node, left_out in _layout(view, cut):
        if node is None:
            yield Text(f"{'':{BAR_CHARS + 23}}{prefix}", style="dim", end="").append(f"… {left_out}", style="dim")
            continue
        num_drawn += 1
        yield _node_line(view, node, prefix, width)
    if num_drawn < len(view.nodes):
        yield Text(
            f"{num_drawn:,} of {len(view.nodes):,} nodes drawn; --depth, --children and --nodes draw more, "
            "--html FILE shows all.",
            style="dim",
        )


def _header(view: "TreeView", width: int) -> Iterator["Text"]:
    from rich.text import Text

    from pipelines.trees.page import facts
    from pipelines.trees.view import visible

    yield Text(f"tree {view.tree_id}", style="bold")
    yield Text(visible(view.prompt or f"problem {view.problem_id} (its statement is not in the lake)"))
    yield Text("  ".join(f"{name}: {visible(value)}" for name, value in facts(view)), style="dim")
    yield Text("")


def _layout(view: "TreeView", cut: Cut) -> Iterator[tuple[str, "ViewNode | None", str]]:
    """(guides before the step, node, "") in drawing order; (guides, None, note) where nodes are left out."""
    num_left = cut.max_nodes
    waiting: list[tuple[str, str, ViewNode | None, str]] = [("", "", view.root, "")]
    while waiting:
        prefix, below, node, note = waiting.pop()
        if node is None:
            yield prefix, None, note
            continue
        if num_left == 0:
            return
        num_left -= 1
        yield prefix, node, ""
        waiting += reversed(_children(view, node, below, cut))


def _children(view: "TreeView", node: "ViewNode", below: str, cut: Cut) -> list:
    nodes = [view.nodes[child] for child in node.children]
    if node.depth >= cut.max_depth:
        return [(f"{below}└─ ", "", None, _left_out(nodes))] if nodes else []
    shown = [child for rank, child in enumerate(nodes) if rank < cut.max_children or child.is_marked]
    hidden = [child for rank, child in enumerate(nodes) if rank >= cut.max_children and not child.is_marked]
    is_root = node.parent_id is None
    lines = []
    for number, child in enumerate(shown):
        is_last = number == len(shown) - 1 and not hidden
        guides = ("", "") if is_root else (("└─ ", "   ") if is_last else ("├─ ", "│  "))
        lines.append((below + guides[0], below + guides[1], child, ""))
    if hidden:
        lines.append((below + ("" if is_root else "└─ "), "", None, _left_out(hidden)))
    return lines


def _left_out(nodes: list["ViewNode"]) -> str:
    """What is not drawn of several subtrees: how many nodes, the best value, and whether marks are among them."""
    num_nodes = sum(node.num_below + 1 for node in nodes)
    values = [node.shown_value for node in nodes if node.shown_value is not None]
    best = f", best value {max(values):.2f}" if values else ""
    num_marked = sum(node.num_marked_below + node.is_marked for node in nodes)
    marked = f", {num_marked} of them marked" if num_marked else ""
    return f"{num_nodes:,} more {'node' if num_nodes == 1 else 'nodes'}{best}{marked}"


def _node_line(view: "TreeView", node: "ViewNode", prefix: str, width: int) -> "Text":
    from rich.cells import cell_len, set_cell_size
    from rich.text import Text

    from pipelines.trees.view import one_line

    value = node.shown_value
    colour = "dim" if value is None else HIGH if value >= 0.5 else LOW
    line = Text(f"{node.node_id:>6} {view.weight(node):>7,} ", no_wrap=True)
    line.append(f"{_bar(view.share(node)):<{BAR_CHARS}}", style=colour).append(f" {node.value_text:>5}  ", style=colour)
    line.append(prefix, style="dim")
    marks = _marks(node)
    step = one_line(node.step_text) if node.parent_id is not None else "(the problem)"
    if node.action:
        line.append(f"[{one_line(node.action)}] ", style="bold")
    room = max(MIN_STEP_CHARS, width - cell_len(line.plain) - sum(cell_len(text) + 2 for text, _ in marks))
    step = step if cell_len(step) <= room else set_cell_size(step, room - 1).rstrip() + "…"
    line.append(step, style="italic dim" if node.parent_id is None else "")
    for text, style in marks:
        line.append("  ").append(text, style=style)
    line.truncate(width, overflow="ellipsis")
    return line


def _marks(node: "ViewNode") -> list[tuple[str, str]]:
    marks = [OUTCOMES[node.outcome]] if node.outcome else []
    styles = {"first": "bold reverse", "chosen": HIGH, "rejected": LOW, "also": "dim"}
    signs = {"first": "✗ ", "chosen": "▲ ", "rejected": "▼ ", "also": ""}
    for text in node.marks:
        kind = text.split()[0]
        marks.append((signs[kind] + text, styles[kind]))
    return marks


def _bar(share: float) -> str:
    """A bar of at most BAR_CHARS characters in eighths; something is seen of every share above 0."""
    eighths = round(share * BAR_CHARS * len(BLOCKS)) or (1 if share > 0 else 0)
    full, rest = divmod(eighths, len(BLOCKS))
    return BLOCKS[-1] * full + (BLOCKS[rest - 1] if rest else "")
