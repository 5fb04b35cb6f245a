"""Several kinds of steps, ends of +1 and -1, and agreement instead of grades, by hand and in both faces."""

import asyncio
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reasoning_worlds import (
    GRADING,
    NIGHT,
    STARTER,
    ScriptedSession,
    make_config,
    make_problems,
    solve_two_plus_three,
)
from search_worlds import make_candidate, make_params, make_tree, run_search, word_world, words

from pipelines.reasoning.evaluate import critic_evaluator
from pipelines.reasoning.solve import solve_with_critic
from pipelines.rollouts import search_rollouts
from pipelines.search.recipes import RECIPES
from pipelines.search.rstar import REMAINING_STEPS, RStar, prefix_length
from pipelines.search.search import mean_backup
from pipelines.search.selection import rstar, uct
from pipelines.search.tree import ROOT
from pipelines.search.types import Continuation, Evaluation


def rstar_world(values, length=3, **own):
    return word_world(values, length, recipe="rstar", exploration=None, own=own)


def test_an_unvisited_child_ranks_below_a_good_one_and_above_a_bad_one():
    """After one visit ln N_p = 0: a right child has 1, a wrong one -1, an unvisited one 0, where UCB1 puts it first."""
    for value, expected in ((1.0, 2), (0.0, 1)):
        tree = make_tree(2)
        mean_backup(tree, 2, value)
        assert rstar(tree, ROOT, [1, 2], exploration=2.0) == expected
        assert uct(tree, ROOT, [1, 2], exploration=2.0) == 1


def test_the_score_is_the_signed_mean_and_the_bonus_for_few_visits():
    """q = 0.5 after two visits, q = -1 after one, N_p = 3: 0.5 + c sqrt(ln 3 / 2) against -1 + c sqrt(ln 3)."""
    tree = make_tree(2)
    for child, value in ((1, 1.0), (1, 0.5), (2, 0.0)):
        mean_backup(tree, child, value)
    crossing = 1.5 / (math.sqrt(math.log(3)) - math.sqrt(math.log(3) / 2))
    assert rstar(tree, ROOT, [1, 2], exploration=crossing - 0.01) == 1
    assert rstar(tree, ROOT, [1, 2], exploration=crossing + 0.01) == 2


def test_an_estimate_counts_as_the_first_visit():
    tree = make_tree(2)
    tree.record_evaluation(1, Evaluation(0.25))
    assert rstar(tree, ROOT, [1, 2], exploration=0.0) == 2  # -0.5 against 0 of the unvisited one
    tree.record_evaluation(2, Evaluation(0.0))
    mean_backup(tree, 2, 1.0)  # (0 + 1) / 2: q = 0
    assert rstar(tree, ROOT, [1, 2], exploration=0.0) == 2


def test_an_estimate_that_is_not_known_is_no_visit():
    tree = make_tree(2)
    tree.record_evaluation(1, Evaluation(0.0, is_known=False))
    tree.record_evaluation(2, Evaluation(0.25))
    assert rstar(tree, ROOT, [1, 2], exploration=0.0) == 1  # 0 of what was never visited against -0.5


def test_next_steps_and_the_remaining_steps_become_one_tree():
    """Two letters are proposed, and aaa is the continuation, whose first step is known by its tokens."""
    tree = run_search(rstar_world({"aaa": 1.0}), make_params(num_simulations=1))
    assert set(words(tree)) == {"", "a", "b", "aa", "aaa"}
    found = words(tree)
    assert [tree.candidate[found[word]].action for word in ("a", "b", "aa", "aaa")] == ["", "", *[REMAINING_STEPS] * 2]
    assert tree.outcome_reward[found["aaa"]] == 1.0
    assert [tree.visit_count[found[word]] for word in ("", "a", "aa", "aaa", "b")] == [1, 1, 1, 1, 0]
    assert [tree.value(found[word]) for word in ("", "a", "aa", "aaa")] == [1.0] * 4


