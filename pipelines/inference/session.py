"""The one entry to a model: a session with `generate`, `score` and a tokenizer, whatever serves the model.

`generate_session` picks by `settings.engine.mode` (`OPENERS`): `server` shares supervised vLLM processes (one, or
`engine.num_workers`) with all steps of the run, `url` asks servers of the user's, `ray` has the workers of a Ray
cluster run vLLM, `in_process` loads it here. Every session replays from the same response store.
"""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipelines.config import Settings
from pipelines.errors import ConfigError
from pipelines.inference.engine_flags import engine_identity
from pipelines.inference.engine_service import RunEngine
from pipelines.inference.errors import EngineDeadError
from pipelines.inference.http_client import Client, open_client, served_models
from pipelines.inference.ray_workers import RayEngine, ray_engines
from pipelines.inference.response_store import ResponseStore
from pipelines.inference.tokens import (
    TextCodec,
    Tokenizer,
    check_model_folder,
    max_model_len,
    model_digest,
    resolve_model_folder,
    url_model_digest,
    vocabulary_size,
)
from pipelines.inference.types import GenerateFn, ScoreFn, UsageStats
from pipelines.inference.worker import Endpoint
from pipelines.inference.workers import Patience

STARTER_WEIGHTS = Path(__file__).resolve().parents[1] / "starter" / "weights"
HEARTBEATS_PER_TIMEOUT = 5
Models = dict[str, int | None]  # served name -> longest context in tokens, None where the server does not say

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Session:
    """A model that answers."""

    generate: GenerateFn
    score: ScoreFn
    tokenizer: TextCodec
    model_id: str  # what the model is called: folder name, hub id or served name
    model_digest: str  # what it is: hash of its files, and of address and name for a server of the user's
    max_model_len: int | None  # tokens; None when only the server knows
    stats: UsageStats
    engine: str  # what answers: the installed vLLM, its version and digest, or the address of a server of the user's


@asynccontextmanager
async def generate_session(
    settings: Settings, *, model: str | None = None, run_id: str, owner_pid: int | None = None
) -> AsyncIterator[Session]:
    """A session with `model` ("starter", a folder or a hub id; None: the configured policy) for a step of a run.

    `owner_pid`: the process with whose end the run's engine ends (see engine_service.py). Raises ModelFolderError,
    EngineStartError, ResponseStoreError or ConfigError before it yields.
    """
    name = model or settings.policy.model
    store = await asyncio.to_thread(ResponseStore, settings.response_store_path)
    open_session = OPENERS[settings.engine.mode]
    try:
        async with open_session(settings, name, store, UsageStats(), run_id, owner_pid) as session:
            yield session
    finally:
        await asyncio.to_thread(store.close)


def model_folder(model: str) -> Path:
    """The local folder of a configured model name; "starter" is the one that ships with the project."""
    folder = STARTER_WEIGHTS if model == "starter" else resolve_model_folder(model)
    check_model_folder(folder)
    return folder


async def offered_policy(settings: Settings) -> tuple[str, list[str]]:
    """What the user's servers call the policy, and why those that do not answer do not.

    Raises EngineDeadError where none answers, ServerError or ConfigError where they offer something else.
    """
    served = await _served(settings.engine.addresses, settings.engine.api_key_env)
    name, _ = _same_model(served, settings.engine.served_model_name or settings.policy.model)
    return name, [str(found) for found in served.values() if isinstance(found, EngineDeadError)]


def context_length(settings: Settings, folder: Path) -> int:
    """Tokens of context to serve: the configured length, or the model's own where that is shorter."""
    return min(settings.policy.max_model_len, max_model_len(folder) or settings.policy.max_model_len)


