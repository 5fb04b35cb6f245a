"""rollouts -> token_scores: what a model says of every completion token of existing rollouts.

Any model may score: tonight's policy, last night's, a reference, a teacher. The prompt is context and has no scores.
Given tokens of a completion, such as retrieved documents, are scored like the others.
Density ratios between two models are differences of their rows (sql/reports/density_ratio.sql), entropies show where a
model hesitates (sql/reports/token_entropy.sql), and self-certainties rank samples (pipelines/votes.py).

Invariants: one row per selected rollout, also where it could not be scored; nothing is asked twice, for scores are
kept in the response store by model, tokens and what was asked; a model is never asked about tokens that it reads as
another text, which would give numbers without a meaning.
"""

import math
import time
from collections.abc import Sequence
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.config import TokenScoresConfig
from pipelines.inference.errors import RequestError
from pipelines.inference.tokens import TextCodec
from pipelines.inference.types import ScoreFn, ScoreRequest, TokenScores
from pipelines.problem_rows import is_engines
from pipelines.reasoning.assembly import describe_error
from pipelines.records import ProgressFn, no_progress, stable_digest
from pipelines.rollouts import check_error_rate
from pipelines.rows import rows_to_table
from pipelines.search.flight import run_in_flight

STAGE = "token_scores"
ROLLOUTS_IN_FLIGHT = 256  # the session bounds the requests; this bounds the memory of waiting rollouts
COLUMNS = ["rollout_id", "steps", "prompt_token_ids", "completion_token_ids", "policy_version"]

Row = dict[str, object]


class ScoringSession(Protocol):
    """What this pipeline needs of a session."""

    score: ScoreFn
    tokenizer: TextCodec
    model_id: str
    model_digest: str


class OtherTokensError(RequestError):
    """The model's tokenizer reads a rollout's tokens as another text than the rollout's steps."""


async def score_rollouts(
    rollouts: pa.Table,
    session: ScoringSession,
    config: TokenScoresConfig,
    *,
    night: str,
    max_error_fraction: float = 0.02,
    on_progress: ProgressFn = no_progress,
) -> pa.Table:
    """One row of `token_scores` per selected rollout, in the order of the selection.

    A rollout that cannot be scored is a row with `error`. Raises ErrorRateError when more than `max_error_fraction` of
    them failed for another reason than their length.
    """
    chosen = select_rollouts(rollouts, config.num_rollouts)
    rows: list[Row] = []
    num_tokens = num_failed = num_done = 0
    started = time.monotonic()

    async def work(rollout: Row) -> Row:
        nonlocal num_tokens, num_failed, num_done
        row = {"rollout_id": rollout["rollout_id"], "model_id": session.model_id, "night": night}
        row["model_digest"] = session.model_digest
        try:
            row |= await scored(rollout, session)
            num_tokens += row["num_tokens"]
        except RequestError as error:
            row["error"] = describe_error(error)
            num_failed += is_engines(error)
        num_done += 1
        rate = num_tokens / max(time.monotonic() - started, 1e-9)
        on_progress(STAGE, num_done, len(chosen), {"tokens_per_s": rate, "num_errors": float(num_failed)})
        return row

    await run_in_flight(work, chosen, ROLLOUTS_IN_FLIGHT, rows.append)
    check_error_rate(num_failed, len(chosen), max_error_fraction, STAGE)
    return rows_to_table("token_scores", rows)


def select_rollouts(rollouts: pa.Table, num_rollouts: int) -> list[Row]:
    """At most `num_rollouts` finished rollouts with tokens, of trees and samples alike.

    Which ones is decided by a hash of the rollout id: the same for every model, and spread over problems.
    """
    has_tokens = [
        pc.greater(pc.fill_null(pc.list_value_length(rollouts[name]), 0), 0)
        for name in ("prompt_token_ids", "completion_token_ids")
    ]
    finished = rollouts.select(COLUMNS).filter(pc.and_(pc.is_null(rollouts["error"]), pc.and_(*has_tokens)))
    ids = finished["rollout_id"].to_pylist()
    drawn = sorted(range(len(ids)), key=lambda index: (stable_digest(STAGE, ids[index]), ids[index]))[:num_rollouts]
    return finished.take(pa.array(drawn, pa.int64())).to_pylist()


async def scored(rollout: Row, session: ScoringSession) -> Row:
    """The scores of one rollout's completion as columns of `token_scores`. Raises RequestError subclasses."""
    prompt, completion = rollout["prompt_token_ids"], rollout["completion_token_ids"]
    steps = rollout["steps"] or []
    if rollout["policy_version"] != session.model_digest and not reads_as(session.tokenizer, completion, steps):
        raise OtherTokensError(
            f"The model {session.model_id} reads the tokens of the rollout {rollout['rollout_id']} as another text: "
            "its tokenizer is not that of the model that wrote them. Score with models of one tokenizer."
        )
    scores = await session.score(ScoreRequest((*prompt, *completion)))
    return completion_columns(scores, len(prompt)) | {"step_ends": step_ends(session.tokenizer, completion, steps)}


def completion_columns(scores: TokenScores, num_prompt_tokens: int) -> Row:
    """Scores after the prompt: lists, sum and number, and the mean self-certainty where it is known."""
    logprobs, entropies, certainties = (
        None if values is None else list(values[num_prompt_tokens:])
        for values in (scores.token_logprobs, scores.token_entropies, scores.token_certainties)
    )
    return {
        "token_logprobs": logprobs,
        "token_entropies": entropies,
        "sum_logprob": math.fsum(logprobs),
        "num_tokens": len(logprobs),
        "self_certainty": None if certainties is None else math.fsum(certainties) / len(certainties),
    }


def reads_as(tokenizer: TextCodec, token_ids: Sequence[int], steps: Sequence[str]) -> bool:
    """Whether the tokens' text contains the steps in their order, white space aside."""
    return "".join("".join(steps).split()) in "".join(tokenizer.decode(token_ids).split())


def step_ends(tokenizer: TextCodec, token_ids: Sequence[int], steps: Sequence[str]) -> list[int] | None:
    """For each step the number of completion tokens up to its end, its separator and end token included.

    None where the tokens, read one by one, are not the steps (characters of several tokens, a step that was cut).
    """
    pieces = [tokenizer.decode([token_id]) for token_id in token_ids]
    ends: list[int] = []
    at, text = 0, ""
    for step in steps:
        while step not in text and at < len(pieces):
            text, at = text + pieces[at], at + 1
        if step not in text:
            return None
        text = text.partition(step)[2]  # of a token that ends one step and begins the next
        while at < len(pieces) and not pieces[at].strip():
            at += 1
        ends.append(at)
    return ends
