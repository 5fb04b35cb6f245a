"""Length-controlled win rates, on comparisons whose regression can be solved by hand."""

import math

import pytest
from mined import applied


def compared(num_first: int, num_second: int, first: str, second: str, **more: object) -> list[dict]:
    """So many comparisons won by the first and by the second."""
    row = {"first": first, "second": second, "first_policy": "a", "second_policy": "b"} | more
    return [row | {"preference": 1.0}] * num_first + [row | {"preference": 0.0}] * num_second


def logit(rate: float) -> float:
    return math.log(rate / (1 - rate))


def test_the_controlled_rate_is_what_is_left_without_the_term_of_length():
    """Ten comparisons with d = +4 (8 won) and ten with d = -4 (4 won): sd = 4, tanh(1) = t. The two groups fix both
    coefficients: theta + phi t = logit 0.8, theta - phi t = logit 0.4. Raw 0.6; controlled sigma of the mean logit.
    """
    rows = compared(8, 2, "long....", "tiny") + compared(4, 6, "tiny", "long....")
    (row,) = applied("length_controlled_rates", rows, ridge=1e-9)
    theta = (logit(0.8) + logit(0.4)) / 2
    assert (row["num_comparisons"], row["win_rate"], row["first_longer_share"]) == (20, 0.6, 0.5)
    assert row["controlled_rate"] == pytest.approx(1 / (1 + math.exp(-theta)))
    assert row["length_effect"] == pytest.approx((logit(0.8) - logit(0.4)) / 2 / math.tanh(1))


def test_a_model_that_wins_by_length_alone_is_as_good_as_the_other():
    """d = +4 won 9 of 10, d = -4 won 1 of 10, thirty and ten of them: raw 0.7, controlled 0.5 (theta = 0)."""
    rows = compared(27, 3, "long....", "tiny") + compared(1, 9, "tiny", "long....")
    (row,) = applied("length_controlled_rates", rows, ridge=1e-9)
    assert row["win_rate"] == 0.7
    assert row["controlled_rate"] == pytest.approx(0.5)


def test_without_differences_of_length_both_rates_agree_and_ties_count_half():
    rows = compared(2, 1, "same", "size") + [compared(1, 0, "same", "size")[0] | {"preference": 0.5}]
    (row,) = applied("length_controlled_rates", rows, ridge=1e-9)
    assert (row["win_rate"], row["length_effect"]) == (0.625, 0.0)
    assert row["controlled_rate"] == pytest.approx(0.625)


def test_difficulty_takes_part_where_it_is_known():
    """Hard ones (+1) won 3 of 4, easy ones (-1) 1 of 4: psi = logit 0.75, theta = 0; the mean of both is 0.5."""
    rows = compared(3, 1, "same", "size", difficulty=1.0) + compared(1, 3, "same", "size", difficulty=-1.0)
    (row,) = applied("length_controlled_rates", rows, ridge=1e-9)
    assert row["controlled_rate"] == pytest.approx(0.5)


def test_a_side_that_always_wins_has_a_rate_below_one():
    (row,) = applied("length_controlled_rates", compared(5, 0, "long....", "tiny") + compared(5, 0, "tiny", "long...."))
    assert row["win_rate"] == 1.0
    assert 0.99 < row["controlled_rate"] < 1.0


def test_comparisons_without_a_number_or_a_policy_are_left_out():
    broken = [compared(1, 0, "x", "y")[0] | change for change in (
        {"preference": None}, {"preference": float("nan")}, {"preference": 2.0}, {"first_policy": None},
    )]  # fmt: skip
    assert applied("length_controlled_rates", broken) == applied("length_controlled_rates", []) == []
