"""Stages of samples by hand: how many, from where, and when they end."""

import math
from dataclasses import replace

import pytest
from search_worlds import (
    make_candidate,
    make_continuation,
    make_params,
    run_search,
    scripted_completions,
    word_world,
    words,
)

from pipelines.errors import ConfigError
from pipelines.search.iterative_deepening import majority, shares, stage_sizes
from pipelines.search.recipes import RECIPES
from pipelines.search.sampled import Ending

RECIPE = RECIPES["iterative_deepening"]


def deepen(values, script, num_simulations=6, **own):
    """The tree, and what was asked: (text of the path, draw, samples). B0 = 2, and half of the samples must agree."""
    asked = []
    own = {"first_budget": 2, "min_share": 0.5} | own
    world = word_world(values, 9, recipe="iterative_deepening", own=own)
    completions = scripted_completions(
        {text: [make_continuation(end) for end in ends] for text, ends in script.items()}, asked
    )

    def reopen(path, text):
        return replace(path.steps[-1], is_terminal=False), make_candidate(text)

    functions = replace(world, complete=completions, reopen=reopen)
    return run_search(functions, make_params(num_simulations=num_simulations, num_candidates=16)), asked


def test_the_budget_grows_by_gamma_until_it_is_spent():
    assert list(stage_sizes(16, 2, 2.0)) == [2, 4, 8, 2]
    assert list(stage_sizes(7, 3, 1.0)) == [3, 3, 1]
    assert list(stage_sizes(9, 2, 1.5)) == [2, 3, 4]  # 2, 3, 4.5
    assert list(stage_sizes(0, 2, 2.0)) == []


def test_the_majority_is_a_share_of_all_samples_also_of_those_without_an_answer():
    endings = [Ending(1, "6"), Ending(2, "5"), Ending(3, None), Ending(4, "5")]
    assert majority(endings) == ("5", 0.5)
    assert majority(endings[:2]) == ("6", 0.5)
    assert majority(endings[2:3]) == (None, 0.0)


def test_a_stages_samples_are_shared_out_equally():
    assert shares(4, 2) == [2, 2]
    assert shares(5, 3) == [2, 2, 1]
    assert shares(1, 2) == [1, 0]


def test_a_stage_resumes_before_the_step_at_which_the_value_falls_most():
    # Root: mean return (0.5 + 0.2) / 2 = 0.35. x: 0.8 (a rise), x5: 0.5 (a fall of 0.3): resume after x.
    # y: 0.1 (a fall of 0.25), y6: 0.2 (a rise): the first step is the weakest, and its answer starts anew.
    values = {"x": 0.8, "x5": 0.5, "y": 0.1, "y6": 0.2}
    tree, asked = deepen(values, {"": ["x 5", "y 6", "x 5", "x 5"], "x": ["5", "5"]})
    assert asked == [("", 0, 2), ("x", 1, 2), ("", 2, 2)]
    assert tree.raw_value[words(tree)["x"]] == 0.8  # valued to find the step, and no visit of its own
    assert tree.visit_count[words(tree)["x"]] == 5


def test_as_many_answers_are_resumed_as_there_were_first_samples_the_best_ones():
    # three answers after the second stage, of which x5 (0.4) and z7 (0.6) are resumed, the best first
    values = {"x": 0.9, "x5": 0.4, "y": 0.9, "y6": 0.1, "z": 0.9, "z7": 0.6}
    script = {"": ["x 5", "y 6", "z 7"], "x": ["5"] * 3, "y": ["6"], "z": ["7"] * 3}
    _, asked = deepen(values, script, num_simulations=7, growth=1.0, min_share=1.0)
    assert asked[:3] == [("", 0, 2), ("x", 1, 1), ("y", 2, 1)]
    values["x5"] = values["y6"] = 0.0  # what is worth nothing is resumed all the same; equal ones in order of creation
    _, asked = deepen(values, script, num_simulations=4, min_share=1.0)
    assert asked == [("", 0, 2), ("x", 1, 1), ("y", 2, 1)]


def test_an_answer_that_is_missing_is_sampled_for_from_the_root():
    # two equal samples are one answer: the other half of the stage starts anew, and finds a better one
    values = {"x": 0.8, "x5": 0.5, "y": 0.9, "y6": 0.7}
    _, asked = deepen(values, {"": ["x 5", "x 5", "y 6", "y 6"], "x": ["5"] * 9, "y": ["6"] * 9}, 14, min_share=1.0)
    assert asked == [("", 0, 2), ("x", 1, 2), ("", 2, 2), ("y", 3, 4), ("x", 4, 4)]


def test_a_majority_that_a_stage_leaves_as_it_was_ends_the_search():
    script = {"": ["x 5"] * 4, "x": ["5"] * 30}
    tree, asked = deepen({"x": 0.8, "x5": 0.5}, script, num_simulations=30)
    assert sum(size for _, _, size in asked) == 6
    assert tree.visit_count[0] == 6
    undecided = {"": ["x 5", "x 6"], "x": ["5", "6"] * 20}
    _, strict = deepen({"x": 0.8, "x5": 0.5, "x6": 0.4}, undecided, num_simulations=30, min_share=0.9)
    assert sum(size for _, _, size in strict) == 30  # half of the samples agree, and 0.9 are asked for


