"""Stable splits by problem: which of train, validation and test a row belongs to.

A problem's place u in [0, 1) is a hash of its id and the seed; the shares, in the order given, cut [0, 1) into pieces.
So all rows of a problem, in every set, format and version, are on one side, and rows that are added later move nobody.
With other shares only problems between the old and the new cut change sides.
"""

import math
from collections.abc import Mapping

import pyarrow as pa

from pipelines.datasets.published import NAME
from pipelines.errors import FormatError
from pipelines.records import stable_digest


def place_of(problem_id: str, seed: int = 0) -> float:
    """u in [0, 1), the same in every process."""
    return int(stable_digest("dataset_split", seed, problem_id), 16) / 2**64


def split_of(problem_id: str, shares: Mapping[str, float], seed: int = 0) -> str:
    """The split whose piece of [0, 1) holds the problem's place; the last one where rounding leaves a gap."""
    place, end = place_of(problem_id, seed), 0.0
    for name, share in shares.items():
        end += share
        if place < end:
            return name
    return next(reversed(shares))


def rows_in_split(rows: pa.Table, split: str, shares: Mapping[str, float], seed: int = 0) -> pa.Table:
    """The rows of the problems of one split, in their order. FormatError where a row has no problem."""
    ids = rows["problem_id"].to_pylist()
    if None in ids:
        raise FormatError(f"Row {ids.index(None)} has no problem_id, so it belongs to no split by problem.")
    splits = {problem_id: split_of(problem_id, shares, seed) for problem_id in set(ids)}
    return rows.filter(pa.array([splits[problem_id] == split for problem_id in ids], pa.bool_()))


def checked_shares(shares: Mapping[str, float]) -> Mapping[str, float]:
    """Shares that are above 0 and add up to 1, of splits whose names can be names of files; FormatError says what is
    wrong with others.
    """
    for name, share in shares.items():
        if not NAME.fullmatch(name):
            raise FormatError(f"A split cannot be called {name!r}; take letters, digits, dot, dash and underscore.")
        if not (math.isfinite(share) and share > 0.0):
            raise FormatError(f"The share of {name} is {share:g}; it must be above 0.")
    if not math.isclose(sum(shares.values()), 1.0, abs_tol=1e-9):
        raise FormatError(
            f"The shares {', '.join(f'{name}={share:g}' for name, share in shares.items())} add up to"
            f" {sum(shares.values()):g}; they must add up to 1."
        )
    return shares
