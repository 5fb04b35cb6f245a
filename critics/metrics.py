"""How good a critic's scores are: numbers in, numbers out, no model and no table.

Every function returns None where the question has no answer (one class only, no pairs), never a number
that looks like a result. Ranking inside a problem is what selection among rollouts uses; the pooled
AUROC also rewards knowing which problems are easy, so the two are always reported side by side.
"""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

AGGREGATES = ("product", "min", "last")
NUM_BINS = 15


@dataclass(frozen=True)
class PairCount:
    """Pairs of a right and a wrong item of one group. `accuracy`: ties count half; None without pairs."""

    accuracy: float | None
    num_pairs: int
    num_ties: int


@dataclass(frozen=True)
class Bin:
    """Items of about equal probability: how sure they were said to be, and how often they were right."""

    mean_probability: float
    mean_label: float
    num_items: int


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


def within_group_pairs(scores: Sequence[float], labels: Sequence[bool], groups: Sequence[Hashable]) -> PairCount:
    """How often a right item of a group outscores a wrong one of the same group, over all such pairs together."""
    wins, num_pairs, num_ties = 0, 0, 0
    for members in _members(groups).values():
        right_R = np.array([scores[i] for i in members if labels[i]], dtype=float)
        wrong_W = np.sort(np.array([scores[i] for i in members if not labels[i]], dtype=float))
        below_R = np.searchsorted(wrong_W, right_R, "left")
        wins += int(below_R.sum())
        num_ties += int((np.searchsorted(wrong_W, right_R, "right") - below_R).sum())
        num_pairs += len(right_R) * len(wrong_W)
    return PairCount((wins + 0.5 * num_ties) / num_pairs if num_pairs else None, num_pairs, num_ties)


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


def tune_threshold(scores: Sequence[Sequence[float]], true: Sequence[int]) -> float | None:
    """The threshold in [0, 1] with the highest first-error F1; None unless there are wrong and right solutions.

    scores: of the steps of each solution, in [0, 1]; `true`: index of its first wrong step, -1 for none.

    Solution i is judged rightly for every t in (low_i, high_i]: a right one for t <= min of its scores, one that goes
    wrong at step k for scores[k] < t <= min of the scores before k. F1 is therefore constant between neighbouring
    bounds, and the search over their midpoints is exact. Of equally good midpoints the one nearest to 0.5 is taken,
    then the lower one.
    """
    bounds = [(_accepting_interval(of_steps, first), first >= 0) for of_steps, first in zip(scores, true, strict=True)]
    on_error, on_correct = [b for b, is_error in bounds if is_error], [b for b, is_error in bounds if not is_error]
    if not on_error or not on_correct:
        return None
    candidates_C = _midpoints({bound for interval in on_error + on_correct for bound in interval})
    error_C, correct_C = _share_holding(on_error, candidates_C), _share_holding(on_correct, candidates_C)
    f1_C = _harmonic_mean(error_C, correct_C)
    best = candidates_C[f1_C >= f1_C.max() - 1e-12]
    return float(min(best, key=lambda threshold: (abs(threshold - 0.5), threshold)))


def first_error_interval(
    predicted: Sequence[int], true: Sequence[int], groups: Sequence[Hashable], num_resamples: int = 1000, seed: int = 0
) -> tuple[float, float] | None:
    """95 % percentile bootstrap interval of the first-error F1 over groups (problems); the threshold stays as it is.

    None where a class is absent. Resamples that draw one class only have no F1 and are left out.
    """
    counts_G4 = np.zeros((len(set(groups)), 4))  # wrong solutions, located ones, right solutions, accepted ones
    for row, members in enumerate(_members(groups).values()):
        for i in members:
            at = 0 if true[i] != -1 else 2
            counts_G4[row, at] += 1
            counts_G4[row, at + 1] += predicted[i] == true[i]
    if not counts_G4[:, 0].any() or not counts_G4[:, 2].any():
        return None
    rng, num = np.random.default_rng(seed), len(counts_G4)
    draws_R4 = np.array([counts_G4[rng.integers(0, num, num)].sum(axis=0) for _ in range(num_resamples)])
    wrong_R, located_R, right_R, accepted_R = draws_R4[(draws_R4[:, [0, 2]] > 0).all(axis=1)].T
    low, high = np.quantile(_harmonic_mean(located_R / wrong_R, accepted_R / right_R), [0.025, 0.975])
    return float(low), float(high)


