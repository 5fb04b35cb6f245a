"""Whole samples as paths of a tree: what is shared, counted and valued, by hand."""

from dataclasses import replace

import pytest
from search_worlds import make_continuation, make_params, run_search, scripted_completions, word_world, words

from pipelines.search.extraction import node_rows
from pipelines.search.picks import VOTES, CompletePath, pick_by_vote
from pipelines.search.recipes import RECIPES
from pipelines.search.tree import ROOT


def best_of_n(values, samples, num_simulations, asked=None, **own):
    world = word_world(values, 9, recipe="best_of_n", own=own)
    script = scripted_completions({"": samples}, asked)
    return run_search(replace(world, complete=script), make_params(num_simulations=num_simulations, num_candidates=4))


#   root --- x --- y  (twice)
#        |    \--- z
#        \-- w
SAMPLES = [make_continuation(text) for text in ("x y", "x z", "w", "x y")]


def test_samples_share_their_first_steps_and_each_is_a_visit_of_its_end():
    asked = []
    tree = best_of_n({"xy": 0.75, "xz": 0.25, "w": 0.5}, SAMPLES, 4, asked)
    assert asked == [("", 0, 4)]
    found = words(tree)
    assert {word: tree.visit_count[node] for word, node in found.items()} == {"": 4, "x": 3, "xy": 2, "xz": 1, "w": 1}
    assert tree.value(found["x"]) == pytest.approx((0.75 + 0.25 + 0.75) / 3)
    assert tree.value(ROOT) == pytest.approx((0.75 + 0.25 + 0.5 + 0.75) / 4)
    assert tree.raw_value[found["x"]] is None  # a step in between has returns and no estimate
    assert tree.raw_value[found["xy"]] == 0.75


def test_a_request_asks_for_as_many_samples_as_an_expansion_for_steps():
    asked = []
    best_of_n({}, SAMPLES * 3, 10, asked)
    assert asked == [("", 0, 4), ("", 1, 4), ("", 2, 2)]


def test_an_answer_is_valued_once_however_often_it_was_sampled():
    valued = []
    world = word_world({}, 9, recipe="best_of_n")

    async def evaluate(path):
        valued.append("".join(path.step_texts))
        return await world.evaluate(path)

    script = scripted_completions({"": SAMPLES})
    run_search(replace(world, evaluate=evaluate, complete=script), make_params(num_simulations=4))
    assert valued == ["xy", "xz", "w"]


def test_graded_samples_are_worth_their_grades_and_are_all_counted():
    graded = [make_continuation("x y", 1.0), make_continuation("x z", 0.0), make_continuation("x y", 1.0)]
    rows = {row["step_text"]: row for row in node_rows(best_of_n({"xy": 0.1}, graded, 3), "2026-01-01")}
    assert (rows["y"]["raw_value"], rows["y"]["outcome_reward"], rows["y"]["num_samples"]) == (1.0, 1.0, 2)
    assert (rows["z"]["raw_value"], rows["z"]["outcome_reward"], rows["z"]["num_samples"]) == (0.0, 0.0, 1)
    assert (rows["x"]["value"], rows["x"]["visit_count"], rows["x"]["num_samples"]) == (pytest.approx(2 / 3), 3, 0)


def test_equal_texts_with_other_tokens_are_kept_apart_because_what_follows_belongs_to_the_tokens():
    spelled = make_continuation("x y")
    other = replace(spelled, steps=(replace(spelled.steps[0], token_ids=(1, 2)), spelled.steps[1]))
    tree = best_of_n({"xy": 0.5}, [spelled, other], 2)
    assert [tree.candidate[child].token_ids for child in tree.children[ROOT]] == [(ord("x"),), (1, 2)]


def test_a_step_that_ends_a_sample_is_no_prefix_of_another():
    tree = best_of_n({}, [make_continuation("x"), make_continuation("x y")], 2)
    assert [tree.is_terminal(child) for child in tree.children[ROOT]] == [True, False]


def test_best_of_n_spreads_as_the_policy_does_where_puct_goes_where_the_value_is():
    values = {"a": 0.9, "aa": 0.9, "aaa": 0.9}
    tree = run_search(word_world(values, 4, recipe="best_of_n"), make_params(num_simulations=64))
    assert tree.visit_count[words(tree)["b"]] == pytest.approx(32, abs=12)
    by_puct = run_search(word_world(values, 4, exploration=0.0), make_params(num_simulations=3))
    assert by_puct.visit_count[words(by_puct)["b"]] == 1


def test_a_vote_by_rank_is_blind_to_how_far_scores_lie_apart():
    """Ranks 1 | 2 3 | 4 5 of five samples: "3" sqrt(5) = 2.24, "2" sqrt(4) + sqrt(3) = 3.73, "1" sqrt(2) + 1 = 2.41."""
    paths = [CompletePath(1, "1", 0.0, 2), CompletePath(2, "2", 0.01, 2), CompletePath(3, "3", 0.9, 1)]
    assert pick_by_vote(best_of_n({}, [], 0), paths).node_id == 3  # 0.9 against 0.02
    assert VOTES["borda"](best_of_n({}, [], 0), paths).node_id == 2


def test_the_policys_own_log_probability_picks_by_sum_or_by_mean():
    """xx y: three tokens of -1, -3 in all; z: one of -2."""
    samples = [make_continuation("xx y", logprobs=[-1.0, -1.0]), make_continuation("z", logprobs=[-2.0])]
    tree = best_of_n({"xxy": 0.1, "z": 0.9}, samples, 2)
    leaves = {tree.path(node).steps[-1].step_text: node for node in tree.terminals()}
    paths = [CompletePath(node, text, 0.5) for text, node in leaves.items()]
    assert VOTES["logprob"](tree, paths).answer == "z"
    assert VOTES["mean_logprob"](tree, paths).answer == "y"
    recipe = RECIPES["best_of_n"].with_parameters(None, None, {"vote": "mean_logprob"})
    assert recipe.make_pick(recipe.params)(tree, paths).answer == "y"


@pytest.mark.parametrize(("vote", "chosen"), [("best", 3), ("majority", 1), ("weighted", 2)])
def test_the_vote_is_a_parameter(vote, chosen):
    # "1": 3 samples of 0.1; "2": 2 of 0.4; "3": one of 0.7
    paths = [CompletePath(1, "1", 0.1, 3), CompletePath(2, "2", 0.4, 2), CompletePath(3, "3", 0.7, 1)]
    recipe = RECIPES["best_of_n"].with_parameters(None, None, {"vote": vote})
    tree = best_of_n({}, [], 0)
    assert recipe.make_pick(recipe.params)(tree, paths).node_id == chosen
