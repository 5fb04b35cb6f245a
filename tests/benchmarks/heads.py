"""Which representation of a value, and which labels, make the best step critic? All of them in one table per setting.

    python -m tests.benchmarks heads --problems 300 --seeds 3 --harder-level 3 --other-policy FOLDER

For each seed training problems are searched once, and every critic learns from the same trees; all score the same
samples of frozen held-out problems, of which gold step labels tell what is right. The policy's own log-probability of a
step (exp of the mean over its tokens) is a row. Thresholds for first-error F1 are tuned on the other half of the
problems, ECE is after a temperature from the other half. F1, within-problem AUROC and best of n are pooled over seeds,
with 95 % intervals from a bootstrap over problems; so are differences from the policy's row (n is the group size, steps
are pooled into a rollout by `reports.aggregate`). `gap closed` is the share of the way from the best of greedy,
majority and the policy's log-probability to the oracle of n that best of n by the critic goes. `with contrasts` is bce
with sibling pairs beside values.

The same critics are judged in several settings: on the trained level, on its arithmetic alone, on held-out problems of
a harder level, and on samples of another policy (a folder with a model), whose own log-probability is then the
baseline. `times policy`: the critic's score of a step times the policy's row. Scores are kept beside the checkpoints,
so a run that was killed goes on after the last critic it scored.
"""

import argparse
import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.evaluation import EVALUATION, evaluation_problems
from assets.resources import prompts_of
from critics.calibration import cross_fitted, fit_temperature
from critics.fold import unit_hash
from critics.heads import HEADS
from critics.label_sources import build_examples
from critics.metrics import (
    aggregate_steps,
    auroc,
    calibration_error,
    first_error_step,
    tune_threshold,
    within_group_auroc,
)
from critics.score import load_critic
from critics.train import train_process_critic
from pipelines.config import CriticConfig, Settings, StarterSource, load_settings
from pipelines.grading import extract_answer, graders_of
from pipelines.inference.engine_service import stop_engine
from pipelines.inference.session import Session, generate_session, model_folder
from pipelines.problems import load_problems
from pipelines.records import stable_digest
from pipelines.rollouts import choose_problems, gold_steps, sample_rollouts, search_rollouts
from pipelines.strategies import majority
from pipelines.token_scores import step_ends
from tests.benchmarks import record

RUN_ID = "benchmark-heads"
POLICY = "policy log-probability"
NUM_RESAMPLES = 1000  # of problems
CRITICS: dict[str, dict[str, object]] = {
    **{f"head {name}": {"head": name} for name in HEADS if name not in ("outcome_classes", "attributes")},
    "head attributes": {"head": "attributes", "attributes": ("stepwise_outcome", "monte_carlo")},
    "with contrasts": {"contrast_weight": 1.0},
    "labels monte_carlo": {"labels": "monte_carlo"},
    "labels stepwise_outcome": {"labels": "stepwise_outcome"},
    "labels outcome": {"labels": "outcome"},
    "labels outcome_bag": {"labels": "outcome_bag"},
    "labels siblings": {"labels": "siblings"},
    "labels advantage": {"labels": "advantage"},
    "ensemble mean": {"ensemble": ("bce", "quantile", "beta")},
    "ensemble min": {"ensemble": ("bce", "quantile", "beta"), "pooling": "min"},
}
"""Row of the table -> what differs from the configured critic."""

WITH_POLICY = ("head bce", "head grades", "labels outcome_bag", "ensemble mean")
"""Critics that also have a row in which each step's score is multiplied by the policy's own probability of it."""


Scores = Sequence[Sequence[float]]
"""Scores of the steps of each sample."""


TRAINED, ARITHMETIC, HARDER, OTHER = "trained level", "trained level, arithmetic", "harder level", "another policy"
SETTINGS = (TRAINED, ARITHMETIC, HARDER, OTHER)
MEASURES = ("f1", "within_auroc", "best_of_n", "gap_closed")


