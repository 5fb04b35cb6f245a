"""TrustJudge's distribution-sensitive score: a judge's grade from the distribution of its score token.

The judge ends with `Score: [X]`; X must be one token, and its top-k distribution is a distribution over grades:

    S = sum_s s * w_s,   w = softmax(l / T),   l_s = ln(p_s / (1 - p_s)),   T = 0.2

so w_s is proportional to (p_s / (1 - p_s))^5. Beside it stand the two scores it replaces: the likeliest grade, and
G-Eval's sum_s s * p_s, which is not normalised. Tokens that differ only in a leading space add up ("5" and " 5").

Degenerate cases: p = 1 is where l is infinite; the published code drops such a label, so that a fully confident grade
is ignored and 0.0 remains. Here the limit is taken: all weight is on that grade, and `is_certain` says so. p = 0 has
weight 0, which is its limit too. A grade that the tokenizer splits has no distribution: the row has a reason, no score.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
from pydantic import Field, model_validator

from pipelines.config import Section
from pipelines.curation import Column, Curation

MAX_DISTANCE = 6  # tokens between the brackets are looked for no further
WHOLE_NUMBER = re.compile(r"[0-9]+")
SPACE_MARKS = "Ġ▁ \t\n"  # how tokenizers write a leading space

TOKENS = pa.list_(pa.string())


class ScoreParams(Section):
    """Parameters of `trustjudge_scores`; the defaults are the paper's for its 100-point prompt."""

    temperature: float = Field(0.2, gt=0.0, le=100.0, description="T of the softmax over log-odds")
    min_score: int = Field(1, ge=0, description="lowest grade of the prompt; other numbers are no grade")
    max_score: int = Field(100, ge=1, description="highest grade of the prompt")

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> "ScoreParams":
        if self.min_score >= self.max_score:
            raise ValueError(f"min_score {self.min_score} must be below max_score {self.max_score}")
        return self


@dataclass(frozen=True)
class Graded:
    """One judgment's scores; all None where `reason` says why there is none."""

    score: float | None = None
    mean_score: float | None = None  # G-Eval: sum of s * p over the grades, not normalised
    top_score: float | None = None  # the likeliest grade, of equals the lower
    is_certain: bool | None = None  # one grade has probability 1
    reason: str | None = None  # no_score | score_split | score_not_alone | no_distribution | no_grade


def score_token(tokens: Sequence[str]) -> tuple[int | None, str | None]:
    """(index of the one token between the last `[` and its `]`, why there is none)."""
    for opening in range(len(tokens) - 1, -1, -1):
        if "[" not in tokens[opening]:
            continue
        if re.search(r"\[\s*[0-9]", tokens[opening]):
            return None, "score_not_alone"
        end = min(opening + 2 + MAX_DISTANCE, len(tokens))
        closing = next((i for i in range(opening + 1, end) if "]" in tokens[i]), None)
        if closing is None:
            continue
        inner = [i for i in range(opening + 1, closing) if tokens[i].strip(SPACE_MARKS)]
        if WHOLE_NUMBER.match(tokens[closing].strip(SPACE_MARKS)):
            return None, "score_split" if inner else "score_not_alone"
        if len(inner) == 1:
            return inner[0], None
        return None, "score_split" if inner else "no_score"
    return None, "no_score"


def grades(top_tokens: Sequence[str], top_logprobs: Sequence[float], lowest: int, highest: int) -> dict[int, float]:
    """grade -> ln p of the tokens that are whole numbers within the range; ln p is at most 0."""
    found: dict[int, float] = {}
    for token, logprob in zip(top_tokens, top_logprobs, strict=True):
        label = token.strip(SPACE_MARKS)
        if WHOLE_NUMBER.fullmatch(label) and lowest <= int(label) <= highest and not math.isnan(logprob):
            grade = int(label)
            both = math.exp(found[grade]) + math.exp(logprob) if grade in found else None
            found[grade] = min(logprob, 0.0) if both is None else math.log(both) if 0.0 < both < 1.0 else _edge(both)
    return found


def _edge(probability: float) -> float:
    return 0.0 if probability >= 1.0 else -math.inf


def graded(distribution: Mapping[int, float], temperature: float) -> Graded:
    """The scores of a distribution grade -> ln p (module docstring)."""
    known = {grade: logprob for grade, logprob in distribution.items() if logprob > -math.inf}
    if not known:
        return Graded(reason="no_grade")
    certain = [grade for grade, logprob in known.items() if logprob >= 0.0]
    mean = math.fsum(grade * math.exp(logprob) for grade, logprob in known.items())
    top = float(min(known, key=lambda grade: (-known[grade], grade)))
    if certain:
        return Graded(math.fsum(certain) / len(certain), mean, top, True)
    odds = {grade: (logprob - math.log(-math.expm1(logprob))) / temperature for grade, logprob in known.items()}
    highest = max(odds.values())
    weights = {grade: math.exp(one - highest) for grade, one in odds.items()}
    score = math.fsum(grade * weight for grade, weight in weights.items()) / math.fsum(weights.values())
    return Graded(score, mean, top, False)


def judged(
    tokens: Sequence[str] | None,
    top_tokens: Sequence[Sequence[str]] | None,
    top_logprobs: Sequence[Sequence[float]] | None,
    params: ScoreParams,
) -> Graded:
    """One judgment of a judge."""
    if not tokens:
        return Graded(reason="no_score")
    index, reason = score_token(tokens)
    if index is None:
        return Graded(reason=reason)
    if not top_tokens or not top_logprobs or len(top_tokens) <= index or len(top_logprobs) <= index:
        return Graded(reason="no_distribution")
    there, logprobs = top_tokens[index], top_logprobs[index]
    if not there or logprobs is None or len(there) != len(logprobs) or None in there or None in logprobs:
        return Graded(reason="no_distribution")
    return graded(grades(there, logprobs, params.min_score, params.max_score), params.temperature)


WRITES = pa.schema(
    [
        ("score", pa.float64()),
        ("mean_score", pa.float64()),
        ("top_score", pa.float64()),
        ("is_certain", pa.bool_()),
        ("reason", pa.string()),
    ]
)


def run(table: pa.Table, params: ScoreParams) -> pa.Table:
    """Scores of every judgment, by position."""
    columns = (table[name].to_pylist() for name in ("position", "tokens", "top_tokens", "top_logprobs"))
    rows = [(position, judged(*one, params)) for position, *one in zip(*columns, strict=True)]
    arrays = [pa.array([getattr(one, field.name) for _, one in rows], field.type) for field in WRITES]
    positions = pa.array([position for position, _ in rows], pa.int64())
    return pa.table([positions, *arrays], names=["position", *WRITES.names])


CURATION = Curation(
    params=ScoreParams,
    reads=(
        Column("tokens", TOKENS, "tokens of the judge's answer, which ends in `Score: [X]`; null: no answer"),
        Column("top_tokens", pa.list_(TOKENS), "likeliest tokens at every token of the answer; null: not asked for"),
        Column("top_logprobs", pa.list_(pa.list_(pa.float64())), "their natural log-probabilities, at most 0"),
    ),
    writes=WRITES,
    grain="rows",
    run=run,
)
