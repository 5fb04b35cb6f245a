"""Miners of steps and paths, on trees small enough to draw."""

import pytest
from mined import applied, sides


def node(node_id: int, parent_id: int | None, text: str, value: float | None, visits: int, **more: object) -> dict:
    root = {"prompt": "Q", "policy": "v1"} if parent_id is None else {}
    return {"tree_id": "t", "node_id": node_id, "parent_id": parent_id, "problem_id": "p", "step_text": text,
            "value": value, "visit_count": visits} | root | more  # fmt: skip


#   0 -- 1 "a" N 6, Q 0.7 -- 3 "c" N 5, Q 0.8 -- 5 "e" N 5, Q 1.0 right
#     |                   `- 4 "d" N 1, Q 0.0 -- 6 "f" N 1, Q 0.0 wrong
#     `- 2 "b" N 2, Q 0.9
TREE = [
    node(0, None, "", 0.6, 8), node(1, 0, "a", 0.7, 6), node(2, 0, "b", 0.9, 2), node(3, 1, "c", 0.8, 5),
    node(4, 1, "d", 0.0, 1), node(5, 3, "e", 1.0, 5, outcome_reward=1.0), node(6, 4, "f", 0.0, 1, outcome_reward=0.0),
]  # fmt: skip


def test_mcts_dpo_chooses_the_most_visited_child_at_every_depth_and_smooths_by_visits():
    """Depth 0: a has 6 visits and is chosen though b has the higher Q: margin 0.7 - 0.9; alpha = 2 / (6 + 2).
    Depth 1: c and its only child e are one completion, so are d and f: alpha = 1 / (5 + 1).
    """
    first, second = sorted(applied("mcts_dpo_pairs", TREE), key=lambda row: row["prompt"])
    assert (first["prompt"], first["chosen"], first["rejected"]) == ("Q\n", "a\n", "b\n")
    assert (first["margin"], first["chosen_score"], first["rejected_score"]) == (pytest.approx(-0.2), 0.7, 0.9)
    assert first["soft_label"] == pytest.approx(1 - 2 / 8)
    assert (second["prompt"], second["chosen"], second["rejected"]) == ("Q\na\n", "c\ne\n", "d\nf\n")
    assert second["soft_label"] == pytest.approx(1 - 1 / 6)
    assert (second["chosen_policy"], second["weight"], second["kind"]) == ("v1", 1.0, "step")


def test_mcts_dpo_breaks_equal_visits_by_value_then_by_the_estimate():
    equal = [TREE[0], node(1, 0, "a", 0.5, 2, raw_value=0.1, outcome_reward=1.0), node(2, 0, "b", 0.5, 2, raw_value=0.2,
             outcome_reward=1.0)]  # fmt: skip
    (pair,) = applied("mcts_dpo_pairs", equal)
    assert (pair["chosen"], pair["soft_label"]) == ("b\n", 0.5)
    equal[1] |= {"value": 0.6}
    assert [row["chosen"] for row in applied("mcts_dpo_pairs", equal)] == ["a\n"]


def test_mcts_dpo_keeps_a_problem_only_where_the_chosen_path_ends_right():
    wrong = [*TREE[:5], TREE[5] | {"outcome_reward": 0.0}, TREE[6]]
    ungraded = [*TREE[:5], TREE[5] | {"outcome_reward": None}, TREE[6]]
    assert applied("mcts_dpo_pairs", wrong) == applied("mcts_dpo_pairs", ungraded) == []
    assert len(applied("mcts_dpo_pairs", wrong, only_right=False)) == 2


def test_mcts_dpo_rejects_a_random_sibling_or_the_worst():
    wide = [TREE[0], node(1, 0, "best", 1.0, 9, outcome_reward=1.0)]
    wide += [node(i, 0, f"s{i}", 1.0 - i / 10, 9 - i) for i in range(2, 9)]
    (pair,) = applied("mcts_dpo_pairs", wide, worse="worst")
    assert pair["rejected"] == "s8\n"
    drawn = {applied("mcts_dpo_pairs", wide, seed=seed)[0]["rejected"] for seed in range(8)}
    assert len(drawn) > 2
    assert applied("mcts_dpo_pairs", wide, seed=3) == applied("mcts_dpo_pairs", wide, seed=3)


