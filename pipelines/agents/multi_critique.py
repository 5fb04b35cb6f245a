"""MultiCritique (arXiv 2410.15287): one rollout's round.

1. Crucial information: task, criteria and, where configured, the reference answer; from the configuration, or written
   by a model (`crucial_information = "model"`).
2. Every agent criticises on its own; its critique is read as units.
3. The meta-critique judges each unit (`meta_critique`: by the other agents' verdicts, or by a model).
4. The vote gives verdict and first error; confirmed units become the final critique.
5. Where the verdict is `wrong`, a refinement follows the final critique.
6. MARV: with `refinements_per_critique` = m > 0, every readable critique, and the final one, is followed by m
   refinements, right verdicts too; `marv_critique_pairs` makes pairs of critiques of them. Where all critiques of a
   rollout are one text nothing can be compared, and none are made.

Invariants
- A failed request or an unreadable critique is a row with `error`, verdict null; the other agents go on.
- A refinement's `critique_id` names a row of `critiques`, or the final critique's row in `verdicts`.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipelines.agents.aggregate import Aggregate, Vote, aggregate
from pipelines.agents.ask import Attempt, Reply, Room, Row, ask, ask_for_solution
from pipelines.agents.final import FinalCritique, JudgedUnit, final_critique
from pipelines.agents.meta import META_REGEX, MetaCritique, by_peers, quality_by_model, quality_by_peers, read_meta
from pipelines.agents.parse import WRONG, Failure, Judgement, parse_critique
from pipelines.agents.units import Unit, critique_regex, units_of
from pipelines.config import AgentConfig
from pipelines.reasoning.prompts import CrucialInformation, numbered
from pipelines.records import stable_digest

NO_READABLE_CRITIQUE = "no_readable_critique"
FINAL = "final"  # in the id of a final critique, where an agent's name stands in the others


@dataclass(frozen=True)
class Heard:
    """What one agent said, read."""

    agent: AgentConfig
    critique_id: str
    reply: Reply
    judged: Judgement | Failure
    units: tuple[Unit, ...]
    metas: tuple[MetaCritique, ...] = ()  # one per unit
    quality: float | None = None  # larger is better, 0 at most; None = nobody could judge it

    @property
    def vote(self) -> Vote | None:
        """The agent's vote; None where its critique could not be read."""
        is_read = isinstance(self.judged, Judgement)
        return Vote(self.agent.name, self.agent.weight, self.judged) if is_read else None


@dataclass(frozen=True)
class Round:
    """One rollout's rows by table, and how many requests the engine did not answer."""

    critiques: tuple[Row, ...]
    units: tuple[Row, ...]
    verdict: Row
    refinements: tuple[Row, ...]
    num_requests: int
    num_failed: int
    num_tokens: int


async def criticise_rollout(room: Room, problem: Row, rollout: Row) -> Round:
    """All agents on one rollout, their verdict, and refinements."""
    crucial, asked = await _crucial_information(room, problem)
    heard = await asyncio.gather(*(_hear(room, agent, problem, rollout, crucial) for agent in room.config.agents))
    votes = [one.vote for one in heard if one.vote is not None]
    heard, meta_replies = await _with_meta(room, problem, rollout, heard, votes)
    conclusion = aggregate(votes, room.config.wrong_threshold)
    units = [
        JudgedUnit(one.agent.name, one.agent.weight, unit, meta)
        for one in heard
        for unit, meta in zip(one.units, one.metas, strict=True)
    ]
    num_steps = len(rollout["steps"])
    final = conclusion and final_critique(conclusion, votes, units, num_steps, room.config.wrong_threshold)
    final_id = stable_digest("critique", rollout["rollout_id"], FINAL)
    refined = await _refine(room, problem, rollout, conclusion, final, final_id, heard)
    replies = [*asked, *(one.reply for one in heard), *meta_replies, *(attempt.reply for _, _, attempt in refined)]
    return Round(
        critiques=tuple(_critique_row(room, one, rollout) for one in heard),
        units=tuple(_unit_rows(room, rollout, heard, final)),
        verdict=_verdict_row(room, rollout, conclusion, final, final_id, crucial),
        refinements=tuple(_refinement_row(room, rollout, *one) for one in refined),
        num_requests=len(replies),
        num_failed=sum(reply.is_failed for reply in replies),
        num_tokens=sum(reply.num_tokens or 0 for reply in replies),
    )


