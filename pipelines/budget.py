"""Where a night's simulations go, and when it has spent enough. Decisions only: no model, no clock, no file.

Allocation is Knapsack RL (arXiv 2509.25849): a problem with success rate p and N rollouts is worth

    Value(N, p) = [1 - p^N - (1-p)^N] * p (1-p)^2

the chance that both outcomes are seen, times how much that would teach (most at p = 1/3). One simulation counts as one
rollout. Two deviations from the paper: p is not the last observed rate but a Beta posterior, over which the value is
averaged, so that 0 of 8 is no certain failure and a problem never tried is worth exploring; and the knapsack is not
solved by dynamic programming but by always giving the next simulation where it gains most, which is exact because the
gains of one problem fall. (Worked from notes on the paper, not from its text.) Groups of samples stay equal in size:
GRPO-like trainers compare the members of equal groups.
"""

import heapq
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipelines.config import RolloutsConfig
from pipelines.errors import ConfigError
from pipelines.records import stable_digest
from pipelines.search.tree import Tree

PRIOR_RIGHT = PRIOR_WRONG = 1.0  # Beta(1, 1): every success rate is as likely, before a problem has been tried
MAX_FACTOR = 4  # a problem gets at most this many times the average, where `max_simulations` is not set
Z_95 = 1.959964  # of a two-sided interval at 95 %
SETTLED_RATE = 0.9  # a tree is settled when its nodes are worth more than this, or less than what is left to 1

BUDGET_SPENT, SETTLED = "budget_spent", "settled"  # why a tree ended early

IsSpentFn = Callable[[], bool]
"""`is_spent()`: whether the run may begin nothing more."""


@dataclass(frozen=True)
class PassCount:
    """How often a problem was solved; 0 of 0 when it was never tried."""

    num_right: int = 0
    num_tried: int = 0


def expected_value(num_rollouts: float, seen: PassCount) -> float:
    """Mean of Value(N, p) over p ~ Beta(1 + right, 1 + wrong): rises with N, ever more slowly.

    With E[p^i q^j] = B(a + i, b + j) / B(a, b) it is E[p q^2] - E[p^(N+1) q^2] - E[p q^(N+2)]. 0 at N = 1.
    """
    a, b = PRIOR_RIGHT + seen.num_right, PRIOR_WRONG + seen.num_tried - seen.num_right

    def moment(i: float, j: float) -> float:
        return math.exp(_log_beta(a + i, b + j) - _log_beta(a, b))

    return moment(1, 2) - moment(1 + num_rollouts, 2) - moment(1, 2 + num_rollouts)


def allocate(seen: Sequence[PassCount], total: int, low: int, high: int) -> list[int]:
    """Shares of `total` simulations, each in [low, high], that maximise the summed value; their sum is `total`.

    Equal gains go to whoever has less, then to the first. ConfigError where the bounds leave no solution.
    """
    if not low * len(seen) <= total <= high * len(seen):
        raise ConfigError(
            f"{total} simulations cannot be shared among {len(seen)} problems with at least {low} and at most {high} "
            "each (keys rollouts.num_simulations, min_simulations and max_simulations)."
        )
    shares = [low] * len(seen)
    if low == high:
        return shares
    waiting = [(-_gain(low, one), low, index) for index, one in enumerate(seen)]
    heapq.heapify(waiting)
    for _ in range(total - low * len(seen)):
        _, share, index = heapq.heappop(waiting)
        shares[index] = share + 1
        if share + 1 < high:
            heapq.heappush(waiting, (-_gain(share + 1, seen[index]), share + 1, index))
    return shares


def allocate_simulations(
    problem_ids: Sequence[str], seen: Mapping[str, PassCount], config: RolloutsConfig
) -> dict[str, int]:
    """Problem -> simulations of its tree, `num_simulations` on average.

    Equal where the configuration says uniform, and on the first night, when nothing has been seen. The order of the
    problems does not matter.
    """
    if config.allocation == "uniform" or not seen:
        return dict.fromkeys(problem_ids, config.num_simulations)
    ordered = sorted(problem_ids)
    shares = allocate(
        [seen.get(problem_id, PassCount()) for problem_id in ordered],
        config.num_simulations * len(ordered),
        config.min_simulations,
        config.max_simulations or MAX_FACTOR * config.num_simulations,
    )
    return dict(zip(ordered, shares, strict=True))


