"""Asset `problems`."""

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from assets.launchpad import launchpad_config, pipeline_config
from assets.partitions import night_of_run
from assets.resources import with_section
from assets.specs import Pipeline, asset_traits
from assets.writing import write_night
from pipelines.config import MadeSource, ProblemsConfig, Settings
from pipelines.lake import Lake
from pipelines.new_problems import made_problems
from pipelines.problems import MADE, load_problems

SOURCES = ("pipelines/problems.py", "pipelines/problem_files.py", "pipelines/starter/families.py")


def yields(rows: pa.Table) -> dict[str, float]:
    """How many problems are held out, and how many the policy has posed."""
    num_made = pc.sum(pc.starts_with(rows["source"], MADE)).as_py() or 0
    return {"num_held_out": rows["split"].to_pylist().count("held_out"), "num_made": num_made}


def problems_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """The asset `problems` with the configured sources as defaults."""
    pipeline = Pipeline("problems", "2", SOURCES, (settings.problems,))
    Launchpad = launchpad_config(settings.problems)

    @dg.asset(**asset_traits(settings, pipeline, "problems", kinds={"python", "parquet"}))
    def problems(
        context: dg.AssetExecutionContext,
        config: Launchpad,
        lake: dg.ResourceParam[Lake],
        settings: dg.ResourceParam[Settings],
    ) -> dg.MaterializeResult:
        """One row per distinct problem of the configured sources, the same every night but for new ones of its own."""
        chosen = pipeline_config(config, ProblemsConfig)
        with lake.lease("problems/all"):
            made, made_of = made_problems(lake, except_night=night_of_run(context))
            rows = load_problems(with_section(settings, problems=chosen), made)
            lineage = made_of if any(isinstance(source, MadeSource) for source in chosen.sources) else {}
            return write_night(lake, "problems", rows, "all", upstream=[], numbers=yields(rows), also_from=lineage)

    return [problems]
