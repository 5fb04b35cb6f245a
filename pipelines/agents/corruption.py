"""Errors put into right steps: by a rule, whose answer is exact, or by a model.

The rules look at the last equation `a op b = c` of a step, or at the last number of any other step:

    wrong_number    one digit of the result (or of the last number) is another one
    wrong_operator  another operator, and the result that belongs to it
    wrong_operand   another second number, and the result that belongs to it
    missing_step    the step is left out

They are REFINER's error types for arithmetic (arXiv 2304.01904, as remembered). A step that a rule does not fit, or
that a change would leave as it is, cannot be corrupted by it: None, never a step that is still right. What follows the
step is left as it was, so that the corrupted one is the first error.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.agents.ask import Reply, Room, Row, ask
from pipelines.reasoning.prompts import numbered
from pipelines.reasoning.steps import is_answer_step

WRONG_NUMBER, WRONG_OPERATOR, WRONG_OPERAND, MISSING_STEP = (
    "wrong_number", "wrong_operator", "wrong_operand", "missing_step",
)  # fmt: skip
KINDS = (WRONG_NUMBER, WRONG_OPERATOR, WRONG_OPERAND, MISSING_STEP)
TAMPER = "tamper"  # the role of a model that corrupts

_EQUATION = re.compile(r"(-?\d+)\s*([+\-*])\s*(\d+)\s*=\s*(-?\d+)")
_NUMBER = re.compile(r"\d+")
_OPERATIONS = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b}


@dataclass(frozen=True)
class Corruption:
    """A solution with one error."""

    steps: tuple[str, ...]
    step: int  # where the first error is
    kind: str
    original: str  # the right step


def equation_holds(step: str) -> bool | None:
    """Whether all equations `a op b = c` of a step hold; None where it has none."""
    found = _EQUATION.findall(step)
    return all(_OPERATIONS[op](int(a), int(b)) == int(c) for a, op, b, c in found) if found else None


def mended(step: str) -> str:
    """The step with the right results of its equations; what is derived from them elsewhere stays."""

    def mend(match: re.Match[str]) -> str:
        a, op, b, _ = match.groups()
        return f"{a}{op}{b}={_OPERATIONS[op](int(a), int(b))}"

    return _EQUATION.sub(mend, step)


def corrupt(steps: Sequence[str], kind: str, rng: random.Random) -> Corruption | None:
    """One error of a kind in a step that is not the answer's; None where no step allows it."""
    places = [i for i, step in enumerate(steps) if not is_answer_step(step)]
    rng.shuffle(places)
    if kind == MISSING_STEP:
        return _without(steps, places[0]) if len(places) > 1 else None
    for place in places:
        changed = corrupt_step(steps[place], kind, rng)
        if changed is not None:
            return Corruption((*steps[:place], changed, *steps[place + 1 :]), place, kind, steps[place])
    return None


def _without(steps: Sequence[str], place: int) -> Corruption:
    return Corruption((*steps[:place], *steps[place + 1 :]), place, MISSING_STEP, steps[place])


def corrupt_step(step: str, kind: str, rng: random.Random) -> str | None:
    """The step with an error of a kind (module docstring); None where the rule does not fit."""
    equations = list(_EQUATION.finditer(step))
    if kind == WRONG_NUMBER:
        return _other_digit(step, equations, rng)
    if not equations:
        return None
    match = equations[-1]
    a, op, b, c = int(match[1]), match[2], int(match[3]), int(match[4])
    if kind == WRONG_OPERATOR:
        op = rng.choice([other for other in _OPERATIONS if other != op])
    else:
        b = rng.choice([other for other in (b - 1, b + 1, b + 10) if other >= 0])
    result = _OPERATIONS[op](a, b)
    if result == c:
        return None
    return f"{step[: match.start()]}{a}{op}{b}={result}{step[match.end() :]}"


async def corrupt_by_model(
    room: Room, problem: Row, steps: Sequence[str], about: Sequence[object], kind: str = "any kind"
) -> tuple[Corruption | None, Reply]:
    """An error that a model puts into one step: its reply is `step N: the changed step`.

    None where the reply cannot be read, names a step that does not exist, or changes nothing.
    """
    prompt = room.prompts.role(TAMPER, prompt=problem["prompt"], numbered_steps=numbered(steps), kind=kind)
    reply = await ask(room, prompt, ("tamper", *about), str(problem["problem_id"]))
    found = re.search(r"step\s*(\d{1,4})\s*:\s*(\S[^\n]*)", reply.text or "", re.IGNORECASE)
    if found is None or int(found[1]) >= len(steps) or found[2].strip() == steps[int(found[1])].strip():
        return None, reply
    place, changed = int(found[1]), found[2].strip()
    return Corruption((*steps[:place], changed, *steps[place + 1 :]), place, kind, steps[place]), reply


def _other_digit(step: str, equations: Sequence[re.Match[str]], rng: random.Random) -> str | None:
    """One digit of the last equation's result, or of the last number, replaced; never a leading zero."""
    numbers = list(_NUMBER.finditer(step))
    if not numbers:
        return None
    start, end = equations[-1].span(4) if equations else numbers[-1].span()
    start += step[start] == "-"
    place = rng.randrange(start, end)
    lowest = 1 if place == start and end - start > 1 else 0
    digit = rng.choice([str(d) for d in range(lowest, 10) if str(d) != step[place]])
    return step[:place] + digit + step[place + 1 :]
