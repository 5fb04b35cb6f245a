"""problems, rollouts -> step_scores: the policy's own verdict on every step, before any critic is trained.

Self-PRM (arXiv 2505.11227): a model judges the steps of its own solutions and ranks them by that. There the verdicts
are generated; here they are read in place, where the initial critic reads them too (critics/model.py): after each step
of the solution, which follows the `verify` prompt, the policy is asked for the log-probabilities of two verdict tokens,

    p_k = P(right | prompt, steps 1..k) / (P(right | ...) + P(wrong | ...))

so that the verdict of a step depends on the steps up to it and not on what follows. It is made for policies that were
taught both tokens in that place, as the starter was; other tokens can be named, and each must be one token.

Cost: two prompts per step, read without the prefix cache. Equal beginnings of samples are asked for once.
"""

import asyncio
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import ConfigError
from pipelines.inference.errors import RequestError
from pipelines.inference.tokens import TextCodec
from pipelines.inference.types import ScoreRequest
from pipelines.problem_rows import is_engines
from pipelines.reasoning.prompts import PromptStyle
from pipelines.records import ProgressFn, no_progress
from pipelines.rollouts import check_error_rate
from pipelines.rows import rows_to_table
from pipelines.search.flight import run_in_flight
from pipelines.token_scores import ScoringSession

STAGE = "self_verdicts"
SOURCE = "judge"  # of the rows in step_scores
ROLLOUTS_IN_FLIGHT = 256

Row = dict[str, object]


@dataclass(frozen=True)
class VerdictTokens:
    """The two texts whose probabilities are compared; each is one token of the policy."""

    right: str = "<right>"
    wrong: str = "<wrong>"

    def ids(self, tokenizer: TextCodec) -> tuple[int, int]:
        """Their token ids. Raises ConfigError unless each text is one token and the two differ."""
        right, wrong = (tuple(tokenizer.encode(text)) for text in (self.right, self.wrong))
        if len(right) != 1 or len(wrong) != 1 or right == wrong:
            raise ConfigError(
                f"The verdicts {self.right!r} and {self.wrong!r} have {len(right)} and {len(wrong)} tokens (ids "
                f"{list(right)} and {list(wrong)}) for this policy; a verdict in place must be one token, and the two "
                "must differ. Name two tokens that the policy was taught, or judge with a trained critic."
            )
        return right[0], wrong[0]


@dataclass(frozen=True)
class SelfVerdicts:
    """What the policy says of the steps of its rollouts."""

    step_scores: pa.Table  # one row per step; score null where it could not be judged
    tokens_read: Mapping[str, int]  # rollout id -> tokens that its verdicts read, equal beginnings counted each time


async def judge_own_steps(
    problems: pa.Table,
    rollouts: pa.Table,
    session: ScoringSession,
    prompts: PromptStyle,
    *,
    night: str,
    verdicts: VerdictTokens = VerdictTokens(),
    max_error_fraction: float = 0.02,
    on_progress: ProgressFn = no_progress,
) -> SelfVerdicts:
    """Verdicts of the session's model on every step of the finished rollouts.

    Raises ConfigError where the model has no such verdict tokens, and ErrorRateError when more than
    `max_error_fraction` of the rollouts could not be judged for another reason than their length.
    """
    tokens = verdicts.ids(session.tokenizer)
    by_id = {row["problem_id"]: row for row in problems.to_pylist()}
    columns = ["rollout_id", "problem_id", "steps"]
    finished = [
        row for row in rollouts.filter(pc.is_null(rollouts["error"])).select(columns).to_pylist() if row["steps"]
    ]
    made: list[tuple[Row, list[float | None], int]] = []
    num_failed = num_done = 0
    started = time.monotonic()

    async def work(rollout: Row) -> tuple[Row, list[float | None], int]:
        nonlocal num_failed, num_done
        prompt = prompts.verify_prompt(by_id[rollout["problem_id"]])
        try:
            scores, num_read = await judge_steps(session, prompt, rollout["steps"], prompts.step_separator, tokens)
        except RequestError as error:
            scores, num_read = [None] * len(rollout["steps"]), 0
            num_failed += is_engines(error)
        num_done += 1
        rate = num_done / max(time.monotonic() - started, 1e-9)
        on_progress(STAGE, num_done, len(finished), {"rollouts_per_s": rate, "num_errors": float(num_failed)})
        return rollout, scores, num_read

    await run_in_flight(work, finished, ROLLOUTS_IN_FLIGHT, made.append)
    check_error_rate(num_failed, len(finished), max_error_fraction, STAGE)
    version = f"self-{session.model_digest[:16]}"
    rows = [
        {"rollout_id": rollout["rollout_id"], "step": step, "source": SOURCE, "scorer_version": version,
         "score": score, "night": night}
        for rollout, scores, _ in made
        for step, score in enumerate(scores)
    ]  # fmt: skip
    return SelfVerdicts(
        step_scores=rows_to_table("step_scores", rows),
        tokens_read={rollout["rollout_id"]: num_read for rollout, _, num_read in made},
    )


async def judge_steps(
    session: ScoringSession,
    prompt: str,
    steps: list[str],
    separator: str,
    verdict_ids: tuple[int, int],
    question: str = "",
) -> tuple[list[float], int]:
    """Probability of the right verdict after each step, and the tokens read. Raises RequestError subclasses.

    Prompt and steps are tokenised on their own, as the critic reads them; `question` stands between a step and its
    verdict and is not there for later steps.
    """
    ids, sequences, asked = list(session.tokenizer.encode(prompt)), [], session.tokenizer.encode(question)
    for step in steps:
        ids += session.tokenizer.encode(step + separator)
        sequences += [(*ids, *asked, verdict) for verdict in verdict_ids]
    scores = await asyncio.gather(*(session.score(ScoreRequest(sequence, "none")) for sequence in sequences))
    logprobs = [one.token_logprobs[-1] for one in scores]
    pairs = zip(logprobs[::2], logprobs[1::2], strict=True)
    return [share_of_right(right, wrong) for right, wrong in pairs], sum(map(len, sequences))


def share_of_right(right: float, wrong: float) -> float:
    """P(right) / (P(right) + P(wrong)) from log-probabilities: the logistic function of their difference, [0, 1]."""
    return 1.0 / (1.0 + math.exp(min(wrong - right, 700.0)))
