"""How differently two critics spread their scores over the same steps."""

from collections.abc import Sequence

import numpy as np

NUM_BINS = 10
LEAST_COUNT = 0.5  # items that an empty bin is taken to hold, so that its logarithm is finite


def population_stability_index(
    reference: Sequence[float], scores: Sequence[float], num_bins: int = NUM_BINS
) -> float | None:
    """Sum over bins of (q - p) ln(q / p), at least 0; None where either has no items.

    p, q: share of `reference` and of `scores` in bins whose edges are the quantiles of `reference`; ties of the
    reference make fewer bins. 0 = spread alike; credit scoring, where the index is from, calls 0.1 a shift and 0.25 a
    large one (Siddiqi, Credit Risk Scorecards, 2006).
    """
    if len(reference) == 0 or len(scores) == 0:
        return None
    edges = np.unique(np.quantile(np.asarray(reference, dtype=float), np.arange(1, num_bins) / num_bins))
    p_B, q_B = _shares(reference, edges), _shares(scores, edges)
    return float(((q_B - p_B) * np.log(q_B / p_B)).sum())


def _shares(values: Sequence[float], edges: np.ndarray) -> np.ndarray:
    """Share of the values in each bin; an edge belongs to the bin above it."""
    bins_N = np.searchsorted(edges, np.asarray(values, dtype=float), "right")
    counts_B = np.bincount(bins_N, minlength=len(edges) + 1)
    return np.maximum(counts_B, LEAST_COUNT) / len(values)
