"""Statements of the starter families: begun for the policy, read and answered by the family's rules.

The starter has never been taught to write statements, but it can go on from where one is begun when a grammar admits
only what the family's statements look like; what it then writes is drawn from its own probabilities. The grammar admits
more than the rules do (values that grow too large, targets out of reach), so there is something to grade:

    answerability  1.0 where the verifier knows an answer, 0.0 for a Countdown target that cannot be reached
    faithfulness   1.0 where the new statement has the shape of the source (operations and modulus, or how many numbers)
                   and the generator's bounds hold for it, else 0.0
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.starter import families

MOST_TARGET_DIGITS = 3
_OPERATIONS = re.compile(r"[+\-*]\d+")


@dataclass(frozen=True)
class Part:
    """A piece of a statement: text that is given, and the regular expression of what the policy writes after it."""

    given: str
    written: str  # "" = nothing


@dataclass(frozen=True)
class Form:
    """A statement as the policy is to write it, piece by piece; the ending is given.

    Words are never left to the policy: of a vocabulary that holds them as whole tokens, and a space but no letters, a
    grammar would let it begin a word that no token can end.
    """

    parts: tuple[Part, ...]
    ending: str = ""


@dataclass(frozen=True)
class Statement:
    """A statement of a new problem, and what is known of it."""

    problem_id: str
    prompt: str
    canonical: str
    split: str
    difficulty: int | None = None
    reference_answer: str | None = None
    answerability: float | None = None  # None: not graded yet
    faithfulness: float | None = None


def is_exact(problem: Mapping[str, object]) -> bool:
    """Whether a problem is one that the rules of a starter family decide."""
    family = problem["family"]
    if family not in families.FAMILIES or problem["grader"] != families.GRADERS[family]:
        return False
    try:
        families.read_problem(str(family), 1, str(problem["prompt"]))
    except ValueError:
        return False
    return True


def form_of(family: str, prompt: str, share: float) -> Form:
    """The form of a source's statement, with the first `share` of its operations or numbers, rounded down, given.

    A chain is given its start value at least, and a dial its own band and modulus; Countdown one number at least.
    """
    if family == "countdown":
        numbers, _ = families.parse_countdown(prompt)
        num_given = max(1, int(share * len(numbers)))
        given = ",".join(map(str, numbers[:num_given]))
        num_left = len(numbers) - num_given
        more = f"(,[1-9]){{{num_left}}}" if num_left else ""
        return Form((Part(given, more), Part(" to ", f"[1-9][0-9]{{0,{MOST_TARGET_DIGITS - 1}}}")))
    chain, blank, ending = prompt.partition(" ")
    operations = _OPERATIONS.findall(chain)
    num_given = int(share * len(operations))
    given = chain[: len(chain) - len("".join(operations[num_given:]))]
    return Form((Part(given, f"([+*-][2-9]){{{len(operations) - num_given}}}"),), blank + ending)


def read(source: Mapping[str, object], text: str) -> Statement | None:
    """A statement, with answer and grades; None where it is none of the source's family."""
    family, level = str(source["family"]), source["difficulty"]
    try:
        problem = families.read_problem(family, level if isinstance(level, int) else 1, text)
    except ValueError:
        return None
    is_faithful = families.shape_of(family, problem.prompt) == families.shape_of(family, str(source["prompt"]))
    is_answerable = families.has_answer(family, problem.prompt)
    return Statement(
        problem.problem_id,
        problem.prompt,
        problem.canonical,
        "held_out" if problem.is_evaluation else problem.split,
        difficulty=level if isinstance(level, int) else None,
        reference_answer=problem.reference_answer if is_answerable else None,
        answerability=float(is_answerable),
        faithfulness=float(is_faithful and families.keeps_the_rules(family, problem.prompt)),
    )
