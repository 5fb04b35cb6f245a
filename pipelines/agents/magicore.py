"""Easy and hard problems told apart, hard ones refined (MAgICoRe).

Scores of a sample, from the agents: o = weighted share that finds no error in it (outcome), p_i = 1 - weighted share
that calls step i wrong, s = product of p_i; reward = o + s. (The paper has two trained reward models in their place.)

    condition 1  mean over the samples with the majority answer of z = (o + s - mu) / sd, where mu and sd are over the
                 first sample of every problem; it fails where the mean is negative
    condition 2  the vote distributions of the answers, weighted by o and by s, normalised; H their entropy (nats);
                 confidence = 2 (1 - sigmoid(H)); it fails where either confidence is below 1/2
    hard         both fail

A hard problem's samples are reviewed (the steps with "(Score: n/10)", of which those below `low_score` are the ones to
explain), refined, scored again; of old and new the k best by reward stay; at most `num_iterations` times, and the rule
stops where the problem is no longer hard. The answer is the vote weighted by o + s.

Degenerate cases: sd = 0 gives z = 0, which does not fail; weights that are all 0 count as equal; a sample that nobody
could read has no scores and no part. Of equal votes the answer that was given first wins.
"""

import asyncio
import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field

from pipelines.agents.aggregate import wrong_shares
from pipelines.agents.ask import Attempt, Reply, Room, Row, ask_for_solution
from pipelines.agents.local_and_global import share_without_error
from pipelines.agents.records import AgentMethod, Group, Record, outcome
from pipelines.agents.said import criticise_by_all, votes_of
from pipelines.agents.units import Unit, line_of
from pipelines.config import Section

EASY, HARD, REFINEMENT = "easy", "hard", "refinement"


class MagicoreParams(Section):
    """Parameters of `magicore`."""

    num_iterations: int = Field(3, ge=1, le=16, description="rounds of refinement, at most")
    low_score: int = Field(6, ge=0, le=10, description="steps scored below this, of 10, are explained to the refiner")


@dataclass(frozen=True)
class Scored:
    """A solution with its scores."""

    steps: tuple[str, ...]
    answer: str | None
    grade: float | None
    outcome_score: float  # o, [0, 1]
    step_scores: tuple[float, ...]  # p_i, [0, 1]

    @property
    def process_score(self) -> float:
        """s, [0, 1]."""
        return math.prod(self.step_scores)

    @property
    def reward(self) -> float:
        """o + s, [0, 2]."""
        return self.outcome_score + self.process_score


def confidence(answers: Sequence[str], weights: Sequence[float]) -> float:
    """2 (1 - sigmoid(H)) of the weighted vote distribution, in (0, 1]; 1 where one answer has all votes."""
    votes = weighted_votes(answers, weights)
    total = sum(votes.values())
    entropy = -sum(vote / total * math.log(vote / total) for vote in votes.values() if vote > 0.0)
    return 2.0 * (1.0 - 1.0 / (1.0 + math.exp(-entropy)))


def weighted_votes(answers: Sequence[str], weights: Sequence[float]) -> Mapping[str, float]:
    """Votes per answer, in the order in which they were given; weights that are all 0 count as equal."""
    equal = not any(weights)
    votes: dict[str, float] = defaultdict(float)
    for answer, weight in zip(answers, weights, strict=True):
        votes[answer] += 1.0 if equal else weight
    return votes


def is_hard(samples: Sequence[Scored], mean: float, deviation: float) -> bool:
    """Module docstring; samples without an answer vote for none, and without any answer a problem is hard."""
    answered = [one for one in samples if one.answer is not None]
    if not answered:
        return True
    answers = [str(one.answer) for one in answered]
    counts = weighted_votes(answers, [1.0] * len(answers))
    majority = max(counts, key=counts.__getitem__)
    rewards = [one.reward for one in answered if one.answer == majority]
    z = (statistics.fmean(rewards) - mean) / deviation if deviation > 0.0 else 0.0
    confidences = [
        confidence(answers, [one.outcome_score for one in answered]),
        confidence(answers, [one.process_score for one in answered]),
    ]
    return z < 0.0 and min(confidences) < 0.5


def voted(samples: Sequence[Scored]) -> Scored | None:
    """The first sample with the answer that has the most weight; None without answers."""
    answered = [one for one in samples if one.answer is not None]
    if not answered:
        return None
    votes = weighted_votes([str(one.answer) for one in answered], [one.reward for one in answered])
    best = max(votes, key=votes.__getitem__)
    return next(one for one in answered if one.answer == best)


