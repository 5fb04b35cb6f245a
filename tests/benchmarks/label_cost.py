"""How many graded completions is a step label worth? Critics that learned from 1, 2, 4, 8 and 16 of them per step.

    python -m tests.benchmarks label_cost --problems 200 --training-problems 200 --seeds 3

For each seed training problems are searched once, with the largest number of completions per step. Of each step's
completions k are then drawn without replacement, so that trees and steps are the same and only the evidence differs.
Two comparisons: with the same steps (k times the completions), and with the same completions (1 / k of the problems).
Each critic scores the same samples of frozen held-out problems. The F1's threshold is tuned on one half of the problems
and judged on the other, both ways. Intervals: 95 %, bootstrap over problems of the first seed's F1.
"""

import argparse
import asyncio
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.evaluation import EVALUATION, evaluation_problems, sampling_config
from assets.resources import prompts_of
from critics.examples import StepExamples, examples_from_trees
from critics.fold import unit_hash
from critics.metrics import (
    aggregate_steps,
    best_of_n,
    first_error_f1,
    first_error_interval,
    first_error_step,
    tune_threshold,
    within_group_auroc,
)
from critics.report import ScoredRollout, labelled_steps, scored_rollouts
from critics.score import load_critic, score_rollouts
from critics.train import train_process_critic
from pipelines.config import Settings, load_settings
from pipelines.grading import extract_answer, graders_of
from pipelines.inference.engine_service import stop_engine
from pipelines.inference.session import Session, generate_session, model_folder
from pipelines.problems import load_problems
from pipelines.records import stable_seed
from pipelines.rollouts import choose_problems, gold_steps, sample_rollouts, search_rollouts
from tests.benchmarks import record

RUN_ID = "benchmark-label-cost"
SAME_STEPS, SAME_COMPLETIONS = "same steps", "same completions"
GROUP_SIZE = 8


@dataclass(frozen=True)
class Result:
    """One critic of one seed."""

    comparison: str
    num_per_step: int
    seed: int
    num_problems: int  # that it learned from
    num_steps: int  # labelled ones
    num_completions: int  # drawn in their trees
    f1: float | None
    low: float | None
    high: float | None
    within_problem_step_auroc: float | None
    best_of_8: float | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--problems", type=int, default=200, help="frozen held-out problems")
    parser.add_argument("--training-problems", type=int, default=200, help="problems searched per seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--per-step", type=int, nargs="+", default=[1, 2, 4, 8, 16], help="completions per step")


def run(arguments: argparse.Namespace) -> None:
    """Measures, and writes the tables."""
    settings = load_settings(arguments.config)
    try:
        results = asyncio.run(measured(settings, arguments))
    finally:
        stop_engine(settings, RUN_ID)
    content = {**record.provenance(), "results": [asdict(result) for result in results]}
    record.save("label_cost", arguments.out, content, [*record.heading(content), *as_markdown(results)])


async def measured(settings: Settings, arguments: argparse.Namespace) -> list[Result]:
    """Every critic of every seed; samples of the held-out problems are drawn once."""
    problems = load_problems(settings)
    reports = settings.reports.model_copy(
        update={"num_problems": arguments.problems, "n_values": (GROUP_SIZE,), "num_samples": 1}
    )
    frozen, results = evaluation_problems(problems, reports), []
    async with generate_session(settings, run_id=RUN_ID) as session:
        known = {"grade": graders_of(settings), "extract_answer": extract_answer}
        known["max_model_len"] = session.max_model_len
        prompts, sampling = prompts_of(settings), sampling_config(settings, reports)
        samples = (await sample_rollouts(frozen, session, prompts, sampling, night=EVALUATION, **known)).rollouts
        for seed in range(arguments.seeds):
            nodes = await searched(settings, session, problems, arguments, seed, known)
            for comparison, per_step in comparisons(arguments.per_step):
                examples, num_completions = labelled(nodes, problems, comparison, per_step, seed, settings)
                scored = scores_of(settings, examples, seed, frozen, samples, f"{seed}-{comparison}-{per_step}")
                results.append(result_of(comparison, per_step, seed, examples, num_completions, scored))
                record.say(f"{results[-1]}")
    return results


def comparisons(per_step: Sequence[int]) -> list[tuple[str, int]]:
    """Every number with the same steps, and with the same completions as the smallest one has with all of them."""
    return [(name, number) for name in (SAME_STEPS, SAME_COMPLETIONS) for number in sorted(per_step)]


async def searched(
    settings: Settings,
    session: Session,
    problems: pa.Table,
    arguments: argparse.Namespace,
    seed: int,
    known: Mapping[str, object],
) -> pa.Table:
    """Nodes of this seed's trees, each valued by the largest number of completions."""
    config = settings.rollouts.model_copy(update={"seed": seed, "num_evaluations": max(arguments.per_step)})
    night = f"label-cost-{seed}"
    chosen = choose_problems(problems, arguments.training_problems, night=night, seed=seed)
    return (await search_rollouts(chosen, session, prompts_of(settings), config, night=night, **known)).search_nodes