async def _crucial_information(room: Room, problem: Row) -> tuple[CrucialInformation, list[Reply]]:
    """Task, criteria, reference; and the requests that it took. What a model did not write is the problem's own."""
    config = room.config
    reference = str(problem["reference_answer"]) if config.show_reference else None
    own = CrucialInformation(str(problem["prompt"]), config.criteria, reference)
    if config.crucial_information == "configured":
        return own, []
    prompt = room.prompts.role("crucial_information", prompt=problem["prompt"], criteria="\n".join(config.criteria))
    reply = await ask(room, prompt, ("crucial_information", problem["problem_id"]), str(problem["problem_id"]))
    lines = [line.strip("-* \t") for line in (reply.text or "").splitlines()]
    task = next((line[5:].strip() for line in lines if line.lower().startswith("task:")), own.task)
    criteria = tuple(line[10:].strip() for line in lines if line.lower().startswith("criterion:") and line[10:].strip())
    return CrucialInformation(task or own.task, criteria or own.criteria, reference), [reply]


async def _hear(room: Room, agent: AgentConfig, problem: Row, rollout: Row, crucial: CrucialInformation) -> Heard:
    steps = rollout["steps"]
    reply = await ask(
        room, room.prompts.critique_prompt(agent, problem, steps, crucial), (rollout["rollout_id"], agent.name),
        str(rollout["problem_id"]), regex=critique_regex(len(steps)) if room.config.structured else None,
        temperature=agent.temperature,
    )  # fmt: skip
    judged = _judge(reply, len(steps))
    units = units_of(reply.text or "", judged, steps) if isinstance(judged, Judgement) else ()
    return Heard(agent, stable_digest("critique", rollout["rollout_id"], agent.name), reply, judged, units)


def _judge(reply: Reply, num_steps: int) -> Judgement | Failure:
    if reply.text is None:
        return Failure(reply.error or "no_reply")
    return parse_critique(reply.text, num_steps, reply.is_truncated)


async def _with_meta(
    room: Room, problem: Row, rollout: Row, heard: Sequence[Heard], votes: Sequence[Vote]
) -> tuple[list[Heard], list[Reply]]:
    """Everybody with the meta-critique of their units, and the requests that it took."""
    if room.config.meta_critique == "peers":
        return [_judged_by_peers(one, votes) for one in heard], []
    judged = await asyncio.gather(*(_judged_by_model(room, problem, rollout, one) for one in heard))
    return [one for one, _ in judged], [reply for _, replies in judged for reply in replies]


def _judged_by_peers(one: Heard, votes: Sequence[Vote]) -> Heard:
    metas = tuple(by_peers(unit, one.agent.name, votes) for unit in one.units)
    quality = None if one.vote is None else quality_by_peers(one.vote, votes)
    return replace(one, metas=metas, quality=quality)


async def _judged_by_model(room: Room, problem: Row, rollout: Row, one: Heard) -> tuple[Heard, list[Reply]]:
    async def judge(unit: Unit) -> Reply:
        prompt = room.prompts.role(
            "meta_critique", prompt=problem["prompt"], numbered_steps=numbered(rollout["steps"]), step=unit.step,
            flaw=unit.flaw or "not said", suggestion=unit.suggestion or "none", critique=one.reply.text,
        )  # fmt: skip
        about = ("meta_critique", one.critique_id, unit.step)
        regex = META_REGEX if room.config.structured else None
        return await ask(room, prompt, about, str(problem["problem_id"]), regex=regex)

    replies = await asyncio.gather(*map(judge, one.units))
    metas = tuple(
        MetaCritique(None, None, None, reply.error) if reply.text is None else read_meta(reply.text)
        for reply in replies
    )
    return replace(one, metas=metas, quality=quality_by_model(metas)), replies


