"""Episodes of "try again" (UFO): the only feedback is that an answer is wrong.

The samples of a problem, in the order of a hash of their ids, are the attempts of one episode; no model is asked. It
ends with the first right attempt or after `max_turns`. With t counted from 0, E distinct answers (lower case, white
space collapsed) and T turns with an answer,

    reward = sum_t [attempt t is right] / 2^t - repeat_penalty (1 - E / T)

The loss counts the right attempt alone; wrong turns are masked. Kept where the episode ends right; else `never_right`,
`not_graded` (an attempt without a grade), `no_answer` (no turn has an answer: there is no reward). The format penalty
of the paper (-0.1) does not apply: attempts without an answer count as wrong turns.
"""

from collections.abc import Sequence

from pydantic import Field

from pipelines.agents.ask import Room, Row
from pipelines.agents.records import ASSISTANT, USER, AgentMethod, Group, Message, Record, outcome
from pipelines.config import Section
from pipelines.records import stable_digest

TRY_AGAIN = "That is not right. Think again."


class UnaryFeedbackParams(Section):
    """Parameters of `unary_feedback`."""

    max_turns: int = Field(5, ge=1, le=64, description="attempts of an episode, at most")
    repeat_penalty: float = Field(0.5, ge=0.0, le=10.0, description="cost of answers that were given before")
    feedback: str = Field(TRY_AGAIN, min_length=1, description="what is said after a wrong answer")


def episode_reward(answers: Sequence[str | None], grades: Sequence[float], repeat_penalty: float) -> float | None:
    """Module docstring; None where no turn has an answer."""
    given = [" ".join(answer.lower().split()) for answer in answers if answer is not None and answer.strip()]
    if not given:
        return None
    total = sum(grade / 2**turn for turn, grade in enumerate(grades))
    return total - repeat_penalty * (1.0 - len(set(given)) / len(given))


async def run(room: Room, groups: Sequence[Group], params: UnaryFeedbackParams) -> list[Record]:
    """One record per problem with samples."""
    return [_episode(room, group, params) for group in groups if group.rollouts]


def _episode(room: Room, group: Group, params: UnaryFeedbackParams) -> Record:
    attempts: list[Row] = []
    for rollout in sorted(group.rollouts, key=lambda one: stable_digest("unary", one["rollout_id"])):
        attempts.append(rollout)
        if outcome(rollout) == 1.0 or len(attempts) == params.max_turns:
            break
    grades = [outcome(attempt) for attempt in attempts]
    is_graded, ends_right = None not in grades, grades[-1] == 1.0
    reward = None
    if is_graded:
        reward = episode_reward([attempt["answer"] for attempt in attempts], grades, params.repeat_penalty)
    reason = None if ends_right else "never_right"
    if not is_graded:
        reason = "not_graded"
    elif reward is None:
        reason = "no_answer"
    messages = [Message(USER, room.prompts.solve_prompt(group.problem), False)]
    for turn, attempt in enumerate(attempts):
        if turn:
            messages.append(Message(USER, params.feedback, False))
        text = room.prompts.step_separator.join([*attempt["steps"], ""])
        messages.append(Message(ASSISTANT, text, ends_right and turn == len(attempts) - 1))
    return Record(
        "episode", (group.problem_id,), group.problem_id, step=None, messages=tuple(messages), reward=reward,
        predicted=attempts[-1]["answer"], label=str(group.problem["reference_answer"]), reason=reason,
    )  # fmt: skip


UNARY_FEEDBACK = AgentMethod(UnaryFeedbackParams, run)
