"""What every agent does: ask the model once, under a seed of its own, and take whatever comes back.

A failed request is a `Reply` with `error` and no text; nothing here raises for one request, so the other agents and the
other rollouts go on. The seed depends on what is asked about, the role and the draw, never on the order of requests, so
a killed run asks again for exactly what was already answered.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipelines.config import CritiquesConfig
from pipelines.inference.errors import ContextLengthError, RequestError
from pipelines.reasoning.assembly import describe_error
from pipelines.reasoning.prompts import PromptStyle
from pipelines.reasoning.propose import GenerationSession
from pipelines.reasoning.refine import text_request
from pipelines.reasoning.steps import ExtractFn, GradeFn, grade_steps, is_cut_off, split_steps
from pipelines.records import stable_seed

TOO_LONG = "ContextLengthError"  # such a request was never sent, so it says nothing about the engine

Row = Mapping[str, object]


@dataclass(frozen=True)
class Room:
    """What every round needs: who speaks to which model, and how answers are graded."""

    session: GenerationSession
    prompts: PromptStyle
    config: CritiquesConfig
    grade: GradeFn
    extract_answer: ExtractFn
    night: str
    max_model_len: int | None = None  # tokens of the context; None = not known
    experts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # problem id -> steps of a right solution


@dataclass(frozen=True)
class Reply:
    """The answer to one request; with `error` there is no text."""

    request_id: str | None  # None: never sent
    text: str | None
    num_tokens: int | None
    is_truncated: bool  # a length limit ended it
    error: str | None
    num_prompt_tokens: int  # 0 where nothing was sent
    prompt: str = ""

    @property
    def is_failed(self) -> bool:
        """The engine did not answer a request that was sent."""
        return self.error is not None and not self.error.startswith(TOO_LONG)


@dataclass(frozen=True)
class Attempt:
    """A solution that an agent wrote."""

    reply: Reply
    steps: tuple[str, ...]  # empty where nothing was written
    answer: str | None  # None: cut off, or none was found
    outcome_reward: float | None  # 1 right, 0 wrong; None = not graded, which is neither

    @property
    def is_right(self) -> bool:
        """Graded and right."""
        return self.outcome_reward == 1.0


async def ask(
    room: Room,
    prompt: str,
    about: Sequence[object],
    problem_id: str,
    *,
    purpose: str = "critique",
    regex: str | None = None,
    temperature: float | None = None,
    answer_start: str = "",
) -> Reply:
    """One sample after `prompt`, and after `answer_start` where the answer is begun already.

    `about` names the request among all others with this configuration (its seed).
    """
    config = room.config
    try:
        request = text_request(
            prompt, room.prompts, room.session.tokenizer, seed=stable_seed(config.seed, *about), purpose=purpose,
            affinity=problem_id, temperature=config.temperature if temperature is None else temperature,
            max_tokens=config.max_tokens, max_model_len=room.max_model_len, regex=regex,
            answer_start=answer_start,
        )  # fmt: skip
    except ContextLengthError as error:
        return Reply(None, None, None, False, describe_error(error), 0, prompt)
    num_prompt_tokens = len(request.prompt_token_ids)
    try:
        completion = await room.session.generate(request)
    except RequestError as error:
        request_id = request.request_id(room.session.model_digest)
        return Reply(request_id, None, None, False, describe_error(error), num_prompt_tokens, prompt)
    sample = completion.samples[0]
    is_truncated = sample.finish_reason == "length"
    num_tokens = len(sample.token_ids)
    return Reply(completion.request_id, sample.text, num_tokens, is_truncated, None, num_prompt_tokens, prompt)


async def ask_for_solution(room: Room, problem: Row, prompt: str, about: Sequence[object]) -> Attempt:
    """A solution after `prompt`, cut into steps and graded."""
    return attempt_of(room, problem, await ask(room, prompt, about, str(problem["problem_id"]), purpose="refine"))


async def continue_solution(room: Room, problem: Row, steps: Sequence[str], about: Sequence[object]) -> Attempt:
    """A solution that goes on from `steps`, as the policy would; its steps are all of them."""
    begun = "".join(step + room.prompts.step_separator for step in steps)
    prompt = room.prompts.solve_prompt(problem)
    reply = await ask(room, prompt, about, str(problem["problem_id"]), purpose="refine", answer_start=begun)
    return attempt_of(room, problem, reply, steps)


def attempt_of(room: Room, problem: Row, reply: Reply, begun: Sequence[str] = ()) -> Attempt:
    """The solution in a reply, after the steps that were given; without a reply it has no steps and no grade."""
    if reply.text is None:
        return Attempt(reply, (), None, None)
    separator = room.prompts.step_separator
    steps = [*begun, *split_steps(reply.text, separator)]
    is_truncated = is_cut_off(reply.text, "length" if reply.is_truncated else "stop", separator)
    graded = grade_steps(problem, steps, is_truncated, room.grade, room.extract_answer)
    return Attempt(reply, tuple(steps), graded.answer, graded.outcome_reward)
