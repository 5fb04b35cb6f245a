"""One night of one arm: the pool that its policy draws, what it selects of it, and the version that it publishes."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.resources import prompts_of
from critics.examples import examples_from_trees
from critics.score import load_critic, out_of_fold_scores
from critics.train import train_process_critic
from pipelines.config import Settings
from pipelines.consistent_rollouts import filter_rollouts
from pipelines.datasets.manifest import RunInfo
from pipelines.datasets.versions import PublishedVersion
from pipelines.grading import extract_answer, graders_of
from pipelines.inference.session import Session
from pipelines.lake import Lake
from pipelines.preference_pairs import build_pairs
from pipelines.publishing import publish
from pipelines.reasoning.prompts import PromptStyle
from pipelines.records import ProgressFn
from pipelines.rollouts import check_error_rate, choose_problems, gold_steps, sample_rollouts, search_rollouts
from pipelines.starter.fine_tune import Text
from pipelines.tables import SCHEMAS, TRAINING_SETS
from pipelines.training_sets import build_training_sets
from pipelines.warehouse import Warehouse
from reasonmill.proof.plan import LOOP_ARMS, RANDOM, Cell, Plan

POOL = ("problems", "rollouts", "search_nodes", "gold_steps")


@dataclass(frozen=True)
class Pool:
    """The rollouts of one night, trees and samples, and the problems that they are of."""

    problems: pa.Table
    rollouts: pa.Table
    search_nodes: pa.Table
    gold_steps: pa.Table  # for reports only


async def draw_pool(
    session: Session, settings: Settings, problems: pa.Table, lake: Lake, label: str, on_progress: ProgressFn
) -> None:
    """Writes tonight's pool to the lake, `rollouts` last: where that partition is, the pool is whole."""
    config, prompts = settings.rollouts, prompts_of(settings)
    draw = partial(choose_problems, problems, night=label, seed=config.seed)
    to_search, to_sample = draw(config.num_search_problems), draw(config.num_sample_problems)
    known = {"night": label, "grade": graders_of(settings), "extract_answer": extract_answer}
    known |= {"max_model_len": session.max_model_len, "on_progress": on_progress}
    sampled = await sample_rollouts(to_sample, session, prompts, config, **known)
    searched = await search_rollouts(to_search, session, prompts, config, **known)
    num_problems = sampled.num_problems + searched.num_problems
    check_error_rate(sampled.num_errors + searched.num_errors, num_problems, settings.engine.max_error_fraction)
    asked = pa.concat_tables([to_search, to_sample])
    rollouts = pa.concat_tables([searched.rollouts, sampled.rollouts])
    lake.write("problems", problems)
    lake.write("search_nodes", searched.search_nodes, partition=label)
    lake.write("gold_steps", gold_steps(asked, rollouts), partition=label)
    lake.write("rollouts", rollouts, partition=label)


def has_pool(lake: Lake, label: str) -> bool:
    return lake.generation("rollouts", label) is not None


def read_pool(lake: Lake, label: str) -> Pool:
    return Pool(lake.read("problems"), *(lake.read(table, label) for table in POOL[1:]))


def select(
    pool: Pool,
    settings: Settings,
    plan: Plan,
    cell: Cell,
    policy: Path,
    lake: Lake,
    num_rows: int | None,
    on_progress: ProgressFn,
) -> tuple[str, ...]:
    """Writes the arm's training sets of tonight to its lake; their names. `num_rows`: of `random`, else not read."""
    for table, rows in vars(pool).items():
        lake.write(table, rows, partition="all" if table == "problems" else cell.label)
    if cell.arm in LOOP_ARMS:
        made = filtered_sets(pool, settings, plan, cell, policy, lake, on_progress)
    else:
        size = num_rows if cell.arm == RANDOM else None
        made = {"sft": right_answers(pool, prompts_of(settings), cell, size)}
    for table, rows in made.items():
        lake.write(table, rows, partition=cell.label)
    return tuple(made)


def right_answers(pool: Pool, prompts: PromptStyle, cell: Cell, num_rows: int | None) -> pa.Table:
    """All right answers of the pool, or one by lot of each of `num_rows` problems, in the columns of `sft`."""
    texts = pa.array([prompts.solve_prompt(row) for row in pool.problems.to_pylist()], pa.string())
    asked = pool.problems.set_column(pool.problems.schema.get_field_index("prompt"), "prompt", texts)
    with Warehouse.over({"problems": asked, "rollouts": pool.rollouts}) as warehouse:
        rows = warehouse.named(
            "proof/right_answers", num_rows=num_rows, seed=cell.seed, separator=prompts.step_separator, night=cell.label
        )
    return rows.cast(SCHEMAS["sft"])


