"""Searches by rounds: what each keeps, by hand, and worlds in which it acts unlike `puct`."""

import asyncio
import random
from dataclasses import replace

import pytest
from search_worlds import make_candidate, make_params, make_tree, run_search, word_world, words

from pipelines.search.extraction import edge_rows, node_rows
from pipelines.search.frontier import beam, best_first, diverse_verifier_tree_search, tree_of_thoughts
from pipelines.search.tree import ROOT, Tree
from pipelines.search.types import Evaluation, Frontier

BY_ROUNDS = ("best_first", "beam", "diverse_verifier_tree_search", "tree_of_thoughts")
START = Frontier((ROOT,))


def valued_tree(*values: float, ended: tuple[int, ...] = ()) -> Tree:
    """Children 1, 2, 3, ... of the root with these values; those in `ended` cannot be expanded."""
    tree = make_tree(len(values))
    for node_id, value in enumerate(values, start=1):
        tree.record_evaluation(node_id, Evaluation(value))
    for node_id in ended:
        tree.exhaust(node_id)
    return tree


def expanded(tree: Tree) -> list[str]:
    """Words that have children, in the order of their expansion."""
    by_first_child = sorted((tree.children[node][0], word) for word, node in words(tree).items() if tree.children[node])
    return [word for _, word in by_first_child]


def test_best_first_takes_the_best_open_leaf_and_keeps_the_others_for_later():
    tree = valued_tree(0.2, 0.9, 0.5, ended=(2,))
    assert best_first(tree, START, [1, 2, 3]) == Frontier((3,), (1,))
    assert best_first(tree, Frontier((3,), (1,)), []) == Frontier((1,))
    assert best_first(tree, Frontier((1,)), []) == Frontier(())


def test_a_beam_keeps_the_best_open_children_and_the_first_created_among_equals():
    tree = valued_tree(0.5, 0.9, 0.5, 0.7, ended=(2,))
    assert beam(tree, START, [1, 2, 3, 4], width=2) == Frontier((4, 1))
    assert beam(tree, START, [2], width=2) == Frontier(())


def test_a_state_of_tree_of_thoughts_that_is_an_answer_keeps_its_place_while_it_is_good_enough():
    tree = valued_tree(0.6, 0.9, 0.5, 0.7, ended=(1, 2))
    assert tree_of_thoughts(tree, START, [1, 2, 3, 4], width=2) == Frontier((4,), (2,))
    # the answer 1 (0.6) waits; of the new children 3 (0.5) and 4 (0.7), only 4 displaces nothing better
    assert tree_of_thoughts(tree, Frontier((9,), (1,)), [3, 4], width=2) == Frontier((4,), (1,))
    assert tree_of_thoughts(tree, Frontier((9,), (1, 2)), [3], width=2) == Frontier((), (2, 1))


def test_diverse_trees_deal_the_first_children_in_turn_and_keep_the_best_of_each_hand():
    # hands of two: {1, 3} and {2, 4}; 3 beats 1, and 2 is kept although 1 and 3 are both better
    tree = valued_tree(0.8, 0.4, 0.9, 0.3)
    assert diverse_verifier_tree_search(tree, START, [1, 2, 3, 4], width=2) == Frontier((3, 2))
    # fewer children than hands: an empty hand founds no tree
    assert diverse_verifier_tree_search(valued_tree(0.8), START, [1], width=3) == Frontier((1,))


def test_a_diverse_tree_ends_where_its_best_child_is_an_answer():
    tree = valued_tree(0.8, 0.4, 0.9, 0.3, ended=(3,))
    assert diverse_verifier_tree_search(tree, START, [1, 2, 3, 4], width=2) == Frontier((2,))


def test_best_first_follows_the_best_leaf_where_puct_leaves_a_subtree_with_a_poor_mean():
    # After a is expanded its mean return is (0.6 + 0.55 + 0) / 3 = 0.38 < 0.5, so greedy PUCT turns to b;
    # but the best leaf of the tree is still aa with 0.55.
    values = {"a": 0.6, "b": 0.5, "aa": 0.55}
    params = make_params(num_simulations=4)
    assert expanded(run_search(word_world(values, 4, exploration=0.0), params))[:3] == ["", "a", "b"]
    assert expanded(run_search(word_world(values, 4, recipe="best_first"), params)) == ["", "a", "aa", "b"]


TRAP = {"a": 0.6, "b": 0.5, "aa": 0.1, "ab": 0.1, "bb": 1.0}  # b looks worse than a, but only bb pays


def test_a_narrow_beam_never_returns_to_what_it_dropped_where_puct_does():
    assert "bb" in words(run_search(word_world(TRAP, 2), make_params(num_simulations=20)))
    narrow = run_search(word_world(TRAP, 2, recipe="beam", beam_width=1), make_params(num_simulations=20))
    assert set(words(narrow)) == {"", "a", "b", "aa", "ab"}