@dataclass(frozen=True)
class Sample:
    """A graded sample of a frozen problem."""

    problem_id: str
    steps: tuple[str, ...]
    is_right: tuple[bool, ...]  # gold, per step
    outcome: float
    logprob_scores: tuple[float, ...]  # exp of the mean log-probability of each step's tokens
    sum_logprob: float = 0.0  # of all its tokens
    greedy_outcome: float = 0.0  # of greedy decoding on its problem
    majority_outcome: float = 0.0  # of the vote of its problem's samples
    family: str = ""

    @property
    def first_error(self) -> int:
        return first_error_step([float(right) for right in self.is_right])

    @property
    def num_counted(self) -> int:
        return len(self.steps) if self.first_error < 0 else self.first_error + 1


@dataclass(frozen=True)
class Row:
    """One critic, its seeds pooled: every measure with its interval, and how far it is from the policy's row."""

    name: str
    step_auroc: float | None
    step_auroc_by_seed: list[float | None]
    ece: float | None
    intervals: dict[str, tuple[float, float, float]]  # each of MEASURES -> value, low, high
    differences: dict[str, tuple[float, float, float]]  # from the policy's row


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--problems", type=int, default=300, help="frozen held-out problems, at most 1200")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--critics", nargs="+", choices=sorted(CRITICS), default=list(CRITICS), help="rows of the table"
    )
    parser.add_argument("--harder-level", type=int, choices=(2, 3, 4), help="level of the setting `harder level`")
    parser.add_argument("--other-policy", type=Path, help="folder of the model of the setting `another policy`")
    parser.add_argument("--search-problems", type=int, help="training problems searched per seed (default: configured)")
    parser.add_argument("--steps", type=int, help="optimiser steps (default: configured)")


def run(arguments: argparse.Namespace) -> None:
    """Run, and write the tables."""
    settings = load_settings(arguments.config)
    rollouts, critic = {}, {}
    if arguments.search_problems is not None:
        rollouts["num_search_problems"] = arguments.search_problems
    if arguments.steps is not None:
        critic["steps"] = arguments.steps
    settings = settings.model_copy(
        update={
            "rollouts": settings.rollouts.model_copy(update=rollouts),
            "process_critic": settings.process_critic.model_copy(update=critic),
            "reports": settings.reports.model_copy(update={"num_problems": arguments.problems}),
        }
    )
    try:
        result = asyncio.run(_measure(settings, arguments))
    finally:
        stop_engine(settings, RUN_ID)
    record.save("heads", arguments.out, record.provenance() | result, as_markdown(record.provenance() | result))


async def _measure(settings: Settings, arguments: argparse.Namespace) -> dict[str, object]:
    problems = load_problems(settings)
    frozen = evaluation_problems(problems, settings.reports)
    harder = _harder_problems(settings, arguments.harder_level, arguments.problems)
    async with generate_session(settings, run_id=RUN_ID) as session:
        samples = {TRAINED: await _samples(settings, session, frozen)}
        if harder is not None:
            samples[HARDER] = await _samples(settings, session, harder)
        trees = [await _trees(settings, session, problems, seed) for seed in range(arguments.seeds)]
    if arguments.other_policy is not None:
        stop_engine(settings, RUN_ID)
        policy = settings.policy.model_copy(update={"model": str(arguments.other_policy.resolve())})
        other = settings.model_copy(update={"policy": policy})
        async with generate_session(other, run_id=RUN_ID) as session:
            samples[OTHER] = await _samples(other, session, frozen)
    stop_engine(settings, RUN_ID)
    tables = [frozen] if harder is None else [frozen, harder]
    verify_prompt = prompts_of(settings).verify_prompt
    asked = {row["problem_id"]: verify_prompt(row) for table in tables for row in table.to_pylist()}
    scores = _scores_of_critics(settings, trees, samples, asked, arguments.critics)
    samples[ARITHMETIC] = [one for one in samples[TRAINED] if one.family == "arithmetic"]
    scores[ARITHMETIC] = {name: _of_family(made, samples[TRAINED]) for name, made in scores[TRAINED].items()}
    return {"num_seeds": arguments.seeds, "aggregate": _aggregate(settings)} | {
        "settings": [
            _setting(name, samples[name], scores[name], _aggregate(settings)) for name in SETTINGS if name in samples
        ]
    }


