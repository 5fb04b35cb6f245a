"""Mixtures of several sets by weight, and of one set by difficulty.

Rows come without replacement, each source in a seeded order of its own, and the sources take turns in proportion to
their weights (smooth weighted round robin): before each draw every source that has rows gains its weight as credit, the
one with most credit (of several the first) gives a row and pays the sum of those weights. So after any number of draws
every open source has given within one row of its share, and weights 2 : 1 give A B A, A B A, ...

`stop_at` "first" ends when a source that has been emptied would have to go on: the shares stay exact. "all" goes on
with the rest, in the proportion of their weights. Which sources ran out, and after how many rows, is in the result.
A mixture holds its sources in memory.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from pipelines.errors import FormatError
from pipelines.records import stable_seed

StopAt = Literal["first", "all"]
PIECE_ROWS = 65_536


@dataclass(frozen=True)
class Source:
    """Rows that enter a mixture; `weight` is relative to the other sources', above 0."""

    name: str
    rows: pa.Table
    weight: float


@dataclass(frozen=True)
class Mixture:
    """What was drawn: places in the sources, laid end to end, in the order of the mixture."""

    sources: tuple[Source, ...]
    places: np.ndarray  # int64, one per row
    num_taken: Mapping[str, int]  # by source
    exhausted_at: Mapping[str, int]  # sources without a row left: rows of the mixture when that happened

    def pieces(self) -> Iterator[pa.Table]:
        """The rows, in tables of at most PIECE_ROWS rows."""
        rows = pa.concat_tables([source.rows for source in self.sources])
        for start in range(0, len(self.places), PIECE_ROWS):
            yield rows.take(pa.array(self.places[start : start + PIECE_ROWS]))


def mix(sources: Sequence[Source], num_rows: int | None = None, seed: int = 0, stop_at: StopAt = "first") -> Mixture:
    """Draws until `num_rows` are there (None: no limit) or the sources end; FormatError for what cannot be mixed."""
    _check(sources)
    orders = [
        np.random.default_rng(stable_seed("mixture", seed, source.name)).permutation(source.rows.num_rows)
        for source in sources
    ]
    starts = np.cumsum([0, *(source.rows.num_rows for source in sources)])
    turns, exhausted_at = _turns([len(order) for order in orders], [one.weight for one in sources], num_rows, stop_at)
    places = np.empty(len(turns), np.int64)
    for number, order in enumerate(orders):
        own = np.flatnonzero(turns == number)
        places[own] = starts[number] + order[: len(own)]
    names = [source.name for source in sources]
    taken = np.bincount(turns, minlength=len(names))
    return Mixture(
        tuple(sources), places, dict(zip(names, taken.tolist(), strict=True)),
        {names[number]: at for number, at in exhausted_at.items()},
    )  # fmt: skip


def by_difficulty(source: Source, difficulties: Mapping[str, int | None], weights: Mapping[int, float]) -> list[Source]:
    """The source in parts of one difficulty each, which share its weight in the proportion of `weights`.

    Difficulties without a weight, and problems whose difficulty is not known, are left out; a difficulty without rows
    leaves its share to the others. FormatError where nothing is left.
    """
    ids = source.rows["problem_id"].to_pylist()
    of_rows = np.array([difficulties.get(problem_id) for problem_id in ids], dtype=object)
    places = {difficulty: np.flatnonzero(of_rows == difficulty) for difficulty in weights}
    total = sum(weights[difficulty] for difficulty, own in places.items() if len(own))
    if total <= 0.0:
        there = sorted({str(one) for one in of_rows.tolist()})
        raise FormatError(
            f"{source.name} has no row of difficulty {', '.join(map(str, weights))}; it has {', '.join(there)}."
        )
    return [
        Source(f"{source.name}/difficulty {difficulty}", source.rows.take(pa.array(own)),
               source.weight * weights[difficulty] / total)
        for difficulty, own in places.items() if len(own)
    ]  # fmt: skip


def _check(sources: Sequence[Source]) -> None:
    if not sources:
        raise FormatError("A mixture needs at least one source.")
    names = [source.name for source in sources]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise FormatError(f"{repeated[0]} is named more than once; give it one weight.")
    for source in sources:
        if not (math.isfinite(source.weight) and source.weight > 0.0):
            raise FormatError(f"The weight of {source.name} is {source.weight:g}; it must be above 0.")
        if not source.rows.num_rows:
            raise FormatError(f"{source.name} has no rows to mix.")


def _turns(
    sizes: Sequence[int], weights: Sequence[float], num_rows: int | None, stop_at: StopAt
) -> tuple[np.ndarray, dict[int, int]]:
    """Which source gives each row, and after how many rows each emptied source ran out."""
    limit = sum(sizes) if num_rows is None else min(num_rows, sum(sizes))
    left, credit = list(sizes), [0.0] * len(sizes)
    open_sources = list(range(len(sizes)))
    turns: list[int] = []
    exhausted_at: dict[int, int] = {}
    while len(turns) < limit:
        total = sum(weights[number] for number in open_sources)
        for number in open_sources:
            credit[number] += weights[number]
        turn = max(open_sources, key=lambda number: credit[number])  # of equal ones the first
        if not left[turn]:
            break  # only with stop_at "first": elsewhere emptied sources are not open
        credit[turn] -= total
        left[turn] -= 1
        turns.append(turn)
        if not left[turn]:
            exhausted_at[turn] = len(turns)
            if stop_at == "all":
                open_sources.remove(turn)
    return np.array(turns, np.int64), exhausted_at
