"""Does a refinement after the aggregated critique do better than one after a single agent's critique?

    python -m tests.benchmarks refinements --problems 400

The starter's samples of frozen problems are criticised by the configured agents (`pipelines.critiques`); every readable
critique and the final one is followed by `--draws` refinements, on the real engine. A rule for each arrangement: where
its critique calls the sample wrong the refinement stands, else the sample. Rates, over samples with a grade:

    wrong to right   share of the wrong samples that end right
    right to wrong   share of the right samples that do not
    accuracy         share of all samples that end right

Arrangements: the final critique; each agent alone; the mean of the agents; no refinement. Intervals: 95 %, bootstrap
over problems; the differences from the mean agent are paired. What an agent left unread leaves the sample as it is.
"""

import argparse
import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa

from assets.evaluation import evaluation_problems
from assets.resources import prompts_of
from pipelines.config import Settings, load_settings
from pipelines.critiques import Critiques, criticise
from pipelines.grading import extract_answer, graders_of
from pipelines.inference.engine_service import stop_engine
from pipelines.inference.session import generate_session
from pipelines.problems import load_problems
from pipelines.rollouts import sample_rollouts
from tests.benchmarks import record

RUN_ID = "benchmark-refinements"
SAMPLES_PER_PROBLEM = 4
NUM_RESAMPLES = 2000
FINAL, MEAN, NONE = "final critique", "mean agent", "no refinement"

# Suffixes: S samples, W arrangements, R resamples.


@dataclass(frozen=True)
class Result:
    """One arrangement."""

    who: str
    num_wrong: int
    num_right: int
    wrong_to_right: float
    wrong_to_right_low: float
    wrong_to_right_high: float
    right_to_wrong: float
    right_to_wrong_low: float
    right_to_wrong_high: float
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    accuracy_gain: float  # over the mean agent, paired
    gain_low: float
    gain_high: float


@dataclass(frozen=True)
class Ends:
    """How every sample ends under every arrangement: the share of its draws that are right."""

    problems: tuple[str, ...]  # per sample
    before_S: np.ndarray  # 0 or 1
    after: Mapping[str, np.ndarray]  # arrangement -> per sample


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--problems", type=int, default=400, help="frozen held-out problems, at most 1200")
    parser.add_argument("--draws", type=int, default=2, help="refinements per critique")


def run(arguments: argparse.Namespace) -> None:
    """Measure on the real engine, save and show."""
    settings = load_settings(arguments.config)
    try:
        rollouts, made = asyncio.run(_made(settings, arguments.problems, arguments.draws))
    finally:
        stop_engine(settings, RUN_ID)
    results = results_of(ends_of(rollouts, made))
    content = record.provenance() | {
        "num_samples": made.verdicts.num_rows,
        "num_refinements": made.refinements.num_rows,
        "results": [asdict(result) for result in results],
    }
    record.save("refinements", arguments.out, content, record.heading(content) + as_markdown(results))


async def _made(settings: Settings, num_problems: int, num_draws: int) -> tuple[pa.Table, Critiques]:
    reports = settings.reports.model_copy(update={"num_problems": num_problems})
    problems = evaluation_problems(load_problems(settings.model_copy(update={"reports": reports})), reports)
    known = {"night": "benchmark", "grade": graders_of(settings), "extract_answer": extract_answer}
    chosen = settings.critiques.model_copy(
        update={"num_rollouts": SAMPLES_PER_PROBLEM * num_problems, "refinements_per_critique": num_draws}
    )
    sampling = settings.rollouts.model_copy(update={"group_size": SAMPLES_PER_PROBLEM})
    async with generate_session(settings, run_id=RUN_ID) as session:
        known["max_model_len"] = session.max_model_len
        prompts = prompts_of(settings)
        rollouts = (await sample_rollouts(problems, session, prompts, sampling, **known)).rollouts
        return rollouts, await criticise(problems, rollouts, session, chosen, prompts, **known)


def ends_of(rollouts: pa.Table, made: Critiques) -> Ends:
    """How the criticised and graded samples end (module docstring). Equal critiques share their refinements."""
    grades = {row["rollout_id"]: row["outcome_reward"] for row in rollouts.to_pylist()}
    texts = {row["critique_id"]: (row["rollout_id"], row["text"]) for row in _said(made)}
    drawn: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in made.refinements.to_pylist():
        if row["outcome_reward"] is not None:
            drawn[texts[row["critique_id"]]].append(row["outcome_reward"])
    verdicts = {row["rollout_id"]: row for row in made.verdicts.to_pylist()}
    samples = sorted(name for name in verdicts if grades[name] in (0.0, 1.0))
    before_S = np.array([grades[name] for name in samples])
    said: dict[str, dict[str, Mapping[str, object]]] = defaultdict(dict)
    for row in made.critiques.to_pylist():
        said[row["agent"]][row["rollout_id"]] = row
    after = {NONE: before_S, FINAL: _after(samples, grades, verdicts, drawn)}
    of_agents = {agent: _after(samples, grades, rows, drawn) for agent, rows in sorted(said.items())}
    after |= of_agents | {MEAN: np.mean(list(of_agents.values()), axis=0)}
    return Ends(tuple(str(verdicts[name]["problem_id"]) for name in samples), before_S, after)


