"""A session that answers from the response store alone: there is no engine, and what is not there is an error.

A request that failed when it was first asked fails again, with what the store noted of it; the store is only read.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from pipelines.config import Settings
from pipelines.inference.errors import ModelFolderError, RequestError, ResponseStoreError
from pipelines.inference.response_shards import is_store
from pipelines.inference.response_store import ResponseStore
from pipelines.inference.session import Session, context_length, model_folder
from pipelines.inference.tokens import Tokenizer, model_digest
from pipelines.inference.types import GenerationRequest, Response, ScoreRequest, UsageStats

Request = TypeVar("Request", GenerationRequest, ScoreRequest)


class NotInStoreError(ResponseStoreError):
    """A request whose answer the store does not have; it ends the stage, whose rows would be others."""


class FailedBeforeError(RequestError):
    """A request that failed when it was first asked, and so fails again."""


def from_store(
    digest: str, store: ResponseStore, stats: UsageStats
) -> Callable[[GenerationRequest | ScoreRequest], Awaitable[Response]]:
    """A GenerateFn and ScoreFn that reads the store alone; `stats` counts what it hands out."""

    async def answer(request: Request) -> Response:
        request_id = request.request_id(digest)
        stats.num_requests += 1
        stored = store.get(request_id)
        if stored is not None:
            stats.num_from_store += 1
            stats.answered_tokens += stored.num_prompt_tokens + stored.num_completion_tokens
            return stored
        stats.num_errors += 1
        failure = store.failure(request_id)
        if failure is not None:
            raise FailedBeforeError(failure.message, request_id)
        purpose = getattr(request, "purpose", "score")
        raise NotInStoreError(
            f"The response store {store.path} has no answer to the request {request_id} ({purpose}) of the model "
            f"{digest[:12]}, and nothing may be asked now. Merge the store of the machine that made the data "
            "(reasonmill store merge); where the store is complete, code, configuration or problems differ from then."
        )

    return answer


@asynccontextmanager
async def replay_session(
    settings: Settings, model: str | None, policy_digest: str, engine: str
) -> AsyncIterator[Session]:
    """A session with the tokenizer of `model` (None: the policy) and the answers of the store.

    `policy_digest`, `engine`: what made the data, as its manifest has them. ModelFolderError where the policy's local
    folder is another model, whose tokens would differ; ResponseStoreError where there is no store.
    """
    name = model or settings.policy.model
    folder = await asyncio.to_thread(model_folder, name)
    digest = await asyncio.to_thread(model_digest, folder)
    if name == settings.policy.model and settings.engine.mode == "url":
        digest = policy_digest  # that of a server, made of its address and name
    elif name == settings.policy.model and digest != policy_digest:
        raise ModelFolderError(
            f"The policy {name} in {folder} has the digest {digest[:12]}, but the data was made with "
            f"{policy_digest[:12]}; put that model there, or name it as policy.model."
        )
    if not is_store(settings.response_store_path):
        raise ResponseStoreError(f"There is no response store at {settings.response_store_path}; give it with --store.")
    stats = UsageStats()
    store = await asyncio.to_thread(ResponseStore, settings.response_store_path)
    try:
        answer = from_store(digest, store, stats)
        tokenizer = await asyncio.to_thread(Tokenizer.load, folder)
        yield Session(answer, answer, tokenizer, name, digest, context_length(settings, folder), stats, engine)
    finally:
        await asyncio.to_thread(store.close)
