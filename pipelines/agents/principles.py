"""Generated principles, parallel votes, a meta score (SPCT, from its description as remembered).

Of a problem with right and wrong samples, `num_responses` answers are shown side by side (right and wrong ones in turn,
in an order by lot). The role `principles` writes principles, a critique, and a last line "Scores: 7, 3, ..." from 1 to
10. `num_votes` such texts are drawn; the role `meta_score` rates each from 1 to 5, and the `num_kept` best rated (of
equal ones the earlier) are added up, score by score; the answer with the largest sum is the choice.

Records: `vote` (reward 1 where every right answer is scored above every wrong one, else -1: rule-based as in the
paper's RL; kept where 1, else `wrong_ranking`), and `voted` per problem (reward 1 or 0: the choice is right). A vote
that cannot be read is `unreadable` and not added up; a problem without both kinds of samples is `one_sided`.
"""

import asyncio
import re
from collections.abc import Sequence

from pydantic import Field

from pipelines.agents.ask import Reply, Room, Row, ask
from pipelines.agents.records import AgentMethod, Group, Record, each, outcome
from pipelines.config import Section
from pipelines.records import stable_digest

ROLE, META_ROLE = "principles", "meta_score"
META_REGEX = r"[1-5]\n"
_NUMBER = r"\d{1,2}(?:\.\d{1,4})?"
_SCORES = re.compile(rf"^\W*scores?\W*({_NUMBER}(?:[ \t,;]+{_NUMBER})*)\W*$", re.IGNORECASE | re.MULTILINE)
_META = re.compile(r"^\D{0,20}([1-5])\b")


class PrinciplesParams(Section):
    """Parameters of `principles`."""

    num_responses: int = Field(4, ge=2, le=16, description="answers that are shown side by side, at most")
    num_votes: int = Field(4, ge=1, le=64, description="texts drawn per problem")
    num_kept: int = Field(2, ge=1, le=64, description="votes with the best meta scores, which are added up")


def scores_of(text: str, num_responses: int) -> tuple[float, ...] | None:
    """The last line of scores; None without one, with another number of scores, or with one outside 1..10."""
    lines = _SCORES.findall(text[-2000:])
    values = tuple(float(number) for number in re.findall(r"\d+(?:\.\d+)?", lines[-1])) if lines else ()
    return values if len(values) == num_responses and all(1.0 <= value <= 10.0 for value in values) else None


def ranks_rightly(scores: Sequence[float], is_right: Sequence[bool]) -> bool:
    """Every right answer above every wrong one."""
    right = [score for score, good in zip(scores, is_right, strict=True) if good]
    wrong = [score for score, good in zip(scores, is_right, strict=True) if not good]
    return min(right) > max(wrong)


async def run(room: Room, groups: Sequence[Group], params: PrinciplesParams) -> list[Record]:
    """A record per vote and one per problem."""

    async def work(group: Group) -> list[Record]:
        return await _voted(room, group, params)

    return await each(work, [group for group in groups if group.rollouts])


def _shown(group: Group, num_responses: int) -> list[Row]:
    """Right and wrong samples in turn, then in an order by lot; empty where one kind is missing."""
    kinds = [[one for one in group.rollouts if outcome(one) == grade] for grade in (1.0, 0.0)]
    if not all(kinds):
        return []
    in_turn = [one for pair in zip(*kinds, strict=False) for one in pair]
    in_turn += [one for kind in kinds for one in kind if one not in in_turn]
    return sorted(in_turn[:num_responses], key=lambda one: stable_digest(ROLE, one["rollout_id"]))


async def _voted(room: Room, group: Group, params: PrinciplesParams) -> list[Record]:
    shown = _shown(group, params.num_responses)
    if not shown:
        return [Record("voted", (group.problem_id,), group.problem_id, reason="one_sided")]
    separator = room.prompts.step_separator
    answers = "\n\n".join(f"Answer {i + 1}:\n{separator.join(one['steps'])}" for i, one in enumerate(shown))
    prompt = room.prompts.role(ROLE, prompt=group.problem["prompt"], responses=answers, count=len(shown))
    is_right = [outcome(one) == 1.0 for one in shown]
    votes = await asyncio.gather(*(_vote(room, group, prompt, number) for number in range(params.num_votes)))
    read = [(reply, meta, scores_of(reply.text or "", len(shown))) for reply, meta in votes]
    records = [_vote_record(group, number, *one, is_right) for number, one in enumerate(read)]
    rated = [(_meta_score(meta), scores) for _, meta, scores in read if scores is not None]
    best = sorted(rated, key=lambda one: -one[0])[: params.num_kept]
    if not best:
        return [*records, Record("voted", (group.problem_id,), group.problem_id, prompt=prompt, reason="unreadable")]
    sums = [sum(scores[i] for _, scores in best) for i in range(len(shown))]
    choice = sums.index(max(sums))
    return [
        *records,
        Record(
            "voted", (group.problem_id,), group.problem_id, str(shown[choice]["rollout_id"]), prompt=prompt,
            predicted=str(choice + 1), label=",".join(str(i + 1) for i, good in enumerate(is_right) if good),
            reward=float(is_right[choice]), reason=None if is_right[choice] else "wrong_choice",
        ),
    ]  # fmt: skip


async def _vote(room: Room, group: Group, prompt: str, number: int) -> tuple[Reply, Reply]:
    reply = await ask(room, prompt, (ROLE, group.problem_id, number), group.problem_id)
    question = room.prompts.role(META_ROLE, prompt=group.problem["prompt"], critique=reply.text or "")
    regex = META_REGEX if room.config.structured else None
    return reply, await ask(room, question, (META_ROLE, group.problem_id, number), group.problem_id, regex=regex)


def _meta_score(meta: Reply) -> int:
    """1 to 5; a rating that cannot be read ranks last."""
    found = _META.match((meta.text or "").strip()[:60])
    return int(found[1]) if found else 0


def _vote_record(
    group: Group, number: int, reply: Reply, meta: Reply, scores: tuple[float, ...] | None, is_right: Sequence[bool]
) -> Record:
    ranked = None if scores is None else ranks_rightly(scores, is_right)
    return Record(
        "vote", (group.problem_id, number), group.problem_id, prompt=reply.prompt, response=reply.text,
        predicted=None if scores is None else ",".join(f"{score:g}" for score in scores),
        reward=None if ranked is None else 1.0 if ranked else -1.0,
        reason="unreadable" if ranked is None else None if ranked else "wrong_ranking", replies=(reply, meta),
        error=reply.error or ("unreadable: no_scores" if scores is None else None),
    )  # fmt: skip


PRINCIPLES = AgentMethod(PrinciplesParams, run, (ROLE, META_ROLE))
