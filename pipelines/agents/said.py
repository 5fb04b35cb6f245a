"""One agent's critique of a solution, asked for and read: the part that all further methods share."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.agents.aggregate import Aggregate, Vote, aggregate
from pipelines.agents.ask import Reply, Room, Row, ask
from pipelines.agents.parse import Failure, Judgement, parse_critique
from pipelines.agents.units import critique_regex
from pipelines.config import AgentConfig


@dataclass(frozen=True)
class Said:
    """What an agent said of a solution."""

    agent: AgentConfig
    reply: Reply
    judged: Judgement | Failure

    @property
    def judgement(self) -> Judgement | None:
        """None where the critique could not be read."""
        return self.judged if isinstance(self.judged, Judgement) else None

    @property
    def first_error(self) -> str | None:
        """The first wrong step as text, "-1" for none; None where the critique could not be read."""
        return None if self.judgement is None else str(self.judgement.first_error_step)

    @property
    def error(self) -> str | None:
        """Why there is no judgement; None where there is one."""
        if isinstance(self.judged, Judgement):
            return None
        return self.reply.error or f"unreadable: {self.judged.reason}"


async def criticise(
    room: Room, agent: AgentConfig, problem: Row, steps: Sequence[str], about: Sequence[object]
) -> Said:
    """One agent's critique of steps that may be any solution's; `about` names them."""
    reply = await ask(
        room, room.prompts.critique_prompt(agent, problem, steps), ("said", *about, agent.name),
        str(problem["problem_id"]), regex=critique_regex(len(steps)) if room.config.structured else None,
        temperature=agent.temperature,
    )  # fmt: skip
    if reply.text is None:
        return Said(agent, reply, Failure(reply.error or "no_reply"))
    return Said(agent, reply, parse_critique(reply.text, len(steps), reply.is_truncated))


async def criticise_by_all(room: Room, problem: Row, steps: Sequence[str], about: Sequence[object]) -> list[Said]:
    """All configured agents' critiques, each on its own."""
    return list(await asyncio.gather(*(criticise(room, agent, problem, steps, about) for agent in room.config.agents)))


def votes_of(said: Sequence[Said]) -> list[Vote]:
    """The votes of those that could be read."""
    return [Vote(one.agent.name, one.agent.weight, one.judgement) for one in said if one.judgement is not None]


def concluded(room: Room, said: Sequence[Said]) -> Aggregate | None:
    """The agents' vote; None where nobody could be read."""
    return aggregate(votes_of(said), room.config.wrong_threshold)
