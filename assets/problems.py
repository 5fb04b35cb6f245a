"""Asset `problems`."""

import dagster as dg

from assets.launchpad import launchpad_config, pipeline_config
from assets.resources import with_section
from assets.specs import Pipeline, asset_traits
from assets.writing import write_night
from pipelines.config import ProblemsConfig, Settings
from pipelines.lake import Lake
from pipelines.problems import load_problems

SOURCES = ("pipelines/problems.py", "pipelines/problem_files.py", "pipelines/starter/families.py")


def problems_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """The asset `problems` with the configured sources as defaults."""
    pipeline = Pipeline("problems", "2", SOURCES, (settings.problems,))
    Launchpad = launchpad_config(settings.problems)

    @dg.asset(**asset_traits(settings, pipeline, "problems", kinds={"python", "parquet"}))
    def problems(
        config: Launchpad, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
    ) -> dg.MaterializeResult:
        """One row per distinct problem of the configured sources, the same every night."""
        chosen = pipeline_config(config, ProblemsConfig)
        with lake.lease("problems/all"):
            rows = load_problems(with_section(settings, problems=chosen))
            numbers = {"num_held_out": rows["split"].to_pylist().count("held_out")}
            return write_night(lake, "problems", rows, "all", upstream=[], numbers=numbers)

    return [problems]
