"""Values by graded completions and by a critic."""

import asyncio
import threading

import pytest
from reasoning_worlds import (
    GRADING,
    NIGHT,
    STARTER,
    ScriptedSession,
    make_config,
    make_problem,
    solve_two_plus_three,
)

from pipelines.reasoning.evaluate import AGGREGATES, completion_evaluator, critic_evaluator, grade_complete_paths
from pipelines.reasoning.steps import UngradedError
from pipelines.search.flight import all_at_rest
from pipelines.search.types import Candidate, Evaluation, Path


def make_path(*texts: str, problem=None, finish_reason: str = "stop") -> Path:
    steps = [
        Candidate(text, tuple(map(ord, text + "\n")), -1.0, 1.0, "####" in text, "r", (), finish_reason)
        for text in texts
    ]
    return Path(problem or make_problem(), tuple(steps))


def evaluate_by_completions(path, session=None, **config) -> Evaluation:
    session = session or ScriptedSession(solve_two_plus_three)
    evaluate = completion_evaluator(session, STARTER, make_config(**config), night=NIGHT, **GRADING)
    return asyncio.run(evaluate(path))


def test_a_leaf_is_worth_the_mean_grade_of_its_completions():
    assert evaluate_by_completions(make_path("2+3=5"), num_evaluations=3).value == 1.0
    evaluation = evaluate_by_completions(make_path("2+3=6"), num_evaluations=3)
    assert (evaluation.value, evaluation.num_samples, evaluation.outcome_reward) == (0.0, 3, None)

    def sometimes_right(text, rng):
        return "#### 5\n" if rng.random() < 0.5 else "#### 6\n"

    evaluation = evaluate_by_completions(make_path("hm"), ScriptedSession(sometimes_right), num_evaluations=64)
    assert 0.3 < evaluation.value < 0.7
    assert evaluation.value * 64 == round(evaluation.value * 64)


def test_one_request_asks_for_all_completions_without_a_step_stop():
    session = ScriptedSession(solve_two_plus_three)
    evaluation = evaluate_by_completions(make_path("2+3=5"), session, num_evaluations=5, max_tokens=40)
    (request,) = session.requests
    assert (request.sampling.n, request.sampling.stop, request.sampling.max_tokens) == (5, (), 34)
    assert request.purpose == "evaluate"
    assert evaluation.request_ids == (request.request_id(session.model_digest),)


def test_a_complete_path_is_worth_its_own_grade_and_asks_nothing():
    session = ScriptedSession(solve_two_plus_three)
    assert evaluate_by_completions(make_path("2+3=5", "#### 5"), session) == Evaluation(1.0, 1.0, 1)
    assert evaluate_by_completions(make_path("2+3=6", "#### 6"), session) == Evaluation(0.0, 0.0, 1)
    cut_off = make_path("2+3=5", "#### 5", finish_reason="length")
    assert evaluate_by_completions(cut_off, session) == Evaluation(0.0, 0.0, 1)
    assert session.requests == []


def test_nothing_is_known_of_a_path_at_the_token_limit():
    assert evaluate_by_completions(make_path("2+3=5"), max_tokens=6) == Evaluation(0.0, None, 0, is_known=False)


def test_a_problem_whose_reference_cannot_be_read_is_an_error():
    problem = make_problem(reference_answer="five")
    with pytest.raises(UngradedError, match="p1: the grader `number` gave no grade"):
        evaluate_by_completions(make_path("2+3=5", problem=problem))


def test_a_critic_values_a_path_by_the_aggregate_of_its_step_scores():
    def score(prompts, steps):
        assert prompts == ["<verify>2+3\n"]
        return [[0.5, 0.8] for _ in steps]

    for name, expected in {"product": 0.4, "min": 0.5, "mean": 0.65, "last": 0.8}.items():
        evaluate = critic_evaluator(score, STARTER, aggregate=AGGREGATES[name], count_tokens=len)
        evaluation = asyncio.run(evaluate(make_path("2+3=5", "#### 5")))
        assert evaluation.value == pytest.approx(expected)
        assert evaluation.outcome_reward is None
        assert evaluation.num_critic_tokens == len("<verify>2+3\n2+3=5\n#### 5\n")


