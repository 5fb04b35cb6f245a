"""Pairs by the density ratio of two models (CDR, strong over weak, arXiv 2411.02481).

r(x, y) = log pi_strong(y | x) - log pi_weak(y | x), summed over the tokens of y; strong is the better aligned model,
weak its base, with one tokenizer. The best answer of a problem is paired with its worst one. The sum favours length
where the models differ on every token: look at the share of pairs whose chosen side is longer.
"""

from pipelines.preference.mining import MinerParams, answer_columns, miner


class DensityRatioParams(MinerParams):
    """Pairs by density ratio."""


DENSITY_RATIO = miner(
    "density_ratio_pairs", "rollout", DensityRatioParams, answer_columns("strong_logprob", "weak_logprob"), "extremes",
    before={"responses": "density_ratios"},
)  # fmt: skip
