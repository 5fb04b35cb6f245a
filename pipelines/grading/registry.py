"""The graders by name, and grading of one answer.

A grader is `(problem row, answer, steps) -> 1.0 | 0.0 | None`. Graders of the user's own come in through
`graders_of(settings)`, which binds the names of the configuration to the built-in ones.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from pipelines.config import Settings
from pipelines.errors import SourceError, WorkspaceError
from pipelines.extensions import explain, extension_names, load_extension
from pipelines.grading.countdown import grade_countdown
from pipelines.grading.equivalence import same_math, same_number, same_text

Grader = Callable[[Mapping, str | None, Sequence[str]], float | None]
GradeFn = Callable[[str, Mapping, str | None, Sequence[str]], float | None]
Equivalence = Callable[[str, str], bool | None]


def _by_equivalence(same: Equivalence, problem: Mapping, answer: str | None, steps: Sequence[str]) -> float | None:
    """Grade by comparing the answer alone; no answer is wrong, an undecided comparison is None."""
    if answer is None:
        return 0.0
    decided = same(answer, problem["reference_answer"])
    return None if decided is None else float(decided)


GRADERS: dict[str, Grader] = {
    "exact": partial(_by_equivalence, same_text),
    "number": partial(_by_equivalence, same_number),
    "math": partial(_by_equivalence, same_math),
    "countdown": grade_countdown,
}


def grade(
    grader: str,
    problem: Mapping,
    answer: str | None,
    steps: Sequence[str],
    graders: Mapping[str, Grader] = GRADERS,
) -> float | None:
    """1.0 right, 0.0 wrong (no answer too), None when the grader cannot decide.

    `problem` is a row of `problems`. Raises SourceError for a grader that does not exist, naming the problem.
    """
    if grader not in graders:
        raise SourceError(
            f"Problem {problem.get('problem_id')} asks for the grader `{grader}`, which does not exist; "
            f"there are {', '.join(sorted(graders))}."
        )
    return graders[grader](problem, answer, steps)


def graders_of(settings: Settings) -> GradeFn:
    """`grade` with the user's own graders beside the built-in ones; raises WorkspaceError when one cannot load."""
    own = {
        name: _guarded(name, load_extension(settings, "graders", name)) for name in extension_names(settings, "graders")
    }
    return partial(grade, graders={**GRADERS, **own})


def _guarded(name: str, function: Callable) -> Grader:
    """A grader of the user's whose exceptions and odd results name the file and the problem."""
    file = function.__code__.co_filename if hasattr(function, "__code__") else name

    def graded(problem: Mapping, answer: str | None, steps: Sequence[str]) -> float | None:
        try:
            reward = function(problem, answer, list(steps))
        except Exception as error:  # capture point: the user's own code
            raise WorkspaceError(
                f"The grader `{name}` failed on problem {problem.get('problem_id')} with answer {answer!r}. "
                f"{explain(error, file)}"
            ) from error
        if reward is not None and reward not in (0.0, 1.0):
            raise WorkspaceError(
                f"The grader `{name}` in {file} gave {reward!r} for problem {problem.get('problem_id')}; "
                "1.0 (right), 0.0 (wrong) or None (cannot be decided) is allowed."
            )
        return None if reward is None else float(reward)

    return graded