def review(one: Scored, low_score: int, has_words: bool = True) -> str:
    """The scored steps as a critique: steps below `low_score` are wrong, and their scores are told in words."""
    tens = [round(10 * score) for score in one.step_scores]
    low = [i for i, ten in enumerate(tens) if ten < low_score]
    lines = []
    for i, ten in enumerate(tens):
        lines.append(
            line_of(Unit(i, f"(Score: {ten}/10)" if has_words else None, None, None, None))
            if i in low
            else f"{i} right"
        )
    return "\n".join([*lines, f"verdict {low[0] if low else -1}", ""])


async def run(room: Room, groups: Sequence[Group], params: MagicoreParams) -> list[Record]:
    """A record per problem (kind easy or hard), and one per refinement of a hard one."""
    scored = await asyncio.gather(*(_score_group(room, group) for group in groups))
    firsts = [samples[0].reward for samples, _ in scored if samples]
    mean = statistics.fmean(firsts) if firsts else 0.0
    deviation = statistics.pstdev(firsts) if firsts else 0.0
    worked = await asyncio.gather(
        *(_work(room, group, *one, mean, deviation, params) for group, one in zip(groups, scored, strict=True))
    )
    return [record for records in worked for record in records]


async def _score_group(room: Room, group: Group) -> tuple[list[Scored], tuple[Reply, ...]]:
    rated = await asyncio.gather(
        *(
            _rate(room, group.problem, tuple(row["steps"]), row["answer"], outcome(row), (row["rollout_id"],))
            for row in group.rollouts
        )
    )
    return [one for one, _ in rated if one is not None], tuple(reply for _, replies in rated for reply in replies)


async def _rate(
    room: Room, problem: Row, steps: tuple[str, ...], answer: str | None, grade: float | None, about: Sequence[object]
) -> tuple[Scored | None, tuple[Reply, ...]]:
    if not steps:
        return None, ()
    said = await criticise_by_all(room, problem, steps, ("magicore", *about))
    replies = tuple(one.reply for one in said)
    score = share_without_error(said)
    if score is None:
        return None, replies
    shares = wrong_shares(votes_of(said))
    right = [1.0 - share for share in shares] + [1.0] * (len(steps) - len(shares))
    return Scored(steps, answer, grade, score, tuple(right)), replies


async def _work(
    room: Room,
    group: Group,
    samples: list[Scored],
    replies: tuple[Reply, ...],
    mean: float,
    deviation: float,
    params: MagicoreParams,
) -> list[Record]:
    if not samples:
        return [Record(EASY, (group.problem_id,), group.problem_id, reason="unreadable", replies=replies)]
    kind = HARD if is_hard(samples, mean, deviation) else EASY
    records, kept, before = [], samples, voted(samples)
    for iteration in range(params.num_iterations):
        if not is_hard(kept, mean, deviation):
            break
        made = await asyncio.gather(
            *(_refine(room, group, one, (group.problem_id, iteration, i), params) for i, one in enumerate(kept))
        )
        records += [record for _, record in made]
        merged = kept + [one for one, _ in made if one is not None]
        kept = sorted(merged, key=lambda one: -one.reward)[: len(samples)]
    after = voted(kept)
    grade = after.grade if after else None
    records.append(
        Record(
            kind, (group.problem_id,), group.problem_id, predicted=after and after.answer,
            label=str(group.problem["reference_answer"]), reward=grade,
            response=room.prompts.step_separator.join([*after.steps, ""]) if after else None,
            rejected=room.prompts.step_separator.join([*before.steps, ""]) if _got_right(before, after) else None,
            prompt=room.prompts.solve_prompt(group.problem),
            reason=None if grade == 1.0 else "not_graded" if grade is None else "not_right", replies=replies,
        )
    )  # fmt: skip
    return records


async def _refine(
    room: Room, group: Group, one: Scored, about: tuple[object, ...], params: MagicoreParams
) -> tuple[Scored | None, Record]:
    prompt = room.prompts.refine_prompt(group.problem, one.steps, review(one, params.low_score, room.prompts.has_words))
    attempt: Attempt = await ask_for_solution(room, group.problem, prompt, ("magicore", *about))
    rated, replies = await _rate(
        room, group.problem, attempt.steps, attempt.answer, attempt.outcome_reward, ("refined", *about)
    )
    reason = "not_graded" if attempt.outcome_reward is None else None if attempt.is_right else "refinement_fails"
    return rated, Record(
        REFINEMENT, about, group.problem_id, prompt=prompt,
        response=room.prompts.step_separator.join(attempt.steps) if attempt.steps else None, predicted=attempt.answer,
        reward=attempt.outcome_reward, reason=reason, replies=(attempt.reply, *replies),
    )  # fmt: skip


def _got_right(before: Scored | None, after: Scored | None) -> bool:
    return before is not None and after is not None and before.grade == 0.0 and after.grade == 1.0


MAGICORE = AgentMethod(MagicoreParams, run)