def labelled(
    nodes: pa.Table, problems: pa.Table, comparison: str, per_step: int, seed: int, settings: Settings
) -> tuple[StepExamples, int]:
    """(examples of the thinned trees, completions in these trees); of the same completions 1 / k of the problems.

    Which problems these are is decided by a hash of their ids; at least one.
    """
    fewer = thinned(nodes, per_step, seed)
    examples = examples_from_trees(problems, fewer, prompts_of(settings).verify_prompt)
    order = sorted(examples.problem_ids, key=lambda problem_id: unit_hash(problem_id, f"label-cost/{seed}"))
    kept = order if comparison == SAME_STEPS else order[: math.ceil(len(order) / per_step)]
    examples = StepExamples(tuple(tree for tree in examples.trees if tree.problem_id in set(kept)))
    of_trees = fewer.filter(
        pc.is_in(fewer["tree_id"], pa.array([tree.tree_id for tree in examples.trees], pa.string()))
    )
    return examples, pc.sum(of_trees["num_samples"]).as_py() or 0


def thinned(nodes: pa.Table, per_step: int, seed: int) -> pa.Table:
    """The nodes with at most `per_step` of their completions, drawn without replacement by tree, node and seed."""
    num_samples, values = nodes["num_samples"].to_pylist(), nodes["raw_value"].to_pylist()
    keys = zip(nodes["tree_id"].to_pylist(), nodes["node_id"].to_pylist(), strict=True)
    new_counts, new_values = [], []
    for key, count, value in zip(keys, num_samples, values, strict=True):
        if count and count > per_step:
            rng = np.random.default_rng(stable_seed("label_cost", *map(str, key), str(seed)))
            num_right = round(value * count)
            value, count = rng.hypergeometric(num_right, count - num_right, per_step) / per_step, per_step
        new_counts.append(count)
        new_values.append(value)
    for name, column in (("num_samples", new_counts), ("raw_value", new_values)):
        index = nodes.schema.get_field_index(name)
        nodes = nodes.set_column(index, nodes.schema.field(index), pa.array(column, nodes.schema.field(index).type))
    return nodes


def scores_of(
    settings: Settings, examples: StepExamples, seed: int, frozen: pa.Table, samples: pa.Table, name: str
) -> list[ScoredRollout]:
    """The samples, scored by a critic that learned from these examples."""
    folder = settings.checkpoints_dir / "benchmark" / "label_cost" / name.replace(" ", "-")
    config = settings.process_critic.model_copy(update={"seed": seed})
    train_process_critic(examples, config, model_folder(settings.policy.model), folder, data_version=name)
    scores = score_rollouts(samples, frozen, load_critic(folder), prompts_of(settings).verify_prompt, EVALUATION)
    return scored_rollouts(frozen, samples, scores, gold_steps(frozen, samples))


def result_of(
    comparison: str,
    per_step: int,
    seed: int,
    examples: StepExamples,
    num_completions: int,
    scored: Sequence[ScoredRollout],
) -> Result:
    """The measures of one critic."""
    gold = [rollout for rollout in scored if rollout.is_right is not None]
    true = [first_error_step([float(right) for right in rollout.is_right]) for rollout in gold]
    groups = [rollout.problem_id for rollout in gold]
    predicted = cross_tuned(gold, true)
    low, high = first_error_interval(predicted, true, groups) or (None, None)
    steps = labelled_steps(gold)
    lowest = [aggregate_steps(rollout.scores, "min") for rollout in scored]
    outcomes, problem_ids = [rollout.outcome for rollout in scored], [rollout.problem_id for rollout in scored]
    return Result(
        comparison, per_step, seed, len(examples.problem_ids), examples.num_nodes, num_completions,
        first_error_f1(predicted, true)["f1"], low, high,
        within_group_auroc(steps.scores, steps.is_right, steps.groups)[0],
        best_of_n(lowest, outcomes, problem_ids, GROUP_SIZE)[0],
    )  # fmt: skip


def cross_tuned(rollouts: Sequence[ScoredRollout], true: Sequence[int]) -> list[int]:
    """Predicted first errors, each at the threshold that is best on the other half of the problems."""
    halves = [unit_hash(rollout.problem_id, "label-cost-threshold") < 0.5 for rollout in rollouts]
    thresholds = {}
    for half in (False, True):
        others = [i for i, other in enumerate(halves) if other != half]
        tuned = tune_threshold([rollouts[i].scores for i in others], [true[i] for i in others])
        thresholds[half] = 0.5 if tuned is None else tuned
    return [first_error_step(rollout.scores, thresholds[half]) for rollout, half in zip(rollouts, halves, strict=True)]


def as_markdown(results: Sequence[Result]) -> list[str]:
    """Means over seeds, and the interval of the first seed's F1."""
    lines: list[str] = []
    for comparison in (SAME_STEPS, SAME_COMPLETIONS):
        rows = []
        for per_step in sorted({result.num_per_step for result in results}):
            of = [one for one in results if (one.comparison, one.num_per_step) == (comparison, per_step)]
            first = of[0]
            bounds = "–" if first.low is None else f"{first.low:.3f} to {first.high:.3f}"
            sizes = [f"{_mean(of, name):,.0f}" for name in ("num_problems", "num_steps", "num_completions")]
            numbers = [_shown(_mean(of, name)) for name in ("f1", "within_problem_step_auroc", "best_of_8")]
            rows.append([per_step, *sizes, numbers[0], bounds, *numbers[1:]])
        header = ["per step", "problems", "steps", "completions", "F1", "95 %, first seed", "step AUROC in problem"]
        lines += [f"**{comparison}**", "", *record.table([*header, "best of 8"], rows), ""]
    return lines


def _mean(results: Sequence[Result], name: str) -> float | None:
    values = [getattr(result, name) for result in results]
    return None if None in values else statistics.mean(values)


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
