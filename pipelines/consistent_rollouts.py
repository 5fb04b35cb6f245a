"""rollouts, step_scores -> consistency_results, consistent_rollouts.

Every configured method judges every rollout alone (kept, or a reason). The filters of `consistency.use` also judge in
turn, each only what those before it kept; the results of such a list stand under the names joined by `+`, one row per
rollout for every beginning of the list. What the whole list kept becomes `consistent_rollouts`, with advantages over
the kept rollouts of each group only. Gold steps and Monte Carlo values are never read.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from pipelines.config import ConsistencyConfig
from pipelines.config_models import CHAIN
from pipelines.consistency.filters import Filter, LoadFilterFn, OwnInputs, filter_of, judge_in_turn
from pipelines.consistency.scorer import required_scorer_version, scorer_version
from pipelines.tables import SCHEMAS
from pipelines.warehouse import Rows, Warehouse

SAMPLE_KEYS = (
    "position", "rollout_id", "problem_id", "group_id", "outcome_reward", "exclusion", "score_exclusion",
)  # fmt: skip


@dataclass(frozen=True)
class ConsistentRollouts:
    """The two tables of this pipeline."""

    consistency_results: pa.Table  # one row per (rollout, method)
    consistent_rollouts: pa.Table  # one row per rollout that the filters of `use` kept


def filter_rollouts(
    rollouts: Rows,
    step_scores: Rows,
    config: ConsistencyConfig,
    night: str,
    *,
    load_filter: LoadFilterFn | None = None,
) -> ConsistentRollouts:
    """Run every configured method over one batch of rollouts; of both tables only the columns that they read.

    `load_filter` finds filters that are not built in; without it such a name is a ConfigError. Raises ReasonmillError
    when a method reads step scores and the configured scorer scored nothing, and WorkspaceError when a user's filter
    fails.
    """
    find_version = scorer_version(step_scores, config.source, config.scorer_version)
    own = OwnInputs(rollouts, step_scores, config.source, find_version)
    filters = {method.name: filter_of(method, load_filter, own) for method in config.methods}
    with Warehouse.over({"rollouts": rollouts, "step_scores": step_scores}) as warehouse:
        samples = warehouse.named(
            "consistent_rollouts/samples", _columns_read(filters.values()), source=config.source,
            scorer_version=find_version or "",
        )  # fmt: skip
    if samples.num_rows == 0:
        empty = (SCHEMAS[name].empty_table() for name in ("consistency_results", "consistent_rollouts"))
        return ConsistentRollouts(*empty)
    if any(one.reads_scores for one in filters.values()):
        required_scorer_version(step_scores, config.source, config.scorer_version)
    lists = dict.fromkeys([*((name,) for name in filters), *config.chains])
    results = pa.concat_tables([_results(samples, [filters[name] for name in names], night) for names in lists])
    with Warehouse.over({"rollouts": rollouts, "consistency_results": results}) as warehouse:
        kept = warehouse.named("consistent_rollouts/consistent_rollouts", method=config.used_method, night=night)
    return ConsistentRollouts(results, kept.cast(SCHEMAS["consistent_rollouts"]))


def _columns_read(filters: Iterable[Filter]) -> list[str]:
    """Columns of `samples` that these filters look at: texts of millions of rollouts alone would fill the memory."""
    return list(dict.fromkeys([*SAMPLE_KEYS, *(name for one in filters for name in one.reads)]))


def _results(samples: pa.Table, filters: list[Filter], night: str) -> pa.Table:
    """Rows of `consistency_results` of filters that judge in turn, by group and rollout id."""
    decisions = judge_in_turn(samples, tuple(filters))
    schema = SCHEMAS["consistency_results"]
    columns = {name: samples[name] for name in ("rollout_id", "problem_id", "group_id")}
    columns |= {name: decisions[name] for name in decisions.column_names}
    columns["method"] = pa.repeat(CHAIN.join(one.name for one in filters), samples.num_rows)
    columns["night"] = pa.repeat(night, samples.num_rows)
    return pa.table([columns[name] for name in schema.names], schema=schema)
