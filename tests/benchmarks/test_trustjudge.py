import math

import pytest

from pipelines.judges.pair_reader import Reading
from tests.benchmarks.trustjudge import Judged, Pair, aggregated, as_markdown, both_orders, measured, scores


def make_judged(name, p, is_flawless=False):
    return Judged(name, "p", is_flawless, Reading(("a",), 0, (math.log(p), math.log(1 - p))))


def test_what_is_shown_first_wins_before_and_loses_its_place_after():
    # shown first each seems right and the other wrong: (0.9, 0.2) in one order, (0.8, 0.1) in the other
    pair = Pair(make_judged("x", 0.9, True), make_judged("y", 0.8), p_second=0.2, p_first_swapped=0.1)
    assert both_orders(pair) == "tie"
    # x: (0.9 * 0.8 + 0.2 * 0.1) / 2 = 0.37, y: (0.1 * 0.2 + 0.8 * 0.9) / 2 = 0.37, tie: 0.26
    assert pair.given == pytest.approx({"first": 0.72, "second": 0.02, "tie": 0.26})
    assert aggregated([pair]) == ["tie"]  # equally likely
    clearer = Pair(pair.first, pair.second, p_second=0.2, p_first_swapped=0.3)
    # x: (0.72 + 0.2 * 0.3) / 2 = 0.39, y: (0.02 + 0.8 * 0.7) / 2 = 0.29
    assert aggregated([clearer]) == ["first"]


def test_grades_before_are_the_likelier_verdict_and_after_weigh_by_odds():
    pair = Pair(make_judged("x", 0.9), make_judged("y", 0.6), 0.5, 0.5)
    found = scores([pair])
    assert (found["x"]["top_score"], found["y"]["top_score"]) == (2.0, 2.0)
    # odds 3/2 and 2/3, to the fifth power: (2 * 1.5^5 + (2/3)^5) / (1.5^5 + (2/3)^5)
    high, low = 1.5**5, (2 / 3) ** 5
    assert found["y"]["score"] == pytest.approx((2 * high + low) / (high + low))


def test_every_rate_is_there_before_and_after():
    names = ("x", "y", "z")
    one, other, third = (make_judged(name, p, name == "x") for name, p in zip(names, (0.9, 0.8, 0.3), strict=True))
    pairs = [Pair(one, other, 0.2, 0.1), Pair(one, third, 0.3, 0.9), Pair(other, third, 0.3, 0.8)]
    rates = {rate.measure: rate for rate in measured(pairs)}
    assert rates["position, before"].num_bad == 1  # x and y: the one shown first
    assert rates["score comparison, before, tolerance 0.0"].num_bad == 0  # x = y, x > z, y > z, and so the verdicts
    assert rates["flawless one not chosen, before"].num_items == 2  # x against y and against z
    assert len(as_markdown(list(rates.values()))) == 2 + len(rates)
