"""Pairs by self-play win rates (SPO, arXiv 2401.04056).

The reward of an answer is its mean probability of beating the other answers to the same problem, by a preference
function that need not be transitive. SPO trains on these rewards by policy gradient; here the answer with the highest
win rate is paired with the one with the lowest.
"""

from pipelines.preference.mining import MinerParams, columns, miner

COMPARISON = {
    "problem_id": "the problem",
    "prompt": "what was asked; null: nothing stands before the answers",
    "first_id": "one answer",
    "second_id": "the other one",
    "first": "text of the one",
    "second": "text of the other",
    "preference": "probability that the first is the better one, from 0 to 1",
    "first_policy": "who wrote the first; null: not known",
    "second_policy": "who wrote the second; null: not known",
}


class WinRateParams(MinerParams):
    """Pairs by win rates."""


REQUIRED = ("problem_id", "first_id", "second_id", "first", "second", "preference")
WIN_RATES = miner(
    "spo_pairs", "rollout", WinRateParams, columns("comparisons", COMPARISON, REQUIRED), "extremes", "comparisons",
    {"responses": "win_rates"},
)  # fmt: skip
