"""Assets `consistency_results` and `consistent_rollouts`."""

from functools import partial

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from assets.current_critic import current_critic_dep
from assets.launchpad import launchpad_config, pipeline_config
from assets.partitions import last_night_and_tonight
from assets.specs import Pipeline, asset_traits
from assets.writing import scan_night, write_tables
from pipelines.config import ConsistencyConfig, Settings
from pipelines.consistent_rollouts import ConsistentRollouts, filter_rollouts
from pipelines.extensions import load_extension
from pipelines.lake import Lake

SOURCES = ("pipelines/consistent_rollouts.py", "pipelines/consistency", "sql/consistent_rollouts")
INPUTS = ("rollouts", "step_scores")
DESCRIPTIONS = {
    "consistency_results": "One row per rollout and consistency method: kept, or the reason why not.",
    "consistent_rollouts": "One row per rollout that the configured methods kept, with its group advantage.",
}


def yields(made: ConsistentRollouts) -> dict[str, dict[str, float]]:
    """Share of the judged rollouts that each method kept, and how many go on."""
    results = made.consistency_results
    judged = results.filter(pc.is_valid(results["group_id"])).select(["method", "kept"])
    judged = judged.set_column(1, "kept", judged["kept"].cast(pa.float64()))
    shares = judged.group_by("method").aggregate([("kept", "mean")]).sort_by("method").to_pylist()
    return {"consistency_results": {f"yield_{row['method']}": row["kept_mean"] for row in shares}}


def consistent_rollouts_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """Process consistency filters over the groups of independent samples."""
    pipeline = Pipeline("consistent_rollouts", "1", SOURCES, (settings.consistency,), workspace=("filters",))
    Launchpad = launchpad_config(settings.consistency)
    current = current_critic_dep(last_night_and_tonight())

    @dg.multi_asset(
        name="consistent_rollouts",
        specs=[
            dg.AssetSpec(
                description=text,
                **asset_traits(settings, pipeline, table, kinds={"duckdb", "parquet"}, deps=[*INPUTS, current]),
            )
            for table, text in DESCRIPTIONS.items()
        ],
    )
    def consistent_rollouts(
        context: dg.AssetExecutionContext,
        config: Launchpad,
        lake: dg.ResourceParam[Lake],
        settings: dg.ResourceParam[Settings],
    ):
        """Judges tonight's rollouts by every configured method."""
        night = context.partition_key
        with lake.lease(f"consistent_rollouts/{night}"):
            inputs = [scan_night(lake, table, night) for table in INPUTS]
            load_filter = partial(load_extension, settings, "filters")
            made = filter_rollouts(*inputs, pipeline_config(config, ConsistencyConfig), night, load_filter=load_filter)
            yield from write_tables(lake, vars(made), night, upstream=INPUTS, numbers=yields(made))

    return [consistent_rollouts]
