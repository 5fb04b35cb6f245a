"""Length-controlled win rate (AlpacaEval 2 LC): what a judge would say if both answers were equally long.

    logit P(first preferred) = theta + phi * tanh(d / sd(d)) + psi * difficulty,    d = characters first - second
    LC win rate = mean over rows of sigma(theta + psi * difficulty)

per model whose answers come first. Preferences are graded (0 to 1), so the likelihood is that of a Bernoulli with
fractional labels. AlpacaEval chooses its L2 penalty by cross-validation and weighs rows of gamed baselines down; here a
small fixed penalty on (theta, phi, psi) only keeps the fit finite, and no row is weighed. sd is the sample's, over the
rows of the model. The interval is a percentile bootstrap over rows.

Degenerate cases: equal lengths everywhere make the length term 0; a row without a preference or a length has no part; a
model with fewer than MIN_ROWS rows has no controlled rate but a reason.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pydantic import Field

from pipelines.config import Section
from pipelines.curation import Column, Curation
from pipelines.judges import logistic
from pipelines.judges.logistic import sigma

MIN_ROWS = 10
FAR = 0.1  # AlpacaEval warns where the controlled rate is farther from the raw one


class LengthParams(Section):
    """Parameters of `length_control`."""

    penalty: float = Field(0.01, gt=0.0, le=100.0, description="L2 penalty on the coefficients, for the sum over rows")
    num_resamples: int = Field(200, ge=0, le=10_000, description="bootstrap resamples of the interval; 0: no interval")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of the bootstrap")


@dataclass(frozen=True)
class Fit:
    """Coefficients and the rate that they give."""

    theta: float
    phi: float
    psi: float
    rate: float


WRITES = pa.schema(
    [
        ("model", pa.string()),
        ("num_rows", pa.int64()),
        ("num_left_out", pa.int64()),
        *((name, pa.float64()) for name in ("win_rate", "lc_win_rate", "low", "high", "theta", "phi", "psi")),
        ("mean_length_gap", pa.float64()),
        ("is_far", pa.bool_()),
        ("reason", pa.string()),
    ]
)


def fitted(preference_N: np.ndarray, gap_N: np.ndarray, difficulty_N: np.ndarray, penalty: float) -> Fit:
    """The coefficients, and the rate at equal lengths."""
    spread = gap_N.std(ddof=1) if len(gap_N) > 1 else 0.0
    length_N = np.tanh(gap_N / spread) if spread > 0 else np.zeros(len(gap_N))
    features_N3 = np.stack([np.ones(len(gap_N)), length_N, difficulty_N], axis=1)
    weights_3 = logistic.fitted(features_N3, preference_N, np.ones(len(gap_N)), np.zeros(3), penalty)
    theta, phi, psi = weights_3.tolist()
    return Fit(theta, phi, psi, float(sigma(theta + psi * difficulty_N).mean()))


def run(table: pa.Table, params: LengthParams) -> pa.Table:
    """One row per model, by name."""
    columns = {name: table[name].to_numpy(zero_copy_only=False).astype(float) for name in NUMBERS}
    models = table["model"].to_pylist()
    rows = []
    for model in sorted(set(models), key=lambda name: (name is not None, name)):
        chosen = np.array([one == model for one in models])
        rows.append({"model": model} | _row(*(columns[name][chosen] for name in NUMBERS), params))
    return pa.Table.from_pylist(rows, schema=WRITES)


NUMBERS = ("preference", "num_chars_first", "num_chars_second", "difficulty")


def _row(
    preference_N: np.ndarray, first_N: np.ndarray, second_N: np.ndarray, difficulty_N: np.ndarray, params: LengthParams
) -> dict[str, float | int | bool | str | None]:
    gap_N = first_N - second_N
    is_usable_N = (preference_N >= 0) & (preference_N <= 1) & np.isfinite(gap_N)
    difficulty_N = np.nan_to_num(difficulty_N[is_usable_N], nan=0.0, posinf=0.0, neginf=0.0)
    preference_N, gap_N = preference_N[is_usable_N], gap_N[is_usable_N]
    counts = {"num_rows": len(gap_N), "num_left_out": int((~is_usable_N).sum())}
    if len(gap_N) < MIN_ROWS:
        rate = float(preference_N.mean()) if len(gap_N) else None
        return counts | {"win_rate": rate, "reason": "too_few_rows"}
    fit = fitted(preference_N, gap_N, difficulty_N, params.penalty)
    rng = np.random.default_rng(params.seed)
    draws = rng.integers(0, len(gap_N), (params.num_resamples, len(gap_N)))
    rates = [fitted(preference_N[d], gap_N[d], difficulty_N[d], params.penalty).rate for d in draws]
    low, high = np.percentile(rates, [2.5, 97.5]).tolist() if rates else (None, None)
    win_rate = float(preference_N.mean())
    return counts | {
        "win_rate": win_rate, "lc_win_rate": fit.rate, "low": low, "high": high, "theta": fit.theta, "phi": fit.phi,
        "psi": fit.psi, "mean_length_gap": float(gap_N.mean()), "is_far": abs(fit.rate - win_rate) > FAR,
    }  # fmt: skip


CURATION = Curation(
    params=LengthParams,
    reads=(
        Column("model", pa.string(), "whose answer comes first; null: there is one model", False),
        Column("preference", pa.float64(), "how far the first is preferred, 0 to 1, 0.5 for a tie; null: not judged"),
        Column("num_chars_first", pa.int64(), "length of the first answer in characters"),
        Column("num_chars_second", pa.int64(), "length of the second answer in characters"),
        Column("difficulty", pa.float64(), "of the instruction, on the scale of log-odds, centred; null: 0", False),
    ),
    writes=WRITES,
    grain="table",
    run=run,
)