def _of_family(of_seeds: Sequence[Scores], samples: Sequence[Sample]) -> list[Scores]:
    kept = [i for i, sample in enumerate(samples) if sample.family == "arithmetic"]
    return [[of_samples[i] for i in kept] for of_samples in of_seeds]


def _aggregate(settings: Settings) -> str:
    return settings.reports.aggregate if settings.reports.aggregate != "mean" else "min"


def _harder_problems(settings: Settings, level: int | None, count: int) -> pa.Table | None:
    """Held-out problems of the starter's families at another level, in the shares of the configured sources."""
    if level is None:
        return None
    sources = [
        source.model_copy(update={"level": level, "count": source.count * 3})
        for source in settings.problems.sources
        if isinstance(source, StarterSource)
    ]
    section = settings.problems.model_copy(update={"sources": tuple(sources)})
    problems = load_problems(settings.model_copy(update={"problems": section}))
    harder = problems.filter(pc.invert(problems["is_evaluation"]))
    return choose_problems(harder, count, night=EVALUATION, seed=0, split="held_out")


def _scores_of_critics(
    settings: Settings,
    trees: Sequence[Mapping[str, pa.Table]],
    samples: Mapping[str, Sequence[Sample]],
    asked: Mapping[str, str],
    names: Sequence[str],
) -> dict[str, dict[str, list[Scores]]]:
    """Setting -> critic -> per seed the scores of every sample's steps; each critic is trained once per seed."""
    scores: dict[str, dict[str, list[Scores]]] = {setting: {name: [] for name in names} for setting in samples}
    for seed, tables in enumerate(trees):
        for name in names:
            config = settings.process_critic.model_copy(update={"seed": seed, **CRITICS[name]})
            made = _scored(settings, tables, config, name, samples, asked)
            for setting, of_samples in made.items():
                scores[setting][name].append(of_samples)
            record.say(f"seed {seed}, {name}: done")
    return scores


def _scored(
    settings: Settings,
    tables: Mapping[str, pa.Table],
    config: CriticConfig,
    name: str,
    samples: Mapping[str, Sequence[Sample]],
    asked: Mapping[str, str],
) -> dict[str, Scores]:
    """The scores of one critic, from its folder where it has scored these samples before, else from training it."""
    folder = settings.checkpoints_dir / "benchmark-heads" / f"seed-{config.seed}" / name.replace(" ", "-")
    kept = folder.with_name(f"{folder.name}.scores.json")
    ids = {setting: [[one.problem_id, one.steps] for one in of_setting] for setting, of_setting in samples.items()}
    key = stable_digest(
        config.model_dump_json(),
        [tables["search_nodes"][name].to_pylist() for name in ("step_text", "value")],
        json.dumps(ids),
    )
    if kept.is_file() and (found := json.loads(kept.read_text()))["key"] == key:
        return found["scores"]
    verify_prompt = prompts_of(settings).verify_prompt
    examples = build_examples(config.labels, tables, verify_prompt, attributes=config.attributes)
    critic = load_critic(train_process_critic(examples, config, model_folder(settings.policy.model), folder).folder)
    scores = {}
    for setting, chosen in samples.items():
        made = critic.score([asked[one.problem_id] for one in chosen], [one.steps for one in chosen])
        scores[setting] = [[0.0 if one is None else one for one in of_steps] for of_steps in made]
    kept.write_text(json.dumps({"key": key, "scores": scores}))
    return scores


