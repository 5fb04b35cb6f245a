"""Decoding under a critic: step by step, each drawn from the policy's own candidates reweighted by their values.

Symbols: pi = policy, s = path, a = a step sampled from pi, v = the evaluator's estimate of the path with that step,
[0, 1], eta = weight of the KL divergence from pi, >= 0.

    pi_eta(a | s)  is proportional to  pi(a | s) w(v)

exponential   w = exp(v / eta)                  argmax of E[v] - eta KL(pi_eta || pi) at this step, with v for Q as in
                                                controlled decoding (Mudgal et al. 2023, arXiv 2310.17022)
q_sharp       w = 1 - v + v exp(1 / eta)        Q# (Zhou et al. 2025, arXiv 2502.20548): exp(Q / eta) with its own
                                                Q = eta ln E_pi[exp(r / eta)], for r = 0 or 1 and v = P(r = 1) under pi
ratio         w = (v / V(s)) ^ (1 / eta)        critic-guided decoding (Kim et al. 2023, arXiv 2212.10938, has eta = 1);
                                                V(s) is the same for all candidates and cancels

With an exact v, `q_sharp` gives the optimum over whole solutions, and `exponential` leaves pi further than it must.
eta to infinity gives pi itself under every rule (`ratio` still never takes a candidate with v = 0). eta to 0 gives
the candidate with the largest v (exponential, ratio), but pi(a | s) v for `q_sharp`: the policy given that it will be
right. The papers reweight tokens; here the unit is a step, and pi is known by the samples of it: a candidate that
was sampled twice has twice the weight, so that every rule is exact as the number of candidates grows and unbiased at
infinite eta for any number.

One simulation decodes one complete path, with draws of its own at every step. Paths in flight advance together, one
step at a time, so that the tree never depends on the order of answers. Every candidate is kept with its value; only the
decoded steps are visits, with the value of the path's end as their return.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from pipelines.records import stable_seed
from pipelines.search.picks import check_vote
from pipelines.search.search import (
    ExploreFn,
    SearchFunctions,
    all_at_rest,
    back_up,
    can_be_expanded,
    evaluate,
    simulations,
)
from pipelines.search.tree import ROOT, Tree
from pipelines.search.types import Candidate, SearchParams

LogWeightFn = Callable[[float, float], float]
"""`log_weight(v, eta)`: ln w of a candidate for 0 < eta; -inf where w is 0."""


def exponential(value: float, eta: float) -> float:
    """v / eta."""
    return value / eta


def q_sharp(value: float, eta: float) -> float:
    """ln(1 - v + v exp(1 / eta)), without overflow for small eta."""
    if value == 0.0:
        return 0.0
    gain = 1.0 / eta
    return gain + math.log(value + (1.0 - value) * math.exp(-gain))


def ratio(value: float, eta: float) -> float:
    """ln(v) / eta."""
    return math.log(value) / eta if value else -math.inf


RULES: dict[str, LogWeightFn] = {"exponential": exponential, "q_sharp": q_sharp, "ratio": ratio}
GREEDY_IN_THE_LIMIT = frozenset({"exponential", "ratio"})


@dataclass(frozen=True, slots=True)
class Guidance:
    """How much the evaluator bends the policy."""

    rule: str = "exponential"  # how values reweight: exponential, q_sharp or ratio
    eta: float = 0.1  # KL weight, >= 0; 0 = the limit
    vote: str = "majority"  # which decoded path is the answer: best, majority, weighted, borda, logprob or mean_logprob

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"rule is {self.rule!r}; it must be one of {', '.join(RULES)}")
        if not self.eta >= 0:
            raise ValueError(f"eta is {self.eta}; it must be at least 0")
        check_vote(self.vote)


def choice_probabilities(values: Sequence[float], num_draws: Sequence[int], rule: str, eta: float) -> list[float]:
    """pi_eta over candidates with these values and numbers of samples; they sum to 1.

    Where every weight is 0 (`ratio` without any hope) the policy decides alone.
    """
    logs = _log_weights(values, rule, eta)
    largest = max(logs)
    if largest == -math.inf:
        logs, largest = [0.0] * len(logs), 0.0
    weights = [count * math.exp(log - largest) for count, log in zip(num_draws, logs, strict=True)]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def _log_weights(values: Sequence[float], rule: str, eta: float) -> list[float]:
    if eta > 0 and not math.isinf(1.0 / eta):
        return [RULES[rule](value, eta) for value in values]
    if rule in GREEDY_IN_THE_LIMIT:
        return [0.0 if value == max(values) else -math.inf for value in values]
    return [math.log(value) if value else -math.inf for value in values]


async def decode(tree: Tree, functions: SearchFunctions, params: SearchParams, *, guidance: Guidance) -> None:
    """Decode `num_simulations` complete paths, `simulations_in_flight` at once."""
    draws = range(params.num_simulations)
    for start in simulations(tree, functions, range(0, len(draws), params.simulations_in_flight)):
        ends = dict.fromkeys(draws[start : start + params.simulations_in_flight], ROOT)  # draw -> where its path is
        while ends and not tree.is_closed[ROOT]:
            ends = await _advance(tree, ends, functions, params, guidance)


def make_decode(guidance: Guidance) -> ExploreFn:
    """`decode` with its parameters bound."""
    return partial(decode, guidance=guidance)


async def _advance(
    tree: Tree, ends: dict[int, int], functions: SearchFunctions, params: SearchParams, guidance: Guidance
) -> dict[int, int]:
    """One more step of every path; those that have not ended, with their new ends."""
    proposals = await all_at_rest(
        [
            functions.propose(replace(tree.path(node_id), draw=draw), params.num_candidates)
            for draw, node_id in ends.items()
        ]
    )
    num_before = len(tree)
    offers = [
        _add_candidates(tree, node_id, candidates) for node_id, candidates in zip(ends.values(), proposals, strict=True)
    ]
    await evaluate(tree, range(num_before, len(tree)), functions)
    going_on = {}
    for (draw, node_id), offer in zip(ends.items(), offers, strict=True):
        reached = _choose(tree, node_id, draw, offer, guidance) if offer else node_id
        if offer and can_be_expanded(tree, reached, params):
            going_on[draw] = reached
        elif reached != ROOT:
            back_up(tree, reached, functions)
    return going_on


def _add_candidates(tree: Tree, node_id: int, candidates: Sequence[Candidate]) -> dict[int, int]:
    """Child of each candidate, with the number of samples that said it; equal texts are one child in every draw."""
    known = {tree.candidate[child].step_text: child for child in tree.children[node_id]}
    missing = [candidate for candidate in candidates if candidate.step_text not in known]
    for child in tree.add_children(node_id, missing):
        known[tree.candidate[child].step_text] = child
    if not tree.children[node_id]:
        tree.close(node_id)
    return {known[candidate.step_text]: candidate.num_draws for candidate in candidates}


def _choose(tree: Tree, node_id: int, draw: int, offer: dict[int, int], guidance: Guidance) -> int:
    values = [tree.raw_value[child] for child in offer]
    weights = choice_probabilities(values, list(offer.values()), guidance.rule, guidance.eta)
    seed = stable_seed(tree.tree_id, "value_guided_decoding", draw, tree.path(node_id).token_ids)
    return random.Random(seed).choices(list(offer), weights)[0]
