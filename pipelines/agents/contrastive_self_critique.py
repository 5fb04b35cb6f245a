"""Critiques made beside a right solution, validated by the correction that they end in (SCRIT).

1. The critic sees the problem, a right reference solution (the first other right sample of the problem, else the
   reference answer) and a sample: role `contrastive_critique`. It says what the reference does, criticises step by
   step, and writes a corrected solution after the line "Corrected solution:".
2. Self-validation: kept where the corrected solution is right.
3. What is trained on is asked **without** the reference: the ordinary critique prompt; a critique that speaks of the
   reference (`leaks`) would give it away.

Reasons: `unreadable`, `no_correction`, `correction_fails`, `not_graded`, `mentions_reference`. Reward: grade of the
correction.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from pydantic import Field

from pipelines.agents.ask import Room, Row, ask, attempt_of
from pipelines.agents.parse import Failure, parse_critique
from pipelines.agents.records import AgentMethod, Group, Record, each, outcome
from pipelines.config import Section
from pipelines.reasoning.prompts import numbered

ROLE = "contrastive_critique"
_MARK = re.compile(r"^[\s>*#]*corrected solution\W*$", re.IGNORECASE | re.MULTILINE)


class ContrastiveParams(Section):
    """Parameters of `contrastive_self_critique`."""

    leaks: tuple[str, ...] = Field(("reference",), description="texts that give away what the critic was shown")


async def run(room: Room, groups: Sequence[Group], params: ContrastiveParams) -> list[Record]:
    """One record per sample."""
    tasks = [
        (group.problem, rollout, _reference(room, group, rollout)) for group in groups for rollout in group.rollouts
    ]

    async def work(task: tuple[Row, Row, str]) -> list[Record]:
        return [await _criticised(room, *task, params)]

    return await each(work, tasks)


def _reference(room: Room, group: Group, rollout: Row) -> str:
    right = (one for one in group.rollouts if outcome(one) == 1.0 and one["rollout_id"] != rollout["rollout_id"])
    found = next(right, None)
    return room.prompts.step_separator.join(found["steps"]) if found else str(group.problem["reference_answer"])


async def _criticised(room: Room, problem: Row, rollout: Row, reference: str, params: ContrastiveParams) -> Record:
    prompt = room.prompts.role(
        ROLE, prompt=problem["prompt"], reference=reference, numbered_steps=numbered(rollout["steps"])
    )
    reply = await ask(room, prompt, (ROLE, rollout["rollout_id"]), str(problem["problem_id"]))
    critique, correction = reply.text or "", None
    if mark := _MARK.search(critique):
        critique, correction = critique[: mark.start()], critique[mark.end() :]
    judged = parse_critique(critique, len(rollout["steps"]), reply.is_truncated)
    attempt = attempt_of(room, problem, replace(reply, text=correction)) if correction else None
    grade = attempt.outcome_reward if attempt else None
    error = reply.error
    if isinstance(judged, Failure):
        reason, error = "unreadable", reply.error or f"unreadable: {judged.reason}"
    elif attempt is None:
        reason = "no_correction"
    elif any(leak.lower() in critique.lower() for leak in params.leaks):
        reason = "mentions_reference"
    else:
        reason = "not_graded" if grade is None else None if grade == 1.0 else "correction_fails"
    return Record(
        "critique", (rollout["rollout_id"],), str(problem["problem_id"]), str(rollout["rollout_id"]),
        prompt=room.prompts.critique_prompt(room.config.agents[0], problem, rollout["steps"]), response=reply.text,
        predicted=None if isinstance(judged, Failure) else str(judged.first_error_step), reward=grade, reason=reason,
        error=error, replies=(reply,),
    )  # fmt: skip


CONTRASTIVE_SELF_CRITIQUE = AgentMethod(ContrastiveParams, run, (ROLE,))
