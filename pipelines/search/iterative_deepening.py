"""Iterative deepening sampling: the budget grows until the answer is stable or verified (Chen et al. 2025, arXiv
2502.05449).

Stage k samples B0 gamma^k completions: the first stage from the root, every later one from the B0 best answers so
far (from the root for those that are missing), in equal shares. Between stages the policy is made to correct itself:
- with a `trigger`, an answer is reopened: its end is taken back, the trigger's text follows as a step, and the next
  stage samples on from there;
- without one (for a policy that was never taught to reflect) the next stage resumes before the answer's weakest step,
  at which the value falls most: argmax over t of v_t-1 - v_t, where v_0 = the mean return of all samples and v_t = the
  evaluator's estimate of the path up to step t.
The search ends when the budget is spent, when the value of an answer reaches `min_value` (verified; in data generation
that is a right answer), or when a stage leaves the majority answer as it was with at least `min_share` of all samples
(stable). One simulation is one sample; the last stage takes what is left.

The paper gives the growing budget and the triggers inside each of several responses; the two tests that end the
search, and what a stage does without a trigger, are this project's.
"""

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from pipelines.search.picks import check_vote
from pipelines.search.sampled import Ending, add_steps, sample_paths
from pipelines.search.search import ExploreFn, SearchFunctions, evaluate, simulations
from pipelines.search.tree import ROOT, Tree
from pipelines.search.types import SearchParams


@dataclass(frozen=True, slots=True)
class Deepening:
    """How the stages grow, when they end, and what comes between them."""

    first_budget: int = 4  # B0: samples of the first stage, and answers that every later one resumes, >= 1
    growth: float = 2.0  # gamma, >= 1
    min_share: float = 0.75  # of all samples, that must agree for a stable answer, (0, 1]
    min_value: float = 0.9  # from which an answer counts as verified, (0, 1]
    trigger: str = ""  # what follows an answer before the next stage; "" = resume before its weakest step
    vote: str = "weighted"  # which answer is picked: best, majority, weighted, borda, logprob or mean_logprob

    def __post_init__(self) -> None:
        if self.first_budget < 1:
            raise ValueError(f"first_budget is {self.first_budget}; it must be at least 1")
        if not 1.0 <= self.growth <= 1000.0:
            raise ValueError(f"growth is {self.growth}; it must be between 1 and 1000")
        for name in ("min_share", "min_value"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0 and at most 1")
        check_vote(self.vote)


def stage_sizes(num_samples: int, first_budget: int, growth: float) -> Iterator[int]:
    """Samples of each stage, B0 gamma^k rounded, until `num_samples` are spent."""
    size = float(first_budget)
    while num_samples > 0:
        yield min(round(size), num_samples)
        num_samples -= round(size)
        size *= growth


def shares(num_samples: int, num_starts: int) -> list[int]:
    """Samples of each start, the first ones one more where they do not divide."""
    return [num_samples // num_starts + (index < num_samples % num_starts) for index in range(num_starts)]


async def deepen(tree: Tree, functions: SearchFunctions, params: SearchParams, *, own: Deepening) -> None:
    """Sample stage after stage until the answer is stable or verified."""
    endings: list[Ending] = []
    before: str | None = None
    draws = itertools.count()
    for size in simulations(tree, functions, stage_sizes(params.num_simulations, own.first_budget, own.growth)):
        new: list[Ending] = []
        starts = await _starts(tree, endings, min(own.first_budget, size), functions, own)
        for start, share in zip(starts, shares(size, len(starts)), strict=True):
            new += await sample_paths(tree, start, share, functions, params, draws)
        endings += new
        answer, agreement = majority(endings)
        is_stable = bool(new) and answer is not None and answer == before and agreement >= own.min_share
        if not endings or is_stable or _is_verified(tree, endings, own.min_value):
            return
        before = answer


def make_deepen(own: Deepening) -> ExploreFn:
    """`deepen` with its parameters bound."""
    return partial(deepen, own=own)


def majority(endings: Sequence[Ending]) -> tuple[str | None, float]:
    """The most frequent answer, the first among equals, and its share of all samples; None where none has one."""
    votes = Counter(ending.answer for ending in endings if ending.answer is not None)
    if not votes:
        return None, 0.0
    ((answer, count),) = votes.most_common(1)
    return answer, count / len(endings)


def _answered(tree: Tree, endings: Sequence[Ending]) -> list[int]:
    return [one.leaf for one in endings if one.answer is not None and tree.is_known[one.leaf]]


def _is_verified(tree: Tree, endings: Sequence[Ending], min_value: float) -> bool:
    return any(tree.raw_value[leaf] >= min_value for leaf in _answered(tree, endings))


async def _starts(
    tree: Tree, endings: Sequence[Ending], count: int, functions: SearchFunctions, own: Deepening
) -> list[int]:
    """The nodes that the next stage samples from: the best answers, and the root once for all that are missing."""
    answers = sorted(set(_answered(tree, endings)), key=lambda leaf: (-tree.raw_value[leaf], leaf))[:count]
    starts = [await _reopened(tree, leaf, functions, own.trigger) for leaf in answers]
    return starts if len(starts) == count else [*starts, ROOT]


async def _reopened(tree: Tree, leaf: int, functions: SearchFunctions, trigger: str) -> int:
    """Where an answer is resumed."""
    if trigger:
        return add_steps(tree, tree.parent[leaf], functions.reopen(tree.path(leaf), trigger))
    return tree.parent[await _weakest_step(tree, leaf, functions)]


async def _weakest_step(tree: Tree, leaf: int, functions: SearchFunctions) -> int:
    """The step on the way to a leaf at which the value falls most, the first among equals; values what has none. Steps
    of which nothing is known are passed over; the leaf is known.
    """
    steps = tree.from_root(leaf)
    await evaluate(tree, [step for step in steps if tree.raw_value[step] is None], functions)
    known = [step for step in steps if tree.is_known[step]]
    values = [tree.value(ROOT) or 0.0, *(tree.raw_value[step] for step in known)]
    falls = [before - after for before, after in zip(values, values[1:], strict=False)]
    return known[falls.index(max(falls))]
