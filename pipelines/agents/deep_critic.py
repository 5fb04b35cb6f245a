"""A critique of the critique (DeepCritic).

The first agent criticises a sample; the role `deep_critique` re-checks steps and critique and writes its own, in the
same form. Where its first error is the label, both are merged into one critique that ends in `**Answer**: \\boxed{k}`.

Labels: -1 for a right sample; for a wrong one the first step after which none of `num_completions` continuations is
right while some before it were (the paper's second way, labels from roll-outs; steps count from 0 here, from 1 there).
A wrong sample without such a step has no label (`no_label`): the policy cannot solve it from anywhere, or from
everywhere. Other reasons: `unreadable`, `wrong_first_error`, and `unrevised_right` for right samples whose critique was
not changed beyond `max_unrevised` (250 in the paper), by id.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from pydantic import Field

from pipelines.agents.ask import Reply, Room, Row, ask, continue_solution
from pipelines.agents.parse import NO_ERROR, Failure, parse_critique
from pipelines.agents.records import AgentMethod, Group, Record, each, outcome
from pipelines.agents.said import criticise
from pipelines.agents.self_play import share_right
from pipelines.config import Section
from pipelines.reasoning.prompts import numbered

ROLE = "deep_critique"
RIGHT_SAMPLE, WRONG_SAMPLE = "right_sample", "wrong_sample"


class DeepCriticParams(Section):
    """Parameters of `deep_critic`."""

    num_completions: int = Field(8, ge=1, le=64, description="continuations after every step of a wrong sample")
    max_unrevised: int = Field(250, ge=0, description="right samples whose critique was not changed, at most")


async def run(room: Room, groups: Sequence[Group], params: DeepCriticParams) -> list[Record]:
    """One record per graded sample."""
    tasks = [
        (group.problem, one) for group in groups for one in group.rollouts if outcome(one) is not None
    ]  # fmt: skip

    async def work(task: tuple[Row, Row]) -> list[Record]:
        return [await _deep(room, *task, params)]

    return _balanced(await each(work, tasks), params.max_unrevised)


async def first_error_by_completions(
    room: Room, problem: Row, rollout: Row, num_completions: int
) -> tuple[int | None, tuple[Reply, ...]]:
    """The first step after which no continuation is right, and the requests that it took; None: no such step."""
    steps = rollout["steps"]

    async def share(length: int) -> tuple[float | None, tuple[Reply, ...]]:
        about = ("completions", rollout["rollout_id"], length)
        attempts = await asyncio.gather(
            *(continue_solution(room, problem, steps[:length], (*about, i)) for i in range(num_completions))
        )
        return share_right(attempts), tuple(attempt.reply for attempt in attempts)

    shares = await asyncio.gather(*map(share, range(len(steps))))
    replies = tuple(reply for _, several in shares for reply in several)
    values = [value for value, _ in shares] + [outcome(rollout)]  # after the last step the sample's own grade
    if not values[0] or 0.0 not in values:
        return None, replies
    return values.index(0.0) - 1, replies


async def _deep(room: Room, problem: Row, rollout: Row, params: DeepCriticParams) -> Record:
    steps, ids = rollout["steps"], (str(problem["problem_id"]), str(rollout["rollout_id"]))
    is_right = outcome(rollout) == 1.0
    first = await criticise(room, room.config.agents[0], problem, steps, (ROLE, rollout["rollout_id"]))
    kind = RIGHT_SAMPLE if is_right else WRONG_SAMPLE
    known = {"key": (rollout["rollout_id"],), "prompt": first.reply.prompt, "agent": first.agent.name}
    if first.judgement is None:
        return Record(
            kind, known["key"], *ids, agent=known["agent"], prompt=known["prompt"], reason="unreadable",
            error=first.error, replies=(first.reply,),
        )  # fmt: skip
    prompt = room.prompts.role(
        ROLE, prompt=problem["prompt"], numbered_steps=numbered(steps), critique=first.reply.text
    )
    reply = await ask(room, prompt, (ROLE, "second", rollout["rollout_id"]), ids[0])
    judged = parse_critique(reply.text or "", len(steps), reply.is_truncated)
    label, counted = NO_ERROR, ()
    if not is_right:
        label, counted = await first_error_by_completions(room, problem, rollout, params.num_completions)
    error, found = reply.error, None
    if isinstance(judged, Failure):
        reason, error = "unreadable", reply.error or f"unreadable: {judged.reason}"
    else:
        found = judged.first_error_step
        reason = "no_label" if label is None else None if found == label else "wrong_first_error"
    merged = f"{str(first.reply.text).rstrip()}\n{(reply.text or '').rstrip()}\n**Answer**: \\boxed{{{found}}}\n"
    return Record(
        kind, known["key"], *ids, agent=known["agent"], prompt=known["prompt"],
        response=merged if found is not None else reply.text, predicted=None if found is None else str(found),
        label=None if label is None else str(label),
        reward=None if found is None or label is None else float(found == label),
        reason=reason, error=error, replies=(first.reply, reply, *counted),
        rejected=None if str(found) == first.first_error else first.reply.text,
    )  # fmt: skip


def _balanced(records: Sequence[Record], max_unrevised: int) -> list[Record]:
    """Right samples beyond the limit whose critique was not revised are not kept."""
    unrevised = [one for one in records if one.kind == RIGHT_SAMPLE and one.reason is None and one.rejected is None]
    over = {one.key for one in sorted(unrevised, key=lambda one: str(one.key))[max_unrevised:]}
    return [replace(one, reason="unrevised_right") if one.key in over else one for one in records]


DEEP_CRITIC = AgentMethod(DeepCriticParams, run, (ROLE,))
