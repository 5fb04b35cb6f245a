"""How one complete path of a tree is chosen as the answer: one function per rule.

No rule sees a reference answer. Ties go to the lowest node id.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from pipelines.search.tree import ROOT, Tree
from pipelines.votes import borda_vote


@dataclass(frozen=True, slots=True)
class CompletePath:
    """One complete path of a tree, as the choice of an answer sees it."""

    node_id: int
    answer: str | None
    score: float  # the critic's value of the path, [0, 1]; 0 where it knows none
    num_samples: int = 1  # samples that ended there, >= 1, where a recipe merges equal ones; each of them has a vote


PickFn = Callable[[Tree, list[CompletePath]], CompletePath]
"""Chooses among the complete paths of a tree that have an answer (at least one, in creation order)."""


def pick_best(tree: Tree, paths: list[CompletePath]) -> CompletePath:
    """The path with the highest score; ties go to the lowest node id.

    The more paths there are, the likelier it is that the highest score is the critic's largest mistake.
    """
    return min(paths, key=lambda path: (-path.score, path.node_id))


def pick_by_majority(tree: Tree, paths: list[CompletePath]) -> CompletePath:
    """The first path of the answer that most samples give, whatever their scores (self-consistency, Wang et al. 2022,
    arXiv 2203.11171); among equally frequent answers the one that came first.
    """
    votes = _totals(paths, lambda path: path.num_samples)
    return min(paths, key=lambda path: (-votes[path.answer], path.node_id))


def pick_by_vote(tree: Tree, paths: list[CompletePath]) -> CompletePath:
    """The best path of the answer whose samples have the largest sum of scores; ties as in `pick_best`.

    sum over the samples i with answer a of v_i (weighted best-of-n, Li et al. 2022, arXiv 2206.02336). With equal
    scores this is the majority.
    """
    totals = _totals(paths, lambda path: path.num_samples * path.score)
    return min(paths, key=lambda path: (-totals[path.answer], -path.score, path.node_id))


def pick_by_borda(tree: Tree, paths: list[CompletePath]) -> CompletePath:
    """The best path of the answer with the most votes, a sample of score rank r among N having (N - r + 1)^0.5 of them
    (Borda voting of self-certainty, arXiv 2502.18581, here by the evaluator's scores): between `pick_by_majority` and
    `pick_best`, and blind to how far scores lie apart.
    """
    voters = [path for path in paths for _ in range(max(1, path.num_samples))]
    return voters[borda_vote([path.answer for path in voters], [path.score for path in voters])]


def pick_by_logprob(tree: Tree, paths: list[CompletePath]) -> CompletePath:
    """The path that the policy itself finds likeliest, by the sum over its tokens; no evaluator has a say."""
    return min(paths, key=lambda path: (-_sum_logprob(tree, path), path.node_id))


def pick_by_mean_logprob(tree: Tree, paths: list[CompletePath]) -> CompletePath:
    """The path with the largest mean log-probability per token that the policy drew: length as such costs nothing."""
    return min(paths, key=lambda path: (-_sum_logprob(tree, path) / _num_drawn(tree, path), path.node_id))


def pick_by_descent(tree: Tree, paths: list[CompletePath]) -> CompletePath:
    """The path reached from the root by always taking the child that the critic values highest, among those that
    lead to an answer; ties go to the lowest node id.

    Each choice compares siblings only. That is what a critic is best at, and it bounds how often the search
    can find a mistake of the critic's: with a noisy critic a larger tree makes `pick_best` worse and
    leaves this about as good. A step that the critic never valued counts with its mean return.
    """
    by_node = {path.node_id: path for path in paths}
    leads_to_answer = {ancestor for path in paths for ancestor in tree.to_root(path.node_id)}
    node_id = ROOT
    while node_id not in by_node:
        children = [child for child in tree.children[node_id] if child in leads_to_answer]
        node_id = min(children, key=lambda child: (-_value_of(tree, child), child))
    return by_node[node_id]


def pick_over_gate(tree: Tree, paths: list[CompletePath], *, gate: float) -> CompletePath:
    """The first path whose score reaches the gate; where none does, the best one (ReST-MCTS*, arXiv 2406.03816, in
    the form of its released code, which stops there; gate 0.9).
    """
    over = [path for path in paths if path.score >= gate]
    return min(over, key=lambda path: path.node_id) if over else pick_best(tree, paths)


VOTES: dict[str, PickFn] = {
    "best": pick_best,
    "majority": pick_by_majority,
    "weighted": pick_by_vote,
    "borda": pick_by_borda,
    "logprob": pick_by_logprob,
    "mean_logprob": pick_by_mean_logprob,
}
"""What the parameter `vote` of a recipe that samples can be."""


def check_vote(vote: str) -> None:
    """ValueError for a vote that there is not."""
    if vote not in VOTES:
        raise ValueError(f"vote is {vote!r}; it must be one of {', '.join(VOTES)}")


def make_pick_over_gate(gate: float) -> PickFn:
    """`pick_over_gate` with its gate bound."""
    return partial(pick_over_gate, gate=gate)


def _totals(paths: list[CompletePath], weight: Callable[[CompletePath], float]) -> dict[str | None, float]:
    totals: dict[str | None, float] = {}
    for path in paths:
        totals[path.answer] = totals.get(path.answer, 0.0) + weight(path)
    return totals


def _sum_logprob(tree: Tree, path: CompletePath) -> float:
    return math.fsum(step.sum_logprob for step in tree.path(path.node_id).steps)


def _num_drawn(tree: Tree, path: CompletePath) -> int:
    steps = tree.path(path.node_id)
    return max(1, len(steps.token_ids) - steps.num_given_tokens)


def _value_of(tree: Tree, node_id: int) -> float:
    estimate = tree.raw_value[node_id]
    is_estimated = estimate is not None and tree.is_known[node_id]
    return estimate if is_estimated else tree.value(node_id) or 0.0
