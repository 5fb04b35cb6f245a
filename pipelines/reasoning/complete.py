"""The policy as a `CompleteFn`: n samples from a path to the end, in one request, cut into steps with their own tokens.

The request depends on the path, its draw and the number of samples alone, as in propose.py.
"""

import bisect
import math
from collections.abc import Callable, Iterator

from pipelines.config import RolloutsConfig
from pipelines.inference.types import GenerationRequest, Sample, Sampling
from pipelines.reasoning.prompts import PromptStyle
from pipelines.reasoning.propose import (
    GenerationSession,
    StepTokenizer,
    check_room,
    make_encode_problem,
    prior_of,
    prompt_of,
    tokens_left,
)
from pipelines.reasoning.steps import ExtractFn, GradeFn, grade_steps, is_answer_step, is_cut_off
from pipelines.records import stable_seed
from pipelines.search.types import Candidate, CompleteFn, Continuation, Path


def make_complete(
    session: GenerationSession,
    prompts: PromptStyle,
    config: RolloutsConfig,
    *,
    night: str,
    grade: GradeFn | None,
    extract_answer: ExtractFn,
    max_model_len: int | None = None,
) -> CompleteFn:
    """Complete paths by sampling the policy; without `grade` the continuations carry answers and no rewards.

    ContextLengthError for a prompt that alone fills the context. At temperature 0 one sample is asked for.
    """
    encode_problem = make_encode_problem(prompts, session.tokenizer)

    async def complete(path: Path, num_samples: int) -> list[Continuation]:
        if path.is_terminal:
            return []
        token_ids = path.token_ids
        prompt_token_ids = prompt_of(path, encode_problem) + token_ids
        room = tokens_left(config.max_tokens - len(token_ids), len(prompt_token_ids), max_model_len)
        if room < 1 and path.steps:
            return []
        check_room(room, path.problem, len(prompt_token_ids), max_model_len)
        count = num_samples if config.temperature > 0 else 1
        sampling = Sampling(config.temperature, config.top_p, room, count, prompts.completion_stop)
        seed = stable_seed(config.seed, night, path.problem["problem_id"], "complete", path.draw, token_ids)
        completion = await session.generate(
            GenerationRequest(prompt_token_ids, sampling, seed, "evaluate", path.problem["problem_id"])
        )
        return [
            continuation
            for sample in completion.samples
            if (continuation := _continuation(path, sample, completion.request_id)) is not None
        ]

    def _continuation(path: Path, sample: Sample, request_id: str) -> Continuation | None:
        steps = tuple(sample_steps(sample, request_id, session.tokenizer, prompts.step_separator))
        if not steps:
            return None
        texts = path.step_texts + [step.step_text for step in steps]
        is_truncated = steps[-1].finish_reason == "length"
        if grade is None:
            answer = None if is_truncated else extract_answer(str(path.problem["grader"]), "\n".join(texts))
            return Continuation(steps, answer, None)
        graded = grade_steps(path.problem, texts, is_truncated, grade, extract_answer)
        return Continuation(steps, graded.answer, graded.outcome_reward)

    return complete


def sample_steps(sample: Sample, request_id: str, tokenizer: StepTokenizer, separator: str) -> Iterator[Candidate]:
    """The steps of a sampled text as candidates, each with its own tokens; only the last one is terminal.

    A step ends with the token in which the separator ends. Blank lines belong to the step that they follow (to the
    next one at the start), and what follows the answer step is dropped, as in `steps.split_steps`. Nothing is
    yielded for a sample without text or with log-probabilities that are not finite.
    """
    if not math.isfinite(math.fsum(sample.token_logprobs)) or not sample.text.strip():
        return
    ends = _step_ends(sample, tokenizer, separator)
    is_truncated = is_cut_off(sample.text, sample.finish_reason, separator)
    start = 0
    for index, end in enumerate(ends):
        is_last = index == len(ends) - 1
        token_ids, logprobs = sample.token_ids[start:end], sample.token_logprobs[start:end]
        sum_logprob = math.fsum(logprobs)
        yield Candidate(
            step_text=tokenizer.decode(token_ids).strip(),
            token_ids=token_ids,
            sum_logprob=sum_logprob,
            prior=prior_of(sum_logprob, len(token_ids)),
            is_terminal=is_last,
            request_id=request_id,
            token_logprobs=logprobs,
            finish_reason="length" if is_last and is_truncated else "stop",
        )
        start = end


def _step_ends(sample: Sample, tokenizer: StepTokenizer, separator: str) -> list[int]:
    """Number of tokens at the end of each step."""
    ends: list[int] = []
    start, num_tokens = 0, len(sample.token_ids)

    def text_until(end: int) -> str:
        return tokenizer.decode(sample.token_ids[start:end])

    while start < num_tokens:
        after_blank = _first(lambda end: bool(text_until(end).strip()), start, num_tokens)
        if ends and (after_blank is None or separator in text_until(after_blank - 1)):  # an empty line, or an end token
            start = _first(lambda end: separator in text_until(end), start, num_tokens) or num_tokens
            ends[-1] = start
        elif after_blank is None:
            break
        else:
            end = _first(lambda end: separator in text_until(end).lstrip(), start, num_tokens) or num_tokens
            ends.append(end)
            if is_answer_step(text_until(end)):
                break
            start = end
    return ends


def _first(holds: Callable[[int], bool], start: int, last: int) -> int | None:
    """The first number in (start, last] of which something holds that then goes on holding; None where there is none.

    It is looked for in leaps that double, and then by halving: what is near is found by looking at what is near.
    """
    before, size = start, 1
    while not holds(min(start + size, last)):
        before = min(start + size, last)
        if before == last:
            return None
        size *= 2
    found = min(start + size, last)
    return bisect.bisect_left(range(found), True, lo=before + 1, key=holds)
