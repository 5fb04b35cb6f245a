"""critic_report: what a critic's scores are worth on rollouts of problems that it has never seen.

One row per metric and slice. Slices:

    all, family=<name>     everything below
    depth=<step>           steps at one place of their rollouts: AUROC, calibration, mean score of right and wrong ones
    score_bin=<number>     rollouts in bins of equal mass by their lowest step score: mean score and share that is right
    validation             training's own held-out problems

Beside each selection by the critic stand greedy decoding, the majority, the policy's own log-probability, and the
oracle `pass_at_n`: a critic proves something only between those and the oracle. `best_of_<n>_<how>` is what the
selection is worth, `selected_score_<n>_<how>` what the critic thinks of it: where the second grows with n and the first
falls, the critic is over-optimised (`best_n_<how>` is where the first is highest, `overoptimised_<how>` what is lost
from there to the largest n). All of them are exact over subsets; each n counts the problems with that many rollouts.
Gold step labels are read here and nowhere in training; steps count up to and including the first wrong one.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

import pyarrow as pa

from critics.calibrated import Calibration
from critics.calibration import cross_fitted, fit_isotonic, fit_temperature
from critics.evaluation import CountedSteps
from critics.metrics import (
    AGGREGATES,
    aggregate_steps,
    auroc,
    best_of_n,
    brier,
    calibration_error,
    first_error_f1,
    first_error_step,
    majority_of_n,
    pass_at_n,
    reliability_bins,
    selective_accuracy,
    within_group_auroc,
    within_group_pairs,
)
from pipelines.tables import SCHEMAS

N_VALUES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
MAX_MAJORITY = 64
COVERAGES = tuple(tenth / 10 for tenth in range(1, 11))
SHOWN = "min"  # the aggregate of score bins and figures
Measurement = tuple[str, float | None, int]  # metric, value (None = undefined), items behind it


@dataclass(frozen=True)
class ScoredRollout:
    """A graded rollout with a score for every step."""

    problem_id: str
    family: str
    outcome: float  # 0.0 or 1.0
    scores: tuple[float, ...]
    sum_logprob: float | None  # under the policy; None where it was not recorded
    is_right: tuple[bool, ...] | None  # gold label per step; None where the family has none
    answer: str | None = None  # None: none was found


def critic_report(
    problems: pa.Table,
    rollouts: pa.Table,
    step_scores: pa.Table,
    gold_steps: pa.Table,
    *,
    critic_id: str,
    night: str,
    training_metrics: Mapping[str, float] | None = None,
    greedy: pa.Table | None = None,
    calibration: Calibration | None = None,
) -> pa.Table:
    """Rows of critic_report for independent samples that are graded and fully scored.

    step_scores: rows of one scorer only. training_metrics: `TrainedCritic.metrics`, reported as they are. greedy: one
    rollout at temperature 0 per problem. calibration: the critic's own, fitted without these problems and without gold.
    """
    scored = scored_rollouts(problems, rollouts, step_scores, gold_steps)
    at_zero = {} if greedy is None else outcome_by_problem(greedy)
    slices = {"all": scored}
    for family in sorted({rollout.family for rollout in scored}):
        slices[f"family={family}"] = [rollout for rollout in scored if rollout.family == family]
    rows = [(name, *found) for name, members in slices.items() for found in measure(members, at_zero, calibration)]
    rows += [*depth_rows(labelled_steps(scored)), *score_bin_rows(scored)]
    validation = training_metrics or {}
    num = int(validation.get("num_nodes", 0))
    rows += [("validation", metric, float(value), num) for metric, value in sorted(validation.items())]
    columns = {
        "critic_id": [critic_id] * len(rows),
        "metric": [metric for _, metric, _, _ in rows],
        "slice": [name for name, _, _, _ in rows],
        "value": [value for _, _, value, _ in rows],
        "num": [num for _, _, _, num in rows],
        "night": [night] * len(rows),
    }
    return pa.table(columns, schema=SCHEMAS["critic_report"])


def by_slice(report: pa.Table) -> dict[str, dict[str, float | None]]:
    """Slice -> metric -> value of one critic's rows."""
    found: dict[str, dict[str, float | None]] = {}
    for row in report.select(["slice", "metric", "value"]).to_pylist():
        found.setdefault(row["slice"], {})[row["metric"]] = row["value"]
    return found