def _said(made: Critiques) -> list[Mapping[str, object]]:
    final = [row for row in made.verdicts.to_pylist() if row["critique_id"] is not None]
    return [*made.critiques.to_pylist(), *final]


def _after(
    samples: Sequence[str],
    grades: Mapping[str, float],
    rows: Mapping[str, Mapping[str, object]],
    drawn: Mapping[tuple[str, str], Sequence[float]],
) -> np.ndarray:
    """Mean grade of the refinements where the critique says wrong, else the sample's own grade."""
    ends = []
    for name in samples:
        row = rows[name]
        refined = drawn.get((name, row["text"]), ()) if row["verdict"] == "wrong" else ()
        ends.append(float(np.mean(refined)) if len(refined) else grades[name])
    return np.array(ends)


def results_of(ends: Ends, num_resamples: int = NUM_RESAMPLES) -> list[Result]:
    """Rates with intervals, by resampling problems."""
    names, place = np.unique(ends.problems, return_inverse=True)
    members = [np.flatnonzero(place == i) for i in range(len(names))]
    rng = np.random.default_rng(0)
    drawn_R = [
        np.concatenate([members[i] for i in rng.integers(len(names), size=len(names))]) for _ in range(num_resamples)
    ]
    mean_R = np.array([ends.after[MEAN][rows].mean() for rows in drawn_R])
    return [_result(who, ends, after_S, drawn_R, mean_R) for who, after_S in ends.after.items()]


def _result(who: str, ends: Ends, after_S: np.ndarray, drawn_R: Sequence[np.ndarray], mean_R: np.ndarray) -> Result:
    every = np.arange(len(after_S))
    accuracy_R = np.array([after_S[rows].mean() for rows in drawn_R])
    rates = []
    for is_wrong in (True, False):
        values_R = np.array([_rate(ends.before_S, after_S, rows, is_wrong) for rows in drawn_R])
        rates += [_rate(ends.before_S, after_S, every, is_wrong), *_interval(values_R)]
    return Result(
        who, int((ends.before_S == 0.0).sum()), int((ends.before_S == 1.0).sum()), *rates,
        float(after_S.mean()), *_interval(accuracy_R),
        float(after_S.mean() - ends.after[MEAN].mean()), *_interval(accuracy_R - mean_R),
    )  # fmt: skip


def _rate(before_S: np.ndarray, after_S: np.ndarray, rows: np.ndarray, is_wrong: bool) -> float:
    """Wrong to right, or right to wrong; not a number without samples of that kind."""
    chosen = rows[before_S[rows] == (0.0 if is_wrong else 1.0)]
    if not len(chosen):
        return float("nan")
    return float(after_S[chosen].mean() if is_wrong else 1.0 - after_S[chosen].mean())


def _interval(values_R: np.ndarray) -> tuple[float, float]:
    """95 %; resamples without samples of a kind take no part."""
    known = values_R[np.isfinite(values_R)]
    return tuple(float(value) for value in np.percentile(known, [2.5, 97.5])) if len(known) else (np.nan, np.nan)


def as_markdown(results: Sequence[Result]) -> list[str]:
    header = ["followed", "wrong to right", "right to wrong", "accuracy", "accuracy over the mean agent"]
    rows = [
        [
            one.who,
            f"{one.wrong_to_right:.3f} [{one.wrong_to_right_low:.3f}, {one.wrong_to_right_high:.3f}]",
            f"{one.right_to_wrong:.4f} [{one.right_to_wrong_low:.4f}, {one.right_to_wrong_high:.4f}]",
            f"{one.accuracy:.3f} [{one.accuracy_low:.3f}, {one.accuracy_high:.3f}]",
            f"{one.accuracy_gain:+.3f} [{one.gain_low:+.3f}, {one.gain_high:+.3f}]",
        ]
        for one in results
    ]
    counts = f"{results[0].num_wrong} wrong and {results[0].num_right} right samples of the starter." if results else ""
    return [counts, "", *record.table(header, rows)]
