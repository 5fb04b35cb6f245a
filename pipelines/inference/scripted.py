"""The one fake: a model that answers from a script, with one token per character. For tests and dry runs.

It keeps the contract of a real session: samples end at the first stop text (kept), at `max_tokens`, or with EOS;
requests have the same content hash; errors are the same classes. Its log-probabilities are a constant and mean
nothing.
"""

from collections.abc import Callable, Mapping, Sequence

from pipelines.inference.errors import ServerError
from pipelines.inference.replay import replaying
from pipelines.inference.response_store import ResponseStore
from pipelines.inference.session import Session
from pipelines.inference.types import Completion, GenerationRequest, Sample, Sampling, UsageStats

EOS_ID = 0
SCRIPTED_LOGPROB = -0.5  # of every token: exact in float32
SCRIPTED_DIGEST = "scripted"


class CharTokenizer:
    """One token per character: the id is the code point, 0 is EOS."""

    eos_ids = frozenset({EOS_ID})
    vocab_size = 0x110000

    def encode(self, text: str) -> list[int]:
        """Code points of `text`."""
        return [ord(character) for character in text]

    def decode(self, ids: Sequence[int]) -> str:
        """The characters of `ids`, EOS left out."""
        return "".join(chr(token_id) for token_id in ids if token_id != EOS_ID)

    def apply_chat(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """`role: content` lines and the assistant's turn."""
        return self.encode("".join(f"{m['role']}: {m['content']}\n" for m in messages) + "assistant: ")


class ScriptedModel:
    """A GenerateFn that returns `script(request)`: `sampling.n` texts, or an error that the script raises."""

    def __init__(self, script: Callable[[GenerationRequest], Sequence[str]]) -> None:
        self._script = script
        self.tokenizer = CharTokenizer()
        self.requests: list[GenerationRequest] = []  # in the order in which they were asked

    async def __call__(self, request: GenerationRequest) -> Completion:
        self.requests.append(request)
        request_id = request.request_id(SCRIPTED_DIGEST)
        texts = self._script(request)
        if len(texts) != request.sampling.n:
            raise ServerError(f"The script gave {len(texts)} texts where {request.sampling.n} were asked.", request_id)
        samples = tuple(self._sample(text, request.sampling) for text in texts)
        return Completion(request_id, samples, len(request.prompt_token_ids), 0, from_store=False)

    def session(self, store: ResponseStore | None = None) -> Session:
        """A session with this model."""
        stats = UsageStats()
        generate = replaying(self, SCRIPTED_DIGEST, store, stats)
        return Session(generate, _score, self.tokenizer, "scripted", SCRIPTED_DIGEST, None, stats, "scripted")

    def _sample(self, text: str, sampling: Sampling) -> Sample:
        ends = [text.index(stop) + len(stop) for stop in sampling.stop if stop in text]
        stopped = bool(ends)
        text = text[: min(ends)] if ends else text
        ids = self.tokenizer.encode(text) + ([] if stopped else [EOS_ID])
        finish_reason = "stop" if len(ids) <= sampling.max_tokens else "length"
        ids = ids[: sampling.max_tokens]
        return Sample(tuple(ids), self.tokenizer.decode(ids), (SCRIPTED_LOGPROB,) * len(ids), finish_reason)


async def _score(token_ids: Sequence[int]) -> tuple[float | None, ...]:
    return (None, *[SCRIPTED_LOGPROB] * (len(token_ids) - 1))[: len(token_ids)]
