"""Search trees as training examples of a process critic: labelled steps, sibling pairs, few token rows.

One `TreeExample` per tree. Its `rows` are the paths that have to be evaluated: each labelled node is read
on exactly one row (so each counts once in the loss), a row ends at a labelled node, and rows are in
depth-first order, so that siblings stand close together.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import pyarrow as pa

from critics.errors import CriticDataError
from critics.evidence import Bag, Evidence, SiblingPair, StepLabel
from critics.fold import fold_of, unit_hash
from critics.labels import LabelFn, NodeValue, relative_labels
from pipelines.search.extraction import step_nodes
from pipelines.tables import RELATIONS

NODE_COLUMNS = (
    "tree_id", "node_id", "parent_id", "problem_id", "node_kind", "step_text", "raw_value", "num_samples",
    "is_terminal", "outcome_reward", "is_guided",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One root-to-node path and the nodes of it whose scores are read here."""

    path: tuple[int, ...]  # node indices from the first step downwards (without the root)
    read: tuple[int, ...]  # positions in `path` whose node belongs to this row


@dataclass(frozen=True)
class TreeExample:
    """What one search tree teaches; node 0 is the root and has no step."""

    tree_id: str
    problem_id: str
    prompt: str  # the problem in the critic's own prompt, ends where the first step begins
    steps: tuple[str, ...]  # text of each node's step, without separator; "" at the root
    labels: tuple[StepLabel, ...]
    pairs: tuple[SiblingPair, ...]
    rows: tuple[Row, ...]
    bags: tuple[Bag, ...] = ()
    is_guided: bool | None = None  # a critic guided the search; None: not known

    @property
    def num_nodes(self) -> int:
        """Labelled nodes; masked ones are not counted."""
        return sum(label.weight > 0 for label in self.labels)


@dataclass(frozen=True)
class StepExamples:
    """The labelled steps of many trees."""

    trees: tuple[TreeExample, ...]

    @property
    def num_nodes(self) -> int:
        return sum(tree.num_nodes for tree in self.trees)

    @property
    def num_pairs(self) -> int:
        return sum(len(tree.pairs) for tree in self.trees)

    @property
    def num_bags(self) -> int:
        return sum(len(tree.bags) for tree in self.trees)

    @cached_property
    def problem_ids(self) -> frozenset[str]:
        return frozenset(tree.problem_id for tree in self.trees)

    def without_fold(self, fold: int | None, num_folds: int) -> "StepExamples":
        """Examples of the problems outside `fold`; None leaves all of them."""
        if fold is None:
            return self
        return StepExamples(tuple(t for t in self.trees if fold_of(t.problem_id, num_folds) != fold))

    def split(self, validation_fraction: float, seed: int) -> tuple["StepExamples", "StepExamples"]:
        """(training, validation), by problem: no problem is in both, whatever the number of its trees."""
        held = {p for p in self.problem_ids if unit_hash(p, f"validation/{seed}") < validation_fraction}
        return (
            StepExamples(tuple(t for t in self.trees if t.problem_id not in held)),
            StepExamples(tuple(t for t in self.trees if t.problem_id in held)),
        )

    def digest(self) -> str:
        """sha256 (hex) of everything that training reads; changes with any label, text or pair."""
        sha = hashlib.sha256()
        for tree in self.trees:
            labels = [(round(lab.target, 9), round(lab.weight, 9), round(lab.value, 9)) for lab in tree.labels]
            paths = [row.path for row in tree.rows]
            content = [tree.tree_id, tree.problem_id, tree.prompt, tree.steps, labels, paths]
            more = [[lab.num_right, lab.num_total, lab.samples, lab.grades, lab.attributes] for lab in tree.labels]
            pairs = [(pair.better, pair.worse, round(pair.weight, 9)) for pair in tree.pairs]
            bags = [(bag.nodes, bag.outcome) for bag in tree.bags]
            sha.update(json.dumps([*content, more, pairs, bags]).encode())
        return sha.hexdigest()


