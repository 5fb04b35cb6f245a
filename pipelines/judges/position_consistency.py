"""Position consistency of judges: the same verdict whichever answer is shown first.

The definition stands in `sql/judges/position_consistency.sql`; it is the consistency of MT-Bench (arXiv 2306.05685) and
the positional agreement of LLMBar (arXiv 2310.07641), told as its complement (both from memory).
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.config import Section
from pipelines.curation import Column, Curation
from pipelines.warehouse import Warehouse


class PositionParams(Section):
    """`judge_position_consistency` has no parameters."""


WRITES = pa.schema(
    [
        ("judge", pa.string()),
        *((name, pa.int64()) for name in ("num_pairs", "num_consistent", "num_first_twice", "num_second_twice")),
        *((name, pa.int64()) for name in ("num_half_ties", "num_one_order", "num_unreadable")),
        ("inconsistency", pa.float64()),
    ]
)


def run(table: pa.Table, params: PositionParams) -> pa.Table:
    """One row per judge."""
    with Warehouse.over({"judge_verdicts": table}) as warehouse:
        return warehouse.named("judges/position_consistency").cast(WRITES)


def by_judge(judgments: pa.Table) -> list[Mapping[str, object]]:
    """One row per judge of rows of `pair_judgments`."""
    is_chosen_first = pc.equal(judgments["shown_first"], "chosen")
    verdicts = pa.table(
        {
            "position": pa.array(np.arange(judgments.num_rows)),
            "judge": judgments["judge"],
            "pair_id": judgments["pair_id"],
            "first_id": pc.if_else(is_chosen_first, "chosen", "rejected"),
            "second_id": pc.if_else(is_chosen_first, "rejected", "chosen"),
            "verdict": judgments["verdict"],
        }
    )
    return run(verdicts, PositionParams()).to_pylist()


CURATION = Curation(
    params=PositionParams,
    reads=(
        Column("judge", pa.string(), "who judged; null: there is one judge", False),
        Column("pair_id", pa.string(), "what was judged in both orders: question, or question and turn"),
        Column("first_id", pa.string(), "the answer shown first"),
        Column("second_id", pa.string(), "the answer shown second"),
        Column("verdict", pa.string(), "first | second | tie, as shown; anything else cannot be read"),
    ),
    writes=WRITES,
    grain="table",
    run=run,
)
