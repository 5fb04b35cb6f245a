import itertools
import random

import pytest

from critics.metrics import (
    aggregate_steps,
    auroc,
    best_of_n,
    brier,
    calibration_error,
    first_error_f1,
    first_error_step,
    pair_accuracy,
    pass_at_n,
    within_group_auroc,
)


def test_auroc_counts_right_over_wrong_pairs_and_ties_half():
    # right .9 and .5 against wrong .5 and .1: wins 1, 1, tie .5, win 1 of 4
    assert auroc([0.9, 0.5, 0.5, 0.1], [True, True, False, False]) == 3.5 / 4
    assert auroc([0.1, 0.9], [True, True]) is None


def test_pooled_auroc_looks_good_while_the_ranking_within_problems_is_reversed():
    # an easy problem with 5 right at .8 and 1 wrong at .9, a hard one with 1 right at .1 and 5 wrong at .2:
    # of 36 pairs the 5 * 5 across problems are won, within problems none
    scores = [0.8] * 5 + [0.9] + [0.1] + [0.2] * 5
    labels = [True] * 5 + [False] + [True] + [False] * 5
    assert auroc(scores, labels) == pytest.approx(25 / 36)
    assert within_group_auroc(scores, labels, ["easy"] * 6 + ["hard"] * 6) == (0.0, 2)


def test_groups_of_one_class_do_not_count_within_problems():
    assert within_group_auroc([0.9, 0.1, 0.3], [True, False, True], ["p", "p", "q"]) == (1.0, 1)
    assert within_group_auroc([0.9], [True], ["p"]) == (None, 0)


def test_pair_accuracy_gives_half_a_point_for_ties_and_follows_weights():
    assert pair_accuracy([0.9, 0.5, 0.1], [0.1, 0.5, 0.9]) == 0.5
    assert pair_accuracy([0.9, 0.1], [0.1, 0.9], [3.0, 1.0]) == 0.75
    assert pair_accuracy([], []) is None


def test_first_error_is_the_first_step_below_the_threshold():
    assert first_error_step([0.9, 0.5, 0.4, 0.1]) == 2
    assert first_error_step([0.9, 0.5]) == -1
    assert first_error_step([0.6], threshold=0.7) == 0


def test_first_error_f1_is_the_harmonic_mean_of_both_accuracies():
    # wrong solutions: 1 of 2 located; right ones: 3 of 4 accepted; 2 * .5 * .75 / 1.25 = .6
    found = first_error_f1([2, 0, -1, -1, -1, 1], [2, 1, -1, -1, -1, -1])
    assert found == {"f1": pytest.approx(0.6), "acc_error": 0.5, "acc_correct": 0.75}
    assert first_error_f1([-1], [-1]) == {"f1": None, "acc_error": None, "acc_correct": 1.0}


def test_rollout_scores_by_product_minimum_and_last_step():
    assert aggregate_steps([0.5, 0.8, 0.9], "product") == pytest.approx(0.36)
    assert aggregate_steps([0.5, 0.8, 0.9], "min") == 0.5
    assert aggregate_steps([0.5, 0.8, 0.9], "last") == 0.9


def test_best_of_n_by_hand():
    # ranked outcomes 1, 0, 1: best of 1 = 2/3, of 2: first is in 2 of 3 pairs (1), second heads 1 of 3 (0); of 3: 1
    scores, outcomes, groups = [0.9, 0.5, 0.1], [1.0, 0.0, 1.0], ["p"] * 3
    assert best_of_n(scores, outcomes, groups, 1)[0] == pytest.approx(2 / 3)
    assert best_of_n(scores, outcomes, groups, 2)[0] == pytest.approx(2 / 3)
    assert best_of_n(scores, outcomes, groups, 3) == (1.0, 1)
    assert best_of_n(scores, outcomes, groups, 4) == (None, 0)


def test_best_of_n_equals_the_mean_over_all_subsets():
    order = random.Random(3)
    scores = order.sample(range(100), 7)
    outcomes = [float(order.random() < 0.4) for _ in range(7)]
    for n in range(1, 8):
        picks = [outcomes[max(subset, key=lambda i: scores[i])] for subset in itertools.combinations(range(7), n)]
        assert best_of_n(scores, outcomes, ["p"] * 7, n)[0] == pytest.approx(sum(picks) / len(picks))


def test_equal_scores_select_at_random():
    assert best_of_n([0.5] * 4, [1.0, 0.0, 0.0, 0.0], ["p"] * 4, 4)[0] == pytest.approx(0.25)


def test_pass_at_n_is_the_oracle():
    # 1 right of 4: pass@2 = 1 - C(3,2)/C(4,2) = 1/2
    assert pass_at_n([1.0, 0.0, 0.0, 0.0], ["p"] * 4, 2)[0] == pytest.approx(0.5)


def test_brier_and_calibration_error_by_hand():
    assert brier([0.9, 0.4], [1, 0]) == pytest.approx((0.01 + 0.16) / 2)
    # two bins of two: means .2 against 0, .7 against .5
    assert calibration_error([0.1, 0.3, 0.6, 0.8], [0, 0, 1, 0], num_bins=2) == pytest.approx(0.2)
    assert calibration_error([], []) is None
