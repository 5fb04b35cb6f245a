"""The loop: bandits with known answers, invariants, concurrency, failures."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path as FilePath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_worlds import PROBLEM, make_candidate, make_params, make_tree, run_search, word_world, words

from pipelines.search.extraction import edge_rows, node_rows, step_values
from pipelines.search.flight import run_in_flight
from pipelines.search.recipes import RECIPES
from pipelines.search.search import SearchFunctions, evaluate_remaining_terminals, search_tree
from pipelines.search.tree import ROOT, Tree
from pipelines.search.types import Evaluation

SEARCHING = sorted(name for name, recipe in RECIPES.items() if not recipe.merge_samples)
BACKING_UP = sorted(  # returns into mean values, and in trees of words; the labels of omegaprm stay where they are
    name for name in SEARCHING if name != "omegaprm" and not RECIPES[name].needs & {"refine", "strategies", "retrieval"}
)
GOLDEN = FilePath(__file__).parents[2] / "golden"


def test_the_first_simulation_values_every_child_of_the_root():
    tree = run_search(word_world({"a": 0.25, "b": 0.75}, length=3), make_params(num_simulations=1))
    assert len(tree) == 3
    assert tree.visit_count == [2, 1, 1]
    assert tree.raw_value == [None, 0.25, 0.75]
    assert tree.value(ROOT) == 0.5


def test_greedy_search_walks_straight_down_the_best_arm():
    world = word_world({"a": 0.9, "aa": 0.9, "aab": 1.0}, length=3, exploration=0.0)
    tree = run_search(world, make_params(num_simulations=3))
    assert set(words(tree)) == {"", "a", "b", "aa", "ab", "aaa", "aab"}


def test_with_exploration_the_arm_that_looked_worse_is_found_to_hold_the_prize():
    # "b" looks worse than "a" at first sight, but only "bb" pays.
    values = {"a": 0.6, "b": 0.5, "aa": 0.1, "ab": 0.1, "bb": 1.0}
    tree = run_search(word_world(values, length=2), make_params(num_simulations=20, skip_exhausted=False))
    found = words(tree)
    assert tree.visit_count[found["bb"]] > tree.visit_count[found["aa"]] + tree.visit_count[found["ab"]]
    assert tree.value(found["b"]) > tree.value(found["a"])


def test_uct_finds_the_best_of_eight_arms():
    values = {letter: index / 10 for index, letter in enumerate("abcdefgh")}
    world = word_world(values, length=1, recipe="uct")
    tree = run_search(world, make_params(num_simulations=60, num_candidates=8, skip_exhausted=False))
    assert max(range(1, 9), key=lambda child: tree.visit_count[child]) == words(tree)["h"]


def test_one_child_at_a_time_is_evaluated_first_and_expanded_on_its_second_visit():
    world = word_world({"a": 0.5, "b": 0.4}, length=3, exploration=0.0)
    params = make_params(num_simulations=1, evaluate_children=False)
    tree = run_search(world, params)
    assert tree.raw_value == [None, 0.5, None]
    assert tree.visit_count == [1, 1, 0]
    tree = run_search(world, replace(params, num_simulations=2))
    assert set(words(tree)) == {"", "a", "b", "aa", "ab"}


def test_expanding_to_the_end_reaches_a_complete_path_in_one_simulation():
    world = word_world({"b": 0.9, "ba": 0.9, "bab": 1.0}, length=3, exploration=0.0)
    tree = run_search(world, make_params(num_simulations=1, expand_to_end=True))
    assert [tree.path(leaf).step_texts for leaf in tree.terminals()] == [["b", "a", "a"], ["b", "a", "b"]]
    assert tree.visit_count[ROOT] == 6  # two children at each of three depths, each counted once


def test_the_depth_limit_is_not_an_answer():
    tree = run_search(word_world({"a": 1.0}, length=9), make_params(num_simulations=30, max_depth=2))
    assert max(tree.depth) == 2
    assert tree.terminals() == []


def test_a_node_without_proposals_is_closed_and_returns_its_value_again():
    async def propose(path, num_candidates):
        return [] if path.steps else [make_candidate("a")]

    world = replace(word_world({"a": 0.5}, length=9), propose=propose)
    tree = run_search(world, make_params(num_simulations=4, skip_exhausted=False))
    assert len(tree) == 2
    assert tree.visit_count == [4, 4]
    assert tree.is_closed == [False, True]


def test_an_exhausted_subtree_is_left_for_one_where_something_is_still_to_be_learnt():
    # "a" pays 1 and is complete at once; without skipping, greedy search would return to it for ever
    values = {"a": 1.0, "b": 0.2, "bb": 0.3}
    world = word_world(values, length=3, exploration=0.0)

    async def propose(path, num_candidates):
        if path.steps:
            return await world.propose(path, num_candidates)
        return [make_candidate("a", is_terminal=True), make_candidate("b")]

    tree = run_search(replace(world, propose=propose), make_params(num_simulations=2))
    assert set(words(tree)) == {"", "a", "b", "ba", "bb"}
    plain = run_search(replace(world, propose=propose), make_params(num_simulations=2, skip_exhausted=False))
    assert set(words(plain)) == {"", "a", "b"}


def test_a_search_ends_when_everything_is_known():
    tree = run_search(word_world({"ab": 1.0}, length=2), make_params(num_simulations=1000))
    assert len(tree) == 7
    assert tree.is_exhausted == [True] * 7
    assert tree.visit_count[ROOT] == 6  # every node but the root was valued once


@pytest.mark.parametrize("recipe", ["puct", "uct", "rest_mcts", "rstar", "alphallm", "best_first", "beam"])
def test_a_step_that_nobody_can_value_is_no_visit_no_zero_and_no_way_on(recipe):
    """a cannot be valued. With value 0 it would be a visit of 0; as an unvisited child it would be gone to for ever."""
    world = word_world({"b": 0.5, "ba": 1.0}, 3, recipe=recipe)

    async def value(path):
        is_known = "".join(path.step_texts[:1]) != "a"
        return await world.evaluate(path) if is_known else Evaluation(0.0, is_known=False)

    async def no_room(path, num_samples):
        return []

    complete = no_room if world.complete else None
    tree = run_search(replace(world, evaluate=value, complete=complete), make_params(num_simulations=12))
    a, b = tree.children[0][:2]
    assert [tree.candidate[node].step_text for node in (a, b)] == ["a", "b"]
    assert (tree.visit_count[a], tree.children[a], tree.is_known[a]) == (0, (), False)
    assert tree.visit_count[0] == sum(tree.visit_count[child] for child in tree.children[0]) > 0
    assert len(tree.children[b]) >= 2
    rows = list(node_rows(tree, "2026-01-01"))
    assert (rows[a]["raw_value"], rows[a]["value"], rows[b]["raw_value"]) == (None, None, 0.5)
    assert step_values(tree, a) == [None]


def test_a_root_without_proposals_ends_the_search_at_once():
    calls = []

    async def propose(path, num_candidates):
        calls.append(path)
        return []

    tree = run_search(replace(word_world({}, length=2), propose=propose), make_params())
    assert len(tree) == 1
    assert len(calls) == 1


def test_a_value_outside_the_unit_interval_is_refused():
    with pytest.raises(ValueError, match="tree t1 node 1"):
        run_search(word_world({"a": 1.5}, length=2), make_params())
    with pytest.raises(ValueError, match="nan"):
        run_search(word_world({"a": float("nan")}, length=2), make_params())


def test_complete_paths_that_no_simulation_reached_are_graded_without_visits():
    world = word_world({"a": 0.5, "b": 1.0}, length=1, exploration=0.0)
    tree = Tree("t1", PROBLEM)

    async def search_and_grade():
        await search_tree(tree, world, make_params(num_simulations=1, evaluate_children=False))
        await evaluate_remaining_terminals(tree, world)

    asyncio.run(search_and_grade())
    assert tree.visit_count == [1, 1, 0]
    assert tree.outcome_reward == [None, 0.5, 1.0]
    assert step_values(tree, 2) == [1.0]


def tree_rows(tree):
    return {"nodes": list(node_rows(tree, "2026-01-01")), "edges": list(edge_rows(tree, "2026-01-01"))}


GOLDEN_VALUES = {"a": 0.5, "b": 0.25, "aa": 0.25, "ab": 0.75, "aab": 1.0, "bba": 1.0}


def golden_world():
    return word_world(GOLDEN_VALUES, length=3)


def test_the_golden_tree_is_unchanged():
    tree = run_search(golden_world(), make_params(num_simulations=6))
    assert tree_rows(tree) == json.loads((GOLDEN / "puct_tree.json").read_text())


def summary(tree: Tree) -> dict[str, list[float | int | None]]:
    """Visits, mean return and own estimate of every word."""
    return {
        word: [tree.visit_count[node], _rounded(tree.value(node)), _rounded(tree.raw_value[node])]
        for word, node in words(tree).items()
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 9)


GOLDEN_TREES = json.loads((GOLDEN / "recipe_trees.json").read_text())


@pytest.mark.parametrize("recipe", GOLDEN_TREES)
def test_the_golden_tree_of_every_recipe_is_unchanged(recipe):
    world = word_world(GOLDEN_VALUES, length=3, recipe=recipe, exploration=None)
    tree = run_search(world, make_params(num_simulations=6, skip_exhausted=RECIPES[recipe].skip_exhausted))
    assert summary(tree) == GOLDEN_TREES[recipe]


def test_uct_spreads_its_visits_over_equal_arms_where_puct_follows_the_policy():
    values = {"a": 0.5, "b": 0.5}

    async def propose(path, num_candidates):
        return [make_candidate(arm, prior=prior, is_terminal=True) for arm, prior in (("a", 0.9), ("b", 0.1))]

    params = make_params(num_simulations=99, skip_exhausted=False)
    by_uct, by_puct = (
        run_search(replace(word_world(values, 1, recipe=recipe), propose=propose), params) for recipe in ("uct", "puct")
    )
    assert by_uct.visit_count == [100, 50, 50]  # two by the first simulation, one by each of the 98 others
    a, b = by_puct.visit_count[1:]
    assert a / b == pytest.approx(9, rel=0.2)  # P / (1 + N) is equal where N is in proportion to P


def test_uct_tries_every_arm_before_it_returns_to_one_and_puct_needs_not():
    values = {"a": 0.9, "b": 0.1}
    params = make_params(num_simulations=3, evaluate_children=False, skip_exhausted=False)

    async def propose(path, num_candidates):
        return [make_candidate(arm, prior=prior, is_terminal=True) for arm, prior in (("a", 1.0), ("b", 0.01))]

    by_uct, by_puct = (
        run_search(replace(word_world(values, 1, recipe=recipe), propose=propose), params) for recipe in ("uct", "puct")
    )
    assert by_uct.visit_count[2] == 1
    assert by_puct.visit_count == [3, 3, 0]


def test_two_searches_of_one_world_give_the_same_tree():
    params = make_params(num_simulations=25, num_candidates=3)
    first, second = (run_search(golden_world(), params) for _ in range(2))
    assert tree_rows(first) == tree_rows(second)


def check_invariants(tree: Tree) -> None:
    assert tree.virtual_visits == [0] * len(tree)
    for node_id in range(len(tree)):
        children = tree.children[node_id]
        assert all(child > node_id and tree.parent[child] == node_id for child in children)
        assert all(tree.depth[child] == tree.depth[node_id] + 1 for child in children)
        assert tree.visit_count[node_id] >= sum(tree.visit_count[child] for child in children)
        value = tree.value(node_id)
        assert value is None or 0.0 <= value <= 1.0
        below = sum(tree.value_sum[child] for child in children)
        assert tree.value_sum[node_id] >= below - 1e-9
        if node_id == ROOT and children:
            assert tree.visit_count[ROOT] == sum(tree.visit_count[child] for child in children)
            assert abs(tree.value_sum[ROOT] - below) < 1e-9


@settings(max_examples=60, deadline=None)
@given(
    leaf_values=st.dictionaries(st.text("abc", min_size=1, max_size=3), st.floats(0, 1), max_size=12),
    num_simulations=st.integers(1, 30),
    in_flight=st.integers(1, 5),
    evaluate_children=st.booleans(),
    expand_to_end=st.booleans(),
    skip_exhausted=st.booleans(),
    recipe=st.sampled_from(BACKING_UP),
)
def test_every_search_keeps_the_invariants_of_its_tree(
    leaf_values, num_simulations, in_flight, evaluate_children, expand_to_end, skip_exhausted, recipe
):
    world = word_world(leaf_values, length=3, recipe=recipe)

    async def slow_propose(path, num_candidates):
        for _ in range(1 + len(path.steps)):
            await asyncio.sleep(0)
        return await world.propose(path, num_candidates)

    params = make_params(
        num_simulations=num_simulations,
        num_candidates=3,
        simulations_in_flight=in_flight,
        evaluate_children=evaluate_children,
        expand_to_end=expand_to_end,
        skip_exhausted=skip_exhausted,
    )
    tree = run_search(replace(world, propose=slow_propose), params)
    check_invariants(tree)
    assert len(words(tree)) == len(tree)  # no node was expanded twice


def test_simulations_in_flight_spread_over_the_children_of_the_root():
    proposed = []

    async def propose(path, num_candidates):
        await asyncio.sleep(0.001)
        proposed.append("".join(path.step_texts))
        return [make_candidate(letter) for letter in "abc"]

    world = replace(word_world({"a": 0.5, "b": 0.5, "c": 0.5}, length=9), propose=propose)
    run_search(world, make_params(num_simulations=4, num_candidates=3, simulations_in_flight=4))
    assert sorted(proposed) == ["", "a", "b", "c"]


def test_an_exception_is_raised_when_all_simulations_rest_and_the_tree_keeps_what_it_had():
    class EngineGoneError(Exception):
        pass

    async def evaluate(path):
        if path.step_texts == ["a", "a"]:
            raise EngineGoneError
        await asyncio.sleep(0)
        return Evaluation(0.9 if path.step_texts == ["a"] else 0.1)

    world = word_world({}, length=4)
    functions = SearchFunctions(world.propose, evaluate, world.select_child, world.backup)
    tree = Tree("t1", PROBLEM)

    async def search():
        with pytest.raises(EngineGoneError):
            await search_tree(tree, functions, make_params(simulations_in_flight=3))
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(search())
    assert tree.raw_value[1] == 0.9
    assert tree.virtual_visits == [0] * len(tree)


def test_a_path_names_the_steps_and_exact_tokens_from_the_root():
    tree = make_tree(2)
    (grandchild,) = tree.add_children(2, [make_candidate("xy", is_terminal=True)])
    path = tree.path(grandchild)
    assert path.step_texts == ["b", "xy"]
    assert path.token_ids == (98, 120, 121)
    assert path.is_terminal
    assert not tree.path(ROOT).steps


@given(order=st.lists(st.integers(0, 14), min_size=1, max_size=20))
def test_a_path_does_not_depend_on_which_path_was_asked_for_before(order):
    tree = Tree("t1", PROBLEM)
    for parent in range(7):  # node 2k+1 and 2k+2 are the children of node k
        tree.add_children(parent, [make_candidate(f"{parent}a"), make_candidate(f"{parent}b")])
    for node_id in order:
        steps = tuple(tree.candidate[step] for step in tree.from_root(node_id))
        assert tree.path(node_id).steps == steps


def test_results_arrive_in_the_order_of_the_items_and_few_run_at_once():
    running, most, results = 0, 0, []

    async def work(item):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001 * (5 - item))
        running -= 1
        return item * 10

    asyncio.run(run_in_flight(work, [0, 1, 2, 3, 4], 2, results.append))
    assert results == [0, 10, 20, 30, 40]
    assert most == 2


def test_an_exception_of_one_item_cancels_the_others():
    cancelled = []

    async def work(item):
        if item == 1:
            raise KeyError(item)
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            cancelled.append(item)
            raise

    with pytest.raises(KeyError):
        asyncio.run(run_in_flight(work, [0, 1], 2, print))
    assert cancelled == [0]
