"""Quality values of ReST-MCTS*: process rewards inferred from a searched tree (arXiv 2406.03816).

For the partial solution p_k = s_1 ... s_k, with v_0 = 0:

    w_k = (1 - v_k-1) / (m_k + 1) * (1 - 2 r_k)       weighted reward
    v_k = max(v_k-1 + w_k, 0)                         quality value, [0, 1]; 1 only at a right answer

m_k = reasoning distance: further steps that p_k needs at least to a right answer. r_k = 0 for a good step, 1 for a
bad one (yes, inverted). The tree tells both, as in the released code: a step is good when a right answer lies below
it, and m_k is the distance to the nearest. A step on the way to a wrong answer is bad, and has m_k of the first
node above it that has a right answer below. Steps that lead to no graded answer get nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class QualityValue:
    """What the tree says of one step."""

    value: float  # v_k, [0, 1]
    weighted_reward: float  # w_k, [-1, 1]
    is_good: bool  # 1 - r_k
    distance: int  # m_k, >= 0


def quality_values(nodes: Iterable[Mapping[str, object]]) -> dict[int, QualityValue]:
    """Quality value by node id, from one tree's rows of `search_nodes` (`node_id, parent_id, outcome_reward`, in
    order of `node_id`); the root is left out. Empty when no answer of the tree is right.

    ValueError for a grade other than 0, 1 and None.
    """
    rows = list(nodes)
    parent_of = {row["node_id"]: row["parent_id"] for row in rows}
    graded = {row["node_id"]: row["outcome_reward"] for row in rows if row["outcome_reward"] is not None}
    for node_id, reward in graded.items():
        if reward not in (0.0, 1.0):
            raise ValueError(f"node {node_id} is graded {reward}; quality values need 0 or 1")
    distances = _distances_to_a_right_answer(parent_of, [node for node, reward in graded.items() if reward == 1.0])
    is_good = dict.fromkeys(distances, True)
    if distances:
        for node_id in [node for node, reward in graded.items() if reward == 0.0]:
            for unknown, distance in _bad_steps(parent_of, node_id, distances).items():
                distances[unknown], is_good[unknown] = distance, False
    return _values(parent_of, distances, is_good)


def _distances_to_a_right_answer(parent_of: Mapping[int, int | None], right: Iterable[int]) -> dict[int, int]:
    """Steps from each node to the nearest right answer below it."""
    distances: dict[int, int] = {}
    for node_id in right:
        distance = 0
        while node_id is not None and distance < distances.get(node_id, distance + 1):
            distances[node_id] = distance
            node_id, distance = parent_of[node_id], distance + 1
    return distances


def _bad_steps(parent_of: Mapping[int, int | None], leaf: int, distances: Mapping[int, int]) -> dict[int, int]:
    """The steps from a wrong answer up to the first node with a distance, all with that distance."""
    steps = []
    while leaf not in distances:
        steps.append(leaf)
        leaf = parent_of[leaf]
    return dict.fromkeys(steps, distances[leaf])


def _values(
    parent_of: Mapping[int, int | None], distances: Mapping[int, int], is_good: Mapping[int, bool]
) -> dict[int, QualityValue]:
    values: dict[int, QualityValue] = {}
    for node_id, parent in parent_of.items():
        if parent is None or node_id not in distances:
            continue
        before = values[parent].value if parent in values else 0.0  # v_0 of the root
        weighted = (1 - before) / (distances[node_id] + 1) * (1 if is_good[node_id] else -1)
        values[node_id] = QualityValue(max(before + weighted, 0.0), weighted, is_good[node_id], distances[node_id])
    return values
