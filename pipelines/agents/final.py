"""The final critique: what is left of several agents' units once flawed ones are deleted or mended.

The verdict and its first error come from the vote (aggregate.py). Per step that the vote calls wrong one unit is kept:
of the units at that step whose flaw the meta-critique takes for real, or of all where there is none at the first error,
the one whose suggestion has the most weight behind it (agents with an equal suggestion add up), then the more severe,
then the earlier agent by name. Every other unit is dropped with a reason.

The text has the form in which agents write theirs, so that whoever refines after one agent's critique refines after
this one too. Degenerate cases: a verdict `right` is a line "right" per step; without a conclusion there is none.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipelines.agents.aggregate import Aggregate, Vote, carries, wrong_shares
from pipelines.agents.meta import MetaCritique
from pipelines.agents.parse import RIGHT, WRONG
from pipelines.agents.units import Unit, line_of

VERDICT_RIGHT, NOT_WRONG_BY_VOTE, NOT_CONFIRMED, NOT_THE_BEST = (
    "verdict_right", "not_wrong_by_vote", "not_confirmed", "not_the_best",
)  # fmt: skip


@dataclass(frozen=True)
class JudgedUnit:
    """A unit, who wrote it, and what the meta-critique says of it."""

    agent: str
    weight: float
    unit: Unit
    meta: MetaCritique


@dataclass(frozen=True)
class FinalCritique:
    """The aggregate of several critiques."""

    text: str
    kept: tuple[JudgedUnit, ...]  # by step
    dropped: tuple[tuple[JudgedUnit, str], ...]  # each with its reason


def final_critique(
    conclusion: Aggregate, votes: Sequence[Vote], units: Sequence[JudgedUnit], num_steps: int, threshold: float
) -> FinalCritique:
    """Module docstring."""
    wrong = _wrong_steps(conclusion, votes, threshold)
    of_step: dict[int, list[JudgedUnit]] = defaultdict(list)
    for one in units:
        of_step[one.unit.step].append(one)
    kept: dict[int, JudgedUnit] = {}
    for step in wrong:
        real = [one for one in of_step[step] if one.meta.is_kept]
        choice = real or (of_step[step] if step == conclusion.first_error_step else [])
        if choice:
            kept[step] = _best(choice)
    dropped = tuple((one, _reason(one, conclusion, wrong, kept)) for one in units if kept.get(one.unit.step) is not one)
    lines = [_line(step, kept, step in wrong) for step in range(num_steps)]
    text = "\n".join([*lines, f"verdict {conclusion.first_error_step}", ""])
    return FinalCritique(text, tuple(kept[step] for step in sorted(kept)), dropped)


def _wrong_steps(conclusion: Aggregate, votes: Sequence[Vote], threshold: float) -> tuple[int, ...]:
    if conclusion.verdict == RIGHT:
        return ()
    shares = wrong_shares(votes)
    first = conclusion.first_error_step
    return tuple(
        step for step, share in enumerate(shares) if step == first or (step > first and carries(share, threshold))
    )


def _best(units: Sequence[JudgedUnit]) -> JudgedUnit:
    behind: dict[str | None, float] = defaultdict(float)
    for one in units:
        behind[_suggestion(one)] += one.weight
    return min(
        units,
        key=lambda one: (
            _suggestion(one) is None, -behind[_suggestion(one)], -(one.unit.severity or 0), one.agent,
        ),
    )  # fmt: skip


def _suggestion(one: JudgedUnit) -> str | None:
    return None if one.meta.category == "wrong_suggestion" else one.unit.suggestion


def _line(step: int, kept: dict[int, JudgedUnit], is_wrong: bool) -> str:
    if step not in kept:
        return f"{step} {WRONG if is_wrong else RIGHT}"
    return line_of(replace(kept[step].unit, suggestion=_suggestion(kept[step])))


def _reason(one: JudgedUnit, conclusion: Aggregate, wrong: Sequence[int], kept: dict[int, JudgedUnit]) -> str:
    if conclusion.verdict == RIGHT:
        return VERDICT_RIGHT
    if one.unit.step not in wrong:
        return NOT_WRONG_BY_VOTE
    return NOT_THE_BEST if one.meta.is_kept or one.unit.step not in kept else NOT_CONFIRMED
