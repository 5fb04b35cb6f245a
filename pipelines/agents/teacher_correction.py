"""A teacher's correction against the student's own (SuperCorrect, its second stage).

On a wrong sample both write a critique that names the first error, and a refinement after it: the student is the first
agent, the teacher the one that `teacher` names. Pair: the teacher's critique and correction chosen, the student's
rejected, both in answer to the critique prompt of the student. Kept where the teacher's correction is right and the
student's wrong; else `teacher_fails`, `student_right_too`, `unreadable`, `same_text`.
"""

import asyncio
from collections.abc import Sequence

from pydantic import Field

from pipelines.agents.ask import Attempt, Room, Row, ask_for_solution
from pipelines.agents.records import AgentMethod, Group, Record, each, outcome
from pipelines.agents.said import Said, criticise
from pipelines.config import AgentConfig, Section
from pipelines.errors import ConfigError


class TeacherCorrectionParams(Section):
    """Parameters of `teacher_correction`."""

    teacher: str | None = Field(None, description="name of the agent that teaches; default: the last one")


async def run(room: Room, groups: Sequence[Group], params: TeacherCorrectionParams) -> list[Record]:
    """One record per wrong sample. ConfigError where teacher and student are one agent."""
    student, teacher = room.config.agents[0], _teacher(room, params)
    tasks = [(group.problem, rollout) for group in groups for rollout in group.rollouts if outcome(rollout) == 0.0]

    async def work(task: tuple[Row, Row]) -> list[Record]:
        return [await _pair(room, student, teacher, *task)]

    return await each(work, tasks)


def _teacher(room: Room, params: TeacherCorrectionParams) -> AgentConfig:
    by_name = {agent.name: agent for agent in room.config.agents}
    name = params.teacher or room.config.agents[-1].name
    if name not in by_name or name == room.config.agents[0].name:
        raise ConfigError(
            f"teacher_correction: the teacher `{name}` must be an agent after the first one, which is the student; "
            f"there is {', '.join(list(by_name)[1:]) or 'none'}."
        )
    return by_name[name]


async def _corrected(room: Room, agent: AgentConfig, problem: Row, rollout: Row) -> tuple[Said, Attempt | None]:
    about = ("teacher_correction", rollout["rollout_id"])
    said = await criticise(room, agent, problem, rollout["steps"], about)
    if said.judgement is None:
        return said, None
    prompt = room.prompts.refine_prompt(problem, rollout["steps"], str(said.reply.text))
    return said, await ask_for_solution(room, problem, prompt, (*about, agent.name))


async def _pair(room: Room, student: AgentConfig, teacher: AgentConfig, problem: Row, rollout: Row) -> Record:
    (own, own_try), (taught, taught_try) = await asyncio.gather(
        _corrected(room, student, problem, rollout), _corrected(room, teacher, problem, rollout)
    )
    texts = [_text(room, *both) for both in ((taught, taught_try), (own, own_try))]
    if taught_try is None or own_try is None:
        reason = "unreadable"
    elif not taught_try.is_right:
        reason = "teacher_fails"
    elif own_try.is_right:
        reason = "student_right_too"
    else:
        reason = "same_text" if texts[0] == texts[1] else None
    replies = [said.reply for said in (own, taught)] + [one.reply for one in (own_try, taught_try) if one is not None]
    return Record(
        "correction", (rollout["rollout_id"],), str(problem["problem_id"]), str(rollout["rollout_id"]),
        agent=teacher.name, prompt=own.reply.prompt, response=texts[0], rejected=texts[1], predicted=taught.first_error,
        reward=None if taught_try is None else taught_try.outcome_reward, reason=reason,
        error=own.error or taught.error, replies=tuple(replies),
    )  # fmt: skip


def _text(room: Room, said: Said, attempt: Attempt | None) -> str | None:
    if attempt is None:
        return None
    critique = str(said.reply.text)
    return (critique if critique.endswith("\n") else critique + "\n") + room.prompts.step_separator.join(attempt.steps)


TEACHER_CORRECTION = AgentMethod(TeacherCorrectionParams, run)
