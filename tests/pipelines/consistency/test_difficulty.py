"""Budgets, filters and curricula from how often problems were solved."""

import pytest
from curation_worlds import reasons, run_method

from pipelines.errors import ConfigError, ReasonmillError


def counts(**given: tuple[int, int]) -> list[dict]:
    return [{"problem_id": name, "num_right": right, "num_tried": tried} for name, (right, tried) in given.items()]


def test_a_problem_never_tried_gets_the_rollouts_that_a_solved_one_does_not_need():
    made = run_method("knapsack", counts(solved=(100, 100), new=(0, 0)), total=6, max_rollouts=4)
    assert [row["num_rollouts"] for row in made] == [2, 4]
    # new, N = 4: E[p q^2] - E[p^5 q^2] - E[p q^6] = 1/12 - 5! 2!/8! - 1! 6!/8! = 5/84
    assert made[1]["expected_value"] == pytest.approx(5 / 84)


def test_two_rollouts_of_a_problem_never_tried_are_worth_a_thirtieth():
    (row,) = run_method("knapsack", counts(new=(0, 0)), total=2)
    assert row == {"num_rollouts": 2, "expected_value": pytest.approx(1 / 30)}  # 1/12 - 1/60 - 1/30


def test_the_budget_is_spent_exactly_and_the_order_of_rows_decides_nothing():
    rows = counts(a=(0, 8), b=(1, 8), c=(4, 8), d=(8, 8))
    made = [row["num_rollouts"] for row in run_method("knapsack", rows)]
    assert sum(made) == 32 and min(made) >= 2
    assert made[1] > made[3]  # seldom solved teaches more than always solved
    assert [row["num_rollouts"] for row in run_method("knapsack", rows[::-1])] == made[::-1]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (counts(a=(3, 2)), "row 1, problem a: 3 right of 2 tried"),
        (counts(a=(-1, 2)), "-1 right of 2 tried"),
        ([*counts(a=(1, 2)), *counts(a=(1, 2))], "row 2, problem a: the problem stands in an earlier row"),
    ],
)
def test_counts_that_cannot_be_are_named(rows, message):
    with pytest.raises(ReasonmillError, match=message):
        run_method("knapsack", rows)


def test_bounds_that_leave_no_solution_are_named():
    with pytest.raises(ConfigError, match="1 simulations cannot be shared among 1 problems with at least 2"):
        run_method("knapsack", counts(a=(1, 2)), total=1)
    assert run_method("knapsack", []) == []


def test_only_problems_that_are_surely_too_easy_or_too_hard_go():
    rows = counts(few=(0, 8), many=(0, 100), easy=(100, 100), some=(8, 8), new=(0, 0))
    made = run_method("difficulty", rows)
    assert reasons(made) == [None, "too_hard", "too_easy", None, None]
    # of 0 of n, Wilson's interval reaches w / (1 + w) with w = 3.8415 / n: .3244 for 8, .0370 for 100
    assert [row["high"] for row in made[:2]] == pytest.approx([0.3244, 0.0370], abs=1e-4)
    assert [row["score"] for row in made] == [0.0, 0.0, 1.0, 1.0, None]


def test_the_curriculum_goes_from_easy_to_hard_and_leaves_out_what_is_done():
    rows = counts(b=(0, 8), c=(4, 8), d=(0, 0), a=(8, 8), e=(8, 8))
    rows[4]["is_done"] = True
    made = run_method("adcl", rows, num_batches=2)
    assert [row["difficulty"] for row in made] == [1.0, 0.5, None, 0.0, 0.0]
    assert [row["batch"] for row in made] == [2, 1, 2, 1, None]
