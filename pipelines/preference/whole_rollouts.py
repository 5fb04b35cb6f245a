"""Whole-rollout pairs: a right against a wrong solution of one problem (iterative DPO on graded samples).

Outcomes decide the sides; step scores, where there are any, decide who meets whom and how wide the margin is: the
right solution with the best steps meets the wrong one with the worst. Without scores every margin is the gap of
outcomes, 1.0.
"""

from pydantic import Field

from pipelines.preference.mining import MinerParams, answer_columns, miner


class RolloutPairParams(MinerParams):
    """Pairs of whole solutions."""

    min_margin: float = Field(0.2, ge=0.0, le=1.0, description="smallest gap of outcome plus mean step score")


WHOLE_ROLLOUTS = miner(
    "rollout_pairs", "rollout", RolloutPairParams, answer_columns("outcome_reward"), "whole_rollouts"
)
