"""Advantages, weights and shaped rewards of groups small enough for a pocket calculator."""

import math

import pytest
from curation_worlds import group, run_method

FOUR = group("a", 1, 0, 0, 0)


def column(made: list[dict], name: str) -> list[float | None]:
    return [row[name] for row in made]


def test_the_advantage_of_grpo_is_over_the_deviation_of_the_group():
    made = run_method("group_advantages", FOUR)  # mean .25, deviation sqrt(.75 / 3) = .5
    assert column(made, "advantage") == pytest.approx([1.5, -0.5, -0.5, -0.5], abs=1e-5)


def test_without_deviation_and_with_the_others_as_baseline():
    plain = run_method("group_advantages", FOUR, deviation="none")
    assert column(plain, "advantage") == [0.75, -0.25, -0.25, -0.25]
    others = run_method("group_advantages", FOUR, baseline="leave_one_out", deviation="none")
    assert column(others, "advantage") == pytest.approx([1.0, -1 / 3, -1 / 3, -1 / 3])
    raw = run_method("group_advantages", FOUR, baseline="none", deviation="none")
    assert column(raw, "advantage") == [1.0, 0.0, 0.0, 0.0]


def test_a_batch_is_the_whole_input():
    rows = [*group("a", 1, 0), *group("b", 1, 1)]  # mean .75, deviation sqrt(.75 / 3) = .5
    made = run_method("group_advantages", rows, baseline="batch", deviation="batch")
    assert column(made, "advantage") == pytest.approx([0.5, -1.5, 0.5, 0.5], abs=1e-5)
    lite = run_method("lite_ppo_advantages", rows)  # mean of the group, deviation of the batch
    assert column(lite, "advantage") == pytest.approx([1.0, -1.0, 0.0, 0.0], abs=1e-5)


def test_groups_of_one_or_without_contrast_have_no_advantage_and_ungraded_rows_none():
    rows = [*group("a", 1), *group("b", 0, 0), *group("c", 1, None, 0)]
    made = column(run_method("group_advantages", rows), "advantage")
    assert made[:3] == [0.0, 0.0, 0.0]
    assert made[3:] == pytest.approx([math.sqrt(0.5), None, -math.sqrt(0.5)], abs=1e-5)


def test_length_weights_are_inverse_lengths_that_sum_to_one():
    rows = [{"problem_id": "a", "num_tokens": length} for length in (1, 2, 4, None)]
    assert column(run_method("delta_l", rows), "length_weight") == pytest.approx([4 / 7, 2 / 7, 1 / 7, None])
    assert column(run_method("delta_l", rows, alpha=0.0), "length_weight") == pytest.approx([1 / 3] * 3 + [None])


def test_unlikely_right_answers_lose_less():
    # mean log-probabilities -1 -3 -2 -4: ranks 3 1 2 0 of 4; right ones 1 - .25 * 3/4 and 1 - .25 * 1/4
    rows = group("a", 1, 1, 0, 0, sum_logprob=[-2.0, -3.0, -4.0, -40.0], num_tokens=[2, 1, 2, 10])
    made = run_method("unlikeliness", rows)
    assert column(made, "rank") == [3, 1, 2, 0]
    assert column(made, "shaped_reward") == [0.8125, 0.9375, 0.0, 0.0]
    # mean .4375, deviation sqrt((.375^2 + .5^2 + 2 * .4375^2) / 3) = .50775
    assert column(made, "advantage")[:2] == pytest.approx([0.375 / 0.50775, 0.5 / 0.50775], abs=1e-4)


def test_what_has_no_log_probability_is_no_member_of_the_group():
    rows = group("a", 1, 1, 0, sum_logprob=[-2.0, None, -1.0], num_tokens=[2, 2, 1])
    made = run_method("unlikeliness", rows)
    assert column(made, "rank") == [0, None, 1]  # both -1: the smaller id first
    assert column(made, "shaped_reward") == [1.0, None, 0.0]


def test_copo_blends_by_the_entropy_of_the_answers():
    rows = [*group("a", 1, 1, 0, 0, answer=["x", "x", "y", "y"]), *group("b", 0, 0, answer=["z", "z"])]
    made = run_method("copo", rows, gamma=1.0, rho=math.log(2))
    assert column(made, "consistency_entropy") == pytest.approx([math.log(2)] * 4 + [0.0] * 2)
    assert column(made, "local_weight") == pytest.approx([0.5] * 4 + [1 / 3] * 2)  # 1 / (1 + 2)
    assert column(made, "local_advantage") == pytest.approx(
        [math.sqrt(0.75)] * 2 + [-math.sqrt(0.75)] * 2 + [0.0] * 2, abs=1e-5
    )
    # means .5 and 0: mean .25, deviation .35355
    assert column(made, "global_advantage") == pytest.approx([math.sqrt(0.5)] * 4 + [-math.sqrt(0.5)] * 2, abs=1e-5)


def test_samples_without_an_answer_are_one_answer_and_ungraded_ones_none():
    rows = group("a", 1, 0, 0, None, answer=["x", None, None, "y"])
    made = run_method("copo", rows)
    third = -(math.log(1 / 3) / 3 + 2 * math.log(2 / 3) / 3)
    assert column(made, "consistency_entropy") == pytest.approx([third] * 3 + [None])


def test_the_blended_reward_adds_the_mean_step_score():
    rows = group("a", 1, 0, 1, None, 1, 1, step_values=[[0.5, 0.5], [0.25], [], [1.0], None, [float("nan")]])
    made = column(run_method("blend", rows), "blended_reward")
    assert made == pytest.approx([1.4, 0.2, 1.0, None, None, None])


@pytest.mark.parametrize(
    "name", ["group_advantages", "lite_ppo_advantages", "delta_l", "unlikeliness", "copo", "blend"]
)
def test_no_rows_make_no_rows(name):
    assert run_method(name, []) == []
