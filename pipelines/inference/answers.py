"""Reads what a completions server answers. Everything in it is untrusted: a wrong shape is a ServerError.

The format is that of `/v1/completions` with `return_token_ids` (vLLM 0.10 and later): per choice `text`, `token_ids`,
`logprobs.token_logprobs` and `finish_reason`. A server that does not return token ids can be used as far as its text,
encoded again, has as many tokens as it sent log-probabilities for; then the ids are those of our tokenizer.
"""

import json
import math
import re
from collections.abc import Callable, Iterator
from numbers import Real

from pipelines.inference.errors import (
    ContextLengthError,
    EngineDeadError,
    RequestError,
    ServerError,
    VocabularyTooLargeError,
)
from pipelines.inference.response_codec import FINISH_REASONS, as_float32
from pipelines.inference.score import collect_scores
from pipelines.inference.types import Completion, Sample, ScoreRequest, TokenScores

QUOTED_CHARS = 300
MAX_TOKEN_ID = 2**32 - 1
MAX_LOGPROB = 1e30  # beyond that no float32 would hold it
_CONTEXT_WORDS = re.compile(r"context length|context window|max_model_len|maximum context|too long", re.IGNORECASE)
_REFUSED_LOGPROBS = re.compile(r"prompt.logprobs of (-?\d+).*max allowed: (\d+)", re.IGNORECASE | re.DOTALL)
_DEAD_WORDS = re.compile(r"EngineDead|EngineCore encountered an issue|engine is dead", re.IGNORECASE)

EncodeFn = Callable[[str], list[int]]


def parse_completion(body: bytes, request_id: str, num_samples: int, encode: EncodeFn | None) -> Completion:
    """The completion in a response body with status 200.

    `encode` turns text into ids for servers that return none; None refuses such servers. Raises ServerError.
    """
    answer = _as_object(_load(body, request_id), "the answer", request_id)
    choices = _as_list(answer.get("choices"), "choices", request_id)
    if len(choices) != num_samples:
        raise ServerError(f"The server returned {len(choices)} choices where {num_samples} were asked for.", request_id)
    samples = tuple(_sample(_as_object(choice, "a choice", request_id), request_id, encode) for choice in choices)
    usage = _as_object(answer.get("usage") or {}, "usage", request_id)
    details = _as_object(usage.get("prompt_tokens_details") or {}, "usage.prompt_tokens_details", request_id)
    return Completion(
        request_id=request_id,
        samples=samples,
        num_prompt_tokens=_as_count(usage.get("prompt_tokens"), "usage.prompt_tokens", request_id),
        num_cached_tokens=_as_count(details.get("cached_tokens") or 0, "cached_tokens", request_id),
        from_store=False,
    )


def parse_scores(body: bytes, request: ScoreRequest, request_id: str, vocab_size: int | None) -> TokenScores:
    """Scores of the tokens of a request, from an answer with `prompt_logprobs`.

    `vocab_size`: log-probabilities that each position needs for exact entropies. Raises ServerError.
    """
    answer = _as_object(_load(body, request_id), "the answer", request_id)
    choices = _as_list(answer.get("choices"), "choices", request_id)
    choice = _as_object(choices[0] if choices else None, "the first choice", request_id)
    entries = _as_list(choice.get("prompt_logprobs"), "prompt_logprobs", request_id)
    if len(entries) != len(request.token_ids):
        raise ServerError(
            f"The server scored {len(entries)} tokens where {len(request.token_ids)} were sent.", request_id
        )
    return collect_scores(request, request_id, _positions(request.token_ids, entries, request_id), vocab_size)


def _positions(
    token_ids: tuple[int, ...], entries: list, request_id: str
) -> Iterator[tuple[float, Callable[[], list[float]]]]:
    """Own log-probability of every token but the first, with a function that gives those of the whole entry."""
    for token_id, entry in zip(token_ids[1:], entries[1:], strict=True):
        of_tokens = _as_object(entry, "prompt_logprobs", request_id)
        own = _as_object(of_tokens.get(str(token_id)), f"token {token_id}", request_id).get("logprob")
        yield _as_logprob(own, request_id), lambda of_tokens=of_tokens: _whole(of_tokens, request_id)


def _whole(of_tokens: dict, request_id: str) -> list[float]:
    return [
        _as_logprob(_as_object(of_token, "a token", request_id).get("logprob"), request_id)
        for of_token in of_tokens.values()
    ]


def error_of_status(status: int, body: bytes, request_id: str, api_key_env: str | None = None) -> RequestError:
    """The error that a status other than 200 stands for."""
    message = _server_message(body)
    if _DEAD_WORDS.search(message):
        return EngineDeadError(f"The engine behind the server has died (status {status}): {message}", request_id)
    if status == 400 and (refused := _REFUSED_LOGPROBS.search(message)):
        return VocabularyTooLargeError(
            f"Exact entropies and self-certainties need the log-probabilities of all {refused[1]} tokens at every "
            f"position, and the server gives at most {refused[2]}. Start it with --max-logprobs {refused[1]} or more.",
            request_id,
        )
    if status == 400 and _CONTEXT_WORDS.search(message):
        return ContextLengthError(f"The request does not fit into the model's context: {message}", request_id)
    if status in (401, 403):
        name = f"${api_key_env}" if api_key_env else "an environment variable named by engine.api_key_env"
        return ServerError(f"The server refused the API key (status {status}); it is read from {name}.", request_id)
    return ServerError(f"The server answered with status {status}: {message}", request_id)


