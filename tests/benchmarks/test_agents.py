import numpy as np
import pytest

from tests.benchmarks.agents import (
    World,
    as_markdown,
    chosen_on_others,
    f1_of,
    measured,
    results_of,
    together,
    votes_on,
)
from tests.benchmarks.test_judges import folder

__all__ = ["folder"]


def test_f1_and_choice_follow_the_counts():
    # wrong, located, right, accepted, steps, hits
    assert f1_of(np.array([4, 2, 4, 4, 9, 9])) == pytest.approx(2 * 0.5 / 1.5)
    good, bad = np.array([1, 1, 1, 1, 2, 2]), np.array([1, 0, 1, 1, 2, 1])
    options = np.array([[good, bad, bad], [bad, good, good]], dtype=float)
    # of the queries 1 and 2 option 1 is better; without 1 or 2 both are equal, and the preferred one is taken
    assert chosen_on_others(options, [0, 1]).tolist() == [bad.tolist(), bad.tolist(), bad.tolist()]
    assert chosen_on_others(options, [1, 0]).tolist() == [bad.tolist(), good.tolist(), good.tolist()]


def test_the_aggregate_is_the_meta_judge_over_those_who_read():
    judged = {"a": {"r": [1.0, 0.0, 1.0]}, "b": {"r": [0.0, 0.0, 1.0]}, "c": {}}
    votes = votes_on("r", judged)
    assert together(votes, 0.5).first_error == 1  # step 0: 1 of 2, step 1: 2 of 2
    assert together(votes, 0.4).first_error == 0
    assert together(votes, 0.5).is_wrong == (False, True, False)
    assert together([], 0.5).is_wrong is None


def test_subsets_are_measured_by_themselves(folder):
    results = {(one.subset, one.who): one for one in measured(folder)}
    exact = results["tau2", "single judge, best in hindsight (exact)"]
    assert (exact.f1, exact.f1_low, exact.step_accuracy) == (1.0, 1.0, 1.0)
    # exact finds all, hasty accepts both right rollouts only, silent reads nothing
    mean = results["tau2", "single judge, mean"]
    assert (mean.f1, mean.f1_gain) == (pytest.approx(1 / 3), None)
    # steps of r0: 1, -1, -1, of r1 two; hasty says -1, 1, 1: none of r0's, both of r1's
    assert mean.step_accuracy == pytest.approx((1 + 2 / 5 + 0) / 3)
    assert results["tau2", "single judge, chosen on other queries"].f1 == 1.0
    assert exact.f1_gain == pytest.approx(2 / 3)
    assert len(results) == 15
    assert "| single judge, mean | 0.333 (0.333 to 0.333) | – |" in "\n".join(as_markdown(list(results.values())))


def test_a_world_of_one_good_judge_has_no_gain_over_itself():
    counts = np.array([[[1, 1, 1, 1, 4, 4]] * 3], dtype=float)
    world = World("s", ("a",), counts, np.repeat(counts, 19, axis=0), counts[0])
    assert {gain for one in results_of(world) for gain in (one.f1_gain, one.f1_over_best)} == {0.0, None}