def scored_rollouts(
    problems: pa.Table, rollouts: pa.Table, step_scores: pa.Table, gold_steps: pa.Table
) -> list[ScoredRollout]:
    """Independent samples with an outcome and a score for each step, joined with their gold labels."""
    families = dict(zip(problems["problem_id"].to_pylist(), problems["family"].to_pylist(), strict=True))
    scores = _by_step(step_scores, "score")
    gold = _by_step(gold_steps, "is_right")
    columns = ["rollout_id", "problem_id", "recipe", "steps", "outcome_reward", "sum_logprob", "answer"]
    scored = []
    for row in rollouts.select(columns).to_pylist():
        of_steps = _complete(scores.get(row["rollout_id"], {}), len(row["steps"] or ()))
        if row["recipe"] != "independent_samples" or row["outcome_reward"] is None or not of_steps:
            continue
        labels = _complete(gold.get(row["rollout_id"], {}), len(of_steps))
        family = families.get(row["problem_id"]) or "unknown"
        outcome = row["outcome_reward"]
        scored.append(
            ScoredRollout(row["problem_id"], family, outcome, of_steps, row["sum_logprob"], labels, row["answer"])
        )
    return scored


def outcome_by_problem(greedy: pa.Table) -> dict[str, float]:
    """Problem id -> outcome of its one rollout; a failed or ungraded one is wrong."""
    columns = (greedy[name].to_pylist() for name in ("problem_id", "outcome_reward"))
    return {problem_id: outcome or 0.0 for problem_id, outcome in zip(*columns, strict=True)}


def measure(
    rollouts: Sequence[ScoredRollout],
    greedy: Mapping[str, float] | None = None,
    calibration: Calibration | None = None,
) -> Iterator[Measurement]:
    """All metrics of one slice. greedy: problem id -> outcome at temperature 0, of these and other problems."""
    if not rollouts:
        return
    outcomes = [rollout.outcome for rollout in rollouts]
    groups = [rollout.problem_id for rollout in rollouts]
    largest = max(Counter(groups).values())
    n_values = [n for n in N_VALUES if n <= largest]
    at_zero = [(greedy or {})[problem] for problem in sorted(set(groups)) if problem in (greedy or {})]
    if at_zero:
        yield "greedy", mean(at_zero), len(at_zero)
    for n in n_values:
        yield (f"pass_at_{n}", *pass_at_n(outcomes, groups, n))
    answers = [rollout.answer for rollout in rollouts]
    if any(answer is not None for answer in answers):
        for n in n_values:
            if n <= MAX_MAJORITY:
                yield (f"majority_of_{n}", *majority_of_n(answers, outcomes, groups, n))
    for name, scores in _selections(rollouts).items():
        yield from _ranking_metrics(name, scores, outcomes, groups)
        yield from _selection_metrics(name, scores, outcomes, groups, n_values)
    yield from _step_metrics(labelled_steps(rollouts), calibration)
    yield from _first_error_metrics([rollout for rollout in rollouts if rollout.is_right is not None])


def labelled_steps(rollouts: Iterable[ScoredRollout]) -> CountedSteps:
    """The steps with gold labels, up to and including each rollout's first wrong one."""
    steps = CountedSteps([], [], [], [])
    for rollout in rollouts:
        if rollout.is_right is not None:
            first_wrong = first_error_step([float(right) for right in rollout.is_right])
            num_counted = len(rollout.scores) if first_wrong < 0 else first_wrong + 1
            steps.scores.extend(rollout.scores[:num_counted])
            steps.is_right.extend(rollout.is_right[:num_counted])
            steps.groups.extend([rollout.problem_id] * num_counted)
            steps.depths.extend(range(num_counted))
    return steps


def depth_rows(steps: CountedSteps) -> Iterator[tuple[str, str, float | None, int]]:
    """(slice, metric, value, items) of the steps at each depth."""
    for depth in sorted(set(steps.depths)):
        members = [i for i, other in enumerate(steps.depths) if other == depth]
        scores, labels = [steps.scores[i] for i in members], [steps.is_right[i] for i in members]
        name = f"depth={depth}"
        yield name, "step_auroc", auroc(scores, labels), len(members)
        yield name, "step_calibration_error", calibration_error(scores, labels), len(members)
        for is_right, metric in ((True, "mean_score_right"), (False, "mean_score_first_wrong")):
            of_kind = [score for score, right in zip(scores, labels, strict=True) if right == is_right]
            yield name, metric, mean(of_kind) if of_kind else None, len(of_kind)


def score_bin_rows(rollouts: Sequence[ScoredRollout]) -> Iterator[tuple[str, str, float | None, int]]:
    """(slice, metric, value, items) of rollouts in bins of equal mass by their lowest step score."""
    scores = [aggregate_steps(rollout.scores, SHOWN) for rollout in rollouts]
    for number, one in enumerate(reliability_bins(scores, [rollout.outcome for rollout in rollouts])):
        yield f"score_bin={number}", f"mean_score_{SHOWN}", one.mean_probability, one.num_items
        yield f"score_bin={number}", "share_right", one.mean_label, one.num_items


