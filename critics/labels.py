"""What a search tree says of its steps: one function per kind of label, from evidence to labels, pairs and bags.

Symbols, over the graded completions in a node's subtree (see `critics.evidence`): S right ones of N, V = S / N, and p
for the parent. A graded terminal is certain of itself and counts as `TERMINAL_SAMPLES` there.

    relative          V against the best that the parent could reach          (critics.evidence)
    monte_carlo       V                                       weight N / (N + 2)
    stepwise_outcome  1 if S > 0, else 0                      weight 1, or 1 - (1 - V_p)^N of a 0
    outcome           grade of the terminal                   terminals only
    outcome_bag       grade of the terminal, pooled over the steps of its path
    advantage         (1 + V - V_p) / 2                       weight N / (N + 2)
    siblings          no values, only which sibling did better
    node_values       a row of that table, whatever method made it

Steps after the first error are masked and not called wrong: where a step below the root has no right completion, its
children say nothing. Below the root itself a problem that nobody solved is worth 0 (and has no relative value).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from critics.evidence import (
    Bag,
    Evidence,
    SiblingPair,
    StepLabel,
    label_nodes,
    own_counts,
    sibling_pairs,
    subtree_counts,
)

MASKED = StepLabel(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class NodeValue:
    """A row of `node_values`."""

    value: float
    num_right: int | None = None
    num_completions: int | None = None
    quantiles: tuple[float, ...] = ()


@dataclass(frozen=True)
class TreeLabels:
    """What one tree teaches; `labels` has one entry per node, in order."""

    labels: list[StepLabel]
    pairs: list[SiblingPair]
    bags: list[Bag]


LabelFn = Callable[[Sequence[Evidence], Mapping[int, NodeValue]], TreeLabels]
"""Evidence of a tree's nodes, and what `node_values` says of some of them by index."""


def relative_labels(nodes: Sequence[Evidence], values: Mapping[int, NodeValue]) -> TreeLabels:
    """Values relative to the best that the parent could reach, and sibling pairs: the default."""
    return _with_pairs(nodes, label_nodes(nodes), "relative")


def monte_carlo_labels(nodes: Sequence[Evidence], values: Mapping[int, NodeValue]) -> TreeLabels:
    """Share of right completions (Math-Shepherd's soft label, arXiv 2312.08935)."""
    labels = [
        MASKED if counts is None else _counted(counts[0] / counts[1], *counts)
        for counts in _counts_before_the_error(nodes)
    ]
    return _with_pairs(nodes, labels, "monte_carlo")


def stepwise_outcome_labels(nodes: Sequence[Evidence], values: Mapping[int, NodeValue]) -> TreeLabels:
    """Could the policy still solve it: 1 as soon as one completion was right (SORM of GLoRe, arXiv 2402.10963).

    If a step can be solved, so can all before it, because its completions are theirs. A 0 is believed as far as a step
    as good as its parent would have shown a success: weight 1 - (1 - V_p)^N, chosen here; GLoRe weighs all alike.
    """
    num_right, num_samples = subtree_counts(nodes)
    labels = []
    for node, counts in zip(nodes, _counts_before_the_error(nodes), strict=True):
        if counts is None:
            labels.append(MASKED)
        elif counts[0] > 0:
            labels.append(StepLabel(1.0, 1.0, 1.0))
        else:
            parent_rate = num_right[node.parent] / num_samples[node.parent]
            labels.append(StepLabel(0.0, 1.0 - (1.0 - parent_rate) ** counts[1], 0.0))
    return _with_pairs(nodes, labels, "stepwise_outcome")


def outcome_labels(nodes: Sequence[Evidence], values: Mapping[int, NodeValue]) -> TreeLabels:
    """The grade of every graded terminal, read at its last step: an outcome critic."""
    labels = [MASKED if n.outcome is None else StepLabel(n.outcome, 1.0, n.outcome, n.outcome, 1.0) for n in nodes]
    return _with_pairs(nodes, labels, "outcome")


def outcome_bags(nodes: Sequence[Evidence], values: Mapping[int, NodeValue]) -> TreeLabels:
    """One bag per graded terminal: the steps of its path. No step has a label of its own."""
    bags = [Bag(_path(nodes, index), node.outcome) for index, node in enumerate(nodes) if node.outcome is not None]
    return TreeLabels([_of_source(MASKED, "outcome_bag")] * len(nodes), [], bags)


