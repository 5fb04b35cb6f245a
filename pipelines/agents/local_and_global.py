"""Local and global refinement, an outcome critic choosing (GLoRe).

The draft's first error comes from the agents' vote. Local: the policy goes on from the steps before it. Global: the
refiner writes a whole solution after the critique with that first error. The outcome critic scores draft, local and
global, and the best is chosen (the draft before local before global where equal).

    outcome score = weighted share of the agents that find no error in a solution, in [0, 1]

Records: `local` and `global` (reward = their grade; kept where right: (draft, first error) -> solution), and `chosen`
(predicted: draft | local | global; reward = grade of what was chosen; label = the first right one of the three).
A draft in which the agents find no error is chosen as it is; nothing is kept where nobody could be read.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from pipelines.agents.ask import Attempt, Reply, Room, Row, ask_for_solution, continue_solution
from pipelines.agents.parse import RIGHT, WRONG
from pipelines.agents.records import AgentMethod, Group, Record, each, outcome
from pipelines.agents.said import Said, concluded, criticise_by_all, votes_of
from pipelines.config import Section

ScoreFn = Callable[[Row, Sequence[str], str], Awaitable[tuple[float | None, tuple[Reply, ...]]]]
"""`score(problem, steps, name)`: how likely a solution is right, in [0, 1], and the requests that it took."""


class LocalAndGlobalParams(Section):
    """`local_and_global_refinement` has no parameters."""


async def run(room: Room, groups: Sequence[Group], params: LocalAndGlobalParams) -> list[Record]:
    """Three records per sample in which the agents find an error, one per other sample."""
    tasks = [(group.problem, rollout) for group in groups for rollout in group.rollouts]

    async def work(task: tuple[Row, Row]) -> list[Record]:
        return await refine_both_ways(room, *task, score_by_agents(room))

    return await each(work, tasks)


def share_without_error(said: Sequence[Said]) -> float | None:
    """The outcome score; None where nobody could be read."""
    votes = votes_of(said)
    total = sum(vote.weight for vote in votes)
    return sum(vote.weight for vote in votes if vote.judgement.verdict == RIGHT) / total if votes else None


def score_by_agents(room: Room) -> ScoreFn:
    """The agents as outcome critic."""

    async def score(problem: Row, steps: Sequence[str], name: str) -> tuple[float | None, tuple[Reply, ...]]:
        said = await criticise_by_all(room, problem, steps, ("outcome", name))
        return share_without_error(said), tuple(one.reply for one in said)

    return score


async def refine_both_ways(room: Room, problem: Row, rollout: Row, score: ScoreFn) -> list[Record]:
    """The records of one draft (module docstring)."""
    key, ids = str(rollout["rollout_id"]), (str(problem["problem_id"]), str(rollout["rollout_id"]))
    draft = tuple(rollout["steps"])
    said = await criticise_by_all(room, problem, draft, ("draft", key))
    replies = tuple(one.reply for one in said)
    verdict = concluded(room, said)
    if verdict is None:
        return [Record("chosen", (key, "chosen"), *ids, reason="unreadable", replies=replies)]
    if verdict.verdict != WRONG:
        return [
            Record("chosen", (key, "chosen"), *ids, predicted="draft", reward=outcome(rollout), reason="no_error_found",
                   replies=replies)
        ]  # fmt: skip
    error = verdict.first_error_step
    lines = [f"{i} {'wrong' if i == error else 'right'}" for i in range(len(draft))]
    critique = "\n".join([*lines, f"verdict {error}", ""])
    local, whole = await asyncio.gather(
        continue_solution(room, problem, draft[:error], ("local", key)),
        ask_for_solution(room, problem, room.prompts.refine_prompt(problem, draft, critique), ("global", key)),
    )
    solutions = {"draft": draft, "local": local.steps, "global": whole.steps}
    scored = await asyncio.gather(
        *(_scored(score, problem, steps, f"{key} {name}") for name, steps in solutions.items())
    )
    scores = dict(zip(solutions, (value for value, _ in scored), strict=True))
    grades = {"draft": outcome(rollout), "local": local.outcome_reward, "global": whole.outcome_reward}
    best = max(solutions, key=lambda name: -1.0 if scores[name] is None else scores[name])
    first_right = next((name for name, grade in grades.items() if grade == 1.0), None)
    chosen = Record(
        "chosen", (key, "chosen"), *ids, step=error, response=room.prompts.step_separator.join(solutions[best]),
        predicted=best, label=first_right, reward=grades[best],
        reason=None if grades[best] == 1.0 else "chosen_is_not_right",
        replies=(*replies, *(reply for _, several in scored for reply in several)),
    )  # fmt: skip
    return [
        _refinement(room, problem, key, ids, draft, critique, error, "local", local),
        _refinement(room, problem, key, ids, draft, critique, error, "global", whole),
        chosen,
    ]


async def _scored(
    score: ScoreFn, problem: Row, steps: Sequence[str], name: str
) -> tuple[float | None, tuple[Reply, ...]]:
    return await score(problem, steps, name) if steps else (None, ())


def _refinement(
    room: Room,
    problem: Row,
    key: str,
    ids: tuple[str, str],
    draft: Sequence[str],
    critique: str,
    error: int,
    kind: str,
    attempt: Attempt,
) -> Record:
    reason = "not_graded" if attempt.outcome_reward is None else None if attempt.is_right else "refinement_fails"
    return Record(
        kind, (key, kind), *ids, step=error, prompt=room.prompts.refine_prompt(problem, draft, critique),
        response=room.prompts.step_separator.join(attempt.steps), reward=attempt.outcome_reward, reason=reason,
        replies=(attempt.reply,),
    )  # fmt: skip


LOCAL_AND_GLOBAL_REFINEMENT = AgentMethod(LocalAndGlobalParams, run)
