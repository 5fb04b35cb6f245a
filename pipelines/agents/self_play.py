"""A sneaky generator against a critic (SPC).

The generator turns one right step of a right sample into a wrong one (by a rule, or by a model). The error must be
harmful: of `num_completions` continuations after the sneaky step the share of right ones must be at least `min_drop`
below that after the right step, else the game is void (`not_harmful`; the number is ours). A critic is shown the
solution up to the step, and as the policy first went on from it; the step counts as called wrong where the critic's
first error is at the step or before it:

    critic right:  critic +1, generator -1        critic wrong:  critic -1, generator +1

Wins and losses are both records. For every game the critic is also shown the right step (kind `critic_right_step`), so
that its steps are balanced 1:1.
"""

import asyncio
import random
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from pipelines.agents.ask import Attempt, Room, Row, continue_solution
from pipelines.agents.corruption import TAMPER
from pipelines.agents.parse import RIGHT, WRONG
from pipelines.agents.records import AgentMethod, Group, Record, each, outcome
from pipelines.agents.said import Said, criticise
from pipelines.agents.tampered_solutions import NOT_CORRUPTIBLE, insert_error
from pipelines.config import Section
from pipelines.records import stable_seed


class SelfPlayParams(Section):
    """Parameters of `self_play`."""

    by: Literal["rule", "model"] = Field("rule", description="who is the sneaky generator; model: the role tamper")
    num_completions: int = Field(4, ge=1, le=64, description="continuations after either step, to show the harm")
    min_drop: float = Field(0.5, gt=0.0, le=1.0, description="how far the share of right continuations must fall")


async def run(room: Room, groups: Sequence[Group], params: SelfPlayParams) -> list[Record]:
    """Per right sample a record of the generator and two of the critic, or one void game."""
    if params.by == "model":
        room.prompts.template_of(TAMPER)
    tasks = [(group.problem, rollout) for group in groups for rollout in group.rollouts if outcome(rollout) == 1.0]

    async def work(task: tuple[Row, Row]) -> list[Record]:
        return await _play(room, *task, params)

    return await each(work, tasks)


def share_right(attempts: Sequence[Attempt]) -> float | None:
    """Share of right ones among the graded attempts; None where none was graded."""
    graded = [attempt.outcome_reward for attempt in attempts if attempt.outcome_reward is not None]
    return sum(graded) / len(graded) if graded else None


async def _play(room: Room, problem: Row, rollout: Row, params: SelfPlayParams) -> list[Record]:
    key, ids = str(rollout["rollout_id"]), (str(problem["problem_id"]), str(rollout["rollout_id"]))
    made, replies = await insert_error(room, problem, rollout, params.by)
    if made is None:
        return [Record("game", (key, "game"), *ids, reason=NOT_CORRUPTIBLE, replies=replies)]
    right = tuple(rollout["steps"][: made.step + 1])
    sneaky = (*right[:-1], made.steps[made.step])

    async def complete(steps: Sequence[str], name: str) -> list[Attempt]:
        draws = range(params.num_completions)
        return list(await asyncio.gather(*(continue_solution(room, problem, steps, (key, name, i)) for i in draws)))

    after_right, after_sneaky = await asyncio.gather(complete(right, "right"), complete(sneaky, "sneaky"))
    replies = (*replies, *(attempt.reply for attempt in (*after_right, *after_sneaky)))
    before, after = share_right(after_right), share_right(after_sneaky)
    if before is None or after is None or before - after < params.min_drop:
        reason = "not_graded" if before is None or after is None else "not_harmful"
        return [
            Record("game", (key, "game"), *ids, step=made.step, response=sneaky[-1], reason=reason, replies=replies)
        ]
    agent = random.Random(stable_seed(room.config.seed, "critic", key)).choice(room.config.agents)
    on_sneaky, on_right = await asyncio.gather(
        criticise(room, agent, problem, after_sneaky[0].steps or sneaky, (key, "sneaky")),
        criticise(room, agent, problem, after_right[0].steps or right, (key, "right")),
    )
    won = _reward(on_sneaky, made.step, WRONG)
    generator = Record(
        "generator", (key, "generator"), *ids, step=made.step, prompt=right[-1], response=sneaky[-1], label=made.kind,
        reward=None if won is None else -won, reason="unreadable" if won is None else None, replies=replies,
    )  # fmt: skip
    return [
        generator,
        _critic("critic_sneaky_step", key, ids, made.step, on_sneaky, WRONG),
        _critic("critic_right_step", key, ids, made.step, on_right, RIGHT),
    ]


def verdict_on(said: Said, step: int) -> str | None:
    """Wrong where the first error is at the step or before it; None where the critique could not be read."""
    if said.judgement is None:
        return None
    return WRONG if 0 <= said.judgement.first_error_step <= step else RIGHT


def _reward(said: Said, step: int, label: str) -> float | None:
    verdict = verdict_on(said, step)
    return None if verdict is None else 1.0 if verdict == label else -1.0


def _critic(kind: str, key: str, ids: tuple[str, str], step: int, said: Said, label: str) -> Record:
    return Record(
        kind, (key, kind), *ids, step=step, agent=said.agent.name, prompt=said.reply.prompt, response=said.reply.text,
        predicted=verdict_on(said, step), label=label, reward=_reward(said, step, label),
        reason="unreadable" if said.judgement is None else None, error=said.error, replies=(said.reply,),
    )  # fmt: skip


SELF_PLAY = AgentMethod(SelfPlayParams, run)
