"""Pairs across policies: several source models, a tuned model against its base, and dissatisfied users.

WRPO (arXiv 2412.03187) mixes the rewards of the best source answer and of the policy's own best one as
alpha r(y_s) + (1 - alpha) r(y_t) against the policy's worst answer; as rows that is two pairs with these weights, which
is the mix outside of the loss term instead of inside it. Its alpha rises from 0 to 0.1 in training (as we remember it).
Weak supervision pairs the tuned model's answers with its base's without looking at them. DRIFT rejects
real answers that users were dissatisfied with, chooses fresh ones of the policy without a filter, and trains one epoch
on each set.
"""

from pydantic import Field

from pipelines.preference.mining import MinerParams, answer_columns, miner


class SourceModelParams(MinerParams):
    """Several source models."""

    target: str = Field("target", min_length=1, description="policy that is trained; all others are sources")
    alpha: float = Field(0.1, ge=0.0, le=1.0, description="weight of the sources' pair; 1 - alpha of the target's own")


class TunedAgainstBaseParams(MinerParams):
    """Who wrote it decides."""

    chosen_policy: str = Field("tuned", min_length=1, description="policy whose answers are chosen")
    rejected_policy: str = Field("base", min_length=1, description="policy whose answers are rejected")
    only_dissatisfied: bool = Field(False, description="rejected answers must have the outcome 0")


class DissatisfactionParams(TunedAgainstBaseParams):
    """Fresh answers against those that users were dissatisfied with."""

    chosen_policy: str = Field("policy", min_length=1, description="policy that wrote the fresh answers")
    rejected_policy: str = Field("deployed", min_length=1, description="policy that users talked to")
    only_dissatisfied: bool = Field(True, description="rejected answers must have the outcome 0")


SOURCE_MODELS = miner("wrpo_pairs", "rollout", SourceModelParams, answer_columns("score", "policy"), "source_models")
TUNED_AGAINST_BASE = miner(
    "tuned_against_base", "rollout", TunedAgainstBaseParams, answer_columns("policy"), "two_policies"
)
DISSATISFACTION = miner(
    "drift_pairs", "rollout", DissatisfactionParams, answer_columns("policy", "outcome_reward"), "two_policies"
)
