"""Logistic regression with graded labels and a penalty: Newton's method with halved steps, which always arrives.

    maximise  sum_i w_i (y_i eta_i - ln(1 + e^eta_i)) - penalty / 2 * |beta - origin|^2,      eta = X beta

The function is strictly concave for penalty > 0, so it has exactly one maximum, also where the data are separable, and
with no row at all, where it is the origin.
"""

import numpy as np

MAX_STEPS = 200
MAX_HALVINGS = 60
PRECISION = 1e-10


def fitted(
    features_NF: np.ndarray, labels_N: np.ndarray, weights_N: np.ndarray, origin_F: np.ndarray, penalty: float
) -> np.ndarray:
    """The coefficients; labels in [0, 1], weights at least 0, penalty above 0."""

    def worth(beta_F: np.ndarray) -> float:
        eta_N = features_NF @ beta_F
        gap_F = beta_F - origin_F
        return float((weights_N * (labels_N * eta_N - np.logaddexp(0.0, eta_N))).sum() - penalty / 2 * gap_F @ gap_F)

    beta_F = np.asarray(origin_F, dtype=float)
    best = worth(beta_F)
    for _ in range(MAX_STEPS):
        expected_N = sigma(features_NF @ beta_F)
        gradient_F = features_NF.T @ (weights_N * (labels_N - expected_N)) - penalty * (beta_F - origin_F)
        curvature_FF = (features_NF * (weights_N * expected_N * (1 - expected_N))[:, None]).T @ features_NF
        step_F = np.linalg.solve(curvature_FF + penalty * np.eye(len(beta_F)), gradient_F)
        for _ in range(MAX_HALVINGS):
            if worth(beta_F + step_F) >= best:
                break
            step_F = step_F / 2
        else:
            break  # no step of any size helps: this is the maximum, as far as floating point can tell
        beta_F = beta_F + step_F
        best = worth(beta_F)
        if np.abs(step_F).max() < PRECISION:
            break
    return beta_F


def sigma(values: np.ndarray) -> np.ndarray:
    """The logistic function, without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * values))
