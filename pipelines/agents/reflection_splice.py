"""Wrong samples led back to the right way (Agent-R, and ThinkTuning's guidance), with a mask of what is learned.

The first agent plays the actor that judges its own path; the prefix ends with the first step that it does not call
right (the transition), or with the last step where it calls all right.

    agent_r    wrong prefix (not learned) + a thought by lot (learned) + a right sample of the problem from the first
               step on that differs from the prefix (learned). Pairs of samples; of the right samples the one that
               shares the most steps, then the first by id.
    guidance   steps before the transition (learned) + the critique as guidance (not learned: it is not the policy's)
               + the policy's own continuation from before the transition (learned); kept where that is right.

Reward: grade of the last answer. Reasons: `no_right_sample`, `no_error_found` (the actor calls all steps right; with
agent_r the whole wrong path is the prefix and the record is kept), `unreadable`, `continuation_fails`, `not_graded`.
Splices out of search trees, with step values in place of the actor, are the table `splices`. ThinkTuning's form is
remembered, not checked.
"""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from pipelines.agents.ask import Room, Row, continue_solution
from pipelines.agents.parse import NO_ERROR
from pipelines.agents.records import ASSISTANT, USER, AgentMethod, Group, Message, Record, each, outcome
from pipelines.agents.said import Said, criticise
from pipelines.config import Section
from pipelines.records import stable_seed

THOUGHTS = (
    "Wait, that last step is wrong. Let me go back.",
    "This does not lead to the answer; I start again from before the error.",
    "I made a mistake. Let me correct it.",
)


class ReflectionSpliceParams(Section):
    """Parameters of `reflection_splice`."""

    shape: Literal["agent_r", "guidance"] = Field("agent_r", description="what stands between the wrong and right part")
    thoughts: tuple[str, ...] = Field(THOUGHTS, min_length=1, description="agent_r: thoughts that turn round, by lot")


async def run(room: Room, groups: Sequence[Group], params: ReflectionSpliceParams) -> list[Record]:
    """One record per wrong sample."""
    tasks = [(group, one) for group in groups for one in group.rollouts if outcome(one) == 0.0]

    async def work(task: tuple[Group, Row]) -> list[Record]:
        return [await _spliced(room, *task, params)]

    return await each(work, tasks)


def num_shared(first: Sequence[str], second: Sequence[str]) -> int:
    """Steps with which both begin."""
    differing = (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b)
    return next(differing, min(len(first), len(second)))


async def _spliced(room: Room, group: Group, rollout: Row, params: ReflectionSpliceParams) -> Record:
    said = await criticise(
        room, room.config.agents[0], group.problem, rollout["steps"], ("splice", rollout["rollout_id"])
    )
    key = (rollout["rollout_id"], params.shape)
    ids = (group.problem_id, str(rollout["rollout_id"]))
    if said.judgement is None:
        return Record(
            params.shape, key, *ids, agent=said.agent.name, reason="unreadable", error=said.error, replies=(said.reply,)
        )
    shape = {"agent_r": _agent_r, "guidance": _guidance}[params.shape]
    return await shape(room, group, rollout, said, params, key, ids)


async def _agent_r(
    room: Room,
    group: Group,
    rollout: Row,
    said: Said,
    params: ReflectionSpliceParams,
    key: tuple[object, ...],
    ids: tuple[str, str],
) -> Record:
    steps, error = rollout["steps"], said.judgement.first_error_step
    known = {"predicted": said.first_error, "agent": said.agent.name, "replies": (said.reply,)}
    prefix = steps if error == NO_ERROR else steps[: error + 1]
    right = [one for one in group.rollouts if outcome(one) == 1.0]
    if not right:
        return Record(params.shape, key, *ids, reason="no_right_sample", **known)
    best = min(right, key=lambda one: (-num_shared(prefix, one["steps"]), one["rollout_id"]))
    thought = params.thoughts[stable_seed(room.config.seed, "thought", *key) % len(params.thoughts)]
    messages = (
        Message(USER, room.prompts.solve_prompt(group.problem), False),
        Message(ASSISTANT, _text(room, prefix), False),
        Message(ASSISTANT, _text(room, [thought]), True),
        Message(ASSISTANT, _text(room, best["steps"][num_shared(prefix, best["steps"]) :]), True),
    )
    return Record(params.shape, key, *ids, step=len(prefix) - 1, messages=messages, reward=1.0, **known)


async def _guidance(
    room: Room,
    group: Group,
    rollout: Row,
    said: Said,
    params: ReflectionSpliceParams,
    key: tuple[object, ...],
    ids: tuple[str, str],
) -> Record:
    steps, error = rollout["steps"], said.judgement.first_error_step
    known = {"predicted": said.first_error, "agent": said.agent.name}
    if error == NO_ERROR:
        return Record(params.shape, key, *ids, reason="no_error_found", replies=(said.reply,), **known)
    attempt = await continue_solution(room, group.problem, steps[:error], ("guidance", *key))
    guidance = str(said.reply.text)
    parts = [(_text(room, steps[:error]), True)] if error else []
    parts += [(guidance if guidance.endswith("\n") else guidance + "\n", False)]
    parts += [(_text(room, attempt.steps[error:]), True)]
    turns = tuple(Message(ASSISTANT, text, is_learned) for text, is_learned in parts)
    grade = attempt.outcome_reward
    return Record(
        params.shape, key, *ids, step=error,
        messages=(Message(USER, room.prompts.solve_prompt(group.problem), False), *turns), reward=grade,
        reason="not_graded" if grade is None else None if grade == 1.0 else "continuation_fails",
        replies=(said.reply, attempt.reply), **known,
    )  # fmt: skip


def _text(room: Room, steps: Sequence[str]) -> str:
    return room.prompts.step_separator.join([*steps, ""])


REFLECTION_SPLICE = AgentMethod(ReflectionSpliceParams, run)