def test_a_wider_beam_finds_the_prize_in_two_rounds_and_asks_the_root_for_all_its_paths():
    tree = run_search(word_world(TRAP, 2, recipe="beam", beam_width=2), make_params(num_simulations=20))
    # 2 paths * 2 candidates at the root, then 2 candidates of each of the 2 paths that were kept
    assert set(words(tree)) == {"", "a", "b", "c", "d", "aa", "ab", "ba", "bb"}
    # every value is a return of its ancestors: b has its own 0.5 and 0 and 1 from below
    assert tree.visit_count[words(tree)["b"]] == 3
    assert tree.value(words(tree)["b"]) == 0.5


CROWDED = {"a": 0.9, "b": 0.3, "d": 0.2, "aa": 0.8, "ab": 0.7, "bb": 0.25}  # all that is good begins with a


def test_diverse_trees_keep_a_second_start_alive_where_a_beam_fills_up_with_the_first():
    params = make_params(num_simulations=3)
    by_beam = run_search(word_world(CROWDED, 4, recipe="beam", beam_width=2), params)
    assert expanded(by_beam) == ["", "a", "b", "aa", "ab"]
    diverse = run_search(word_world(CROWDED, 4, recipe="diverse_verifier_tree_search", beam_width=2), params)
    assert expanded(diverse) == ["", "a", "b", "aa", "bb"]
    by_puct = run_search(word_world(CROWDED, 4, exploration=0.0), params)
    assert expanded(by_puct) == ["", "a", "aa"]


def test_tree_of_thoughts_goes_level_by_level_and_stops_when_the_best_states_are_answers():
    # Level 1: c (0.9, an answer) and b (0.6) are kept, a (0.5) is not. Level 2: nothing below b reaches 0.5,
    # so b's best child ba (0.4) stays beside c; level 3 ends it: baa (0.1) is an answer, like c.
    values = {"a": 0.5, "b": 0.6, "c": 0.9, "ba": 0.4, "baa": 0.1}
    world = word_world(values, 3, recipe="tree_of_thoughts", beam_width=2, answers={"c"})
    tree = run_search(world, make_params(num_simulations=20, num_candidates=3))
    assert expanded(tree) == ["", "b", "ba"]
    # puct opens a as well: it goes on until nothing is left to learn
    by_puct = run_search(word_world(values, 3, answers={"c"}), make_params(num_simulations=20, num_candidates=3))
    assert "a" in expanded(by_puct)


def test_a_simulation_is_a_round_of_all_kept_leaves():
    world = word_world({"a": 0.5, "b": 0.5}, 9, recipe="tree_of_thoughts", beam_width=2)
    assert expanded(run_search(world, make_params(num_simulations=2))) == ["", "a", "b"]


@pytest.mark.parametrize("recipe", BY_ROUNDS)
def test_the_depth_limit_ends_a_search_by_rounds(recipe):
    tree = run_search(word_world({"a": 1.0}, 9, recipe=recipe), make_params(num_simulations=50, max_depth=2))
    assert max(tree.depth) == 2
    assert tree.terminals() == []


@pytest.mark.parametrize("recipe", BY_ROUNDS)
def test_a_leaf_without_proposals_is_closed_and_the_others_go_on(recipe):
    world = word_world({"a": 0.9, "b": 0.5}, 3, recipe=recipe, beam_width=2)

    async def propose(path, num_candidates):
        return [] if path.step_texts == ["a"] else await world.propose(path, num_candidates)

    tree = run_search(replace(world, propose=propose), make_params(num_simulations=9))
    found = words(tree)
    assert tree.is_closed[found["a"]]
    assert tree.is_exhausted[found["a"]]
    assert "baa" in found


@pytest.mark.parametrize("recipe", BY_ROUNDS)
def test_a_tree_made_by_rounds_does_not_depend_on_the_order_of_answers(recipe):
    values = {"a": 0.5, "b": 0.25, "c": 0.5, "aa": 0.25, "ab": 0.75, "cb": 0.75, "aab": 1.0}
    params = make_params(num_candidates=3, num_simulations=6)
    rows = []
    for seed in range(3):
        world, order = word_world(values, 4, recipe=recipe), random.Random(seed)

        async def propose(path, num_candidates, world=world, order=order):
            await asyncio.sleep(order.random() * 0.002)
            return await world.propose(path, num_candidates)

        async def evaluate(path, world=world, order=order):
            await asyncio.sleep(order.random() * 0.002)
            return await world.evaluate(path)

        tree = run_search(replace(world, propose=propose, evaluate=evaluate), params)
        rows.append([*node_rows(tree, "2026-01-01"), *edge_rows(tree, "2026-01-01")])
    assert rows[0] == rows[1] == rows[2]


def test_an_exception_in_a_round_is_raised_when_all_its_requests_rest():
    class EngineGoneError(Exception):
        pass

    answered = []
    world = word_world({"a": 0.5, "b": 0.5}, 4, recipe="tree_of_thoughts")

    async def propose(path, num_candidates):
        if path.step_texts == ["a"]:
            raise EngineGoneError
        await asyncio.sleep(0.001)
        answered.append("".join(path.step_texts))
        return [make_candidate("a"), make_candidate("b")]

    with pytest.raises(EngineGoneError):
        run_search(replace(world, propose=propose), make_params())
    assert answered == ["", "b"]