def test_a_step_of_a_chain_is_expanded_later_like_any_other():
    world = rstar_world({"aaa": 1.0, "a": 1.0, "aab": 0.0})
    tree = run_search(world, make_params(num_simulations=3))
    found = words(tree)
    assert {"ab", "aab"} <= set(found)
    assert tree.visit_count[ROOT] == len(tree.terminals())


def test_steps_of_further_actions_carry_their_name_and_equal_ones_are_one_child():
    async def think_again(path, num_candidates):
        return [make_candidate("a"), make_candidate("z")]

    world = replace(rstar_world({}), actions={"think_again": think_again})
    tree = run_search(world, make_params(num_simulations=1))
    actions = {tree.candidate[child].step_text: tree.candidate[child].action for child in tree.children[ROOT]}
    assert actions == {"a": "", "b": "", "z": "think_again"}


def test_a_simulation_expands_until_a_path_is_complete():
    tree = run_search(rstar_world({}, num_completions=0), make_params(num_simulations=1))
    assert set(words(tree)) == {"", "a", "b", "aa", "ab", "aaa", "aab"}
    assert (tree.visit_count[ROOT], tree.value(ROOT)) == (2, 0.0)


def test_only_ends_guide_the_search_where_steps_are_not_valued():
    """The chain aaa is right, so the next simulation goes on below a, though b was never visited; puct values b too."""
    world = rstar_world({"aaa": 1.0}, value_steps=False)
    tree = run_search(world, make_params(num_simulations=2))
    found = words(tree)
    assert tree.raw_value[found["a"]] is None
    assert tree.children[found["a"]]
    assert not tree.children[found["b"]]
    assert tree.visit_count[found["b"]] == 0
    other = run_search(word_world({"aaa": 1.0}, 3), make_params(num_simulations=2))
    assert other.visit_count[words(other)["b"]] > 0
    wrong = run_search(rstar_world({}, value_steps=False), make_params(num_simulations=2))
    assert wrong.children[words(wrong)["b"]]  # -1 is less than 0 of what was never visited


def test_errors_count_for_themselves_alone():
    """a has no successor, b is cut off."""
    world = rstar_world({}, num_completions=0, value_steps=False)
    cut = replace(make_candidate("b", is_terminal=True), finish_reason="length")

    async def propose(path, num_candidates):
        return [make_candidate("a"), cut] if not path.steps else []

    tree = run_search(replace(world, propose=propose), make_params(num_simulations=4))
    assert tree.visit_count == [0, 1, 1]
    assert (tree.value(1), tree.value(2)) == (0.0, 0.0)
    assert tree.is_exhausted == [True, True, True]


@pytest.mark.parametrize("value_steps", [False, True])
def test_too_many_steps_are_an_error_and_count_for_themselves_alone(value_steps):
    """No path ends within two steps: every step at the limit is worth -1 (0 in the tables), those above nothing."""
    world = rstar_world({"a": 0.5, "ab": 1.0}, 9, num_completions=0, value_steps=value_steps)
    tree = run_search(world, make_params(num_simulations=9, max_depth=2))
    found = words(tree)
    assert {word: tree.value(found[word]) for word in ("aa", "ab", "ba", "bb")} == dict.fromkeys(
        ["aa", "ab", "ba", "bb"], 0.0
    )
    assert [tree.visit_count[found[word]] for word in ("", "a", "b", "aa", "ab", "ba", "bb")] == [0, 0, 0, 1, 1, 1, 1]
    assert tree.is_exhausted[ROOT]


def test_a_chain_that_goes_beyond_the_depth_limit_to_an_answer_is_no_error():
    tree = run_search(rstar_world({"aaa": 1.0}, value_steps=False), make_params(num_simulations=1, max_depth=1))
    found = words(tree)
    assert [tree.value(found[word]) for word in ("a", "aa", "aaa")] == [1.0] * 3
    assert (tree.value(found["b"]), tree.visit_count[found["b"]]) == (0.0, 1)


