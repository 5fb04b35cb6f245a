"""Two turns of one policy: a first answer, its own critique, a second answer, in the shape that a method trains on.

The first answer is a sample; the critique is the first agent's; the second answer follows it. With the grades r1, r2:

    score (SCoRe)  user, answer 1, user "there may be an error", answer 2; the loss counts both answers;
                   reward = r2 + alpha (r2 - r1); every episode is kept
    spoc (SPOC)    one message: answer 1, the critique, and answer 2 only where the critique finds an error; kept where
                   the critique's verdict is the grade and the last answer is right; reward = grade of the last answer
    rise (RISE)    turns as in score, only the better answer is learned: answer 2 where r2 > r1; kept then;
                   reward = r2 - r1
    self (SELF)    user, answer 1, the critique as a turn of the model's, answer 2; all of the model's turns but the
                   first are learned; kept where r1 = 0 and r2 = 1; reward = r2

Reasons: `not_graded`, `unreadable`, `wrong_verdict`, `not_improved`. SCoRe's alpha and the shapes of SPOC, RISE and
SELF are remembered, not checked. In the shape spoc a right verdict on a right sample takes no second request.
"""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from pipelines.agents.ask import Attempt, Room, Row, ask_for_solution
from pipelines.agents.parse import RIGHT, WRONG
from pipelines.agents.records import ASSISTANT, USER, AgentMethod, Group, Message, Record, each, outcome
from pipelines.agents.said import Said, criticise
from pipelines.config import Section

LOOK_AGAIN = "There may be an error in the solution above. Correct it where there is one, and write it again."
CORRECT = "Correct the solution."


class SelfCorrectionParams(Section):
    """Parameters of `self_correction_turns`."""

    shape: Literal["score", "spoc", "rise", "self"] = Field("score", description="what an episode looks like")
    alpha: float = Field(1.0, ge=0.0, le=100.0, description="score: how much progress counts beside the second grade")
    instruction: str = Field(LOOK_AGAIN, min_length=1, description="score and rise: what is said between the answers")


async def run(room: Room, groups: Sequence[Group], params: SelfCorrectionParams) -> list[Record]:
    """One record per sample."""
    tasks = [(group.problem, rollout) for group in groups for rollout in group.rollouts]

    async def work(task: tuple[Row, Row]) -> list[Record]:
        return [await _episode(room, *task, params)]

    return await each(work, tasks)


async def _episode(room: Room, problem: Row, rollout: Row, params: SelfCorrectionParams) -> Record:
    key = (rollout["rollout_id"], params.shape)
    said = await criticise(room, room.config.agents[0], problem, rollout["steps"], ("turns", rollout["rollout_id"]))
    second = None
    if said.judgement is not None and not (params.shape == "spoc" and said.judgement.verdict == RIGHT):
        prompt = room.prompts.refine_prompt(problem, rollout["steps"], str(said.reply.text))
        second = await ask_for_solution(room, problem, prompt, ("turns", rollout["rollout_id"]))
    before = outcome(rollout)
    after = second.outcome_reward if second else before
    shape = {"score": _score, "spoc": _spoc, "rise": _rise, "self": _self}[params.shape]
    messages: tuple[Message, ...] = ()
    reward, reason = None, "unreadable" if said.judgement is None else "not_graded"
    if said.judgement is not None and before is not None and after is not None:
        messages, reward, reason = shape(room, problem, rollout, said, second, (before, after), params)
    return Record(
        params.shape, key, str(problem["problem_id"]), str(rollout["rollout_id"]), agent=said.agent.name,
        messages=messages, predicted=said.judgement and said.judgement.verdict,
        label=None if before is None else RIGHT if before == 1.0 else WRONG, reward=reward, reason=reason,
        error=said.error, replies=(said.reply, *([second.reply] if second else [])),
    )  # fmt: skip


Episode = tuple[tuple[Message, ...], float, str | None]
Grades = tuple[float, float]


def _score(
    room: Room, problem: Row, rollout: Row, said: Said, second: Attempt, grades: Grades, params: SelfCorrectionParams
) -> Episode:
    before, after = grades
    messages = _two_turns(room, problem, rollout, second, params.instruction, (True, True))
    return messages, after + params.alpha * (after - before), None


def _rise(
    room: Room, problem: Row, rollout: Row, said: Said, second: Attempt, grades: Grades, params: SelfCorrectionParams
) -> Episode:
    before, after = grades
    messages = _two_turns(room, problem, rollout, second, params.instruction, (False, True))
    return messages, after - before, None if after > before else "not_improved"


def _spoc(
    room: Room,
    problem: Row,
    rollout: Row,
    said: Said,
    second: Attempt | None,
    grades: Grades,
    params: SelfCorrectionParams,
) -> Episode:
    before, after = grades
    parts = [_solution(room, rollout["steps"]), str(said.reply.text)]
    parts += [_solution(room, second.steps)] if second else []
    text = "".join(part if part.endswith("\n") else part + "\n" for part in parts)
    messages = (Message(USER, room.prompts.solve_prompt(problem), False), Message(ASSISTANT, text, True))
    is_true = (said.judgement.verdict == RIGHT) == (before == 1.0)
    return messages, after, "wrong_verdict" if not is_true else None if after == 1.0 else "not_improved"


def _self(
    room: Room, problem: Row, rollout: Row, said: Said, second: Attempt, grades: Grades, params: SelfCorrectionParams
) -> Episode:
    before, after = grades
    messages = (
        Message(USER, room.prompts.solve_prompt(problem), False),
        Message(ASSISTANT, _solution(room, rollout["steps"]), False),
        Message(USER, params.instruction, False),
        Message(ASSISTANT, str(said.reply.text), True),
        Message(USER, CORRECT, False),
        Message(ASSISTANT, _solution(room, second.steps), True),
    )
    return messages, after, None if after > before else "not_improved"


def _two_turns(
    room: Room, problem: Row, rollout: Row, second: Attempt, instruction: str, is_learned: tuple[bool, bool]
) -> tuple[Message, ...]:
    return (
        Message(USER, room.prompts.solve_prompt(problem), False),
        Message(ASSISTANT, _solution(room, rollout["steps"]), is_learned[0]),
        Message(USER, instruction, False),
        Message(ASSISTANT, _solution(room, second.steps), is_learned[1]),
    )


def _solution(room: Room, steps: Sequence[str]) -> str:
    return room.prompts.step_separator.join([*steps, ""])


SELF_CORRECTION_TURNS = AgentMethod(SelfCorrectionParams, run)
