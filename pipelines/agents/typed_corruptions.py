"""Structured feedback on typed errors (REFINER, arXiv 2304.01904, from its description as remembered).

Right samples are corrupted once per error type by a rule; the feedback names step and type and says what should stand
there, in the form in which agents criticise. The refiner gets the corrupted solution with the feedback; the record
(prompt of a critic, feedback) is kept where the refinement is right (reward 1), else `refinement_fails`. A type that no
step of the sample allows is a record `not_corruptible`.
"""

import random
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from pipelines.agents.ask import Room, Row, ask_for_solution
from pipelines.agents.corruption import MISSING_STEP, Corruption, corrupt
from pipelines.agents.records import AgentMethod, Group, Record, each, outcome
from pipelines.agents.tampered_solutions import NOT_CORRUPTIBLE
from pipelines.agents.units import Unit, line_of
from pipelines.config import Section
from pipelines.records import stable_seed

Kind = Literal["wrong_number", "wrong_operator", "wrong_operand", "missing_step"]


class TypedCorruptionsParams(Section):
    """Parameters of `typed_corruptions`."""

    kinds: tuple[Kind, ...] = Field(
        ("wrong_number", "wrong_operator", "missing_step"), min_length=1, description="the types of errors"
    )


def feedback(made: Corruption, has_words: bool = True) -> str:
    """The critique that names the error, as an agent would write it; what follows the error is called right.

    Without words it is the verdict and what should stand there, which for a missing step is the step that is missing.
    """
    if not has_words:
        unit = Unit(made.step, None, made.original, made.kind, None)
    elif made.kind == MISSING_STEP:
        unit = Unit(made.step, "a step is missing before it", made.original, made.kind, None)
    else:
        unit = Unit(made.step, made.kind.replace("_", " "), made.original, made.kind, None)
    lines = [line_of(unit) if i == made.step else f"{i} right" for i in range(len(made.steps))]
    return "\n".join([*lines, f"verdict {made.step}", ""])


async def run(room: Room, groups: Sequence[Group], params: TypedCorruptionsParams) -> list[Record]:
    """One record per right sample and type."""
    tasks = [
        (group.problem, rollout, kind)
        for group in groups
        for rollout in group.rollouts
        if outcome(rollout) == 1.0
        for kind in params.kinds
    ]

    async def work(task: tuple[Row, Row, str]) -> list[Record]:
        return [await _refined(room, *task)]

    return await each(work, tasks)


async def _refined(room: Room, problem: Row, rollout: Row, kind: str) -> Record:
    key = (rollout["rollout_id"], kind)
    ids = (str(problem["problem_id"]), str(rollout["rollout_id"]))
    made = corrupt(rollout["steps"], kind, random.Random(stable_seed(room.config.seed, "typed", *key)))
    if made is None:
        return Record(kind, key, *ids, label=kind, reason=NOT_CORRUPTIBLE)
    text = feedback(made, room.prompts.has_words)
    prompt = room.prompts.refine_prompt(problem, made.steps, text)
    attempt = await ask_for_solution(room, problem, prompt, ("typed", *key))
    return Record(
        kind, key, *ids, step=made.step,
        prompt=room.prompts.critique_prompt(room.config.agents[0], problem, made.steps),
        response=text, label=kind, reward=attempt.outcome_reward,
        reason=None if attempt.is_right else "refinement_fails" if attempt.outcome_reward == 0.0 else "not_graded",
        replies=(attempt.reply,),
    )  # fmt: skip


TYPED_CORRUPTIONS = AgentMethod(TypedCorruptionsParams, run)
