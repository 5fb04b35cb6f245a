"""Allocation of simulations by hand-made numbers, what a token budget admits, and when a tree is settled."""

import random
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipelines.budget import (
    Admission,
    PassCount,
    TokenBudget,
    TreeStop,
    allocate,
    allocate_simulations,
    expected_value,
    is_settled,
    never_spent,
    unguided_problems,
    wilson_interval,
)
from pipelines.config import RolloutsConfig
from pipelines.errors import ConfigError
from pipelines.search.tree import ROOT, Tree
from pipelines.search.types import Candidate, Evaluation

NEVER_TRIED = PassCount()


def knapsack(**changes) -> RolloutsConfig:
    return RolloutsConfig(**({"allocation": "knapsack", "num_simulations": 8} | changes))


def test_one_rollout_never_shows_both_outcomes_and_two_do_for_one_in_thirty_of_the_value():
    assert expected_value(1, NEVER_TRIED) == pytest.approx(0.0, abs=1e-12)
    # E[p q^2 * 2 p q] = 2 E[p^2 q^3] = 2 * 2! 3! / 6! = 1/30 for p uniform in [0, 1]
    assert expected_value(2, NEVER_TRIED) == pytest.approx(1 / 30)
    # Beta(2, 1) after one success: 2 E[p^2 q^3] = 2 * B(4, 4) / B(2, 1) = 2 * (3! 3! / 7!) * 2 = 1/35
    assert expected_value(2, PassCount(1, 1)) == pytest.approx(1 / 35)


def test_the_gains_of_one_problem_fall():
    for seen in (NEVER_TRIED, PassCount(8, 8), PassCount(0, 8), PassCount(500, 1000)):
        values = [expected_value(n, seen) for n in range(1, 200)]
        gains = [after - before for before, after in zip(values, values[1:], strict=False)]
        assert all(first >= second - 1e-12 for first, second in zip(gains, gains[1:], strict=False))


def test_the_solved_gets_the_least_the_promising_most_and_the_unknown_is_not_written_off():
    solved, promising, unknown, hopeless = PassCount(64, 64), PassCount(3, 16), NEVER_TRIED, PassCount(0, 1000)
    shares = allocate([solved, promising, unknown, hopeless], total=32, low=2, high=32)
    assert shares[0] == 2
    assert shares[3] == 2
    assert shares[1] > shares[2] > 2
    assert sum(shares) == 32


def test_a_problem_that_failed_eight_times_is_still_worth_more_than_one_solved_eight_times():
    assert allocate([PassCount(0, 8), PassCount(8, 8)], total=16, low=2, high=16) == [12, 4]


def test_equal_problems_get_equal_shares_and_the_first_ones_what_is_left_over():
    assert allocate([NEVER_TRIED] * 4, total=10, low=1, high=10) == [3, 3, 2, 2]


def test_the_upper_bound_sends_the_rest_to_the_others():
    assert allocate([PassCount(3, 16), PassCount(64, 64)], total=16, low=2, high=9) == [9, 7]


def test_bounds_that_cannot_be_kept_are_refused_with_the_numbers():
    with pytest.raises(ConfigError, match="10 simulations cannot be shared among 2 problems with at least 6"):
        allocate([NEVER_TRIED] * 2, total=10, low=6, high=20)
    assert allocate([], total=0, low=1, high=2) == []


counts = st.integers(0, 40).flatmap(lambda tried: st.builds(PassCount, st.integers(0, tried), st.just(tried)))


@st.composite
def worlds(draw):
    seen = draw(st.lists(counts, min_size=1, max_size=12))
    low = draw(st.integers(1, 4))
    high = draw(st.integers(low, 40))
    return seen, draw(st.integers(low * len(seen), high * len(seen))), low, high


@given(worlds())
def test_every_simulation_is_given_once_and_every_share_is_within_its_bounds(world):
    seen, total, low, high = world
    shares = allocate(seen, total, low, high)
    assert sum(shares) == total
    assert all(low <= share <= high for share in shares)


@given(worlds())
def test_more_simulations_take_none_away_from_anybody(world):
    seen, total, low, high = world
    if total < high * len(seen):
        assert all(
            fewer <= more
            for fewer, more in zip(allocate(seen, total, low, high), allocate(seen, total + 1, low, high), strict=True)
        )


@given(st.integers(1, 40), st.integers(0, 20), st.integers(4, 60))
def test_of_two_problems_as_far_from_half_the_harder_one_gets_no_less(num_tried, num_right, total):
    easy = max(num_right, num_tried - num_right) if num_right <= num_tried else num_tried
    shares = allocate([PassCount(num_tried - easy, num_tried), PassCount(easy, num_tried)], total, 1, total)
    assert shares[0] >= shares[1]


@given(worlds())
def test_no_move_of_one_simulation_would_be_worth_more(world):
    seen, total, low, high = world
    shares = allocate(seen, total, low, high)
    gains = [expected_value(n + 1, one) - expected_value(n, one) for n, one in zip(shares, seen, strict=True)]
    losses = [expected_value(n, one) - expected_value(n - 1, one) for n, one in zip(shares, seen, strict=True)]
    best_gain = max((gain for gain, share in zip(gains, shares, strict=True) if share < high), default=0.0)
    least_loss = min((loss for loss, share in zip(losses, shares, strict=True) if share > low), default=1.0)
    assert best_gain <= least_loss + 1e-9


