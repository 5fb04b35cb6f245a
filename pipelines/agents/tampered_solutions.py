"""Inserted errors that a critic must find (as in CriticGPT, arXiv 2407.00215, from its description as remembered).

Right samples are tampered with in one step, by a rule or by a model (`by`), and shown to every agent, beside the
untouched solution. Label: the tampered step, -1 for the untouched one. Reward 1 where the first error is the label,
else 0; null where the critique cannot be read. A critique that is right is kept to learn from; the others are
`missed` (no error found), `wrong_step`, or `false_alarm`.

Over all records `sql/reports/tampering.sql` gives, per agent, recall = found / tampered and precision = found / (all
critiques that call something wrong).
"""

import random
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from pipelines.agents.ask import Reply, Room, Row
from pipelines.agents.corruption import KINDS, MISSING_STEP, TAMPER, Corruption, corrupt, corrupt_by_model
from pipelines.agents.parse import NO_ERROR
from pipelines.agents.records import AgentMethod, Group, Record, each, outcome
from pipelines.agents.said import Said, criticise_by_all
from pipelines.config import Section
from pipelines.records import stable_seed

UNTOUCHED, TAMPERED = "untouched", "tampered"
NOT_CORRUPTIBLE = "not_corruptible"


class TamperedSolutionsParams(Section):
    """Parameters of `tampered_solutions`."""

    by: Literal["rule", "model"] = Field("rule", description="who inserts the error; model: the role tamper")
    with_untouched: bool = Field(True, description="also show the solutions as they were")


async def run(room: Room, groups: Sequence[Group], params: TamperedSolutionsParams) -> list[Record]:
    """One record per right sample, version (tampered, untouched) and agent."""
    if params.by == "model":
        room.prompts.template_of(TAMPER)
    tasks = [(group.problem, rollout) for group in groups for rollout in group.rollouts if outcome(rollout) == 1.0]

    async def work(task: tuple[Row, Row]) -> list[Record]:
        return await _tamper(room, *task, params)

    return await each(work, tasks)


async def _tamper(room: Room, problem: Row, rollout: Row, params: TamperedSolutionsParams) -> list[Record]:
    made, replies = await insert_error(room, problem, rollout, params.by)
    records = []
    if made is None:
        records.append(
            Record(
                TAMPERED, (rollout["rollout_id"], TAMPERED), str(problem["problem_id"]), str(rollout["rollout_id"]),
                reason=NOT_CORRUPTIBLE, replies=replies,
            )
        )  # fmt: skip
    versions = [(TAMPERED, made.steps, made.step)] if made else []
    versions += [(UNTOUCHED, tuple(rollout["steps"]), NO_ERROR)] if params.with_untouched else []
    for kind, steps, label in versions:
        for said in await criticise_by_all(room, problem, steps, (kind, rollout["rollout_id"])):
            extra = replies if kind == TAMPERED and said.agent == room.config.agents[0] else ()
            records.append(_record(kind, problem, rollout, said, label, extra))
    return records


async def insert_error(room: Room, problem: Row, rollout: Row, by: str) -> tuple[Corruption | None, tuple[Reply, ...]]:
    """One error in a right solution, of a kind by lot, and the request that it took."""
    if by == "model":
        made, reply = await corrupt_by_model(room, problem, rollout["steps"], (rollout["rollout_id"],))
        return made, (reply,)
    rng = random.Random(stable_seed(room.config.seed, "corrupt", rollout["rollout_id"]))
    kinds = [kind for kind in KINDS if kind != MISSING_STEP]
    rng.shuffle(kinds)
    made = (corrupt(rollout["steps"], kind, rng) for kind in kinds)
    return next((one for one in made if one is not None), None), ()


def _record(kind: str, problem: Row, rollout: Row, said: Said, label: int, extra: Sequence[Reply]) -> Record:
    found = said.first_error
    is_right = found == str(label)
    wrong = "false_alarm" if label == NO_ERROR else "missed" if found == str(NO_ERROR) else "wrong_step"
    return Record(
        kind, (rollout["rollout_id"], kind, said.agent.name), str(problem["problem_id"]), str(rollout["rollout_id"]),
        step=None if label == NO_ERROR else label, agent=said.agent.name, prompt=said.reply.prompt,
        response=said.reply.text, predicted=found, label=str(label),
        reward=None if found is None else float(is_right),
        reason="unreadable" if found is None else None if is_right else wrong,
        error=said.error, replies=(*extra, said.reply),
    )  # fmt: skip


TAMPERED_SOLUTIONS = AgentMethod(TamperedSolutionsParams, run)
