"""Weights of pairs and tokens by how likely they are: WPO, T-REG, DFT.

WPO (arXiv 2406.11827) makes pairs of other policies look on-policy: each is weighed by how likely both sides are under
the policy now, length-normalised and, in its sampled alignment, relative to what a sample of the policy would get.
T-REG (arXiv 2412.02685) rewards a token by how much likelier it is behind a prompt that asks for a better answer than
behind one that asks for a worse one (formula as we remember it). DFT (arXiv 2508.05629) weighs the loss of a token by
its own probability; ASFT adds a pull towards the base model, which is part of the loss.
"""

from typing import Literal

import pyarrow as pa
from pydantic import BaseModel, Field

from pipelines.curation import DECISION, Column, Curation
from pipelines.preference.mining import PAIR, PairParams, answered, columns, pair_columns, pair_judge, reading_too

TOKENS = {
    "token_logprobs": "log-probability of every token under the policy; null: not known",
    "better_logprobs": "the same behind a prompt that asks for a better answer; null: not known",
    "worse_logprobs": "the same behind a prompt that asks for a worse answer; null: not known",
}


class LikelihoodWeightParams(PairParams):
    """Weights by likelihood."""

    alignment: Literal["sampled", "none"] = Field(
        "sampled", description="sampled: relative to the policy's own samples, for which the squared columns are needed"
    )


class TokenRewardParams(PairParams):
    """Token rewards."""


class TokenWeightParams(PairParams):
    """Token weights."""


def _token_method(params: type[PairParams], query: str, writes: pa.Schema, *names: str) -> Curation:
    def run(table: pa.Table, params: BaseModel) -> pa.Table:
        return answered(query, {"weighed_samples": table}, params)

    reads: tuple[Column, ...] = columns("weighed_samples", {name: TOKENS[name] for name in names}, names)
    return Curation(params=params, reads=reads, writes=writes, grain="rows", run=run)


LIKELIHOOD_WEIGHTS = reading_too(
    pair_judge(LikelihoodWeightParams, pair_columns("chosen_logprobs", "rejected_logprobs"), "likelihood_weights",
               pa.schema([*DECISION, ("weight_factor", pa.float64())])),
    "known_pairs", PAIR, "chosen_square_logprobs", "rejected_square_logprobs",
)  # fmt: skip
TOKEN_REWARDS = _token_method(
    TokenRewardParams, "token_rewards", pa.schema([("token_rewards", pa.list_(pa.float64()))]),
    "better_logprobs", "worse_logprobs",
)  # fmt: skip
TOKEN_WEIGHTS = _token_method(
    TokenWeightParams, "token_weights",
    pa.schema([("token_weights", pa.list_(pa.float64())), ("mean_weight", pa.float64())]), "token_logprobs",
)  # fmt: skip
