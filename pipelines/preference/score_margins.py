"""Pairs by margins of a judge's scores, and how much of earlier iterations is used again (DNO, arXiv 2404.03715).

One judge call scores the samples of the policy and a teacher's answer side by side, on six points. A positive has 5 or
6; an answer two points lower is a negative of it, one point where the positive is the policy's own. Samples that repeat
themselves are negatives, whatever their score: the paper gives no threshold for "many repeated n-grams", so that
`max_repeated` and `num_ngram_words` are ours. Of the pairs of the iteration before 30 % are replayed, of the one before
that 15 %, and, as we continue it, half as many each time.
"""

import pyarrow as pa
from pydantic import Field

from pipelines.curation import DECISION
from pipelines.preference.mining import (
    ANSWER,
    MinerParams,
    PairParams,
    answer_columns,
    miner,
    pair_columns,
    pair_judge,
    reading_too,
)


class MarginParams(MinerParams):
    """Pairs by margins of scores."""

    min_positive: float = Field(5.0, ge=-1e6, le=1e6, description="score of a positive, at least")
    min_gap: float = Field(2.0, ge=0.0, le=1e6, description="how much lower a negative is")
    min_gap_of_student: float = Field(1.0, ge=0.0, le=1e6, description="the same where the positive is no teacher's")
    max_repeated: float = Field(0.5, ge=0.0, le=1.0, description="share of repeated n-grams above which it is negative")
    num_ngram_words: int = Field(4, ge=1, le=64, description="words of an n-gram")
    max_pairs_per_problem: int = Field(36, ge=1, description="all pairs of six answers")


class ReplayParams(PairParams):
    """Replay of earlier pairs."""

    replay_share: float = Field(0.3, ge=0.0, le=1.0, description="share of the iteration before, then half of it")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of the lot")


SCORE_MARGINS = reading_too(
    miner("dno_pairs", "rollout", MarginParams, answer_columns("score"), "score_margins"),
    "responses", ANSWER, "is_teacher",
)  # fmt: skip
REPLAY_SHARES = pair_judge(ReplayParams, pair_columns("iteration"), "replay_shares", pa.schema(list(DECISION)))
