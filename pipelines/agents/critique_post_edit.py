"""Answers edited after a critique, as rollouts of their own (Critique-Post-Edit, from its description as remembered).

An agent criticises a sample, the policy edits it after the critique, and both answers go into RL with their grades; the
edited one is the answer to the same prompt. Where the edit is graded higher it is chosen over the original. Reward:
grade of the edit. Kept: edits that differ and are graded no lower (`min_gain` 0) or higher (1). Reasons: `unreadable`,
`not_edited`, `got_worse`, `no_gain`, `not_graded`.
"""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from pipelines.agents.ask import Room, Row, ask_for_solution
from pipelines.agents.records import AgentMethod, Group, Record, each, outcome
from pipelines.agents.said import criticise
from pipelines.config import Section


class CritiquePostEditParams(Section):
    """Parameters of `critique_post_edit`."""

    min_gain: Literal[0, 1] = Field(0, description="least gain of a kept edit's grade")


async def run(room: Room, groups: Sequence[Group], params: CritiquePostEditParams) -> list[Record]:
    """One record per sample."""
    tasks = [(group.problem, rollout) for group in groups for rollout in group.rollouts]

    async def work(task: tuple[Row, Row]) -> list[Record]:
        return [await _edited(room, *task, params)]

    return await each(work, tasks)


async def _edited(room: Room, problem: Row, rollout: Row, params: CritiquePostEditParams) -> Record:
    key, ids = (rollout["rollout_id"],), (str(problem["problem_id"]), str(rollout["rollout_id"]))
    said = await criticise(room, room.config.agents[0], problem, rollout["steps"], ("post_edit", *key))
    if said.judgement is None:
        return Record(
            "edit", key, *ids, agent=said.agent.name, reason="unreadable", error=said.error, replies=(said.reply,)
        )
    prompt = room.prompts.refine_prompt(problem, rollout["steps"], str(said.reply.text))
    attempt = await ask_for_solution(room, problem, prompt, ("post_edit", *key))
    before, after = outcome(rollout), attempt.outcome_reward
    join = room.prompts.step_separator.join
    reason = None
    if before is None or after is None:
        reason = "not_graded"
    elif list(attempt.steps) == list(rollout["steps"]):
        reason = "not_edited"
    elif after - before < params.min_gain:
        reason = "got_worse" if after < before else "no_gain"
    is_better = before is not None and after is not None and after > before
    return Record(
        "edit", key, *ids, agent=said.agent.name, prompt=room.prompts.solve_prompt(problem),
        response=join([*attempt.steps, ""]) if attempt.steps else None,
        rejected=join([*rollout["steps"], ""]) if is_better else None, predicted=said.judgement.verdict, reward=after,
        reason=reason, replies=(said.reply, attempt.reply),
    )  # fmt: skip


CRITIQUE_POST_EDIT = AgentMethod(CritiquePostEditParams, run)
