"""A tree view -> one self-contained HTML page: no network, no library, light and dark.

The layout is in `page.html`, the behaviour in `page.js`; without scripts the whole tree is shown open. All text of
problems and models is escaped, and the page's own policy refuses every script but the shipped one, by its hash.
"""

import base64
import hashlib
from collections.abc import Iterator
from functools import cache
from html import escape
from pathlib import Path
from string import Template

from pipelines.trees.view import FIRST_ERRORS_BY, Partner, TreeView, ViewNode, one_line, visible

FOLDER = Path(__file__).parent
INDENTED_LEVELS = 28  # deeper steps are not indented further and say how deep they are (also in page.html)
OPEN_ROWS = 60  # at first, levels are open as long as no more rows than this are seen
OPEN_MARKS = 12  # marked nodes (the first ones in order) to which the way is open at first


def to_html(view: TreeView) -> str:
    """The page of one tree."""
    script = _part("page.js")
    by_visits = view.has_visits
    return Template(_part("page.html")).substitute(
        title=_text(f"Search tree {view.tree_id}"),
        tree_id=_text(view.tree_id),
        prompt=_text(view.prompt or f"problem {view.problem_id} (its statement is not in the lake)"),
        facts="\n".join(f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>" for name, value in facts(view)),
        width_means="visits, as a share of the root's" if by_visits else "nodes in the subtree (visits are not known)",
        width_name="visits and value" if by_visits else "size and value",
        weight_name="visits" if by_visits else "nodes",
        order_means="most visited first" if by_visits else "largest first",
        rows="\n".join(_rows(view)),
        script=script,
        script_hash=f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
    )


def facts(view: TreeView) -> list[tuple[str, str]]:
    """What stands above the tree, as names and values; what is not known or not there is left out."""
    ends = ", ".join(
        f"{count:,} {outcome}" for outcome in ("right", "wrong", "no grade") if (count := view.num_outcomes(outcome))
    )
    depth = max(node.depth for node in view.nodes.values())
    found = [
        ("problem", view.problem_id),
        ("reference answer", view.reference_answer),
        ("recipe", view.recipe),
        ("model", view.policy_id),
        ("night", view.night),
        ("nodes", f"{len(view.nodes):,}"),
        ("depth", f"{depth}"),
        ("visits", f"{view.root.visit_count:,}" if view.has_visits else None),
        ("ends", ends or "none"),
        ("kept pairs", f"{count:,}" if (count := view.num_pairs()) else None),
        ("first wrong steps", _first_errors(view) if view.num_first_errors() else None),
        ("kinds of steps", ", ".join(f"{count:,} {name}" for name, count in view.num_actions().items()) or None),
    ]
    return [(name, value) for name, value in found if value is not None]


def _first_errors(view: TreeView) -> str:
    return f"{view.num_first_errors():,} ({FIRST_ERRORS_BY[view.first_errors_by]})"


def node_facts(view: TreeView, node: ViewNode) -> list[tuple[str, str]]:
    """Everything known of a node, as names and values."""
    numbers = [
        ("visits", node.visit_count),
        ("value", node.value),
        ("raw value", node.raw_value),
        ("prior", node.prior),
        ("samples behind raw value", node.num_samples),
        ("tokens", node.num_tokens),
        ("log-probability", node.sum_logprob),
        ("nodes below", node.num_below),
    ]
    known = [("node", f"#{node.node_id}"), ("depth", f"{node.depth}")]
    known += [("kind", one_line(node.action))] if node.action else []
    known += [("outcome", node.outcome)] if node.outcome else []
    return known + [(name, _number(value)) for name, value in numbers if value is not None]


def _rows(view: TreeView) -> Iterator[str]:
    is_open = _open_at_first(view)
    for node in view.in_order():
        yield _row(view, node, node.node_id in is_open)


def _row(view: TreeView, node: ViewNode, is_open: bool) -> str:
    details = escape("\n".join(f"{name}\t{value}" for name, value in node_facts(view, node)))
    expanded = f' aria-expanded="{str(is_open).lower()}"' if node.children else ""
    value = node.shown_value
    bar = '<i class="unknown"></i>' if value is None else "<i></i>"
    toggle = (
        f'<button type="button" class="toggle" tabindex="-1" aria-hidden="true">{"▾" if node.children else ""}</button>'
    )
    text = _text(node.step_text) if node.parent_id is not None else "the problem"
    style = f"--depth:{node.depth};--share:{100 * view.share(node):.4g}%"
    marked = f", {node.num_marked_below:,} marked" if node.num_marked_below else ""
    kind = "node root" if node.parent_id is None else "node"
    return (
        f'<div class="{kind}" role="treeitem" id="n{node.node_id}" tabindex="0" '
        f'aria-level="{node.depth + 1}"{expanded} data-facts="{details}" style="{style}{_colour(value)}">'
        f'<span class="id">{node.node_id}</span><span class="bar">{bar}</span>'
        f'<span class="num">{view.weight(node):,}</span><span class="num">{node.value_text}</span>'
        f'<span class="step">{toggle}{_kind(node)}<span class="text">{text}</span>{_chips(node)}'
        f'<span class="more">{node.num_below:,} below{marked}</span></span></div>'
    )


def _colour(value: float | None) -> str:
    """The bar's colour between those of 0, 0.5 and 1, mixed by the browser so that light and dark have their own."""
    if value is None:
        return ""
    end = "--high" if value >= 0.5 else "--low"
    return f";--colour:color-mix(in oklab,var({end}) {abs(2 * value - 1) * 100:.0f}%,var(--mid))"


def _kind(node: ViewNode) -> str:
    """What kind of step it is, before its text."""
    return f'<span class="chip kind">{escape(one_line(node.action))}</span>' if node.action else ""


def _chips(node: ViewNode) -> str:
    chips = [("plain", f"depth {node.depth}")] if node.depth > INDENTED_LEVELS else []
    if node.outcome:
        sign, kind = {"right": ("✓ ", "right"), "wrong": ("✗ ", "wrong")}.get(node.outcome, ("", "plain"))
        chips.append((kind, f"{sign}{node.outcome}"))
    if node.is_first_error:
        chips.append(("error", "✗ first wrong step"))
    chips += [("chosen", f"▲ chosen over {_partner(one)}") for one in node.chosen_over]
    chips += [("rejected", f"▼ rejected for {_partner(one)}") for one in node.rejected_for]
    chips += [("plain", f"also below {_link(parent)}") for parent in node.other_parents]
    return "".join(f'<span class="chip {kind}">{inner}</span>' for kind, inner in chips)


def _partner(partner: Partner) -> str:
    name = "another tree's" if partner.node_id is None else _link(partner.node_id)
    return f"{name} (+{partner.margin:.2f})"


def _link(node_id: int) -> str:
    return f'<a href="#n{node_id}">#{node_id}</a>'


def _open_at_first(view: TreeView) -> set[int]:
    """Nodes that are open when the page is: whole levels while few rows are seen, and the way to the first marks."""
    num_at_depth: dict[int, int] = {}
    for node in view.nodes.values():
        num_at_depth[node.depth] = num_at_depth.get(node.depth, 0) + 1
    depth, num_rows = 0, 1
    while num_rows + num_at_depth.get(depth + 1, 0) <= OPEN_ROWS and depth < len(num_at_depth):
        depth += 1
        num_rows += num_at_depth.get(depth, 0)
    is_open = {node.node_id for node in view.nodes.values() if node.depth < max(1, depth)}
    marked = [node for node in view.in_order() if node.is_marked][:OPEN_MARKS]
    for node in marked:
        while node.parent_id is not None:
            node = view.nodes[node.parent_id]
            is_open.add(node.node_id)
    return is_open


def _text(text: str) -> str:
    return escape(visible(text))


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


@cache
def _part(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")
