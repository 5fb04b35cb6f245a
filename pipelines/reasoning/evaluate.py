"""Values of paths: by graded completions (night 0, no critic yet) or by a critic's step scores.

`completion_evaluator` sees the reference answer, so it makes training data and never an answer at
evaluation; `critic_evaluator` sees no reference.
"""

import asyncio
import math
from collections.abc import Callable, Sequence

from pipelines.config import RolloutsConfig
from pipelines.inference.types import GenerationRequest, Sampling
from pipelines.reasoning.prompts import PromptStyle
from pipelines.reasoning.propose import GenerationSession, make_encode_problem, prompt_of, tokens_left
from pipelines.reasoning.steps import (
    ExtractFn,
    GradeFn,
    UngradedError,
    grade_path,
    grade_steps,
    is_cut_off,
    split_steps,
    ungraded_message,
)
from pipelines.records import stable_seed
from pipelines.search.types import EvaluateFn, Evaluation, Path

ScoreStepsFn = Callable[[Sequence[str], Sequence[Sequence[str]]], list[list[float]]]
"""`score(prompts, steps)`: one score in [0, 1] per step of each solution (`critics.score.StepScorer.score`)."""

AggregateFn = Callable[[Sequence[float]], float]
"""Step scores of one path -> one number in [0, 1]; the path has at least one step."""


def mean(scores: Sequence[float]) -> float:
    """Mean of the step scores."""
    return math.fsum(scores) / len(scores)


def last(scores: Sequence[float]) -> float:
    """Score of the last step."""
    return scores[-1]


AGGREGATES: dict[str, AggregateFn] = {"product": math.prod, "min": min, "mean": mean, "last": last}


def completion_evaluator(
    session: GenerationSession,
    prompts: PromptStyle,
    config: RolloutsConfig,
    *,
    grade: GradeFn,
    extract_answer: ExtractFn,
    night: str,
    max_model_len: int | None = None,
) -> EvaluateFn:
    """Value of a path = mean grade of `num_evaluations` completions from it to the end, in one request.

    A complete path is worth its own grade, which counts as one sample. Of a path that fills
    the context or the token limit, and cannot be completed, nothing is known. Completions without a grade do
    not count; UngradedError when none has one.
    """
    encode_problem = make_encode_problem(prompts, session.tokenizer)

    async def evaluate(path: Path) -> Evaluation:
        if path.is_terminal:
            return _grade_complete(path, grade, extract_answer)
        token_ids = path.token_ids
        prompt_token_ids = prompt_of(path, encode_problem) + token_ids
        room = tokens_left(config.max_tokens - len(token_ids), len(prompt_token_ids), max_model_len)
        if room < 1:
            return Evaluation(value=0.0, is_known=False)
        num_samples = config.num_evaluations if config.temperature > 0 else 1
        sampling = Sampling(config.temperature, config.top_p, room, num_samples, prompts.completion_stop)
        seed = stable_seed(config.seed, night, path.problem["problem_id"], "evaluate", token_ids)
        completion = await session.generate(
            GenerationRequest(prompt_token_ids, sampling, seed, "evaluate", path.problem["problem_id"])
        )
        rewards = []
        for sample in completion.samples:
            steps = path.step_texts + split_steps(sample.text, prompts.step_separator)
            is_truncated = is_cut_off(sample.text, sample.finish_reason, prompts.step_separator)
            graded = grade_steps(path.problem, steps, is_truncated, grade, extract_answer)
            if graded.outcome_reward is not None:
                rewards.append(graded.outcome_reward)
        if not rewards:
            raise UngradedError(ungraded_message(path.problem))
        return Evaluation(value=mean(rewards), num_samples=len(rewards), request_ids=(completion.request_id,))

    return evaluate


def critic_evaluator(
    score_steps: ScoreStepsFn,
    prompts: PromptStyle,
    *,
    aggregate: AggregateFn = math.prod,
    max_batch: int = 256,
    count_tokens: Callable[[str], int] | None = None,
) -> EvaluateFn:
    """Value of a path = aggregate of a critic's step scores along it; no reference answer is used.

    Calls of all trees that wait at the same time share one batch of the synchronous `score_steps`, which
    runs in a thread. A path that was cut off has no answer and is worth 0; of one beyond the critic's context nothing
    is known. `count_tokens` counts what the critic reads (0 when None). One evaluator belongs to one event loop.
    """
    waiting: list[tuple[str, list[str], asyncio.Future[list[float]]]] = []
    running: list[asyncio.Task[None]] = []

    async def score_all_waiting() -> None:
        for _ in range(2):  # lets the other trees that are ready now join the first batch, and all their siblings,
            await asyncio.sleep(0)  # which begin a turn after the first of them (search.flight.all_at_rest)
        while waiting:
            batch = waiting[:max_batch]
            del waiting[:max_batch]
            await _score_batch(score_steps, batch)
        running.clear()  # in the same step as the last look at `waiting`, so nobody waits for a task that has ended

    async def scores_of(prompt: str, steps: list[str]) -> list[float]:
        future: asyncio.Future[list[float]] = asyncio.get_running_loop().create_future()
        waiting.append((prompt, steps, future))
        if not running:
            running.append(asyncio.create_task(score_all_waiting()))
        return await future

    async def evaluate(path: Path) -> Evaluation:
        if path.is_truncated:
            return Evaluation(value=0.0)
        prompt, steps = prompts.verify_prompt(path.problem), path.step_texts
        num_tokens = count_tokens(_text_read(prompt, steps, prompts.step_separator)) if count_tokens else 0
        scores = await scores_of(prompt, steps)
        if None in scores:  # beyond the critic's context
            return Evaluation(value=0.0, num_critic_tokens=num_tokens, is_known=False)
        return Evaluation(value=float(aggregate(scores)), num_critic_tokens=num_tokens)

    return evaluate


def grade_complete_paths(evaluate: EvaluateFn, grade: GradeFn, extract_answer: ExtractFn) -> EvaluateFn:
    """`evaluate`, except that complete paths are worth their grade: a search for training data with a critic."""

    async def evaluate_or_grade(path: Path) -> Evaluation:
        if not path.is_terminal:
            return await evaluate(path)
        return _grade_complete(path, grade, extract_answer)

    return evaluate_or_grade


def _grade_complete(path: Path, grade: GradeFn, extract_answer: ExtractFn) -> Evaluation:
    """A complete path is worth its grade; of one that cannot be graded nothing is known."""
    reward = grade_path(path, grade, extract_answer).outcome_reward
    if reward is None:
        return Evaluation(value=0.0, is_known=False)
    return Evaluation(value=reward, outcome_reward=reward, num_samples=1)


def _text_read(prompt: str, steps: Sequence[str], separator: str) -> str:
    return prompt + "".join(step + separator for step in steps)


async def _score_batch(
    score_steps: ScoreStepsFn, batch: Sequence[tuple[str, list[str], asyncio.Future[list[float]]]]
) -> None:
    """Score one batch in a thread; an exception of the critic reaches every caller of the batch."""
    scoring = asyncio.create_task(
        asyncio.to_thread(score_steps, [prompt for prompt, _, _ in batch], [steps for _, steps, _ in batch])
    )
    await asyncio.wait([scoring])
    error = scoring.exception()
    if error is None and [len(scores) for scores in scoring.result()] != [len(steps) for _, steps, _ in batch]:
        error = ValueError("the critic did not return one score per step of every solution")
    for index, (_, _, future) in enumerate(batch):
        if future.cancelled():
            continue
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(scoring.result()[index])
