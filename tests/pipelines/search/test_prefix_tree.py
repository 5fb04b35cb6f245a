"""Groups of samples merged into prefix trees: values, counts and advantages by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_worlds import make_params, run_search, word_world, words

from pipelines.rows import rows_to_table
from pipelines.search.prefix_tree import prefix_trees

NIGHT = "2026-01-01"


def sample(rollout_id, steps, reward, **changes):
    row = {
        "rollout_id": rollout_id,
        "group_id": "g1",
        "problem_id": "p1",
        "steps": list(steps),
        "outcome_reward": reward,
        "request_id": "r1",
        "finish_reason": "stop",
        "error": None,
    }
    return row | changes


#   root --- x --- y   (1: right, 4: right, with other white space)
#        |    \--- z   (2: wrong)
#        \-- w         (3: wrong)
GROUP = [
    sample("1", ["x", "y"], 1.0),
    sample("2", ["x", "z"], 0.0),
    sample("3", ["w"], 0.0),
    sample("4", ["x", " y "], 1.0),
]


def by_text(tree):
    return {row["step_text"]: row for row in tree.node_rows(NIGHT)}


def test_a_node_is_worth_the_mean_grade_of_the_samples_through_it():
    (tree,) = prefix_trees(GROUP)
    rows = by_text(tree)
    assert {text: (row["value"], row["visit_count"]) for text, row in rows.items()} == {
        "": (0.5, 4),
        "x": (pytest.approx(2 / 3), 3),
        "y": (1.0, 2),
        "z": (0.0, 1),
        "w": (0.0, 1),
    }
    # only an answer has evidence of its own; what learns from trees adds it up over the subtrees
    assert {text: (row["is_terminal"], row["outcome_reward"], row["num_samples"]) for text, row in rows.items()} == {
        "": (False, None, 0),
        "x": (False, None, 0),
        "y": (True, 1.0, 2),
        "z": (True, 0.0, 1),
        "w": (True, 0.0, 1),
    }
    assert tree.leaf_of["1"] == tree.leaf_of["4"] == rows["y"]["node_id"]


def test_visits_stay_as_the_policy_draws_where_puct_moves_them_to_the_better_arm():
    """Two letters, drawn evenly; all that begins with "a" is right. Eight samples, or eight simulations."""
    twice = [(word, again) for word in ("aa", "ab", "ba", "bb") for again in "12"]
    samples = [sample(word + again, word, float(word[0] == "a")) for word, again in twice]
    (merged,) = prefix_trees(samples)
    first = merged.tree.children[0]
    drawn = {merged.tree.candidate[node].step_text: merged.tree.visit_count[node] for node in first}
    searched = run_search(
        word_world({"a": 1.0, "aa": 1.0, "ab": 1.0}, length=2),
        make_params(num_simulations=8, skip_exhausted=False),
    )
    assert drawn == {"a": 4, "b": 4}
    visits = {word: searched.visit_count[node] for word, node in words(searched).items()}
    assert visits["a"] > 2 * visits["b"]
    assert merged.tree.value(0) == 0.5 < searched.value(0)  # the policy's own rate; what a search makes of it


def test_the_rows_fit_their_tables_and_unknown_is_null():
    (tree,) = prefix_trees(GROUP)
    nodes = rows_to_table("search_nodes", tree.node_rows(NIGHT))
    edges = rows_to_table("search_edges", tree.edge_rows(NIGHT)).to_pylist()
    assert nodes["token_ids"].to_pylist()[1:] == [None] * 4
    assert nodes["prior"].null_count == nodes["sum_logprob"].null_count == 5
    assert [(edge["from_node"], edge["to_node"], edge["action"]) for edge in edges] == [
        (0, 1, "x"), (1, 2, "y"), (1, 3, "z"), (0, 4, "w"),
    ]  # fmt: skip


def test_the_advantage_of_a_step_adds_what_the_value_gained_there():
    # mean r = 0.5, std r = 0.5, V(x) = 2/3
    # sample 1, x: (0.5 + 2/3 - 1/2) / 0.5 = 4/3; y: (0.5 + 1 - 2/3) / 0.5 = 5/3
    # sample 2, x: (-0.5 + 2/3 - 1/2) / 0.5 = -2/3; z: (-0.5 + 0 - 2/3) / 0.5 = -7/3
    # sample 3, w: (-0.5 + 0 - 1/2) / 0.5 = -2
    (tree,) = prefix_trees(GROUP)
    advantages = tree.advantages()
    assert advantages["1"] == advantages["4"] == pytest.approx([4 / 3, 5 / 3])
    assert advantages["2"] == pytest.approx([-2 / 3, -7 / 3])
    assert advantages["3"] == pytest.approx([-2.0])


def test_where_the_tree_does_not_branch_the_advantage_is_that_of_the_group():
    (tree,) = prefix_trees([sample("1", ["x", "y", "z"], 1.0), sample("2", ["w"], 0.0)])
    # the first step decides: (0.5 + 0.5) / 0.5 = 2; after it delta = 0 and (1 - 0.5) / 0.5 = 1 is left
    assert tree.advantages()["1"] == pytest.approx([2.0, 1.0, 1.0])


def test_equal_grades_give_no_advantage():
    (tree,) = prefix_trees([sample("1", ["x", "y"], 1.0), sample("2", ["w"], 1.0)])
    assert tree.advantages() == {"1": [0.0, 0.0], "2": [0.0]}


def test_a_last_step_is_an_action_of_its_own_so_that_samples_end_in_leaves():
    (tree,) = prefix_trees([sample("1", ["x"], 0.0), sample("2", ["x", "y"], 1.0)])
    assert [(row["step_text"], row["is_terminal"], row["value"]) for row in tree.node_rows(NIGHT)] == [
        ("", False, 0.5), ("x", True, 0.0), ("x", False, 1.0), ("y", True, 1.0),
    ]  # fmt: skip


def test_failed_samples_are_left_out_and_ungraded_ones_count_for_nothing():
    rows = [
        sample("1", ["x", "y"], None),
        sample("2", ["x", "z"], 1.0),
        sample("3", [], None, error="ServerError: gone", finish_reason="error"),
    ]
    (tree,) = prefix_trees(rows)
    assert {text: (row["value"], row["visit_count"]) for text, row in by_text(tree).items()} == {
        "": (1.0, 1), "x": (1.0, 1), "y": (None, 0), "z": (1.0, 1),
    }  # fmt: skip
    assert "3" not in tree.leaf_of
    assert tree.advantages() == {"2": [0.0, 0.0]}
    (ungraded,) = prefix_trees(rows[:1])
    assert ungraded.advantages() == {}


def test_each_group_has_a_tree_of_its_own_and_none_without_samples():
    rows = [sample("1", ["x"], 1.0), sample("2", ["x"], 0.0, group_id="g2", problem_id="p2")]
    first, second = prefix_trees(rows)
    assert first.tree.tree_id != second.tree.tree_id
    assert [tree.node_rows(NIGHT)[0]["problem_id"] for tree in (first, second)] == ["p1", "p2"]
    assert prefix_trees([]) == []
    assert prefix_trees([sample("1", [], None, error="ServerError: gone")]) == []


def test_an_answer_without_steps_has_a_leaf_too():
    (tree,) = prefix_trees([sample("1", [], 0.0)])
    assert tree.leaf_of == {"1": 1}
    assert tree.node_rows(NIGHT)[1]["step_text"] == ""


def test_a_grader_that_contradicts_itself_leaves_the_value_and_no_grade():
    (tree,) = prefix_trees([sample("1", ["x"], 1.0), sample("2", ["x"], 0.0)])
    (row,) = tree.node_rows(NIGHT)[1:]
    assert (row["value"], row["outcome_reward"]) == (0.5, None)


def test_bad_grades_and_rows_without_a_group_are_refused():
    with pytest.raises(ValueError, match="node 1: value nan"):
        prefix_trees([sample("1", ["x"], float("nan"))])
    with pytest.raises(ValueError, match="rollout 1 belongs to no group"):
        prefix_trees([sample("1", ["x"], 1.0, group_id=None)])


@given(st.lists(st.tuples(st.lists(st.sampled_from("abc"), max_size=4), st.sampled_from([0.0, 1.0])), min_size=1))
def test_visits_and_returns_add_up_over_the_children(samples):
    (merged,) = prefix_trees([sample(str(index), steps, reward) for index, (steps, reward) in enumerate(samples)])
    tree = merged.tree
    assert tree.visit_count[0] == len(samples)
    for node_id, children in enumerate(tree.children):
        assert tree.is_terminal(node_id) == (not children)
        if children:
            assert tree.visit_count[node_id] == sum(tree.visit_count[child] for child in children)
            assert tree.value_sum[node_id] == sum(tree.value_sum[child] for child in children)
