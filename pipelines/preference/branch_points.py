"""Pairs at the branch points of samples that share a prefix: TEMPO's prefix tree (P2T, arXiv 2509.18314).

TEMPO gives every token of a sample the advantage (r - mean r) / std r + (V(s') - V(s)) / std r with V the mean outcome
below a node of the group's prefix tree, and its second term is 0 but at branch points. It trains by policy gradient; a
pair here is two children of a branch point, and the gap is that of their second terms, before the division. Prefixes
are merged by step text, white space apart, instead of by token.
"""

from pydantic import Field

from pipelines.preference.mining import MinerParams, answer_columns, miner


class BranchParams(MinerParams):
    """Pairs at branch points."""

    separator: str = Field("\n", description="text that ends every step")
    min_margin: float = Field(0.2, ge=0.0, le=1.0, description="smallest gap of V between the two")
    min_samples: int = Field(1, ge=1, description="samples below both children")


BRANCH_POINTS = miner(
    "branch_point_pairs", "branch", BranchParams, answer_columns("steps", "outcome_reward"), "branch_points"
)