def test_a_stage_that_brings_nothing_confirms_nothing():
    _, asked = deepen({"x": 0.8, "x5": 0.5}, {"": ["x 5", "x 5"]}, num_simulations=14)
    assert [(text, size) for text, _, size in asked] == [("", 2), ("x", 2), ("", 2), ("x", 4), ("", 4)]


def test_a_budget_that_is_spent_during_a_stage_buys_no_more_values():
    valued = []
    world = word_world({"x": 0.8, "x5": 0.5}, 9, recipe="iterative_deepening", own={"first_budget": 2})

    async def evaluate(path):
        valued.append("".join(path.step_texts))
        return await world.evaluate(path)

    complete = scripted_completions({"": [make_continuation("x 5"), make_continuation("x 6")], "x": []})
    functions = replace(world, evaluate=evaluate, complete=complete, is_done=lambda tree: len(tree) > 1)
    run_search(functions, make_params(num_simulations=30, num_candidates=16))
    assert valued == ["x5", "x6"]  # and not x, which only a further stage would need


def test_the_weakest_step_is_one_of_those_that_are_known():
    # Root: 0.5. Nothing is known of x; from 0.5 the value rises to 0.6 (xy) and falls to 0.5 (xy5): resume after y.
    asked = []
    world = word_world({"xy": 0.6, "xy5": 0.5}, 9, recipe="iterative_deepening", own={"first_budget": 1})

    async def evaluate(path):
        evaluation = await world.evaluate(path)
        return replace(evaluation, is_known=False) if path.step_texts == ["x"] else evaluation

    complete = scripted_completions({"": [make_continuation("x y 5")]}, asked)
    run_search(replace(world, evaluate=evaluate, complete=complete), make_params(num_simulations=3))
    assert asked == [("", 0, 1), ("x y", 1, 2)]


def test_an_answer_of_enough_value_ends_the_search_at_once():
    tree, asked = deepen({"x5": 0.95}, {"": ["x 5", "y 6"]}, num_simulations=30)
    assert asked == [("", 0, 2)]
    # puct spends what it has
    puct = run_search(word_world({"a": 0.95}, 4), make_params(num_simulations=6))
    assert (len(tree), len(puct)) == (5, 13)


def test_without_any_answer_the_stages_start_anew():
    asked = []
    cut_off = replace(make_continuation("x"), answer=None)
    world = word_world({"x": 0.99}, 9, recipe="iterative_deepening", own={"first_budget": 2})
    run_search(
        replace(world, complete=scripted_completions({"": [cut_off] * 6}, asked)),
        make_params(num_simulations=6, num_candidates=4),
    )
    assert asked == [("", 0, 2), ("", 1, 4)]  # and its value verifies nothing


def test_a_trigger_reopens_the_best_answers_and_the_next_stage_follows_them():
    script = {"": ["x 6", "y 7"], "x 6 wait": ["x 5", "6"], "y 7 wait": ["7", "8"]}
    tree, asked = deepen({"x6": 0.4, "x6waitx5": 0.7}, script, trigger="wait")
    assert asked == [("", 0, 2), ("x 6 wait", 1, 2), ("y 7 wait", 2, 2)]
    found = words(tree)
    ends = [node for node in tree.children[found["x"]] if tree.candidate[node].step_text == "6"]
    assert [tree.is_terminal(node) for node in ends] == [True, False]  # the answer, and the answer made open again
    assert [tree.visit_count[node] for node in ends] == [1, 2]
    assert tree.visit_count[found["x6waitx5"]] == 1
    assert tree.raw_value[found["x6wait"]] is None


def test_an_answer_that_was_reopened_can_be_reopened_again():
    script = {"": ["x 6"], "x 6 wait": ["x 5"] * 2, "x 6 wait x 5 wait": ["8"] * 4}
    _, asked = deepen({"x6": 0.4, "x6waitx5": 0.7}, script, 7, trigger="wait", min_share=1.0, first_budget=1)
    assert [text for text, _, _ in asked] == ["", "x 6 wait", "x 6 wait x 5 wait"]


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"first_budget": 0}, "first_budget is 0; it must be at least 1"),
        ({"growth": 0.5}, "growth is 0.5; it must be between 1 and 1000"),
        ({"growth": math.nan}, "growth is nan"),
        ({"min_share": 0.0}, "min_share is 0.0; it must be above 0"),
        ({"min_value": 1.5}, "min_value is 1.5; it must be above 0 and at most 1"),
        ({"vote": "loudest"}, "vote is 'loudest'"),
    ],
)
def test_stages_that_make_no_sense_are_refused(own, message):
    with pytest.raises(ConfigError, match=message):
        RECIPE.with_parameters(None, None, own)
