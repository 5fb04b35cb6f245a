"""Preference strength by an ensemble of critics (Secrets of RLHF II, arXiv 2401.06080).

Ten reward models, trained on the same data in different orders, score both sides; mu and sigma are mean and deviation
of the gaps. The lowest fifth of the pairs, where mu < 0, is likely mislabelled; the middle (to 60 %) is ambiguous; the
rest is strong. What is done about it is the `mode`. The paper gives no number for the weight of strong pairs: 0.5 is
ours, and so is the soft label, the members' mean Bradley-Terry probability.
"""

from typing import Literal

import pyarrow as pa
from pydantic import Field

from pipelines.curation import DECISION
from pipelines.preference.mining import PairParams, pair_columns, pair_judge


class StrengthParams(PairParams):
    """Strength of pairs."""

    mode: Literal["flip", "drop", "soft_label", "margin", "down_weight"] = Field(
        "flip", description="what is done about weak, contrary or strong pairs"
    )
    low_share: float = Field(0.2, ge=0.0, le=1.0, description="share of the pairs that may be mislabelled")
    high_share: float = Field(0.6, ge=0.0, le=1.0, description="share of the pairs above which they are strong")
    strong_weight: float = Field(0.5, ge=0.0, le=1000.0, description="weight of strong pairs in mode down_weight")


WRITES = pa.schema([
    *DECISION, ("score_deviation", pa.float64()), ("is_flipped", pa.bool_()), ("new_soft_label", pa.float64()),
    ("new_margin", pa.float64()), ("weight_factor", pa.float64()),
])  # fmt: skip
STRENGTH = pair_judge(StrengthParams, pair_columns("chosen_scores", "rejected_scores"), "preference_strength", WRITES)
