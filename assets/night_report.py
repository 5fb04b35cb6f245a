"""Assets `stage_usage`, `night_metrics`, `night_log` and `night_report`: what the night did, and if it was worth it.

They come after everything else of a night but the promotion of its critic, which waits for them so that a critic that
is held has a report too. Seconds and requests per stage come from Dagster's own records and are kept in the lake, so
that the page can be written again from the lake alone (`reasonmill nights report`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from assets.links import lineage_link, page_link
from assets.metadata import rejected_preview
from assets.specs import Pipeline, asset_traits, table_specs
from assets.writing import read_night, write_night
from pipelines.config import Settings
from pipelines.lake import Lake, rows_to_table
from pipelines.night_report.page import alarms_of, verdict_line
from pipelines.night_report.verdict import verdict_of
from pipelines.night_report.write import log_rows, metrics_rows, write_report
from pipelines.tables import UNPARTITIONED
from pipelines.warehouse import Warehouse

SOURCES = ("pipelines/night_report", "sql/reports")
REPORT = "night_report"
KINDS = dict.fromkeys(("stage_usage", "night_metrics", "night_log"), {"duckdb", "parquet"})
DESCRIPTIONS = {
    "stage_usage": "One row per stage of the night before its report: seconds, those with a request to the engine "
    "under way, requests, tokens, and what was replayed.",
    "night_metrics": "One row per number of the night that is compared over nights; an unknown number has no row. The "
    "night's page says what each number is.",
    "night_log": "One row per night: verdict, policy, critic, engine, code, configuration and dataset version.",
}
REPORT_TEXT = "One row per night: the page that says what the night made and whether it was worth it."
COUNTED = (
    "num_requests", "num_from_store", "num_request_errors", "prompt_tokens", "cached_tokens", "completion_tokens",
    "engine_seconds",
)  # fmt: skip
LAST = {"dagster/priority": "-10"}  # op tag: after whatever else could run
AFTER = "critic_promotions"  # comes after the report


@dataclass(frozen=True)
class Stage:
    """A step of the job and the assets that it makes."""

    name: str
    keys: tuple[dg.AssetKey, ...]


def stages_of(assets: Sequence[dg.AssetsDefinition]) -> list[Stage]:
    """Every step that makes assets before the report."""
    stages = [Stage(asset.op.name, tuple(sorted(asset.keys))) for asset in assets]
    return [stage for stage in stages if stage.name != AFTER]


def night_report_assets(settings: Settings, others: Sequence[dg.AssetsDefinition]) -> list[dg.AssetsDefinition]:
    """The report over all other assets of a night."""
    pipeline = Pipeline("night_report", "1", SOURCES, (settings.night_report,))
    stages = stages_of(others)
    deps = [key.to_user_string() for stage in stages for key in stage.keys]
    page = dg.AssetSpec(
        description=REPORT_TEXT, **asset_traits(settings, pipeline, REPORT, kinds={"duckdb", "html"}, deps=deps)
    )

    @dg.multi_asset(
        name=REPORT,
        op_tags=LAST,
        specs=[*table_specs(settings, pipeline, DESCRIPTIONS, kinds=KINDS, deps=deps), page],
    )
    def night_report(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
    ):
        """Records what the night cost and what its numbers are, and writes the page."""
        night = context.partition_key
        with lake.lease(f"{REPORT}/{night}"):
            usage = with_earlier(stage_usage(context.instance, stages, night), read_night(lake, "stage_usage", night))
            yield write_night(lake, "stage_usage", usage, night, upstream=[])
            with Warehouse(lake) as warehouse:
                metrics = metrics_rows(warehouse, settings, night)
                examples = rejected_preview(warehouse, night, partial(lineage_link, settings))
            numbers = dict(zip(metrics["metric"].to_pylist(), metrics["value"].to_pylist(), strict=True))
            yield write_night(lake, "night_metrics", metrics, night, upstream=["stage_usage"], numbers=numbers)
            log = log_rows(settings, lake, night)
            yield write_night(lake, "night_log", log, night, upstream=["stage_usage", "night_metrics"])
            path, facts = write_report(settings, lake, night, is_under_way=True)
            alarms = alarms_of(facts, settings.night_report)
            trial = next(iter(facts.rows["night_trial"]), None)
            yield dg.MaterializeResult(
                asset_key=REPORT,
                metadata={
                    "report": dg.MetadataValue.path(str(path)),
                    "report_page": page_link(settings, path),
                    "verdict": verdict_line(verdict_of(trial, None)),
                    "num_alarms": len(alarms),
                    "alarms": dg.MetadataValue.md("\n".join(f"* {alarm.text}" for alarm in alarms) or "*none*"),
                    "rows": dg.MetadataValue.md(examples),
                    "dagster/row_count": 1,
                    **numbers,
                },
                data_version=dg.DataVersion(night),  # a page that is drawn anew makes no critic stale
            )

    return [night_report]


def stage_usage(instance: dg.DagsterInstance, stages: Sequence[Stage], night: str) -> pa.Table:
    """What the latest run of each stage took and asked for, by Dagster's record; unknown stages are left out."""
    rows = [row for stage in stages if (row := _usage_of(instance, stage, night)) is not None]
    return rows_to_table("stage_usage", rows)


def with_earlier(found: pa.Table, earlier: pa.Table) -> pa.Table:
    """The rows found, and those recorded earlier of stages that this Dagster instance knows nothing of."""
    known = earlier.filter(pc.invert(pc.is_in(earlier["stage"], value_set=found["stage"].combine_chunks())))
    return pa.concat_tables([known, found]).sort_by([("ended_at", "ascending"), ("stage", "ascending")])


def _usage_of(instance: dg.DagsterInstance, stage: Stage, night: str) -> dict[str, object] | None:
    records = [record for key in stage.keys if (record := _latest(instance, key, night)) is not None]
    if not records:
        return None
    last = max(records, key=lambda record: record.timestamp)
    found: dict[str, object] = {}
    for record in records:
        if record.run_id == last.run_id:
            found |= {name: entry.value for name, entry in record.asset_materialization.metadata.items()}
    step = last.event_log_entry.step_key
    ran = instance.get_run_step_stats(last.run_id, [step])
    ended = ran[0].end_time if ran and ran[0].end_time else last.timestamp
    seconds = ran[0].end_time - ran[0].start_time if ran and ran[0].end_time and ran[0].start_time else None
    return {
        "stage": stage.name,
        "seconds": seconds,
        **{name: found.get(name) for name in COUNTED},
        "engine": found.get("engine"),
        "run_id": last.run_id,
        "ended_at": datetime.fromtimestamp(ended, UTC).isoformat(timespec="milliseconds"),
        "night": night,
    }


def _latest(instance: dg.DagsterInstance, key: dg.AssetKey, night: str) -> dg.EventLogRecord | None:
    """The latest materialisation of an asset's night."""
    partitions = None if key.to_user_string() in UNPARTITIONED else [night]
    wanted = dg.AssetRecordsFilter(asset_key=key, asset_partitions=partitions)
    return next(iter(instance.fetch_materializations(wanted, limit=1).records), None)
