"""TrustJudge's verdict on a pair from both orders: by the likelihood of the labels, or by perplexity.

The formulas stand in `sql/judges/trustjudge_pairs.sql`. The comparison of bare verdicts,
which calls a pair a tie as soon as the two orders disagree, is `score_comparison`.
"""

from typing import Literal

import pyarrow as pa
from pydantic import Field

from pipelines.config import Section
from pipelines.curation import Column, Curation
from pipelines.warehouse import Warehouse

FLOATS = pa.list_(pa.float64())


class PairParams(Section):
    """Parameters of `trustjudge_pairs`."""

    aggregation: Literal["likelihood", "perplexity"] = Field(
        "likelihood",
        description="what decides between the orders: the labels' probabilities or the answer's perplexity",
    )
    tolerance: float = Field(0.0, ge=0.0, description="a smaller difference (of means, or of perplexities) is a tie")


WRITES = pa.schema(
    [
        ("aggregated_verdict", pa.string()),
        ("mean_p_first", pa.float64()),
        ("mean_p_second", pa.float64()),
        ("mean_p_tie", pa.float64()),
        ("perplexity", pa.float64()),
        ("perplexity_swapped", pa.float64()),
        ("reason", pa.string()),
    ]
)


def run(table: pa.Table, params: PairParams) -> pa.Table:
    """The verdict on every pair, by position."""
    with Warehouse.over({"judged_pairs": table}) as warehouse:
        rows = warehouse.named(
            "judges/trustjudge_pairs",
            by_perplexity=params.aggregation == "perplexity",
            min_difference=params.tolerance,
        )
    return rows.cast(pa.schema([("position", pa.int64()), *WRITES]))


CURATION = Curation(
    params=PairParams,
    reads=(
        Column("p_first", pa.float64(), "likelihood: probability of the label for the one shown first", False),
        Column("p_second", pa.float64(), "the same for the one shown second; null: not among the likeliest", False),
        Column("p_tie", pa.float64(), "the same for a tie", False),
        Column("p_first_swapped", pa.float64(), "in the swapped order: for the one shown first, the second", False),
        Column("p_second_swapped", pa.float64(), "in the swapped order: for the one shown second, the first", False),
        Column("p_tie_swapped", pa.float64(), "in the swapped order: for a tie", False),
        Column("verdict", pa.string(), "perplexity: first | second | tie, as shown; else null", False),
        Column("verdict_swapped", pa.string(), "the same in the swapped order, as shown there", False),
        Column("logprobs", FLOATS, "perplexity: log-probabilities of all tokens of the judge's answer", False),
        Column("logprobs_swapped", FLOATS, "the same in the swapped order", False),
    ),
    writes=WRITES,
    grain="rows",
    run=run,
)
