"""The vocabulary of inference: a request, its content hash, and what comes back.

A request is named by its content: model, prompt tokens, sampling and seed. The same content has the same
`request_id` in every process and on every machine, which is what makes stored responses reusable. Token ids are
authoritative; `text` is what the engine shows for them.
"""

import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

LOGPROBS = "processed"  # what token_logprobs are of; answers stored with another meaning are not reused


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn."""

    temperature: float = 1.0  # 0 is greedy
    top_p: float = 1.0  # nucleus; 1 keeps the whole distribution
    max_tokens: int = 64  # per sample, EOS and stop tokens counted
    n: int = 1  # independent samples of the same prompt
    stop: tuple[str, ...] = ()  # generation ends with any of these texts, which stays in the output
    regex: str | None = None  # a sample is drawn so that it fits this; None: any text
    """Of a server that knows no grammars nothing may come of it, and a length limit cuts a text off in the middle, so
    what was asked for is parsed like any other text."""

    def digest(self) -> str:
        """16 hex digits that name these settings; equal settings have equal digests in every process."""
        return hashlib.sha256(self._canonical().encode()).hexdigest()[:16]

    def _canonical(self) -> str:
        parts = [float(self.temperature), float(self.top_p), int(self.max_tokens), int(self.n), list(self.stop)]
        return json.dumps(parts if self.regex is None else [*parts, self.regex])


@dataclass(frozen=True)
class GenerationRequest:
    """One prompt and how to continue it."""

    prompt_token_ids: tuple[int, ...]
    sampling: Sampling
    seed: int  # different seeds give independent samples, also when they are consecutive
    purpose: str  # expand | evaluate | sample | critique | refine: for accounting, not part of the key
    affinity: str = ""  # the problem's id: its requests keep to one engine and its prefix cache; not part of the key

    def request_id(self, model_digest: str) -> str:
        """32 hex digits: hash of model, prompt tokens, sampling, seed and what log-probabilities mean."""
        prompt = ",".join(map(str, self.prompt_token_ids))
        key = f"{LOGPROBS}\n{model_digest}\n{prompt}\n{self.sampling._canonical()}\n{int(self.seed)}"
        return hashlib.sha256(key.encode()).hexdigest()[:32]


Entropies = Literal["none", "if_exact", "exact"]


@dataclass(frozen=True)
class ScoreRequest:
    """Existing tokens, to be scored by a model."""

    token_ids: tuple[int, ...]  # prompt and completion alike: every token but the first gets a score
    entropies: Entropies = "if_exact"
    """none: log-probabilities; exact: entropies too, or VocabularyTooLargeError; if_exact: entropies where possible.

    Entropies need the log-probabilities of the whole vocabulary at every position, so that an answer is larger by the
    size of the vocabulary (see score.py for the bound).
    """

    def request_id(self, model_digest: str) -> str:
        """32 hex digits: hash of model, tokens and what is asked of them; never that of a GenerationRequest."""
        tokens = ",".join(map(str, self.token_ids))
        return hashlib.sha256(f"scores\n{self.entropies}\n{model_digest}\n{tokens}".encode()).hexdigest()[:32]


@dataclass(frozen=True)
class TokenScores:
    """What a model says of given tokens. All four are indexed like the tokens; the first token follows nothing.

    They are of the model's own distribution (temperature 1, whole vocabulary), whatever the tokens were sampled with.
    """

    request_id: str
    token_logprobs: tuple[float | None, ...]  # natural logarithm, at most 0; None for the first token
    token_entropies: tuple[float | None, ...] | None  # nats, of what the token was drawn from; None: not asked
    token_certainties: tuple[float | None, ...] | None  # KL(uniform || p) in nats, at least 0; None with the entropies
    from_store: bool  # replayed, no engine was asked

    @property
    def num_prompt_tokens(self) -> int:
        """Tokens that the engine reads for the scores."""
        return len(self.token_logprobs)

    @property
    def num_cached_tokens(self) -> int:
        """None of them: vLLM computes a prompt whose log-probabilities are asked for without its prefix cache."""
        return 0

    @property
    def num_completion_tokens(self) -> int:
        """None that is kept: the one token that a completions server must draw is thrown away and not counted."""
        return 0


@dataclass(frozen=True)
class Sample:
    """One continuation of the prompt."""

    token_ids: tuple[int, ...]  # EOS and the tokens of the stop text included
    text: str  # stop text included, EOS and other special tokens left out
    token_logprobs: tuple[float, ...]  # one per token, natural logarithm, of the distribution sampled from
    finish_reason: str  # stop (EOS or a stop text) | length (max_tokens reached)


@dataclass(frozen=True)
class Completion:
    """The answer to one request."""

    request_id: str
    samples: tuple[Sample, ...]  # as many as sampling.n
    num_prompt_tokens: int
    num_cached_tokens: int  # prompt tokens found in the engine's prefix cache; 0 when the server does not say
    from_store: bool  # replayed, no engine was asked

    @property
    def num_completion_tokens(self) -> int:
        """Tokens of all samples."""
        return sum(len(sample.token_ids) for sample in self.samples)


Response = Completion | TokenScores
"""What an engine answers and the response store keeps."""


@dataclass
class UsageStats:
    """Running totals of one session; tokens count only what an engine computed, not replays (but `answered_tokens`)."""

    num_requests: int = 0  # asked of the session, replays included
    num_from_store: int = 0  # answered by the response store
    num_shared: int = 0  # identical to a request already in flight, and answered with it
    num_errors: int = 0  # ended in a RequestError
    num_retries: int = 0  # sent again after a broken connection or a busy server
    num_engine_deaths: int = 0  # engines that died or stalled under the session
    num_preemptions: int = 0  # sequences that an engine set aside for want of cache; 0 when no engine tells
    num_in_flight: int = 0  # asked of the engine and not yet answered
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    answered_tokens: int = 0  # prompt and completion, of every answer that was handed out, wherever it came from
    engine_seconds: float = 0.0  # during which at least one request was asked of the engine and not yet answered
    _busy_since: float = field(default=0.0, repr=False, compare=False)  # monotonic; of no meaning with none in flight

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Counts a request as in flight, and the time in which any is."""
        if self.num_in_flight == 0:
            self._busy_since = time.monotonic()
        self.num_in_flight += 1
        try:
            yield
        finally:
            self.num_in_flight -= 1
            if self.num_in_flight == 0:
                self.engine_seconds += time.monotonic() - self._busy_since

    @property
    def cached_share(self) -> float:
        """Share of the prompt tokens that engines found in their prefix caches; 0.0 before the first answer."""
        return self.cached_tokens / self.prompt_tokens if self.prompt_tokens else 0.0


GenerateFn = Callable[[GenerationRequest], Awaitable[Completion]]
"""Completes one request; raises RequestError subclasses (pipelines/inference/errors.py)."""

ScoreFn = Callable[[ScoreRequest], Awaitable[TokenScores]]
"""Log-probabilities and entropies of given tokens; raises RequestError subclasses."""


def engine_seed(request_id: str) -> int:
    """The seed that the engine gets: 31 bits of the request's content hash.

    vLLM gives sample k of a request the seed `seed + k`, so that callers who count their seeds up and ask for n > 1
    would get the same samples twice. Drawing the engine's seed from the content hash keeps them independent.
    """
    return int(request_id[:8], 16) & 0x7FFF_FFFF
