"""Grades a Countdown solution by replaying its steps.

The problem reads `3,5,7 to 26`. Each step `3*7=21 left 5,21` takes two of the numbers that are left, combines
them with + - or * (never below zero), and says what is left; the last step leaves the target alone.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

_PROBLEM = re.compile(r"\s*(\d{1,9}(?:\s*,\s*\d{1,9})*)\s+to\s+(\d{1,9})\s*")
_STEP = re.compile(r"(\d{1,12})([+\-*])(\d{1,12})=(\d{1,12}) left (\d{1,12}(?:,\d{1,12})*)")


def grade_countdown(problem: Mapping, answer: str | None, steps: Sequence[str]) -> float | None:
    """1.0 when the steps make the target from the problem's numbers; None when the prompt is no Countdown problem."""
    match = _PROBLEM.fullmatch(problem["prompt"])
    if match is None:
        return None
    target = int(match[2])
    left = replay([int(number) for number in match[1].split(",")], steps)
    return float(left == [target] and answer is not None and answer.strip() == str(target))


def replay(numbers: Sequence[int], steps: Sequence[str]) -> list[int] | None:
    """The numbers left after all steps, sorted; None at the first step that is not a right, legal move.

    Lines that start with `####` state the answer and move nothing.
    """
    left = Counter(numbers)
    for step in steps:
        if step.startswith("####"):
            continue
        match = _STEP.fullmatch(step.strip())
        if match is None:
            return None
        first, second, result = int(match[1]), int(match[3]), int(match[4])
        used = Counter([first, second])
        if used - left or {"+": first + second, "-": first - second, "*": first * second}[match[2]] != result:
            return None
        left = left - used + Counter([result])
        if left != Counter(int(number) for number in match[5].split(",")):
            return None
    return sorted(left.elements())