def _ranking_metrics(
    name: str, scores: Sequence[float], outcomes: Sequence[float], groups: Sequence[str]
) -> Iterator[Measurement]:
    """How well rollouts are ranked: over all, within problems, and as pairs of a right and a wrong one of a problem."""
    is_right = [outcome > 0.5 for outcome in outcomes]
    pairs = within_group_pairs(scores, is_right, groups)
    yield f"rollout_auroc_{name}", auroc(scores, is_right), len(scores)
    yield (f"within_problem_auroc_{name}", *within_group_auroc(scores, is_right, groups))
    yield f"pair_accuracy_{name}", pairs.accuracy, pairs.num_pairs
    yield f"pair_ties_{name}", float(pairs.num_ties), pairs.num_pairs


def _selection_metrics(
    name: str, scores: Sequence[float], outcomes: Sequence[float], groups: Sequence[str], n_values: Sequence[int]
) -> Iterator[Measurement]:
    """What the best of n is worth and is thought to be worth, and how it does when only sure problems are answered."""
    worth = {n: best_of_n(scores, outcomes, groups, n) for n in n_values}
    for n, found in worth.items():
        yield (f"best_of_{n}_{name}", *found)
        yield (f"selected_score_{n}_{name}", *best_of_n(scores, scores, groups, n))
    best_n = max(worth, key=lambda n: (worth[n][0], -n))
    largest = max(worth)
    yield f"best_n_{name}", float(best_n), worth[best_n][1]
    yield f"overoptimised_{name}", worth[best_n][0] - worth[largest][0], worth[largest][1]
    chosen = _best_by_problem(scores, outcomes, groups)
    for coverage in COVERAGES:
        value = selective_accuracy([score for score, _ in chosen], [outcome for _, outcome in chosen], coverage)
        yield f"selective_accuracy_{round(100 * coverage)}_{name}", value, len(chosen)


def _best_by_problem(
    scores: Sequence[float], outcomes: Sequence[float], groups: Sequence[str]
) -> list[tuple[float, float]]:
    """(highest score, mean outcome of the rollouts that have it) of each problem."""
    best: dict[str, tuple[float, list[float]]] = {}
    for score, outcome, group in zip(scores, outcomes, groups, strict=True):
        if group not in best or score > best[group][0]:
            best[group] = (score, [outcome])
        elif score == best[group][0]:
            best[group][1].append(outcome)
    return [(score, mean(tied)) for score, tied in best.values()]


def _selections(rollouts: Sequence[ScoredRollout]) -> dict[str, list[float]]:
    """Ways to rank rollouts: name -> one number per rollout."""
    selections = {how: [aggregate_steps(rollout.scores, how) for rollout in rollouts] for how in AGGREGATES}
    logprobs = [rollout.sum_logprob for rollout in rollouts]
    if None not in logprobs:
        selections["policy_logprob"] = logprobs
    return selections


def _step_metrics(steps: CountedSteps, calibration: Calibration | None) -> Iterator[Measurement]:
    """Metrics against gold labels; nothing where no rollout has them."""
    scores, labels, groups = steps.scores, steps.is_right, steps.groups
    if not scores:
        return
    pairs = within_group_pairs(scores, labels, groups)
    yield "step_auroc", auroc(scores, labels), len(scores)
    yield ("within_problem_step_auroc", *within_group_auroc(scores, labels, groups))
    yield "step_pair_accuracy", pairs.accuracy, pairs.num_pairs
    yield "step_pair_ties", float(pairs.num_ties), pairs.num_pairs
    yield "step_brier", brier(scores, labels), len(scores)
    yield "step_calibration_error", calibration_error(scores, labels), len(scores)
    for name, fit in (("temperature", fit_temperature), ("isotonic", fit_isotonic)):
        if calibration is not None:
            mapped = calibration.map_named(name)(scores)
            yield f"step_calibration_error_{name}", calibration_error(mapped, labels), len(scores)
        crossed = cross_fitted(scores, labels, groups, fit)
        error = None if crossed is None else calibration_error(crossed, labels)
        yield f"step_calibration_error_{name}_refitted", error, len(scores)


def _first_error_metrics(rollouts: Sequence[ScoredRollout]) -> Iterator[Measurement]:
    """First-error F1 and its parts at threshold 0.5; nothing where no rollout has gold labels."""
    if not rollouts:
        return
    true = [first_error_step([float(right) for right in rollout.is_right]) for rollout in rollouts]
    predicted = [first_error_step(rollout.scores) for rollout in rollouts]
    for name, value in first_error_f1(predicted, true).items():
        yield f"first_error_{name}", value, len(rollouts)


def _by_step(table: pa.Table, column: str) -> dict[str, dict[int, float | bool | None]]:
    found: dict[str, dict[int, float | bool | None]] = {}
    columns = (table[name].to_pylist() for name in ("rollout_id", "step", column))
    for rollout_id, step, value in zip(*columns, strict=True):
        found.setdefault(rollout_id, {})[step] = value
    return found


def _complete(by_step: Mapping[int, float | bool | None], length: int) -> tuple | None:
    """Values of steps 0 .. length - 1; None where one is missing or null, or there is no step."""
    values = tuple(by_step.get(step) for step in range(length))
    return values if values and None not in values else None
