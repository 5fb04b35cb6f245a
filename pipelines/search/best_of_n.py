"""Best of n: n complete solutions sampled from the root, of which one is picked (Cobbe et al. 2021, arXiv 2110.14168).

`vote` says which: the one that the evaluator values highest (best), the majority (self-consistency), the answer with
the largest sum of values (weighted) or of votes by rank (borda), or the sample that the policy finds likeliest as a
whole (logprob) or per token (mean_logprob). One simulation is one sample.
"""

import itertools
from dataclasses import dataclass

from pipelines.search.picks import check_vote
from pipelines.search.sampled import sample_paths
from pipelines.search.search import ExploreFn, SearchFunctions
from pipelines.search.tree import ROOT, Tree
from pipelines.search.types import SearchParams


@dataclass(frozen=True, slots=True)
class BestOfN:
    """How the answer is picked."""

    vote: str = "best"  # which answer is picked: best, majority, weighted, borda, logprob or mean_logprob

    def __post_init__(self) -> None:
        check_vote(self.vote)


async def sample_all(tree: Tree, functions: SearchFunctions, params: SearchParams) -> None:
    """Sample `num_simulations` solutions."""
    await sample_paths(tree, ROOT, params.num_simulations, functions, params, itertools.count())


def make_sample_all(own: BestOfN) -> ExploreFn:
    """`sample_all`; the vote concerns the pick alone."""
    return sample_all
