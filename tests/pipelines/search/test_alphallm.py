"""Widths, merged steps and three critics of AlphaLLM's search, by hand and in both faces."""

import asyncio
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
from search_worlds import PROBLEM, make_candidate, make_params, run_search, word_world, words

from pipelines.config import TreeExtractsConfig
from pipelines.errors import ConfigError
from pipelines.reasoning.evaluate import critic_evaluator
from pipelines.reasoning.solve import solve_with_critic
from pipelines.rollouts import search_rollouts
from pipelines.rows import rows_to_table
from pipelines.search.alphallm import AlphaLlm, importance, relative_distance, width
from pipelines.search.extraction import edge_rows, node_rows
from pipelines.search.recipes import RECIPES
from pipelines.search.tree import ROOT, Tree
from pipelines.search.types import Continuation, Evaluation
from pipelines.tree_extracts import node_values
from pipelines.warehouse import Warehouse


def alphallm_world(values, length=3, **own):
    """One step per simulation, unless said otherwise."""
    own = {"to_the_end": False} | own
    return word_world(values, length, recipe="alphallm", exploration=None, own=own)


def test_importance_is_the_largest_distance_of_a_child_from_its_node():
    assert importance(0.5, [0.5, 0.75, 0.125]) == 0.375
    assert importance(None, [0.0, 1.0, 0.5]) == 0.5
    assert importance(0.5, []) == 0.0


@pytest.mark.parametrize(
    ("depth", "of", "expected"),
    [
        (0, 0.0, 6),  # the root's least width
        (1, 0.0, 3),
        (1, 0.6, 4),  # floor(6 * 0.6) + 1
        (1, 1.0, 7),
        (0, 1.0, 7),
        (10, 1.0, 1),  # beyond max_split_depth
    ],
)
def test_a_node_may_have_as_many_children_as_it_is_important(depth, of, expected):
    assert width(AlphaLlm(), depth, of) == expected
    assert width(AlphaLlm(importance_factor=100.0), 1, of) in (3, 10)


def test_distances_are_edits_over_the_longer_text():
    assert relative_distance("2+3=5", "2+3=6") == pytest.approx(1 / 5)
    assert relative_distance("kitten", "sitting") == pytest.approx(3 / 7)
    assert relative_distance("", "ab") == 1.0
    assert relative_distance("", "") == 0.0


@given(st.text("ab", max_size=6), st.text("ab", max_size=6))
def test_a_distance_is_symmetric_and_zero_for_equal_texts_only(one, other):
    assert relative_distance(one, other) == relative_distance(other, one)
    assert (relative_distance(one, other) == 0) == (one == other)
    assert relative_distance(one, other, 0.5) in (relative_distance(one, other), 1.0)
    assert (relative_distance(one, other, 0.5) <= 0.5) == (relative_distance(one, other) <= 0.5)
    assert abs(len(one) - len(other)) <= relative_distance(one, other) * max(len(one), len(other), 1) <= 6


def test_a_node_is_widened_by_one_draw_after_another():
    draws = []
    world = alphallm_world({}, root_width=3, importance_factor=0.0)

    async def propose(path, num_candidates):
        draws.append(("".join(path.step_texts), path.draw, num_candidates))
        return await world.propose(path, num_candidates)

    tree = run_search(replace(world, propose=propose), make_params(num_simulations=4))
    assert draws[:3] == [("", 0, 1), ("", 1, 1), ("", 2, 1)]
    assert draws[3] == ("a", 0, 1)
    assert set(words(tree)) == {"", "a", "b", "c", "aa"}


def test_a_simulation_goes_on_to_the_end_of_its_path():
    tree = run_search(alphallm_world({}, 3, to_the_end=True, root_width=2), make_params(num_simulations=2))
    assert set(words(tree)) == {"", "a", "aa", "aaa", "b", "ba", "baa"}
    assert tree.visit_count == [6, 3, 2, 1, 3, 2, 1]


