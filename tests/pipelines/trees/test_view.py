"""Views of trees: numbers, marks and order."""

import pytest
from tree_worlds import HEAD, NODES, chain_view, small_view

from pipelines.errors import LakeError
from pipelines.trees.view import build_view, one_line, visible


def test_marks_stand_at_their_nodes():
    nodes = small_view().nodes
    assert [node.node_id for node in nodes.values() if node.is_first_error] == [1, 4]
    assert nodes[1].marks == ["first wrong step", "rejected for #2 (+0.75)"]
    assert nodes[3].marks == ["chosen over another tree's (+1.00)", "also below #1"]
    assert (small_view().num_pairs(), small_view().num_first_errors()) == (2, 2)
    assert nodes[0].num_marked_below == 4


def test_children_are_ordered_by_visits_and_every_node_comes_before_its_children():
    view = small_view()
    assert [node.node_id for node in view.in_order()] == [0, 2, 3, 4, 6, 1, 5]
    assert (view.root.num_below, view.nodes[2].num_below, view.nodes[5].num_below) == (6, 3, 0)


def test_outcomes_tell_wrong_from_not_graded_and_values_tell_estimates_from_returns():
    nodes = small_view().nodes
    assert [nodes[i].outcome for i in (2, 3, 5, 6)] == [None, "right", "wrong", "no grade"]
    assert [nodes[i].value_text for i in (3, 4, 6, 5)] == ["1.00", "~0.25", "–", "0.00"]


def test_without_visits_the_size_of_the_subtree_is_the_weight():
    view = chain_view(4)
    assert not view.has_visits
    assert [view.weight(node) for node in view.in_order()] == [5, 4, 3, 2, 1]
    assert small_view().share(small_view().nodes[2]) == 0.75


def test_the_view_says_who_found_the_first_errors():
    estimated = [{"leaf_node_id": 5, "first_wrong_step": 0, "source": "first_errors"}]
    assert build_view(HEAD, NODES, [], estimated).first_errors_by == "first_errors"
    assert small_view().first_errors_by == "gold_steps"
    assert build_view(HEAD, NODES).first_errors_by is None


def test_kinds_of_steps_are_counted_and_the_ordinary_step_has_none():
    kinds = {1: "reason", 2: "query", 4: "query", 3: ""}
    rows = [row | {"action": kinds.get(row["node_id"])} for row in NODES]
    view = build_view(HEAD, rows)
    assert view.num_actions() == {"query": 2, "reason": 1}
    assert (view.nodes[3].action, view.nodes[2].action) == (None, "query")


def test_a_first_error_beyond_its_path_or_at_a_foreign_leaf_marks_nothing():
    errors = [{"leaf_node_id": 5, "first_wrong_step": 9}, {"leaf_node_id": 99, "first_wrong_step": 0}]
    assert build_view(HEAD, NODES, [], errors).num_first_errors() == 0


@pytest.mark.parametrize(
    ("rows", "message"),
    [(NODES[1:], "has no root"), ([NODES[0], NODES[3]], "node 3 names the parent 2"),
     ([NODES[0], NODES[1] | {"parent_id": 1}], "node 1 names the parent 1")],
)  # fmt: skip
def test_damaged_rows_are_an_error_with_the_ids(rows, message):
    with pytest.raises(LakeError, match=message):
        build_view(HEAD, rows)


def test_control_and_direction_characters_become_visible():
    assert visible("a\x1b[2J\u202eb\n\tc\u00a0d") == "a‹U+001B›[2J‹U+202E›b\n\tc d"
    assert one_line(" a\r\nb   c\n") == "a⏎b c⏎"