def test_without_history_and_without_the_knapsack_all_trees_are_equal():
    seen = {"a": PassCount(3, 16)}
    assert allocate_simulations(["a", "b"], seen, RolloutsConfig(num_simulations=5)) == {"a": 5, "b": 5}
    assert allocate_simulations(["a", "b"], {}, knapsack()) == {"a": 8, "b": 8}


def test_the_order_of_the_problems_does_not_change_their_shares():
    seen = {"a": PassCount(3, 16), "c": PassCount(16, 16), "d": PassCount(0, 16)}
    ids = list("abcdefg")
    shuffled = random.Random(0).sample(ids, len(ids))
    shares = allocate_simulations(ids, seen, knapsack())
    assert shares == allocate_simulations(shuffled, seen, knapsack())
    assert sum(shares.values()) == 7 * 8
    assert max(shares.values()) <= 32


def test_bounds_that_exclude_the_average_are_refused_by_the_configuration():
    with pytest.raises(ValidationError, match="these are 9, 8 and None"):
        knapsack(min_simulations=9)
    with pytest.raises(ValidationError, match="these are 2, 8 and 7"):
        knapsack(max_simulations=7)
    assert RolloutsConfig(num_simulations=1).min_simulations == 2  # not used by "uniform"


# the unguided share -----------------------------------------------------------------------------


def test_the_unguided_share_is_exact_rounded_up_and_the_same_in_any_order():
    ids = [f"p{index}" for index in range(30)]
    chosen = unguided_problems(ids, "2026-01-02", 0.1)
    assert len(chosen) == 3
    assert unguided_problems(reversed(ids), "2026-01-02", 0.1) == chosen
    assert unguided_problems(ids, "2026-01-03", 0.1) != chosen
    assert [len(unguided_problems(ids[:n], "2026-01-02", 0.1)) for n in (0, 1, 10, 11)] == [0, 1, 1, 2]
    assert unguided_problems(ids, "2026-01-02", 0.0) == frozenset()
    assert unguided_problems(ids, "2026-01-02", 1.0) == frozenset(ids)


# admission --------------------------------------------------------------------------------------


@dataclass
class Counts:
    answered_tokens: int


def test_a_token_budget_counts_prompts_and_completions_and_none_is_no_limit():
    assert not TokenBudget(10, Counts(9)).is_spent()
    assert TokenBudget(10, Counts(10)).is_spent()
    assert not TokenBudget(None, Counts(10**12)).is_spent()


def test_every_problem_without_use_admits_one_more():
    admission = Admission(2)
    assert [admission.may_start(index) for index in range(4)] == [True, True, False, False]
    admission.ended(is_useful=False)
    admission.ended(is_useful=True)
    assert [admission.may_start(index) for index in range(4)] == [True, True, True, False]


def test_a_spent_budget_admits_nothing():
    assert not Admission(2, lambda: True).may_start(0)


# settled trees ----------------------------------------------------------------------------------


def test_a_tree_counts_its_graded_nodes_as_they_are_valued():
    """Two graded (1 and 0.5), one by a critic, and one of them graded again: 0 instead of 1."""
    tree = tree_with((1.0, 1), (0.5, 4), (0.9, 0))
    assert (tree.num_graded, tree.graded_value) == (2, 1.5)
    tree.record_evaluation(1, Evaluation(0.0, num_samples=2))
    tree.count_sample(1)
    assert (tree.num_graded, tree.graded_value) == (2, 0.5)
    tree.record_evaluation(2, Evaluation(0.5, num_samples=0))
    assert (tree.num_graded, tree.graded_value) == (1, 0.0)


def tree_with(*evaluations: tuple[float, int]) -> Tree:
    """A root whose children were valued so, as (value, graded completions)."""
    tree = Tree("t", {"problem_id": "p"})
    children = tree.add_children(
        ROOT, [Candidate(str(i), (i,), -1.0, 1.0, False, "r") for i in range(len(evaluations))]
    )
    for child, (value, num_samples) in zip(children, evaluations, strict=True):
        tree.record_evaluation(child, Evaluation(value, num_samples=num_samples))
    return tree


def test_wilsons_interval_of_all_right_is_n_over_n_plus_z_squared():
    low, high = wilson_interval(35, 35)
    assert low == pytest.approx(35 / (35 + 1.959964**2))
    assert high == pytest.approx(1.0)
    assert wilson_interval(0, 0) == (0.0, 1.0)
    low, high = wilson_interval(5, 10)
    assert (low, high) == (pytest.approx(0.2366, abs=1e-4), pytest.approx(0.7634, abs=1e-4))


@pytest.mark.parametrize(
    ("evaluations", "expected"),
    [
        ([(1.0, 4)] * 34, False),
        ([(1.0, 4)] * 35, True),
        ([(0.0, 4)] * 35, True),
        ([(1.0, 400)], False),  # completions from one step count once
        ([(1.0, 4)] * 30 + [(0.0, 4)] * 5, False),
        ([(1.0, 0)] * 40, False),  # a critic's estimates are no completions
        ([], False),
    ],
)
def test_a_tree_is_settled_by_thirty_five_equal_nodes_and_not_by_estimates(evaluations, expected):
    assert is_settled(tree_with(*evaluations)) is expected


def test_a_stop_remembers_its_reason_and_only_asks_for_settled_trees_where_that_is_wanted():
    settled = tree_with(*[(1.0, 1)] * 35)
    stop = TreeStop(never_spent, stop_when_settled=True)
    assert (stop(settled), stop.reason) == (True, "settled")
    assert not TreeStop(never_spent, stop_when_settled=False)(settled)
    spent = TreeStop(lambda: True, stop_when_settled=True)
    assert (spent(settled), spent.reason) == (True, "budget_spent")
