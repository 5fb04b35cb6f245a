"""rollouts, consistent_rollouts, step_scores of nights before -> replay: good old rollouts to train on again.

`training_sets.replay_share` says how much of `sft` they may be. Old rows are off-policy: they keep the version of the
model that wrote them, and a version's card counts them apart (`policies`, on-policy share). They go into `sft` alone:
groups for reinforcement learning and pairs are compared within what one policy wrote on one night.
"""

import pyarrow as pa

from pipelines.config import ReplayConfig
from pipelines.lake import Lake
from pipelines.tables import SCHEMAS
from pipelines.warehouse import Warehouse

READ = ("rollouts", "consistent_rollouts", "step_scores")


def build_replay(warehouse: Warehouse, config: ReplayConfig, night: str) -> pa.Table:
    """The table `replay` of a night; without a night before it, it has no rows."""
    rows = warehouse.named("replay/replay", night=night, **config.model_dump())
    return rows.cast(SCHEMAS["replay"])


def earlier_generations(lake: Lake, config: ReplayConfig, night: str) -> dict[str, str]:
    """`table/night` -> generation of the nights that replay looks at."""
    manifests = [one for one in lake.manifests("rollouts") if one.num_rows]  # a night without rows is none to the query
    nights = [one.partition for one in manifests if one.partition < night][-config.max_age_nights :]
    found = {f"{table}/{one}": lake.generation(table, one) for table in READ for one in nights}
    return {name: generation for name, generation in found.items() if generation is not None}