def test_important_nodes_become_wider_than_unimportant_ones_where_puct_gives_all_as_many_children():
    """Below a all steps are equal, below b one is right: v(b) = 0.5, I(b) = 0.5, n(b) = floor(8 * 0.5) + 1 = 5."""
    values = {"a": 0.5, "b": 0.5, "ba": 1.0} | {"a" + letter: 0.5 for letter in "abcdefgh"}
    world = alphallm_world(
        values, 2, root_width=2, min_width=2, importance_factor=8.0, outcome_weight=0.0, exploration=2.0
    )
    tree = run_search(world, make_params(num_simulations=60))
    found = words(tree)
    assert [len(tree.children[found[word]]) for word in ("", "a", "b")] == [2, 2, 5]
    other = run_search(word_world(values, 2), make_params(num_simulations=60))
    assert {len(other.children[words(other)[word]]) for word in ("", "a", "b")} == {2}


def test_a_paraphrase_is_merged_with_its_sibling_after_all_tries():
    said = ["take three from five", "take 3 from five", "take three of five", "take three from 5", "take 3 of five"]
    world = alphallm_world({}, min_distance=0.5, num_tries=2, root_width=2)

    async def propose(path, num_candidates):
        return [make_candidate(said[path.draw])] if not path.steps else []

    async def complete(path, num_samples):
        return []

    tree = run_search(replace(world, propose=propose, complete=complete), make_params(num_simulations=2))
    assert [tree.candidate[child].step_text for child in tree.children[ROOT]] == [said[0]]
    assert tree.extra_edges == [(0, 1, "take 3 from five")]  # 5 of 20 edits; the other try has 3 of 20
    assert [row["action"] for row in edge_rows(tree, "n")] == [said[0], said[1]]
    assert tree.visit_count == [1, 1]


def test_the_same_step_again_is_merged_and_adds_no_second_edge():
    world = alphallm_world({}, root_width=2)

    async def propose(path, num_candidates):
        return [make_candidate("same", is_terminal=True)]

    tree = run_search(replace(world, propose=propose), make_params(num_simulations=8))
    assert (len(tree), tree.extra_edges, tree.is_exhausted) == (2, [], [True, True])
    assert tree.visit_count == [1, 1]


def test_states_reached_in_another_order_are_one_where_that_is_asked_for():
    own = {"root_width": 2, "min_width": 2, "importance_factor": 0.0, "outcome_weight": 0.0}
    apart = run_search(alphallm_world({}, 3, **own), make_params(num_simulations=6))
    assert {"ab", "ba"} <= set(words(apart))
    tree = run_search(alphallm_world({}, 3, **own, merge_states=True), make_params(num_simulations=6))
    found = words(tree)
    assert ("ab" in found) != ("ba" in found)
    kept, lost = ("ab", "ba") if "ab" in found else ("ba", "ab")
    assert tree.extra_edges == [(found[lost[0]], found[kept], lost[1])]


def test_what_is_below_a_merged_state_counts_for_both_parents():
    """0 - 1 a - 2 ab, merged from 3 b: three of four completions of 2 were right."""
    tree = Tree("t1", PROBLEM)
    tree.add_children(ROOT, [make_candidate("a")])
    tree.add_children(1, [make_candidate("b")])
    tree.add_children(ROOT, [make_candidate("b")])
    tree.record_evaluation(2, Evaluation(0.75, None, 4))
    tree.add_edge(3, 2, "a")
    nodes, edges = (rows_to_table(name, list(rows(tree, "n"))) for name, rows in TABLES.items())
    counted = node_values(nodes, edges, TreeExtractsConfig(), "n").to_pylist()
    shares = {row["node_id"]: row["num_right"] for row in counted if row["method"] == "monte_carlo"}
    assert shares == {0: 3, 1: 3, 2: 3, 3: 3}
    with Warehouse.over({"search_nodes": nodes, "search_edges": edges}) as warehouse:
        for check in ("search_edges_join_nodes", "search_nodes_form_trees", "unique_keys"):
            assert warehouse.named(f"checks/{check}").num_rows == 0