def examples_from_trees(
    problems: pa.Table,
    search_nodes: pa.Table,
    verify_prompt: Callable[[Mapping], str],
    *,
    split: str = "train",
    label: LabelFn = relative_labels,
    values: Mapping[tuple[str, int], NodeValue] | None = None,
) -> StepExamples:
    """Labelled steps of the trees of one split's problems.

    problems, search_nodes: tables of `pipelines.tables`; of the nodes only `NODE_COLUMNS` are read.
    verify_prompt: problem row -> the text before the first step.
    label: what the nodes are said to be worth. values: (tree_id, node_id) -> the row of `node_values` that it reads.
    Trees of whole answers, and those without a single labelled step, are left out. Raises CriticDataError for a tree
    whose problem is missing from `problems` or whose nodes do not form a tree.
    """
    rows = {row["problem_id"]: row for row in problems.to_pylist()}
    trees: dict[str, list[dict]] = {}
    for node in step_nodes(search_nodes.select(list(NODE_COLUMNS))).to_pylist():
        trees.setdefault(node["tree_id"], []).append(node)
    examples = []
    for tree_id in sorted(trees):
        problem = _problem_of(tree_id, trees[tree_id], rows)
        if problem["split"] == split:
            examples.append(tree_example(trees[tree_id], verify_prompt(problem), label, values or {}))
    return StepExamples(tuple(tree for tree in examples if tree.rows))


def tree_example(
    nodes: Iterable[Mapping],
    prompt: str,
    label: LabelFn = relative_labels,
    values: Mapping[tuple[str, int], NodeValue] | None = None,
) -> TreeExample:
    """One tree's nodes (rows of `search_nodes`, any order) as an example."""
    ordered = sorted(nodes, key=lambda node: node["node_id"])
    evidence = _evidence(ordered)
    known = values or {}
    keys = [(node["tree_id"], node["node_id"]) for node in ordered]
    found = label(evidence, {index: known[key] for index, key in enumerate(keys) if key in known})
    parents = [node.parent for node in evidence]
    return TreeExample(
        tree_id=ordered[0]["tree_id"],
        problem_id=ordered[0]["problem_id"],
        prompt=prompt,
        steps=tuple(node["step_text"] or "" for node in ordered),
        labels=tuple(found.labels),
        pairs=tuple(found.pairs),
        rows=cover_rows(parents, _nodes_read(found.labels, found.pairs, found.bags)),
        bags=tuple(found.bags),
        is_guided=ordered[0].get("is_guided"),
    )


def path_example(
    tree_id: str,
    problem_id: str,
    prompt: str,
    steps: Sequence[str],
    labels: Sequence[StepLabel],
    *,
    pairs: Sequence[SiblingPair] = (),
    parents: Sequence[int] | None = None,
    is_guided: bool | None = None,
) -> TreeExample:
    """A rollout as an example: node k + 1 is its step k. `parents` (of the nodes, root first) makes it branch."""
    labelled = (StepLabel(0.0, 0.0, 0.0), *labels)
    rows = cover_rows(range(-1, len(steps)) if parents is None else parents, _nodes_read(labelled, pairs, ()))
    return TreeExample(tree_id, problem_id, prompt, ("", *steps), labelled, tuple(pairs), rows, (), is_guided)


