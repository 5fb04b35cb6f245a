"""What a method of agents hands over: records that become rows of `critique_records`.

A record is one thing that a critic, judge or refiner can learn from, with what it cost. One that is not worth learning
from stays, with the reason, so that yields can be counted. Records of one method differ in their keys.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel

from pipelines.agents.ask import Reply, Room, Row
from pipelines.records import stable_digest

USER, ASSISTANT = "user", "assistant"
FAILED = "request_failed"  # the reason of a record whose requests were not all answered

Item, Made = TypeVar("Item"), TypeVar("Made")


@dataclass(frozen=True)
class Message:
    """A turn of an episode."""

    role: str  # user | assistant
    content: str
    is_learned: bool  # the loss counts it


@dataclass(frozen=True)
class Record:
    """See `pipelines.tables`, table `critique_records`, whose columns these are."""

    kind: str
    key: tuple[object, ...]  # tells it from the method's other records
    problem_id: str
    rollout_id: str | None = None
    step: int | None = None
    agent: str | None = None
    prompt: str | None = None
    response: str | None = None
    rejected: str | None = None
    messages: tuple[Message, ...] = ()
    predicted: str | None = None
    label: str | None = None
    reward: float | None = None
    logprob: float | None = None
    reason: str | None = None  # None: kept
    error: str | None = None
    replies: tuple[Reply, ...] = ()  # the requests that it took


@dataclass(frozen=True)
class Group:
    """A problem and its finished independent samples, by id."""

    problem: Row
    rollouts: tuple[Row, ...]

    @property
    def problem_id(self) -> str:
        """The problem."""
        return str(self.problem["problem_id"])


RunFn = Callable[[Room, Sequence[Group], BaseModel], Awaitable[list[Record]]]


@dataclass(frozen=True)
class AgentMethod:
    """A method that `[[critiques.methods]]` can name."""

    params: type[BaseModel]
    run: RunFn
    roles: tuple[str, ...] = ()  # templates that the prompt style must have


def record_row(method: str, night: str, record: Record) -> Row:
    """The row of a record; a failed request is its error where it has no other, and its reason."""
    error = record.error or next((reply.error for reply in record.replies if reply.error), None)
    reason = record.reason or (FAILED if error else None)
    return {
        "record_id": stable_digest("record", method, record.kind, *record.key),
        "method": method,
        "kind": record.kind,
        "problem_id": record.problem_id,
        "rollout_id": record.rollout_id,
        "step": record.step,
        "agent": record.agent,
        "prompt": record.prompt,
        "response": record.response,
        "rejected": record.rejected,
        "roles": [message.role for message in record.messages] or None,
        "contents": [message.content for message in record.messages] or None,
        "is_learned": [message.is_learned for message in record.messages] or None,
        "predicted": record.predicted,
        "label": record.label,
        "reward": record.reward,
        "logprob": record.logprob,
        "kept": reason is None,
        "reason": reason,
        "num_requests": len(record.replies),
        "num_failed": sum(reply.is_failed for reply in record.replies),
        "num_tokens": sum(reply.num_tokens or 0 for reply in record.replies),
        "num_prompt_tokens": sum(reply.num_prompt_tokens for reply in record.replies),
        "request_ids": [reply.request_id for reply in record.replies if reply.request_id],
        "error": error,
        "night": night,
    }


async def each(work: Callable[[Item], Awaitable[Sequence[Made]]], items: Sequence[Item]) -> list[Made]:
    """Everything that `work` makes of the items, in their order; the session bounds the requests in flight."""
    made = await asyncio.gather(*map(work, items))
    return [one for several in made for one in several]


def outcome(row: Mapping[str, object]) -> float | None:
    """The grade of a rollout, 0.0 or 1.0; None where it has none."""
    reward = row.get("outcome_reward")
    return reward if reward in (0.0, 1.0) else None