TABLES = {"search_nodes": node_rows, "search_edges": edge_rows}


def value_of_one_step(critics=None, *, grades=(1.0, 0.0, 0.0, 0.0), evaluation=None, **own):
    """(backed-up value, raw value, number of samples) of the first step, which the value critic gives 0.5."""
    world = alphallm_world({}, num_rollouts=4, **own)

    async def evaluate(path):
        return evaluation or Evaluation(0.9 if path.is_terminal else 0.5, num_critic_tokens=1)

    async def complete(path, num_samples):
        end = make_candidate("end", is_terminal=True)
        return [Continuation((end,), "", grades[index]) for index in range(num_samples)]

    functions = replace(world, evaluate=evaluate, complete=complete, critics=critics or {})
    tree = run_search(functions, make_params(num_simulations=1))
    return tree.value(1), tree.raw_value[1], tree.num_samples[1], tree.num_critic_tokens


def make_critic(value):
    async def evaluate(path):
        return Evaluation(value, num_critic_tokens=10)

    return evaluate


def test_until_an_outcome_critic_is_trained_the_mean_grade_of_the_rollouts_stands_in():
    """(0.5 + 0.25) / 2 is backed up; the table keeps one right completion of four."""
    assert value_of_one_step() == (0.375, 0.25, 4, 1)


def test_a_trained_outcome_critic_is_asked_about_the_ends_and_the_grades_stay_labels():
    assert value_of_one_step({"outcome": make_critic(1.0)}) == (0.75, 0.25, 4, 1 + 4 * 10)


def test_the_process_critic_has_its_share_where_it_has_weight():
    critics = {"outcome": make_critic(1.0), "process": make_critic(0.0)}
    value, *_ = value_of_one_step(critics, process_weight=2.0)
    assert value == pytest.approx((0.5 + 2 * 0.0 + 1.0) / 4)
    assert value_of_one_step(critics)[0] == 0.75


def test_a_critic_that_cannot_read_the_path_has_no_share():
    async def knows_nothing(path):
        return Evaluation(0.0, is_known=False, num_critic_tokens=10)

    critics = {"outcome": knows_nothing, "process": knows_nothing}
    value, *_ = value_of_one_step(critics, process_weight=1.0)
    assert value == 0.5  # the value critic's; with two zeros it would be 0.5 / 3


def test_without_grades_the_value_critic_judges_the_ends_of_the_rollouts():
    value, raw_value, num_samples, num_tokens = value_of_one_step(grades=(None,) * 4)
    assert (value, num_samples, num_tokens) == (pytest.approx((0.5 + 0.9) / 2), 0, 5)
    assert raw_value == value


def test_graded_completions_of_the_evaluator_and_of_the_rollouts_are_counted_together():
    """Two of two and one of four: three of six; (1 + 0.25) / 2 is backed up."""
    assert value_of_one_step(evaluation=Evaluation(1.0, None, 2))[:3] == (0.625, 0.5, 6)


def test_a_process_critic_that_is_no_value_is_refused():
    with pytest.raises(ValueError, match="tree t1, a continuation: value 1.5"):
        value_of_one_step({"process": make_critic(1.5)}, process_weight=1.0)


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"min_width": 0}, "min_width is 0"),
        ({"min_distance": 1.5}, "min_distance is 1.5"),
        ({"exploration": float("nan")}, "exploration is nan"),
        ({"value_weight": 0.0, "outcome_weight": 0.0}, "value_weight and outcome_weight are 0"),
    ],
)
def test_impossible_parameters_are_refused(own, message):
    with pytest.raises(ValueError, match=message):
        AlphaLlm(**own)