def roc_curve(scores: Sequence[float], labels: Sequence[bool]) -> tuple[list[float], list[float]] | None:
    """(share of wrong items, share of right items) at or above each score, highest score first, from (0, 0) to (1, 1).

    None where a class is absent. The trapezoids below the curve sum to `auroc`.
    """
    scores_N, is_right_N = np.asarray(scores, dtype=float), np.asarray(labels, dtype=bool)
    if is_right_N.all() or not is_right_N.any():
        return None
    values, inverse_N = np.unique(-scores_N, return_inverse=True)
    right = np.bincount(inverse_N, weights=is_right_N, minlength=len(values)).cumsum() / is_right_N.sum()
    wrong = np.bincount(inverse_N, weights=~is_right_N, minlength=len(values)).cumsum() / (~is_right_N).sum()
    return [0.0, *wrong.tolist()], [0.0, *right.tolist()]


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


def majority_of_n(
    answers: Sequence[str | None], outcomes: Sequence[float], groups: Sequence[Hashable], n: int
) -> tuple[float | None, int]:
    """(expected outcome of the most frequent of n answers of a problem, number of problems).

    Exact over all subsets of size n, like `best_of_n`; equally frequent answers share, an answer's outcome is the mean
    of its rollouts', None never votes, and a subset without any answer is wrong.
    """
    values = []
    for members in _members(groups).values():
        if len(members) >= n:
            counts = Counter(answers[i] for i in members)
            right = {
                answer: np.mean([outcomes[i] for i in members if answers[i] == answer])
                for answer in counts
                if answer is not None
            }
            values.append(sum(r * _chance_of_majority(counts, a, n) for a, r in right.items() if r > 0))
    return (float(np.mean(values)) if values else None), len(values)


def selective_accuracy(scores: Sequence[float], outcomes: Sequence[float], coverage: float) -> float | None:
    """Mean outcome of the highest-scored ceil(coverage * N) of N items; equal scores share their mean outcome.

    coverage: in (0, 1]; 1 is the plain mean. None without items.
    """
    if len(scores) == 0:
        return None
    ranked = _outcomes_by_rank(scores, outcomes)
    num_answered = max(1, math.ceil(round(coverage * len(ranked), 9)))
    return sum(ranked[:num_answered]) / num_answered


def brier(probabilities: Sequence[float], labels: Sequence[float]) -> float | None:
    """Mean squared distance between probability and label."""
    if len(probabilities) == 0:
        return None
    return float(np.mean((np.asarray(probabilities, dtype=float) - np.asarray(labels, dtype=float)) ** 2))


def calibration_error(
    probabilities: Sequence[float], labels: Sequence[float], num_bins: int = NUM_BINS
) -> float | None:
    """Expected calibration error over bins of equal mass: mean |mean probability - mean label|, by bin size."""
    bins = reliability_bins(probabilities, labels, num_bins)
    if not bins:
        return None
    num_items = sum(one.num_items for one in bins)
    return sum(one.num_items * abs(one.mean_probability - one.mean_label) for one in bins) / num_items


