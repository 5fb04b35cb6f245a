"""Assets `critic_trials` and `critic_promotions`: whether tonight's critic takes the place of the current one.

The trial comes near the end of a night, then the night's report, which tells of it, and last the promotion with its
blocking check `promotable`: for a critic that is worse than the current one, or that drifts, it fails,
`critic_promotions` is not made, and everything goes on with the current critics. Nothing else waits for that step or is
stopped with it.
"""

import json

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from assets.critics import fold_scorers, member_scorer
from assets.current_critic import changed, current_critic_dep
from assets.launchpad import launchpad_config, pipeline_config
from assets.partitions import last_night, nightly_partitions
from assets.resources import prompts_of
from assets.specs import TRAINER_POOL, Pipeline, asset_traits
from assets.writing import read_night, write_night
from critics.registry import OWN, CriticSet, current_before, current_set, promoted_row, rows_of_night, trained_set
from critics.score import out_of_fold_scores, score_rollouts
from critics.trials import Scored, Trial, trial
from pipelines.config import PromotionConfig, Settings
from pipelines.errors import LakeError
from pipelines.lake import Lake, rows_to_table

SOURCES = (
    "critics/trials.py", "critics/drift.py", "critics/metrics.py", "critics/score.py", "critics/registry.py",
    "pipelines/strategies.py",
)  # fmt: skip
INPUTS = ("problems", "rollouts", "evaluation_rollouts")
PROMOTABLE = "promotable"
LAST = {"dagster/priority": "-10"}  # op tag: after whatever else could run


def promotion_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """The trial of tonight's critic, and its promotion."""
    config = (settings.promotion, settings.policy)
    pipeline = Pipeline("promotion", "1", SOURCES, config, workspace=("prompts",))
    return [_critic_trials(settings, pipeline), _critic_promotions(settings, pipeline)]


def _critic_trials(settings: Settings, pipeline: Pipeline) -> dg.AssetsDefinition:
    Launchpad = launchpad_config(settings.promotion)

    @dg.asset(
        pool=TRAINER_POOL,
        op_tags=LAST,
        **asset_traits(
            settings, pipeline, "critic_trials", kinds={"pytorch", "parquet"},
            deps=[*INPUTS, "process_critic", current_critic_dep(last_night())],
        ),
    )  # fmt: skip
    def critic_trials(
        context: dg.AssetExecutionContext,
        config: Launchpad,
        lake: dg.ResourceParam[Lake],
        settings: dg.ResourceParam[Settings],
    ) -> dg.MaterializeResult:
        """One row per night: tonight's critic against the current one, on problems that neither has learned from."""
        night = context.partition_key
        with lake.lease(f"critic_trials/{night}"):
            chosen = pipeline_config(config, PromotionConfig)
            tonight, current = tonights_critics(lake, night), current_before(lake, night)
            found = try_critics(settings, chosen, lake, night, tonight, current)
            row = found.row(tonight.full.critic_id, current.full.critic_id if current else None, night)
            rows = rows_to_table("critic_trials", [row])
            return write_night(lake, "critic_trials", rows, night, upstream=INPUTS, numbers=numbers_of(row))

    return critic_trials


def _critic_promotions(settings: Settings, pipeline: Pipeline) -> dg.AssetsDefinition:
    spec = dg.AssetSpec(
        description="One row per change of the current critic: by the night's own trial, and by hand after it.",
        skippable=True,
        **asset_traits(
            settings, pipeline, "critic_promotions", kinds={"parquet"},
            deps=["critic_trials", "process_critic", "night_report"],
        ),
    )  # fmt: skip

    @dg.multi_asset(name="critic_promotions", op_tags=LAST, specs=[spec], check_specs=[promotable_spec(settings)])
    def critic_promotions(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]):
        """Promotes tonight's critic where its trial allows it."""
        night = context.partition_key
        with lake.lease(f"critic_promotions/{night}"):
            tonight = tonights_critics(lake, night)
            row = trial_of(lake, night)
            if row["is_promotable"]:
                reason = row["reason"]
                own = None if reason == "unchanged" else promoted_row(tonight, night, OWN, reason)
                rows = rows_of_night(lake, night, own)
                result = write_night(lake, "critic_promotions", rows, night, upstream=["critic_trials", "critics"])
                context.log_event(changed(current_set(lake, night) or tonight, night))
                yield result
            yield promotable_result(row)

    return critic_promotions


def trial_of(lake: Lake, night: str) -> dict[str, object]:
    """The night's row of critic_trials; LakeError where there is none."""
    rows = read_night(lake, "critic_trials", night).to_pylist()
    if not rows:
        raise LakeError(f"There is no trial of the night {night}; materialise critic_trials first.")
    return rows[0]


def tonights_critics(lake: Lake, night: str) -> CriticSet:
    """The critics that were trained tonight; LakeError where there are none."""
    critics = trained_set(read_night(lake, "critics", night))
    if critics is None:
        raise LakeError(f"There is no critic of the night {night} to promote; materialise process_critic first.")
    return critics


def try_critics(
    settings: Settings, config: PromotionConfig, lake: Lake, night: str, tonight: CriticSet, current: CriticSet | None
) -> Trial:
    """Scores the evaluation samples by the full critics and tonight's rollouts out of fold, and compares."""
    problems, rollouts, evaluation = (read_night(lake, table, night) for table in INPUTS)
    rollouts = rollouts.filter(pc.and_(rollouts["error"].is_null(), rollouts["outcome_reward"].is_valid()))
    verify_prompt = prompts_of(settings).verify_prompt

    def evaluation_scores(critics: CriticSet) -> pa.Table:
        return score_rollouts(evaluation, problems, member_scorer(settings, critics.full), verify_prompt, night)

    def scores_of_tonight(critics: CriticSet) -> pa.Table:
        return out_of_fold_scores(rollouts, problems, fold_scorers(settings, critics), verify_prompt, night)

    return trial(
        Scored(evaluation, evaluation_scores(tonight), evaluation_scores(current) if current else None),
        Scored(rollouts, scores_of_tonight(tonight), scores_of_tonight(current) if current else None),
        config,
        settings.reports.aggregate,
        has_current=current is not None,
        is_same=current is not None and current.version == tonight.version,
    )


def numbers_of(row: dict[str, object]) -> dict[str, float]:
    """The numbers of a trial as metadata; undefined ones are left out."""
    return {name: value for name, value in row.items() if isinstance(value, int | float) and value is not None}


def promotable_spec(settings: Settings) -> dg.AssetCheckSpec:
    """The check that stands between tonight's critic and the current one's place."""
    return dg.AssetCheckSpec(
        PROMOTABLE,
        asset="critic_promotions",
        description="Tonight's critic is not worse than the current one on problems that neither has seen, and does "
        "not drift; otherwise the current one stays.",
        blocking=True,
        partitions_def=nightly_partitions(settings.schedule),
    )


def promotable_result(row: dict[str, object]) -> dg.AssetCheckResult:
    """Passed where the critic may be promoted; the reason, and the numbers beside the limits of the trial."""
    limits = json.loads(row["metrics"] or "{}").get("limits", {})
    known = {name: row[name] for name in ("reason", "critic_id", "current_id") if row[name] is not None}
    return dg.AssetCheckResult(
        check_name=PROMOTABLE,
        asset_key="critic_promotions",
        passed=row["is_promotable"],
        metadata={**known, **numbers_of(row), **limits},
    )
