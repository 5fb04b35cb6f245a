"""Published files of solutions to be criticised and corrected.

    realcritic   Tang et al. (arXiv 2501.14492): question, reasoning, gt, pred, previous_score; the file's name is the
                 subset, and question types with `choices` are graded as letters
    mr-gsm8k     Zeng et al. (arXiv 2312.17080): the steps, whether the answer is right, and the reference answer; of
                 the released critiques' solutions, subset by question type

Every error names file, line, field and value, and what would be right. What is no use (an empty solution) is left out
under a named reason and counted.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal

from pipelines.errors import SourceError
from pipelines.trees.fields import Place, field, json_lines, list_in, text_in, texts_in


@dataclass(frozen=True)
class Candidate:
    """One solution to criticise and correct.

    Attributes:
        id: unique among all that are read together.
        problem: the statement, with the options where there are some.
        solution: the text to criticise.
        is_right: whether its answer is right, as published.
        reference: the right answer.
        grader: how a corrected answer is compared with it.
        subset: part of the benchmark.
    """

    id: str
    problem: str
    solution: str
    is_right: bool
    reference: str
    grader: Literal["math", "choice"]
    subset: str
    place: Place


ReadFn = Callable[[Mapping, Place], Candidate]


def read_realcritic(row: Mapping, place: Place) -> Candidate:
    """A model's solution; `previous_score[0]` says whether it is right."""
    scores = list_in(row, "previous_score", place)
    if not scores or not isinstance(scores[0], bool):
        raise (place / "previous_score").wrong(scores, "a list that starts with true or false")
    stem = PurePath(place.file).name.partition(".")[0]
    name = field(row, "idx", place)
    if isinstance(name, bool) or not isinstance(name, str | int):
        raise (place / "idx").wrong(name, "text or an integer")
    return Candidate(
        f"{stem}:{name}", text_in(row, "question", place), text_in(row, "reasoning", place), scores[0],
        text_in(row, "gt", place), "choice" if row.get("choices") else "math", stem, place,
    )  # fmt: skip


def read_mr_gsm8k(row: Mapping, place: Place) -> Candidate:
    """A sampled solution of a GSM8K problem, of its reverse or of its program; its answer counts, not its steps."""
    correctness = text_in(row, "model_output_answer_correctness", place).strip().lower()
    if correctness not in ("correct", "wrong"):
        raise (place / "model_output_answer_correctness").wrong(correctness, "correct or wrong")
    reference = field(row, "ground_truth_answer", place)
    if isinstance(reference, bool) or not isinstance(reference, str | int | float):
        raise (place / "ground_truth_answer").wrong(reference, "text or a number")
    return Candidate(
        text_in(row, "uuid", place), text_in(row, "question", place),
        "\n".join(texts_in(row, "model_output_steps", place)), correctness == "correct", str(reference), "math",
        text_in(row, "question_type", place), place,
    )  # fmt: skip


LAYOUTS: dict[str, tuple[tuple[str, ...], ReadFn]] = {
    "realcritic": (("idx", "question", "reasoning", "gt", "previous_score"), read_realcritic),
    "mr-gsm8k": (
        ("uuid", "question", "model_output_steps", "model_output_answer_correctness", "ground_truth_answer",
         "question_type"),
        read_mr_gsm8k,
    ),
}  # fmt: skip
"""name -> (fields that every row has, its reader)"""


def read_candidates(paths: Sequence[Path]) -> tuple[list[Candidate], Counter[tuple[str, str]]]:
    """(the solutions of all files in their order, (file, reason) -> rows left out); SourceError for what is wrong.

    A file's layout is that whose fields its first row has.
    """
    by_id: dict[str, Candidate] = {}
    left_out: Counter[tuple[str, str]] = Counter()
    for path in paths:
        read: ReadFn | None = None
        for row, place in json_lines(path, str(path)):
            read = read or _recognised(row, place)
            one = read(row, place)
            if not one.solution.strip():
                left_out[str(path), "no_solution"] += 1
                continue
            if one.id in by_id:
                first = by_id[one.id].place
                raise SourceError(
                    f"{place.file}, line {place.line}: the id {one.id!r} is there already, in {first.file}, line "
                    f"{first.line}; every solution needs an id of its own."
                )
            by_id[one.id] = one
    if not by_id:
        raise SourceError(f"{', '.join(map(str, paths))} hold no solution to criticise; {_known()}")
    return list(by_id.values()), left_out


def _recognised(row: Mapping, place: Place) -> ReadFn:
    for names, read in LAYOUTS.values():
        if set(names) <= set(row):
            return read
    raise SourceError(
        f"{place.file}, line {place.line}: no known layout has the fields {', '.join(map(str, row)) or '(none)'}. "
        f"{_known()}"
    )


def _known() -> str:
    shown = [f"{name} ({', '.join(names)})" for name, (names, _) in LAYOUTS.items()]
    return f"Known layouts, by their fields: {'; '.join(shown)}."
