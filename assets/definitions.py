"""Everything that Dagster loads: assets, checks, the job, the schedule and the resources.

`defs` is called by Dagster's tools (`dagster dev`, `dagster definitions validate`, `dg check defs`); the
configuration is read then, and not when this module is imported.
"""

import warnings
from collections.abc import Sequence

import dagster as dg

from assets.automation import night_job, night_schedule, step_processes
from assets.checks import table_checks
from assets.consistent_rollouts import consistent_rollouts_assets
from assets.critics import critic_assets
from assets.critiques import critiques_assets
from assets.current_critic import current_critic_spec
from assets.new_problems import new_problems_assets
from assets.night_report import night_report_assets
from assets.pair_judgments import pair_judgments_assets
from assets.partitions import nightly_partitions
from assets.preference_pairs import preference_pairs_assets
from assets.problems import problems_assets
from assets.promotion import promotion_assets
from assets.publishing import publishing_assets
from assets.replay import replay_assets
from assets.reports import reports_assets
from assets.resources import RunServices
from assets.rollouts import rollouts_assets
from assets.sensors import problems_job, workspace_sensors
from assets.specs import with_upstream_versions
from assets.token_scores import token_scores_assets
from assets.training_sets import training_sets_assets
from assets.tree_extracts import tree_extracts_assets
from pipelines.config import Settings, load_settings
from pipelines.lake import Lake
from pipelines.policies import with_adopted_policy

PIPELINES = (
    problems_assets,
    rollouts_assets,
    tree_extracts_assets,
    token_scores_assets,
    critiques_assets,
    new_problems_assets,
    critic_assets,
    preference_pairs_assets,
    pair_judgments_assets,
    consistent_rollouts_assets,
    replay_assets,
    training_sets_assets,
    publishing_assets,
    reports_assets,
    promotion_assets,
)


def build_definitions(settings: Settings, services: RunServices | None = None) -> dg.Definitions:
    """The definitions for a configuration; `services` None serves the configured policy on its engine."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # first night: a partition mapping without predecessor
        warnings.simplefilter("ignore", dg.PreviewWarning)  # asset checks with partitions
        assets = graph(settings)
        job = night_job(nightly_partitions(settings.schedule))
        return dg.Definitions(
            assets=[*assets, current_critic_spec(settings)],
            asset_checks=table_checks(assets),
            jobs=[job, problems_job()],
            schedules=[night_schedule(settings.schedule, job.name)],
            sensors=workspace_sensors(settings, whole_night(assets)),
            executor=step_processes(),
            resources={
                "settings": settings,
                "lake": Lake(settings.lake_url),
                "services": services or RunServices(settings),
            },
        )


def graph(settings: Settings) -> list[dg.AssetsDefinition]:
    """Every asset, in the order of the pipelines."""
    assets = [asset for pipeline in PIPELINES for asset in pipeline(settings)]
    every = with_upstream_versions([*assets, *night_report_assets(settings, assets)])
    return list(dg.with_source_code_references(every))


def whole_night(assets: Sequence[dg.AssetsDefinition]) -> frozenset[dg.AssetKey]:
    """What a run has to make for a night to be done: every asset that has nights."""
    return frozenset(spec.key for asset in assets for spec in asset.specs if spec.partitions_def is not None)


@dg.definitions
def defs() -> dg.Definitions:
    """The definitions of the workspace that `reasonmill.toml` describes."""
    return build_definitions(with_adopted_policy(load_settings()))
