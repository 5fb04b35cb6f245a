"""A search tree as people look at it: nodes with their numbers, kept pairs and first wrong steps in place.

Built from rows alone, so that a tree of a lake, of Arrow tables in memory and of a file are drawn alike. The terminal
(`reasonmill tree`) and the page (`page.py`) show the same view.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pipelines.errors import LakeError

ROOT = 0
FIRST_ERRORS_BY = {
    "gold_steps": "by the generator's own rules",
    "first_errors": "estimated: no completion from there on was right",
}
Row = Mapping[str, object]


@dataclass(frozen=True)
class Partner:
    """The other side of a kept preference pair: its node (None = outside this tree), and the pair's margin."""

    node_id: int | None
    margin: float


@dataclass
class ViewNode:
    """One node; None means "not known" everywhere."""

    node_id: int
    parent_id: int | None
    depth: int
    step_text: str
    visit_count: int | None
    value: float | None  # mean return through the node, [0, 1]
    raw_value: float | None  # the evaluator's estimate
    prior: float | None
    num_samples: int | None
    num_tokens: int | None
    sum_logprob: float | None
    is_terminal: bool
    outcome_reward: float | None
    other_parents: tuple[int, ...]  # further parents of a merged state
    action: str | None = None  # kind of step, where a recipe has several
    children: list[int] = field(default_factory=list)  # most visited first, then by value
    num_below: int = 0  # nodes in the subtree, this one left out
    num_marked_below: int = 0  # of these, the marked ones
    is_first_error: bool = False  # the first wrong step of some rollout, as `TreeView.first_errors_by` has it
    chosen_over: list[Partner] = field(default_factory=list)
    rejected_for: list[Partner] = field(default_factory=list)

    @property
    def shown_value(self) -> float | None:
        """The mean return, or the evaluator's estimate where no simulation passed."""
        return self.raw_value if self.value is None else self.value

    @property
    def value_text(self) -> str:
        """The shown value in at most five characters; `~` before an estimate that no simulation has confirmed."""
        if self.shown_value is None:
            return "–"
        return f"{'~' if self.value is None else ''}{self.shown_value:.2f}"

    @property
    def is_marked(self) -> bool:
        """Whether a kept pair or a first wrong step is here."""
        return bool(self.chosen_over or self.rejected_for or self.is_first_error)

    @property
    def outcome(self) -> str | None:
        """`right`, `wrong`, or `no grade` at the end of a path; None elsewhere."""
        if self.outcome_reward is not None:
            return "right" if self.outcome_reward == 1.0 else "wrong"
        return "no grade" if self.is_terminal else None

    @property
    def marks(self) -> list[str]:
        """What is marked here, in words."""
        words = ["first wrong step"] if self.is_first_error else []
        for word, partners in (("chosen over", self.chosen_over), ("rejected for", self.rejected_for)):
            words += [f"{word} {_partner_name(one)} (+{one.margin:.2f})" for one in partners]
        words += [f"also below #{parent}" for parent in self.other_parents]
        return words


@dataclass(frozen=True)
class TreeView:
    """A whole tree; `nodes` is by node_id and in creation order, the root is node 0."""

    tree_id: str
    night: str
    problem_id: str
    prompt: str | None
    reference_answer: str | None
    recipe: str | None  # how it was searched; None for imported trees
    policy_id: str | None
    nodes: Mapping[int, ViewNode]
    first_errors_by: str | None = None  # who says where a path goes wrong: a key of FIRST_ERRORS_BY; None = nobody

    @property
    def root(self) -> ViewNode:
        return self.nodes[ROOT]

    @property
    def has_visits(self) -> bool:
        """Whether visits are known; where they are not, the number of nodes below stands in for them."""
        return self.root.visit_count is not None

    def weight(self, node: ViewNode) -> int:
        """How much of the search went here: visits, or the node and all below it where visits are not known."""
        return node.visit_count or 0 if self.has_visits else node.num_below + 1

    def share(self, node: ViewNode) -> float:
        """The node's weight over the root's, [0, 1]."""
        return min(1.0, self.weight(node) / max(1, self.weight(self.root)))

    def num_outcomes(self, outcome: str) -> int:
        """How many ends of paths have this outcome."""
        return sum(node.outcome == outcome for node in self.nodes.values())

    def num_pairs(self) -> int:
        """Kept pairs with at least one side in this tree."""
        chosen = sum(len(node.chosen_over) for node in self.nodes.values())
        return chosen + sum(one.node_id is None for node in self.nodes.values() for one in node.rejected_for)

    def num_first_errors(self) -> int:
        """Nodes at which some rollout went wrong first."""
        return sum(node.is_first_error for node in self.nodes.values())

    def num_actions(self) -> dict[str, int]:
        """Kind of step -> its nodes, the most frequent first; empty where steps have no kinds."""
        kinds = Counter(node.action for node in self.nodes.values() if node.action is not None)
        return dict(sorted(kinds.items(), key=lambda item: (-item[1], item[0])))

    def in_order(self) -> Iterator[ViewNode]:
        """Every node before its children, subtree by subtree, children as `ViewNode.children` orders them."""
        waiting = [ROOT]
        while waiting:
            node = self.nodes[waiting.pop()]
            yield node
            waiting += reversed(node.children)


