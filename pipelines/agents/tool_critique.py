"""A calculator as evidence (CRITIC, arXiv 2305.11738, from its description as remembered: verify, then correct).

Every equation `a op b = c` of a solution is computed. The critique is what the calculator found, in the form in which
agents write: the first wrong step, and what should stand there. The refiner follows it; its solution is checked again,
for at most `max_rounds` rounds, until nothing is found or the solution does not change.

Record: the first critique as what a critic should have said (kept where it found an error and the last solution is
right), reward = grade of the last solution. Reasons: `nothing_to_check` (no equation), `no_error_found`,
`refinement_fails`, `not_graded`. The calculator does not see errors outside equations: a slip in what is computed from
what is right for it.
"""

from collections.abc import Sequence

from pydantic import Field

from pipelines.agents.ask import Room, Row, ask_for_solution
from pipelines.agents.corruption import equation_holds, mended
from pipelines.agents.records import AgentMethod, Group, Record, each, outcome
from pipelines.agents.units import Unit, line_of
from pipelines.config import Section


class ToolCritiqueParams(Section):
    """Parameters of `tool_critique`."""

    max_rounds: int = Field(3, ge=1, le=16, description="corrections of one solution, at most")


def calculated(steps: Sequence[str]) -> str | None:
    """What the calculator says of the steps, as a critique; None where no equation is wrong."""
    wrong = [i for i, step in enumerate(steps) if equation_holds(step) is False]
    if not wrong:
        return None
    units = {i: Unit(i, None, mended(steps[i]), "calculation", None) for i in wrong}
    lines = [line_of(units[i]) if i in units else f"{i} right" for i in range(len(steps))]
    return "\n".join([*lines, f"verdict {wrong[0]}", ""])


async def run(room: Room, groups: Sequence[Group], params: ToolCritiqueParams) -> list[Record]:
    """One record per sample."""
    tasks = [(group.problem, rollout) for group in groups for rollout in group.rollouts]

    async def work(task: tuple[Row, Row]) -> list[Record]:
        return [await _corrected(room, *task, params)]

    return await each(work, tasks)


async def _corrected(room: Room, problem: Row, rollout: Row, params: ToolCritiqueParams) -> Record:
    steps, replies = tuple(rollout["steps"]), []
    first, grade = calculated(steps), outcome(rollout)
    critique = first
    for number in range(params.max_rounds):
        if critique is None:
            break
        prompt = room.prompts.refine_prompt(problem, steps, critique)
        attempt = await ask_for_solution(room, problem, prompt, ("tool", rollout["rollout_id"], number))
        replies.append(attempt.reply)
        if attempt.reply.text is None:
            break
        grade, is_same = attempt.outcome_reward, attempt.steps == steps
        steps = attempt.steps
        critique = None if is_same else calculated(steps)
    if first is None:
        has_none = all(equation_holds(step) is None for step in steps)
        reason = "nothing_to_check" if has_none else "no_error_found"
    else:
        reason = "not_graded" if grade is None else None if grade == 1.0 else "refinement_fails"
    return Record(
        "critique", (rollout["rollout_id"],), str(problem["problem_id"]), str(rollout["rollout_id"]),
        prompt=room.prompts.critique_prompt(room.config.agents[0], problem, rollout["steps"]), response=first,
        label=None if first is None else first.rstrip().rpartition(" ")[2], reward=grade, reason=reason,
        replies=tuple(replies),
    )  # fmt: skip


TOOL_CRITIQUE = AgentMethod(ToolCritiqueParams, run)
