"""Solutions as steps: where a step ends, which step is the answer, and what a complete path says."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pipelines.errors import ReasonmillError
from pipelines.search.types import Path

ANSWER_MARKS = ("####", "\\boxed")

GradeFn = Callable[[str, Mapping[str, object], str | None, Sequence[str]], float | None]
"""`grade(grader, problem, answer, steps)`: 1.0 right, 0.0 wrong, None = cannot be graded."""

ExtractFn = Callable[[str, str], str | None]
"""`extract_answer(grader, text)`: the final answer in a text; None when there is none."""


class UngradedError(ReasonmillError):
    """A search without a critic needs grades, and the grader gave none."""


@dataclass(frozen=True, slots=True)
class GradedAnswer:
    """The end of a solution."""

    answer: str | None  # None: cut off, or no answer was found
    outcome_reward: float | None  # None: not graded


def is_answer_step(step: str) -> bool:
    """Whether a step states the final answer."""
    return any(mark in step for mark in ANSWER_MARKS)


def split_steps(text: str, separator: str = "\n") -> list[str]:
    """The steps of a solution, stripped, without blank ones; what follows the first answer step is dropped,
    as a tree search would never have generated it.
    """
    steps = []
    for piece in text.split(separator):
        step = piece.strip()
        if step:
            steps.append(step)
            if is_answer_step(step):
                break
    return steps


def is_cut_off(text: str, finish_reason: str, separator: str = "\n") -> bool:
    """Whether a length limit ended a solution before its answer step was complete; what follows that is not needed."""
    whole = text.split(separator)[:-1]
    return finish_reason == "length" and not any(map(is_answer_step, whole))


def grade_steps(
    problem: Mapping[str, object], steps: Sequence[str], is_truncated: bool, grade: GradeFn, extract_answer: ExtractFn
) -> GradedAnswer:
    """Extract and grade the answer of a complete solution; one that was cut off has no answer."""
    grader = str(problem["grader"])
    answer = None if is_truncated else extract_answer(grader, "\n".join(steps))
    return GradedAnswer(answer, grade(grader, problem, answer, steps))


def grade_path(path: Path, grade: GradeFn, extract_answer: ExtractFn) -> GradedAnswer:
    """`grade_steps` of a complete path of a tree."""
    return grade_steps(path.problem, path.step_texts, path.is_truncated, grade, extract_answer)


def ungraded_message(problem: Mapping[str, object]) -> str:
    """What to say of a problem whose completions the grader cannot judge."""
    return (
        f"Problem {problem['problem_id']}: the grader `{problem['grader']}` gave no grade to any completion. A search "
        "that values steps by graded completions needs a reference answer that this grader can read."
    )
