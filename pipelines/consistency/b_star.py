"""B-STaR (arXiv 2412.17256): samples selected by step score and outcome, and the search for the best configuration.

A sample scores s = (lowest step score) / 5 + [right], about -0.2 to 1.2 with the paper's reward model and 0 to 1.2
with scores in [0, 1]. The query effect of a problem with n selected samples of which n' are right is min(n' / n*, 1) *
n' / n: 4 selected of which 2 are right have 2/8 * 2/4 = .125 (n* = 8), 10 of which 8 are right .8. Every iteration the
configuration (temperature, number of samples, threshold) with the highest mean on a small pool is used next.

The paper searches thresholds; it gives no default, so 0 stands here, which with scores in [0, 1] drops only wrong
samples with a step scored 0.
"""

import pyarrow as pa
from pydantic import Field, model_validator

from pipelines.config_models import Section
from pipelines.consistency.samples import OUTCOME_REWARD, PROBLEM_ID, ROLLOUT_ID, STEP_VALUES, by_query
from pipelines.curation import DECISION, Column, Curation
from pipelines.warehouse import Warehouse


class BStarParams(Section):
    """One configuration."""

    threshold: float = Field(0.0, ge=-2.0, le=2.0, description="samples with a score above this are selected")
    max_per_problem: int = Field(64, ge=1, description="samples selected per problem, at most")
    target_size: int | None = Field(
        None,
        ge=1,
        description="raise the number per problem from 1 until so many are selected; default: max_per_problem",
    )


class BStarSearchParams(Section):
    """The grid; temperatures are those of the pool."""

    sample_counts: tuple[int, ...] = Field(
        (4, 8, 16, 32, 64), min_length=1, description="numbers of samples to compare"
    )
    min_threshold: float = Field(-1.0, ge=-2.0, le=2.0, description="lowest threshold")
    max_threshold: float = Field(1.0, ge=-2.0, le=2.0, description="highest threshold")
    threshold_step: float = Field(0.01, gt=0.0, le=1.0, description="distance of thresholds")
    num_wanted: int = Field(8, ge=1, description="right samples per problem that are enough (n*)")
    max_per_problem: int = Field(64, ge=1, description="samples selected per problem, at most")
    by_all: bool = Field(False, description="problems without a selected sample count as 0, not at all as in the code")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of the lot that takes fewer samples than the pool has")

    @model_validator(mode="after")
    def _a_range(self) -> "BStarSearchParams":
        if self.min_threshold > self.max_threshold:
            raise ValueError(f"min_threshold = {self.min_threshold} is above max_threshold = {self.max_threshold}")
        return self

    @property
    def thresholds(self) -> list[float]:
        """-1.00, -0.99, ... 1.00 by default."""
        count = int(round((self.max_threshold - self.min_threshold) / self.threshold_step, 6)) + 1
        return [round(self.min_threshold + index * self.threshold_step, 9) for index in range(count)]


def _search(rows: pa.Table, params: BStarSearchParams) -> pa.Table:
    with Warehouse.over({"pool_rollouts": rows}) as warehouse:
        return warehouse.named(
            "consistent_rollouts/b_star_search",
            sample_counts=sorted(set(params.sample_counts)),
            thresholds=params.thresholds,
            num_wanted=params.num_wanted,
            max_per_problem=params.max_per_problem,
            by_all=params.by_all,
            salt=f"b_star-{params.seed}",
        )


B_STAR = Curation(
    params=BStarParams,
    reads=(PROBLEM_ID, ROLLOUT_ID, OUTCOME_REWARD, STEP_VALUES),
    writes=DECISION,
    grain="rows",
    run=by_query("consistent_rollouts/b_star"),
)
B_STAR_SEARCH = Curation(
    params=BStarSearchParams,
    reads=(
        PROBLEM_ID,
        ROLLOUT_ID,
        Column("temperature", pa.float64(), "sampling temperature; null is one of its own"),
        OUTCOME_REWARD,
        STEP_VALUES,
    ),
    writes=pa.schema(
        [
            ("temperature", pa.float64()),
            ("num_samples", pa.int64()),
            ("threshold", pa.float64()),
            ("num_problems", pa.int64()),
            ("num_selected_problems", pa.int64()),
            ("num_selected", pa.int64()),
            ("num_right", pa.int64()),
            ("query_effect", pa.float64()),
            ("query_effect_all", pa.float64()),
            ("is_best", pa.bool_()),
        ]
    ),
    grain="table",
    run=_search,
)
