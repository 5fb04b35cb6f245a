"""Step-wise critiques kept by weak supervision (Critic-CoT).

An agent labels every step of a sample; where it finds an error the solution is refined after its critique. Kept as
training data: a critique that finds no error in a right sample, and one that finds an error in a wrong sample whose
refinement is right. The others: `false_alarm`, `overlooked`, `refinement_fails`, `unreadable`, `not_graded`. Reward 1
for kept ones, 0 for the rest, null where nothing could be judged. `sql/reports/critique_records.sql` counts them.
"""

from collections.abc import Sequence

from pydantic import Field

from pipelines.agents.ask import Room, Row, ask_for_solution
from pipelines.agents.parse import RIGHT
from pipelines.agents.records import AgentMethod, Group, Record, each, outcome
from pipelines.agents.said import criticise
from pipelines.config import AgentConfig, Section


class CriticCotParams(Section):
    """Parameters of `critic_cot`."""

    all_agents: bool = Field(False, description="every agent criticises, not only the first one")


async def run(room: Room, groups: Sequence[Group], params: CriticCotParams) -> list[Record]:
    """One record per graded sample and agent."""
    agents = room.config.agents if params.all_agents else room.config.agents[:1]
    tasks = [
        (agent, group.problem, rollout) for group in groups for rollout in group.rollouts for agent in agents
    ]  # fmt: skip

    async def work(task: tuple[AgentConfig, Row, Row]) -> list[Record]:
        return [await _criticised(room, *task)]

    return await each(work, tasks)


async def _criticised(room: Room, agent: AgentConfig, problem: Row, rollout: Row) -> Record:
    key = (rollout["rollout_id"], agent.name)
    said = await criticise(room, agent, problem, rollout["steps"], ("critic_cot", rollout["rollout_id"]))
    grade, replies = outcome(rollout), [said.reply]
    reason = None
    if said.judgement is None:
        reason = "unreadable"
    elif grade is None:
        reason = "not_graded"
    elif grade == 1.0:
        reason = None if said.judgement.verdict == RIGHT else "false_alarm"
    elif said.judgement.verdict == RIGHT:
        reason = "overlooked"
    else:
        prompt = room.prompts.refine_prompt(problem, rollout["steps"], str(said.reply.text))
        attempt = await ask_for_solution(room, problem, prompt, ("critic_cot", *key))
        replies.append(attempt.reply)
        reason = None if attempt.is_right else "refinement_fails"
    return Record(
        "critique", key, str(problem["problem_id"]), str(rollout["rollout_id"]), agent=agent.name,
        prompt=said.reply.prompt, response=said.reply.text, predicted=said.first_error,
        label=None if grade is None else "-1" if grade == 1.0 else "wrong",
        reward=None if reason in ("unreadable", "not_graded") else float(reason is None), reason=reason,
        error=said.error, replies=tuple(replies),
    )  # fmt: skip


CRITIC_COT = AgentMethod(CriticCotParams, run)
