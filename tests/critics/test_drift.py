import math

import pytest

from critics.drift import population_stability_index


def test_the_index_of_two_bins_by_hand():
    # the median of .1 .2 .3 .4 is .25: half below, half above; of .3 .4 .5 .1 a quarter lies below
    # (1/4 - 1/2) ln(1/2) + (3/4 - 1/2) ln(3/2)
    expected = 0.25 * math.log(2) + 0.25 * math.log(1.5)
    assert population_stability_index([0.1, 0.2, 0.3, 0.4], [0.3, 0.4, 0.5, 0.1], 2) == pytest.approx(expected)


def test_an_empty_bin_counts_as_half_an_item():
    # all four above: shares 1/8 (half an item of four) and 1 against 1/2 and 1/2
    expected = -0.375 * math.log(0.25) + 0.5 * math.log(2)
    assert population_stability_index([0.1, 0.2, 0.3, 0.4], [0.3, 0.4, 0.5, 0.6], 2) == pytest.approx(expected)


def test_equal_scores_do_not_drift_and_the_order_does_not_matter():
    scores = [i / 100 for i in range(100)]
    assert population_stability_index(scores, scores) == 0.0
    assert population_stability_index(scores, scores[::-1]) == 0.0


def test_a_reference_of_one_value_has_one_edge():
    # edge .5, which belongs to the bin above: all of the reference there; half of the scores below
    assert population_stability_index([0.5] * 4, [0.5] * 4) == 0.0
    expected = (0.5 - 0.125) * math.log(0.5 / 0.125) + (0.5 - 1) * math.log(0.5)
    assert population_stability_index([0.5] * 4, [0.5, 0.9, 0.1, 0.2]) == pytest.approx(expected)


def test_nothing_has_no_index():
    assert population_stability_index([], [0.5]) is None
    assert population_stability_index([0.5], []) is None
