"""Recipes are found by name, or the near names are listed; each refuses or survives bad input."""

from dataclasses import replace

import pytest
from search_worlds import make_params, run_search, word_world

from pipelines.errors import ConfigError
from pipelines.search.recipes import RECIPES, Recipe, recipe_named

SEARCHING = sorted(name for name, recipe in RECIPES.items() if not recipe.merge_samples)


async def no_proposals(path, num_candidates):
    return []


def test_a_recipe_is_found_by_its_name():
    assert recipe_named("uct").paper.startswith("Kocsis")


def test_a_recipe_of_the_users_own_is_found_beside_the_built_in_ones():
    own = replace(RECIPES["puct"], name="deep_puct", expand_to_end=True)
    assert recipe_named("deep_puct", {"deep_puct": own}).expand_to_end


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("putc", "puct"),
        ("rest-mcts", "rest_mcts"),
        ("bestfirst", "best_first"),
        ("beams", "beam"),
        ("diverse_tree_search", "diverse_verifier_tree_search"),
        ("tree_of_thought", "tree_of_thoughts"),
        ("prefix_tree", "prefix_tree_values"),
    ],
)
def test_an_unknown_recipe_is_refused_with_the_near_names(typo, meant):
    with pytest.raises(ConfigError, match=f'no search recipe "{typo}".*Did you mean {meant}'):
        recipe_named(typo)


def test_what_is_configured_replaces_the_papers_number_only_where_the_recipe_has_one():
    assert RECIPES["rest_mcts"].with_parameters(None, None).exploration == 0.5
    assert RECIPES["rest_mcts"].with_parameters(0.0, 7) == replace(RECIPES["rest_mcts"], exploration=0.0)
    assert RECIPES["beam"].with_parameters(2.0, 7) == replace(RECIPES["beam"], beam_width=7)
    assert RECIPES["best_first"].with_parameters(2.0, 7) == RECIPES["best_first"]


@pytest.mark.parametrize("recipe", SEARCHING)
def test_no_simulations_leave_the_root_alone(recipe):
    tree = run_search(word_world({"a": 1.0}, 2, recipe=recipe), make_params(num_simulations=0))
    assert (len(tree), tree.visit_count) == (1, [0])


@pytest.mark.parametrize("recipe", SEARCHING)
def test_a_root_without_a_step_ends_the_search_with_the_root_closed(recipe):
    tree = run_search(replace(word_world({}, 2, recipe=recipe), propose=no_proposals), make_params())
    assert (len(tree), tree.is_closed) == (1, [True])


@pytest.mark.parametrize("recipe", SEARCHING)
@pytest.mark.parametrize("value", [float("nan"), 1.5, -0.1])
def test_a_value_outside_the_unit_interval_is_refused_with_its_tree_and_node(recipe, value):
    with pytest.raises(ValueError, match=f"tree t1 node 1: value {value}"):
        run_search(word_world({"a": value}, 2, recipe=recipe), make_params())


@pytest.mark.parametrize("recipe", ["beam", "diverse_verifier_tree_search", "tree_of_thoughts"])
def test_a_beam_without_width_is_refused(recipe):
    with pytest.raises(ConfigError, match=f'"{recipe}" has beam width 0'):
        word_world({}, 2, recipe=recipe, beam_width=0)


@pytest.mark.parametrize("recipe", ["puct", "uct", "rest_mcts"])
@pytest.mark.parametrize("exploration", [float("nan"), float("inf"), -1.0])
def test_an_exploration_that_is_no_weight_is_refused(recipe, exploration):
    with pytest.raises(ConfigError, match=f'"{recipe}" has exploration {exploration}'):
        word_world({}, 2, recipe=recipe, exploration=exploration)


def test_a_recipe_has_one_kind_of_search():
    with pytest.raises(ConfigError, match='"prefix_tree_values" has no search'):
        RECIPES["prefix_tree_values"].functions(no_proposals, no_proposals)
    both = replace(RECIPES["beam"], make_select=RECIPES["puct"].make_select)
    with pytest.raises(ConfigError, match='"beam" has two kinds of search'):
        both.functions(no_proposals, no_proposals)
    with pytest.raises(ConfigError, match='"empty" has no search'):
        Recipe("empty", "paper", "summary").functions(no_proposals, no_proposals)
