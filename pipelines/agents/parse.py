"""A critique's text -> step verdicts and the first wrong step.

Two formats are read by the same rules, because both are lines about numbered steps and one closing verdict:
the starter's (`1 19-5=13 wrong 19-5=14` ... `verdict 1`) and what an instructed model writes (`Step 2: correct`,
`**Step 3** is incorrect because ...`, `First error: step 3`, `Verdict: \\boxed{-1}`, `Overall judgment: Correct`).

Invariants
- Critiques are untrusted input: `parse_critique` never raises. What cannot be read is a `Failure` whose reason is a
  stable snake_case word, never a default verdict.
- Step indices count from 0 and -1 means "no error". A text whose step lines start at 1 and end at the number of
  steps counts from 1; its indices are shifted.
- A critique that contradicts itself (says step 1 is wrong and closes with "no error") is a failure: there is no
  knowing which half the agent meant.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

RIGHT, WRONG, NO_ERROR = "right", "wrong", -1

MAX_LINE = 400  # characters of a line that are read; what a verdict needs stands at its beginning
LATIN_END = 0x24F  # last letter of Latin Extended-B
MIN_WORDS = 5  # fewer say nothing about a language
COMMON_WORDS = {"the", "is", "are", "of", "and", "to", "in", "it", "this", "that", "not", "no", "step", "i", "you"}
_RUN = re.compile(r"([\s>*#-])\1+")

_RIGHT_WORDS = {"right", "correct", "valid", "ok"}
_WORDS = r"(?P<word>right|wrong|correct|incorrect|valid|invalid|ok|not\s+correct|not\s+right)"
_RESTATED = r"(?:[\d#-][\d+*=,# -]*(?:left [\d,]+)? )?"  # the starter repeats a step before its verdict
_STEP_LINE = re.compile(
    rf"^[\s>*#-]*(?:step\s*)?(?P<index>\d{{1,4}})\s*[.:)\]*,-]*\s*{_RESTATED}(?:is\s+|looks\s+)?\**\s*{_WORDS}\b",
    re.IGNORECASE,
)
_CLOSING_INDEX = re.compile(
    r"^[\s>*#-]*(?:(?:final\s+|overall\s+)?(?:verdict|judge?ment)|first\s+(?:error|wrong\s+step|mistake)(?:\s+step)?|answer(?=\W*boxed))"
    r"\**\s*[:=]?\s*\**\s*(?:is\s+)?(?:at\s+)?(?:step\s*)?\$?(?:\\boxed\{)?\s*(?P<index>-?\d{1,4})\b",
    re.IGNORECASE,
)
_CLOSING_WORD = re.compile(
    rf"^[\s>*#-]*(?:(?:final\s+|overall\s+)?(?:verdict|judge?ment|assessment))\**\s*[:=]?\s*\**\s*(?:is\s+)?\[?{_WORDS}\b",
    re.IGNORECASE,
)
_CLOSING_NONE = re.compile(
    r"^[\s>*#-]*(?:verdict|first\s+error|first\s+wrong\s+step)\**\s*[:=]\s*\**\s*(?:none|no\s+error)\b", re.IGNORECASE
)


@dataclass(frozen=True)
class Judgement:
    """What one agent said of one rollout."""

    step_verdicts: tuple[str, ...]  # right | wrong for steps 0, 1, ...; short where the agent stopped early
    first_error_step: int  # -1 = no error

    @property
    def verdict(self) -> str:
        """`right` when the agent found no wrong step, else `wrong`."""
        return RIGHT if self.first_error_step == NO_ERROR else WRONG


@dataclass(frozen=True)
class Failure:
    """Why a critique could not be read: empty | no_judgement | other_language | contradictory | incomplete | endless |
    step_out_of_range | no_steps.
    """

    reason: str


@dataclass(frozen=True)
class _Lines:
    """The judgement lines found in a text, indices as written."""

    steps: Mapping[int, str]
    closing_index: int | None
    closing_word: str | None
    contradictory: bool


def parse_critique(text: str, num_steps: int, is_truncated: bool = False) -> Judgement | Failure:
    """Read a critique of a rollout of `num_steps` steps. Never raises.

    `is_truncated`: a length limit ended it; where too little was said by then, the reason is `endless`.
    """
    judged = _parse(text, num_steps)
    if is_truncated and judged in (Failure("no_judgement"), Failure("incomplete")):
        return Failure("endless")
    return judged


def step_lines(text: str, num_steps: int) -> dict[int, str]:
    """What follows the verdict on the line of each step, by step, in a text that `parse_critique` can read."""
    found: dict[int, str] = {}
    for line in text.splitlines():
        if match := _STEP_LINE.match(_shortened(line)):
            as_written = line[:MAX_LINE].partition(match["word"])[2]  # not shortened, which would cut answer marks
            found[int(match["index"])] = as_written or match.string[match.end() :]
    shift = _first_index(found, num_steps)
    return {index - shift: details for index, details in found.items()}


def _parse(text: str, num_steps: int) -> Judgement | Failure:
    if num_steps < 1:
        return Failure("no_steps")
    if not text.strip():
        return Failure("empty")
    lines = _read_lines(text)
    if lines.contradictory:
        return Failure("contradictory")
    if not lines.steps and lines.closing_index is None and lines.closing_word is None:
        return Failure("other_language" if _is_other_language(text) else "no_judgement")
    shift = _first_index(lines.steps, num_steps)
    steps = {index - shift: word for index, word in lines.steps.items()}
    closing = lines.closing_index
    if closing is not None and closing != NO_ERROR:
        closing -= shift
    mentioned = [*steps, *([] if closing is None else [closing])]
    if any(not NO_ERROR <= index < num_steps for index in mentioned) or NO_ERROR in steps:
        return Failure("step_out_of_range")
    return _conclude(steps, closing, lines.closing_word, num_steps)


def _read_lines(text: str) -> _Lines:
    steps: dict[int, str] = {}
    closing_index = closing_word = None
    contradictory = False
    for line in map(_shortened, text.splitlines()):
        if match := _STEP_LINE.match(line):
            index, word = int(match["index"]), _normalise(match["word"])
            contradictory |= steps.setdefault(index, word) != word
        elif match := _CLOSING_INDEX.match(line):
            closing_index = int(match["index"])
        elif _CLOSING_NONE.match(line):
            closing_index = NO_ERROR
        elif match := _CLOSING_WORD.match(line):
            closing_word = _normalise(match["word"])
    return _Lines(steps, closing_index, closing_word, contradictory)


def _is_other_language(text: str) -> bool:
    """Most letters are of another script, or of five words or more none is among the commonest of English."""
    letters = [letter for letter in text[:2000] if letter.isalpha()]
    words = re.findall(r"[^\W\d_]+", text[:2000].lower())
    foreign = sum(ord(letter) > LATIN_END for letter in letters)
    return foreign > len(letters) / 2 or (len(words) >= MIN_WORDS and COMMON_WORDS.isdisjoint(words))


def _shortened(line: str) -> str:
    """The line's beginning with runs of space and markup collapsed, on which the patterns would backtrack for ever."""
    return _RUN.sub(r"\1", line[:MAX_LINE])


