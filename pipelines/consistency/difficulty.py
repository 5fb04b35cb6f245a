"""How often problems were solved: which to try how often (Knapsack RL), which to leave out, which to train on first.

Knapsack RL (arXiv 2509.25849) is `pipelines.budget`, with its deviations from the paper: the success rate is a Beta
posterior, over which the value is averaged, and the next rollout always goes where it gains most. By hand, for a
problem never tried: value(2) = 1/12 - 1/60 - 1/30 = 1/30. `num_right` of `num_tried` is what earlier rollouts showed;
0 of 0 is a problem never tried.
"""

import pyarrow as pa
from pydantic import Field

from pipelines.budget import PassCount, allocate, expected_value
from pipelines.config_models import Section
from pipelines.consistency.samples import PROBLEM_ID, by_query
from pipelines.curation import DECISION, Column, Curation
from pipelines.errors import ReasonmillError

COUNTS = (
    PROBLEM_ID,
    Column("num_right", pa.int64(), "rollouts that were right", is_nullable=False),
    Column("num_tried", pa.int64(), "graded rollouts", is_nullable=False),
)


class KnapsackParams(Section):
    """The bounds of the paper; 8 on average is its usual group."""

    total: int | None = Field(None, ge=0, description="rollouts to share out (B); default: mean_rollouts per problem")
    mean_rollouts: int = Field(8, ge=1, description="rollouts per problem on average")
    min_rollouts: int = Field(2, ge=1, description="rollouts of any problem, at least")
    max_rollouts: int = Field(128, ge=1, description="rollouts of any problem, at most")


class DifficultyParams(Section):
    """Rates that are worth training on."""

    min_rate: float = Field(0.05, ge=0.0, le=1.0, description="problems surely solved less often go")
    max_rate: float = Field(0.95, ge=0.0, le=1.0, description="problems surely solved more often go")


class ADCLParams(Section):
    """The curriculum."""

    num_batches: int = Field(4, ge=1, description="batches that the problems not yet trained on are split into")


def _knapsack(rows: pa.Table, params: KnapsackParams) -> pa.Table:
    """Shares by problem id, so that the order of rows decides nothing."""
    seen = _counts_by_problem(rows)
    problem_ids = sorted(seen)
    total = params.mean_rollouts * len(problem_ids) if params.total is None else params.total
    counts = [seen[problem_id] for problem_id in problem_ids]
    shares = allocate(counts, total, params.min_rollouts, params.max_rollouts)
    share_of = dict(zip(problem_ids, shares, strict=True))
    num_rollouts = [share_of[problem_id] for problem_id in rows["problem_id"].to_pylist()]
    values = [
        expected_value(share, seen[problem_id])
        for share, problem_id in zip(num_rollouts, rows["problem_id"].to_pylist(), strict=True)
    ]
    return pa.table(
        {
            "position": rows["position"],
            "num_rollouts": pa.array(num_rollouts, pa.int64()),
            "expected_value": pa.array(values, pa.float64()),
        }
    )


def _counts_by_problem(rows: pa.Table) -> dict[str, PassCount]:
    seen: dict[str, PassCount] = {}
    for row in rows.select(["position", *(column.name for column in COUNTS)]).to_pylist():
        where = f"row {row['position'] + 1}, problem {row['problem_id']}"
        if not 0 <= row["num_right"] <= row["num_tried"]:
            raise ReasonmillError(
                f"{where}: {row['num_right']} right of {row['num_tried']} tried is not possible; num_right must lie "
                "between 0 and num_tried."
            )
        if row["problem_id"] in seen:
            raise ReasonmillError(f"{where}: the problem stands in an earlier row too; give its counts in one row.")
        seen[row["problem_id"]] = PassCount(row["num_right"], row["num_tried"])
    return seen


KNAPSACK = Curation(
    params=KnapsackParams,
    reads=COUNTS,
    writes=pa.schema([("num_rollouts", pa.int64()), ("expected_value", pa.float64())]),
    grain="rows",
    run=_knapsack,
)
DIFFICULTY = Curation(
    params=DifficultyParams,
    reads=COUNTS,
    writes=pa.schema([*DECISION, pa.field("low", pa.float64()), pa.field("high", pa.float64())]),
    grain="rows",
    run=by_query("consistent_rollouts/difficulty", "problem_counts"),
)
ADCL = Curation(
    params=ADCLParams,
    reads=(*COUNTS, Column("is_done", pa.bool_(), "true = already trained on; null = not", is_required=False)),
    writes=pa.schema([("difficulty", pa.float64()), ("batch", pa.int64())]),
    grain="rows",
    run=by_query("consistent_rollouts/adcl", "problem_counts"),
)
