"""MCTSr and MC-NEST: whole answers, their refinements, and which one is refined next."""

import math
import random
from collections import Counter
from dataclasses import replace

import pytest
from search_worlds import make_candidate, make_params, run_search, word_world, words

from pipelines.errors import ConfigError
from pipelines.search.recipes import RECIPES
from pipelines.search.search import SearchFunctions
from pipelines.search.self_refine import AnswerTree, SelfRefine, greedy, importance, pairwise
from pipelines.search.tree import Tree
from pipelines.search.types import Candidate, Continuation, Evaluation, Path

C = 1.4


def answer_world(values, refinements, *, first=("a",), asked=None, **own) -> SearchFunctions:
    """Answers are words worth `values`; `refinements` of a word come one after the other, then none."""

    async def complete(path, num_samples):
        return [Continuation((make_candidate(word, is_terminal=True),), word, None) for word in first[:num_samples]]

    async def refine(path: Path) -> Candidate | None:
        word = path.step_texts[-1]
        if asked is not None:
            asked.append((word, path.draw))
        later = refinements.get(word, ())
        return make_candidate(later[path.draw - 1], is_terminal=True) if path.draw <= len(later) else None

    async def evaluate(path):
        value = values[path.step_texts[-1]]
        return Evaluation(0.0, is_known=False) if value is None else Evaluation(value, value, 1)

    recipe = RECIPES["mcts_self_refine"].with_parameters(None, None, {"num_first_answers": len(first)} | own)
    return replace(recipe.functions(None, evaluate), complete=complete, refine=refine)


def make_answers(values, parents, **own) -> AnswerTree:
    """Answers 1, 2, ... with one reward sample each; `parents` are their nodes."""
    answers = AnswerTree(Tree("t1", {"problem_id": "p1"}), SelfRefine(**own))
    for number, (value, parent) in enumerate(zip(values, parents, strict=True), start=1):
        answers.tree.add_children(parent, [make_candidate(str(number), is_terminal=True)])
        answers.add_reward(number, value)
    return answers


def test_the_quality_is_half_way_between_the_worst_and_the_mean_sample():
    answers = make_answers([0.8], [0])
    answers.add_reward(1, 0.2)
    assert answers.quality(1) == pytest.approx((0.2 + 0.5) / 2)


def test_full_marks_are_suppressed():
    answers = make_answers([0.97, 0.975, 1.0], [0, 0, 0])
    assert [answers.quality(node) for node in (1, 2, 3)] == [0.97, 0.75, 0.75]
    assert make_answers([1.0], [0], full_mark_reward=0.1).quality(1) == 0.1


def test_an_answers_value_is_the_mean_of_its_quality_and_its_best_childs():
    answers = make_answers([0.2, 0.6, 0.4, 0.9], [0, 1, 1, 2])
    assert [answers.value(node) for node in (1, 2, 3, 4)] == pytest.approx([0.4, 0.75, 0.4, 0.9])
    assert answers.value(0) == pytest.approx(0.4)


def test_uct_counts_reward_samples_and_gives_first_answers_no_bonus():
    answers = make_answers([0.2, 0.6], [0, 1])
    answers.add_reward(1, 0.2)
    assert answers.score(1) == pytest.approx(0.4)
    assert answers.score(2) == pytest.approx(0.6 + C * math.sqrt(math.log(3) / 1.00001))


def test_an_answer_with_all_its_children_may_be_refined_again_only_while_none_is_as_good():
    better = make_answers([0.5, 0.1, 0.2, 0.6], [0, 1, 1, 1])
    worse = make_answers([0.5, 0.1, 0.2, 0.4], [0, 1, 1, 1])
    assert (better.to_refine(9), worse.to_refine(9)) == ([2, 3, 4], [1, 2, 3, 4])
    assert better.to_refine(1) == []
    assert make_answers([0.5, 0.6], [0, 1], max_children=1).to_refine(9) == [2]


def test_greedy_takes_the_first_of_the_best():
    assert greedy([0.1, 0.7, 0.7], random.Random(0)) == 1


def test_importance_draws_in_proportion_to_uct_plus_one_over_the_number_of_answers():
    rng = random.Random(1)
    drawn = Counter(importance([0.0, 0.5], rng) for _ in range(6000))
    assert drawn[0] / 6000 == pytest.approx(0.5 / 1.5, abs=0.02)


def test_pairwise_draws_a_pair_by_its_gap_and_keeps_the_better():
    rng = random.Random(1)
    drawn = Counter(pairwise([0.0, 0.3, 1.0], rng) for _ in range(6000))
    assert drawn[0] == 0
    assert drawn[1] / 6000 == pytest.approx(0.3 / 2.0, abs=0.02)
    assert pairwise([0.4], rng) == 0
    assert {pairwise([0.4, 0.4], rng) for _ in range(20)} == {0}