def test_a_path_that_was_cut_off_is_worth_nothing_to_a_critic():
    evaluate = critic_evaluator(lambda prompts, steps: [[1.0] for _ in steps], STARTER)
    assert asyncio.run(evaluate(make_path("2+3=", finish_reason="length"))).value == 0.0


def test_the_siblings_of_all_trees_that_are_ready_share_one_batch_of_the_critic():
    batch_sizes = []

    def score(prompts, steps):
        batch_sizes.append(len(prompts))
        return [[0.5] * len(path) for path in steps]

    async def run():
        evaluate = critic_evaluator(score, STARTER, max_batch=64)
        trees = [all_at_rest([evaluate(make_path("2+3=5")) for _ in range(4)]) for _ in range(8)]
        await asyncio.gather(*trees)

    asyncio.run(run())
    assert batch_sizes == [32]


def test_calls_that_wait_together_share_one_batch_of_the_critic():
    batch_sizes, threads = [], set()

    def score(prompts, steps):
        batch_sizes.append(len(prompts))
        threads.add(threading.current_thread() is threading.main_thread())
        return [[int(path[0]) / 100] for path in steps]

    async def evaluate_many():
        evaluate = critic_evaluator(score, STARTER, max_batch=64)
        first = await asyncio.gather(*(evaluate(make_path(str(index))) for index in range(100)))
        second = await evaluate(make_path("7"))  # the evaluator still works after it was idle
        return [evaluation.value for evaluation in [*first, second]]

    assert asyncio.run(evaluate_many()) == [index / 100 for index in range(100)] + [0.07]
    assert batch_sizes == [64, 36, 1]
    assert threads == {False}


def test_an_exception_of_the_critic_reaches_every_caller():
    def score(prompts, steps):
        raise MemoryError("no room")

    async def evaluate_two():
        evaluate = critic_evaluator(score, STARTER)
        return await asyncio.gather(*(evaluate(make_path(x)) for x in "ab"), return_exceptions=True)

    assert [type(error) for error in asyncio.run(evaluate_two())] == [MemoryError, MemoryError]


def test_a_critic_that_returns_too_few_scores_is_an_error():
    evaluate = critic_evaluator(lambda prompts, steps: [[0.5]], STARTER)
    with pytest.raises(ValueError, match="one score per step"):
        asyncio.run(evaluate(make_path("a", "b")))


def test_training_searches_with_a_critic_grade_complete_paths_only():
    critic = critic_evaluator(lambda prompts, steps: [[0.25] * len(path) for path in steps], STARTER)
    evaluate = grade_complete_paths(critic, **GRADING)
    assert asyncio.run(evaluate(make_path("2+3=6"))) == Evaluation(0.25)
    assert asyncio.run(evaluate(make_path("2+3=5", "#### 5"))) == Evaluation(1.0, 1.0, 1)


def test_nothing_is_known_of_an_answer_that_cannot_be_graded():
    problem = make_problem(reference_answer="five")
    evaluation = evaluate_by_completions(make_path("2+3=5", "#### 5", problem=problem))
    assert (evaluation.is_known, evaluation.num_samples, evaluation.outcome_reward) == (False, 0, None)


def test_nothing_is_known_of_a_path_beyond_the_critics_context():
    evaluate = critic_evaluator(lambda prompts, steps: [[0.9, None] for _ in steps], STARTER, count_tokens=len)
    evaluation = asyncio.run(evaluate(make_path("2+3=5", "#### 5")))
    assert (evaluation.is_known, evaluation.num_critic_tokens) == (False, len("<verify>2+3\n2+3=5\n#### 5\n"))
