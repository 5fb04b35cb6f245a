"""What every asset states about itself, in one place so that none forgets a part of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache

import dagster as dg
from pydantic import BaseModel

from assets.partitions import nightly_partitions
from assets.versions import code_version, text_digest, workspace_digest
from pipelines.config import ScheduleConfig, Settings
from pipelines.tables import UNPARTITIONED

# Steps of one pool run one at a time, also across runs (dagster_home/dagster.yaml).
ENGINE_POOL = "engine"
TRAINER_POOL = "trainer"
DELIVERED = {"published_version", "night_report"}  # what somebody waits for in the morning
# Upstream for the order of steps alone: what follows is made from none of it.
ORDER_ONLY = {dg.AssetKey("night_report")}


@dataclass(frozen=True)
class Pipeline:
    """What the assets of one pipeline have in common.

    Attributes:
        name: group in the UI; also the pipeline's file, its SQL folder and its lease.
        version: bumped by hand when rows change for a reason that no digest sees.
        sources: files and folders of the code that makes the rows, relative to the project.
        config: configuration sections that the rows depend on.
        workspace: extension kinds (graders, filters, recipes, prompts) of the user's that the rows depend on.
    """

    name: str
    version: str
    sources: tuple[str, ...]
    config: tuple[BaseModel, ...] = ()
    workspace: tuple[str, ...] = ()


def asset_traits(
    settings: Settings,
    pipeline: Pipeline,
    key: str,
    *,
    kinds: set[str],
    deps: Sequence[str | dg.AssetDep] = (),
    table: str | None = None,
) -> dict[str, object]:
    """Arguments that `dg.asset` and `dg.AssetSpec` share; `table` where the asset is not named as its table."""
    partitions = None if key in UNPARTITIONED else nightly_partitions(settings.schedule)
    workspace = workspace_digest(settings, pipeline.workspace)
    return {
        "key": key,
        "group_name": pipeline.name,
        "kinds": kinds,
        "deps": deps,
        "owners": list(settings.schedule.owners),
        "partitions_def": partitions,
        "freshness_policy": freshness(settings.schedule) if key in DELIVERED else None,
        "metadata": {"table": table or key},
        "code_version": code_version(
            pipeline.version + workspace, sources=pipeline.sources, config=pipeline.config, tables=[table or key]
        ),
    }


def freshness(schedule: ScheduleConfig) -> dg.FreshnessPolicy | None:
    """How old what a night delivers may get; None where nothing runs by itself."""
    if not schedule.enabled:
        return None
    return dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=schedule.fresh_within_hours))


def table_specs(
    settings: Settings,
    pipeline: Pipeline,
    descriptions: Mapping[str, str],
    *,
    kinds: Mapping[str, set[str]],
    deps: Sequence[str | dg.AssetDep],
) -> list[dg.AssetSpec]:
    """Specs of the tables that one step makes together, in the order of `descriptions`."""
    return [
        dg.AssetSpec(description=text, **asset_traits(settings, pipeline, table, kinds=kinds[table], deps=deps))
        for table, text in descriptions.items()
    ]


def with_upstream_versions(assets: Sequence[dg.AssetsDefinition]) -> list[dg.AssetsDefinition]:
    """The same assets, whose code versions also cover the code versions of everything they are made from.

    Dagster calls an asset stale when its own version or its inputs' data changed, and looks no further: without this
    a changed filter would leave the datasets made with the old one looking fresh. An external asset has no code.
    """
    specs = {spec.key: spec for asset in assets for spec in asset.specs}

    @cache
    def full_version(key: dg.AssetKey) -> str:
        made_from = [dep.asset_key for dep in specs[key].deps if dep.asset_key not in ORDER_ONLY]
        upstream = sorted(full_version(upstream) for upstream in made_from if upstream in specs)
        return f"{specs[key].code_version}-{text_digest(upstream)[:8]}"

    return list(dg.map_asset_specs(lambda spec: spec.replace_attributes(code_version=full_version(spec.key)), assets))