def test_a_search_worked_out_by_hand():
    """a (0.2) and b (0.4) are drawn; b is refined to c (0.1), then the bonus takes c, and c is refined to d (0.6)."""
    world = answer_world({"a": 0.2, "b": 0.4, "c": 0.1, "d": 0.6}, {"b": ("c",), "c": ("d",)}, first=("a", "b"))
    tree = run_search(world, make_params(num_simulations=3))
    assert [tree.candidate[node].step_text for node in range(1, len(tree))] == ["a", "b", "c", "d"]
    assert tree.parent == [-1, 0, 0, 2, 3]
    assert tree.visit_count == [4, 1, 3, 2, 1]
    assert [tree.value(node) for node in range(1, 5)] == pytest.approx([0.2, (0.4 + 0.1) / 2, (0.1 + 0.6) / 2, 0.6])
    assert tree.value(0) == pytest.approx(0.25)


def test_a_right_answer_does_not_stop_the_search():
    asked = []
    run_search(answer_world({"a": 1.0, "b": 0.0}, {"a": ("b",)}, asked=asked), make_params(num_simulations=4))
    assert len(asked) == 3


def test_an_answer_that_cannot_be_refined_is_asked_for_again_with_another_draw():
    asked = []
    tree = run_search(answer_world({"a": 0.5}, {}, asked=asked), make_params(num_simulations=4))
    assert asked == [("a", 1), ("a", 2), ("a", 3)]
    assert (len(tree), tree.visit_count) == (2, [4, 4])


def test_a_text_that_the_tree_holds_already_is_no_new_answer():
    tree = run_search(
        answer_world({"a": 0.5}, {"a": ("a", "a")}, first=("a", "a")), make_params(num_simulations=3)
    )  # fmt: skip
    assert len(tree) == 2


def test_an_answer_that_nobody_can_grade_is_kept_without_a_value_and_never_refined():
    asked = []
    world = answer_world({"a": None, "b": 0.5, "c": None}, {"b": ("c",)}, first=("a", "b"), asked=asked)
    tree = run_search(world, make_params(num_simulations=3))
    assert [word for word, _ in asked] == ["b", "b"]
    assert [tree.value(node) for node in range(1, 4)] == [None, 0.5, None]
    assert run_search(answer_world({"a": None}, {}), make_params()).visit_count == [0, 0]


def test_no_answer_is_refined_at_the_depth_limit():
    asked = []
    world = answer_world({"a": 0.5, "b": 0.5, "c": 0.9}, {"a": ("b",), "b": ("c",)}, asked=asked)
    run_search(world, make_params(num_simulations=6, max_depth=1))
    assert asked == []


def test_a_judge_is_asked_again_at_every_selection_where_that_is_wanted():
    draws = []

    async def judge(path):
        draws.append(path.draw)
        return Evaluation([0.8, 0.4][path.draw])

    world = replace(answer_world({}, {}, resample=True), evaluate=judge)
    tree = run_search(world, make_params(num_simulations=2))
    assert draws == [0, 1]
    assert tree.value(1) == pytest.approx((0.4 + 0.6) / 2)


def test_selections_of_mc_nest_visit_what_greedy_leaves_and_come_out_the_same_again():
    values = {"a": 0.9, "b": 0.1, "x": 0.05, "y": 0.05, "z": 0.05}

    def refined(selection):
        asked = []
        world = answer_world(values, {}, first=("a", "b"), asked=asked, selection=selection)
        run_search(world, make_params(num_simulations=40))
        return [word for word, _ in asked]

    assert set(refined("greedy")) == {"a"}
    assert set(refined("importance")) == {"a", "b"}
    assert refined("importance") == refined("importance")
    assert refined("pairwise") == ["a"] * 39


def test_it_repairs_an_answer_where_puct_can_only_draw_another_first_step():
    """The right word is "c". The policy writes "a" and "b" only, and "c" when it corrects a "b"."""
    fixed = answer_world({"b": 0.0, "c": 1.0}, {"b": ("c",)}, first=("b",))
    tree = run_search(fixed, make_params(num_simulations=2))
    assert tree.outcome_reward[2] == 1.0

    def found_by_puct(num_candidates):
        world = word_world({"c": 1.0}, 1)
        tree = run_search(world, make_params(num_simulations=8, num_candidates=num_candidates))
        return {word: tree.outcome_reward[node] for word, node in words(tree).items() if word}

    assert found_by_puct(2) == {"a": 0.0, "b": 0.0}
    assert found_by_puct(3)["c"] == 1.0  # a policy that draws it as a first step


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"selection": "gready"}, "selection is 'gready'; it must be one of greedy, importance, pairwise"),
        ({"exploration": -1.0}, "exploration is -1.0"),
        ({"num_first_answers": 0}, "num_first_answers is 0; it must be at least 1"),
        ({"max_children": 0}, "max_children is 0"),
        ({"full_mark": 1.5}, "full_mark is 1.5"),
    ],
)
def test_impossible_parameters_are_refused(own, message):
    with pytest.raises(ConfigError, match=message):
        RECIPES["mc_nest"].with_parameters(None, None, own)
