"""Entropy branching: new samples start where an earlier one was least certain.

Symbols: h_t = uncertainty of the policy at token t of a sample, in nats; mu, sigma = mean and standard deviation of h
over the last `window` tokens before t; k = `num_sd`. A token peaks where

    h_t > max(mu + k max(sigma, min_sd), min_threshold)

the dynamic threshold of self-reflective generation (SRGen, Mu et al. 2025, arXiv 2510.02919, in the form of its
documentation: window 20, k = 2, min_sd 0.5, min_threshold 1.8; its scripts have window 25, k = 4). As in entropy-guided
tree search (TreeRL, Hou et al. 2025, arXiv 2506.11902) a step in which a token peaks is a fork: from the prefix before
that step, new continuations are drawn.

1. `num_first` solutions are sampled from the root;
2. of all prefixes after which a step peaked, that with the largest peak is completed `num_branches` times, each prefix
   once; where no peak is left, from the root;
3. step 2 is repeated until the budget is spent. One simulation is one sample.

h is the entropy of the next-token distribution where `functions.entropy` gives it (`uncertainty` = entropy). Where
nothing does, as for large vocabularies, or where `uncertainty` asks for it, the surprisal -ln p of the sampled token
stands in: its mean over draws is the entropy, but one draw of it is noisy. Both papers act
inside a step; here a fork keeps whole steps. (SRGen corrects the hidden state at a peak, which no engine lets us do.)
"""

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from pipelines.search.picks import check_vote
from pipelines.search.sampled import sample_paths
from pipelines.search.search import ExploreFn, SearchFunctions, all_at_rest
from pipelines.search.tree import ROOT, Tree
from pipelines.search.types import SearchParams

MIN_TOKENS = 2  # before a token, so that a spread exists
UNCERTAINTIES = ("entropy", "surprisal")


@dataclass(frozen=True, slots=True)
class Branching:
    """Where a sample forks, and into how many."""

    num_first: int = 2  # samples from the root before the first fork, >= 1
    num_branches: int = 2  # samples from a fork, >= 1
    uncertainty: str = "entropy"  # h: entropy (every sample is read once more) or surprisal
    num_sd: float = 2.0  # k: deviations above the mean that make a peak, >= 0
    window: int = 20  # tokens before a token that make its threshold, >= 2
    min_sd: float = 0.1  # nats, >= 0; lower than SRGen's, because a budget is there to be spent
    min_threshold: float = 0.5  # nats, >= 0; lower than SRGen's too
    vote: str = "weighted"  # which answer is picked: best, majority, weighted, borda, logprob or mean_logprob

    def __post_init__(self) -> None:
        for name in ("num_first", "num_branches"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("num_sd", "min_sd", "min_threshold"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 0")
        if self.uncertainty not in UNCERTAINTIES:
            raise ValueError(f"uncertainty is {self.uncertainty!r}; it must be one of {', '.join(UNCERTAINTIES)}")
        if self.window < MIN_TOKENS:
            raise ValueError(f"window is {self.window}; it must be at least {MIN_TOKENS}")
        check_vote(self.vote)


def step_peaks(uncertainties: Sequence[Sequence[float]], own: Branching) -> list[float | None]:
    """Largest h of each step among its tokens that peak; None where none does. One sequence per step, in order."""
    before: list[float] = []
    peaks = []
    for step in uncertainties:
        peaking = []
        for uncertainty in step:
            if len(before) >= MIN_TOKENS and uncertainty > _threshold(before[-own.window :], own):
                peaking.append(uncertainty)
            before.append(uncertainty)
        peaks.append(max(peaking, default=None))
    return peaks


def _threshold(recent: Sequence[float], own: Branching) -> float:
    spread = max(statistics.pstdev(recent), own.min_sd)
    return max(statistics.fmean(recent) + own.num_sd * spread, own.min_threshold)


async def branch(tree: Tree, functions: SearchFunctions, params: SearchParams, *, own: Branching) -> None:
    """Sample from the root, then from the forks, the least certain first."""
    peak_after: dict[int, float] = {}  # prefix -> largest peak of a step sampled after it
    forked: set[int] = set()
    draws = itertools.count()
    start, size, left = ROOT, min(own.num_first, params.num_simulations), params.num_simulations
    while size:
        endings = await sample_paths(tree, start, size, functions, params, draws)
        if tree.is_closed[ROOT]:
            return
        await _note_peaks(tree, sorted({ending.leaf for ending in endings}), functions, own, peak_after)
        left -= size
        size = min(own.num_branches, left)
        waiting = [prefix for prefix in peak_after if prefix not in forked]
        start = min(waiting, key=lambda prefix: (-peak_after[prefix], prefix), default=ROOT)
        forked.add(start)


def make_branch(own: Branching) -> ExploreFn:
    """`branch` with its parameters bound."""
    return partial(branch, own=own)


async def _note_peaks(
    tree: Tree, leaves: Sequence[int], functions: SearchFunctions, own: Branching, peak_after: dict[int, float]
) -> None:
    uncertainties = await all_at_rest([_uncertainties(tree, leaf, functions, own) for leaf in leaves])
    for leaf, of_steps in zip(leaves, uncertainties, strict=True):
        for step, peak in zip(tree.from_root(leaf), step_peaks(of_steps, own), strict=True):
            prefix = tree.parent[step]
            if peak is not None:
                peak_after[prefix] = max(peak, peak_after.get(prefix, 0.0))


async def _uncertainties(tree: Tree, leaf: int, functions: SearchFunctions, own: Branching) -> list[tuple[float, ...]]:
    """h of every token of every step: entropies where they are wanted and to be had, else surprisals."""
    path = tree.path(leaf)
    is_wanted = own.uncertainty == "entropy" and functions.entropy is not None
    entropies = await functions.entropy(path) if is_wanted else None
    if entropies is None:
        return [tuple(-logprob for logprob in step.token_logprobs) for step in path.steps]
    if len(entropies) != len(path.steps):
        raise ValueError(
            f"tree {tree.tree_id} node {leaf}: entropies of {len(entropies)} steps for a path of {len(path.steps)}"
        )
    return entropies
