"""Shares of a policy and differences between arms, with intervals: a bootstrap over problems, pooled over seeds.

Every measure is a ratio of sums over problems, such as right samples over samples. With n_sp and d_sp of problem p and
seed s

    share = mean over s of  sum_p n_sp / sum_p d_sp

and a resample draws problems, the same for all seeds, arms and nights, so that differences are paired and the
dependence of seeds on the same problem is kept. The interval is the 2.5th to the 97.5th percentile of the resamples.
Degenerate cases: a seed without a denominator (no right answer, of the flawed among them) is left out of the mean, and
a share is None where no seed is left.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Measured = Mapping[str, Sequence]  # the fields of a `Measurement`

MEASURES = {  # measure -> numerator and denominator, per problem
    "pass1": ("num_right", "num_samples"),
    "greedy": ("greedy", "one"),
    "pass_n": ("any_right", "one"),
    "flawed_steps": ("num_flawed", "num_steps"),
    "flawed_of_right": ("num_flawed_right", "num_right"),
}


@dataclass(frozen=True)
class Share:
    """A share or a difference of shares, with its 95 % interval."""

    value: float
    low: float
    high: float


def counts(measured: Measured, field: str) -> np.ndarray:
    """One number per problem; `one` is 1 and `any_right` whether any sample is right."""
    if field == "one":
        return np.ones(len(measured["problem_ids"]))
    if field == "any_right":
        return (np.asarray(measured["num_right"]) > 0).astype(float)
    return np.asarray(measured[field], dtype=float)


def resamples(num_problems: int, num_bootstrap: int, seed: int = 0) -> np.ndarray:
    """How often each problem is drawn, per resample; the first row is the sample itself."""
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(num_problems, [1 / num_problems] * num_problems, size=num_bootstrap)
    return np.vstack([np.ones(num_problems, dtype=drawn.dtype), drawn])


def shares(by_seed: Sequence[Measured], measure: str, families: frozenset[str], draws: np.ndarray) -> np.ndarray:
    """The share in every resample, NaN where no seed has a denominator; the first is that of the sample itself."""
    above, below = MEASURES[measure]
    of_seeds = []
    for measured in by_seed:
        chosen = np.array([family in families for family in measured["families"]], dtype=float)
        numerator, denominator = draws @ (counts(measured, above) * chosen), draws @ (counts(measured, below) * chosen)
        of_seeds.append(np.where(denominator > 0, numerator / np.maximum(denominator, 1e-12), np.nan))
    values = np.array(of_seeds)
    is_known = ~np.isnan(values)
    sums = np.where(is_known, values, 0.0).sum(axis=0)
    return np.where(is_known.any(axis=0), sums / np.maximum(is_known.sum(axis=0), 1), np.nan)


def interval(values: np.ndarray) -> Share | None:
    """The first value with the percentiles of the others; None where the first is not known."""
    if np.isnan(values[0]):
        return None
    low, high = np.nanquantile(values[1:], [0.025, 0.975])
    return Share(float(values[0]), float(low), float(high))
