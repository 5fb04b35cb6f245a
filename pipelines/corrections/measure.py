"""What a critic's corrections are worth, as RealCritic (arXiv 2501.14492) counts it.

    wrong_to_right = solutions that were wrong and end right / solutions that were wrong
    right_to_right = solutions that were right and stay so / solutions that were right
    accuracy       = solutions that end right / all

The released code counts by the corrected answer alone, and what has none as wrong. Beside it stands the open-loop
measure: `verdict_accuracy`, the share of right verdicts ("right", "wrong") among those given. Rates are None where
there is nothing to count. Corrections that were never given, and answers that could not be compared in time, end wrong
and are counted.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.corrections.candidates import Candidate
from pipelines.errors import SourceError
from pipelines.grading.equivalence import same_math
from pipelines.trees.fields import Place, field, json_lines, text_in

VERDICTS = ("right", "wrong")
_CHOICE = re.compile(r"\(?([A-Za-z])\)?\.?")

SameFn = Callable[[str, str], bool | None]
"""(answer, reference) -> whether they are the same; None where it cannot be decided."""


@dataclass(frozen=True)
class Correction:
    """What a critic made of a solution."""

    verdict: str | None  # right | wrong; None: none was given
    answer: str | None  # the final answer after correction; None: there is none
    place: Place


@dataclass(frozen=True)
class Corrected:
    """The measures of one subset, or of all."""

    num_solutions: int
    num_right_before: int
    num_wrong_to_right: int
    num_right_to_right: int
    num_without_answer: int
    num_undecided: int
    num_verdicts: int
    num_right_verdicts: int

    @property
    def rates(self) -> dict[str, float | None]:
        """The rates of this module's page; accuracy_before is that of the solutions themselves."""
        wrong = self.num_solutions - self.num_right_before
        return {
            "accuracy_before": _rate(self.num_right_before, self.num_solutions),
            "accuracy": _rate(self.num_wrong_to_right + self.num_right_to_right, self.num_solutions),
            "wrong_to_right": _rate(self.num_wrong_to_right, wrong),
            "right_to_right": _rate(self.num_right_to_right, self.num_right_before),
            "verdict_accuracy": _rate(self.num_right_verdicts, self.num_verdicts),
        }


def read_corrections(path: Path, candidates: Sequence[Candidate]) -> dict[str, Correction]:
    """id -> correction, from json lines `id`, `answer` (text or null) and, if wanted, `verdict`."""
    ids = {one.id for one in candidates}
    found: dict[str, Correction] = {}
    for row, place in json_lines(path, str(path)):
        name = text_in(row, "id", place)
        if name in found:
            raise (place / "id").wrong(name, f"an id that is there once; line {found[name].place.line} has it too")
        if name not in ids:
            raise (place / "id").wrong(name, f"one of the {len(ids)} ids of the solutions")
        verdict = row.get("verdict")
        if verdict not in (None, *VERDICTS):
            raise (place / "verdict").wrong(verdict, "right, wrong or null")
        answer = None if field(row, "answer", place) is None else text_in(row, "answer", place)
        found[name] = Correction(verdict, answer, place)
    if not found:
        raise SourceError(f"{path} holds no correction; each line must be an object with `id` and `answer`.")
    return found


def measure(
    candidates: Sequence[Candidate], corrections: Mapping[str, Correction], same: SameFn = same_math
) -> dict[str, Corrected]:
    """subset -> measures, and `all`; a solution without a correction ends wrong, and counts as without an answer."""
    by_subset: dict[str, list[Candidate]] = {}
    for one in candidates:
        by_subset.setdefault(one.subset, []).append(one)
    ends = {one.id: _is_right(one, corrections.get(one.id), same) for one in candidates}
    groups = {**dict(sorted(by_subset.items())), "all": list(candidates)}
    return {name: _counted(members, corrections, ends) for name, members in groups.items()}


def _is_right(candidate: Candidate, correction: Correction | None, same: SameFn) -> bool | None:
    if correction is None or correction.answer is None or not correction.answer.strip():
        return False
    if candidate.grader == "choice":
        return _letter(correction.answer) == _letter(candidate.reference)
    return same(correction.answer, candidate.reference)


def _letter(answer: str) -> str:
    """The letter of `(d)` or `D.`; other text as it is."""
    found = _CHOICE.fullmatch(answer.strip())
    return found[1].upper() if found else answer.strip()


def _counted(
    members: Sequence[Candidate], corrections: Mapping[str, Correction], ends: Mapping[str, bool | None]
) -> Corrected:
    given = [(one, corrections[one.id]) for one in members if one.id in corrections]
    verdicts = [(one, made.verdict) for one, made in given if made.verdict is not None]
    num_answered = sum(made.answer is not None and bool(made.answer.strip()) for _, made in given)
    return Corrected(
        num_solutions=len(members),
        num_right_before=sum(one.is_right for one in members),
        num_wrong_to_right=sum(not one.is_right and ends[one.id] is True for one in members),
        num_right_to_right=sum(one.is_right and ends[one.id] is True for one in members),
        num_without_answer=len(members) - num_answered,
        num_undecided=sum(ends[one.id] is None for one in members),
        num_verdicts=len(verdicts),
        num_right_verdicts=sum(one.is_right == (verdict == "right") for one, verdict in verdicts),
    )


def _rate(count: int, total: int) -> float | None:
    return count / total if total else None