def build_view(
    head: Row, node_rows: Sequence[Row], pairs: Iterable[Row] = (), first_errors: Iterable[Row] = ()
) -> TreeView:
    """The view of one tree.

    Args:
        head: tree_id, night, problem_id; prompt, reference_answer, recipe and policy_id where they are known.
        node_rows: rows of `search_nodes`, with `other_parents` and `num_tokens` where they are known.
        pairs: chosen_node, rejected_node (None = outside this tree) and margin of the kept pairs.
        first_errors: leaf_node_id, first_wrong_step (index from 0 of the step on the way to the leaf) and source, the
            same for all; rows without a source are gold_steps.

    Raises LakeError where the rows form no tree.
    """
    nodes = {row["node_id"]: _node(row) for row in node_rows}
    tree_id = head["tree_id"]
    known = {key: head.get(key) for key in ("prompt", "reference_answer", "recipe", "policy_id")}
    first_errors = list(first_errors)
    source = first_errors[0].get("source", "gold_steps") if first_errors else None
    nodes = dict(sorted(nodes.items()))
    view = TreeView(tree_id, head["night"], head["problem_id"], **known, nodes=nodes, first_errors_by=source)
    _join(view)
    for pair in pairs:
        _mark_pair(nodes, pair)
    for error in first_errors:
        path = _from_root(nodes, error["leaf_node_id"])
        if error["first_wrong_step"] < len(path):
            path[error["first_wrong_step"]].is_first_error = True
    for node in reversed(view.nodes.values()):
        if node.node_id != ROOT:
            view.nodes[node.parent_id].num_marked_below += node.num_marked_below + node.is_marked
    return view


def _node(row: Row) -> ViewNode:
    same = ("node_id", "parent_id", "visit_count", "value", "raw_value", "prior", "num_samples", "num_tokens",
            "sum_logprob", "outcome_reward")  # fmt: skip
    return ViewNode(
        **{name: row.get(name) for name in same},
        depth=0,
        step_text=row.get("step_text") or "",
        is_terminal=bool(row.get("is_terminal")),
        action=row.get("action") or None,
        other_parents=tuple(row.get("other_parents") or ()),
    )


def _join(view: TreeView) -> None:
    """Fills children, depth and num_below; children are older than their parents nowhere, so one pass each suffices."""
    if ROOT not in view.nodes:
        raise LakeError(f"The tree {view.tree_id} of {view.night} has no root (node 0); its rows are damaged.")
    for node in view.nodes.values():
        if node.node_id == ROOT:
            continue
        parent = view.nodes.get(node.parent_id)
        if parent is None or parent.node_id >= node.node_id:
            raise LakeError(
                f"The tree {view.tree_id} of {view.night} is damaged: node {node.node_id} names the parent "
                f"{node.parent_id}, which must be an older node of the same tree."
            )
        node.depth = parent.depth + 1
        parent.children.append(node.node_id)
    for node in reversed(view.nodes.values()):
        if node.node_id != ROOT:
            view.nodes[node.parent_id].num_below += node.num_below + 1
    for node in view.nodes.values():
        node.children.sort(key=lambda child: _rank(view, view.nodes[child]))


def _rank(view: TreeView, node: ViewNode) -> tuple[float, float, int]:
    value = node.shown_value
    return -view.weight(node), -(value if value is not None else -1.0), node.node_id


def _mark_pair(nodes: Mapping[int, ViewNode], pair: Row) -> None:
    chosen, rejected = pair["chosen_node"], pair["rejected_node"]
    if chosen in nodes:
        nodes[chosen].chosen_over.append(Partner(rejected, pair["margin"]))
    if rejected in nodes:
        nodes[rejected].rejected_for.append(Partner(chosen, pair["margin"]))


def _from_root(nodes: Mapping[int, ViewNode], leaf: int) -> list[ViewNode]:
    """The nodes of the steps that lead to the leaf, the root left out; empty where the leaf is not of this tree."""
    path = []
    at = nodes.get(leaf)
    while at is not None and at.node_id != ROOT:
        path.append(at)
        at = nodes.get(at.parent_id)
    return path[::-1]


def _partner_name(partner: Partner) -> str:
    return "another tree's" if partner.node_id is None else f"#{partner.node_id}"


def visible(text: str) -> str:
    """Text with control and direction characters made visible, line ends and tabs kept.

    A model's text must be able neither to move a terminal's cursor nor to turn the order of what is beside it.
    """
    return "".join(_visible(character) for character in text.replace("\r\n", "\n"))


def one_line(text: str) -> str:
    """The same on one line: line ends as ⏎, other runs of space as one space."""
    lines = visible(text).split("\n")
    return "⏎".join(" ".join(line.split()) for line in lines)


def _visible(character: str) -> str:
    if character in "\n\t" or character.isprintable():
        return character
    return " " if unicodedata.category(character) == "Zs" else f"‹U+{ord(character):04X}›"
