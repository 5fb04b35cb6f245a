"""A judge that says right or wrong in place, asked which of two solutions is the better one (read in both orders).

Alone, a solution's grade is the pair of probabilities after its telling step, the one with the smallest
p = P(right) / (P(right) + P(wrong)). On a pair the judge reads one solution and then the other in one context, up to
the telling steps of the single readings: with a and b the p there, of the one shown first and of the other,

    P(first) = a (1 - b)        P(second) = (1 - a) b        P(tie) = the rest

The second solution is read with the first before it, which such a judge was never taught: this is where positions
matter. It is our own way to ask a critic in place about a pair, so that the measures of TrustJudge (arXiv 2509.21117)
and of position consistency apply to it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipelines.inference.score import score_tokens
from pipelines.inference.tokens import TextCodec
from pipelines.inference.types import ScoreFn
from pipelines.self_verdicts import VerdictTokens, share_of_right

LABELS = ("first", "second", "tie")
TURNED = {"first": "second", "second": "first", "tie": "tie"}
"""A label as the other order has it."""

Logprobs = tuple[float, float]
"""Of the verdicts right and wrong at one place."""


class ReadingSession(Protocol):
    """What reading needs of a session."""

    score: ScoreFn
    tokenizer: TextCodec


@dataclass(frozen=True)
class Reading:
    """A solution, read alone."""

    steps: tuple[str, ...]  # those that were given included
    telling: int  # the step with the smallest p
    logprobs: Logprobs  # after it

    @property
    def p(self) -> float:
        """Share of the verdict right after the telling step, [0, 1]."""
        return share_of_right(*self.logprobs)


class PairReader:
    """Asks the judge. Raises ConfigError where the session's model has no verdict tokens."""

    def __init__(self, session: ReadingSession, separator: str, verdicts: VerdictTokens | None = None) -> None:
        """`verdicts` None: those that the starter was taught."""
        self._session, self._separator = session, separator
        self._verdicts = (verdicts or VerdictTokens()).ids(session.tokenizer)

    async def alone(self, prompt: str, steps: Sequence[str], given: Sequence[str] = ()) -> Reading:
        """A solution (at least one step) after `prompt` and the steps `given`, which are not judged."""
        whole = (*given, *steps)
        found = {end: await self._logprobs(prompt, whole[: end + 1]) for end in range(len(given), len(whole))}
        telling = min(found, key=lambda end: (share_of_right(*found[end]), end))
        return Reading(whole, telling, found[telling])

    async def after(self, prompt: str, shown: Reading, reading: Reading) -> float:
        """p at the telling step of `reading`, with the whole of `shown` before it."""
        steps = shown.steps + reading.steps[: reading.telling + 1]
        return share_of_right(*await self._logprobs(prompt, steps))

    async def _logprobs(self, prompt: str, steps: Sequence[str]) -> Logprobs:
        """Of both verdicts after the last step; the texts are tokenised on their own, as the role was taught."""
        ids = list(self._session.tokenizer.encode(prompt))
        for step in steps:
            ids += self._session.tokenizer.encode(step + self._separator)
        right, wrong = await score_tokens(self._session, [(*ids, verdict) for verdict in self._verdicts], "none")
        return right.token_logprobs[-1], wrong.token_logprobs[-1]


def labels(a: float, b: float) -> dict[str, float]:
    """Label -> probability, of the one shown first with a, the other with b; they add up to 1."""
    return {"first": a * (1 - b), "second": (1 - a) * b, "tie": a * b + (1 - a) * (1 - b)}


def likeliest(probabilities: Mapping[str, float]) -> str:
    """Of equally likely labels the first in the order first, second, tie."""
    return max(LABELS, key=lambda label: probabilities[label])
