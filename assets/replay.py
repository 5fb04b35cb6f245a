"""Asset `replay`."""

import dagster as dg

from assets.launchpad import launchpad_config, pipeline_config
from assets.specs import Pipeline, asset_traits
from assets.writing import write_night
from pipelines.config import ReplayConfig, Settings
from pipelines.lake import Lake
from pipelines.replay import READ, build_replay, earlier_generations
from pipelines.warehouse import Warehouse

SOURCES = ("pipelines/replay.py", "sql/replay")


def replay_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """Good rollouts of nights before that `sft` may mix in."""
    pipeline = Pipeline("replay", "1", SOURCES, (settings.replay,))
    Launchpad = launchpad_config(settings.replay)

    @dg.asset(**asset_traits(settings, pipeline, "replay", kinds={"duckdb", "parquet"}, deps=["rollouts"]))
    def replay(
        context: dg.AssetExecutionContext, config: Launchpad, lake: dg.ResourceParam[Lake]
    ) -> dg.MaterializeResult:
        """One row per good rollout of a night before that is worth training on again, of whatever policy."""
        night = context.partition_key
        with lake.lease(f"replay/{night}"):
            chosen = pipeline_config(config, ReplayConfig)
            earlier = earlier_generations(lake, chosen, night)
            with Warehouse(lake, READ) as warehouse:
                rows = build_replay(warehouse, chosen, night)
            return write_night(lake, "replay", rows, night, upstream=["rollouts"], also_from=earlier)

    return [replay]