def agreeing_world(answers):
    """One step "end" to the answer x; second completions end in `answers`."""
    prefixes = []
    world = rstar_world({}, num_completions=0, value_steps=False, num_agreements=len(answers))

    async def propose(path, num_candidates):
        return [make_candidate("step" if len(path.steps) < 3 else "end", is_terminal=len(path.steps) == 3)]

    async def complete(path, num_samples):
        prefixes.append((len(path.steps), path.draw))
        return [Continuation((make_candidate("e", is_terminal=True),), answer, None) for answer in answers]

    return replace(world, propose=propose, complete=complete, answer_of=lambda path: "x"), prefixes


def test_without_grades_an_end_is_worth_the_share_of_second_completions_that_agree():
    world, prefixes = agreeing_world(["x", "y", "x", None])
    tree = run_search(world, make_params(num_simulations=1, max_depth=9))
    assert tree.value_sum == [0.5] * 5
    assert (tree.raw_value[4], tree.outcome_reward[4], tree.num_samples[4]) == (0.5, None, 0)
    assert prefixes == [(prefix_length(4, "t1", 4, RStar()), 4)]


def test_without_second_completions_an_end_is_not_known():
    world, _ = agreeing_world(["x"])

    async def no_room(path, num_samples):
        return []

    tree = run_search(replace(world, complete=no_room), make_params(num_simulations=1, max_depth=9))
    assert tree.visit_count == [0] * 5
    assert not tree.is_known[4]


@given(st.integers(1, 60), st.integers(1, 500))
def test_the_prefix_is_a_fifth_to_four_fifths_of_the_steps_and_the_same_every_time(num_steps, leaf):
    length = prefix_length(num_steps, "t1", leaf, RStar())
    assert 0 <= length < num_steps
    assert math.floor(0.2 * num_steps) <= length <= math.ceil(0.8 * num_steps)
    assert length == prefix_length(num_steps, "t1", leaf, RStar())


def test_prefixes_differ_from_end_to_end():
    assert len({prefix_length(50, "t1", leaf, RStar()) for leaf in range(1, 40)}) > 10


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"exploration": -1.0}, "exploration is -1.0"),
        ({"num_completions": -1}, "num_completions is -1"),
        ({"num_agreements": 0}, "num_agreements is 0"),
        ({"min_prefix": 0.9}, "min_prefix is 0.9 and max_prefix 0.8"),
    ],
)
def test_impossible_parameters_are_refused(own, message):
    with pytest.raises(ValueError, match=message):
        RStar(**own)


def test_a_night_of_rstar_grades_its_ends():
    config = make_config(recipe="rstar")
    problems, session = make_problems("p1"), ScriptedSession(solve_two_plus_three)
    result = asyncio.run(search_rollouts(problems, session, STARTER, config, night=NIGHT, **GRADING))
    nodes = {row["step_text"]: row for row in result.search_nodes.to_pylist()}
    assert (nodes["#### 5"]["value"], nodes["#### 6"]["value"]) == (1.0, 0.0)
    assert (nodes["2+3=5"]["value"], nodes["2+3=5"]["raw_value"], nodes["2+3=5"]["num_samples"]) == (1.0, 1.0, 2)
    assert {row["answer"]: row["outcome_reward"] for row in result.rollouts.to_pylist()} == {"5": 1.0, "6": 0.0}


@pytest.mark.parametrize("value_steps", [True, False])
def test_answering_asks_for_agreement_and_sees_no_grade(value_steps):
    asked = []

    def watching_grade(grader, problem, answer, steps):
        asked.append(answer)
        return GRADING["grade"](grader, problem, answer, steps)

    def score(prompts, steps):
        return [[0.5 for _ in path] for path in steps]

    session = ScriptedSession(solve_two_plus_three)
    (solution,) = asyncio.run(
        solve_with_critic(
            make_problems("p1"), session, STARTER, make_config(parameters={"value_steps": value_steps}), night=NIGHT,
            evaluate=critic_evaluator(score, STARTER), recipe=RECIPES["rstar"], **(GRADING | {"grade": watching_grade}),
        )
    )  # fmt: skip
    assert asked == [solution.answer]
    assert solution.num_complete_paths == 2
    assert solution.score in (0.0, 0.25, 0.5, 0.75, 1.0)
    assert solution.error is None
