"""Finds the final answer in a model's text.

The last `#### answer` line wins, then the last `\\boxed{...}`; only the grader `math` falls back to the
last number in the text, because a cut-off solution must not be graded by a number in its middle.
"""

import re

_MARKED = re.compile(r"####[ \t]*([^\n]*\S)")
_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")
MAX_BOXES = 20  # unclosed ones that are looked at, from the last: each costs a scan to the end of the text
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:/\d+)?")


def extract_answer(grader: str, text: str) -> str | None:
    """The answer that `text` ends in, stripped; None where the text gives none."""
    if marked := _MARKED.findall(text):
        return marked[-1].strip()
    if boxed := _last_boxed(text):
        return boxed
    if grader == "math" and (numbers := _NUMBER.findall(text)):
        return numbers[-1].rstrip(",")
    return None


def _last_boxed(text: str) -> str | None:
    """Content of the last `\\boxed{...}` whose braces are balanced; None without one."""
    for start in reversed([match.end() for match in _BOXED.finditer(text)][-MAX_BOXES:]):
        depth = 1
        for position in range(start, len(text)):
            depth += {"{": 1, "}": -1}.get(text[position], 0)
            if depth == 0:
                return text[start:position].strip() or None
    return None
