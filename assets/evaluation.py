"""How good policy and critic are on the frozen evaluation problems, which neither has learned from.

The samples belong to the report and not to a night, so an unchanged policy gets the same requests every night and
the response store answers them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from assets.resources import prompts_of
from critics.calibrated import Calibration
from critics.figures import inline_figure, write_report_figures
from critics.report import by_slice, critic_report, labelled_steps, scored_rollouts
from critics.score import StepScorer, score_rollouts
from pipelines.config import ReportsConfig, RolloutsConfig, Settings, TokenScoresConfig
from pipelines.configured import reported_searches
from pipelines.grading import extract_answer, graders_of
from pipelines.inference.session import Session
from pipelines.lake import rows_to_table
from pipelines.reasoning.evaluate import AGGREGATES, critic_evaluator
from pipelines.reasoning.solve import Solution, solve_with_critic
from pipelines.records import ProgressFn
from pipelines.rollouts import check_error_rate, choose_problems, gold_steps, sample_rollouts
from pipelines.self_verdicts import SelfVerdicts, VerdictTokens, judge_own_steps
from pipelines.strategies import (
    StrategyResult,
    best_of_n_certainty,
    best_of_n_critic,
    best_of_n_logprob,
    best_of_n_mean_logprob,
    borda_certainty,
    greedy,
    guided_search,
    majority,
    oracle,
    pass_at_1,
    report_rows,
    weighted_majority,
)
from pipelines.tables import SCHEMAS
from pipelines.token_scores import score_rollouts as score_tokens

TABLES = ("evaluation_rollouts", "policy_report", "critic_report")
CURVES = ("selected_score_", "selective_accuracy_")  # metrics that the figures show and the metadata does not
EVALUATION = "evaluation"  # stands in for the night in seeds: the same samples every night


@dataclass(frozen=True)
class Measured:
    """Everything that was generated and scored for the reports of one night."""

    problems: pa.Table
    greedy: pa.Table
    samples: pa.Table
    step_scores: pa.Table
    solutions: Mapping[str, list[Solution]]  # by the name of the search that made them, as the report calls it
    token_scores: pa.Table | None = None  # of the samples, by the policy; None: not asked for
    self_verdicts: SelfVerdicts | None = None  # of the samples' steps, likewise


def evaluation_problems(problems: pa.Table, config: ReportsConfig) -> pa.Table:
    """The frozen evaluation problems, or a fixed draw of as many of them as the configuration asks for."""
    frozen = problems.filter(problems["is_evaluation"])
    return choose_problems(frozen, config.num_problems, night=EVALUATION, seed=0, split="held_out")


async def measure(
    session: Session,
    settings: Settings,
    config: ReportsConfig,
    problems: pa.Table,
    scorer: StepScorer,
    on_progress: ProgressFn,
) -> Measured:
    """Greedy decoding, samples with their step scores, and searches that the critic guides (`reported_searches`)."""
    prompts, sampling = prompts_of(settings), sampling_config(settings, config)
    known = {"night": EVALUATION, "grade": graders_of(settings), "extract_answer": extract_answer}
    known["max_model_len"] = session.max_model_len or settings.policy.max_model_len
    known["on_progress"] = evaluation_progress(on_progress)
    asked = (problems, session, prompts, sampling)
    at_zero = await sample_rollouts(*asked, group_size=1, temperature=0.0, **known)
    sampled = await sample_rollouts(*asked, **known)
    check_error_rate(
        at_zero.num_errors + sampled.num_errors, 2 * problems.num_rows, settings.engine.max_error_fraction, EVALUATION
    )
    step_scores = score_rollouts(sampled.rollouts, problems, scorer, prompts.verify_prompt, EVALUATION)
    evaluate = critic_evaluator(
        scorer.score, prompts, aggregate=AGGREGATES[config.aggregate],
        count_tokens=lambda text: len(session.tokenizer.encode(text)),
    )  # fmt: skip
    solutions: dict[str, list[Solution]] = {}
    for name, recipe in reported_searches(settings, config).items():
        solutions[name] = await solve_with_critic(
            *asked, evaluate=evaluate, recipe=recipe, reviewer=settings.critiques.agents[0],
            trees_in_flight=sampling.trees_in_flight, **known,
        )  # fmt: skip
        num_failed = sum(solution.error is not None for solution in solutions[name])
        check_error_rate(num_failed, problems.num_rows, settings.engine.max_error_fraction, f"{EVALUATION} by {name}")
    extra = await measure_extra_votes(session, settings, config, problems, sampled.rollouts, known["on_progress"])
    return Measured(problems, at_zero.rollouts, sampled.rollouts, step_scores, solutions, *extra)


async def measure_extra_votes(
    session: Session,
    settings: Settings,
    config: ReportsConfig,
    problems: pa.Table,
    samples: pa.Table,
    on_progress: ProgressFn,
) -> tuple[pa.Table | None, SelfVerdicts | None]:
    """What the policy says of its own samples, as far as `reports.extra_votes` asks for it."""
    known = {"night": EVALUATION, "max_error_fraction": settings.engine.max_error_fraction, "on_progress": on_progress}
    token_scores = self_verdicts = None
    if "self_certainty" in config.extra_votes:
        every_sample = TokenScoresConfig(num_rollouts=samples.num_rows)
        token_scores = await score_tokens(samples, session, every_sample, **known)
    if "self_prm" in config.extra_votes:
        verdicts = VerdictTokens(*config.verdict_tokens)
        self_verdicts = await judge_own_steps(
            problems, samples, session, prompts_of(settings), verdicts=verdicts, **known
        )
    return token_scores, self_verdicts


def sampling_config(settings: Settings, config: ReportsConfig) -> RolloutsConfig:
    """The configuration of tonight's rollouts with the reports' own sizes and seed."""
    return settings.rollouts.model_copy(
        update={
            "group_size": max(config.num_samples, *config.n_values),
            "num_simulations": config.num_simulations,
            "num_candidates": config.num_candidates,
            "seed": config.seed,
            "parameters": {},  # the search of the report has them, where it is the night's
        }
    )


def strategies(measured: Measured, config: ReportsConfig) -> list[StrategyResult]:
    """Every strategy of the report, cheapest first."""
    samples, scores = measured.samples, measured.step_scores
    results = [greedy(measured.greedy), pass_at_1(samples)]
    for n in config.n_values:
        results += [
            majority(samples, n),
            best_of_n_logprob(samples, n),
            best_of_n_mean_logprob(samples, n),
            best_of_n_critic(samples, scores, n, config.aggregate),
            weighted_majority(samples, scores, n, config.aggregate),
            *_extra_votes(measured, config, n),
        ]
    results += [guided_search(solutions, name) for name, solutions in measured.solutions.items()]
    return results + [oracle(samples, n) for n in config.n_values]


def _extra_votes(measured: Measured, config: ReportsConfig, n: int) -> list[StrategyResult]:
    """The votes by what the policy says of its own samples, as far as that was asked for."""
    results, samples = [], measured.samples
    if measured.token_scores is not None:
        results.append(best_of_n_certainty(samples, measured.token_scores, n))
        results.append(borda_certainty(samples, measured.token_scores, n))
    if measured.self_verdicts is not None:
        scores = measured.self_verdicts.step_scores
        judged = {"scorer": "self_prm", "tokens_read": measured.self_verdicts.tokens_read}
        results.append(best_of_n_critic(samples, scores, n, config.aggregate, **judged))
        results.append(weighted_majority(samples, scores, n, config.aggregate, **judged))
    return results


def report_tables(
    measured: Measured,
    config: ReportsConfig,
    critic_id: str,
    training_metrics: Mapping[str, float],
    night: str,
    calibration: Calibration | None = None,
) -> dict[str, pa.Table]:
    """`evaluation_rollouts` and both reports of one night; without evaluation problems all are empty."""
    if measured.problems.num_rows == 0:
        return {name: SCHEMAS[name].empty_table() for name in TABLES}
    policy = report_rows(strategies(measured, config), night, config.num_bootstrap, config.seed)
    critic = critic_report(
        measured.problems, measured.samples, measured.step_scores, gold_steps(measured.problems, measured.samples),
        critic_id=critic_id, night=night, training_metrics=training_metrics,
        greedy=measured.greedy, calibration=calibration,
    )  # fmt: skip
    samples = measured.samples.set_column(
        measured.samples.schema.get_field_index("night"), "night", pa.repeat(night, measured.samples.num_rows)
    )
    tables = (samples, rows_to_table("policy_report", policy), critic)
    return dict(zip(TABLES, tables, strict=True))


def evaluation_progress(on_progress: ProgressFn) -> ProgressFn:
    """Tells the report's stages from those of the night's own rollouts."""

    def report(stage: str, done: int, total: int, numbers: Mapping[str, float]) -> None:
        on_progress(f"{EVALUATION} {stage}", done, total, numbers)

    return report


def accuracies(policy_report: pa.Table) -> dict[str, float]:
    """`accuracy/<strategy>` as metadata numbers."""
    rows = policy_report.select(["strategy", "accuracy"]).to_pylist()
    return {f"accuracy/{row['strategy']}": row["accuracy"] for row in rows}


def headline_metrics(report: pa.Table) -> dict[str, float]:
    """Metrics of the slice `all` of `critic_report` as metadata numbers, without curves and undefined ones."""
    rows = report.filter(pc.equal(report["slice"], "all")).select(["metric", "value"]).to_pylist()
    shown = [row for row in rows if row["value"] is not None and not row["metric"].startswith(CURVES)]
    return {row["metric"]: row["value"] for row in shown}


def report_figures(settings: Settings, measured: Measured, report: pa.Table, night: str) -> dict[str, dg.MetadataValue]:
    """Writes the figures of `critic_report` to the workspace's state folder; their paths, and one of them inline."""
    if report.num_rows == 0:
        return {}
    gold = gold_steps(measured.problems, measured.samples)
    steps = labelled_steps(scored_rollouts(measured.problems, measured.samples, measured.step_scores, gold))
    values, title = by_slice(report), f"{report['critic_id'][0].as_py()}, {measured.problems.num_rows:,} problems"
    paths = write_report_figures(settings.state_dir / "reports" / night, values, steps, title)
    shown = {f"figure_{path.stem}": dg.MetadataValue.path(str(path)) for path in paths}
    inline = inline_figure(values, title)
    return shown if inline is None else {**shown, "best_of_n": dg.MetadataValue.md(inline)}