def _setting(name: str, samples: Sequence[Sample], scores: Mapping[str, Sequence[Scores]], aggregate: str) -> dict:
    policy = [[list(sample.logprob_scores) for sample in samples]]
    products = {
        f"{critic}, times policy": [_times(of_samples, policy[0]) for of_samples in scores[critic]]
        for critic in WITH_POLICY
        if critic in scores
    }
    rows = [
        vars(measured(critic, samples, of_seeds, policy, aggregate))
        for critic, of_seeds in {POLICY: policy, **scores, **products}.items()
    ]
    outcomes = np.array([[max(group)] for group in _by_problem(samples, [one.outcome for one in samples])])
    firsts = [members[0] for members in _members(samples)]
    return {
        "name": name,
        "num_problems": len(firsts),
        "num_samples": len(samples),
        "mean_outcome": float(np.mean([sample.outcome for sample in samples])),
        "greedy": float(np.mean([samples[i].greedy_outcome for i in firsts])),
        "majority": float(np.mean([samples[i].majority_outcome for i in firsts])),
        "flawed_in_right": _flawed_in_right(samples),
        "pass_at_n": float(outcomes.mean()),
        "rows": rows,
    }


def _times(scores: Scores, others: Scores) -> list[list[float]]:
    return [
        [one * other for one, other in zip(of_steps, of_other, strict=True)]
        for of_steps, of_other in zip(scores, others, strict=True)
    ]


def _flawed_in_right(samples: Sequence[Sample]) -> float | None:
    right = [sample for sample in samples if sample.outcome == 1.0]
    return float(np.mean([sample.first_error >= 0 for sample in right])) if right else None


async def _trees(settings: Settings, session: Session, problems: pa.Table, seed: int) -> dict[str, pa.Table]:
    rollouts = settings.rollouts.model_copy(update={"seed": seed})
    night = f"benchmark-{seed}"
    chosen = choose_problems(problems, rollouts.num_search_problems, night=night, seed=seed)
    trees = await search_rollouts(
        chosen, session, prompts_of(settings), rollouts, night=night, grade=graders_of(settings),
        extract_answer=extract_answer, max_model_len=session.max_model_len,
    )  # fmt: skip
    return {"problems": chosen, "search_nodes": trees.search_nodes}


async def _samples(settings: Settings, session: Session, problems: pa.Table) -> list[Sample]:
    """Graded samples whose tokens read as their steps and whose family has gold labels."""
    asked = (problems, session, prompts_of(settings), settings.rollouts)
    known = {"night": EVALUATION, "grade": graders_of(settings), "extract_answer": extract_answer}
    known["max_model_len"] = session.max_model_len or settings.policy.max_model_len
    at_zero = await sample_rollouts(*asked, group_size=1, temperature=0.0, **known)
    drawn = await sample_rollouts(*asked, **known)
    greedy = dict(zip(*(at_zero.rollouts[name].to_pylist() for name in ("problem_id", "outcome_reward")), strict=True))
    voted = majority(drawn.rollouts, settings.rollouts.group_size)
    votes = {problem_id: float(share) for problem_id, share in zip(voted.problem_ids, voted.is_right, strict=True)}
    families = dict(zip(*(problems[name].to_pylist() for name in ("problem_id", "family")), strict=True))
    gold: dict[str, list[bool]] = {}
    for row in gold_steps(problems, drawn.rollouts).to_pylist():
        gold.setdefault(row["rollout_id"], []).append(row["is_right"])
    samples = []
    for row in drawn.rollouts.to_pylist():
        if row["outcome_reward"] is None or row["rollout_id"] not in gold:
            continue
        ends = step_ends(session.tokenizer, row["completion_token_ids"], row["steps"])
        if ends is not None and row["token_logprobs"]:
            samples.append(
                Sample(
                    problem_id=row["problem_id"],
                    steps=tuple(row["steps"]),
                    is_right=tuple(gold[row["rollout_id"]]),
                    outcome=row["outcome_reward"],
                    logprob_scores=tuple(logprob_scores(row["token_logprobs"], ends)),
                    sum_logprob=row["sum_logprob"],
                    greedy_outcome=greedy.get(row["problem_id"]) or 0.0,
                    majority_outcome=votes.get(row["problem_id"], 0.0),
                    family=families[row["problem_id"]],
                )
            )
    return samples


