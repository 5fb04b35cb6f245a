"""Length-controlled win rates (AlpacaEval 2 LC, arXiv 2404.04475): what a judge would prefer if lengths were equal.

For two policies A and B, with d = characters of A's answer - characters of B's, one logistic regression without
intercept of the preference for A on a constant, on tanh(d / sd(d)), and on the problem's difficulty where it is known:

    logit P(A is better) = theta + phi * tanh(d / sd(d)) + psi * difficulty

The raw rate is the mean preference, the controlled one the mean of sigma(theta + psi * difficulty): the length's term
is left out. Preferences are probabilities (0, 1, 0.5 for a tie, or anything between). AlpacaEval chooses its penalty
by cross-validation; here `ridge` is a fixed, small one that bounds the coefficients where one side always wins. A
column that never varies is left out, so without any difference of length both rates agree (but for the penalty).
"""

from collections import defaultdict

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, Field

from pipelines.curation import Column, Curation
from pipelines.preference.mining import PairParams, columns
from pipelines.preference.win_rates import COMPARISON

MAX_STEPS = 100
TOLERANCE = 1e-10
WRITES = pa.schema([
    ("first_policy", pa.string()), ("second_policy", pa.string()), ("num_comparisons", pa.int64()),
    ("win_rate", pa.float64()), ("controlled_rate", pa.float64()), ("length_effect", pa.float64()),
    ("first_longer_share", pa.float64()),
])  # fmt: skip


class LengthControlParams(PairParams):
    """Length-controlled win rates."""

    ridge: float = Field(1e-3, gt=0.0, le=1000.0, description="L2 penalty of the regression's coefficients")


def fit_logistic(features_NK: np.ndarray, targets_N: np.ndarray, ridge: float) -> np.ndarray:
    """Coefficients that minimise the log loss of soft targets + ridge / 2 * |w|^2, by Newton's method."""
    weights_K = np.zeros(features_NK.shape[1])
    for _ in range(MAX_STEPS):
        chances_N = _sigmoid(features_NK @ weights_K)
        slope_K = features_NK.T @ (chances_N - targets_N) + ridge * weights_K
        curvature_N = chances_N * (1 - chances_N)
        hessian_KK = (features_NK * curvature_N[:, None]).T @ features_NK + ridge * np.eye(len(weights_K))
        step_K = np.linalg.solve(hessian_KK, slope_K)
        weights_K = weights_K - step_K / max(1.0, np.abs(step_K).max())  # at most 1 at a time: far out it overshoots
        if np.abs(step_K).max() < TOLERANCE:
            break
    return weights_K


def length_controlled(
    first_chars_N: np.ndarray, second_chars_N: np.ndarray, preferences_N: np.ndarray, difficulties_N: np.ndarray,
    ridge: float,
) -> tuple[float, float]:  # fmt: skip
    """The controlled rate of the first, and phi: how much its length moves the judge, in logits."""
    gaps_N = first_chars_N - second_chars_N
    lengths_N = np.tanh(gaps_N / gaps_N.std()) if gaps_N.std() > 0 else np.zeros(len(gaps_N))
    known_N = np.where(np.isfinite(difficulties_N), difficulties_N, 0.0)
    kinds_N = known_N if known_N.std() > 0 else np.zeros(len(gaps_N))
    theta, phi, psi = fit_logistic(np.stack([np.ones(len(gaps_N)), lengths_N, kinds_N], axis=1), preferences_N, ridge)
    return float(_sigmoid(theta + psi * kinds_N).mean()), float(phi)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(logits, -500, 500)))


def _run(table: pa.Table, params: BaseModel) -> pa.Table:
    """One row per two policies, by their names; a comparison without texts, policies or a number is left out."""
    groups: dict[tuple[str, str], list[tuple[int, int, float, float]]] = defaultdict(list)
    names = ("first_policy", "second_policy", "first", "second", "preference", "difficulty")
    for one, two, first, second, preference, difficulty in zip(*(table[n].to_pylist() for n in names), strict=True):
        if one is None or two is None or preference is None or not 0 <= preference <= 1:
            continue
        unknown = np.nan if difficulty is None else difficulty
        groups[one, two].append((len(first), len(second), preference, unknown))
    rows = []
    for (one, two), compared in sorted(groups.items()):
        first, second, preferences, difficulties = np.array(compared, dtype=float).T
        rate, effect = length_controlled(first, second, preferences, difficulties, params.ridge)
        rows.append({
            "first_policy": one, "second_policy": two, "num_comparisons": len(compared),
            "win_rate": float(preferences.mean()), "controlled_rate": rate, "length_effect": effect,
            "first_longer_share": float((first > second).mean()),
        })  # fmt: skip
    return pa.Table.from_pylist(rows, schema=WRITES)


REQUIRED = ("first", "second", "preference", "first_policy", "second_policy")
LENGTH_CONTROL = Curation(
    params=LengthControlParams,
    reads=(
        *columns("comparisons", {name: COMPARISON[name] for name in REQUIRED}, REQUIRED),
        Column("difficulty", pa.float64(), "how hard the problem is; null: not known", False),
    ),
    writes=WRITES,
    grain="table",
    run=_run,
)
