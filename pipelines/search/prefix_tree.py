"""Groups of independent samples -> prefix trees with values (P2T and TEMPO, Tran et al. 2025, arXiv 2509.18314).

The samples of one group that begin with the same steps share those nodes. With r = grade of a sample:

    V(s)        = mean of r over the graded samples that pass through s         [0, 1]
    delta_it    = V(s_t+1) - V(s_t)         0 wherever the tree does not branch
    A_it        = (r_i - mean r) / std r + delta_it / std r

The paper merges equal tokens; here equal step texts are merged, white space aside, because sampled tokens part
almost at once. A last step is an action of its own (it holds the end of the text), so samples end in leaves only.
A failed sample is left out; one without a grade has its nodes, but is no visit and no part of any mean.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipelines.records import stable_digest
from pipelines.search.extraction import Row, edge_rows, node_rows
from pipelines.search.search import mean_backup
from pipelines.search.tree import ROOT, Tree
from pipelines.search.types import Candidate, Evaluation

UNKNOWN = {"prior": None, "sum_logprob": None, "token_ids": None}  # samples do not say which tokens are which step's


@dataclass(frozen=True)
class PrefixTree:
    """The merged samples of one group."""

    tree: Tree
    leaf_of: Mapping[str, int]  # rollout id -> the node in which it ends; samples with the same text share one
    reward_of: Mapping[str, float]  # rollout id -> 0.0 or 1.0, graded samples only

    def node_rows(self, night: str) -> list[Row]:
        """Rows of `search_nodes`: `value` is V, `visit_count` the graded samples behind it."""
        return [row if row["node_id"] == ROOT else row | UNKNOWN for row in node_rows(self.tree, night)]

    def edge_rows(self, night: str) -> list[Row]:
        """Rows of `search_edges`."""
        return list(edge_rows(self.tree, night))

    def advantages(self) -> dict[str, list[float]]:
        """A_it of every graded sample, one number per step; all 0 where every grade is the same.

        std is that of the group's grades, with n in the denominator.
        """
        rewards = list(self.reward_of.values())
        spread = statistics.pstdev(rewards) if rewards else 0.0
        return {rollout_id: self._advantages(rollout_id, spread) for rollout_id in self.reward_of}

    def _advantages(self, rollout_id: str, spread: float) -> list[float]:
        tree, steps = self.tree, self.tree.from_root(self.leaf_of[rollout_id])
        if not spread:
            return [0.0] * len(steps)
        outcome = self.reward_of[rollout_id] - tree.value(ROOT)
        return [(outcome + tree.value(step) - tree.value(tree.parent[step])) / spread for step in steps]


def prefix_trees(rollouts: Iterable[Row]) -> list[PrefixTree]:
    """One tree per group of `rollouts` rows (`rollout_id, group_id, problem_id, steps, outcome_reward, request_id,
    finish_reason, error`), groups and nodes in order of appearance. A group without a usable sample has none.

    ValueError for a row without a group, and for a grade that is neither None nor in [0, 1], NaN included.
    """
    groups: dict[str, list[Row]] = {}
    for row in rollouts:
        if row["error"] is not None:
            continue
        if row["group_id"] is None:
            raise ValueError(f"rollout {row['rollout_id']} belongs to no group, so there is nothing to merge it with")
        groups.setdefault(row["group_id"], []).append(row)
    return [_merged(group_id, rows) for group_id, rows in groups.items()]


def tree_id_of_group(group_id: str) -> str:
    """Id of the one prefix tree of a group."""
    return stable_digest("prefix_tree", group_id)


def _merged(group_id: str, rows: Sequence[Row]) -> PrefixTree:
    tree = Tree(tree_id_of_group(group_id), {"problem_id": rows[0]["problem_id"]})
    children: dict[tuple[int, str, bool], int] = {}  # parent, text, whether a sample ends there -> node
    leaf_of = {row["rollout_id"]: _add_path(tree, children, row) for row in rows}
    reward_of = {row["rollout_id"]: row["outcome_reward"] for row in rows if row["outcome_reward"] is not None}
    rewards_at: dict[int, list[float]] = {}
    for rollout_id, reward in reward_of.items():
        rewards_at.setdefault(leaf_of[rollout_id], []).append(reward)
    for leaf, rewards in rewards_at.items():
        grade = rewards[0] if len(set(rewards)) == 1 else None  # a grader that contradicts itself says nothing
        tree.record_evaluation(leaf, Evaluation(statistics.fmean(rewards), grade, len(rewards)))
        for reward in rewards:
            mean_backup(tree, leaf, reward)
    return PrefixTree(tree, leaf_of, reward_of)


def _add_path(tree: Tree, children: dict[tuple[int, str, bool], int], row: Row) -> int:
    """Node in which a sample ends, after adding what the tree does not have of it yet."""
    steps = row["steps"] or [""]  # an end token at once is a step without text
    node_id = ROOT
    for index, step in enumerate(steps):
        is_last = index == len(steps) - 1
        key = (node_id, " ".join(step.split()), is_last)
        if key not in children:
            finish_reason = row["finish_reason"] if is_last else "stop"
            candidate = Candidate(step, (), 0.0, 1.0, is_last, row["request_id"], finish_reason=finish_reason)
            (children[key],) = tree.add_children(node_id, [candidate])
        node_id = children[key]
    return node_id
