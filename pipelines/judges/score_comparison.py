"""Score-comparison inconsistency (TrustJudge): single scores and pairwise verdicts of one judge that contradict.

The rule stands in `sql/judges/score_comparison.sql`. The inconsistency rate is the share of `score_comparison_conflict`
among the rows that have both verdicts and both scores.
"""

import pyarrow as pa
from pydantic import Field

from pipelines.config import Section
from pipelines.curation import DECISION, Column, Curation
from pipelines.warehouse import Warehouse


class ComparisonParams(Section):
    """Parameters of `score_comparison`."""

    tolerance: float = Field(0.0, ge=0.0, description="scores that differ by less count as equal")


WRITES = pa.schema([("pairwise", pa.string()), ("expected", pa.string()), *DECISION])


def run(table: pa.Table, params: ComparisonParams) -> pa.Table:
    """Conflict or not for every pair, by position."""
    with Warehouse.over({"scored_pairs": table}) as warehouse:
        rows = warehouse.named("judges/score_comparison", min_difference=params.tolerance)
    return rows.cast(pa.schema([("position", pa.int64()), *WRITES]))


CURATION = Curation(
    params=ComparisonParams,
    reads=(
        Column("score_first", pa.float64(), "the judge's single score of the first; null: not scored"),
        Column("score_second", pa.float64(), "the judge's single score of the second"),
        Column("verdict", pa.string(), "first | second | tie, as shown; anything else: no verdict"),
        Column("verdict_swapped", pa.string(), "the same in the swapped order, as shown there"),
    ),
    writes=WRITES,
    grain="rows",
    run=run,
)
