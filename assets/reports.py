"""Assets `evaluation_rollouts`, `policy_report` and `critic_report`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import dagster as dg

from assets.checks import work_result, work_spec
from assets.critics import generative_section
from assets.evaluation import (
    accuracies,
    evaluation_problems,
    headline_metrics,
    measure,
    report_figures,
    report_tables,
)
from assets.launchpad import launchpad_config, pipeline_config
from assets.resources import RunServices
from assets.rollouts import sections_of
from assets.specs import ENGINE_POOL, Pipeline, table_specs
from assets.writing import read_night, write_tables
from critics.calibrated import Calibration, read_calibration
from critics.generative import GenerativeScorer, OpenSession, generative_scorer, judge_model
from critics.score import StepScorer, load_critic
from pipelines.config import ReportsConfig, Settings
from pipelines.errors import LakeError
from pipelines.lake import Lake

SOURCES = (
    "assets/evaluation.py", "critics/report.py", "critics/metrics.py", "critics/score.py", "critics/calibrated.py",
    "critics/calibration.py", "critics/generative.py", "pipelines/strategies.py",
    "pipelines/reasoning", "pipelines/search", "pipelines/grading", "pipelines/rollouts.py",
    "pipelines/problem_rows.py", "pipelines/votes.py", "pipelines/self_verdicts.py", "pipelines/token_scores.py",
)  # fmt: skip
INPUTS = ("problems", "critics")
KINDS = {
    "evaluation_rollouts": {"vllm", "parquet"},
    "policy_report": {"vllm", "pytorch", "parquet"},
    "critic_report": {"pytorch", "parquet"},
}
DESCRIPTIONS = {
    "evaluation_rollouts": "One row per independent sample of a frozen evaluation problem; never trained on.",
    "policy_report": "One row per way of answering the frozen evaluation problems: accuracy, bounds, tokens.",
    "critic_report": "One row per metric and slice of tonight's critic on the frozen evaluation problems.",
}


def reports_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """Both reports, from one set of samples."""
    config = (settings.reports, *sections_of(settings), *generative_section(settings))
    pipeline = Pipeline("reports", "1", SOURCES, config, workspace=("graders", "recipes", "prompts"))
    Launchpad = launchpad_config(settings.reports)

    @dg.multi_asset(
        name="reports",
        pool=ENGINE_POOL,
        check_specs=[work_spec(settings, "policy_report")],
        specs=table_specs(settings, pipeline, DESCRIPTIONS, kinds=KINDS, deps=["problems", "process_critic"]),
    )
    def reports(
        context: dg.AssetExecutionContext,
        config: Launchpad,
        lake: dg.ResourceParam[Lake],
        settings: dg.ResourceParam[Settings],
        services: dg.ResourceParam[RunServices],
    ):
        """Measures tonight's policy and critic on problems that neither has seen."""
        night = context.partition_key
        with lake.lease(f"reports/{night}"):
            chosen = pipeline_config(config, ReportsConfig)
            judge = reported_critic(settings, lake, night, services.opener(context, judge_model(settings)))
            problems = evaluation_problems(read_night(lake, "problems", night), chosen)
            work = partial(measure, settings=settings, config=chosen, problems=problems, scorer=judge.scorer)
            measured, use = services.generate(context, work)
            tables = report_tables(
                measured, chosen, judge.critic_id, judge.training_metrics, night, judge.calibration
            )  # fmt: skip
            figures = report_figures(settings, measured, tables["critic_report"], night)
            numbers = {
                "policy_report": accuracies(tables["policy_report"]) | use.numbers(),
                "critic_report": headline_metrics(tables["critic_report"]) | figures,
            }
            yield from write_tables(lake, tables, night, upstream=INPUTS, numbers=numbers, engine=use.engine)
            yield work_result("policy_report", tables["policy_report"].num_rows, use, is_wanted=problems.num_rows > 0)

    return [reports]


@dataclass(frozen=True)
class ReportedCritic:
    """Whose scores a night's report is about."""

    critic_id: str
    scorer: StepScorer | GenerativeScorer
    training_metrics: Mapping[str, float]
    calibration: Calibration | None


def reported_critic(settings: Settings, lake: Lake, night: str, open_session: OpenSession) -> ReportedCritic:
    """Tonight's critic of all training problems, or the language model that scores in its place."""
    if settings.process_critic.kind == "generative":
        scorer = generative_scorer(settings, open_session)
        return ReportedCritic(scorer.version, scorer, {}, None)
    critic = full_critic(lake, night)
    folder = settings.in_workspace(critic["path"])
    calibration = read_calibration(folder, critic["digest"])
    return ReportedCritic(critic["critic_id"], load_critic(folder), json.loads(critic["metrics"]), calibration)


def full_critic(lake: Lake, night: str) -> dict[str, str]:
    """The row of `critics` for the critic that learned from every training problem tonight; LakeError without one."""
    for row in read_night(lake, "critics", night).to_pylist():
        if row["fold"] is None:
            return row
    raise LakeError(f"There is no critic of the night {night} to report on; materialise process_critic first.")
