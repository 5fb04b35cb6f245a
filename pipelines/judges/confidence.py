"""A judge's probability against how people voted (Judging with Confidence, arXiv 2510.00263; from its abstract).

The paper trains a judge to say the share of a population that prefers the first answer, and rewards it by proper
scoring rules where only single votes are known. Here are the columns that such training, or doubt, needs. With p the
judge's probability and q the share of n votes for the first answer:

    squared_error = (p - q)^2
    brier_reward  = 1 - mean over votes v of (p - v)^2 = 1 - (p - q)^2 - q (1 - q)
    log_reward    = q ln p + (1 - q) ln(1 - p)
    calibrated    = sigma(a ln(p / (1 - p)) + b)

The last is ours and no training: a and b are fitted by logistic regression on the votes of the other four fifths of the
groups, with a penalty of PENALTY votes that holds them at a = 1, b = 0, so that with few votes p stays as it is.

Degenerate cases: p of 0 or 1 is taken as EDGE or 1 - EDGE in logarithms; a row without a probability has the reason
`no_probability`; without votes (or with more for the first than there were) `no_votes`, and a calibrated value only.
"""

import hashlib

import numpy as np
import pyarrow as pa
from pydantic import Field

from pipelines.config import Section
from pipelines.curation import Column, Curation
from pipelines.judges import logistic
from pipelines.judges.logistic import sigma

EDGE = 1e-6
PENALTY = 1.0


class ConfidenceParams(Section):
    """Parameters of `judging_with_confidence`."""

    num_folds: int = Field(5, ge=2, le=100, description="parts of the groups; each is calibrated on the others")


WRITES = pa.schema(
    [
        *((name, pa.float64()) for name in ("vote_share", "squared_error", "brier_reward", "log_reward", "calibrated")),
        ("reason", pa.string()),
    ]
)


def run(table: pa.Table, params: ConfidenceParams) -> pa.Table:
    """The columns of every judgment, by position."""
    p_N, first_N, votes_N = (table[name].to_numpy(zero_copy_only=False).astype(float) for name in NUMBERS)
    has_p_N = (p_N >= 0) & (p_N <= 1)
    has_votes_N = (votes_N > 0) & (first_N >= 0) & (first_N <= votes_N)
    share_N = np.divide(first_N, votes_N, out=np.full(len(p_N), np.nan), where=has_votes_N)
    p_N = np.where(has_p_N, p_N, np.nan)
    inner_N = np.clip(p_N, EDGE, 1 - EDGE)
    logit_N = np.log(inner_N / (1 - inner_N))
    folds_N = _folds(table["group_id"].to_pylist(), table["position"].to_pylist(), params.num_folds)
    calibrated_N = np.full(len(p_N), np.nan)
    for fold in range(params.num_folds):
        known_N = has_p_N & has_votes_N & (folds_N != fold)
        slope, shift = fitted(logit_N[known_N], share_N[known_N], votes_N[known_N])
        calibrated_N = np.where(folds_N == fold, sigma(slope * logit_N + shift), calibrated_N)
    error_N = (p_N - share_N) ** 2
    columns = [
        np.where(has_votes_N, share_N, np.nan),
        error_N,
        1 - error_N - share_N * (1 - share_N),
        share_N * np.log(inner_N) + (1 - share_N) * np.log(1 - inner_N),
        calibrated_N,
    ]
    reasons = np.where(~has_p_N, "no_probability", np.where(~has_votes_N, "no_votes", None))
    arrays = [pa.array(values, mask=np.isnan(values)) for values in columns]
    made = pa.table([table["position"], *arrays, pa.array(reasons, pa.string())], names=["position", *WRITES.names])
    return made.cast(pa.schema([("position", pa.int64()), *WRITES]))


NUMBERS = ("probability", "votes_first", "num_votes")


def fitted(logit_N: np.ndarray, share_N: np.ndarray, votes_N: np.ndarray) -> tuple[float, float]:
    """(a, b) of the most likely calibration."""
    features_N2 = np.stack([logit_N, np.ones(len(logit_N))], axis=1)
    slope, shift = logistic.fitted(features_N2, share_N, votes_N, np.array([1.0, 0.0]), PENALTY)
    return float(slope), float(shift)


def _folds(groups: list[str | None], positions: list[int], num_folds: int) -> np.ndarray:
    """A fold for every row, by a stable hash of its group; a row without one is a group of its own."""
    rows = zip(groups, positions, strict=True)
    names = [f"row {position}" if group is None else f"group {group}" for group, position in rows]
    fold_of = {name: int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) % num_folds for name in set(names)}
    return np.array([fold_of[name] for name in names], dtype=np.int64)


CURATION = Curation(
    params=ConfidenceParams,
    reads=(
        Column("probability", pa.float64(), "the judge's probability that the first is preferred; null: none"),
        Column("votes_first", pa.float64(), "votes for the first answer, a tie as half a vote; null: none known"),
        Column("num_votes", pa.float64(), "votes in all"),
        Column("group_id", pa.string(), "rows of one group are never calibrated by one another; null: its own", False),
    ),
    writes=WRITES,
    grain="rows",
    run=run,
)
