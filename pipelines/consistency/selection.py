"""Filters by outcome alone: Reinforce-Rej, RAFT, NFT, and what is too long.

Reinforce-Rej (arXiv 2504.11343) drops groups without a contrast and trains on raw rewards; RAFT (2304.06767) keeps
right answers; NFT (2505.18116) keeps groups with a contrast and weighs wrong answers too; overlong filtering and
shaping come from DAPO (2503.14476, from memory).
Each formula stands in its query. Degenerate cases: a group of one has no contrast.
"""

from collections.abc import Callable
from typing import Literal

import pyarrow as pa
from pydantic import BaseModel, Field

from pipelines.config_models import Section
from pipelines.consistency.samples import GROUP_ID, NUM_TOKENS, OUTCOME_REWARD, PROBLEM_ID, ROLLOUT_ID, by_query
from pipelines.curation import DECISION, Column, Curation
from pipelines.warehouse import Warehouse

GRADED = (PROBLEM_ID, ROLLOUT_ID, OUTCOME_REWARD, GROUP_ID)


class ReinforceRejParams(Section):
    """The reward that is trained on."""

    signed: bool = Field(True, description="rewards of -1 and 1; with 0 and 1 wrong answers would have no weight")


class RaftParams(Section):
    """How many right answers stay."""

    max_per_group: int | None = Field(None, ge=1, description="right answers kept per group; default: all")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of the lot among more right answers than that")


class NFTParams(Section):
    """The values of the released script."""

    min_rate: float = Field(0.02, gt=0.0, lt=1.0, description="lowest rate that weights are computed with")
    max_rate: float = Field(0.98, gt=0.0, lt=1.0, description="highest rate that weights are computed with")
    weighting: Literal["one_minus_rate", "square_root", "none"] = Field(
        "one_minus_rate", description="a group's weight: 1 - r, sqrt((1 - r) / r), or 1"
    )
    negative_weight: float = Field(1.0, ge=0.0, le=100.0, description="factor for wrong answers; 0 is rejection tuning")


class OverlongParams(Section):
    """The values of DAPO's recipe."""

    max_tokens: int = Field(20_480, ge=1, description="longest completion, in tokens")
    num_buffer_tokens: int = Field(4_096, ge=1, description="tokens before that over which the penalty grows")


def _raft(rows: pa.Table, params: RaftParams) -> pa.Table:
    with Warehouse.over({"samples": rows}) as warehouse:
        salt = f"raft-{params.seed}"
        return warehouse.named("consistent_rollouts/raft", max_per_group=params.max_per_group, salt=salt)


def _filter(params: type[BaseModel], run: Callable[[pa.Table, BaseModel], pa.Table]) -> Curation:
    return Curation(params=params, reads=GRADED, writes=DECISION, grain="rows", run=run)


REINFORCE_REJ = _filter(ReinforceRejParams, by_query("consistent_rollouts/reinforce_rej"))
RAFT = _filter(RaftParams, _raft)
NFT = Curation(
    params=NFTParams,
    reads=GRADED,
    writes=pa.schema([*DECISION, pa.field("loss_weight", pa.float64())]),
    grain="rows",
    run=by_query("consistent_rollouts/nft"),
)
OVERLONG = Curation(
    params=OverlongParams,
    reads=(NUM_TOKENS, Column("finish_reason", pa.string(), "length = it was cut off", is_required=False)),
    writes=DECISION,
    grain="rows",
    run=by_query("consistent_rollouts/overlong"),
)
