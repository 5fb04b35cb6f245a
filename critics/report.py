"""critic_report: what a critic's scores are worth on rollouts of problems that it has never seen.

One row per metric and slice. Slices: `all`, `family=<name>`, `validation` (training's own held-out
problems). Beside each selection by the critic stands the policy's own log-probability, and the oracle
`pass_at_n`: a critic proves something only between the two. Gold step labels are read here and nowhere
in training; steps count up to and including the first wrong one.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from critics.metrics import (
    AGGREGATES,
    aggregate_steps,
    auroc,
    best_of_n,
    brier,
    calibration_error,
    first_error_f1,
    first_error_step,
    pass_at_n,
    within_group_auroc,
)
from pipelines.tables import SCHEMAS

N_VALUES = (1, 2, 4, 8, 16, 32)
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


def critic_report(
    problems: pa.Table,
    rollouts: pa.Table,
    step_scores: pa.Table,
    gold_steps: pa.Table,
    *,
    critic_id: str,
    night: str,
    training_metrics: Mapping[str, float] | None = None,
) -> pa.Table:
    """Rows of critic_report for independent samples that are graded and fully scored.

    step_scores: rows of one scorer only. training_metrics: `TrainedCritic.metrics`, reported as they are.
    """
    scored = scored_rollouts(problems, rollouts, step_scores, gold_steps)
    slices = {"all": scored}
    for family in sorted({rollout.family for rollout in scored}):
        slices[f"family={family}"] = [rollout for rollout in scored if rollout.family == family]
    rows = [(name, *found) for name, members in slices.items() for found in measure(members)]
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


def scored_rollouts(
    problems: pa.Table, rollouts: pa.Table, step_scores: pa.Table, gold_steps: pa.Table
) -> list[ScoredRollout]:
    """Independent samples with an outcome and a score for each step, joined with their gold labels."""
    families = dict(zip(problems["problem_id"].to_pylist(), problems["family"].to_pylist(), strict=True))
    scores = _by_step(step_scores, "score")
    gold = _by_step(gold_steps, "is_right")
    columns = ["rollout_id", "problem_id", "recipe", "steps", "outcome_reward", "sum_logprob"]
    scored = []
    for row in rollouts.select(columns).to_pylist():
        of_steps = _complete(scores.get(row["rollout_id"], {}), len(row["steps"] or ()))
        if row["recipe"] != "independent_samples" or row["outcome_reward"] is None or not of_steps:
            continue
        labels = _complete(gold.get(row["rollout_id"], {}), len(of_steps))
        family = families.get(row["problem_id"]) or "unknown"
        outcome = row["outcome_reward"]
        scored.append(ScoredRollout(row["problem_id"], family, outcome, of_steps, row["sum_logprob"], labels))
    return scored


def measure(rollouts: Sequence[ScoredRollout]) -> Iterator[Measurement]:
    """All metrics of one slice."""
    if not rollouts:
        return
    outcomes = [rollout.outcome for rollout in rollouts]
    groups = [rollout.problem_id for rollout in rollouts]
    largest = max(Counter(groups).values())
    n_values = [n for n in N_VALUES if n <= largest]
    for n in n_values:
        yield (f"pass_at_{n}", *pass_at_n(outcomes, groups, n))
    for name, scores in _selections(rollouts).items():
        yield f"rollout_auroc_{name}", auroc(scores, [o > 0.5 for o in outcomes]), len(rollouts)
        yield (f"within_problem_auroc_{name}", *within_group_auroc(scores, [o > 0.5 for o in outcomes], groups))
        for n in n_values:
            yield (f"best_of_{n}_{name}", *best_of_n(scores, outcomes, groups, n))
    yield from _step_metrics([rollout for rollout in rollouts if rollout.is_right is not None])


def _selections(rollouts: Sequence[ScoredRollout]) -> dict[str, list[float]]:
    """Ways to rank rollouts: name -> one number per rollout."""
    selections = {how: [aggregate_steps(rollout.scores, how) for rollout in rollouts] for how in AGGREGATES}
    logprobs = [rollout.sum_logprob for rollout in rollouts]
    if None not in logprobs:
        selections["policy_logprob"] = logprobs
    return selections


def _step_metrics(rollouts: Sequence[ScoredRollout]) -> Iterator[Measurement]:
    """Metrics against gold labels; nothing where no rollout has them."""
    if not rollouts:
        return
    scores, labels, groups = [], [], []
    true = [first_error_step([float(right) for right in rollout.is_right]) for rollout in rollouts]
    for rollout, first_wrong in zip(rollouts, true, strict=True):
        num_counted = len(rollout.scores) if first_wrong < 0 else first_wrong + 1
        scores.extend(rollout.scores[:num_counted])
        labels.extend(rollout.is_right[:num_counted])
        groups.extend([rollout.problem_id] * num_counted)
    yield "step_auroc", auroc(scores, labels), len(scores)
    yield ("within_problem_step_auroc", *within_group_auroc(scores, labels, groups))
    yield "step_brier", brier(scores, labels), len(scores)
    yield "step_calibration_error", calibration_error(scores, labels), len(scores)
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
