"""Policy filtration (PF-PPO, arXiv 2409.06957): keep the samples of a group whose rewards can be trusted.

A reward model is more reliable at the ends of its range than in the middle, so of every group the best ones stay
(`best`), or the best and random others, or the best and the worst. Which of them suits a reward model is chosen by the
coefficient of determination between rewards and true outcomes on the samples that stay:

    R^2 = corr(reward, outcome)^2,   reward = mean step score

`policy_filtration` filters, `policy_filtration_search` compares strategies on graded samples. From the abstract: that
R^2 is taken over single samples, and the numbers of samples, are ours.

Degenerate cases: R^2 is not defined where fewer than three graded samples stay, or where all rewards or all outcomes
are equal; a group of one stays whole.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from pipelines.config_models import Section
from pipelines.consistency.samples import GROUP_ID, OUTCOME_REWARD, PROBLEM_ID, ROLLOUT_ID, STEP_VALUES
from pipelines.curation import DECISION, Curation
from pipelines.warehouse import Warehouse

READS = (PROBLEM_ID, ROLLOUT_ID, STEP_VALUES, GROUP_ID)


class FiltrationParams(Section):
    """How many samples of a group stay."""

    num_best: int = Field(1, ge=0, le=4096, description="samples with the highest rewards that stay, per group")
    num_worst: int = Field(1, ge=0, le=4096, description="samples with the lowest rewards that stay, per group")
    num_random: int = Field(0, ge=0, le=4096, description="others that stay by lot, per group")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of the lot")

    @model_validator(mode="after")
    def _something_stays(self) -> "FiltrationParams":
        if self.num_best + self.num_worst + self.num_random == 0:
            raise ValueError("num_best, num_worst and num_random are all 0, so that nothing would stay")
        return self


class SearchParams(Section):
    """What is compared."""

    num_kept: int = Field(2, ge=2, le=4096, description="samples of a group that stay, in every strategy")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of the lots")


@dataclass(frozen=True)
class Strategy:
    """One way to spend `num_kept`."""

    name: str
    num_best: int
    num_worst: int
    num_random: int


def strategies(num_kept: int) -> tuple[Strategy, ...]:
    """The paper's three and a plain lot; where halves differ the best get the larger one."""
    half = num_kept // 2
    return (
        Strategy("best", num_kept, 0, 0),
        Strategy("best_and_random", num_kept - half, 0, half),
        Strategy("best_and_worst", num_kept - half, half, 0),
        Strategy("random", 0, 0, num_kept),
    )


def run(table: pa.Table, params: FiltrationParams) -> pa.Table:
    """`position, kept, reason, score` of every sample."""
    with Warehouse.over({"samples": table}) as warehouse:
        return warehouse.named(
            "consistent_rollouts/policy_filtration",
            num_best=params.num_best,
            num_worst=params.num_worst,
            num_random=params.num_random,
            salt=f"policy_filtration-{params.seed}",
        )


SEARCH_WRITES = pa.schema(
    [
        ("strategy", pa.string()),
        *((name, pa.int64()) for name in ("num_best", "num_worst", "num_random", "num_kept", "num_graded")),
        ("right_share", pa.float64()),
        ("r_squared", pa.float64()),
        ("is_chosen", pa.bool_()),
    ]
)


def search(table: pa.Table, params: SearchParams) -> pa.Table:
    """One row per strategy; the one with the largest R^2 is chosen, of equal ones the first."""
    rows = [_compared(table.sort_by("position"), one, params.seed) for one in strategies(params.num_kept)]
    known = [row["r_squared"] for row in rows if row["r_squared"] is not None]
    first = next((i for i, row in enumerate(rows) if known and row["r_squared"] == max(known)), None)
    return pa.Table.from_pylist([row | {"is_chosen": i == first} for i, row in enumerate(rows)], schema=SEARCH_WRITES)


def _compared(table: pa.Table, one: Strategy, seed: int) -> dict[str, object]:
    counts = {"num_best": one.num_best, "num_worst": one.num_worst, "num_random": one.num_random}
    decided = run(table, FiltrationParams(**counts, seed=seed))
    outcomes = table["outcome_reward"].to_pylist()
    decisions = zip(outcomes, decided["kept"].to_pylist(), decided["score"].to_pylist(), strict=True)
    graded = [(outcome, reward) for outcome, kept, reward in decisions if kept and outcome in (0.0, 1.0)]
    right = [outcome for outcome, _ in graded]
    return {
        "strategy": one.name,
        **counts,
        "num_kept": sum(decided["kept"].to_pylist()),
        "num_graded": len(graded),
        "right_share": sum(right) / len(right) if right else None,
        "r_squared": r_squared(right, [reward for _, reward in graded]),
    }


def r_squared(outcomes: list[float], rewards: list[float]) -> float | None:
    """Squared correlation; None where it is not defined."""
    if len(outcomes) < 3 or min(outcomes) == max(outcomes) or min(rewards) == max(rewards):
        return None
    return float(np.corrcoef(outcomes, rewards)[0, 1] ** 2)


POLICY_FILTRATION = Curation(params=FiltrationParams, reads=READS, writes=DECISION, grain="rows", run=run)
SEARCH = Curation(params=SearchParams, reads=(*READS, OUTCOME_REWARD), writes=SEARCH_WRITES, grain="table", run=search)
