"""One reader per layout: a row of a file to the labelled solutions in it.

`plain` (our own, and what judges are compared on) is strict: whatever is wrong is an error. The files of benchmarks
are as they were published, so what they leave open (a wrong solution without a first wrong step, a step number that
does not exist) is left out under a named reason and counted.

    plain            id, steps, label; optional problem, problem_id, subset       label from 0, -1 for none
    stepwise         our published training set: prompt, completions, labels      labels: true or false per step
    processbench     Zheng et al. (arXiv 2412.06559): as plain, with generator    label from 0, -1 for none
    prmbench         Song et al. (arXiv 2501.03124)                               error_steps from 1
    mr-ben           Zeng et al. (arXiv 2406.13975)                               the N of "Step N", "N/A" for none
    mr-gsm8k         Zeng et al. (arXiv 2312.17080)                               first error step from 1
    bigbench-mistake Tyen et al. (arXiv 2311.08516)                               mistake_index from 0, null for none
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath

from pipelines.step_labels.solution import LabelledSolution, LeftOut
from pipelines.trees.fields import Place, field, integer, integer_in, list_in, text_in, texts_in

STEP_TAG = re.compile(r"\W*step\s*(\d+)\b", re.IGNORECASE)
ANSWER_TAG = re.compile(r"\W*solution\b", re.IGNORECASE)

ReadFn = Callable[[Mapping, Place], Iterator[LabelledSolution | LeftOut]]


@dataclass(frozen=True)
class Layout:
    """How the rows of a kind of file are read; `fields` are those that every row must have."""

    name: str
    fields: tuple[str, ...]
    read: ReadFn
    has_own_ids: bool  # ids that the file promises to be unique; else they are made so


def read_plain(row: Mapping, place: Place) -> Iterator[LabelledSolution]:
    """A row of the plain layout or of ProcessBench."""
    steps = _steps(row, "steps", place)
    label = integer_in(row, "label", place)
    if not -1 <= label < len(steps):
        raise (place / "label").wrong(
            label, f"-1 (no wrong step) or the index of one of the {len(steps)} steps, from 0"
        )
    optional = (_optional_text(row, name, place) for name in ("problem", "problem_id", "subset"))
    problem, problem_id, subset = optional
    yield LabelledSolution(identifier(row, place), problem, problem_id, steps, label, subset, place)


def read_stepwise(row: Mapping, place: Place) -> Iterator[LabelledSolution]:
    """A row of our own published `stepwise` set; the first step labelled false is the first wrong one."""
    steps = _steps(row, "completions", place)
    labels = list_in(row, "labels", place)
    if len(labels) != len(steps) or any(not isinstance(label, bool) for label in labels):
        raise (place / "labels").wrong(labels, f"true or false for each of the {len(steps)} `completions`")
    label = labels.index(False) if False in labels else -1
    name = _optional_text(row, "rollout_id", place) or f"{_stem(place)}:{place.line}"
    problem_id = _optional_text(row, "problem_id", place)
    yield LabelledSolution(name, text_in(row, "prompt", place), problem_id, steps, label, None, place)


def read_prmbench(row: Mapping, place: Place) -> Iterator[LabelledSolution | LeftOut]:
    """The solution that errors were written into, and the right one that it was made from, each with its question."""
    name, subset = text_in(row, "idx", place), text_in(row, "classification", place)
    errors = list_in(row, "error_steps", place)
    modified = _steps(row, "modified_process", place)
    first = min((integer(error, place / "error_steps" / i) for i, error in enumerate(errors)), default=0)
    if first in range(bool(errors), len(modified) + 1):
        question = text_in(row, "modified_question", place)
        yield LabelledSolution(f"{subset}:{name}", question, None, modified, first - 1, subset, place)
    else:
        yield LeftOut("first_error_step_unknown")
    original = _steps(row, "original_process", place)
    question = text_in(row, "original_question", place)
    yield LabelledSolution(f"{subset}:{name}:original", question, None, original, -1, subset, place)


def read_mr_ben(row: Mapping, place: Place) -> Iterator[LabelledSolution | LeftOut]:
    """A sampled solution. Its entries are lines, some blank; a step reaches from "Step N" to the next one.

    Without such tags every line is a step, and N counts from 1. In the coding part, whose solution is one text, every
    line of code is a step and the first wrong one is given by its text.
    """
    whole = field(row, "Model_Solution_Steps", place)
    is_code = isinstance(whole, str)
    lines = whole.splitlines() if is_code else texts_in(row, "Model_Solution_Steps", place)
    lines = [line for line in lines if line.strip()]
    steps = tuple(lines) if is_code else _joined_by_tag(lines)
    if not steps:
        yield LeftOut("no_steps")
        return
    label = -1
    if text_in(row, "Model_Solution_Correctness", place).strip().lower() != "correct":
        first = str(field(row, "Model_Solution_First_Error_Step", place)).strip()
        found = _line_index(steps, first) if is_code else _numbered_index(steps, first)
        if found is None:
            yield LeftOut("first_error_step_unknown")
            return
        label = found
    name = f"{text_in(row, 'Question_UUID', place)}:{text_in(row, 'Sampled_Model', place)}"
    subject, question = text_in(row, "Subject", place), text_in(row, "Question", place)
    options = _optional_text(row, "Options", place)
    problem = f"{question}\n{options}" if options else question
    yield LabelledSolution(name, problem, None, steps, label, subject, place)


def read_mr_gsm8k(row: Mapping, place: Place) -> Iterator[LabelledSolution | LeftOut]:
    """A sampled solution of a GSM8K problem, of its reverse or of its program; the question's type is the subset."""
    steps = _steps(row, "model_output_steps", place)
    is_right = text_in(row, "model_output_solution_correctness", place).strip().lower() == "correct"
    number = field(row, "model_output_solution_first_error_step", place)
    label = -1 if is_right else _numbered_index(steps, str(number).strip())
    if label is None:
        yield LeftOut("first_error_step_unknown")
        return
    name, question = text_in(row, "uuid", place), text_in(row, "question", place)
    subset = _optional_text(row, "question_type", place)
    yield LabelledSolution(name, question, None, steps, label, subset, place)