@asynccontextmanager
async def _server_session(
    settings: Settings, model: str, store: ResponseStore, stats: UsageStats, run_id: str, owner_pid: int | None
) -> AsyncIterator[Session]:
    folder = await asyncio.to_thread(model_folder, model)
    tokenizer = await asyncio.to_thread(Tokenizer.load, folder)
    engines = await asyncio.gather(
        *(
            asyncio.to_thread(RunEngine, settings, folder, run_id, owner_pid, index)
            for index in range(settings.engine.num_workers)
        )
    )
    async with _own_session(settings, model, folder, tokenizer, engines, store, stats) as session:
        yield session


@asynccontextmanager
async def _ray_session(
    settings: Settings, model: str, store: ResponseStore, stats: UsageStats, run_id: str, owner_pid: int | None
) -> AsyncIterator[Session]:
    folder = await asyncio.to_thread(model_folder, model)
    tokenizer = await asyncio.to_thread(Tokenizer.load, folder)
    digest = await asyncio.to_thread(model_digest, folder)
    engines = await asyncio.to_thread(ray_engines, settings, model, digest, run_id, owner_pid)
    async with _own_session(settings, model, folder, tokenizer, engines, store, stats) as session:
        yield session


@asynccontextmanager
async def _own_session(
    settings: Settings,
    model: str,
    folder: Path,
    tokenizer: Tokenizer,
    engines: Sequence[RunEngine | RayEngine],
    store: ResponseStore,
    stats: UsageStats,
) -> AsyncIterator[Session]:
    """A session with engines that the run started itself, and may start anew."""
    limit, digest = context_length(settings, folder), model_digest(folder)
    vocab_size = await asyncio.to_thread(vocabulary_size, folder)
    endpoints = [
        Endpoint(
            engine.url, engine.model_name, max_model_len=limit, vocab_size=vocab_size, diagnose=engine.diagnose,
            restart=engine.restart, log_tail=engine.log_tail, name=f"worker-{index}",
        )
        for index, engine in enumerate(engines)
    ]  # fmt: skip
    with _heartbeat(engines, settings.engine.idle_timeout_s):
        async with _client(settings, endpoints, digest, store, stats) as client:
            yield _session(client, tokenizer, _model_id(model, folder), digest, limit, stats, engine_identity())


@asynccontextmanager
async def _url_session(
    settings: Settings, model: str, store: ResponseStore, stats: UsageStats, run_id: str, owner_pid: int | None
) -> AsyncIterator[Session]:
    urls, key_env = settings.engine.addresses, settings.engine.api_key_env
    served = await _served(urls, key_env)
    is_policy = model == settings.policy.model
    name, limit = _same_model(served, (is_policy and settings.engine.served_model_name) or model)
    folder = await asyncio.to_thread(model_folder, model)
    tokenizer = await asyncio.to_thread(Tokenizer.load, folder)
    vocab_size = vocabulary_size(folder)
    limit = min(limit, settings.policy.max_model_len) if isinstance(limit, int) else settings.policy.max_model_len
    endpoints = [
        Endpoint(url, name, key_env, limit, vocab_size, tokenizer.encode, unreachable=_why_unreachable(found))
        for url, found in served.items()
    ]
    digest = await asyncio.to_thread(url_model_digest, urls[0], name, folder)
    async with _client(settings, endpoints, digest, store, stats) as client:
        yield _session(client, tokenizer, name, digest, limit, stats, f"server at {', '.join(urls)}")


@asynccontextmanager
async def _in_process_session(
    settings: Settings, model: str, store: ResponseStore, stats: UsageStats, run_id: str, owner_pid: int | None
) -> AsyncIterator[Session]:
    from pipelines.inference.vllm_engine import open_engine

    folder = await asyncio.to_thread(model_folder, model)
    tokenizer = await asyncio.to_thread(Tokenizer.load, folder)
    digest = await asyncio.to_thread(model_digest, folder)
    limit = context_length(settings, folder)
    sizes = {"max_model_len": limit, "vocab_size": vocabulary_size(folder)}
    async with open_engine(settings.engine, folder, digest, store, **sizes, stats=stats) as client:
        yield _session(client, tokenizer, _model_id(model, folder), digest, limit, stats, engine_identity())


