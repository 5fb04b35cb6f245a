import itertools
import math
import random
from collections import Counter

import pytest

from critics.metrics import (
    Bin,
    PairCount,
    aggregate_steps,
    auroc,
    best_of_n,
    brier,
    calibration_error,
    first_error_f1,
    first_error_interval,
    first_error_step,
    majority_of_n,
    pair_accuracy,
    pass_at_n,
    reliability_bins,
    roc_curve,
    selective_accuracy,
    tune_threshold,
    within_group_auroc,
    within_group_pairs,
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


def test_best_of_n_of_a_pool_of_four_by_hand():
    # by score: wrong, right, wrong, right. Of 2: the first heads 3 of 6 pairs, the second 2, the third 1: 2/6
    # of 3: the first is in 3 of 4 triples, the second heads the other: 1/4; the critic over-optimises from 1/2 to 0
    scores, outcomes, groups = [0.9, 0.7, 0.5, 0.3], [0.0, 1.0, 0.0, 1.0], ["p"] * 4
    expected = [1 / 2, 1 / 3, 1 / 4, 0.0]
    assert [best_of_n(scores, outcomes, groups, n)[0] for n in (1, 2, 3, 4)] == pytest.approx(expected)
    # while its own score of what it selects grows: of 2 it is (3 * .9 + 2 * .7 + .5) / 6
    assert best_of_n(scores, scores, groups, 2)[0] == pytest.approx(4.6 / 6)
    assert best_of_n(scores, scores, groups, 4)[0] == pytest.approx(0.9)


def test_the_majority_of_a_pool_of_four_by_hand():
    # answers 7 7 8 and none, 7 is right. Of 1: 2/4. Of 2: {7 7} 1, {7 8} twice 1/2, {7 none} twice 1, {8 none} 0: 4/6
    # of 3: {7 7 8}, {7 7 none} 1, {7 8 none} twice 1/2: 3/4; of 4: 7 has two votes of three
    answers, outcomes, groups = ["7", "7", "8", None], [1.0, 1.0, 0.0, 0.0], ["p"] * 4
    found = [majority_of_n(answers, outcomes, groups, n)[0] for n in (1, 2, 3, 4)]
    assert found == pytest.approx([1 / 2, 4 / 6, 3 / 4, 1.0])
    assert majority_of_n([None, None], [0.0, 0.0], ["p"] * 2, 1) == (0.0, 1)
    assert majority_of_n(answers, outcomes, groups, 5) == (None, 0)


def test_the_majority_equals_the_mean_over_all_subsets():
    order = random.Random(6)
    for _ in range(20):
        answers = [order.choice(["a", "b", "c", "d", None]) for _ in range(8)]
        outcomes = [float(answer == "a") for answer in answers]
        for n in range(1, 9):
            shares = [share_of(subset, "a") for subset in itertools.combinations(answers, n)]
            found = majority_of_n(answers, outcomes, ["p"] * 8, n)[0]
            assert found == pytest.approx(sum(shares) / len(shares))


def share_of(answers, wanted):
    counts = Counter(answer for answer in answers if answer is not None)
    best = [answer for answer, count in counts.items() if count == max(counts.values())]
    return (wanted in best) / max(1, len(best))


def test_the_majority_of_many_samples_is_quick_and_a_share():
    answers = [str(i % 7) for i in range(256)]
    outcomes = [float(answer == "3") for answer in answers]
    assert majority_of_n(answers, outcomes, ["p"] * 256, 64)[0] == pytest.approx(1 / 7, abs=0.02)


def test_selective_accuracy_by_hand():
    # best first: right, right, wrong, right; the two .5 share 1/2
    scores, outcomes = [0.9, 0.7, 0.5, 0.5], [1.0, 1.0, 0.0, 1.0]
    found = [selective_accuracy(scores, outcomes, coverage) for coverage in (0.25, 0.5, 0.6, 0.75, 1.0)]
    assert found == pytest.approx([1.0, 1.0, 2.5 / 3, 2.5 / 3, 0.75])
    assert selective_accuracy(scores, outcomes, 0.01) == 1.0  # at least one is answered
    assert selective_accuracy([], [], 0.5) is None


def test_brier_and_calibration_error_by_hand():
    assert brier([0.9, 0.4], [1, 0]) == pytest.approx((0.01 + 0.16) / 2)
    # two bins of two: means .2 against 0, .7 against .5
    assert calibration_error([0.1, 0.3, 0.6, 0.8], [0, 0, 1, 0], num_bins=2) == pytest.approx(0.2)
    assert calibration_error([], []) is None


def test_pairs_within_groups_are_counted_with_their_ties():
    # p: right .9 and .5 against wrong .5: a win and a tie; q: right .2 against wrong .8: a loss; r has one class
    scores, labels = [0.9, 0.5, 0.5, 0.2, 0.8, 0.3], [True, True, False, True, False, True]
    assert within_group_pairs(scores, labels, list("pppqqr")) == PairCount(accuracy=0.5, num_pairs=3, num_ties=1)
    assert within_group_pairs([0.9], [True], ["p"]) == PairCount(accuracy=None, num_pairs=0, num_ties=0)


def test_the_tuned_threshold_lies_in_the_middle_of_what_separates():
    # right solution: min .8; wrong at step 1: .2 there, .9 before: every threshold in (.2, .8] judges both rightly
    assert tune_threshold([[0.8, 0.9], [0.9, 0.2]], [-1, 1]) == pytest.approx(0.5)


def test_no_threshold_is_tuned_on_one_class():
    assert tune_threshold([[0.9], [0.8]], [-1, -1]) is None
    assert tune_threshold([[0.9]], [0]) is None
    assert tune_threshold([], []) is None


def test_a_score_equal_to_the_threshold_is_not_below_it():
    # right: 1.0; wrong at 0: the float just below 1. Only the threshold 1 tells them apart; no midpoint exists
    below = math.nextafter(1.0, 0.0)
    threshold = tune_threshold([[1.0], [below]], [-1, 0])
    assert threshold == 1.0
    assert [first_error_step([score], threshold) for score in (1.0, below)] == [-1, 0]


def test_the_tuned_threshold_is_the_best_of_all():
    order = random.Random(5)
    for _ in range(40):
        scores = [[order.randrange(11) / 10 for _ in range(order.randrange(1, 5))] for _ in range(12)]
        true = [order.randrange(-1, len(of_steps)) for of_steps in scores]
        tuned = tune_threshold(scores, true)
        if tuned is not None:
            f1 = {t / 20: f1_at(scores, true, t / 20) for t in range(21)}  # scores are tenths: each interval has one
            assert f1_at(scores, true, tuned) == pytest.approx(max(f1.values()))


def f1_at(scores, true, threshold):
    return first_error_f1([first_error_step(of_steps, threshold) for of_steps in scores], true)["f1"]


def test_the_f1_interval_holds_the_f1_and_is_a_point_where_groups_are_alike():
    # every problem has one located and one missed wrong solution and one accepted right one: F1 = 2 * .5 / 1.5
    predicted, true, groups = [0, 1, -1] * 30, [0, 0, -1] * 30, [i // 3 for i in range(90)]
    assert first_error_interval(predicted, true, groups) == pytest.approx((2 / 3, 2 / 3))
    low, high = first_error_interval(predicted, true, list(range(90)))
    assert 0.5 < low < 2 / 3 < high < 0.85
    assert first_error_interval([-1], [-1], ["p"]) is None


def test_roc_curve_by_hand_and_its_area_is_the_auroc():
    # from the top: .9 right; .5 right and wrong at once; .1 wrong
    wrong, right = roc_curve([0.9, 0.5, 0.5, 0.1], [True, True, False, False])
    assert (wrong, right) == ([0.0, 0.0, 0.5, 1.0], [0.0, 0.5, 1.0, 1.0])
    order = random.Random(2)
    scores, labels = [order.randrange(9) for _ in range(50)], [order.random() < 0.3 for _ in range(50)]
    wrong, right = roc_curve(scores, labels)
    area = sum((b - a) * (c + d) / 2 for a, b, c, d in zip(wrong, wrong[1:], right, right[1:], strict=False))
    assert area == pytest.approx(auroc(scores, labels))
    assert roc_curve([0.5], [True]) is None


def test_bins_of_equal_mass_by_hand():
    assert reliability_bins([0.1, 0.3, 0.6, 0.8], [0, 0, 1, 0], num_bins=2) == [
        Bin(pytest.approx(0.2), 0.0, 2), Bin(pytest.approx(0.7), 0.5, 2),
    ]  # fmt: skip
    assert [one.num_items for one in reliability_bins([0.5] * 17, [1] * 17)] == [2, 2] + [1] * 13


def test_the_order_of_rows_with_equal_probabilities_changes_no_calibration_error():
    # half of the items said .5 are right: perfectly calibrated, however the labels are sorted
    assert calibration_error([0.5] * 40, [0] * 20 + [1] * 20) == 0.0
    assert calibration_error([1.0] * 30, [1] * 24 + [0] * 6) == pytest.approx(0.2)
