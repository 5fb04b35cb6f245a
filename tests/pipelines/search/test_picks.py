"""How an answer is chosen from a tree, by hand."""

import pytest
from search_worlds import PROBLEM

from pipelines.search.picks import (
    CompletePath,
    check_vote,
    make_pick_over_gate,
    pick_best,
    pick_by_descent,
    pick_by_majority,
    pick_by_vote,
)
from pipelines.search.recipes import RECIPES
from pipelines.search.tree import Tree
from pipelines.search.types import Candidate, Evaluation


def make_valued_tree():
    """Two first steps: "a" (0.6) leads to "a6" (0.9) and "a5" (0.5); "b" (0.7) leads to "b5" (0.6) and "b4" (0.2)."""
    tree = Tree("t1", PROBLEM)
    values = {"a": 0.6, "b": 0.7, "a6": 0.9, "a5": 0.5, "b5": 0.6, "b4": 0.2}

    def add(parent, *names):
        candidates = [Candidate(name, (1,), -1.0, 1.0, len(name) == 2, "r") for name in names]
        for node_id, name in zip(tree.add_children(parent, candidates), names, strict=True):
            tree.record_evaluation(node_id, Evaluation(values[name]))

    add(0, "a", "b")
    add(1, "a6", "a5")
    add(2, "b5", "b4")
    return tree, [
        CompletePath(3, "6", 0.9),
        CompletePath(4, "5", 0.5),
        CompletePath(5, "5", 0.6),
        CompletePath(6, "4", 0.2),
    ]


def test_the_best_path_has_the_highest_score_of_all_and_ties_go_to_the_lowest_id():
    tree, paths = make_valued_tree()
    assert pick_best(tree, paths).node_id == 3
    assert pick_best(tree, [CompletePath(8, "1", 0.5), CompletePath(7, "2", 0.5)]).node_id == 7


def test_a_vote_adds_the_scores_of_equal_answers():
    assert pick_by_vote(*make_valued_tree()).node_id == 5  # 0.5 + 0.6 for "5" against 0.9 for "6"


def test_a_majority_counts_answers_and_the_first_of_equally_frequent_ones_wins():
    tree, paths = make_valued_tree()
    assert pick_by_majority(tree, paths).node_id == 4  # two samples of three say 5; the scores do not matter
    assert pick_by_majority(tree, [paths[3], paths[0]]).node_id == 3


def test_every_sample_that_ended_in_a_path_has_a_vote():
    tree, paths = make_valued_tree()
    twice = CompletePath(6, "4", 0.2, num_samples=3)
    assert pick_by_majority(tree, [*paths[:3], twice]).node_id == 6  # 3 against 2
    assert pick_by_vote(tree, [*paths[:3], twice]).node_id == 5  # 3 * 0.2 against 1.1
    assert pick_by_vote(tree, [*paths[:3], CompletePath(6, "4", 0.2, 6)]).node_id == 6  # 6 * 0.2 against 1.1


def test_a_descent_compares_siblings_only():
    tree, paths = make_valued_tree()
    assert pick_by_descent(tree, paths).node_id == 5  # b (0.7) before a (0.6), then b5 (0.6) before b4
    assert pick_by_descent(tree, paths[:2]).node_id == 3  # b leads to no answer


def test_a_descent_takes_the_mean_return_of_a_step_that_was_never_valued():
    tree, paths = make_valued_tree()
    tree.raw_value[1] = tree.raw_value[2] = None
    for node_id, value in ((1, 0.8), (2, 0.3)):
        tree.record_return(node_id, value)
    assert pick_by_descent(tree, paths).node_id == 3  # a (0.8) before b (0.3), then a6 (0.9)


def test_a_descent_takes_the_mean_return_of_a_step_that_the_critic_could_not_value():
    tree, paths = make_valued_tree()
    tree.record_evaluation(1, Evaluation(0.0, is_known=False))
    tree.record_return(1, 0.8)
    assert pick_by_descent(tree, paths).node_id == 3  # a (0.8 of its return, not 0) before b (0.7)


def test_a_gate_takes_the_first_path_that_is_good_enough_and_else_the_best():
    tree, paths = make_valued_tree()
    assert make_pick_over_gate(0.5)(tree, paths[1:]).node_id == 4
    assert make_pick_over_gate(0.9)(tree, paths[1:]).node_id == 5


def test_every_recipe_answers_as_its_paper_does():
    tree, paths = make_valued_tree()
    chosen = {name: RECIPES[name].make_pick(RECIPES[name].params)(tree, paths).node_id for name in RECIPES}
    by_descent = {"puct": 5, "uct": 5}
    by_score = {"best_first": 3, "tree_of_thoughts": 3, "rest_mcts": 3}
    by_vote = {"beam": 5, "diverse_verifier_tree_search": 5}
    assert chosen.items() >= {**by_descent, **by_score, **by_vote}.items()


def test_an_unknown_vote_is_refused_with_the_votes_there_are():
    with pytest.raises(ValueError, match="vote is 'bets'; it must be one of best, majority, weighted"):
        check_vote("bets")
