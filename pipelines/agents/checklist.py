"""Checklists: what a right solution must fulfil, item by item (IF-CRITIC; claim checklists as in KLCF).

The role `checklist` writes at most `max_items` items for a problem, once for all its samples; with `from_reference` it
sees the reference answer, so that the items are claims of it. The role `check_item` answers yes or no per item and
sample. Reward of a sample = share of its items that are met; predicted right where all are.

Kept where the prediction is the grade; else `disagrees`, `no_items`, `unreadable` (an item without a yes or no: the
share is not known), `not_graded`. From the papers' descriptions as remembered.
"""

import asyncio
import re
from collections.abc import Sequence

from pydantic import Field

from pipelines.agents.ask import Reply, Room, Row, ask
from pipelines.agents.parse import RIGHT, WRONG
from pipelines.agents.records import AgentMethod, Group, Record, each, outcome
from pipelines.config import Section
from pipelines.reasoning.prompts import numbered

ROLE, ITEM_ROLE = "checklist", "check_item"
YES_NO_REGEX = r"(yes|no)\n"
_ITEM = re.compile(r"^\s*(?:[-*]|\d{1,2}[.)])\s*(\S.*)$")
_YES_NO = re.compile(r"^\W*(yes|no)\b", re.IGNORECASE)


class ChecklistParams(Section):
    """Parameters of `checklist`."""

    max_items: int = Field(6, ge=1, le=40, description="items of a problem, at most")
    from_reference: bool = Field(False, description="items are claims of the reference answer")


def items_of(text: str, max_items: int) -> list[str]:
    """The items of a list, each once, in order."""
    found = (match[1].strip() for line in text.splitlines() if (match := _ITEM.match(line[:400])))
    return list(dict.fromkeys(found))[:max_items]


def yes_or_no(text: str) -> bool | None:
    """None where the text begins with neither."""
    found = _YES_NO.match(text[:40])
    return None if found is None else found[1].lower() == "yes"


async def run(room: Room, groups: Sequence[Group], params: ChecklistParams) -> list[Record]:
    """One record per sample."""

    async def work(group: Group) -> list[Record]:
        return await _checked(room, group, params)

    return await each(work, [group for group in groups if group.rollouts])


async def _checked(room: Room, group: Group, params: ChecklistParams) -> list[Record]:
    problem = group.problem
    reference = f"The right answer is {problem['reference_answer']}." if params.from_reference else ""
    prompt = room.prompts.role(
        ROLE, prompt=problem["prompt"], reference=reference, criteria=", ".join(room.config.criteria)
    )
    reply = await ask(room, prompt, (ROLE, group.problem_id), group.problem_id)
    items = items_of(reply.text or "", params.max_items)
    made = await asyncio.gather(*(_check(room, problem, rollout, items) for rollout in group.rollouts))
    return [
        _record(group, rollout, prompt, items, answers, (reply, *replies) if i == 0 else replies, reply.error)
        for i, (rollout, (answers, replies)) in enumerate(zip(group.rollouts, made, strict=True))
    ]


async def _check(
    room: Room, problem: Row, rollout: Row, items: Sequence[str]
) -> tuple[list[bool | None], tuple[Reply, ...]]:
    async def check(number: int, item: str) -> Reply:
        prompt = room.prompts.role(
            ITEM_ROLE, prompt=problem["prompt"], numbered_steps=numbered(rollout["steps"]), item=item
        )
        regex = YES_NO_REGEX if room.config.structured else None
        about = (ITEM_ROLE, rollout["rollout_id"], number)
        return await ask(room, prompt, about, str(problem["problem_id"]), regex=regex)

    replies = await asyncio.gather(*(check(number, item) for number, item in enumerate(items)))
    return [yes_or_no(reply.text or "") for reply in replies], tuple(replies)


def _record(
    group: Group,
    rollout: Row,
    prompt: str,
    items: Sequence[str],
    answers: Sequence[bool | None],
    replies: tuple[Reply, ...],
    error: str | None,
) -> Record:
    grade = outcome(rollout)
    is_read = bool(items) and None not in answers
    share = sum(map(bool, answers)) / len(items) if is_read else None
    predicted = None if share is None else RIGHT if share == 1.0 else WRONG
    label = None if grade is None else RIGHT if grade == 1.0 else WRONG
    if not items:
        reason = "no_items"
    elif share is None:
        reason = "unreadable"
    else:
        reason = "not_graded" if label is None else None if predicted == label else "disagrees"
    told = ["yes" if answer else "no" if answer is not None else "?" for answer in answers]
    return Record(
        "checklist", (rollout["rollout_id"],), group.problem_id, str(rollout["rollout_id"]), prompt=prompt,
        response="\n".join(f"{item}: {answer}" for item, answer in zip(items, told, strict=True)) or None,
        predicted=predicted, label=label, reward=share, reason=reason, error=error, replies=replies,
    )  # fmt: skip


CHECKLIST = AgentMethod(ChecklistParams, run, (ROLE, ITEM_ROLE))