def logprob_scores(token_logprobs: Sequence[float], ends: Sequence[int]) -> list[float]:
    """exp(mean log-probability) of each step's tokens; a step without tokens has the score 0."""
    starts = [0, *ends[:-1]]
    parts = [token_logprobs[start:end] for start, end in zip(starts, ends, strict=True)]
    return [float(np.exp(np.mean(part))) if len(part) else 0.0 for part in parts]


def measured(
    name: str, samples: Sequence[Sample], of_seeds: Sequence[Scores], policy: Sequence[Scores], aggregate: str
) -> Row:
    """One row; `of_seeds`: per seed the scores of every sample's steps."""
    own = [_by_problem_measures(samples, scores, aggregate) for scores in of_seeds]
    base = [_by_problem_measures(samples, scores, aggregate) for scores in policy]
    aurocs = [_step_auroc(samples, scores) for scores in of_seeds]
    eces = [_calibrated_error(samples, scores) for scores in of_seeds]
    draws = _resamples(len(own[0]))
    return Row(
        name,
        None if None in aurocs else float(np.mean(aurocs)),
        aurocs,
        None if None in eces else float(np.mean(eces)),
        _with_intervals(np.mean(own, axis=0), None, draws),
        _with_intervals(np.mean(own, axis=0), np.mean(base, axis=0), draws),
    )


def _by_problem_measures(samples: Sequence[Sample], scores: Scores, aggregate: str) -> np.ndarray:
    """(problems, 11): wrong, located, right, accepted samples; AUROC within and whether it is defined; the outcome of
    best of n, greedy, majority, the policy's log-probability and the oracle."""
    predicted = _cross_fitted_errors(samples, scores)
    rows = []
    for members in _members(samples):
        wrong = [i for i in members if samples[i].first_error >= 0]
        right = [i for i in members if samples[i].first_error < 0]
        steps = [(scores[i][k], samples[i].is_right[k]) for i in members for k in range(samples[i].num_counted)]
        within, num = within_group_auroc([s for s, _ in steps], [r for _, r in steps], [0] * len(steps))
        pooled = [aggregate_steps(scores[i], aggregate) for i in members]
        best = [samples[i].outcome for i, one in zip(members, pooled, strict=True) if one == max(pooled)]
        located = sum(predicted[i] == samples[i].first_error for i in wrong)
        accepted = sum(predicted[i] == -1 for i in right)
        likeliest = max(members, key=lambda i: samples[i].sum_logprob)
        others = [samples[members[0]].greedy_outcome, samples[members[0]].majority_outcome, samples[likeliest].outcome]
        oracle = max(samples[i].outcome for i in members)
        outcomes = [float(np.mean(best)), *others, oracle]
        rows.append([len(wrong), located, len(right), accepted, within or 0.0, num, *outcomes])
    return np.array(rows, dtype=float)


def _cross_fitted_errors(samples: Sequence[Sample], scores: Scores) -> list[int]:
    """Predicted first errors, each at the threshold that is best on the other half of the problems."""
    half = [unit_hash(sample.problem_id, "threshold") < 0.5 for sample in samples]
    thresholds = {}
    for side in (True, False):
        others = [i for i in range(len(samples)) if half[i] != side]
        tuned = tune_threshold([scores[i] for i in others], [samples[i].first_error for i in others])
        thresholds[side] = 0.5 if tuned is None else tuned
    return [first_error_step(of_steps, thresholds[side]) for of_steps, side in zip(scores, half, strict=True)]


def _with_intervals(
    own: np.ndarray, base: np.ndarray | None, draws: np.ndarray
) -> dict[str, tuple[float, float, float]]:
    def value(chosen: np.ndarray, table: np.ndarray) -> tuple[float, ...]:
        wrong, located, right, accepted, within, num, best, *baselines, oracle = table[chosen].sum(axis=0)
        f1 = _f1(located / max(wrong, 1), accepted / max(right, 1))
        return f1, within / max(num, 1), best / len(chosen), _gap_closed(best, max(baselines), oracle)

    def difference(chosen: np.ndarray) -> np.ndarray:
        return np.array(value(chosen, own)) - (0 if base is None else np.array(value(chosen, base)))

    points = difference(np.arange(len(own)))
    low, high = np.quantile([difference(chosen) for chosen in draws], [0.025, 0.975], axis=0)
    return {name: (float(points[i]), float(low[i]), float(high[i])) for i, name in enumerate(MEASURES)}


