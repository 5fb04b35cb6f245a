"""Statistical rejection sampling (RSO, arXiv 2309.06657): candidates of the policy become samples of the optimal one.

The target is pi(y) exp(r(y) / beta). In every round r_max is the best reward that is left in the pool, candidate y is
accepted with probability exp((r(y) - r_max) / beta), and what was accepted leaves the pool, until `num_accepted` are.
Then the accepted ones are ranked: neighbours in the order of acceptance meet, the higher reward is chosen.

Identical texts are one candidate, and where there are fewer than `num_accepted` all are accepted: otherwise the
published loop need not end. beta -> 0 accepts the best only, beta -> infinity the first ones. Answers with equal
rewards give no pair.
"""

from typing import Literal

from pydantic import Field

from pipelines.preference.mining import MinerParams, answer_columns, miner


class RejectionParams(MinerParams):
    """Statistical rejection sampling."""

    beta: float = Field(0.5, gt=0.0, le=1000.0, description="temperature of the target; rewards are divided by it")
    num_accepted: int = Field(8, ge=2, le=4096, description="answers accepted per problem")
    pairing: Literal["first_round", "tournament"] = Field("first_round", description="who meets whom")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of the draws")


REJECTION_SAMPLING = miner(
    "rso", "rollout", RejectionParams, answer_columns("score"), "ranked_acceptances",
    before={"accepted_responses": "accepted_responses"},
)  # fmt: skip
