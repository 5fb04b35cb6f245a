"""Critiques filtered by how often they lead to a right refinement (AutoMathCritique).

Flawed solutions are wrong samples and, with `tamper`, right samples with an inserted error. Agents annotate them; a
critique is kept where the share of right ones among `num_refinements` refinements after it is at least `min_share`
(the paper's abstract says "often"; the number is ours), else `rarely_helps`. Reward: that share. Critique in the loop:
of every problem the first right refinement becomes a new solution (kind `solution`).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field

from pipelines.agents.ask import Attempt, Reply, Room, Row, ask_for_solution
from pipelines.agents.parse import RIGHT
from pipelines.agents.records import AgentMethod, Group, Record, each, outcome
from pipelines.agents.said import Said, criticise_by_all
from pipelines.agents.self_play import share_right
from pipelines.agents.tampered_solutions import insert_error
from pipelines.config import Section


class AutoMathCritiqueParams(Section):
    """Parameters of `auto_math_critique`."""

    num_refinements: int = Field(5, ge=1, le=64, description="refinements after every critique")
    min_share: float = Field(0.5, gt=0.0, le=1.0, description="share of right ones among them that a critique needs")
    tamper: bool = Field(True, description="also criticise right samples with an inserted error")


@dataclass(frozen=True)
class Flawed:
    """A wrong solution."""

    problem: Row
    rollout: Row
    steps: tuple[str, ...]
    kind: str  # sampled | tampered


async def run(room: Room, groups: Sequence[Group], params: AutoMathCritiqueParams) -> list[Record]:
    """One record per flawed solution and agent, and one per problem that got a new right solution."""

    async def work(group: Group) -> list[Record]:
        return await _of_problem(room, group, params)

    return await each(work, groups)


async def _of_problem(room: Room, group: Group, params: AutoMathCritiqueParams) -> list[Record]:
    flawed = []
    for rollout in group.rollouts:
        if outcome(rollout) == 0.0:
            flawed.append(Flawed(group.problem, rollout, tuple(rollout["steps"]), "sampled"))
        elif outcome(rollout) == 1.0 and params.tamper:
            made, _ = await insert_error(room, group.problem, rollout, "rule")
            if made is not None:
                flawed.append(Flawed(group.problem, rollout, made.steps, "tampered"))
    annotated = await asyncio.gather(*(_annotate(room, one, params) for one in flawed))
    records = [record for several, _ in annotated for record in several]
    solved = next(((one, attempt) for one, (_, attempt) in zip(flawed, annotated, strict=True) if attempt), None)
    if solved is not None:
        one, attempt = solved
        records.append(
            Record(
                "solution", (group.problem_id, "solution"), group.problem_id, str(one.rollout["rollout_id"]),
                prompt=room.prompts.solve_prompt(group.problem),
                response=room.prompts.step_separator.join([*attempt.steps, ""]), reward=1.0,
            )
        )  # fmt: skip
    return records


async def _annotate(room: Room, one: Flawed, params: AutoMathCritiqueParams) -> tuple[list[Record], Attempt | None]:
    about = ("auto_math_critique", one.rollout["rollout_id"], one.kind)
    said = await criticise_by_all(room, one.problem, one.steps, about)
    tried = await asyncio.gather(*(_refinements(room, one, each_said, about, params) for each_said in said))
    first = next((attempt for attempts in tried for attempt in attempts if attempt.is_right), None)
    return [_record(one, *both, params) for both in zip(said, tried, strict=True)], first


async def _refinements(
    room: Room, one: Flawed, said: Said, about: Sequence[object], params: AutoMathCritiqueParams
) -> list[Attempt]:
    if said.judgement is None or said.judgement.verdict == RIGHT:
        return []
    prompt = room.prompts.refine_prompt(one.problem, one.steps, str(said.reply.text))
    draws = (
        ask_for_solution(room, one.problem, prompt, (*about, said.agent.name, i)) for i in range(params.num_refinements)
    )
    return list(await asyncio.gather(*draws))


def _record(one: Flawed, said: Said, attempts: Sequence[Attempt], params: AutoMathCritiqueParams) -> Record:
    share = share_right(attempts)
    if said.judgement is None:
        reason = "unreadable"
    elif said.judgement.verdict == RIGHT:
        reason = "overlooked"
    elif share is None:
        reason = "not_graded"
    else:
        reason = None if share >= params.min_share else "rarely_helps"
    replies: tuple[Reply, ...] = (said.reply, *(attempt.reply for attempt in attempts))
    return Record(
        one.kind, (one.rollout["rollout_id"], one.kind, said.agent.name), str(one.problem["problem_id"]),
        str(one.rollout["rollout_id"]), agent=said.agent.name, prompt=said.reply.prompt, response=said.reply.text,
        predicted=said.first_error, label="wrong", reward=share, reason=reason, error=said.error, replies=replies,
    )  # fmt: skip


AUTO_MATH_CRITIQUE = AgentMethod(AutoMathCritiqueParams, run)
