"""Answers chosen by a critic, which may not see the reference."""

import asyncio

import pytest
from reasoning_worlds import (
    GRADING,
    NIGHT,
    STARTER,
    ScriptedSession,
    make_config,
    make_problems,
    solve_two_plus_three,
)

from pipelines.errors import ConfigError
from pipelines.grading import extract_answer, grade
from pipelines.reasoning.evaluate import critic_evaluator
from pipelines.reasoning.solve import CRITIC_GUIDED, solve_with_critic
from pipelines.search.recipes import RECIPES


def score_truth(prompts, steps):
    return [[0.1 if "6" in step else 0.9 for step in path] for path in steps]


def score_lie(prompts, steps):
    return [[0.9 if "6" in step else 0.1 for step in path] for path in steps]


def solve(
    score, *, write=solve_two_plus_three, grading=GRADING, recipe=CRITIC_GUIDED, pick=None, token_budget=None, **config
):
    session = ScriptedSession(write)
    evaluate = critic_evaluator(score, STARTER, count_tokens=len)
    problems = make_problems("p1", "p2")
    known = {"night": NIGHT, "evaluate": evaluate, "recipe": recipe, "pick": pick, "token_budget": token_budget}
    asked = (problems, session, STARTER, make_config(**config))
    solutions = asyncio.run(solve_with_critic(*asked, **known, **grading))
    return solutions, session


def test_the_answer_is_the_complete_path_that_the_critic_likes_best():
    solutions, _ = solve(score_truth)
    assert [(solution.problem_id, solution.answer, solution.outcome_reward) for solution in solutions] == [
        ("p1", "5", 1.0),
        ("p2", "5", 1.0),
    ]
    assert [solution.answer for solution in solve(score_lie)[0]] == ["6", "6"]


def test_an_answer_that_the_critic_cannot_read_has_no_score():
    (solution, _), _ = solve(lambda prompts, steps: [[0.5] + [None] * (len(path) - 1) for path in steps])
    assert solution.num_complete_paths > 0
    assert (solution.answer is not None, solution.score) == (True, None)


def test_only_the_chosen_answer_is_graded():
    graded = []

    def watching_grade(grader, problem, answer, steps):
        graded.append((problem["problem_id"], answer))
        return grade(grader, problem, answer, steps)

    solve(score_truth, grading={"grade": watching_grade, "extract_answer": extract_answer})
    assert sorted(graded) == [("p1", "5"), ("p2", "5")]


def test_every_token_is_counted_also_those_that_the_critic_read():
    solutions, session = solve(score_truth)
    generated = sum(solution.usage.completion_tokens for solution in solutions)
    assert generated == session.stats.completion_tokens
    one_step, two_steps = len("<verify>2+3\n2+3=5\n"), len("<verify>2+3\n2+3=5\n#### 5\n")
    assert [solution.usage.critic_tokens for solution in solutions] == [2 * one_step + 2 * two_steps] * 2


def test_a_tree_without_a_complete_path_is_completed_from_its_best_leaf():
    def long_way(text, rng):
        body = text.split("\n", 1)[1]
        return ("6+1\n" if rng.random() < 0.5 else "5+0\n") + "#### 5\n" if "5+0" not in body else "#### 5\n"

    solutions, session = solve(score_truth, write=long_way, max_depth=1, num_simulations=1)
    assert [solution.answer for solution in solutions] == ["5", "5"]
    assert [solution.score for solution in solutions] == [None, None]
    assert solutions[0].steps[0] == "5+0"
    assert sum(request.sampling.temperature == 0.0 for request in session.requests) == 2


def test_a_failed_problem_is_a_solution_with_its_error():
    session = ScriptedSession(solve_two_plus_three)
    evaluate = critic_evaluator(score_truth, STARTER)
    (solution,) = asyncio.run(
        solve_with_critic(
            make_problems("p1"),
            session,
            STARTER,
            make_config(),
            night=NIGHT,
            evaluate=evaluate,
            max_model_len=5,
            **GRADING,
        )
    )
    assert solution.answer is None
    assert solution.error.startswith("ContextLengthError: problem p1")