def unguided_problems(problem_ids: Iterable[str], night: str, share: float) -> frozenset[str]:
    """The problems that are searched without the critic: exactly `share` of them, rounded up.

    Drawn by a stable hash of night and id, so that every run of a night draws the same ones and every night others.
    """
    ids = sorted(set(problem_ids), key=lambda problem_id: (stable_digest("unguided", night, problem_id), problem_id))
    return frozenset(ids[: math.ceil(round(share * len(ids), 9))])


class TokenCounts(Protocol):
    """What a budget reads of a session's statistics."""

    answered_tokens: int  # prompt and completion, of all answers


@dataclass(frozen=True)
class TokenBudget:
    """Prompt and completion tokens of the answers that one run may be given; `limit` None is no limit.

    Answers that the response store replays count like all others: a run that was killed and begun anew ends where it
    would have ended undisturbed, and costs the engine the limit once and what was in flight when it was killed, not the
    limit once more per kill. What is under way when it is spent is finished, so a run exceeds it by the simulations in
    flight at most.
    """

    limit: int | None
    counts: TokenCounts

    def is_spent(self) -> bool:
        """Whether nothing more may begin."""
        return self.limit is not None and self.counts.answered_tokens >= self.limit


def never_spent() -> bool:
    """The budget of a run without a limit."""
    return False


class Admission:
    """Which of the drawn problems may begin: the first `target`, and the next one for each that ended without use.

    What begins is always a beginning of the draw, and which one depends on the outcomes alone, not on the order in
    which they came in: the shortest one with `target` useful problems.
    """

    def __init__(self, target: int, is_spent: IsSpentFn = never_spent) -> None:
        self._num_admitted = target
        self._is_spent = is_spent

    def may_start(self, index: int) -> bool:
        """Whether the problem at this place of the draw may begin now."""
        return index < self._num_admitted and not self._is_spent()

    def ended(self, is_useful: bool) -> None:
        """Note that a problem has ended; one without use is replaced."""
        self._num_admitted += not is_useful


@dataclass
class TreeStop:
    """Whether a tree ends before its simulations are used up; asked between simulations, it remembers why it did.

    reason: BUDGET_SPENT, SETTLED, or None while it goes on.
    """

    is_spent: IsSpentFn
    stop_when_settled: bool
    reason: str | None = None

    def __call__(self, tree: Tree) -> bool:
        if self.is_spent():
            self.reason = BUDGET_SPENT
        elif self.stop_when_settled and is_settled(tree):
            self.reason = SETTLED
        return self.reason is not None


def is_settled(tree: Tree) -> bool:
    """Whether more simulations would hardly change what the tree says of its problem.

    Of all nodes that graded completions have valued, Wilson's 95 % interval of the mean value lies wholly above 0.9 or
    wholly below 0.1; if all are right, or all are wrong, that takes 35 nodes. A node counts once, because completions
    from one step are alike. (Nodes of one subtree are too, so the interval is narrower than it should be.)
    """
    low, high = wilson_interval(tree.graded_value, tree.num_graded)
    return low > SETTLED_RATE or high < 1 - SETTLED_RATE


def wilson_interval(num_right: float, num_tried: int) -> tuple[float, float]:
    """Wilson's interval at 95 % of a success rate; (0, 1) when nothing was tried."""
    if num_tried == 0:
        return 0.0, 1.0
    rate, weight = num_right / num_tried, Z_95**2 / num_tried
    middle = (rate + weight / 2) / (1 + weight)
    half = Z_95 * math.sqrt(rate * (1 - rate) / num_tried + weight / (4 * num_tried)) / (1 + weight)
    return middle - half, middle + half


def _gain(num_rollouts: int, seen: PassCount) -> float:
    return expected_value(num_rollouts + 1, seen) - expected_value(num_rollouts, seen)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
