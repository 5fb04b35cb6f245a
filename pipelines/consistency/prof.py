"""PROF, the process consistency filter ("Beyond Correctness", arXiv 2509.03403), as a DuckDB query.

The formulas stand in `sql/consistent_rollouts/prof.sql`. Worked example for 8 rollouts, 4 removed: with 6 right and 2
wrong, d = 4, the 4 right ones with the lowest scores go and 2 + 2 stay; with 1 right and 7 wrong, 4 wrong ones go and
1 + 3 stay.

Invariants: step scores come from one scorer, never from Monte Carlo values; the number of kept rollouts of a group is
max(n - k, 0); within a side rank follows the score alone, ties the rollout id; advantages are computed
afterwards, on the kept rollouts only. Degenerate cases: a group all right (or all wrong) loses k of its only side.
"""

from typing import Literal

import pyarrow as pa
from pydantic import Field

from pipelines.config import ConsistencyMethodConfig
from pipelines.config_models import Section
from pipelines.consistency.scorer import required_scorer_version
from pipelines.curation import DECISION, Column, Curation
from pipelines.tables import SCHEMAS
from pipelines.warehouse import Warehouse

RANKED_SIDES = {"both": (True, True), "correct_only": (True, False), "incorrect_only": (False, True)}
"""mode -> are (right, wrong) rollouts ranked by consistency; a side that is not loses the same number by lot."""


class ProfParams(Section):
    """The parameters of PROF with the values of its released scripts."""

    mode: Literal["both", "correct_only", "incorrect_only"] = Field("both", description="which groups are ranked")
    num_removed: int = Field(4, ge=0, le=4096, description="rollouts removed per group (k of the paper)")
    aggregation: Literal["mean", "min", "sum", "product", "last"] = Field(
        "mean", description="how step scores become one number"
    )
    length_penalty: float = Field(10.0, ge=0.0, le=1000.0, description="penalty for unusual step counts (lambda)")
    min_steps: int = Field(2, ge=0, description="fewer steps are penalised")
    max_steps: int = Field(30, ge=1, description="more steps are penalised")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of the lot by which a side that is not ranked is thinned")


def _run(rows: pa.Table, params: ProfParams) -> pa.Table:
    samples = rows.append_column("exclusion", pa.nulls(rows.num_rows, pa.string()))
    return decide(samples, params, RANKED_SIDES[params.mode], f"prof-{params.seed}")


CURATION = Curation(
    params=ProfParams,
    reads=(
        Column("problem_id", pa.string(), "the problem", is_nullable=False),
        Column("rollout_id", pa.string(), "breaks ties: of equal scores the smaller goes first", is_nullable=False),
        Column("outcome_reward", pa.float64(), "0 or 1; anything else, and null, is not graded"),
        Column("step_values", pa.list_(pa.float64()), "a step critic's scores, one per step; null = not scored"),
        Column(
            "group_id", pa.string(), "samples that are ranked together; null = in none", is_required=False,
            stand_in="problem_id",
        ),
    ),
    writes=DECISION,
    grain="rows",
    run=_run,
)  # fmt: skip


def prof(
    rollouts: pa.Table,
    step_scores: pa.Table,
    method: ConsistencyMethodConfig,
    *,
    night: str,
    source: str = "critic",
    scorer_version: str = "latest",
) -> pa.Table:
    """One row of `consistency_results` per rollout, by group and rollout id.

    Raises ConfigError for source `monte_carlo` and ReasonmillError when the scorer scored nothing.
    """
    return run_prof(rollouts, step_scores, method, night, source, scorer_version, RANKED_SIDES[method.mode])


def run_prof(
    rollouts: pa.Table,
    step_scores: pa.Table,
    method: ConsistencyMethodConfig,
    night: str,
    source: str,
    scorer_version: str,
    ranked_sides: tuple[bool, bool],
) -> pa.Table:
    """The queries with the given sides ranked; shared with the random baseline, so that both remove the same counts."""
    version = required_scorer_version(step_scores, source, scorer_version)
    with Warehouse.over({"rollouts": rollouts, "step_scores": step_scores}) as warehouse:
        samples = warehouse.named("consistent_rollouts/prof_samples", source=source, scorer_version=version)
    decisions = decide(samples, method, ranked_sides, f"{method.name}-{method.seed}")
    results = samples.select(["rollout_id", "problem_id", "group_id"])
    for name in ("kept", "reason", "score"):
        results = results.append_column(name, decisions[name])
    results = results.append_column("method", pa.array([method.name] * results.num_rows, pa.string()))
    results = results.append_column("night", pa.array([night] * results.num_rows, pa.string()))
    return results.select(SCHEMAS["consistency_results"].names).cast(SCHEMAS["consistency_results"])


def decide(
    samples: pa.Table, method: ProfParams | ConsistencyMethodConfig, ranked_sides: tuple[bool, bool], salt: str
) -> pa.Table:
    """Columns `position, kept, reason, score` of every sample (relation `prof_samples`), by position."""
    with Warehouse.over({"prof_samples": samples}) as warehouse:
        return warehouse.named(
            "consistent_rollouts/prof",
            num_removed=method.num_removed,
            length_penalty=method.length_penalty,
            min_steps=method.min_steps,
            max_steps=method.max_steps,
            aggregation=method.aggregation,
            rank_right=ranked_sides[0],
            rank_wrong=ranked_sides[1],
            salt=salt,
        )
