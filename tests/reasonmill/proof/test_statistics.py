"""Shares and intervals on problems that can be counted by hand."""

import numpy as np
import pytest

from reasonmill.proof.statistics import Share, interval, resamples, shares

BOTH = frozenset(["arithmetic", "dial"])


def measured(num_right: list[int], families: list[str] | None = None, **others: list) -> dict:
    """Four samples per problem."""
    count = len(num_right)
    return {
        "problem_ids": [str(i) for i in range(count)], "families": families or ["arithmetic"] * count,
        "greedy": [1.0] * count, "num_samples": [4] * count, "num_right": num_right, "num_steps": [10] * count,
        "num_flawed": [1] * count, "num_flawed_right": [0] * count, **others,
    }  # fmt: skip


def the_sample(num_problems: int) -> np.ndarray:
    return np.ones((1, num_problems))


def test_pass_at_1_is_the_mean_over_samples_and_pass_at_n_counts_problems_with_a_right_one() -> None:
    one = measured([4, 1, 0])
    assert shares([one], "pass1", BOTH, the_sample(3))[0] == pytest.approx(5 / 12)
    assert shares([one], "pass_n", BOTH, the_sample(3))[0] == pytest.approx(2 / 3)


def test_a_family_counts_only_its_own_problems() -> None:
    one = measured([4, 1, 0], ["arithmetic", "dial", "dial"])
    assert shares([one], "pass1", frozenset(["dial"]), the_sample(3))[0] == pytest.approx(1 / 8)


def test_the_share_of_flawed_answers_is_a_ratio_of_sums_and_not_a_mean_of_ratios() -> None:
    one = measured([4, 1], num_flawed_right=[0, 1])
    assert shares([one], "flawed_of_right", BOTH, the_sample(2))[0] == pytest.approx(1 / 5)  # not (0 + 1) / 2


def test_seeds_count_alike_and_a_seed_without_a_right_answer_has_no_share_of_flawed_ones() -> None:
    seeds = [measured([4, 0], num_flawed_right=[1, 0]), measured([0, 0])]
    assert shares(seeds, "pass1", BOTH, the_sample(2))[0] == pytest.approx((4 / 8 + 0) / 2)
    assert shares(seeds, "flawed_of_right", BOTH, the_sample(2))[0] == pytest.approx(1 / 4)
    assert interval(shares(seeds[1:], "flawed_of_right", BOTH, resamples(2, 100))) is None


def test_a_resample_draws_as_many_problems_as_there_are_and_the_first_is_the_sample_itself() -> None:
    draws = resamples(7, 50)
    assert draws.shape == (51, 7)
    assert draws[0].tolist() == [1] * 7
    assert draws.sum(axis=1).tolist() == [7] * 51


def test_the_interval_of_half_right_problems_is_that_of_a_binomial() -> None:
    # 100 problems, half of them right: standard error 0.05, so about 0.40 to 0.60
    found = interval(shares([measured([4, 0] * 50)], "pass1", BOTH, resamples(100, 4000)))
    assert found.value == 0.5
    assert found.low == pytest.approx(0.40, abs=0.015)
    assert found.high == pytest.approx(0.60, abs=0.015)


def test_equal_arms_differ_by_nothing_in_every_resample() -> None:
    draws = resamples(20, 200)
    one = shares([measured([4, 0] * 10)], "pass1", BOTH, draws)
    assert interval(one - one) == Share(0.0, 0.0, 0.0)
