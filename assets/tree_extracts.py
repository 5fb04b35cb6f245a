"""Assets `node_values`, `first_errors`, `splices` and `reflections`: what tonight's trees say of their steps."""

import dagster as dg
import pyarrow.compute as pc

from assets.launchpad import launchpad_config, pipeline_config
from assets.specs import Pipeline, table_specs
from assets.tree_pages import tree_pages
from assets.writing import read_night, write_tables
from pipelines.config import Settings, TreeExtractsConfig
from pipelines.lake import Lake
from pipelines.tree_extracts import TreeExtracts, extract_trees
from pipelines.warehouse import Warehouse

SOURCES = (
    "pipelines/tree_extracts.py", "pipelines/search/beta_quantiles.py", "pipelines/search/extraction.py",
    "sql/tree_extracts",
)  # fmt: skip
INPUTS = ("problems", "search_nodes", "search_edges", "rollouts")
SHOWN_BESIDE = ("gold_steps", "preference_pairs")  # on the pages of trees, where they are there; no row needs them
DESCRIPTIONS = {
    "node_values": "One row per node of a search tree and method: Monte Carlo value with interval, posterior "
    "quantiles, TD(lambda) target, or quality value with process reward.",
    "first_errors": "One row per wrong tree rollout: the first step after which no evaluated continuation was right.",
    "splices": "One row per wrong path, up to its first error, that is led back to a right path of the same tree.",
    "reflections": "One row per wrong attempt, with a pointer to its first error and a solution that keeps the rest.",
}
KINDS = dict.fromkeys(DESCRIPTIONS, {"duckdb", "parquet"})


def yields(made: TreeExtracts) -> dict[str, dict[str, float]]:
    """Nodes per method, how sure the first errors are, and gap and wrong steps of the splices."""
    methods = made.node_values["method"].value_counts().to_pylist()
    return {
        "node_values": {f"num_nodes/{entry['values']}": entry["counts"] for entry in methods},
        "first_errors": {"mean_confidence": pc.mean(made.first_errors["confidence"]).as_py() or 0.0},
        "splices": {
            "mean_value_gap": pc.mean(made.splices["value_gap"]).as_py() or 0.0,
            "mean_wrong_steps": pc.mean(pc.list_value_length(made.splices["wrong_steps"])).as_py() or 0.0,
        },
    }


def tree_extracts_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """All extracts of a night's trees, as one step."""
    pipeline = Pipeline("tree_extracts", "1", SOURCES, (settings.tree_extracts,))
    Launchpad = launchpad_config(settings.tree_extracts)

    @dg.multi_asset(name="tree_extracts", specs=table_specs(settings, pipeline, DESCRIPTIONS, kinds=KINDS, deps=INPUTS))
    def tree_extracts(
        context: dg.AssetExecutionContext,
        config: Launchpad,
        lake: dg.ResourceParam[Lake],
        settings: dg.ResourceParam[Settings],
    ):
        """Reads step values, first errors, splices and reflections off tonight's trees."""
        night = context.partition_key
        with lake.lease(f"tree_extracts/{night}"):
            inputs = {table: read_night(lake, table, night) for table in INPUTS}
            made = extract_trees(*inputs.values(), pipeline_config(config, TreeExtractsConfig), night)
            seen = {table: read_night(lake, table, night) for table in SHOWN_BESIDE}
            with Warehouse.over({**inputs, **seen, "first_errors": made.first_errors}) as warehouse:
                pages = tree_pages(settings, warehouse, night)
            numbers = yields(made)
            numbers["first_errors"] |= pages
            yield from write_tables(lake, vars(made), night, upstream=INPUTS, numbers=numbers)

    return [tree_extracts]