def check_length(limit: int | None, num_prompt_tokens: int, max_tokens: int, request_id: str) -> None:
    """Raise ContextLengthError unless prompt and `max_tokens` fit into `limit` tokens; None leaves it to the server."""
    if num_prompt_tokens == 0:
        raise ContextLengthError("The prompt is empty; a completion needs at least one token.", request_id)
    if limit is not None and num_prompt_tokens + max_tokens > limit:
        raise ContextLengthError(
            f"The prompt has {num_prompt_tokens} tokens and up to {max_tokens} more were asked for; the context holds "
            f"{limit} (policy.max_model_len).",
            request_id,
        )


def _sample(choice: dict, request_id: str, encode: EncodeFn | None) -> Sample:
    text, finish_reason = choice.get("text"), choice.get("finish_reason")
    if not isinstance(text, str):
        raise _malformed("text", text, "a string", request_id)
    if finish_reason not in FINISH_REASONS:
        raise _malformed("finish_reason", finish_reason, "stop or length", request_id)
    logprobs = _as_object(choice.get("logprobs"), "logprobs", request_id)
    values = _as_list(logprobs.get("token_logprobs"), "logprobs.token_logprobs", request_id)
    token_ids = choice.get("token_ids")
    if token_ids is None:
        token_ids = _encoded_again(text, len(values), request_id, encode)
    token_ids = _as_token_ids(_as_list(token_ids, "token_ids", request_id), request_id)
    if len(token_ids) != len(values):
        raise ServerError(
            f"The server returned {len(token_ids)} token ids and {len(values)} log-probabilities.", request_id
        )
    return Sample(token_ids, text, as_float32(_as_logprobs(values, request_id)), finish_reason)


def _encoded_again(text: str, num_logprobs: int, request_id: str, encode: EncodeFn | None) -> list[int]:
    token_ids = encode(text) if encode is not None else []
    if encode is None or len(token_ids) != num_logprobs:
        raise ServerError(
            "The server returned no token ids (field token_ids of a choice) and its text cannot be encoded again "
            f"without doubt ({len(token_ids)} tokens, {num_logprobs} log-probabilities). Serve the model with vLLM "
            "0.10 or later, which understands return_token_ids.",
            request_id,
        )
    return token_ids


def _load(body: bytes, request_id: str) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ServerError(f"The server's answer is not JSON: {_quoted(body)}", request_id) from error


def _server_message(body: bytes) -> str:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return _quoted(body)
    error = answer.get("error", answer) if isinstance(answer, dict) else answer
    message = error.get("message") if isinstance(error, dict) else None
    if not isinstance(message, str):
        return _quoted(body)
    return message[: 2 * QUOTED_CHARS].encode("utf-8", "replace").decode()  # it becomes a row, and may hold surrogates


def _as_object(value: object, name: str, request_id: str) -> dict:
    if not isinstance(value, dict):
        raise _malformed(name, value, "an object", request_id)
    return value


def _as_list(value: object, name: str, request_id: str) -> list:
    if not isinstance(value, list):
        raise _malformed(name, value, "a list", request_id)
    return value


def _as_count(value: object, name: str, request_id: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_TOKEN_ID:
        raise _malformed(name, value, "a count", request_id)
    return value


def _as_token_ids(values: list, request_id: str) -> tuple[int, ...]:
    """All at once where all are well: a request may bring thousands, and the engine wants the same cores."""
    if set(map(type, values)) <= {int} and min(values, default=0) >= 0 and max(values, default=0) <= MAX_TOKEN_ID:
        return tuple(values)
    return tuple(_as_token_id(value, request_id) for value in values)


def _as_logprobs(values: list, request_id: str) -> list[float]:
    if (
        set(map(type, values)) <= {float}
        and all(map(math.isfinite, values))
        and max(map(abs, values), default=0.0) <= MAX_LOGPROB
    ):
        return values
    return [_as_logprob(value, request_id) for value in values]


def _as_token_id(value: object, request_id: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_TOKEN_ID:
        raise _malformed("token_ids", value, "token ids", request_id)
    return value


def _as_logprob(value: object, request_id: str) -> float:
    if not isinstance(value, Real) or isinstance(value, bool) or not abs(value) <= MAX_LOGPROB:
        raise _malformed("logprob", value, "a finite number", request_id)
    return float(value)


def _malformed(name: str, value: object, expected: str, request_id: str) -> ServerError:
    return ServerError(
        f"The server's answer has {_quoted(repr(value).encode())} as {name}, where {expected} should be.", request_id
    )


def _quoted(body: bytes) -> str:
    text = body[:QUOTED_CHARS].decode("utf-8", "replace")
    return repr(text) + (" ..." if len(body) > QUOTED_CHARS else "")
