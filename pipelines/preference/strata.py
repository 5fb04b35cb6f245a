"""Pairs within strata, as NAIPv2 (arXiv 2509.25179) compares papers of one field and year only.

Raters' scales differ between strata, so scores are compared within one. Every two answers of a stratum that are far
enough apart are a pair. NAIPv2's own signal (RTS) weighs reviews by the reviewers' confidence; here the score is given.
"""

from pydantic import Field

from pipelines.preference.mining import MinerParams, answer_columns, miner


class StrataParams(MinerParams):
    """Pairs within strata."""

    min_margin: float = Field(0.2, ge=0.0, le=1e6, description="smallest gap of scores")


STRATA = miner("stratified_pairs", "rollout", StrataParams, answer_columns("score", "stratum"), "within_strata")
