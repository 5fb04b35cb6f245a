"""Assets `preference_pairs` and `pair_results`."""

from functools import partial

import dagster as dg

from assets.current_critic import current_critic_dep
from assets.launchpad import launchpad_config, pipeline_config
from assets.partitions import last_night_and_tonight
from assets.policy_shift import earlier_policy
from assets.specs import Pipeline, table_specs
from assets.tree_pages import tree_pages
from assets.writing import read_night, write_tables
from pipelines.config import PairsConfig, Settings
from pipelines.extensions import load_extension
from pipelines.lake import Lake
from pipelines.preference.methods import compares_policies, tables_of
from pipelines.preference_pairs import PairTables, make_pairs, pair_numbers
from pipelines.warehouse import Warehouse

SOURCES = (
    "pipelines/preference_pairs.py", "pipelines/preference", "pipelines/search/extraction.py", "sql/preference_pairs",
    "assets/policy_shift.py",
)  # fmt: skip
DESCRIPTIONS = {
    "preference_pairs": "One row per preference pair: two continuations of one prompt, both scores, and which method "
    "made it.",
    "pair_results": "One row per pair that a method made: kept, or which filter removed it and why.",
}
SHOWN_BESIDE = ("search_edges", "gold_steps", "first_errors")  # on the pages of trees; no pair depends on them


def preference_pairs_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """The pairs of the configured methods; by default of sibling steps and of whole rollouts."""
    pipeline = Pipeline("preference_pairs", "1", SOURCES, (settings.preference_pairs,), workspace=("filters",))
    Launchpad = launchpad_config(settings.preference_pairs)

    load_method = partial(load_extension, settings, "filters")
    deps = [*tables_of(settings.preference_pairs, load_method), current_critic_dep(last_night_and_tonight())]

    @dg.multi_asset(
        name="preference_pairs",
        specs=table_specs(
            settings, pipeline, DESCRIPTIONS, kinds=dict.fromkeys(DESCRIPTIONS, {"duckdb", "parquet"}), deps=deps
        ),
    )
    def preference_pairs(
        context: dg.AssetExecutionContext,
        config: Launchpad,
        lake: dg.ResourceParam[Lake],
        settings: dg.ResourceParam[Settings],
    ):
        """Mines, weighs and filters tonight's preference pairs."""
        night = context.partition_key
        with lake.lease(f"preference_pairs/{night}"):
            section = pipeline_config(config, PairsConfig)
            load = partial(load_extension, settings, "filters")
            inputs = tables_of(section, load)
            tables = {table: read_night(lake, table, night) for table in inputs}
            sides, lineage = dict(tables), {}
            if compares_policies(section, load):
                compared = [tables[name] for name in ("problems", "rollouts", "step_scores")]
                earlier = earlier_policy(lake, settings, *compared, night)
                sides |= {"earlier_rollouts": earlier.rollouts, "earlier_scores": earlier.scores}
                lineage = earlier.lineage
            made = make_pairs(PairTables(**sides), section, night, load=load)
            seen = {table: read_night(lake, table, night) for table in SHOWN_BESIDE}
            with Warehouse.over({**tables, **seen, "preference_pairs": made.pairs}) as warehouse:
                pages = tree_pages(settings, warehouse, night)
            rows = {"preference_pairs": made.pairs, "pair_results": made.results}
            numbers = {"preference_pairs": pair_numbers(made, PairTables(**tables)) | pages}
            yield from write_tables(lake, rows, night, upstream=inputs, numbers=numbers, also_from=lineage)

    return [preference_pairs]
