"""The policy's own version of an expert's solution (EGSR, expert-guided self-reformulation; METHODS.md 9.7).

For a problem none of whose graded samples is right the policy is shown an expert's solution and writes it again in its
own way. The paper trains on such versions because the policy finds them likelier than the expert's text. A version e is
kept where it ends with the right answer, is no copy, and with the expert's solution x

    gain = log pi(e | q) / |e| - log pi(x | q) / |x| > 0              (lower perplexity than the expert's text)

Experts are right paths of tonight's search trees of the problem (`Room.experts`): found with help that a sample does
not have. Built from the paper's abstract; prompts and what counts as an expert are ours.

The record's messages are the solve prompt and the version, which alone is learned; `reward` is the gain, `logprob` the
mean of the version. Reasons: `not_graded`, `no_expert`, `unreadable`, `wrong_answer`, `copied`, `repeated`,
`not_scored`, `not_likelier`.
"""

import asyncio
from collections.abc import Sequence

from pydantic import Field

from pipelines.agents.ask import Attempt, Room, ask_for_solution
from pipelines.agents.likelihood import mean_logprob
from pipelines.agents.records import AgentMethod, Group, Record, each, outcome
from pipelines.agents.self_explanation import Measured, is_unsolved, record_of
from pipelines.config import Section
from pipelines.inference.errors import RequestError
from pipelines.reasoning.assembly import describe_error

ROLE = "reformulate"
NAME = "egsr"


class EgsrParams(Section):
    """Parameters of `egsr`, ours."""

    num_versions: int = Field(4, ge=1, le=64, description="versions asked for per problem")


async def run(room: Room, groups: Sequence[Group], params: EgsrParams) -> list[Record]:
    """`num_versions` records per problem without a right sample; one where no sample has a grade, or no expert is."""

    async def work(group: Group) -> list[Record]:
        if all(outcome(rollout) is None for rollout in group.rollouts):
            return [_none(group, "not_graded")]
        if not is_unsolved(group):
            return []
        expert = room.experts.get(group.problem_id)
        return [_none(group, "no_expert")] if expert is None else await _reformulated(room, group, expert, params)

    return await each(work, groups)


def _none(group: Group, reason: str) -> Record:
    return Record(NAME, (group.problem_id,), group.problem_id, reason=reason)


async def _reformulated(room: Room, group: Group, expert: tuple[str, ...], params: EgsrParams) -> list[Record]:
    problem = group.problem
    approval = "".join(f"{index} right\n" for index in range(len(expert))) + "verdict -1"
    prompt = room.prompts.role(
        ROLE, prompt=problem["prompt"], solution=room.prompts.step_separator.join(expert), review=approval
    )
    abouts = [(NAME, room.night, group.problem_id, draw) for draw in range(params.num_versions)]
    attempts = await asyncio.gather(*(ask_for_solution(room, problem, prompt, about) for about in abouts))
    seen: set[tuple[str, ...]] = set()
    made = []
    for draw, attempt in enumerate(attempts):
        reason = _unfit(attempt, expert) or ("repeated" if attempt.steps in seen else None)
        seen.add(attempt.steps)
        found = Measured() if reason else await _measure(room, group, attempt, expert)
        made.append(record_of(NAME, room, group, draw, prompt, attempt, found, reason or _unlikely(found)))
    return made


def _unfit(attempt: Attempt, expert: tuple[str, ...]) -> str | None:
    if attempt.reply.text is None:
        return "request_failed"
    if not attempt.steps:
        return "unreadable"
    if not attempt.is_right:
        return "wrong_answer"
    return "copied" if attempt.steps == expert else None


async def _measure(room: Room, group: Group, attempt: Attempt, expert: tuple[str, ...]) -> Measured:
    try:
        own, theirs = await asyncio.gather(
            *(mean_logprob(room, group.problem, steps) for steps in (attempt.steps, expert))
        )
    except RequestError as error:
        return Measured(error=describe_error(error))
    return Measured(own - theirs, own)


def _unlikely(found: Measured) -> str | None:
    if found.reward is None:
        return "not_scored"
    return None if found.reward > 0.0 else "not_likelier"


EGSR = AgentMethod(EgsrParams, run, roles=(ROLE,))
