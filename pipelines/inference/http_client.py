"""Speaks to OpenAI-compatible completions servers: token ids in, token ids and log-probabilities out.

One HTTP request per generation request, hundreds open at once over kept-alive connections, so that the engine's
batch is always full. Prompts of several requests are not put into one HTTP request although the API would take them:
they would have to share one seed. aiohttp is used because it costs 0.4 ms of CPU per request with 256 in flight,
where httpx costs 8 ms and more; on two cores that time is the engine's.

Which server gets a request is decided in workers.py; what happens to a request that fails is told in errors.py.
"""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from pipelines.inference.answers import check_length, error_of_status, parse_completion, parse_scores
from pipelines.inference.errors import EngineDeadError, ServerError
from pipelines.inference.replay import replaying
from pipelines.inference.response_store import ResponseStore
from pipelines.inference.score import LOGPROBS_PER_SAMPLE, settling
from pipelines.inference.types import (
    Completion,
    GenerateFn,
    GenerationRequest,
    ScoreFn,
    ScoreRequest,
    TokenScores,
    UsageStats,
    engine_seed,
)
from pipelines.inference.worker import Endpoint, parse_models, reason_of
from pipelines.inference.workers import Patience, Workers, first_tokens

CONNECT_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Client:
    """What `open_client` gives: the two callables of a model."""

    generate: GenerateFn
    score: ScoreFn


@asynccontextmanager
async def open_client(
    endpoints: Sequence[Endpoint],
    model_digest: str,
    store: ResponseStore | None,
    *,
    max_in_flight: int,
    patience: Patience,
    stats: UsageStats,
    max_tokens_in_flight: int | None = None,
) -> AsyncIterator[Client]:
    """Connections to one or several servers of the same model, under the same name everywhere.

    `max_in_flight`: samples per server; `max_tokens_in_flight`: tokens per server, None for any.
    """
    first = endpoints[0]
    timeout = aiohttp.ClientTimeout(total=patience.request_timeout_s, sock_connect=CONNECT_TIMEOUT_S)
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)  # the workers' room is the limit
    async with (
        aiohttp.ClientSession(connector=connector, timeout=timeout, headers=_headers(first)) as http,
        Workers(endpoints, http, stats, patience, max_in_flight, max_tokens_in_flight).watched() as workers,
    ):

        async def generate(request: GenerationRequest) -> Completion:
            request_id = request.request_id(model_digest)
            prompt, sampling = request.prompt_token_ids, request.sampling
            check_length(first.max_model_len, len(prompt), sampling.max_tokens, request_id)
            body = await workers.post(
                completion_body(request, first.model_name, request_id),
                request_id,
                num_samples=sampling.n,
                num_tokens=len(prompt) + sampling.n * sampling.max_tokens,
                affinity=request.affinity or first_tokens(prompt),
            )
            return parse_completion(body, request_id, sampling.n, first.encode)

        async def score(request: ScoreRequest) -> TokenScores:
            request_id, token_ids = request.request_id(model_digest), request.token_ids
            check_length(first.max_model_len, len(token_ids), 1, request_id)
            body = await workers.post(
                scoring_body(request, first.model_name),
                request_id,
                num_samples=room_of_scores(request, first.vocab_size),
                num_tokens=len(token_ids) + 1,
                affinity=first_tokens(token_ids),
            )
            return parse_scores(body, request, request_id, first.vocab_size)

        replayed = replaying(score, model_digest, store, stats)
        yield Client(replaying(generate, model_digest, store, stats), settling(replayed, first.vocab_size, stats))


def completion_body(request: GenerationRequest, model_name: str, request_id: str) -> dict[str, object]:
    """The JSON object that asks for `request`."""
    sampling = request.sampling
    body: dict[str, object] = {
        "model": model_name,
        "prompt": list(request.prompt_token_ids),
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "n": sampling.n,
        "seed": engine_seed(request_id),
        "logprobs": 0,  # the sampled token's own log-probability and no alternatives
        "return_token_ids": True,
        "skip_special_tokens": True,
    }
    if sampling.stop:
        body |= {"stop": list(sampling.stop), "include_stop_str_in_output": True}
    if sampling.regex is not None:
        body["structured_outputs"] = {"regex": sampling.regex}
    return body


def scoring_body(request: ScoreRequest, model_name: str) -> dict[str, object]:
    """The JSON object that asks for scores; a completions server has to draw one token, which is thrown away."""
    return {
        "model": model_name,
        "prompt": list(request.token_ids),
        "max_tokens": 1,
        "temperature": 0.0,
        "prompt_logprobs": -1 if request.entropies == "exact" else 0,  # -1: the whole vocabulary
    }


def room_of_scores(request: ScoreRequest, vocab_size: int | None) -> int:
    """Samples whose place a request for scores takes: one, and one for every LOGPROBS_PER_SAMPLE of a large answer."""
    num_logprobs = len(request.token_ids) * (vocab_size or 0) if request.entropies == "exact" else 0
    return 1 + num_logprobs // LOGPROBS_PER_SAMPLE


async def served_models(url: str, api_key_env: str | None, timeout_s: float = 30.0) -> dict[str, int | None]:
    """Names that a server offers, with the longest context where it says so. Raises EngineDeadError, ServerError."""
    endpoint = Endpoint(url, "", api_key_env)
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=_headers(endpoint)) as http,
            http.get(f"{url}/v1/models") as response,
        ):
            status, body = response.status, await response.read()
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise EngineDeadError(
            f"No server answers at {url}/v1/models ({reason_of(error)}). Start it, or correct engine.url."
        ) from error
    if status != 200:
        raise error_of_status(status, body, "", api_key_env)
    return parse_models(body, url)


def _headers(endpoint: Endpoint) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    key = os.environ.get(endpoint.api_key_env) if endpoint.api_key_env else None
    if endpoint.api_key_env and not key:
        raise ServerError(f"engine.api_key_env names ${endpoint.api_key_env}, which is not set; export the API key.")
    return headers | ({"Authorization": f"Bearer {key}"} if key else {})
