"""Whole-rollout pairs: a right against a wrong solution of one problem (iterative DPO on graded samples).

Outcomes decide the sides; step scores, where there are any, decide who meets whom and how wide the margin is: the
right solution with the best steps meets the wrong one with the worst.
"""

import pyarrow as pa

from pipelines.config import PairsConfig
from pipelines.tables import SCHEMAS
from pipelines.warehouse import Warehouse

NO_SCORES = ""


def whole_rollout_pairs(
    problems: pa.Table,
    rollouts: pa.Table,
    step_scores: pa.Table | None,
    config: PairsConfig,
    night: str,
    *,
    source: str = "critic",
    scorer_version: str | None = None,
    separator: str = "\n",
) -> pa.Table:
    """Rows of `preference_pairs` with kind `rollout`; without `scorer_version` every margin is the reward gap, 1.0."""
    tables = {"problems": problems, "rollouts": rollouts}
    if step_scores is not None:
        tables["step_scores"] = step_scores
    with Warehouse.over(tables) as warehouse:
        pairs = warehouse.named(
            "preference_pairs/whole_rollouts",
            source=source,
            scorer_version=scorer_version or NO_SCORES,
            min_margin=config.min_margin,
            max_pairs_per_problem=config.max_pairs_per_problem,
            separator=separator,
            night=night,
        )
    return pairs.cast(SCHEMAS["preference_pairs"])
