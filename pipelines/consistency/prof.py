"""PROF, the process consistency filter ("Beyond Correctness", arXiv 2509.03403), as a DuckDB query.

The formulas stand in `sql/consistent_rollouts/prof.sql`. Worked example for 8 rollouts, 4 removed: with 6 right and 2
wrong, d = 4, the 4 right ones with the lowest scores go and 2 + 2 stay; with 1 right and 7 wrong, 4 wrong ones go and
1 + 3 stay.

Invariants: step scores come from one scorer, never from Monte Carlo values; the number of kept rollouts of a group is
max(n - k, 0); within a side rank follows the score alone, ties the rollout id; advantages are computed
afterwards, on the kept rollouts only. Degenerate cases: a group all right (or all wrong) loses k of its only side.

`random_removal` is the baseline of every consistency filter: as many right and wrong rollouts go, but by lot. What a
filter gains over it is what its scores know; what it gains over no filter is only balance. `prof_ratio` and
`prof_joint` are the variants that the paper found worse: the first keeps the proportion of right to wrong, the second
ranks both together (their rounding and order are deduced, the paper's notes give none).
"""

from collections.abc import Callable
from typing import Literal

import pyarrow as pa
from pydantic import BaseModel, Field

from pipelines.config_models import Section
from pipelines.consistency.samples import GROUP_ID, OUTCOME_REWARD, PROBLEM_ID, ROLLOUT_ID, STEP_VALUES
from pipelines.curation import DECISION, Curation
from pipelines.warehouse import Warehouse

RANKED_SIDES = {"both": (True, True), "correct_only": (True, False), "incorrect_only": (False, True)}
"""mode -> are (right, wrong) rollouts ranked by consistency; a side that is not loses the same number by lot."""


class ProfVariantParams(Section):
    """What all variants share, with the values of the released scripts."""

    num_removed: int = Field(4, ge=0, le=4096, description="rollouts removed per group (k of the paper)")
    aggregation: Literal["mean", "min", "sum", "product", "last"] = Field(
        "mean", description="how step scores become one number"
    )
    length_penalty: float = Field(10.0, ge=0.0, le=1000.0, description="penalty for unusual step counts (lambda)")
    min_steps: int = Field(2, ge=0, description="fewer steps are penalised")
    max_steps: int = Field(30, ge=1, description="more steps are penalised")


class ProfParams(ProfVariantParams):
    """The parameters of PROF with the values of its released scripts."""

    mode: Literal["both", "correct_only", "incorrect_only"] = Field("both", description="which groups are ranked")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of the lot by which a side that is not ranked is thinned")


class RandomRemovalParams(Section):
    """Parameters of the baseline."""

    num_removed: int = Field(4, ge=0, le=4096, description="rollouts removed per group, as many as PROF would")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of the lot")


def _prof(rows: pa.Table, params: ProfParams) -> pa.Table:
    ranked = RANKED_SIDES[params.mode]
    return _decide(rows, params, ranked, "equal", f"prof-{params.seed}")


def _random_removal(rows: pa.Table, params: RandomRemovalParams) -> pa.Table:
    as_prof = ProfVariantParams(num_removed=params.num_removed)
    return _decide(rows, as_prof, (False, False), "equal", f"random_removal-{params.seed}")


def _prof_ratio(rows: pa.Table, params: ProfVariantParams) -> pa.Table:
    return _decide(rows, params, (True, True), "ratio", "")


def _prof_joint(rows: pa.Table, params: ProfVariantParams) -> pa.Table:
    return _decide(rows, params, (True, True), "joint", "")


def _decide(
    rows: pa.Table,
    params: ProfVariantParams,
    ranked_sides: tuple[bool, bool],
    balance: Literal["equal", "ratio", "joint"],
    salt: str,
) -> pa.Table:
    """`position, kept, reason, score` of every row, by position."""
    with Warehouse.over({"samples": rows}) as warehouse:
        return warehouse.named(
            "consistent_rollouts/prof",
            num_removed=params.num_removed,
            length_penalty=params.length_penalty,
            min_steps=params.min_steps,
            max_steps=params.max_steps,
            aggregation=params.aggregation,
            rank_right=ranked_sides[0],
            rank_wrong=ranked_sides[1],
            balance=balance,
            salt=salt,
        )


def _curation(params: type[BaseModel], run: Callable[[pa.Table, BaseModel], pa.Table]) -> Curation:
    reads = (PROBLEM_ID, ROLLOUT_ID, OUTCOME_REWARD, STEP_VALUES, GROUP_ID)
    return Curation(params=params, reads=reads, writes=DECISION, grain="rows", run=run)


PROF = _curation(ProfParams, _prof)
RANDOM_REMOVAL = _curation(RandomRemovalParams, _random_removal)
PROF_RATIO = _curation(ProfVariantParams, _prof_ratio)
PROF_JOINT = _curation(ProfVariantParams, _prof_joint)