def test_mcts_dpo_gives_no_pair_for_one_candidate_equal_texts_or_children_never_visited():
    same = [TREE[0], node(1, 0, "a", 1.0, 3, outcome_reward=1.0), node(2, 0, "a", 0.0, 1)]
    unseen = [same[0], same[1], node(2, 0, "b", None, 0)]
    assert applied("mcts_dpo_pairs", same) == applied("mcts_dpo_pairs", unseen) == []
    assert applied("mcts_dpo_pairs", []) == []


def test_whole_paths_of_a_tree_meet_by_outcome_with_the_mean_value_of_their_nodes():
    """a c e: (0.7 + 0.8 + 1.0) / 3; a d f: 0.7 / 3. Margin 1 + 1.8 / 3 = 1.6."""
    (pair,) = applied("tree_path_pairs", TREE)
    assert (pair["prompt"], pair["chosen"], pair["rejected"]) == ("Q\n", "a\nc\ne\n", "a\nd\nf\n")
    assert (pair["chosen_id"], pair["rejected_id"], pair["kind"]) == ("t:5", "t:6", "path")
    assert pair["margin"] == pytest.approx(1.6)
    assert applied("tree_path_pairs", TREE[:6]) == []


def test_trees_without_a_statement_have_prompts_of_steps_alone():
    bare = [TREE[0] | {"prompt": None}, *TREE[1:]]
    assert {row["prompt"] for row in applied("sibling_step_pairs", bare)} == {"", "a\n"}


def test_a_value_that_is_no_number_is_unknown():
    broken = [TREE[0], node(1, 0, "a", float("nan"), 6), node(2, 0, "b", 0.9, 2), node(3, 0, "c", 0.1, 2)]
    assert sides(applied("sibling_step_pairs", broken)) == {("t:2", "t:3"): 0.8}


# branch points of samples -----------------------------------------------------------------------------


def sample(name: str, outcome: float | None, *steps: str) -> dict:
    return {"problem_id": "p", "response_id": name, "prompt": "Q\n", "response": "\n".join(steps) + "\n",
            "steps": list(steps), "outcome_reward": outcome, "policy": "v1"}  # fmt: skip


def test_children_of_a_branch_point_are_paired_by_the_mean_outcome_below_them():
    """Below "x  y" (white space apart one step) three samples: V = 2/3. u: 1, 1; w: 0. At the root z has V = 0."""
    samples = [
        sample("1", 1.0, "x y", "u"), sample("2", 1.0, "x  y", "u"), sample("3", 0.0, "x y", "w"),
        sample("4", 0.0, "z"),
    ]  # fmt: skip
    deep, shallow = sorted(applied("branch_point_pairs", samples), key=lambda row: -row["margin"])
    assert (deep["prompt"], deep["chosen"], deep["rejected"], deep["margin"]) == ("Q\nx y\n", "u\n", "w\n", 1.0)
    assert (shallow["prompt"], shallow["chosen"], shallow["rejected"]) == ("Q\n", "x y\n", "z\n")
    assert shallow["margin"] == pytest.approx(2 / 3)
    assert (deep["chosen_id"], deep["rejected_id"], deep["kind"]) == ("1", "3", "branch")
    assert len(applied("branch_point_pairs", samples, min_samples=2)) == 0


def test_samples_that_do_not_branch_or_are_not_graded_give_no_pair():
    assert applied("branch_point_pairs", [sample("1", 1.0, "x"), sample("2", 1.0, "x")]) == []
    assert applied("branch_point_pairs", [sample("1", 1.0, "x"), sample("2", None, "y")]) == []
    assert applied("branch_point_pairs", [sample("1", 1.0, "x"), sample("2", 1.0, "y")]) == []
