"""Does the aggregate of twenty judges beat one judge? Step verdicts on AgentProcessBench, by subset.

    python -m tests.benchmarks agents --data FOLDER

FOLDER is that of `judges`: it holds agent-process-bench. The aggregate is the meta-judge of the critique pipeline
(`pipelines.agents.aggregate`) over all judges with equal weights. Its threshold (the share of judges that must call a
step wrong) is chosen for every query on the other queries of the subset, by first-error F1; beside it stands the plain
majority. Single judges: their mean; the best one, chosen for every query on the other queries; and the best one in
hindsight, which nobody can choose beforehand. Step accuracy: share of the labelled steps on which "wrong or not" is
what people said. What a judge left unread counts as missed. Intervals: 95 %, bootstrap over queries; the differences
are paired; thresholds and choices stay as they are.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from critics.metrics import first_error_step
from pipelines.agents.aggregate import Vote, aggregate, wrong_shares
from pipelines.agents.parse import RIGHT, WRONG, Judgement
from pipelines.errors import SourceError
from pipelines.step_labels.solution import LabelledSolution
from pipelines.trees.fields import json_lines
from tests.benchmarks import record
from tests.benchmarks.judges import SUBSETS, VERDICT_THRESHOLD, Scores, check_files, read_judgements, read_rollouts

THRESHOLDS = tuple(round(0.05 * i, 2) for i in range(1, 20))
MAJORITY = 0.5
NUM_RESAMPLES = 2000
STEPS_WRONG = -1

# Suffixes: Q queries, R resamples, A agents, T thresholds, 6 counts (below).
COUNTS = ("wrong rollouts", "of them located", "right rollouts", "of them accepted", "steps", "of them judged rightly")


@dataclass(frozen=True)
class Said:
    """What one judge, or their aggregate, says of a rollout."""

    first_error: int  # -1: none; UNREAD: nothing
    is_wrong: tuple[bool, ...] | None  # per step; None: not read


UNREAD = -2
NOTHING = Said(UNREAD, None)


@dataclass(frozen=True)
class Result:
    """One arrangement on one subset."""

    subset: str
    who: str
    f1: float
    f1_low: float
    f1_high: float
    step_accuracy: float
    step_low: float
    step_high: float
    f1_gain: float | None  # over the mean judge; None for the mean judge itself
    gain_low: float | None
    gain_high: float | None
    f1_over_best: float | None  # over the best judge in hindsight; None for that judge itself
    over_best_low: float | None
    over_best_high: float | None
    step_gain: float | None
    step_gain_low: float | None
    step_gain_high: float | None


@dataclass(frozen=True)
class World:
    """The counts of a subset by query."""

    subset: str
    agents: tuple[str, ...]
    of_agents_AQ6: np.ndarray
    of_aggregate_TQ6: np.ndarray  # at THRESHOLDS
    of_majority_Q6: np.ndarray


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, help="folder that holds agent-process-bench")


def run(arguments: argparse.Namespace) -> None:
    """The tables; SystemExit says which files are missing."""
    try:
        results = measured(arguments.data and arguments.data / "agent-process-bench")
    except SourceError as error:
        raise SystemExit(str(error)) from error
    content = record.provenance() | {"results": [asdict(result) for result in results]}
    record.save("agents", arguments.out, content, record.heading(content) + as_markdown(results))


def measured(folder: Path | None) -> list[Result]:
    """All arrangements on all subsets; SourceError says which files are missing."""
    check_files(folder)
    return [result for subset in SUBSETS for result in results_of(world_of(folder, subset))]


def world_of(folder: Path, subset: str) -> World:
    """Reads a subset and counts what everybody gets right, query by query."""
    rollouts = read_rollouts(folder, subset)
    judged = read_judgements(folder, rollouts, subset)
    truth = wrong_steps(folder, subset)
    agents = tuple(sorted(judged))
    votes = {one.id: votes_on(one.id, judged) for one in rollouts}

    def counted(said: Mapping[str, Said]) -> np.ndarray:
        return counts_by_query(rollouts, truth, said)

    return World(
        subset,
        agents,
        np.stack([counted({one.id: alone(one.id, judged[agent]) for one in rollouts}) for agent in agents]),
        np.stack([counted({key: together(own, t) for key, own in votes.items()}) for t in THRESHOLDS]),
        counted({key: together(own, MAJORITY) for key, own in votes.items()}),
    )


def wrong_steps(folder: Path, subset: str) -> dict[str, tuple[bool, ...]]:
    """Rollout id -> whether people called each labelled step wrong."""
    rows = json_lines(folder / f"{subset}_human_labels.jsonl.gz")
    return {
        row["record_id"]: tuple(row["step_labels"][key] == STEPS_WRONG for key in sorted(row["step_labels"], key=int))
        for row, _ in rows
    }


def alone(rollout_id: str, scores: Scores) -> Said:
    """One judge's own verdicts."""
    if rollout_id not in scores:
        return NOTHING
    own = scores[rollout_id]
    return Said(first_error_step(own, VERDICT_THRESHOLD), tuple(score < VERDICT_THRESHOLD for score in own))