def read_bigbench_mistake(row: Mapping, place: Place) -> Iterator[LabelledSolution]:
    """A sampled chain of thought; the file's name is its task."""
    steps = _steps(row, "steps", place)
    mistake = field(row, "mistake_index", place)
    label = -1 if mistake is None else integer_in(row, "mistake_index", place)
    if mistake is not None and not 0 <= label < len(steps):
        raise (place / "mistake_index").wrong(mistake, f"null or the index of one of the {len(steps)} steps, from 0")
    task = _stem(place)
    yield LabelledSolution(f"{task}:{place.line}", text_in(row, "input", place), None, steps, label, task, place)


LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout("plain", ("id", "steps", "label"), read_plain, True),
        Layout("stepwise", ("prompt", "completions", "labels"), read_stepwise, False),
        Layout("processbench", ("id", "generator", "problem", "steps", "label"), read_plain, True),
        Layout(
            "prmbench",
            ("idx", "classification", "error_steps", "modified_process", "modified_question", "original_process",
             "original_question"),
            read_prmbench, False,
        ),
        Layout(
            "mr-ben",
            ("Question_UUID", "Subject", "Question", "Sampled_Model", "Model_Solution_Steps",
             "Model_Solution_Correctness", "Model_Solution_First_Error_Step"),
            read_mr_ben, False,
        ),
        Layout(
            "mr-gsm8k",
            ("uuid", "question", "model_output_steps", "model_output_solution_correctness",
             "model_output_solution_first_error_step"),
            read_mr_gsm8k, True,
        ),
        Layout("bigbench-mistake", ("input", "steps", "mistake_index"), read_bigbench_mistake, False),
    )
}  # fmt: skip


def identifier(row: Mapping, place: Place) -> str:
    """The field `id`: text that is not empty, or an integer, which is the same as its digits."""
    value = field(row, "id", place)
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise (place / "id").wrong(value, "text or an integer")
    return str(value)


def _steps(row: Mapping, name: str, place: Place) -> tuple[str, ...]:
    steps = tuple(texts_in(row, name, place))
    if not steps:
        raise (place / name).wrong([], "a list of at least one step")
    return steps


def _optional_text(row: Mapping, name: str, place: Place) -> str | None:
    return None if row.get(name) is None else text_in(row, name, place)


def _stem(place: Place) -> str:
    return PurePath(place.file).name.partition(".")[0]


def _joined_by_tag(lines: list[str]) -> tuple[str, ...]:
    if not any(STEP_TAG.match(line) for line in lines):
        return tuple(lines)
    steps: list[str] = []
    for line in lines:
        if not steps or STEP_TAG.match(line) or ANSWER_TAG.match(line):
            steps.append(line)
        else:
            steps[-1] += f"\n{line}"
    return tuple(steps)


def _numbered_index(steps: tuple[str, ...], number: str) -> int | None:
    if not number.isdecimal():
        return None
    tags = [STEP_TAG.match(step) for step in steps]
    numbers = [int(tag[1]) if tag else None for tag in tags] if any(tags) else list(range(1, len(steps) + 1))
    return numbers.index(int(number)) if int(number) in numbers else None


def _line_index(lines: tuple[str, ...], text: str) -> int | None:
    first = next((line.strip() for line in text.splitlines() if line.strip()), None)
    return next((index for index, line in enumerate(lines) if line.strip() == first), None)
