"""Two trees, solved by hand.

SOLVED        root (0 of 0) -> 1: own 3 of 4 -> 3: own 0 of 2
                                            -> 4: terminal, right
              root          -> 2: own 0 of 4 -> 5: own 0 of 2
Subtrees: root 4 of 13, step 1 4 of 7, step 2 0 of 6, step 3 0 of 2, step 4 1 of 1 (certain: 8 of 8), step 5 0 of 2.
"""

import pytest

from critics.evidence import Bag, Evidence
from critics.labels import (
    NodeValue,
    advantage_labels,
    labels_until,
    masked_after_error,
    monte_carlo_labels,
    outcome_bags,
    outcome_labels,
    relative_labels,
    sibling_labels,
    stepwise_outcome_labels,
    values_of,
)

SOLVED = [
    Evidence(-1, 0, 0), Evidence(0, 4, 3), Evidence(0, 4, 0), Evidence(1, 2, 0), Evidence(1, 0, 0, outcome=1.0),
    Evidence(2, 2, 0),
]  # fmt: skip
UNSOLVED = [Evidence(-1, 0, 0), Evidence(0, 4, 0)]


def targets(found):
    return [label.target if label.weight > 0 else None for label in found.labels]


def test_monte_carlo_labels_are_shares_with_counts_and_masked_behind_an_error():
    found = monte_carlo_labels(SOLVED, {})
    assert targets(found) == [None, pytest.approx(4 / 7), 0.0, 0.0, 1.0, None]
    assert (found.labels[1].num_right, found.labels[1].num_total) == (4, 7)
    assert found.labels[1].weight == pytest.approx(7 / 9)
    assert (found.labels[4].num_right, found.labels[4].num_total) == (8, 8)
    assert {label.source for label in found.labels} == {"monte_carlo"}


def test_an_unsolved_problem_is_worth_nothing_but_has_no_relative_value():
    assert targets(monte_carlo_labels(UNSOLVED, {})) == [None, 0.0]
    assert targets(relative_labels(UNSOLVED, {})) == [None, None]
    assert targets(stepwise_outcome_labels(UNSOLVED, {})) == [None, None]  # a 0 of which nothing is known


def test_relative_counts_say_the_same_as_the_target():
    label = relative_labels(SOLVED, {}).labels[2]
    assert label.num_total == 6
    assert label.num_right == pytest.approx(label.target * 6)


def test_a_step_can_be_solved_as_soon_as_one_completion_was_right():
    found = stepwise_outcome_labels(SOLVED, {})
    assert targets(found) == [None, 1.0, 0.0, 0.0, 1.0, None]
    # step 2: 6 failures where 4 of 13 were right; step 3: 2 failures where 4 of 7 were
    assert found.labels[2].weight == pytest.approx(1 - (9 / 13) ** 6)
    assert found.labels[3].weight == pytest.approx(1 - (3 / 7) ** 2)


def test_outcomes_label_terminals_only():
    assert targets(outcome_labels(SOLVED, {})) == [None, None, None, None, 1.0, None]


def test_a_bag_is_the_path_to_a_graded_terminal():
    found = outcome_bags(SOLVED, {})
    assert found.bags == [Bag((1, 4), 1.0)]
    assert targets(found) == [None] * 6


def test_an_advantage_is_child_minus_parent_and_a_half_where_nothing_changes():
    # step 1: 4/7 - 4/13; step 3: 0 - 4/7; step 4: 1 - 4/7
    found = advantage_labels(SOLVED, {})
    gains = [None if t is None else 2 * t - 1 for t in targets(found)]
    assert gains == [None, pytest.approx(4 / 7 - 4 / 13), pytest.approx(-4 / 13), pytest.approx(-4 / 7),
                     pytest.approx(3 / 7), None]  # fmt: skip
    same = advantage_labels([Evidence(-1, 2, 1), Evidence(0, 2, 1)], {})
    assert targets(same) == [None, 0.5]


def test_a_preference_critic_learns_from_pairs_alone():
    found = sibling_labels(SOLVED, {})
    assert targets(found) == [None] * 6
    assert {(pair.better, pair.worse) for pair in found.pairs} == {(1, 2), (4, 3)}
    assert all(pair.weight > 0 for pair in found.pairs)


def test_values_of_a_method_are_taken_where_it_has_a_row():
    rows = {0: NodeValue(0.3), 1: NodeValue(0.6, 3, 6, (0.4, 0.8)), 5: NodeValue(0.2)}
    found = values_of("beta_quantiles")(SOLVED, rows)
    assert targets(found) == [None, 0.6, None, None, None, None]  # the root is no step, step 5 is behind an error
    assert (found.labels[1].weight, found.labels[1].samples) == (0.75, (0.4, 0.8))
    assert targets(values_of("rest_mcts")(SOLVED, rows))[5] == 0.2  # defined there, and falling


def test_steps_behind_the_first_error_are_masked_and_not_called_wrong():
    labels = labels_until(1, 4, 0.8, "judge")
    assert [(label.target, label.weight) for label in labels] == [(1.0, 0.8), (0.0, 0.8), (0.0, 0.0), (0.0, 0.0)]
    assert [label.target for label in labels_until(-1, 2, 1.0, "judge")] == [1.0, 1.0]
    again = masked_after_error([*labels_until(0, 1, 1.0, "votes"), *labels_until(-1, 1, 1.0, "votes")])
    assert [label.weight for label in again] == [1.0, 0.0]