OpenerFn = Callable[[Settings, str, ResponseStore, UsageStats, str, int | None], AbstractAsyncContextManager[Session]]
"""`open_session(settings, model, store, stats, run_id, owner_pid)`; the last two concern engines that a run starts."""

OPENERS: Mapping[str, OpenerFn] = {
    "server": _server_session,
    "url": _url_session,
    "ray": _ray_session,
    "in_process": _in_process_session,
}
"""`engine.mode` -> what serves the model."""


def _client(
    settings: Settings, endpoints: Sequence[Endpoint], digest: str, store: ResponseStore, stats: UsageStats
) -> AbstractAsyncContextManager[Client]:
    engine = settings.engine
    stall_timeout_s = engine.stall_timeout_s if engine.stall_timeout_s is not None else engine.request_timeout_s / 2
    return open_client(
        endpoints,
        digest,
        store,
        max_in_flight=engine.max_in_flight,
        max_tokens_in_flight=engine.max_tokens_in_flight,
        patience=Patience(engine.request_timeout_s, stall_timeout_s=stall_timeout_s),
        stats=stats,
    )


def _session(
    client: Client,
    tokenizer: TextCodec,
    model_id: str,
    digest: str,
    limit: int | None,
    stats: UsageStats,
    engine: str,
) -> Session:
    return Session(client.generate, client.score, tokenizer, model_id, digest, limit, stats, engine)


def _model_id(model: str, folder: Path) -> str:
    return folder.name if Path(model).is_dir() else model


async def _served(urls: Sequence[str], key_env: str | None) -> dict[str, Models | EngineDeadError]:
    """What each server offers, or why it cannot be reached. Raises EngineDeadError when none can."""
    answers = await asyncio.gather(*(served_models(url, key_env) for url in urls), return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(answer, EngineDeadError):
            raise answer
    dead = [answer for answer in answers if isinstance(answer, EngineDeadError)]
    if len(dead) == len(urls):
        raise EngineDeadError("\n".join(str(error) for error in dead))
    for error in dead:
        logger.warning("The session begins without one of engine.urls: %s", error)
    return dict(zip(urls, answers, strict=True))


def _why_unreachable(answer: Models | EngineDeadError) -> str | None:
    return str(answer) if isinstance(answer, EngineDeadError) else None


def _same_model(served: Mapping[str, Models | EngineDeadError], wanted: str) -> tuple[str, int | None]:
    """Name and context length (None: the server does not say) of the one model that all servers must offer."""
    found = {
        url: (name, models[name])
        for url, models in served.items()
        if not isinstance(models, EngineDeadError)
        for name in [_served_name(models, wanted, url)]
    }
    if len(set(found.values())) > 1:
        offers = "; ".join(
            f"{url} serves {name} with {limit or 'an unknown number of'} tokens of context"
            for url, (name, limit) in found.items()
        )
        raise ConfigError(f"engine.urls must serve the same model under the same name and context: {offers}.")
    return next(iter(found.values()))


def _served_name(served: Models, wanted: str, url: str) -> str:
    """The served model of that name, or of the name of that folder. Never another one: its tokens would differ."""
    for name in (wanted, Path(wanted).name):
        if name in served:
            return name
    raise ConfigError(
        f"The server at {url} offers {', '.join(sorted(served)) or 'no model'}, and {wanted!r} is none of them. "
        "policy.model is the model whose tokenizer is used; where the server calls it by another name, give that name "
        "as engine.served_model_name."
    )


@contextmanager
def _heartbeat(engines: Sequence[RunEngine | RayEngine], idle_timeout_s: float) -> Iterator[None]:
    """Touch the engines' heartbeats from a thread, so that long work on the event loop does not look idle."""
    ended = threading.Event()

    def touch() -> None:
        for engine in engines:
            engine.touch()

    def beat() -> None:
        while not ended.wait(idle_timeout_s / HEARTBEATS_PER_TIMEOUT):
            touch()

    touch()
    thread = threading.Thread(target=beat, name="engine-heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