ANSWERING = sorted(  # retrieval_planner needs a corpus: see test_retrieve.py
    name
    for name, recipe in RECIPES.items()
    if not recipe.merge_samples and recipe.needs.isdisjoint({"grades", "retrieval"})
)


@pytest.mark.parametrize("recipe", ANSWERING)
def test_a_critic_answers_with_any_recipe_that_searches(recipe):
    solutions, _ = solve(score_truth, recipe=RECIPES[recipe])
    assert [solution.answer for solution in solutions] == ["5", "5"]
    assert [solution.answer for solution in solve(score_lie, recipe=RECIPES[recipe])[0]] == ["6", "6"]


def test_a_recipe_without_a_search_cannot_answer():
    with pytest.raises(ConfigError, match="has no search"):
        solve(score_truth, recipe=RECIPES["prefix_tree_values"])


def cost_of(solution) -> int:
    return solution.usage.prompt_tokens + solution.usage.completion_tokens + solution.usage.critic_tokens


def test_a_search_ends_at_the_first_request_after_its_tokens_are_spent():
    (free, _), _ = solve(score_truth)
    (short, _), session = solve(score_truth, token_budget=1)
    assert cost_of(short) < cost_of(free)
    assert len(session.requests) == 4  # per problem one expansion and the greedy completion of its best step
    assert (short.answer, short.num_complete_paths, short.error) == ("5", 0, None)


@pytest.mark.parametrize("recipe", ANSWERING)
def test_every_recipe_ends_soon_after_its_tokens_are_spent_and_answers(recipe):
    budget = 1500
    config = {"num_simulations": 10_000, "num_candidates": 8, "token_budget": budget}
    solutions, _ = solve(score_truth, recipe=RECIPES[recipe], **config)
    assert [solution.answer for solution in solutions] == ["5", "5"]
    one_request = 11 + 8 * 14 + 8 * 25  # prompt, eight samples, and what the critic reads of them
    assert all(cost_of(solution) < budget + 3 * one_request for solution in solutions)


def test_a_budget_that_is_never_reached_changes_nothing():
    (free, _), _ = solve(score_truth)
    assert solve(score_truth, token_budget=cost_of(free) + 1)[0][0] == free


def test_a_pick_of_the_callers_own_replaces_the_recipes():
    def pick_six(tree, paths):
        return next(path for path in paths if path.answer == "6")

    assert [solution.answer for solution in solve(score_truth, recipe=RECIPES["puct"], pick=pick_six)[0]] == ["6", "6"]


def test_only_decoded_paths_vote_and_each_as_often_as_it_was_drawn():
    seen = []

    def watch(tree, paths):
        seen.append({path.answer: path.num_samples for path in paths})
        return paths[0]

    solve(score_truth, recipe=RECIPES["value_guided_decoding"], pick=watch, num_simulations=4)
    assert seen == [{"5": 4}] * 2  # the critic's 0.9 against 0.1: exp(-8) for the other


def test_best_of_n_asks_once_counts_every_sample_and_reads_equal_ones_once():
    seen = []

    def watch(tree, paths):
        seen.append({path.answer: path.num_samples for path in paths})
        return paths[0]

    solutions, session = solve(score_truth, recipe=RECIPES["best_of_n"], pick=watch, num_simulations=16)
    assert [request.sampling.n for request in session.requests] == [16, 16]
    assert [sum(votes.values()) for votes in seen] == [16, 16]
    assert set(seen[0]) == {"5", "6"}
    generated = len("2+3=5\n#### 5\n") + 1  # and the end token
    assert [solution.usage.completion_tokens for solution in solutions] == [16 * generated] * 2
    assert [solution.usage.critic_tokens for solution in solutions] == [2 * len("<verify>2+3\n2+3=5\n#### 5\n")] * 2


def test_the_vote_of_best_of_n_decides_between_the_critic_and_the_majority():
    def answers(vote):
        recipe = RECIPES["best_of_n"]
        config = {"num_simulations": 16, "parameters": {"vote": vote}}
        return [solution.answer for solution in solve(score_truth, recipe=recipe, **config)[0]]

    assert answers("best") == ["5", "5"]
    assert answers("majority") == ["6", "6"]  # the policy slips in six of ten
