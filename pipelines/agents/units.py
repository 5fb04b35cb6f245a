"""A critique as units (MultiCritique's ACUs): location, flaw, suggestion, criterion, severity.

A unit is one line that calls a step wrong. Two forms are read, and the final critique is written in the same two:

    2 wrong 3*4=12                                  the starter's: what should stand there
    2 wrong [calculation|4] 3*4 is not 11 -> 3*4=12 an instructed model's: criterion, severity 1..5, flaw, suggestion

Brackets, flaw and suggestion may be missing. Without "->", text that holds an equation or an answer mark and no word is
the suggestion, any other text is the flaw. Without a criterion it is `answer` for a step that states the answer, else
`calculation` for one that holds an equation, else null.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.agents.parse import WRONG, Judgement, step_lines
from pipelines.reasoning.steps import is_answer_step

MAX_LINE = 80  # characters of flaw and suggestion under the grammar
_DETAILS = re.compile(
    r"^(?:\[(?P<criterion>[^\]|]{1,80})(?:\|\s*(?P<severity>[1-5])\s*)?\])?\s*(?P<flaw>.*?)\s*(?:->\s*(?P<suggestion>.*))?$"
)
BEFORE_DETAILS = " \t.,:;*)"
_WORD = re.compile(r"[^\W\d_]{2,}")


@dataclass(frozen=True)
class Unit:
    """One flaw that an agent found."""

    step: int  # where, from 0
    flaw: str | None  # what is wrong; None = the agent did not say
    suggestion: str | None  # what should stand there; None = the agent did not say
    criterion: str | None  # what it offends; None = not known
    severity: int | None  # 1..5; None = the agent did not say


def units_of(text: str, judgement: Judgement, steps: Sequence[str]) -> tuple[Unit, ...]:
    """The units of a readable critique, one per step that it calls wrong, in the order of the steps.

    A first error that only the closing verdict names is a unit without flaw and suggestion.
    """
    said = step_lines(text, len(steps))
    wrong = [step for step, word in enumerate(judgement.step_verdicts) if word == WRONG]
    return tuple(_unit(step, said.get(step, ""), steps[step]) for step in wrong)


def critique_regex(num_steps: int) -> str:
    """A line of one verdict per step, then the closing verdict: what the engine's grammar is to enforce.

    It cannot keep a critique from contradicting itself; the parser sees to that.
    """
    lines = "".join(rf"{step} (right|wrong( [^\n]{{1,{MAX_LINE}}})?)\n" for step in range(num_steps))
    return rf"{lines}verdict (-1|{'|'.join(map(str, range(num_steps)))})\n"


def line_of(unit: Unit) -> str:
    """The unit as a line of a critique."""
    if unit.flaw is None and unit.severity is None:
        return f"{unit.step} wrong {unit.suggestion}" if unit.suggestion else f"{unit.step} wrong"
    brackets = f" [{unit.criterion}{f'|{unit.severity}' if unit.severity else ''}]" if unit.criterion else ""
    flaw = f" {unit.flaw}" if unit.flaw else ""
    suggestion = f" -> {unit.suggestion}" if unit.suggestion else ""
    return f"{unit.step} wrong{brackets}{flaw}{suggestion}"


def _unit(step: int, details: str, written: str) -> Unit:
    found = _DETAILS.match(details.strip(BEFORE_DETAILS))
    criterion, severity, flaw, suggestion = found.group("criterion", "severity", "flaw", "suggestion")
    if suggestion is None and flaw and (set("=#") & set(flaw)) and not _WORD.search(flaw.replace(" left ", " ")):
        flaw, suggestion = None, flaw
    return Unit(
        step, flaw or None, suggestion or None, (criterion or "").strip() or _criterion(written),
        int(severity) if severity else None,
    )  # fmt: skip


def _criterion(written: str) -> str | None:
    if is_answer_step(written):
        return "answer"
    return "calculation" if "=" in written else None
