"""Asset `published_version`."""

import dagster as dg
import pyarrow as pa

from assets.known_problems import require_problems
from assets.launchpad import launchpad_config, pipeline_config
from assets.links import lineage_link, page_link
from assets.resources import root_run_id, with_section
from assets.specs import Pipeline, asset_traits
from assets.writing import ENGINE, read_night, scan_night
from pipelines.config import PublishingConfig, Settings
from pipelines.datasets.manifest import RunInfo
from pipelines.datasets.versions import PublishedVersion
from pipelines.lake import Lake
from pipelines.night_report.write import report_path
from pipelines.publishing import publish
from pipelines.tables import TRAINING_SETS

SOURCES = (  # what decides the content of a version; not how versions are found, pulled, compared
    "pipelines/publishing.py", "pipelines/datasets/manifest.py", "pipelines/datasets/certificate.py",
    "pipelines/datasets/card.py", "pipelines/datasets/card_text.py", "pipelines/datasets/figures.py",
)  # fmt: skip


def models_of(rollouts: pa.Table, critics: pa.Table) -> dict[str, str]:
    """Role -> digest of the weights behind a night's data."""
    policies = rollouts["policy_version"].unique().drop_null().to_pylist()
    full = [row["digest"] for row in critics.select(["fold", "digest"]).to_pylist() if row["fold"] is None]
    return {"policy": "+".join(policies), "process_critic": "+".join(full)}


def engine_of(lake: Lake, night: str) -> str:
    """What answered the requests behind a night's rollouts; "" where nobody wrote it down."""
    manifest = lake.manifest("rollouts", night)
    return manifest.lineage.get(ENGINE, "") if manifest else ""


def version_metadata(published: PublishedVersion, report: dg.UrlMetadataValue, lineage: str) -> dict[str, object]:
    """Where the version and the page of its night lie, and how many rows each of its sets has."""
    sets = {f"rows/{name}": entry["num_rows"] for name, entry in published.manifest["sets"].items()}
    return {
        "path": dg.MetadataValue.path(str(published.path)),
        "version": published.version,
        "report": report,
        "lineage": dg.MetadataValue.url(lineage),
        "content_sha256": published.manifest["content_sha256"],
        "dagster/row_count": published.manifest["num_rows"],
        **sets,
    }


def publishing_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """The immutable dataset version of a night."""
    pipeline = Pipeline("publishing", "1", SOURCES, (settings.publishing,))
    Launchpad = launchpad_config(settings.publishing)
    deps = [*TRAINING_SETS, "process_critic"]

    @dg.asset(**asset_traits(settings, pipeline, "published_version", kinds={"huggingface", "parquet"}, deps=deps))
    def published_version(
        context: dg.AssetExecutionContext,
        config: Launchpad,
        lake: dg.ResourceParam[Lake],
        settings: dg.ResourceParam[Settings],
    ) -> dg.MaterializeResult:
        """One row per training example: the night's sets as an immutable folder with Parquet, card and manifest."""
        night = context.partition_key
        chosen = with_section(settings, publishing=pipeline_config(config, PublishingConfig))
        policies = scan_night(lake, "rollouts", night).to_table(columns=["policy_version"])
        models = models_of(policies, read_night(lake, "critics", night))
        with lake.lease(f"published_version/{night}"):
            require_problems(lake, night)
            run_info = RunInfo(engine=engine_of(lake, night), models=models, run_id=root_run_id(context))
            published = publish(chosen, lake, night, TRAINING_SETS, run_info)
            return dg.MaterializeResult(
                metadata=version_metadata(
                    published, page_link(settings, report_path(settings, night)), lineage_link(settings)
                ),
                data_version=dg.DataVersion(str(published.manifest["content_sha256"])),
            )

    return [published_version]
