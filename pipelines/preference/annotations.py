"""Annotators' strengths of preference, cleaned and as weights (HelpSteer2-Preference, arXiv 2410.01257).

Strengths are +-1, +-2 or +-3. Pairs whose annotators differ by more than 2 have no consensus; of the others the three
most similar are averaged. Scaled Bradley-Terry multiplies the pair's loss by |m|.
"""

import pyarrow as pa
from pydantic import Field

from pipelines.curation import DECISION
from pipelines.preference.mining import PairParams, pair_columns, pair_judge


class AnnotationParams(PairParams):
    """Annotators' strengths."""

    max_spread: float = Field(2.0, ge=0.0, le=6.0, description="largest difference between two annotators")
    num_similar: int = Field(3, ge=1, le=64, description="most similar strengths that are averaged")


ANNOTATIONS = pair_judge(
    AnnotationParams, pair_columns("strengths"), "annotations",
    pa.schema([*DECISION, ("is_flipped", pa.bool_()), ("weight_factor", pa.float64())]),
)  # fmt: skip
