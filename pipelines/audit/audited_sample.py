"""An audited sample: people label a few rows that were drawn with known probabilities, and correct a judge's labels.

Design-based supervised learning (Egami and others, arXiv 2306.04746; from memory) rests on one thing only: the
probability with which a row was drawn is known. With R_i = row i was audited, pi_i its inclusion probability, g_i the
gold label and p_i the judge's prediction, every row gets

    y_i = p_i + (R_i / pi_i) * (g_i - p_i)                                  (doubly robust pseudo-label)

whose mean is unbiased for the mean gold label however wrong the judge is, and the more precise the better the judge is.
Horvitz and Thompson's estimate is the same with p_i = 0. Measures (accepted: p_i >= 0.5):

    right                  mean of g                    naive: mean of p
    judge_error            mean of [accepted != g]      naive: mean of min(p, 1 - p)
    right_among_accepted   sum of g over accepted / accepted rows       (what a filter by the judge yields)
    accepted_among_right   sum of g over accepted / sum of g            (a ratio, linearised)

The population is the table itself: with everything audited the intervals have no width. Within a stratum rows are drawn
without replacement, so with d = g - p (or what takes its place) the variance is

    sum over strata of  N_h^2 (1 - n_h / N_h) s_h^2 / n_h,

s_h^2 the sample variance of d. Where all audited d of a stratum agree (a judge that was never caught), s_h^2 would be 0
and the interval a point; then one row that differs by 1 is added to it, which errs on the safe side and is our choice.
Intervals: 95 %, normal, cut to [0, 1].
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from pipelines.config import Section
from pipelines.curation import Column, Curation
from pipelines.errors import ReasonmillError
from pipelines.warehouse import Warehouse

NORMAL_95 = 1.959963984540054
TOLERANCE = 1e-6


class SampleParams(Section):
    """Parameters of `audited_sample`."""

    num_samples: int = Field(200, ge=2, le=10_000_000, description="rows to be audited, about")
    num_bins: int = Field(4, ge=1, le=100, description="strata over the judge's label, of equal width")
    allocation: Literal["uncertainty", "proportional"] = Field(
        "uncertainty", description="rows per stratum: more where the judge is unsure, or by size alone"
    )
    seed: int = Field(0, ge=0, lt=2**31, description="seed of the lot")


class EstimateParams(Section):
    """`audited_estimate` has no parameters."""


SAMPLE_WRITES = pa.schema(
    [("stratum", pa.string()), ("inclusion_probability", pa.float64()), ("is_sampled", pa.bool_())]
)
ESTIMATE_WRITES = pa.schema(
    [
        ("measure", pa.string()),
        *((name, pa.float64()) for name in ("naive", "horvitz_thompson", "ht_low", "ht_high")),
        *((name, pa.float64()) for name in ("doubly_robust", "low", "high")),
        ("num_rows", pa.int64()),
        ("num_audited", pa.int64()),
    ]
)


@dataclass(frozen=True)
class Audit:
    """An audited table. Suffixes: N rows of the table."""

    stratum_N: np.ndarray  # numbers of strata
    inclusion_N: np.ndarray
    prediction_N: np.ndarray  # the judge's, [0, 1]; 0.5 where it said nothing
    gold_N: np.ndarray  # 0, 1, or NaN where not audited

    @property
    def is_audited_N(self) -> np.ndarray:
        return ~np.isnan(self.gold_N)

    @property
    def is_accepted_N(self) -> np.ndarray:
        return self.prediction_N >= 0.5


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float


def draw(table: pa.Table, params: SampleParams) -> pa.Table:
    """Stratum, inclusion probability and lot of every row, by position."""
    with Warehouse.over({"judge_labels": table}) as warehouse:
        rows = warehouse.named(
            "audit/audited_sample",
            num_samples=params.num_samples,
            num_bins=params.num_bins,
            by_uncertainty=params.allocation == "uncertainty",
            salt=f"audited_sample-{params.seed}",
        )
    return rows.cast(pa.schema([("position", pa.int64()), *SAMPLE_WRITES]))


def estimate(table: pa.Table, params: EstimateParams) -> pa.Table:
    """One row per measure; ReasonmillError where the audit does not fit its inclusion probabilities."""
    if table.num_rows == 0:
        return ESTIMATE_WRITES.empty_table()
    audit = audit_of(table)
    accepted_N = audit.is_accepted_N.astype(float)
    error_N = np.abs(accepted_N - audit.gold_N)  # NaN where not audited
    unsure_N = np.minimum(audit.prediction_N, 1 - audit.prediction_N)
    nothing_N, all_N = np.zeros(table.num_rows), np.ones(table.num_rows)
    cases = {
        "right": (audit.gold_N, audit.prediction_N, all_N),
        "judge_error": (error_N, unsure_N, all_N),
        "right_among_accepted": (audit.gold_N, audit.prediction_N, accepted_N),
    }
    rows = []
    for measure, (truth_N, guess_N, domain_N) in cases.items():
        if domain_N.any():
            plain, robust = (mean_in(audit, truth_N, one_N, domain_N) for one_N in (nothing_N, guess_N))
            rows.append(_row(audit, measure, float(guess_N[domain_N > 0].mean()), plain, robust))
    plain, robust = (share_accepted(audit, one_N) for one_N in (nothing_N, audit.prediction_N))
    total = audit.prediction_N.sum()
    naive = float((audit.prediction_N * accepted_N).sum() / total) if total > 0 else None
    rows.append(_row(audit, "accepted_among_right", naive, plain, robust))
    return pa.Table.from_pylist(rows, schema=ESTIMATE_WRITES)


def mean_in(audit: Audit, truth_N: np.ndarray, guess_N: np.ndarray, domain_N: np.ndarray) -> Estimate:
    """Mean of `truth` over the rows of a domain (1 inside, 0 outside), from guesses and the audited rows."""
    size = domain_N.sum()
    pseudo_N = pseudo_labels(audit, truth_N, guess_N)
    variance = variance_of_total(audit, (truth_N - guess_N) * domain_N / size, domain_N / size)
    return _interval(float((pseudo_N * domain_N).sum() / size), variance)


def share_accepted(audit: Audit, guess_N: np.ndarray) -> Estimate | None:
    """Accepted ones among the right ones, a ratio of two estimated totals; None where nothing is right."""
    pseudo_N = pseudo_labels(audit, audit.gold_N, guess_N)
    total = pseudo_N.sum()
    if total <= 0:
        return None
    ratio = float((pseudo_N * audit.is_accepted_N).sum() / total)
    weight_N = (audit.is_accepted_N - ratio) / total
    return _interval(ratio, variance_of_total(audit, (audit.gold_N - guess_N) * weight_N, np.abs(weight_N)))


def pseudo_labels(audit: Audit, truth_N: np.ndarray, guess_N: np.ndarray) -> np.ndarray:
    """guess + (audited / inclusion probability) * (truth - guess)."""
    correction_N = np.where(audit.is_audited_N, (truth_N - guess_N) / audit.inclusion_N, 0.0)
    return guess_N + correction_N


def variance_of_total(audit: Audit, difference_N: np.ndarray, unit_N: np.ndarray) -> float:
    """Variance of the estimated total of `difference`, which is NaN where a row was not audited.

    `unit`: how much one wrong label changes a row's difference; it stands in where a stratum shows none.
    """
    variance = 0.0
    for stratum in np.unique(audit.stratum_N):
        in_stratum_N = audit.stratum_N == stratum
        num = int(in_stratum_N.sum())
        seen = difference_N[in_stratum_N & audit.is_audited_N]
        if len(seen) == num:
            continue
        spread = seen.var(ddof=1) if len(seen) > 1 else 0.0
        if np.ptp(seen) <= TOLERANCE * max(unit_N[in_stratum_N].max(), 1e-300):
            spread = np.append(seen, seen[0] + unit_N[in_stratum_N].max()).var(ddof=1)
        variance += num**2 * (1 - len(seen) / num) * spread / len(seen)
    return variance


def audit_of(table: pa.Table) -> Audit:
    """The columns of an audited table as arrays; ReasonmillError where they contradict one another."""
    numbers = {name: table[name].to_numpy(zero_copy_only=False).astype(float) for name in NUMBERS}
    names = table["stratum"].to_pylist()
    judge_N, gold_N, inclusion_N = (numbers[name] for name in NUMBERS)
    if bad := [value for value in gold_N[~np.isnan(gold_N)].tolist() if value not in (0.0, 1.0)]:
        raise ReasonmillError(f"A gold_label is {bad[0]}; it must be 0, 1, or null where a row was not audited.")
    kinds = sorted(set(names), key=lambda name: (name is not None, name))
    number_of = {name: number for number, name in enumerate(kinds)}
    stratum_N = np.array([number_of[name] for name in names])
    for name, number in number_of.items():
        _check_stratum(name, inclusion_N[stratum_N == number], gold_N[stratum_N == number])
    prediction_N = np.where((judge_N >= 0) & (judge_N <= 1), judge_N, 0.5)
    return Audit(stratum_N, inclusion_N, prediction_N, gold_N)


NUMBERS = ("judge_label", "gold_label", "inclusion_probability")


def _check_stratum(name: str | None, inclusion_N: np.ndarray, gold_N: np.ndarray) -> None:
    num_audited = int((~np.isnan(gold_N)).sum())
    if num_audited == 0:
        raise ReasonmillError(f"Stratum {name} has {len(gold_N)} rows and no gold_label; nothing is known of it.")
    expected = num_audited / len(gold_N)
    if not np.allclose(inclusion_N, expected, rtol=0, atol=TOLERANCE):
        raise ReasonmillError(
            f"Stratum {name}: {num_audited} of {len(gold_N)} rows have a gold_label, which is {expected:.6g}, but their"
            f" inclusion_probability is {inclusion_N.min():.6g} to {inclusion_N.max():.6g}. Label every row that was"
            " drawn and no other, and leave in all rows that could have been drawn."
        )


def _interval(value: float, variance: float) -> Estimate:
    half = NORMAL_95 * float(np.sqrt(variance))
    return Estimate(value, max(value - half, 0.0), min(value + half, 1.0))


def _row(
    audit: Audit, measure: str, naive: float | None, plain: Estimate | None, robust: Estimate | None
) -> dict[str, str | float | int | None]:
    one, other = ((x.value, x.low, x.high) if x is not None else (None,) * 3 for x in (plain, robust))
    counts = (len(audit.gold_N), int(audit.is_audited_N.sum()))
    return dict(zip(ESTIMATE_WRITES.names, (measure, naive, *one, *other, *counts), strict=True))


SAMPLE_CURATION = Curation(
    params=SampleParams,
    reads=(
        Column("row_id", pa.string(), "id of the row, by which the lot is drawn"),
        Column("judge_label", pa.float64(), "the judge's label or probability of right, 0 to 1; null: it said nothing"),
    ),
    writes=SAMPLE_WRITES,
    grain="rows",
    run=draw,
)
ESTIMATE_CURATION = Curation(
    params=EstimateParams,
    reads=(
        Column("judge_label", pa.float64(), "the judge's label or probability of right, 0 to 1; null: it said nothing"),
        Column("gold_label", pa.float64(), "a person's label, 0 or 1; null: not audited"),
        Column("inclusion_probability", pa.float64(), "with which the row was drawn, as `audited_sample` wrote it"),
        Column("stratum", pa.string(), "stratum in which it was drawn, as `audited_sample` wrote it"),
    ),
    writes=ESTIMATE_WRITES,
    grain="table",
    run=estimate,
)