def advantage_labels(nodes: Sequence[Evidence], values: Mapping[int, NodeValue]) -> TreeLabels:
    """V(step) - V(parent) in [-1, 1], moved to [0, 1]: 1/2 is a step that changes nothing.

    The parent's completions contain the child's, so with few siblings the difference is drawn towards 0.
    """
    num_right, num_samples = subtree_counts(nodes)
    labels = []
    for node, counts in zip(nodes, _counts_before_the_error(nodes), strict=True):
        if counts is None:
            labels.append(MASKED)
            continue
        gain = counts[0] / counts[1] - num_right[node.parent] / num_samples[node.parent]
        labels.append(StepLabel((1 + gain) / 2, _count_weight(counts[1]), (1 + gain) / 2))
    return _with_pairs(nodes, labels, "advantage")


def sibling_labels(nodes: Sequence[Evidence], values: Mapping[int, NodeValue]) -> TreeLabels:
    """Only the pairs of `relative`: a preference critic of steps."""
    found = relative_labels(nodes, values)
    return TreeLabels([_of_source(MASKED, "siblings")] * len(nodes), found.pairs, [])


def values_of(method: str) -> LabelFn:
    """Labels from `node_values` of one method: td_lambda, rest_mcts or beta_quantiles.

    Weight N / (N + 2) where the row has counts, else 1. ReST-MCTS* defines values behind an error too (they fall), the
    other methods do not: theirs are masked there.
    """

    def labels_of(nodes: Sequence[Evidence], values: Mapping[int, NodeValue]) -> TreeLabels:
        is_known = [counts is not None or method == "rest_mcts" for counts in _counts_before_the_error(nodes)]
        labels = [
            _valued(values[index]) if index in values and is_known[index] and node.parent >= 0 else MASKED
            for index, node in enumerate(nodes)
        ]
        return _with_pairs(nodes, labels, method)

    return labels_of


def labels_until(first_error: int, num_steps: int, weight: float, source: str) -> list[StepLabel]:
    """Labels of a rollout's steps from its first error (-1 = none): right before it, wrong there, masked behind it."""
    labels = []
    for step in range(num_steps):
        if first_error >= 0 and step > first_error:
            labels.append(_of_source(MASKED, source))
        else:
            is_right = float(step != first_error)
            labels.append(StepLabel(is_right, weight, is_right, source=source))
    return labels


def masked_after_error(labels: Sequence[StepLabel]) -> list[StepLabel]:
    """The labels with every one behind the first target below 1/2 masked; steps without a label are no error."""
    first = next((i for i, label in enumerate(labels) if label.weight > 0 and label.target < 0.5), len(labels))
    return [label if i <= first else _of_source(MASKED, label.source) for i, label in enumerate(labels)]


def _counts_before_the_error(nodes: Sequence[Evidence]) -> list[tuple[float, float] | None]:
    """(right, total) that each step's label rests on; None at roots, without completions, and behind an error."""
    num_right, num_samples = subtree_counts(nodes)
    found: list[tuple[float, float] | None] = []
    for index, node in enumerate(nodes):
        is_step = node.parent >= 0 and num_samples[index] > 0
        is_lost = is_step and nodes[node.parent].parent >= 0 and num_right[node.parent] <= 0
        found.append(own_counts(node, num_right[index], num_samples[index]) if is_step and not is_lost else None)
    return found


def _counted(value: float, num_right: float, num_total: float) -> StepLabel:
    return StepLabel(value, _count_weight(num_total), value, num_right, num_total)


def _valued(row: NodeValue) -> StepLabel:
    num_right, num_total = float(row.num_right or 0), float(row.num_completions or 0)
    weight = _count_weight(num_total) if num_total else 1.0
    return StepLabel(row.value, weight, row.value, num_right, num_total, samples=row.quantiles)


def _count_weight(num_total: float) -> float:
    """n / (n + 2): how far n completions outweigh a uniform prior's two."""
    return num_total / (num_total + 2)


def _with_pairs(nodes: Sequence[Evidence], labels: Sequence[StepLabel], source: str) -> TreeLabels:
    named = [_of_source(label, source) for label in labels]
    return TreeLabels(named, sibling_pairs(nodes, named), [])


def _of_source(label: StepLabel, source: str) -> StepLabel:
    return label if label.source == source else replace(label, source=source)


def _path(nodes: Sequence[Evidence], index: int) -> tuple[int, ...]:
    path = []
    while nodes[index].parent >= 0:
        path.append(index)
        index = nodes[index].parent
    return tuple(reversed(path))
