"""Tables, aims and curves of made-up cells of four problems, two of a family, with two samples each."""

from dataclasses import replace

import pytest

from reasonmill.proof.chart import Line, axis_range, chart, legend_places, ticks
from reasonmill.proof.plan import BASE, BY_DIFFICULTY, FILTERED, REJECTION_SAMPLING, Cell, Plan
from reasonmill.proof.report import as_html, as_markdown, difference, found_aims, report_rows
from reasonmill.proof.statistics import Share

PLAN = Plan(num_seeds=2, num_nights=1, num_bootstrap=200, num_evaluation_problems=4, num_evaluation_samples=2)


def result(num_right: list[int], **others: list) -> dict:
    """Problems a and b are arithmetic, c and d dials; greedy is right where both samples are."""
    measurement = {
        "problem_ids": ["a", "b", "c", "d"], "families": ["arithmetic", "arithmetic", "dial", "dial"],
        "greedy": [float(count == 2) for count in num_right], "num_samples": [2] * 4, "num_right": num_right,
        "num_steps": [6] * 4, "num_flawed": [0] * 4, "num_flawed_right": [0] * 4, "num_tokens": [40] * 4,
        "verdict_auroc": 0.9,
    }  # fmt: skip
    return {"measurement": measurement | others, "seconds": {"train": 1.0, "measure": 2.0, "pool": 3.0}}


RESULTS = {
    Cell(BASE, 0, 0): result([1, 0, 1, 1]),
    Cell(BASE, 1, 0): result([1, 0, 0, 0]),
    Cell(FILTERED, 0, 1): result([2, 2, 2, 1]),
    Cell(REJECTION_SAMPLING, 0, 1): result([2, 1, 1, 1], num_flawed=[0, 0, 3, 3], num_flawed_right=[0, 0, 1, 0]),
}


def test_a_row_is_the_mean_over_the_seeds_that_finished() -> None:
    rows = {(row.arm, row.family, row.measure): row for row in report_rows(PLAN, RESULTS)}
    untrained = rows[BASE, "all", "pass1"]
    assert (untrained.num_seeds, untrained.share.value) == (2, pytest.approx((3 / 8 + 1 / 8) / 2))
    assert rows[FILTERED, "dial", "pass1"].share.value == pytest.approx(3 / 4)
    assert rows[REJECTION_SAMPLING, "dial", "flawed_of_right"].share.value == pytest.approx(1 / 2)
    assert rows[REJECTION_SAMPLING, "dial", "flawed_steps"].share.value == pytest.approx(6 / 12)


def test_a_difference_is_taken_over_the_seeds_that_both_have() -> None:
    # only seed 0 has both: 7/8 of the samples against 3/8
    gained = difference(PLAN, RESULTS, (FILTERED, 1), (BASE, 0), "pass1", "all")
    assert gained.value == pytest.approx(7 / 8 - 3 / 8)
    assert gained.low <= gained.value <= gained.high
    assert difference(PLAN, RESULTS, (FILTERED, 2), (BASE, 0), "pass1", "all") is None
    assert difference(PLAN, RESULTS, (FILTERED, 1), (BASE, 0), "pass1", "countdown") is None


def test_the_aims_are_told_beside_what_was_found_and_what_was_not_measured_is_said() -> None:
    aims = {aim.text: aim for aim in found_aims(PLAN, RESULTS)}
    arithmetic = aims["pass@1, arithmetic: filtered after night 1 against untrained"]
    assert (arithmetic.wanted, arithmetic.found.value) == (15.0, pytest.approx(3 / 4))
    assert aims["pass@1, countdown: filtered after night 1 against untrained"].found is None
    rival = aims["pass@1, dial: filtered against rejection sampling, night 1"]
    assert (rival.wanted, rival.found.value) == (3.0, pytest.approx(1 / 4))
    text = as_markdown(PLAN, RESULTS, report_rows(PLAN, RESULTS), list(aims.values()))
    assert "4 of 8 cells finished" in text
    assert "| not measured yet |" in text


def test_other_arms_of_the_loop_have_the_same_aims() -> None:
    plan = replace(PLAN, arms=(*PLAN.arms, BY_DIFFICULTY))
    found = RESULTS | {Cell(BY_DIFFICULTY, 0, 1): result([2, 1, 1, 1])}
    aims = {aim.text: aim for aim in found_aims(plan, found)}
    gained = aims["pass@1, arithmetic: by difficulty after night 1 against untrained"]
    assert (gained.wanted, gained.found.value) == (15.0, pytest.approx(1 / 2))
    assert "| by difficulty | 1 | 1 |" in as_markdown(plan, found, report_rows(plan, found), list(aims.values()))
    assert not any("by difficulty" in aim.text for aim in found_aims(PLAN, RESULTS))


def test_without_a_cell_the_report_says_so() -> None:
    assert report_rows(PLAN, {}) == []
    assert all(aim.found is None for aim in found_aims(PLAN, {}))
    assert "0 of 8 cells finished" in as_html(PLAN, {}, [], found_aims(PLAN, {}))


def test_an_axis_ends_at_whole_tens_round_all_intervals() -> None:
    assert axis_range([Share(0.5, 0.44, 0.56), Share(0.7, 0.66, 0.74)]) == (40.0, 80.0)
    assert axis_range([Share(1.0, 1.0, 1.0)]) == (90.0, 100.0)
    assert axis_range([]) == (0.0, 100.0)
    assert ticks(40.0, 80.0) == [40.0, 50.0, 60.0, 70.0, 80.0]
    assert ticks(0.0, 100.0) == [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]


def test_a_legend_goes_on_in_a_new_row_where_the_width_is_used_up() -> None:
    places = legend_places(["filtered", "rejection sampling", "random, same size", "by difficulty"])
    assert [row for _, row in places] == [0, 0, 0, 1]
    assert places[0][0] == places[3][0] < places[1][0] < places[2][0]
    (only,) = legend_places(["a name that is wider than the whole picture, which has to stand somewhere all the same"])
    assert only == places[0]


def test_a_chart_draws_a_point_per_night_and_escapes_its_names() -> None:
    half = Share(0.5, 0.4, 0.6)
    picture = chart("a < b", [Line("x & y", [(0, half), (1, half), (2, half)])])
    assert picture.count("<circle") == 3
    assert "a &lt; b" in picture and "x &amp; y" in picture
    assert chart("empty", []).count("<circle") == 0
