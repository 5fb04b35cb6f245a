"""Quality values of ReST-MCTS* by hand."""

import pytest

from pipelines.search.quality_values import QualityValue, quality_values


def nodes(*rows):
    """Rows (parent, grade) of one tree; the first is the root."""
    return [
        {"node_id": node_id, "parent_id": parent, "outcome_reward": reward}
        for node_id, (parent, reward) in enumerate(rows)
    ]


#        0
#      /   \
#     1     2
#    / \     \
#   3   4     5      3 is right, 4 and 6 are wrong
#              \
#               6
TREE = nodes((None, None), (0, None), (0, None), (1, 1.0), (1, 0.0), (2, None), (5, 0.0))


def test_a_good_step_moves_the_value_its_share_of_the_way_to_the_right_answer():
    values = quality_values(TREE)
    # node 1: one step from the answer, w = (1 - 0) / (1 + 1) = 0.5; node 3: the answer, w = (1 - 0.5) / (0 + 1)
    assert values[1] == QualityValue(0.5, 0.5, True, 1)
    assert values[3] == QualityValue(1.0, 0.5, True, 0)


def test_a_bad_step_loses_what_a_good_one_there_would_have_gained_but_never_falls_below_zero():
    values = quality_values(TREE)
    # node 4: the distance 1 of node 1, w = -(1 - 0.5) / 2 = -0.25
    assert values[4] == QualityValue(0.25, -0.25, False, 1)
    # nodes 2, 5, 6: the distance 2 of the root, w = -1 / 3, cut off at 0
    for node_id in (2, 5, 6):
        assert values[node_id] == QualityValue(0.0, pytest.approx(-1 / 3), False, 2)


def test_the_nearest_right_answer_sets_the_distance_whatever_the_order():
    # right answers at node 4 (three steps, found first) and at node 5 (one step)
    values = quality_values(nodes((None, None), (0, None), (1, None), (0, 1.0), (2, 1.0)))
    assert {node_id: value.distance for node_id, value in values.items()} == {1: 2, 2: 1, 3: 0, 4: 0}
    assert values[4].value == pytest.approx(1.0)


def test_a_tree_without_a_right_answer_or_without_grades_says_nothing():
    assert quality_values(nodes((None, None), (0, 0.0))) == {}
    assert quality_values(nodes((None, None), (0, None))) == {}
    assert quality_values([]) == {}


def test_steps_that_lead_to_no_graded_answer_get_no_value():
    assert set(quality_values(nodes((None, None), (0, 1.0), (0, None)))) == {1}


@pytest.mark.parametrize("grade", [0.5, float("nan")])
def test_a_grade_between_right_and_wrong_is_refused(grade):
    with pytest.raises(ValueError, match="node 1 is graded"):
        quality_values(nodes((None, None), (0, grade)))
