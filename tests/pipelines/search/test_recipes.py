"""Recipes are found by name, or the near names are listed."""

from dataclasses import replace

import pytest

from pipelines.errors import ConfigError
from pipelines.search.recipes import RECIPES, recipe_named


def test_a_recipe_is_found_by_its_name():
    assert recipe_named("uct").paper.startswith("Kocsis")


def test_a_recipe_of_the_users_own_is_found_beside_the_built_in_ones():
    own = replace(RECIPES["puct"], name="deep_puct", expand_to_end=True)
    assert recipe_named("deep_puct", {"deep_puct": own}).expand_to_end


def test_an_unknown_recipe_is_refused_with_the_near_names():
    with pytest.raises(ConfigError, match='no search recipe "putc".*Did you mean puct'):
        recipe_named("putc")
