"""How good a critic's scores are: numbers in, numbers out, no model and no table.

Every function returns None where the question has no answer (one class only, no pairs), never a number
that looks like a result. Ranking inside a problem is what selection among rollouts uses; the pooled
AUROC also rewards knowing which problems are easy, so the two are always reported side by side.
"""

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence

import numpy as np

AGGREGATES = ("product", "min", "last")


def auroc(scores: Sequence[float], labels: Sequence[bool]) -> float | None:
    """Chance that a right item outscores a wrong one (ties count half), over all items together."""
    scores_N, is_right_N = np.asarray(scores, dtype=float), np.asarray(labels, dtype=bool)
    num_right = int(is_right_N.sum())
    num_wrong = len(is_right_N) - num_right
    if num_right == 0 or num_wrong == 0:
        return None
    rank_sum = _average_ranks(scores_N)[is_right_N].sum()
    return float((rank_sum - num_right * (num_right + 1) / 2) / (num_right * num_wrong))


def within_group_auroc(
    scores: Sequence[float], labels: Sequence[bool], groups: Sequence[Hashable]
) -> tuple[float | None, int]:
    """(mean AUROC over the groups that hold both classes, number of those groups)."""
    values = []
    for members in _members(groups).values():
        value = auroc([scores[i] for i in members], [labels[i] for i in members])
        if value is not None:
            values.append(value)
    return (float(np.mean(values)) if values else None), len(values)


def pair_accuracy(
    better: Sequence[float], worse: Sequence[float], weights: Sequence[float] | None = None
) -> float | None:
    """Share of pairs in which the better one has the higher score; ties count half; weighted if asked."""
    better_P, worse_P = np.asarray(better, dtype=float), np.asarray(worse, dtype=float)
    weights_P = np.ones(len(better_P)) if weights is None else np.asarray(weights, dtype=float)
    if weights_P.sum() <= 0:
        return None
    wins_P = (better_P > worse_P) + 0.5 * (better_P == worse_P)
    return float((wins_P * weights_P).sum() / weights_P.sum())


def first_error_step(scores: Sequence[float], threshold: float = 0.5) -> int:
    """Index of the first step with score < threshold; -1 where there is none."""
    return next((i for i, score in enumerate(scores) if score < threshold), -1)


def first_error_f1(predicted: Sequence[int], true: Sequence[int]) -> dict[str, float | None]:
    """ProcessBench (arXiv 2412.06559): harmonic mean of the accuracies on wrong and on right solutions.

    `true`, `predicted`: index of the first wrong step, -1 for none. Fractions, not per cent.
    """
    on_error = [p == t for p, t in zip(predicted, true, strict=True) if t != -1]
    on_correct = [p == t for p, t in zip(predicted, true, strict=True) if t == -1]
    if not on_error or not on_correct:
        return {"f1": None, "acc_error": _mean(on_error), "acc_correct": _mean(on_correct)}
    error, correct = float(np.mean(on_error)), float(np.mean(on_correct))
    f1 = 2 * error * correct / (error + correct) if error + correct > 0 else 0.0
    return {"f1": f1, "acc_error": error, "acc_correct": correct}


def aggregate_steps(scores: Sequence[float], how: str) -> float:
    """One score for a rollout: product, minimum or last of its step scores."""
    if how == "product":
        return math.prod(scores)
    if how == "min":
        return min(scores)
    if how == "last":
        return scores[-1]
    raise ValueError(f"{how} is no aggregate; use one of {', '.join(AGGREGATES)}")


def best_of_n(
    scores: Sequence[float], outcomes: Sequence[float], groups: Sequence[Hashable], n: int
) -> tuple[float | None, int]:
    """(expected outcome of the highest-scored of n rollouts of a problem, number of problems).

    Exact over all subsets of size n of a problem's N rollouts: the rollout of rank i (from 0, best first)
    is picked with probability C(N-1-i, n-1) / C(N, n); ties share their mean outcome. Problems with
    fewer than n rollouts are left out.
    """
    values = []
    for members in _members(groups).values():
        if len(members) >= n:
            ranked = _outcomes_by_rank([scores[i] for i in members], [outcomes[i] for i in members])
            total = math.comb(len(members), n)
            picks = (math.comb(len(members) - 1 - i, n - 1) / total for i in range(len(members) - n + 1))
            values.append(sum(p * outcome for p, outcome in zip(picks, ranked, strict=False)))
    return (float(np.mean(values)) if values else None), len(values)


def pass_at_n(outcomes: Sequence[float], groups: Sequence[Hashable], n: int) -> tuple[float | None, int]:
    """(chance that n rollouts of a problem hold a right one, number of problems): the oracle of best of n."""
    return best_of_n(outcomes, outcomes, groups, n)


def brier(probabilities: Sequence[float], labels: Sequence[float]) -> float | None:
    """Mean squared distance between probability and label."""
    if len(probabilities) == 0:
        return None
    return float(np.mean((np.asarray(probabilities, dtype=float) - np.asarray(labels, dtype=float)) ** 2))


def calibration_error(probabilities: Sequence[float], labels: Sequence[float], num_bins: int = 15) -> float | None:
    """Expected calibration error over bins of equal mass: mean |mean probability - mean label|, by bin size."""
    if len(probabilities) == 0:
        return None
    order = np.argsort(np.asarray(probabilities, dtype=float), kind="stable")
    probabilities_N, labels_N = np.asarray(probabilities, dtype=float)[order], np.asarray(labels, dtype=float)[order]
    bins = [b for b in np.array_split(np.arange(len(order)), num_bins) if len(b)]
    gaps = [len(b) * abs(probabilities_N[b].mean() - labels_N[b].mean()) for b in bins]
    return float(sum(gaps) / len(order))


def _outcomes_by_rank(scores: Sequence[float], outcomes: Sequence[float]) -> list[float]:
    by_score: Mapping[float, list[float]] = {}
    for score, outcome in zip(scores, outcomes, strict=True):
        by_score.setdefault(score, []).append(outcome)
    ranked = []
    for score in sorted(by_score, reverse=True):
        tied = by_score[score]
        ranked.extend([sum(tied) / len(tied)] * len(tied))
    return ranked


def _average_ranks(values_N: np.ndarray) -> np.ndarray:
    _, inverse_N, counts = np.unique(values_N, return_inverse=True, return_counts=True)
    last_rank = np.cumsum(counts)
    return (last_rank - (counts - 1) / 2)[inverse_N]


def _members(groups: Iterable[Hashable]) -> dict[Hashable, list[int]]:
    members: dict[Hashable, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    return members


def _mean(values: Sequence[bool]) -> float | None:
    return float(np.mean(values)) if values else None
