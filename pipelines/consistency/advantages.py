"""Rewards and weights that are computed over groups and batches: what each sample counts, none is removed.

Advantages of GRPO (arXiv 2402.03300: mean and deviation of the group), Dr. GRPO (no deviation), RLOO (leave one out),
"Tricks or Traps" (2508.08221: mean of the group, deviation of the batch); ΔL's length weights (2509.07558, from
abstract and memory); the unlikeliness reward (2506.02355); COPO's blend (2508.04138); PROF's baseline of blended
rewards (2509.03403). Formulas, notes and degenerate cases stand in the queries. Deviations are those of a sample (n -
1), as in torch, with 1e-6 added.
"""

from typing import Literal

import pyarrow as pa
from pydantic import BaseModel, Field

from pipelines.config_models import Section
from pipelines.consistency.samples import (
    ANSWER,
    GROUP_ID,
    NUM_TOKENS,
    OUTCOME_REWARD,
    PROBLEM_ID,
    ROLLOUT_ID,
    STEP_VALUES,
    SUM_LOGPROB,
    by_query,
)
from pipelines.curation import Column, Curation

Baseline = Literal["group", "batch", "leave_one_out", "none"]
Deviation = Literal["group", "batch", "none"]


class GroupAdvantagesParams(Section):
    """GRPO's choice."""

    baseline: Baseline = Field("group", description="what is subtracted from the reward")
    deviation: Deviation = Field("group", description="what the difference is divided by")


class LitePPOParams(Section):
    """The choice of Tricks or Traps."""

    baseline: Baseline = Field("group", description="what is subtracted from the reward")
    deviation: Deviation = Field("batch", description="what the difference is divided by")


class DeltaLParams(Section):
    """How strongly length counts."""

    alpha: float = Field(1.0, ge=0.0, le=1.0, description="1: least variance; 0: all alike")


class UnlikelinessParams(Section):
    """The value of the paper's runs."""

    rank_penalty: float = Field(0.25, ge=0.0, le=1.0, description="share lost by the likeliest answer (beta_rank)")


class COPOParams(Section):
    """The values of the paper."""

    gamma: float = Field(20.0, ge=0.0, le=1000.0, description="steepness of the blend")
    rho: float = Field(1.5, ge=0.0, le=100.0, description="entropy, in nats, at which both advantages count the same")


class BlendParams(Section):
    """The value of the paper's baseline."""

    weight: float = Field(0.8, ge=0.0, le=100.0, description="weight of the mean step score (beta)")


def _adding(params: type[BaseModel], reads: tuple[Column, ...], query: str, **writes: pa.DataType) -> Curation:
    run = by_query(f"consistent_rollouts/{query}")
    return Curation(params=params, reads=reads, writes=pa.schema(writes.items()), grain="rows", run=run)


NUMBER = pa.float64()
GRADED = (PROBLEM_ID, OUTCOME_REWARD, GROUP_ID)

GROUP_ADVANTAGES = _adding(GroupAdvantagesParams, GRADED, "advantages", advantage=NUMBER)
LITE_PPO = _adding(LitePPOParams, GRADED, "advantages", advantage=NUMBER)
DELTA_L = _adding(DeltaLParams, (PROBLEM_ID, NUM_TOKENS, GROUP_ID), "delta_l", length_weight=NUMBER)
UNLIKELINESS = _adding(
    UnlikelinessParams, (PROBLEM_ID, ROLLOUT_ID, OUTCOME_REWARD, SUM_LOGPROB, NUM_TOKENS, GROUP_ID), "unlikeliness",
    rank=pa.int64(), shaped_reward=NUMBER, advantage=NUMBER,
)  # fmt: skip
COPO = _adding(
    COPOParams, (PROBLEM_ID, ANSWER, OUTCOME_REWARD, GROUP_ID), "copo",
    consistency_entropy=NUMBER, local_weight=NUMBER, local_advantage=NUMBER, global_advantage=NUMBER,
)  # fmt: skip
BLEND = _adding(BlendParams, (OUTCOME_REWARD, STEP_VALUES), "blend", blended_reward=NUMBER)
