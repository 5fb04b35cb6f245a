"""The one fake: a model that answers from a script, with one token per character. For tests and dry runs.

It keeps the contract of a real session: samples end at the first stop text (kept), at `max_tokens`, or with EOS;
requests have the same content hash; errors are the same classes. The log-probabilities of its samples, its entropies
and its certainties are constants and mean nothing; its scores of given tokens too, unless a second script gives them.
"""

import re
from collections.abc import Callable, Mapping, Sequence

from pipelines.inference.errors import ServerError
from pipelines.inference.replay import replaying
from pipelines.inference.response_codec import as_float32
from pipelines.inference.response_store import ResponseStore
from pipelines.inference.session import Session
from pipelines.inference.types import (
    Completion,
    GenerationRequest,
    Sample,
    Sampling,
    ScoreRequest,
    TokenScores,
    UsageStats,
)

EOS_ID = 0
FIRST_WORD_ID = 0x100000  # in a plane of private use
SCRIPTED_LOGPROB = -0.5  # of every token: exact in float32
SCRIPTED_ENTROPY = 0.25  # nats, of every token
SCRIPTED_CERTAINTY = 1.5  # nats, of every token
SCRIPTED_DIGEST = "scripted"

ScoreScript = Callable[[ScoreRequest], Sequence[float]]
"""The log-probability of every token of a request but the first, or an error that it raises."""


def constant_scores(request: ScoreRequest) -> Sequence[float]:
    """SCRIPTED_LOGPROB for every token."""
    return [SCRIPTED_LOGPROB] * (len(request.token_ids) - 1)


class CharTokenizer:
    """One token per character: the id is the code point, 0 is EOS. `words` are further tokens."""

    eos_ids = frozenset({EOS_ID})
    vocab_size = 0x110000

    def __init__(self, words: Sequence[str] = ()) -> None:
        self._ids = {word: FIRST_WORD_ID + index for index, word in enumerate(words)}
        self._words = {token_id: word for word, token_id in self._ids.items()}
        self._pieces = re.compile("|".join([*map(re.escape, words), "."]), re.DOTALL)

    def encode(self, text: str) -> list[int]:
        """Words and code points of `text`."""
        return [self._ids[piece] if piece in self._ids else ord(piece) for piece in self._pieces.findall(text)]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`, EOS left out."""
        return "".join(self._words.get(token_id, chr(token_id)) for token_id in ids if token_id != EOS_ID)

    def apply_chat(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """`role: content` lines and the assistant's turn."""
        return self.encode("".join(f"{m['role']}: {m['content']}\n" for m in messages) + "assistant: ")


class ScriptedModel:
    """A GenerateFn that returns `script(request)`: `sampling.n` texts, or an error that the script raises.

    `score_script` gives the log-probabilities of given tokens; entropies are constants, also where a real model of so
    many tokens could give none. `words` are one token each.
    """

    def __init__(
        self,
        script: Callable[[GenerationRequest], Sequence[str]],
        score_script: ScoreScript = constant_scores,
        words: Sequence[str] = (),
    ) -> None:
        self._script = script
        self._score_script = score_script
        self.tokenizer = CharTokenizer(words)
        self.requests: list[GenerationRequest] = []  # in the order in which they were asked
        self.score_requests: list[ScoreRequest] = []

    async def __call__(self, request: GenerationRequest) -> Completion:
        self.requests.append(request)
        request_id = request.request_id(SCRIPTED_DIGEST)
        texts = self._script(request)
        if len(texts) != request.sampling.n:
            raise ServerError(f"The script gave {len(texts)} texts where {request.sampling.n} were asked.", request_id)
        samples = tuple(self._sample(text, request.sampling) for text in texts)
        return Completion(request_id, samples, len(request.prompt_token_ids), 0, from_store=False)

    async def score(self, request: ScoreRequest) -> TokenScores:
        """A ScoreFn: what the score script says of the tokens."""
        self.score_requests.append(request)
        request_id = request.request_id(SCRIPTED_DIGEST)
        num_scored = len(request.token_ids) - 1
        logprobs = self._score_script(request)
        if len(logprobs) != num_scored:
            raise ServerError(f"The script gave {len(logprobs)} scores where {num_scored} were asked.", request_id)
        with_entropies = request.entropies != "none"
        return TokenScores(
            request_id,
            (None, *as_float32(logprobs)),
            (None, *[SCRIPTED_ENTROPY] * num_scored) if with_entropies else None,
            (None, *[SCRIPTED_CERTAINTY] * num_scored) if with_entropies else None,
            from_store=False,
        )

    def session(self, store: ResponseStore | None = None) -> Session:
        """A session with this model."""
        stats = UsageStats()
        generate, score = (replaying(ask, SCRIPTED_DIGEST, store, stats) for ask in (self, self.score))
        return Session(generate, score, self.tokenizer, "scripted", SCRIPTED_DIGEST, None, stats, "scripted")

    def _sample(self, text: str, sampling: Sampling) -> Sample:
        ends = [text.index(stop) + len(stop) for stop in sampling.stop if stop in text]
        stopped = bool(ends)
        text = text[: min(ends)] if ends else text
        ids = self.tokenizer.encode(text) + ([] if stopped else [EOS_ID])
        finish_reason = "stop" if len(ids) <= sampling.max_tokens else "length"
        ids = ids[: sampling.max_tokens]
        return Sample(tuple(ids), self.tokenizer.decode(ids), (SCRIPTED_LOGPROB,) * len(ids), finish_reason)