async def _refine(
    room: Room,
    problem: Row,
    rollout: Row,
    conclusion: Aggregate | None,
    final: FinalCritique | None,
    final_id: str,
    heard: Sequence[Heard],
) -> list[tuple[str, int, Attempt]]:
    """(critique id, draw, attempt) of every refinement."""
    config = room.config
    texts: dict[str, str] = {}
    num_draws = max(1, config.refinements_per_critique)
    if final is not None and config.refine and conclusion.verdict == WRONG:
        texts[final_id] = final.text
    if config.refinements_per_critique and final is not None:
        readable = {one.critique_id: str(one.reply.text) for one in heard if one.vote is not None}
        if len({final.text, *readable.values()}) > 1:
            texts |= {final_id: final.text} | readable

    async def write(critique_id: str, text: str, draw: int) -> tuple[str, int, Attempt]:
        prompt = room.prompts.refine_prompt(problem, rollout["steps"], text)
        about = (critique_id, "refine", *([draw] if draw else []))
        return critique_id, draw, await ask_for_solution(room, problem, prompt, about)

    wanted = [(critique_id, text, draw) for critique_id, text in texts.items() for draw in range(num_draws)]
    return list(await asyncio.gather(*(write(*one) for one in wanted)))


def _critique_row(room: Room, one: Heard, rollout: Row) -> Row:
    is_read = isinstance(one.judged, Judgement)
    return {
        "critique_id": one.critique_id,
        "rollout_id": rollout["rollout_id"],
        "problem_id": rollout["problem_id"],
        "agent": one.agent.name,
        "verdict": one.judged.verdict if is_read else None,
        "first_error_step": one.judged.first_error_step if is_read else None,
        "step_verdicts": list(one.judged.step_verdicts) if is_read else None,
        "quality": one.quality,
        "text": one.reply.text,
        "num_tokens": one.reply.num_tokens,
        "num_prompt_tokens": one.reply.num_prompt_tokens,
        "request_id": one.reply.request_id,
        "error": None if is_read else one.reply.error or f"unreadable: {one.judged.reason}",
        "night": room.night,
    }


def _unit_rows(room: Room, rollout: Row, heard: Sequence[Heard], final: FinalCritique | None) -> list[Row]:
    reasons = {(one.agent, one.unit.step): reason for one, reason in final.dropped} if final else {}
    return [
        {
            "unit_id": stable_digest("unit", one.critique_id, unit.step),
            "critique_id": one.critique_id,
            "rollout_id": rollout["rollout_id"],
            "problem_id": rollout["problem_id"],
            "agent": one.agent.name,
            "step": unit.step,
            "flaw": unit.flaw,
            "suggestion": unit.suggestion,
            "criterion": unit.criterion,
            "severity": unit.severity,
            "category": meta.category,
            "support": meta.support,
            "meta_severity": meta.severity,
            "kept": (one.agent.name, unit.step) not in reasons,
            "reason": reasons.get((one.agent.name, unit.step)),
            "error": meta.error,
            "night": room.night,
        }
        for one in heard
        for unit, meta in zip(one.units, one.metas, strict=True)
    ]


def _verdict_row(
    room: Room,
    rollout: Row,
    conclusion: Aggregate | None,
    final: FinalCritique | None,
    final_id: str,
    crucial: CrucialInformation,
) -> Row:
    return {
        "rollout_id": rollout["rollout_id"],
        "problem_id": rollout["problem_id"],
        "verdict": conclusion.verdict if conclusion else None,
        "confidence": conclusion.confidence if conclusion else None,
        "first_error_step": conclusion.first_error_step if conclusion else None,
        "num_agents": conclusion.num_agents if conclusion else 0,
        "critique_id": final_id if final else None,
        "text": final.text if final else None,
        "num_units": len(final.kept) if final else None,
        "crucial_information": json.dumps(vars(crucial), ensure_ascii=False),
        "error": None if conclusion else NO_READABLE_CRITIQUE,
        "night": room.night,
    }


def _refinement_row(room: Room, rollout: Row, critique_id: str, draw: int, attempt: Attempt) -> Row:
    reply = attempt.reply
    return {
        "refinement_id": stable_digest("refinement", critique_id, *([draw] if draw else [])),
        "rollout_id": rollout["rollout_id"],
        "problem_id": rollout["problem_id"],
        "critique_id": critique_id,
        "steps": None if reply.text is None else list(attempt.steps),
        "answer": attempt.answer,
        "outcome_reward": attempt.outcome_reward,
        "num_tokens": reply.num_tokens,
        "num_prompt_tokens": reply.num_prompt_tokens,
        "request_id": reply.request_id,
        "error": reply.error,
        "night": room.night,
    }