def reliability_bins(probabilities: Sequence[float], labels: Sequence[float], num_bins: int = NUM_BINS) -> list[Bin]:
    """Bins of equal mass (sizes differ by at most one), lowest probability first; fewer items than bins: one each.

    Items of equal probability share their mean label, so the order of the rows cannot change a bin.
    """
    if len(probabilities) == 0:
        return []
    values, inverse_N, counts = np.unique(np.asarray(probabilities, float), return_inverse=True, return_counts=True)
    mean_labels = np.bincount(inverse_N, weights=np.asarray(labels, dtype=float)) / counts
    sorted_N = np.sort(inverse_N)
    pieces = [piece for piece in np.array_split(sorted_N, num_bins) if len(piece)]
    return [Bin(float(values[piece].mean()), float(mean_labels[piece].mean()), len(piece)) for piece in pieces]


def _accepting_interval(scores: Sequence[float], first_error: int) -> tuple[float, float]:
    """(low, high]: the thresholds at which the first error of a solution is predicted rightly."""
    before = scores if first_error < 0 else scores[:first_error]
    high = min(before, default=math.inf)
    return (-math.inf, high) if first_error < 0 else (scores[first_error], high)


def _midpoints(bounds: set[float]) -> np.ndarray:
    """One threshold in [0, 1] from every interval (a, b] between neighbouring bounds."""
    edges_E = np.array(sorted({0.0, 1.0} | {bound for bound in bounds if 0 < bound < 1}))
    middle = (edges_E[:-1] + edges_E[1:]) / 2
    # no number may lie between the edges, then the upper one stands for the interval; 0 stands for (-inf, 0]
    return np.concatenate([[0.0], np.where(middle > edges_E[:-1], middle, edges_E[1:])])


def _harmonic_mean(first_N: np.ndarray, second_N: np.ndarray) -> np.ndarray:
    """0 where both are 0."""
    total_N = first_N + second_N
    return np.divide(2 * first_N * second_N, total_N, out=np.zeros_like(total_N), where=total_N > 0)


def _share_holding(intervals: Sequence[tuple[float, float]], thresholds_C: np.ndarray) -> np.ndarray:
    """Share of the intervals (low, high] that hold each threshold."""
    lows, highs = (np.sort([interval[side] for interval in intervals if interval[0] < interval[1]]) for side in (0, 1))
    holding_C = np.searchsorted(lows, thresholds_C, "left") - np.searchsorted(highs, thresholds_C, "left")
    return holding_C / len(intervals)


def _chance_of_majority(counts: Mapping[str | None, int], answer: str, n: int) -> float:
    """Chance that `answer` wins a vote of n drawn without replacement, a tie of t answers counting 1 / t.

    For every number k of its votes: ways to draw the other n - k so that no other answer has more, by how many of them
    have k as well. Answers with fewer than k rollouts in all cannot tie, so they and None are one urn.
    """
    total, chance = math.comb(sum(counts.values()), n), 0.0
    for k in range(1, min(counts[answer], n) + 1):
        rivals = [num for other, num in counts.items() if other not in (answer, None) and num >= k]
        num_free = sum(counts.values()) - counts[answer] - sum(rivals)
        ways = {0: np.array([float(math.comb(num_free, used)) for used in range(n - k + 1)])}  # ties -> by votes drawn
        for rival in rivals:
            ways = _with_rival(ways, rival, k)
        shares = sum(by_used[n - k] / (num_tied + 1) for num_tied, by_used in ways.items())
        chance += math.comb(counts[answer], k) * shares / total
    return chance


def _with_rival(ways: Mapping[int, np.ndarray], rival: int, k: int) -> dict[int, np.ndarray]:
    """The ways after a further answer with `rival` rollouts has drawn up to k votes."""
    size = len(next(iter(ways.values())))
    found: dict[int, np.ndarray] = {}
    fewer = np.array([float(math.comb(rival, votes)) for votes in range(k)])
    for num_tied, by_used in ways.items():
        without = np.convolve(by_used, fewer)[:size]
        found[num_tied] = found.get(num_tied, np.zeros(size)) + without
        if k < size:
            tied = np.concatenate([np.zeros(k), float(math.comb(rival, k)) * by_used[: size - k]])
            found[num_tied + 1] = found.get(num_tied + 1, np.zeros(size)) + tied
    return found


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
