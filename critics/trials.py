"""critic_trials: may tonight's critic take the place of the current one?

Both score the same rollouts of problems that neither has learned from, and are compared problem by problem:

    AUROC within a problem   chance that a right rollout of it outscores a wrong one (ties half), step scores combined
                             as the reports combine them; problems with one outcome only say nothing
    difference               mean over problems of tonight's AUROC minus the current one's; 95 %: paired bootstrap over
                             problems

It is held, and the current one stays, when it is worse beyond doubt: the whole interval lies below -margin, on samples
of the frozen evaluation problems (both full critics) or on tonight's trees that no critic guided (both sets of fold
critics, each problem by the critics of its own fold). It is also held when it spreads its scores of tonight's samples
otherwise than the current one by more than `max_drift`. Without a current critic, or where there is nothing to compare
on, it is promoted, and the reason says so. Outcomes decide, gold step labels are not read.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from critics.drift import population_stability_index
from critics.metrics import auroc
from pipelines.config import PromotionConfig
from pipelines.strategies import rollout_scores

Ranking = Mapping[str, float]
"""Problem id -> AUROC within it, of the problems with right and wrong rollouts."""


@dataclass(frozen=True)
class Difference:
    """Tonight's critic minus the current one, over the problems that both rank; None without any."""

    tonight: float | None  # mean AUROC within problems
    current: float | None
    difference: float | None
    low: float | None
    high: float | None
    num_problems: int

    def is_worse(self, margin: float) -> bool:
        """Whether the whole interval lies below -margin."""
        return self.high is not None and self.high < -margin


@dataclass(frozen=True)
class Trial:
    """What a night's critic was found to be, and what follows from it."""

    is_promotable: bool
    reason: str
    evaluation: Difference
    unguided: Difference
    drift: float | None
    num_drift_steps: int
    margin: float  # that a difference of AUROC had to stay above
    max_drift: float

    def row(self, critic_id: str, current_id: str | None, night: str) -> dict[str, object]:
        """The row of `critic_trials`."""
        by_slice = {"evaluation": self.evaluation, "unguided": self.unguided}
        metrics = {name: {"tonight": one.tonight, "current": one.current} for name, one in by_slice.items()}
        metrics["limits"] = {"margin": self.margin, "max_drift": self.max_drift}
        row = {"critic_id": critic_id, "current_id": current_id, "night": night}
        row |= {"is_promotable": self.is_promotable, "reason": self.reason}
        for name, one in by_slice.items():
            row |= {f"{name}_difference": one.difference, f"{name}_low": one.low, f"{name}_high": one.high}
            row |= {f"num_{name}_problems": one.num_problems}
        return row | {
            "drift": self.drift,
            "num_drift_steps": self.num_drift_steps,
            "metrics": json.dumps(metrics, sort_keys=True),
        }


@dataclass(frozen=True)
class Scored:
    """Rollouts, and what both critics say of their steps (rows of `step_scores`); None: there is no current critic."""

    rollouts: pa.Table
    tonight: pa.Table
    current: pa.Table | None


def trial(
    evaluation: Scored,
    of_tonight: Scored,
    config: PromotionConfig,
    aggregate: str,
    *,
    has_current: bool,
    is_same: bool,
) -> Trial:
    """The comparison and the decision.

    evaluation: samples of frozen evaluation problems, scored by the full critics. of_tonight: tonight's rollouts,
    scored out of fold. aggregate: how step scores become one number. is_same: both are the same set of critics.
    """
    on_evaluation = compared(evaluation, aggregate, config)
    trees = of_tonight.rollouts.filter(_is_unguided_tree(of_tonight.rollouts))
    on_unguided = compared(Scored(trees, of_tonight.tonight, of_tonight.current), aggregate, config)
    drift, num_steps = drift_of(of_tonight)
    reason = "first_critic"
    if has_current:
        reason = "unchanged" if is_same else judged(on_evaluation, on_unguided, drift, config)
    is_promotable = reason not in ("worse_on_evaluation", "worse_on_unguided", "drift")
    limits = (config.margin, config.max_drift)
    return Trial(is_promotable, reason, on_evaluation, on_unguided, drift, num_steps, *limits)


