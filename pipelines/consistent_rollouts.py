"""rollouts, step_scores -> consistency_results, consistent_rollouts.

Every configured method judges every rollout (kept, or a reason); the kept rollouts of the one method that
`consistency.use` names become `consistent_rollouts`, with advantages over the kept rollouts of each group only.
Gold steps and Monte Carlo values are never read.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from pipelines.config import ConsistencyConfig, ConsistencyMethodConfig
from pipelines.consistency.own_filter import FilterFn, run_own_filter
from pipelines.consistency.prof import prof
from pipelines.consistency.random_removal import random_removal
from pipelines.errors import ConfigError
from pipelines.tables import SCHEMAS
from pipelines.warehouse import Warehouse

FILTERS = {"prof": prof, "random_removal": random_removal}
"""Built-in filters by the name that `consistency.methods.filter` uses."""

LoadFilterFn = Callable[[str], FilterFn]
"""A user's filter by its reference (`my_filters.py:function` or an installed name)."""

INPUT_COLUMNS = ["rollout_id", "problem_id", "group_id", "steps", "outcome_reward", "error"]


@dataclass(frozen=True)
class ConsistentRollouts:
    """The two tables of this pipeline."""

    consistency_results: pa.Table  # one row per (rollout, method)
    consistent_rollouts: pa.Table  # one row per rollout that the method `use` kept


def filter_rollouts(
    rollouts: pa.Table,
    step_scores: pa.Table,
    config: ConsistencyConfig,
    night: str,
    *,
    load_filter: LoadFilterFn | None = None,
) -> ConsistentRollouts:
    """Run every configured method over one batch of rollouts.

    `load_filter` finds filters that are not built in; without it such a name is a ConfigError. Raises ReasonmillError
    when the configured scorer scored nothing, and WorkspaceError when a user's filter fails.
    """
    if rollouts.num_rows == 0:
        empty = (SCHEMAS[name].empty_table() for name in ("consistency_results", "consistent_rollouts"))
        return ConsistentRollouts(*empty)
    results = pa.concat_tables(
        [_judge(rollouts, step_scores, config, method, night, load_filter) for method in config.methods]
    )
    with Warehouse.over({"rollouts": rollouts.select(INPUT_COLUMNS), "consistency_results": results}) as warehouse:
        kept = warehouse.named("consistent_rollouts/consistent_rollouts", method=config.use, night=night)
    return ConsistentRollouts(results, kept.cast(SCHEMAS["consistent_rollouts"]))


def _judge(
    rollouts: pa.Table,
    step_scores: pa.Table,
    config: ConsistencyConfig,
    method: ConsistencyMethodConfig,
    night: str,
    load_filter: LoadFilterFn | None,
) -> pa.Table:
    scorer = {"source": config.source, "scorer_version": config.scorer_version}
    if method.filter in FILTERS:
        return FILTERS[method.filter](rollouts.select(INPUT_COLUMNS), step_scores, method, night=night, **scorer)
    if load_filter is None:
        raise ConfigError(
            f'consistency method "{method.name}" has the filter "{method.filter}", which is not built in '
            f"({', '.join(FILTERS)}); a filter of yours is written as my_filters.py:function."
        )
    function = load_filter(method.filter)
    return run_own_filter(function, rollouts, step_scores, method=method.name, night=night, **scorer)
