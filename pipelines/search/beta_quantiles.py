"""What a few graded completions say of a step's success rate: quantiles of a Beta posterior.

With a uniform prior, S right of N completions leave the rate with the distribution Beta(S + 1, N - S + 1): mean
(S + 1) / (N + 2), wide for few completions, narrow for many. Its quantiles at the midpoints tau_i = (2i - 1) / 2n are
the targets of a quantile critic (QR-DQN, arXiv 1710.10044), which then learns how sure the tree was and not its mean
alone. For whole numbers the posterior's distribution function is a binomial tail, so no special functions are needed:

    P(rate <= x) = P(Binomial(N + 1, x) >= S + 1)
"""

import math

import numpy as np

BISECTIONS = 45  # halves [0, 1] down to 3e-14


def midpoints(num_quantiles: int) -> np.ndarray:
    """tau_i = (2i - 1) / 2n for i = 1..n, rising, inside (0, 1)."""
    return (2 * np.arange(1, num_quantiles + 1) - 1) / (2 * num_quantiles)


def posterior_mean(num_right: int, num_completions: int) -> float:
    """(S + 1) / (N + 2), in (0, 1)."""
    return (num_right + 1) / (num_completions + 2)


def beta_quantiles(num_right: int, num_completions: int, num_quantiles: int) -> tuple[float, ...]:
    """Quantiles of Beta(S + 1, N - S + 1) at the midpoints, strictly rising, inside (0, 1).

    Raises ValueError unless 0 <= num_right <= num_completions.
    """
    if not 0 <= num_right <= num_completions:
        raise ValueError(f"{num_right} right of {num_completions} completions: no such counts")
    levels, log_binomials = midpoints(num_quantiles), _log_binomials(num_right, num_completions)
    hits = np.arange(num_right + 1, num_completions + 2)
    misses = num_completions + 1 - hits
    low, high = np.zeros(num_quantiles), np.ones(num_quantiles)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        log_terms = log_binomials + np.outer(np.log(middle), hits) + np.outer(np.log1p(-middle), misses)
        is_below = np.exp(log_terms).sum(axis=1) < levels
        low, high = np.where(is_below, middle, low), np.where(is_below, high, middle)
    return tuple(round(float(x), 12) for x in (low + high) / 2)


def _log_binomials(num_right: int, num_completions: int) -> np.ndarray:
    """log C(N + 1, j) for j = S + 1 .. N + 1."""
    tries = num_completions + 1
    tails = [math.lgamma(hits + 1) + math.lgamma(tries - hits + 1) for hits in range(num_right + 1, tries + 1)]
    return math.lgamma(tries + 1) - np.array(tails)