def votes_on(rollout_id: str, judged: Mapping[str, Scores]) -> list[Vote]:
    """The judges that read a rollout, with equal weights."""
    said = {agent: alone(rollout_id, scores) for agent, scores in judged.items()}
    return [
        Vote(agent, 1.0, Judgement(tuple(WRONG if wrong else RIGHT for wrong in one.is_wrong), one.first_error))
        for agent, one in said.items()
        if one.is_wrong is not None
    ]


def together(votes: Sequence[Vote], threshold: float) -> Said:
    """The meta-judge's verdict."""
    conclusion = aggregate(votes, threshold)
    if conclusion is None:
        return NOTHING
    return Said(conclusion.first_error_step, tuple(share > threshold or share == 1.0 for share in wrong_shares(votes)))


def counts_by_query(
    rollouts: Sequence[LabelledSolution], truth: Mapping[str, tuple[bool, ...]], said: Mapping[str, Said]
) -> np.ndarray:
    """COUNTS of every query, by query."""
    queries = sorted({one.group for one in rollouts})
    counts_Q6 = np.zeros((len(queries), len(COUNTS)))
    for one in rollouts:
        own, steps = said[one.id], truth[one.id]
        hits = sum(a == b for a, b in zip(own.is_wrong, steps, strict=True)) if own.is_wrong is not None else 0
        at = 0 if one.label >= 0 else 2
        row = counts_Q6[queries.index(one.group)]
        row[at] += 1
        row[at + 1] += own.first_error == one.label
        row[4:] += len(steps), hits
    return counts_Q6


def f1_of(counts_x6: np.ndarray) -> np.ndarray:
    """First-error F1 of sums of counts; NaN where a resample holds one class only."""
    with np.errstate(divide="ignore", invalid="ignore"):
        located, accepted = counts_x6[..., 1] / counts_x6[..., 0], counts_x6[..., 3] / counts_x6[..., 2]
        return np.where(located + accepted == 0, 0.0, 2 * located * accepted / (located + accepted))


def steps_of(counts_x6: np.ndarray) -> np.ndarray:
    """Step accuracy of sums of counts."""
    return counts_x6[..., 5] / counts_x6[..., 4]


def chosen_on_others(options_XQ6: np.ndarray, preferred: Sequence[float]) -> np.ndarray:
    """For every query the counts of the option with the best F1 on all other queries; ties: the least `preferred`."""
    others_XQ6 = options_XQ6.sum(axis=1, keepdims=True) - options_XQ6
    f1_XQ = np.nan_to_num(f1_of(others_XQ6))
    order = np.argsort(np.asarray(preferred), kind="stable")
    best_Q = order[(f1_XQ[order] >= f1_XQ.max(axis=0) - 1e-12).argmax(axis=0)]
    return options_XQ6[best_Q, np.arange(options_XQ6.shape[1])]


