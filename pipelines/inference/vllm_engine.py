"""The same two callables from vLLM inside this process: for a single small asset, a notebook or a test.

Same requests, same `request_id`s, same samples' shape as http_client.py. The engine's own child processes end with
this one. Start-up costs as much as a server's, and no other process can share it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.config import EngineConfig
from pipelines.inference.answers import check_length
from pipelines.inference.engine_flags import apply_environment, engine_arguments
from pipelines.inference.errors import EngineDeadError, EngineStartError, RequestTimeoutError, ServerError
from pipelines.inference.http_client import Client
from pipelines.inference.replay import replaying
from pipelines.inference.response_codec import FINISH_REASONS, as_float32
from pipelines.inference.response_store import ResponseStore
from pipelines.inference.score import collect_scores, settling
from pipelines.inference.types import (
    Completion,
    GenerationRequest,
    Sample,
    ScoreRequest,
    TokenScores,
    UsageStats,
    engine_seed,
)

if TYPE_CHECKING:
    from vllm import RequestOutput, SamplingParams
    from vllm.logprobs import Logprob
    from vllm.outputs import CompletionOutput
    from vllm.v1.engine.async_llm import AsyncLLM

logger = logging.getLogger(__name__)

LOGPROBS_IN_FLIGHT = 2**21  # of whole vocabularies at once: each is an object of some 100 bytes in this process


@asynccontextmanager
async def open_engine(
    engine: EngineConfig,
    folder: Path,
    model_digest: str,
    store: ResponseStore | None,
    *,
    max_model_len: int,
    vocab_size: int | None,
    stats: UsageStats,
) -> AsyncIterator[Client]:
    """vLLM in this process, shut down at the end. Raises EngineStartError when it does not come up."""
    llm = await asyncio.to_thread(_start, engine, folder, max_model_len)
    slots = asyncio.Semaphore(engine.max_in_flight)
    full = asyncio.Semaphore(max(1, LOGPROBS_IN_FLIGHT // (max_model_len * (vocab_size or 1))))

    async def run(token_ids: Sequence[int], params: "SamplingParams", name: str) -> "RequestOutput":
        async with slots:
            return await _final_output(llm, token_ids, params, name, engine.request_timeout_s)

    async def generate(request: GenerationRequest) -> Completion:
        request_id = request.request_id(model_digest)
        check_length(max_model_len, len(request.prompt_token_ids), request.sampling.max_tokens, request_id)
        output = await run(request.prompt_token_ids, sampling_params(request, request_id), request_id)
        return Completion(
            request_id=request_id,
            samples=tuple(_sample(choice, request_id) for choice in output.outputs),
            num_prompt_tokens=len(request.prompt_token_ids),
            num_cached_tokens=output.num_cached_tokens or 0,
            from_store=False,
        )

    async def score(request: ScoreRequest) -> TokenScores:
        request_id = request.request_id(model_digest)
        check_length(max_model_len, len(request.token_ids), 1, request_id)
        async with full if request.entropies == "exact" else nullcontext():
            output = await run(request.token_ids, scoring_params(request), request_id)
        entries = output.prompt_logprobs or []
        if len(entries) != len(request.token_ids):
            raise ServerError(
                f"The engine scored {len(entries)} tokens where {len(request.token_ids)} were sent.", request_id
            )
        return collect_scores(request, request_id, _positions(request.token_ids, entries, request_id), vocab_size)

    try:
        replayed = replaying(score, model_digest, store, stats)
        yield Client(replaying(generate, model_digest, store, stats), settling(replayed, vocab_size, stats))
    finally:
        llm.shutdown()


def sampling_params(request: GenerationRequest, request_id: str) -> "SamplingParams":
    """vLLM's parameters for a request; the same settings as `http_client.completion_body` sends."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

    sampling = request.sampling
    return SamplingParams(
        n=sampling.n,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_tokens=sampling.max_tokens,
        seed=engine_seed(request_id),
        stop=list(sampling.stop),
        include_stop_str_in_output=bool(sampling.stop),
        logprobs=0,
        structured_outputs=StructuredOutputsParams(regex=sampling.regex) if sampling.regex else None,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def scoring_params(request: ScoreRequest) -> "SamplingParams":
    """vLLM's parameters for scores; the same settings as `http_client.scoring_body` sends."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        max_tokens=1,
        temperature=0.0,
        prompt_logprobs=-1 if request.entropies == "exact" else 0,
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def _positions(
    token_ids: Sequence[int], entries: Sequence[Mapping[int, "Logprob"] | None], request_id: str
) -> Iterator[tuple[float, Callable[[], list[float]]]]:
    for token_id, entry in zip(token_ids[1:], entries[1:], strict=True):
        if entry is None or token_id not in entry:
            raise ServerError(f"The engine gave no log-probability of the token {token_id}.", request_id)
        yield entry[token_id].logprob, lambda entry=entry: [of_token.logprob for of_token in entry.values()]


def _start(engine: EngineConfig, folder: Path, max_model_len: int) -> "AsyncLLM":
    apply_environment(engine)
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    if engine.extra_args:
        raise EngineStartError(
            f"engine.extra_args = {list(engine.extra_args)} are server arguments; remove them for mode = in_process."
        )
    arguments = AsyncEngineArgs(model=str(folder), disable_log_stats=True, **engine_arguments(engine, max_model_len))
    try:
        return AsyncLLM.from_engine_args(arguments)
    except (RuntimeError, ValueError, OSError) as error:
        raise EngineStartError(f"vLLM did not start in this process for the model {folder}: {error}") from error


async def _final_output(
    llm: "AsyncLLM", token_ids: Sequence[int], params: "SamplingParams", name: str, timeout_s: float
) -> "RequestOutput":
    from vllm.exceptions import VLLMServerError
    from vllm.v1.engine.exceptions import EngineDeadError as VllmEngineDeadError

    last = None
    try:
        async with asyncio.timeout(timeout_s):
            async for output in llm.generate({"prompt_token_ids": list(token_ids)}, params, f"{name}-{id(params)}"):
                last = output
    except TimeoutError as error:
        raise RequestTimeoutError(f"The engine did not answer within {timeout_s:g} s.", name) from error
    except VllmEngineDeadError as error:
        raise EngineDeadError(f"The engine in this process has died: {error}", name) from error
    except (VLLMServerError, ValueError) as error:
        raise ServerError(f"The engine refused the request: {error}", name) from error
    if last is None:
        raise ServerError("The engine ended the request without any output.", name)
    return last


def _sample(choice: "CompletionOutput", request_id: str) -> Sample:
    if choice.finish_reason not in FINISH_REASONS or choice.logprobs is None:
        raise ServerError(f"The engine ended a sample with {choice.finish_reason!r} or without logprobs.", request_id)
    token_ids = tuple(choice.token_ids)
    pairs = zip(token_ids, choice.logprobs, strict=True)
    logprobs = as_float32(entry[token_id].logprob for token_id, entry in pairs)
    return Sample(token_ids, choice.text, logprobs, choice.finish_reason)