def _normalise(word: str) -> str:
    return RIGHT if word.lower() in _RIGHT_WORDS else WRONG


def _first_index(steps: Mapping[int, object], num_steps: int) -> int:
    """1 when the lines plainly count from 1 (no step 0, and a step numbered like the last one), else 0."""
    return 1 if steps and 0 not in steps and max(steps) == num_steps else 0


def _conclude(steps: Mapping[int, str], closing: int | None, word: str | None, num_steps: int) -> Judgement | Failure:
    """Join the step lines with the closing verdict; without a closing one the step lines must decide alone."""
    first_wrong = min((index for index, said in steps.items() if said == WRONG), default=NO_ERROR)
    if closing is None and word == RIGHT:
        closing = NO_ERROR
    if closing is None:
        end = num_steps if first_wrong == NO_ERROR else first_wrong
        if any(index not in steps for index in range(end)) or (word == WRONG and first_wrong == NO_ERROR):
            return Failure("incomplete")
        closing = first_wrong
    elif first_wrong not in (NO_ERROR, closing) or steps.get(closing) == RIGHT:
        return Failure("contradictory")
    if word is not None and (word == RIGHT) != (closing == NO_ERROR):
        return Failure("contradictory")
    return Judgement(_step_verdicts(steps, closing, num_steps), closing)


def _step_verdicts(steps: Mapping[int, str], first_error: int, num_steps: int) -> tuple[str, ...]:
    """Verdicts up to the first step of which neither a line nor the closing verdict says anything."""
    implied = num_steps if first_error == NO_ERROR else first_error
    said: Sequence[str | None] = [
        RIGHT if step < implied else WRONG if step == first_error else steps.get(step) for step in range(num_steps)
    ]
    return tuple(said[: said.index(None)] if None in said else said)  # type: ignore[arg-type]
