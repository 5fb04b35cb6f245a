"""Predicted costs: sums that can be checked by hand, and intervals that hold what they promise."""

import random
import tracemalloc

import pytest

from pipelines.estimate import NUM_DRAWS, StageCosts, UnitCost, estimate, tokens_per_s


def stage(costs: list[int], num_units: int, rate: float | None = 10.0) -> StageCosts:
    """Units with so many completion tokens, ten times as many prompt tokens, and two requests each."""
    return StageCosts("search", "problem", tuple(UnitCost(2, 10 * cost, cost) for cost in costs), num_units, rate)


def test_equal_units_give_an_exact_prediction():
    one, total = estimate([stage([36] * 4, 100)])
    for made in (one, total):
        assert (made.num_requests.mean, made.prompt_tokens.mean, made.completion_tokens.mean) == (200, 36_000, 3_600)
        assert (made.completion_tokens.low, made.completion_tokens.high) == (3_600, 3_600)
        assert made.hours.mean == made.hours.low == made.hours.high == pytest.approx(3600 / 10 / 3600)
    assert (one.num_units, one.num_measured) == (100, 4)


def test_stages_add_up_and_a_stage_without_units_costs_nothing():
    first, second, empty, total = estimate([stage([10, 30], 10), stage([5], 10), stage([], 0, None)])
    assert (first.completion_tokens.mean, second.completion_tokens.mean) == (200, 50)
    assert empty.completion_tokens.mean == empty.hours.mean == 0
    assert total.completion_tokens.mean == 250
    assert total.hours.mean == pytest.approx(25 / 3600)
    assert first.completion_tokens.low < 200 < first.completion_tokens.high


def test_a_pilot_that_is_the_whole_night_leaves_no_doubt():
    one, _ = estimate([stage([1, 100, 1000], 3)])
    assert (one.completion_tokens.low, one.completion_tokens.high) == (1101, 1101)


def test_units_that_were_not_measured_are_refused():
    with pytest.raises(ValueError, match="search: 5 units, and none of them was measured"):
        estimate([stage([], 5)])


def test_hours_are_unknown_where_one_rate_is():
    one, two, total = estimate([stage([1], 2), stage([1], 2, None)])
    assert one.hours is not None
    assert two.hours is None and total.hours is None


def test_a_rate_comes_from_new_answers_only_and_not_from_a_replay():
    assert tokens_per_s(100, 0, 4.0) == 25.0
    assert tokens_per_s(100, 20, 4.0) == 20.0
    assert tokens_per_s(100, 50, 4.0) is None
    assert tokens_per_s(0, 0, 4.0) is None


def test_the_same_seed_gives_the_same_intervals():
    stages = [stage([1, 5, 30, 2, 7, 9, 11, 13], 50)]
    assert estimate(stages, seed=1) == estimate(stages, seed=1) != estimate(stages, seed=2)


def test_the_memory_of_a_prediction_does_not_grow_with_draws_times_units():
    """1,500 units times 2,000 draws of 40 bytes each would be 114 MiB; a block of them is 10 MiB."""
    stages = [stage(list(range(1, 1501)), 3_000)]
    tracemalloc.start()
    made, _ = estimate(stages)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 << 20
    assert made.completion_tokens.low < made.completion_tokens.mean == 2_251_500 < made.completion_tokens.high


def test_nine_of_ten_nights_cost_what_the_interval_says():
    """400 nights of 64 skewed costs each, 16 of them measured; skew keeps the share a little below 90 %."""
    rng = random.Random(0)
    num_inside = 0
    for _ in range(400):
        night = [round(10 * rng.lognormvariate(2.0, 0.5)) for _ in range(64)]
        made, _ = estimate([stage(night[:16], 64)], seed=rng.randrange(10**6))
        num_inside += made.completion_tokens.low <= sum(night) <= made.completion_tokens.high
    assert 0.84 < num_inside / 400 < 0.96
    assert NUM_DRAWS >= 1000
