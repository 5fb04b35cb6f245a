"""Critiques that end in a score from 1 to 10 (ChatGLM-Math's Math-Critique, CritiqueLLM; as remembered).

The role `scored_critique` sees a sample, with `with_reference` also the reference answer (CritiqueLLM's two pointwise
forms), and ends in "Score: N". predicted = right where N >= `threshold`. Reward: (N - 1) / 9, in [0, 1], null where no
score can be read. Kept where the prediction is the grade; else `disagrees`, `unreadable`, `not_graded`. With a
reference the record's prompt is still the one without, as in SCRIT, so that a critic learns to do without it.
"""

import re
from collections.abc import Sequence

from pydantic import Field

from pipelines.agents.ask import Room, Row, ask
from pipelines.agents.parse import RIGHT, WRONG
from pipelines.agents.records import AgentMethod, Group, Record, each, outcome
from pipelines.config import Section
from pipelines.reasoning.prompts import numbered

ROLE = "scored_critique"
_SCORE = re.compile(r"score\W{0,6}(\d{1,3})(?:\s*/\s*10)?\W*$", re.IGNORECASE)


class ScoredCritiqueParams(Section):
    """Parameters of `scored_critique`."""

    with_reference: bool = Field(False, description="the critic sees the reference answer")
    threshold: int = Field(6, ge=1, le=10, description="least score that says right (ours)")


def score_of(text: str) -> int | None:
    """The score at the end, 1 to 10; None without one or outside."""
    found = _SCORE.search(text[-200:].rstrip())
    return int(found[1]) if found and 1 <= int(found[1]) <= 10 else None


async def run(room: Room, groups: Sequence[Group], params: ScoredCritiqueParams) -> list[Record]:
    """One record per sample."""
    tasks = [(group.problem, rollout) for group in groups for rollout in group.rollouts]

    async def work(task: tuple[Row, Row]) -> list[Record]:
        return [await _scored(room, *task, params)]

    return await each(work, tasks)


async def _scored(room: Room, problem: Row, rollout: Row, params: ScoredCritiqueParams) -> Record:
    known = {"prompt": problem["prompt"], "numbered_steps": numbered(rollout["steps"])}
    plain = room.prompts.role(ROLE, **known, reference="")
    reference = f"The right answer is {problem['reference_answer']}." if params.with_reference else ""
    reply = await ask(
        room, room.prompts.role(ROLE, **known, reference=reference), (ROLE, rollout["rollout_id"]),
        str(problem["problem_id"]),
    )  # fmt: skip
    score, grade = score_of(reply.text or ""), outcome(rollout)
    predicted = None if score is None else RIGHT if score >= params.threshold else WRONG
    label = None if grade is None else RIGHT if grade == 1.0 else WRONG
    if score is None:
        reason = "unreadable"
    else:
        reason = "not_graded" if label is None else None if predicted == label else "disagrees"
    return Record(
        "critique", (rollout["rollout_id"],), str(problem["problem_id"]), str(rollout["rollout_id"]), prompt=plain,
        response=reply.text, predicted=predicted, label=label, reward=None if score is None else (score - 1) / 9,
        reason=reason, error=reply.error or ("unreadable: no_score" if score is None else None), replies=(reply,),
    )  # fmt: skip


SCORED_CRITIQUE = AgentMethod(ScoredCritiqueParams, run, (ROLE,))
