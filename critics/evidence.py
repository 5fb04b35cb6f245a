"""From graded completions in a search tree to what a critic learns about each step.

A step is judged relative to what its parent could still reach, never by its absolute value: absolute
values follow how easy the rest of the problem is (a dropped carry leaves smaller numbers), so a critic
of absolute values ranks by ease and not by truth.

Symbols, for a node with parent p, over the graded completions in a node's subtree (its own included):

    S, N    successes and number of completions          q_p = S_p / N_p
    q~      (S + k q_p) / (N + k)                        Beta posterior mean, prior at the parent, k = 0.5
    m       max(q_p, q~ of the node and its siblings with N > 0)     what the parent could still reach
    target  clip(q~ / m, 0, 1)
    weight  1 - (1 - m)^N      chance that a step as good as the best would have shown a success in N tries

The weight is what protects right steps of hard problems: with m = 0.2, two failures weigh 0.36, with
m = 0.9 they weigh 0.99. Masked (weight 0): nodes without completions, and the children of a parent
with S_p = 0, because steps after the first error have no meaning. A critic's own estimates
(`num_samples` 0) are never evidence; a graded terminal counts as the completions that ended there
(one at least) for its ancestors and as `TERMINAL_SAMPLES` for itself, because its outcome is certain.
"""

from collections.abc import Sequence
from dataclasses import dataclass

PRIOR_STRENGTH = 0.5
TERMINAL_SAMPLES = 8


@dataclass(frozen=True)
class Evidence:
    """Graded completions directly at one node, before any summing over its subtree."""

    parent: int  # index of the parent in the same sequence, below this node's own; -1 at the root
    num_samples: int  # graded completions that started at this node
    num_right: float  # how many of them were right
    outcome: float | None = None  # grade of a terminal node; None where it is not terminal or not graded


@dataclass(frozen=True)
class StepLabel:
    """What the tree says about one step."""

    target: float  # [0, 1], relative to the best the parent could reach; 0.0 also where weight is 0
    weight: float  # [0, 1]; 0 = masked
    value: float  # smoothed share of right completions, [0, 1]


@dataclass(frozen=True)
class SiblingPair:
    """Two labelled children of one parent of which one did better."""

    better: int
    worse: int
    weight: float  # gap of the smoothed values times the smaller of the two evidence weights


def subtree_counts(nodes: Sequence[Evidence]) -> tuple[list[float], list[float]]:
    """(successes, completions) of every node's subtree; a graded terminal counts as the completions that ended there.

    Equal samples are one leaf of a tree, so that these may be several; where none were counted it is one.
    """
    num_right, num_samples = [], []
    for node in nodes:
        num_ended = max(1, node.num_samples)
        num_right.append(node.num_right if node.outcome is None else node.outcome * num_ended)
        num_samples.append(float(node.num_samples if node.outcome is None else num_ended))
    for index in range(len(nodes) - 1, -1, -1):
        parent = nodes[index].parent
        if parent >= index:
            raise ValueError(f"node {index} has parent {parent}: parents must come before their children")
        if parent >= 0:
            num_right[parent] += num_right[index]
            num_samples[parent] += num_samples[index]
    return num_right, num_samples


def label_nodes(nodes: Sequence[Evidence]) -> list[StepLabel]:
    """One label per node, in order (formulas at the head of this file); roots are masked."""
    num_right, num_samples = subtree_counts(nodes)
    labels = [StepLabel(0.0, 0.0, 0.0)] * len(nodes)
    for parent, children in sibling_groups(nodes).items():
        if num_right[parent] <= 0:
            continue
        parent_rate = num_right[parent] / num_samples[parent]
        counts = {i: _own_counts(nodes[i], num_right[i], num_samples[i]) for i in children if num_samples[i] > 0}
        values = {i: (s + PRIOR_STRENGTH * parent_rate) / (n + PRIOR_STRENGTH) for i, (s, n) in counts.items()}
        best = max([parent_rate, *values.values()])
        for i, value in values.items():
            labels[i] = StepLabel(min(value / best, 1.0), 1.0 - (1.0 - best) ** counts[i][1], value)
    return labels


def sibling_pairs(nodes: Sequence[Evidence], labels: Sequence[StepLabel]) -> list[SiblingPair]:
    """Every pair of labelled siblings with different values, better one first."""
    pairs = []
    for children in sibling_groups(nodes).values():
        labelled = [i for i in children if labels[i].weight > 0]
        for better in labelled:
            for worse in labelled:
                gap = labels[better].value - labels[worse].value
                if gap > 1e-9:
                    pairs.append(SiblingPair(better, worse, gap * min(labels[better].weight, labels[worse].weight)))
    return pairs


def sibling_groups(nodes: Sequence[Evidence]) -> dict[int, list[int]]:
    """Children by parent, both as indices, in order."""
    groups: dict[int, list[int]] = {}
    for index, node in enumerate(nodes):
        if node.parent >= 0:
            groups.setdefault(node.parent, []).append(index)
    return groups


def _own_counts(node: Evidence, num_right: float, num_samples: float) -> tuple[float, float]:
    if node.outcome is None:
        return num_right, num_samples
    return node.outcome * TERMINAL_SAMPLES, float(TERMINAL_SAMPLES)