def without_nodes(tree: TreeExample, left_out: Collection[int]) -> TreeExample:
    """A tree that teaches nothing of some nodes and of what lies below them; labels, pairs and bags of others stay."""
    parents = [-1] * len(tree.steps)
    for row in tree.rows:
        for parent, node in zip((0, *row.path), row.path, strict=False):
            parents[node] = parent
    lost = set(left_out)
    for row in tree.rows:
        first = next((i for i, node in enumerate(row.path) if node in lost), len(row.path))
        lost.update(row.path[first:])
    labels = tuple(replace(one, weight=0.0) if node in lost else one for node, one in enumerate(tree.labels))
    pairs = tuple(pair for pair in tree.pairs if lost.isdisjoint((pair.better, pair.worse)))
    bags = tuple(bag for bag in tree.bags if lost.isdisjoint(bag.nodes))
    rows = cover_rows(parents, _nodes_read(labels, pairs, bags))
    return replace(tree, labels=labels, pairs=pairs, bags=bags, rows=rows)


def label_table(examples: StepExamples) -> pa.Table:
    """One row per labelled step, with where its label comes from: the relation `step_labels`."""
    rows = [
        {
            "tree_id": tree.tree_id, "problem_id": tree.problem_id, "node": index, "step_text": tree.steps[index],
            "source": label.source, "target": label.target, "weight": label.weight,
            "num_right": label.num_right if label.num_total else None,
            "num_total": label.num_total if label.num_total else None, "is_guided": tree.is_guided,
        }
        for tree in examples.trees
        for index, label in enumerate(tree.labels)
        if label.weight > 0
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=RELATIONS["step_labels"])


def _nodes_read(labels: Sequence[StepLabel], pairs: Sequence[SiblingPair], bags: Sequence[Bag]) -> list[bool]:
    """Which nodes a critic has to be asked about: labelled ones, and those of pairs and bags."""
    wanted = {node for pair in pairs for node in (pair.better, pair.worse)} | {n for bag in bags for n in bag.nodes}
    return [label.weight > 0 or index in wanted for index, label in enumerate(labels)]


def cover_rows(parents: Sequence[int], is_read: Sequence[bool]) -> tuple[Row, ...]:
    """Fewest root-to-node paths that touch every node to be read, each node read on one of them.

    Deepest nodes first, so that a path takes all unread nodes above it with it.
    """
    depths = [0] * len(parents)
    for index, parent in enumerate(parents):
        depths[index] = depths[parent] + 1 if parent >= 0 else 0
    unread = {i for i, wanted in enumerate(is_read) if wanted and parents[i] >= 0}
    rows = []
    for leaf in sorted(unread, key=lambda i: (-depths[i], i)):
        if leaf not in unread:
            continue
        path = _path_to(leaf, parents)
        rows.append(Row(path, tuple(i for i, node in enumerate(path) if node in unread)))
        unread.difference_update(path)
    return tuple(sorted(rows, key=lambda row: row.path))


def _path_to(node: int, parents: Sequence[int]) -> tuple[int, ...]:
    path = []
    while parents[node] >= 0:
        path.append(node)
        node = parents[node]
    return tuple(reversed(path))


def _evidence(ordered: Sequence[Mapping]) -> list[Evidence]:
    index_of: dict[int, int] = {}
    evidence = []
    for index, node in enumerate(ordered):
        parent_id = node["parent_id"]
        if parent_id is not None and parent_id not in index_of:
            raise CriticDataError(
                f"tree {node['tree_id']}: the parent {parent_id} of node {node['node_id']} is not in search_nodes "
                "before it; a tree needs every parent, with a smaller node_id than its children"
            )
        index_of[node["node_id"]] = index
        num_samples = node["num_samples"] or 0
        num_right = (node["raw_value"] or 0.0) * num_samples
        outcome = node["outcome_reward"] if node["is_terminal"] else None
        evidence.append(Evidence(-1 if parent_id is None else index_of[parent_id], num_samples, num_right, outcome))
    return evidence


def _problem_of(tree_id: str, nodes: Sequence[Mapping], problems: Mapping[str, Mapping]) -> Mapping:
    problem_id = nodes[0]["problem_id"]
    if problem_id not in problems:
        raise CriticDataError(
            f"tree {tree_id} belongs to problem {problem_id}, which is not among the {len(problems)} rows of problems"
        )
    return problems[problem_id]