def filtered_sets(
    pool: Pool, settings: Settings, plan: Plan, cell: Cell, policy: Path, lake: Lake, on_progress: ProgressFn
) -> dict[str, pa.Table]:
    """The loop's training sets: fold critics from tonight's trees, their scores, the filters, and what they keep."""
    prompts, label = prompts_of(settings), cell.label
    scores = critic_scores(pool, settings, cell, policy, on_progress)
    consistent = filter_rollouts(pool.rollouts, scores, settings.consistency, label)
    pairs = build_pairs(
        pool.problems, pool.search_nodes, pool.rollouts, scores, settings.preference_pairs, label,
        separator=prompts.step_separator,
    )  # fmt: skip
    made = {"step_scores": scores, "preference_pairs": pairs, **vars(consistent)}
    for table, rows in made.items():
        lake.write(table, rows, partition=label)
    empty = {table: SCHEMAS[table].empty_table() for table in ("verdicts", "refinements")}
    return build_training_sets(
        pool.problems, pool.rollouts, pool.search_nodes, pairs, consistent.consistent_rollouts, **empty,
        step_scores=scores, prompts=prompts, config=settings.training_sets, night=label,
    )  # fmt: skip


def critic_scores(pool: Pool, settings: Settings, cell: Cell, policy: Path, on_progress: ProgressFn) -> pa.Table:
    """Scores of all steps of the pool, each by a critic that learned from other problems' trees."""
    prompts, config = prompts_of(settings), settings.process_critic
    examples = examples_from_trees(pool.problems, pool.search_nodes, prompts.verify_prompt)
    folder = settings.checkpoints_dir / "process_critic" / cell.label
    critics = {}
    for fold in range(config.num_folds):
        report = partial(_report_step, on_progress, f"process_critic fold-{fold}", config.steps)
        trained = train_process_critic(
            examples, config, policy, folder / f"fold-{fold}", fold=fold, data_version=cell.name, on_metrics=report
        )
        critics[fold] = load_critic(trained.folder)
    finished = pool.rollouts.filter(pc.is_null(pool.rollouts["error"]))
    return out_of_fold_scores(finished, pool.problems, critics, prompts.verify_prompt, cell.label)


def _report_step(on_progress: ProgressFn, stage: str, num_steps: int, step: int, metrics: Mapping[str, float]) -> None:
    shown = {name: metrics[name] for name in ("loss", "validation_loss", "seconds_left") if name in metrics}
    on_progress(stage, step, num_steps, shown)


def publish_sets(
    settings: Settings, lake: Lake, cell: Cell, sets: tuple[str, ...], run_info: RunInfo
) -> PublishedVersion:
    """Tonight's sets that have rows, as a version of the arm's data set."""
    with_rows = tuple(name for name in sets if name in TRAINING_SETS)
    return publish(settings, lake, cell.label, with_rows, run_info)


def texts_of(version: PublishedVersion) -> list[Text]:
    """(prompt, completion) of the published `sft` rows, in their order."""
    rows: list[Text] = []
    for file in sorted((version.path / "sft").glob("*.parquet")):
        table = pq.read_table(file, columns=["prompt", "completion"])
        rows += zip(table["prompt"].to_pylist(), table["completion"].to_pylist(), strict=True)
    return rows


def critique_texts(pool: Pool, prompts: PromptStyle) -> list[Text]:
    """The policy's critique prompt with each sampled solution behind it, wrong ones too: to be judged as before."""
    problems = {row["problem_id"]: row for row in pool.problems.to_pylist()}
    samples = pool.rollouts.filter(pc.and_(pool.rollouts["group_id"].is_valid(), pool.rollouts["error"].is_null()))
    separator = prompts.step_separator
    texts = {
        (prompts.verify_prompt(problems[row["problem_id"]]), separator.join(row["steps"]) + separator)
        for row in samples.select(["problem_id", "steps"]).to_pylist()
        if row["steps"]
    }
    return sorted(texts)


def flawed_share(pool: Pool, sft: pa.Table) -> float | None:
    """Share of the rows whose rollout has a step that the generator's rules call wrong; None without such labels."""
    wrong: dict[str, bool] = {}
    for row in pool.gold_steps.select(["rollout_id", "is_right"]).to_pylist():
        wrong[row["rollout_id"]] = wrong.get(row["rollout_id"], False) or not row["is_right"]
    known = [wrong[one] for one in sft["rollout_id"].to_pylist() if one in wrong]
    return sum(known) / len(known) if known else None
