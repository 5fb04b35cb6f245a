"""What the comparison of recipes computes from its measurements."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from pipelines.inference.scripted import CharTokenizer, ScriptedModel
from pipelines.rollouts import sample_rollouts
from pipelines.search.recipes import RECIPES
from pipelines.strategies import majority
from tests.benchmarks.recipe_comparison import (
    FURTHER_VOTES,
    VOTE_SIZES,
    Point,
    at_tokens,
    first_samples,
    policy_votes,
    recipes_compared,
    spread,
)
from tests.pipelines.reasoning_worlds import (
    GRADING,
    NIGHT,
    STARTER,
    ScriptedSession,
    make_config,
    make_problems,
    solve_two_plus_three,
)

MAJORITY = [
    Point("majority", 4, np.array([0.0, 1.0]), np.array([300.0, 500.0])),  # 400 tokens
    Point("majority", 1, np.array([0.0, 0.0]), np.array([100.0, 100.0])),
]


class WithVerdicts(CharTokenizer):
    """A token of its own for each verdict."""

    def encode(self, text: str) -> list[int]:
        return {"<right>": [1], "<wrong>": [2]}.get(text) or super().encode(text)


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


def test_the_votes_of_the_policy_on_its_samples_are_compared_at_every_size():
    """The scripted model has one certainty for all, and as many log-probabilities for <right> as for <wrong>."""
    problems = make_problems("p1", "p2")
    sampled = asyncio.run(
        sample_rollouts(
            problems, ScriptedSession(solve_two_plus_three), STARTER, make_config(group_size=20), night=NIGHT, **GRADING
        )
    ).rollouts
    few = first_samples(sampled, max(VOTE_SIZES))
    assert few.num_rows == 2 * 16
    session = replace(ScriptedModel(lambda request: []).session(), tokenizer=WithVerdicts())
    points = asyncio.run(policy_votes(session, problems, few, STARTER, "min"))
    ways = {way for way in FURTHER_VOTES if "self-" in way}
    assert {(point.way, point.budget) for point in points} == {(way, n) for way in ways for n in VOTE_SIZES}
    found = {(point.way, point.budget): point for point in points}
    for n in VOTE_SIZES:
        undecided = found["weighted majority by self-PRM", n]  # every step is as likely right as wrong
        assert undecided.is_right.tolist() == majority(few, n).is_right.tolist()
        assert (undecided.tokens > found["Borda by self-certainty", n].tokens).all()


def test_labels_keep_their_order_and_their_distance():
    assert spread({"a": 0.5, "b": 0.9}, 0.1) == {"a": 0.5, "b": 0.9}
    assert spread({"a": 0.5, "b": 0.5}, 0.1) == pytest.approx({"a": 0.45, "b": 0.55})
    assert spread({"c": 0.6, "b": 0.5, "a": 0.5}, 0.1) == pytest.approx(
        {"b": 0.43333, "a": 0.53333, "c": 0.63333}, 1e-3
    )