def results_of(world: World) -> list[Result]:
    """All arrangements of a subset."""
    agents_AQ6 = world.of_agents_AQ6
    draws_RQ = np.random.default_rng(0).integers(0, agents_AQ6.shape[1], (NUM_RESAMPLES, agents_AQ6.shape[1]))
    hindsight = int(f1_of(agents_AQ6.sum(axis=1)).argmax())
    aggregated_Q6 = chosen_on_others(world.of_aggregate_TQ6, [abs(t - MAJORITY) for t in THRESHOLDS])
    arrangements = {
        "aggregate, threshold of other queries": aggregated_Q6[None],
        "aggregate, majority": world.of_majority_Q6[None],
        "single judge, mean": agents_AQ6,
        "single judge, chosen on other queries": chosen_on_others(agents_AQ6, range(len(agents_AQ6)))[None],
        f"single judge, best in hindsight ({world.agents[hindsight]})": agents_AQ6[hindsight][None],
    }
    f1s = {who: measured_at(counts, f1_of, draws_RQ) for who, counts in arrangements.items()}
    steps = {who: measured_at(counts, steps_of, draws_RQ) for who, counts in arrangements.items()}
    base, best = "single judge, mean", list(arrangements)[-1]
    return [
        Result(
            world.subset, who, *spread(f1s[who]), *spread(steps[who]),
            *(gain(f1s[who], f1s[base]) if who != base else (None,) * 3),
            *(gain(f1s[who], f1s[best]) if who != best else (None,) * 3),
            *(gain(steps[who], steps[base]) if who != base else (None,) * 3),
        )
        for who in arrangements
    ]  # fmt: skip


def measured_at(counts_AQ6: np.ndarray, measure, draws_RQ: np.ndarray) -> tuple[float, np.ndarray]:
    """(mean measure over the agents, the same for every resample)."""
    resampled_AR6 = np.stack([of_agent_Q6[draws_RQ].sum(axis=1) for of_agent_Q6 in counts_AQ6])
    return float(measure(counts_AQ6.sum(axis=1)).mean()), measure(resampled_AR6).mean(axis=0)


def spread(measure: tuple[float, np.ndarray]) -> tuple[float, float, float]:
    """Value and interval."""
    low, high = np.nanpercentile(measure[1], [2.5, 97.5])
    return measure[0], float(low), float(high)


def gain(one: tuple[float, np.ndarray], base: tuple[float, np.ndarray]) -> tuple[float, float, float]:
    """Paired difference and its interval."""
    return spread((one[0] - base[0], one[1] - base[1]))


def as_markdown(results: Sequence[Result]) -> list[str]:
    """One table per subset."""
    lines = ["First-error F1 and step accuracy against people's labels, 95 % by bootstrap over queries; differences to"]
    lines += ["the mean judge and to the best one in hindsight, paired. The subsets are small and are not pooled.", ""]
    for subset in dict.fromkeys(result.subset for result in results):
        rows = [
            [
                one.who,
                _shown(one.f1, one.f1_low, one.f1_high),
                _shown(one.f1_gain, one.gain_low, one.gain_high),
                _shown(one.f1_over_best, one.over_best_low, one.over_best_high),
                _shown(one.step_accuracy, one.step_low, one.step_high),
                _shown(one.step_gain, one.step_gain_low, one.step_gain_high),
            ]
            for one in results
            if one.subset == subset
        ]
        lines += [
            *record.table(
                [subset, "first-error F1", "over the mean", "over the best", "step accuracy", "over the mean"], rows
            ),
            "",
        ]
    return lines


def _shown(value: float | None, low: float | None, high: float | None) -> str:
    return "–" if value is None else f"{value:.3f} ({low:.3f} to {high:.3f})"
