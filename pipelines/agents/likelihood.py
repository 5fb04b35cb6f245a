"""How likely the policy finds a solution, and an answer after it: sums of log-probabilities of given tokens.

The prompt is the one that asks for a solution, so that what is measured is what training would raise:

    log pi(e | q) / |e|                the mean per token of a solution e of the problem q, its answer included
    log pi(a | q, e)                   of the answer line a after the steps e
"""

import math
from collections.abc import Sequence

from pipelines.agents.ask import Room, Row
from pipelines.inference.types import ScoreRequest
from pipelines.reasoning.steps import is_answer_step


def solution_text(room: Room, steps: Sequence[str]) -> str:
    """The steps as the policy writes them: each is ended by the separator."""
    return "".join(step + room.prompts.step_separator for step in steps)


def without_answer(steps: Sequence[str]) -> tuple[str, ...]:
    """The steps before the answer line."""
    return tuple(step for step in steps if not is_answer_step(step))


async def mean_logprob(room: Room, problem: Row, steps: Sequence[str]) -> float:
    """Mean log-probability per token of a solution (at least one step), in nats. Raises RequestError subclasses."""
    logprobs = await _logprobs(room, problem, "", solution_text(room, steps))
    return math.fsum(logprobs) / len(logprobs)


async def answer_logprob(room: Room, problem: Row, steps: Sequence[str], answer_step: str) -> float:
    """Log-probability of the answer line after the steps, in nats. Raises RequestError subclasses."""
    return math.fsum(await _logprobs(room, problem, solution_text(room, steps), solution_text(room, [answer_step])))


async def _logprobs(room: Room, problem: Row, given: str, text: str) -> Sequence[float]:
    """Of the tokens of `text` after the prompt and what is given."""
    tokenizer = room.session.tokenizer
    before = (*room.prompts.encode(room.prompts.solve_prompt(problem), tokenizer), *tokenizer.encode(given))
    scores = await room.session.score(ScoreRequest((*before, *tokenizer.encode(text)), "none"))
    return scores.token_logprobs[len(before) :]