def _gap_closed(best: float, baseline: float, oracle: float) -> float:
    """(best - baseline) / (oracle - baseline); 0 where the baseline reaches the oracle."""
    return (best - baseline) / (oracle - baseline) if oracle > baseline else 0.0


def _f1(on_error: float, on_correct: float) -> float:
    """Harmonic mean; 0 where both are 0."""
    return 2 * on_error * on_correct / (on_error + on_correct) if on_error + on_correct > 0 else 0.0


def _resamples(num_problems: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, num_problems, (NUM_RESAMPLES, num_problems))


def _step_auroc(samples: Sequence[Sample], scores: Scores) -> float | None:
    return auroc(*_counted(samples, scores)[:2])


def _calibrated_error(samples: Sequence[Sample], scores: Scores) -> float | None:
    """ECE after a temperature that was fitted on the other half of the problems."""
    values, labels, groups = _counted(samples, scores)
    warmed = cross_fitted(values, labels, groups, fit_temperature)
    return None if warmed is None else calibration_error(warmed, labels)


def _counted(samples: Sequence[Sample], scores: Scores) -> tuple[list[float], list[bool], list[str]]:
    """Scores, gold labels and problems of the steps up to and including each sample's first wrong one."""
    values, labels, groups = [], [], []
    for sample, of_steps in zip(samples, scores, strict=True):
        num = sample.num_counted
        values.extend(of_steps[:num])
        labels.extend(sample.is_right[:num])
        groups.extend([sample.problem_id] * num)
    return values, labels, groups


def _members(samples: Sequence[Sample]) -> list[list[int]]:
    found: dict[str, list[int]] = {}
    for index, sample in enumerate(samples):
        found.setdefault(sample.problem_id, []).append(index)
    return list(found.values())


def _by_problem(samples: Sequence[Sample], values: Sequence[float]) -> list[list[float]]:
    return [[values[i] for i in members] for members in _members(samples)]


def as_markdown(result: dict) -> list[str]:
    """The tables of a result, one per setting."""
    lines = record.heading(result)
    for setting in result["settings"]:
        lines += ["", f"## {setting['name']}", "", *_setting_lines(setting, result)]
    return lines


def _setting_lines(setting: dict, result: dict) -> list[str]:
    header = ["critic", "step AUROC", "within-problem AUROC", "against policy", "first-error F1", "against policy",
              "best of n", "against policy", "gap closed", "ECE"]  # fmt: skip
    rows = []
    for row in setting["rows"]:
        cells = [row["name"], _number(row["step_auroc"])]
        for measure in ("within_auroc", "f1", "best_of_n"):
            cells += [_interval(row["intervals"][measure], ""), _interval(row["differences"][measure], "+")]
        rows.append([*cells, _interval(row["intervals"]["gap_closed"], ""), _number(row["ece"])])
    text = (
        f"{setting['num_samples']} samples of {setting['num_problems']} held-out problems, {result['num_seeds']} "
        f"seeds; mean outcome {setting['mean_outcome']:.3f}, greedy {setting['greedy']:.3f}, majority "
        f"{setting['majority']:.3f}, oracle {setting['pass_at_n']:.3f}, flawed among right answers "
        f"{_number(setting['flawed_in_right'])}; steps pooled by {result['aggregate']}."
    )
    return [text, "", *record.table(header, rows)]


def _interval(numbers: tuple[float, float, float], sign: str) -> str:
    value, low, high = numbers
    return f"{value:{sign}.3f} ({low:{sign}.3f} to {high:{sign}.3f})"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