def judged(evaluation: Difference, unguided: Difference, drift: float | None, config: PromotionConfig) -> str:
    """The reason of the decision between two different critics."""
    if evaluation.is_worse(config.margin):
        return "worse_on_evaluation"
    if unguided.is_worse(config.margin):
        return "worse_on_unguided"
    if drift is not None and drift > config.max_drift:
        return "drift"
    return "not_worse" if evaluation.num_problems else "not_comparable"


def compared(scored: Scored, aggregate: str, config: PromotionConfig) -> Difference:
    """Both critics on the rollouts that have an outcome and that each of them has scored."""
    if scored.current is None:
        tonight = problem_rankings(scored.rollouts, rollout_scores(scored.tonight, aggregate))
        mean = float(np.mean(list(tonight.values()))) if tonight else None
        return Difference(mean, None, None, None, None, len(tonight))
    by_tonight, by_current = (rollout_scores(scores, aggregate) for scores in (scored.tonight, scored.current))
    both = by_tonight.keys() & by_current.keys()
    rankings = [
        problem_rankings(scored.rollouts, {name: scores[name] for name in both}) for scores in (by_tonight, by_current)
    ]
    return paired_difference(*rankings, num_resamples=config.num_bootstrap, seed=config.seed)


def problem_rankings(rollouts: pa.Table, scores: Mapping[str, float]) -> dict[str, float]:
    """AUROC within each problem of its graded rollouts that have a score; problems of one outcome are left out."""
    columns = (rollouts[name].to_pylist() for name in ("rollout_id", "problem_id", "outcome_reward"))
    members: dict[str, list[tuple[float, bool]]] = {}
    for rollout_id, problem_id, outcome in zip(*columns, strict=True):
        if outcome is not None and rollout_id in scores:
            members.setdefault(problem_id, []).append((scores[rollout_id], outcome > 0.5))
    found = {name: auroc([s for s, _ in pairs], [right for _, right in pairs]) for name, pairs in members.items()}
    return {name: found[name] for name in sorted(found) if found[name] is not None}


def paired_difference(tonight: Ranking, current: Ranking, *, num_resamples: int, seed: int) -> Difference:
    """Mean difference over the problems of both, with its 95 % percentile bootstrap interval over problems."""
    problems = sorted(tonight.keys() & current.keys())
    if not problems:
        return Difference(None, None, None, None, None, 0)
    tonight_P, current_P = (np.array([ranking[problem] for problem in problems]) for ranking in (tonight, current))
    differences_P, rng, num = tonight_P - current_P, np.random.default_rng(seed), len(problems)
    means_R = [differences_P[rng.integers(0, num, num)].mean() for _ in range(num_resamples)]
    low, high = np.quantile(means_R, [0.025, 0.975])
    means = (float(values.mean()) for values in (tonight_P, current_P, differences_P))
    return Difference(*means, float(low), float(high), num)


def drift_of(scored: Scored) -> tuple[float | None, int]:
    """(stability index, steps behind it) of tonight's independent samples, over the steps that both have scored."""
    if scored.current is None:
        return None, 0
    samples = set(scored.rollouts.filter(scored.rollouts["group_id"].is_valid())["rollout_id"].to_pylist())
    tonight, current = (_known_scores(scores, samples) for scores in (scored.tonight, scored.current))
    steps = sorted(tonight.keys() & current.keys())
    drift = population_stability_index([current[step] for step in steps], [tonight[step] for step in steps])
    return drift, len(steps)


def _known_scores(step_scores: pa.Table, rollouts: set[str]) -> dict[tuple[str, int], float]:
    columns: Sequence[list] = [step_scores[name].to_pylist() for name in ("rollout_id", "step", "score")]
    rows = zip(*columns, strict=True)
    return {(name, step): score for name, step, score in rows if score is not None and name in rollouts}


def _is_unguided_tree(rollouts: pa.Table) -> pa.ChunkedArray:
    return pc.and_(rollouts["tree_id"].is_valid(), pc.invert(pc.fill_null(rollouts["is_guided"], False)))
