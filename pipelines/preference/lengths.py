"""Length balance: longer texts are chosen no more often than shorter ones, so that length says nothing of preference.

A rule of ours for what METHODS of preference optimisation ask for (DNO's students grew four times longer in one
iteration); GLM-style length control of win rates is a correction of results, this one of data.
"""

import pyarrow as pa
from pydantic import Field

from pipelines.curation import DECISION
from pipelines.preference.mining import PAIR, PairParams, pair_columns, pair_judge, reading_too


class LengthParams(PairParams):
    """Balance of lengths."""

    max_share: float = Field(0.5, ge=0.5, lt=1.0, description="largest share of pairs in which one side is the longer")
    seed: int = Field(0, ge=0, lt=2**31, description="seed that decides between equal margins")


LENGTH_BALANCE = reading_too(
    pair_judge(LengthParams, pair_columns(), "length_balance", pa.schema(list(DECISION))),
    "known_pairs", PAIR, "margin",
)  # fmt: skip
