"""What is far enough from usual to be an alarm."""

import pytest

from pipelines.config import NightReportConfig
from pipelines.night_report.alarms import find_alarms

CONFIG = NightReportConfig(
    alarm_nights=3, max_diversity_drop=0.5, max_yield_drop=0.5, max_judge_drift=0.1, max_length_growth=0.25
)


def names(tonight: dict, before: list[dict]) -> list[tuple[str, str]]:
    return [(alarm.name, alarm.metric) for alarm in find_alarms(tonight, before, CONFIG)]


def test_nothing_is_alarmed_on_the_first_night_or_of_numbers_that_are_not_known():
    assert names({"distinct_solution_share": 0.01, "length_p50": 900.0}, []) == []
    assert names({}, [{"distinct_solution_share": 0.5}]) == []
    assert names({"distinct_solution_share": 0.01}, [{}]) == []


def test_diversity_collapses_below_half_of_what_is_usual_and_not_at_it():
    # the median of .2, .8 and .4 is .4, half of it .2
    before = [{"distinct_solution_share": value} for value in (0.2, 0.8, 0.4)]
    assert names({"distinct_solution_share": 0.2}, before) == []
    assert names({"distinct_solution_share": 0.19}, before) == [("diversity_collapse", "distinct_solution_share")]


def test_only_the_latest_nights_say_what_is_usual():
    # with the first night the median would be .4 and .2 no alarm; the last three have .8
    before = [{"distinct_solution_share": value} for value in (0.01, 0.01, 0.01, 0.8, 0.8, 0.8)]
    assert names({"distinct_solution_share": 0.39}, before) == [("diversity_collapse", "distinct_solution_share")]


def test_a_filter_that_keeps_less_than_half_of_usual_is_named_and_a_new_filter_is_not():
    before = [{"yield_prof": 0.5}]
    assert names({"yield_prof": 0.24, "yield_new": 0.01}, before) == [("yield_drop", "yield_prof")]
    assert names({"yield_prof": 0.25}, before) == []


def test_twice_the_tokens_per_row_is_half_the_yield():
    before = [{"tokens_per_kept_row": 100.0}]
    assert names({"tokens_per_kept_row": 200.0}, before) == []
    assert names({"tokens_per_kept_row": 201.0}, before) == [("yield_drop", "tokens_per_kept_row")]


@pytest.mark.parametrize(("value", "limit"), [(0.16, 0.15), (-0.06, -0.05)])
def test_judges_drift_both_ways_and_the_limit_is_the_nearer_end(value, limit):
    (alarm,) = find_alarms({"judge_bias": value}, [{"judge_bias": 0.05}], CONFIG)
    assert (alarm.name, alarm.usual, alarm.limit) == ("judge_drift", 0.05, pytest.approx(limit))
    assert names({"judge_bias": 0.15}, [{"judge_bias": 0.05}]) == []


def test_judges_that_say_right_more_often_of_a_better_policy_are_no_alarm():
    before = {"judge_right_share": 0.390, "judge_bias": 0.390 - 0.467}
    assert names({"judge_right_share": 0.537, "judge_bias": 0.537 - 0.569}, [before]) == []


def test_rollouts_grow_by_more_than_a_quarter():
    before = [{"length_p50": 40.0, "length_p95": 80.0}]
    assert names({"length_p50": 50.0, "length_p95": 100.0}, before) == []
    assert names({"length_p50": 51.0, "length_p95": 101.0}, before) == [
        ("length_growth", "length_p50"), ("length_growth", "length_p95"),
    ]  # fmt: skip


def test_an_alarm_says_its_numbers():
    (alarm,) = find_alarms({"length_p50": 60.0}, [{"length_p50": 40.0}], CONFIG)
    assert alarm.text == "length growth: length_p50 is 60, usually 40, limit 50"