def test_a_night_of_alphallm_finds_both_first_steps_and_grades_every_answer():
    config = make_config(recipe="alphallm")
    problems, session = make_problems("p1"), ScriptedSession(solve_two_plus_three)
    result = asyncio.run(search_rollouts(problems, session, STARTER, config, night=NIGHT, **GRADING))
    nodes = {row["step_text"]: row for row in result.search_nodes.to_pylist()}
    assert set(nodes) == {"", "2+3=5", "2+3=6", "#### 5", "#### 6"}
    assert (nodes["2+3=5"]["raw_value"], nodes["2+3=5"]["num_samples"]) == (1.0, 6)  # two and four completions
    assert (nodes["2+3=6"]["raw_value"], nodes["2+3=6"]["value"]) == (0.0, 0.0)
    assert {row["answer"]: row["outcome_reward"] for row in result.rollouts.to_pylist()} == {"5": 1.0, "6": 0.0}


async def no_worth(path):
    return Evaluation(0.0, num_critic_tokens=1000)


def test_a_tree_without_the_guide_has_no_process_critic_and_says_so_in_what_its_rows_are_called():
    own = {"process_weight": 1.0}
    config = make_config(recipe="alphallm", guided=True, parameters=own)
    critics = {"process": no_worth}

    def searched(*ids, **options):
        known = {"night": NIGHT, "evaluate": no_worth, **options, **GRADING}
        problems, session = make_problems(*ids), ScriptedSession(solve_two_plus_three)
        return asyncio.run(search_rollouts(problems, session, STARTER, config, **known))

    both = searched("p1", "p2", critics=critics, unguided={"p2"})
    spent = {row["problem_id"]: row["critic_tokens"] for row in both.token_usage.to_pylist()}
    assert spent["p2"] == 0 < spent["p1"]
    digests = {row["problem_id"]: row["sampling_digest"] for row in both.rollouts.to_pylist()}
    alone = searched("p2", unguided={"p2"})
    assert digests["p2"] in alone.rollouts["sampling_digest"].to_pylist()
    assert digests["p1"] != searched("p1").rollouts["sampling_digest"][0].as_py()


def test_weight_for_a_critic_that_is_not_there_is_refused_in_searching_and_in_answering():
    config = make_config(recipe="alphallm", parameters={"process_weight": 0.5})
    asked = (make_problems("p1"), ScriptedSession(solve_two_plus_three), STARTER, config)
    with pytest.raises(ConfigError, match='"alphallm" has process_weight = 0.5 .* there is no process critic here'):
        asyncio.run(search_rollouts(*asked, night=NIGHT, critics={"outcome": no_worth}, **GRADING))
    with pytest.raises(ConfigError, match="process_weight = 0.5"):
        asyncio.run(solve_with_critic(*asked, night=NIGHT, evaluate=no_worth, recipe=RECIPES["alphallm"], **GRADING))
    known = {"night": NIGHT, "critics": {"process": make_critic(0.5)}, **GRADING}
    assert asyncio.run(search_rollouts(*asked, **known)).num_errors == 0


def test_only_a_critic_with_weight_is_asked_for_and_a_recipe_that_does_not_say_takes_any():
    alphallm = RECIPES["alphallm"]
    assert not alphallm.asks_for("process")
    assert alphallm.with_parameters(None, None, {"process_weight": 0.5}).asks_for("process")
    assert replace(alphallm, wanted_critics=None).asks_for("process")
    assert not RECIPES["puct"].asks_for("process")


def test_answering_without_grades_follows_the_value_critic():
    def score_truth(prompts, steps):
        return [[0.1 if "6" in step else 0.9 for step in path] for path in steps]

    (solution,) = asyncio.run(
        solve_with_critic(
            make_problems("p1"), ScriptedSession(solve_two_plus_three), STARTER, make_config(),
            night=NIGHT, evaluate=critic_evaluator(score_truth, STARTER), recipe=RECIPES["alphallm"], **GRADING,
        )
    )  # fmt: skip
    assert (solution.answer, solution.outcome_reward, solution.error) == ("5", 1.0, None)
