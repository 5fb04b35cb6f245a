import math
from dataclasses import replace

import pytest

from tests.benchmarks.heads import POLICY, Sample, as_markdown, logprob_scores, measured


def make_sample(problem_id, is_right, outcome):
    return Sample(problem_id, ("x",) * len(is_right), tuple(is_right), outcome, (0.5,) * len(is_right))


# in every problem one sample that goes wrong at its second step, and a right one
SAMPLES = [
    sample
    for i in range(40)
    for sample in (make_sample(f"p{i}", [True, False], 0.0), make_sample(f"p{i}", [True, True], 1.0))
]
PERFECT = [[0.9, 0.1], [0.9, 0.9]] * 40
BLIND = [[0.5, 0.5]] * 80


def test_the_policys_score_of_a_step_is_the_mean_probability_of_its_tokens():
    logprobs = [math.log(0.5), math.log(0.5), math.log(0.25), math.log(1.0)]
    assert logprob_scores(logprobs, [2, 4]) == pytest.approx([0.5, 0.5])
    assert logprob_scores(logprobs, [4, 4])[1] == 0.0


def test_a_perfect_critic_beats_a_blind_one_with_an_interval_above_zero():
    row = measured("head", SAMPLES, [PERFECT, PERFECT], [BLIND], "min")
    assert row.intervals == dict.fromkeys(("f1", "within_auroc", "best_of_n", "gap_closed"), (1.0, 1.0, 1.0))
    assert row.differences["within_auroc"] == (0.5, 0.5, 0.5)
    assert row.differences["best_of_n"] == (0.5, 0.5, 0.5)  # of ties each counts alike
    assert row.differences["f1"] == (1.0, 1.0, 1.0)
    assert row.step_auroc == 1.0


def test_the_policys_own_row_differs_from_itself_by_nothing():
    row = measured(POLICY, SAMPLES, [BLIND], [BLIND], "min")
    assert set(row.differences.values()) == {(0.0, 0.0, 0.0)}


def test_the_gap_closed_is_measured_from_the_best_baseline_to_the_oracle():
    greedy = [replace(sample, greedy_outcome=float(i < 20)) for i, sample in enumerate(SAMPLES)]  # 10 of 40 problems
    blind = measured("head", greedy, [BLIND], [BLIND], "min")  # .5; greedy .25, oracle 1
    assert blind.intervals["gap_closed"][0] == pytest.approx((0.5 - 0.25) / (1 - 0.25))


def test_every_setting_has_a_table_with_a_line_per_critic():
    rows = [vars(measured(name, SAMPLES, [PERFECT], [BLIND], "min")) for name in (POLICY, "head bce")]
    setting = {"num_samples": 80, "num_problems": 40, "mean_outcome": 0.5, "greedy": 0.4, "majority": 0.3,
               "flawed_in_right": None, "pass_at_n": 1.0, "rows": rows}  # fmt: skip
    result = {"date": "d", "machine": "m", "command": "c", "num_seeds": 1, "aggregate": "min",
              "settings": [{"name": "trained level", **setting}, {"name": "harder level", **setting}]}  # fmt: skip
    lines = as_markdown(result)
    assert [line for line in lines if line.startswith("## ")] == ["## trained level", "## harder level"]
    assert [line.split(" | ")[0] for line in lines[-2:]] == ["| policy log-probability", "| head bce"]
