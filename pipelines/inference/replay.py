"""What every session adds to an engine: replay from the store, one engine call per identical request, counting.

Order of events for a request: count it; answer from the store; else wait for an identical request in flight; else
ask the engine, put its response into the store and hand it out; a failure is put there too, as no answer. A caller
that is cancelled takes the engine's request with it only when nobody else waits for the same one.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from pipelines.inference.errors import RequestError, ServerError
from pipelines.inference.response_store import ResponseStore
from pipelines.inference.types import Completion, GenerationRequest, Response, ScoreRequest, UsageStats

Request = TypeVar("Request", GenerationRequest, ScoreRequest)
Answer = TypeVar("Answer", bound=Response)


@dataclass
class _Flight:
    """An engine call under way."""

    task: asyncio.Task[Response]
    num_waiting: int = 0


def check_numbers(response: Response) -> None:
    """ServerError where a log-probability is no finite number: nothing that the engine says can be trusted then."""
    if isinstance(response, Completion):
        columns = {f"Sample {index}": sample.token_logprobs for index, sample in enumerate(response.samples)}
    else:
        columns = {"A scored token": response.token_logprobs[1:]}
    for name, logprobs in columns.items():
        if not math.isfinite(sum(logprobs)):
            broken = next(number for number in logprobs if not math.isfinite(number))
            raise ServerError(
                f"{name} has the log-probability {broken}: the engine's numbers are broken (a half-precision "
                "overflow, or damaged weights). Nothing of this answer is kept.",
                response.request_id,
            )


def check_texts(response: Response) -> None:
    """ServerError where a text is no UTF-8: JSON can carry half of a surrogate pair, and no table can."""
    for index, sample in enumerate(response.samples if isinstance(response, Completion) else ()):
        try:
            sample.text.encode()
        except UnicodeEncodeError as error:
            raise ServerError(
                f"The text of sample {index} has {sample.text[error.start]!a} at character {error.start}, which is no "
                "UTF-8 (half of a surrogate pair). Nothing of this answer is kept.",
                response.request_id,
            ) from error


def replaying(
    ask_engine: Callable[[Request], Awaitable[Answer]],
    model_digest: str,
    store: ResponseStore | None,
    stats: UsageStats,
) -> Callable[[Request], Awaitable[Answer]]:
    """A GenerateFn or a ScoreFn behind the store. Without a store requests are only counted and coalesced."""
    flights: dict[str, _Flight] = {}

    async def ask(request: Request) -> Answer:
        try:
            with stats.under_way():
                response = await ask_engine(request)
            check_numbers(response)
            check_texts(response)
        except RequestError as error:
            if store is not None:
                store.put_failure(request.request_id(model_digest), error)
            raise
        stats.prompt_tokens += response.num_prompt_tokens
        stats.cached_tokens += response.num_cached_tokens
        stats.completion_tokens += response.num_completion_tokens
        if store is not None:
            store.put(response)
        return response

    async def join(request_id: str, flight: _Flight) -> Answer:
        flight.num_waiting += 1
        try:
            return await asyncio.shield(flight.task)
        except asyncio.CancelledError:
            if flight.num_waiting == 1:
                flight.task.cancel()
            raise
        finally:
            flight.num_waiting -= 1
            if flight.num_waiting == 0 and flights.get(request_id) is flight:
                del flights[request_id]

    def handed_out(response: Answer) -> Answer:
        stats.answered_tokens += response.num_prompt_tokens + response.num_completion_tokens
        return response

    async def answer(request: Request) -> Answer:
        request_id = request.request_id(model_digest)
        stats.num_requests += 1
        stored = store.get(request_id) if store is not None else None
        if stored is not None:
            stats.num_from_store += 1
            return handed_out(stored)
        flight = flights.get(request_id)
        if flight is None:
            flight = flights[request_id] = _Flight(asyncio.create_task(ask(request)))
        else:
            stats.num_shared += 1
        try:
            return handed_out(await join(request_id, flight))
        except RequestError:
            stats.num_errors += 1
            raise

    return answer
