"""Asset `preference_pairs`."""

import dagster as dg

from assets.current_critic import current_critic_dep
from assets.launchpad import launchpad_config, pipeline_config
from assets.partitions import last_night_and_tonight
from assets.specs import Pipeline, asset_traits
from assets.tree_pages import tree_pages
from assets.writing import read_night, write_night
from pipelines.config import PairsConfig, Settings
from pipelines.lake import Lake
from pipelines.preference_pairs import build_pairs
from pipelines.warehouse import Warehouse

SOURCES = (
    "pipelines/preference_pairs.py", "pipelines/preference", "pipelines/search/extraction.py", "sql/preference_pairs",
)  # fmt: skip
INPUTS = ("problems", "search_nodes", "rollouts", "step_scores")
SHOWN_BESIDE = ("search_edges", "gold_steps")  # on the pages of trees; no pair depends on them


def preference_pairs_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """Pairs of sibling steps and of whole rollouts."""
    pipeline = Pipeline("preference_pairs", "1", SOURCES, (settings.preference_pairs,))
    Launchpad = launchpad_config(settings.preference_pairs)

    deps = [*INPUTS, current_critic_dep(last_night_and_tonight())]

    @dg.asset(**asset_traits(settings, pipeline, "preference_pairs", kinds={"duckdb", "parquet"}, deps=deps))
    def preference_pairs(
        context: dg.AssetExecutionContext,
        config: Launchpad,
        lake: dg.ResourceParam[Lake],
        settings: dg.ResourceParam[Settings],
    ) -> dg.MaterializeResult:
        """One row per preference pair: two steps tried from one prefix, or two rollouts of one problem."""
        night = context.partition_key
        with lake.lease(f"preference_pairs/{night}"):
            inputs = {table: read_night(lake, table, night) for table in INPUTS}
            rows = build_pairs(*inputs.values(), pipeline_config(config, PairsConfig), night)
            kinds = rows["kind"].to_pylist()
            numbers = {"num_step_pairs": kinds.count("step"), "num_rollout_pairs": kinds.count("rollout")}
            numbers["num_ppm_step_pairs"] = kinds.count("ppm_step")
            seen = {table: read_night(lake, table, night) for table in SHOWN_BESIDE}
            with Warehouse.over({**inputs, **seen, "preference_pairs": rows}) as warehouse:
                pages = tree_pages(settings, warehouse, night)
            return write_night(lake, "preference_pairs", rows, night, upstream=INPUTS, numbers={**numbers, **pages})

    return [preference_pairs]
