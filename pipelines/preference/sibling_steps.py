"""Step pairs from search trees: two steps tried from one prefix, with a gap between their values.

Every node of the tree may give pairs, the loser is every sibling that is worse by the margin, and the limit per problem
prefers one pair per node. Only visited siblings count: an unvisited one is unknown, not bad (rStar-Math). The pairs of
MCTS-DPO as its code has them, one per depth of one path, are those of `mcts_dpo`.
"""

from pydantic import Field

from pipelines.preference.mining import TreeParams, step_miner


class SiblingStepParams(TreeParams):
    """Pairs of siblings."""

    min_margin: float = Field(0.2, ge=0.0, le=1.0, description="smallest gap of values between the two")


SIBLING_STEPS = step_miner("sibling_step_pairs", "step", SiblingStepParams, "sibling_steps")
