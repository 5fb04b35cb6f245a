"""What the comparison of recipes computes from its measurements."""

import numpy as np
import pytest

from pipelines.search.recipes import RECIPES
from tests.benchmarks.recipe_comparison import Point, at_tokens, recipes_compared, spread

MAJORITY = [
    Point("majority", 4, np.array([0.0, 1.0]), np.array([300.0, 500.0])),  # 400 tokens
    Point("majority", 1, np.array([0.0, 0.0]), np.array([100.0, 100.0])),
]


@pytest.mark.parametrize(
    ("tokens", "expected"), [(100, [0.0, 0.0]), (200, [0.0, 0.5]), (400, [0.0, 1.0]), (50, [0, 0]), (900, [0, 1])]
)
def test_a_baseline_between_two_sizes_is_interpolated_in_log_tokens(tokens, expected):
    assert at_tokens(MAJORITY, tokens) == pytest.approx(expected)


def test_every_recipe_that_can_answer_is_compared():
    """Not those that see grades, look up what is not there, or search nothing."""
    names = [recipe.name for recipe in recipes_compared()]
    assert len(names) == len(set(names))
    assert set(RECIPES) - set(names) == {"omegaprm", "retrieval_planner", "prefix_tree_values"}
    assert set(names) - set(RECIPES) == {"puct_critic"}


def test_labels_keep_their_order_and_their_distance():
    assert spread({"a": 0.5, "b": 0.9}, 0.1) == {"a": 0.5, "b": 0.9}
    assert spread({"a": 0.5, "b": 0.5}, 0.1) == pytest.approx({"a": 0.45, "b": 0.55})
    assert spread({"c": 0.6, "b": 0.5, "a": 0.5}, 0.1) == pytest.approx(
        {"b": 0.43333, "a": 0.53333, "c": 0.63333}, 1e-3
    )
