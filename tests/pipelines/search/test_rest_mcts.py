"""MCTS* of ReST-MCTS*: selection, look-ahead and backup by hand, and what it forgets that `puct` remembers."""

import math
from dataclasses import replace

import pytest
import search_worlds
from search_worlds import make_candidate, make_tree, run_search, word_world, words

from pipelines.search.rest_mcts import RollForward, make_grow_and_roll, weighted_backup
from pipelines.search.selection import rest_mcts
from pipelines.search.tree import ROOT
from pipelines.search.types import Evaluation


def make_params(**changes):
    """As the recipe has it: an answer is visited again."""
    return search_worlds.make_params(skip_exhausted=False, **changes)


def rest_world(values, length=3, exploration=0.5, **options):
    return word_world(values, length, recipe="rest_mcts", exploration=exploration, **options)


def test_selection_adds_the_bonus_of_uct_or_a_fixed_one_for_a_child_without_visits():
    tree = make_tree(3)
    tree.record_evaluation(3, Evaluation(0.1))
    for child, value in ((1, 0.5), (1, 0.5), (2, 0.6)):
        tree.record_value(child, value)
        tree.record_value(ROOT, 0.5)
    # N_p = 3. a: 0.5 + 0.5 sqrt(2 ln 3 / 2) = 1.024; b: 0.6 + 0.5 sqrt(2 ln 3) = 1.341; c: 0.1 + 0.9 = 1.0
    assert math.isclose(0.6 + 0.5 * math.sqrt(2 * math.log(3)), 1.341, abs_tol=1e-3)
    assert rest_mcts(tree, ROOT, [1, 2, 3], exploration=0.5) == 2
    assert rest_mcts(tree, ROOT, [1, 2, 3], exploration=0.0) == 3


def test_priors_do_not_matter_and_ties_go_to_the_child_created_first():
    tree = make_tree(2, priors=[0.1, 0.9])
    for child in (1, 2):
        tree.record_evaluation(child, Evaluation(0.5))
    assert rest_mcts(tree, ROOT, [1, 2], exploration=0.5) == 1


def test_a_node_is_worth_the_visit_weighted_mean_of_its_children():
    tree = make_tree(2)
    weighted_backup(tree, 1, 0.8)
    weighted_backup(tree, 2, 0.2)
    weighted_backup(tree, 2, 0.4)  # a value is replaced, not averaged
    # root: (1 * 0.8 + 2 * 0.4) / 3 = 0.5333
    assert tree.visit_count == [3, 1, 2]
    assert tree.value(2) == pytest.approx(0.4)
    assert tree.value(ROOT) == pytest.approx(1.6 / 3)


def test_a_look_ahead_of_which_nothing_is_known_changes_no_value():
    world = rest_world({"a": 0.4, "b": 0.8})

    async def evaluate(path):
        evaluation = await world.evaluate(path)
        return replace(evaluation, is_known=False) if len(path.steps) > 1 else evaluation

    tree = run_search(replace(world, evaluate=evaluate), make_params(num_simulations=1))
    assert tree.value(2) == 0.8  # and not (1 - 0.5) 0.8 + 0.5 * 0


def test_one_simulation_visits_only_the_best_child_whose_value_looks_one_step_ahead():
    tree = run_search(rest_world({"a": 0.4, "b": 0.8, "ba": 0.2}), make_params(num_simulations=1))
    assert tree.raw_value == [None, 0.4, 0.8]
    assert tree.visit_count == [1, 0, 1]
    assert tree.value(2) == pytest.approx(0.5)  # (1 - 0.5) 0.8 + 0.5 * 0.2
    assert tree.value(ROOT) == pytest.approx(0.5)
    assert len(tree) == 3  # what was looked at ahead is not kept


def test_the_second_simulation_goes_to_the_unvisited_child_and_its_estimate_is_forgotten():
    # Root: b has 0.5 + 0.5 sqrt(2 ln 1) = 0.5, a has 0.4 + 0.9. Below a all is 0, so V(a) = 0 and not 0.4.
    tree = run_search(rest_world({"a": 0.4, "b": 0.8, "ba": 0.2}), make_params(num_simulations=2))
    found = words(tree)
    assert set(found) == {"", "a", "b", "aa", "ab"}
    assert tree.visit_count == [2, 1, 1, 1, 0]
    assert tree.value(found["a"]) == 0.0
    assert tree.value(ROOT) == pytest.approx(0.25)  # (1 * 0 + 1 * 0.5) / 2


def test_a_trap_holds_puct_longer_than_mcts_star():
    # a looks great and holds nothing. Greedy PUCT remembers the first estimate: Q(a) = 0.9 / 3 = 0.3 > 0.2 after one
    # expansion, so it expands aa as well. MCTS* tries b first (0.2 + 0.9 > (0.9 + 0) / 2), and then a one time:
    # its value is what its children say.
    values = {"a": 0.9, "b": 0.2, "ba": 0.3}
    params = make_params(num_simulations=3)
    by_puct = run_search(word_world(values, 4, exploration=0.0), params)
    assert {"aaa", "aab"} < set(words(by_puct))
    assert by_puct.value(words(by_puct)["a"]) == pytest.approx(0.9 / 5)
    tree = run_search(rest_world(values, 4, exploration=0.0), params)
    assert set(words(tree)) == {"", "a", "b", "ba", "bb", "aa", "ab"}
    assert tree.value(words(tree)["a"]) == 0.0


def test_the_look_ahead_takes_the_largest_value_of_all_its_steps():
    world = rest_world({"a": 0.5, "aa": 0.2, "aaa": 0.7, "aab": 0.9}, length=5)
    far = RollForward(num_steps=2, num_branches=2, weight=0.5)
    tree = run_search(replace(world, grow=make_grow_and_roll(far)), make_params(num_simulations=1))
    assert tree.value(1) == pytest.approx(0.7)  # 0.5 * 0.5 + 0.5 * max(0.2, 0.9)
    blind = replace(world, grow=make_grow_and_roll(RollForward(weight=0.0)))
    assert run_search(blind, make_params(num_simulations=1)).value(1) == 0.5


def test_nothing_is_asked_beyond_an_answer_or_the_depth_limit():
    asked = []
    world = rest_world({"a": 0.5}, length=1)

    async def propose(path, num_candidates):
        asked.append("".join(path.step_texts))
        return await world.propose(path, num_candidates)

    watched = replace(world, propose=propose)
    assert run_search(watched, make_params(num_simulations=1)).value(1) == 0.5
    deep = replace(rest_world({"a": 0.5}, length=9), propose=propose)
    run_search(deep, make_params(num_simulations=1, max_depth=1))
    assert asked == ["", ""]


def test_a_leaf_that_cannot_be_expanded_returns_its_value_again():
    async def propose(path, num_candidates):
        return [] if path.steps else [make_candidate("a")]

    tree = run_search(replace(rest_world({"a": 0.5}), propose=propose), make_params(num_simulations=4))
    assert tree.visit_count == [4, 4]
    assert tree.value(ROOT) == tree.value(1) == 0.5


def test_what_a_critic_reads_ahead_is_counted():
    world = rest_world({})

    async def evaluate(path):
        return Evaluation(0.5, num_critic_tokens=10)

    tree = run_search(replace(world, evaluate=evaluate), make_params(num_simulations=1))
    assert tree.num_critic_tokens == 30  # two children and one continuation


def test_a_value_that_is_no_number_is_refused_also_ahead():
    with pytest.raises(ValueError, match="tree t1, a continuation: value nan"):
        run_search(rest_world({"a": 0.5, "aa": float("nan")}), make_params())
