"""Transitivity of a judge's verdicts on pairs (TrustJudge): circles and broken equalities in subsets of answers.

The 27-row table and the joins stand in `sql/judges/transitivity.sql`. Worked example: with a > b, b > c and c > a the
one triple is a circle; with a = b, b = c and a > c it breaks an equality. Only subsets whose pairs were all judged
count, so a judge with no such subset has no row.
"""

import pyarrow as pa
from pydantic import Field

from pipelines.config import Section
from pipelines.curation import Column, Curation
from pipelines.warehouse import Warehouse


class TransitivityParams(Section):
    """Parameters of `judge_transitivity`."""

    max_subset: int = Field(5, ge=3, le=5, description="largest size of the subsets of answers, from 3")


WRITES = pa.schema(
    [
        ("judge", pa.string()),
        *((name, pa.int64()) for name in ("subset_size", "num_questions", "num_subsets")),
        *((name, pa.int64()) for name in ("num_circle", "num_equal", "num_bad")),
        *((name, pa.float64()) for name in ("circle_rate", "equal_rate", "rate")),
    ]
)


def subset_counts(table: pa.Table, params: TransitivityParams) -> pa.Table:
    """One row per (judge, question_id, subset_size) with at least one complete subset."""
    with Warehouse.over({"judge_comparisons": table}) as warehouse:
        return warehouse.named("judges/transitivity", max_subset=params.max_subset)


def run(table: pa.Table, params: TransitivityParams) -> pa.Table:
    """One row per judge and subset size."""
    with Warehouse.over({"subset_counts": subset_counts(table, params)}) as warehouse:
        return warehouse.named("judges/transitivity_rates").cast(WRITES)


CURATION = Curation(
    params=TransitivityParams,
    reads=(
        Column("judge", pa.string(), "who judged; null: there is one judge", False),
        Column("question_id", pa.string(), "what was answered; answers of different questions are never compared"),
        Column("first_id", pa.string(), "the answer shown first"),
        Column("second_id", pa.string(), "the answer shown second"),
        Column("verdict", pa.string(), "first | second | tie, as shown; anything else: not judged"),
    ),
    writes=WRITES,
    grain="table",
    run=run,
)
