"""Problems in words: a statement is read from a reply, graded by the policy, and answered by what most solutions say.

Grades (after RePro, as far as its description is known to us: a made text must be of use and stay faithful to its
source): a judge says "answerable yes|no" and "faithful yes|no"; each is the share of the readable grades that say yes.

Agreement (self-consistency, arXiv 2203.11171): of n solutions the answer that most give is the reference, and

    agreement = (number of solutions with that answer) / n

Answers are compared as text, as `pipelines.votes` does; a solution without an answer counts for n and for no answer;
of answers with equal votes the first one found is taken. Without any answer there is no reference, and agreement is 0.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.posing.exact import Statement
from pipelines.problems import canonical_text, problem_id_of, split_of

GRADE_REGEX = r"answerable (yes|no)\nfaithful (yes|no)\n?"
MAX_STATEMENT_CHARS = 20_000
_HEADING = re.compile(r"^\W*(?:new )?problem\W*?:[\s*]*", re.IGNORECASE)
_GRADE = re.compile(r"^\W*(answerable|faithful)\W+(yes|no)\b", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Grade:
    """What one judge said of a new problem."""

    is_answerable: bool
    is_faithful: bool


def first_line(text: str) -> str:
    """The first line of a reply with text, without a heading; "" where there is none."""
    lines = [_HEADING.sub("", line.strip()).strip() for line in text.splitlines()]
    return next((line for line in lines if line), "")


def read(source: Mapping[str, object], prompt: str, held_out_fraction: float) -> Statement | None:
    """A statement; None for one without a letter or digit, and for one that is longer than any should be."""
    if len(prompt) > MAX_STATEMENT_CHARS or not any(character.isalnum() for character in prompt):
        return None
    canonical = canonical_text(prompt)
    problem_id = problem_id_of(str(source["family"]), prompt)
    return Statement(problem_id, prompt, canonical, split_of(canonical, held_out_fraction))


def read_grade(text: str) -> Grade | None:
    """A judge's grade; None where it did not say both things exactly once, since it may have contradicted itself."""
    said = [(name.lower(), word.lower() == "yes") for name, word in _GRADE.findall(text)]
    if sorted(name for name, _ in said) != ["answerable", "faithful"]:
        return None
    found = dict(said)
    return Grade(found["answerable"], found["faithful"])


def consensus(answers: Sequence[str | None]) -> tuple[str | None, float]:
    """The answer that most solutions give, and their share of all (at least one) solutions."""
    votes = Counter(answer for answer in answers if answer is not None)
    if not votes:
        return None, 0.0
    answer, num_votes = votes.most_common(1)[0]
    return answer, num_votes / len(answers)
