"""Self-explanations of answers that no sample has reached (ExPO, arXiv 2507.02834).

For a problem none of whose graded samples is right the policy explains the reference answer. By the paper a positive
sample should (1) be likely under the policy and (2) make the right answer likelier. An explanation e is kept where it
ends with the right answer and, with the answer line a and the wrong samples w of the same problem,

    gain = log pi(a | q, e) - mean over w of log pi(a | q, w) > min_gain           (2), answer lines left out of e and w
    log pi(e | q) / |e| >= min_logprob                                            (1), where a bound is configured

The comparison with wrong samples in (2) is our reading; a bound for (1) is not published, so none is set by default.
The record's messages are the solve prompt and the explanation, which alone is learned: the hint is not in them. Its
reward is the gain, its `logprob` the mean of (1).

Reasons: `not_graded` (no sample has a grade, so nothing is known), `unreadable` (no step), `wrong_answer`,
`no_explanation` (an answer line alone), `repeated`, `not_scored`, `no_gain`, `unlikely`.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field

from pipelines.agents.ask import Attempt, Room, ask_for_solution
from pipelines.agents.likelihood import answer_logprob, mean_logprob, solution_text, without_answer
from pipelines.agents.records import ASSISTANT, USER, AgentMethod, Group, Message, Record, each, outcome
from pipelines.config import Section
from pipelines.inference.errors import RequestError
from pipelines.reasoning.assembly import describe_error

ROLE = "explain"
NAME = "expo"


class ExpoParams(Section):
    """Parameters of `expo`, ours: the paper's conditions have no published bounds that we could check."""

    num_explanations: int = Field(4, ge=1, le=64, description="explanations asked for per problem")
    num_references: int = Field(4, ge=1, le=64, description="wrong samples that an explanation is compared with")
    min_gain: float = Field(0.0, ge=0.0, description="by how much (nats) the answer must be likelier after it")
    min_logprob: float | None = Field(
        None, le=0.0, description="mean log-probability per token that it must have; default: any"
    )


@dataclass(frozen=True)
class Measured:
    """What the policy says of a solution; None = it could not be asked."""

    reward: float | None = None
    logprob: float | None = None  # mean per token
    error: str | None = None


async def run(room: Room, groups: Sequence[Group], params: ExpoParams) -> list[Record]:
    """`num_explanations` records per problem without a right sample, one where no sample has a grade."""

    async def work(group: Group) -> list[Record]:
        if all(outcome(rollout) is None for rollout in group.rollouts):
            return [Record(NAME, (group.problem_id,), group.problem_id, reason="not_graded")]
        return await _explained(room, group, params) if is_unsolved(group) else []

    return await each(work, groups)


def is_unsolved(group: Group) -> bool:
    """Some sample is graded, and none of those is right."""
    grades = {outcome(rollout) for rollout in group.rollouts}
    return 0.0 in grades and 1.0 not in grades


def wrong_samples(group: Group, num: int) -> list[tuple[str, ...]]:
    """Steps, without the answer line, of the first wrong samples by id."""
    wrong = [rollout for rollout in group.rollouts if outcome(rollout) == 0.0]
    return [without_answer(rollout["steps"]) for rollout in wrong[:num]]


async def _explained(room: Room, group: Group, params: ExpoParams) -> list[Record]:
    problem = group.problem
    prompt = room.prompts.role(ROLE, prompt=problem["prompt"], reference=problem["reference_answer"])
    abouts = [(NAME, room.night, group.problem_id, draw) for draw in range(params.num_explanations)]
    attempts = await asyncio.gather(*(ask_for_solution(room, problem, prompt, about) for about in abouts))
    seen: set[tuple[str, ...]] = set()
    reasons = []
    for attempt in attempts:
        reasons.append(_unfit(attempt) or ("repeated" if attempt.steps in seen else None))
        seen.add(attempt.steps)
    measured = await asyncio.gather(
        *(_measure(room, group, one, params) if reason is None else _nothing()
          for one, reason in zip(attempts, reasons, strict=True))
    )  # fmt: skip
    return [
        record_of(NAME, room, group, draw, prompt, attempt, found, reason or _unconvincing(found, params))
        for draw, (attempt, reason, found) in enumerate(zip(attempts, reasons, measured, strict=True))
    ]


def _unfit(attempt: Attempt) -> str | None:
    """Why an explanation is none, or does not lead to the answer; a request that failed has its own reason."""
    if attempt.reply.text is None:
        return "request_failed"
    if not attempt.steps:
        return "unreadable"
    if not attempt.is_right:
        return "wrong_answer"
    return None if without_answer(attempt.steps) else "no_explanation"


async def _measure(room: Room, group: Group, attempt: Attempt, params: ExpoParams) -> Measured:
    answer = attempt.steps[-1]
    bodies = [without_answer(attempt.steps), *wrong_samples(group, params.num_references)]
    try:
        own = await mean_logprob(room, group.problem, attempt.steps)
        after, *others = await asyncio.gather(
            *(answer_logprob(room, group.problem, body, answer) for body in bodies)
        )  # fmt: skip
    except RequestError as error:
        return Measured(error=describe_error(error))
    return Measured(after - sum(others) / len(others), own)


async def _nothing() -> Measured:
    return Measured()


def _unconvincing(found: Measured, params: ExpoParams) -> str | None:
    """Why a right explanation is no good positive sample."""
    if found.reward is None or found.logprob is None:
        return "not_scored"
    if not found.reward > params.min_gain:
        return "no_gain"
    return "unlikely" if params.min_logprob is not None and found.logprob < params.min_logprob else None


def record_of(
    kind: str, room: Room, group: Group, draw: int, prompt: str, attempt: Attempt, found: Measured, reason: str | None
) -> Record:
    """The record of a solution that was written with help and is to be learned without it."""
    text = solution_text(room, attempt.steps) or None
    messages = () if text is None else (
        Message(USER, room.prompts.solve_prompt(group.problem), False), Message(ASSISTANT, text, True)
    )  # fmt: skip
    return Record(
        kind, (group.problem_id, draw), group.problem_id, prompt=prompt, response=text, messages=messages,
        predicted=attempt.answer, label=str(group.problem["reference_answer"]), reward=found.reward,
        logprob=found.logprob, reason=reason, error=found.error, replies=(attempt.reply,),
    )  # fmt: skip


EXPO = AgentMethod(ExpoParams, run, roles=(ROLE,))
