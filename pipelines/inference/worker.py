"""One server as the driver sees it: posts to it, remembers when it last gave a sign of life, and whether it is dead.

A worker is *up*, *silent* (the last attempt found nobody; nobody knows yet whether that lasts) or *dead*. It dies when
nobody has answered for `retry_window_s`, when `diagnose` knows that its process has ended, when it says itself that
its engine has died, or when it accepts requests and answers none for `stall_timeout_s`. What is in flight on a dying
worker is called back at once, so that workers.py can send it elsewhere. A dead worker lives again when
`revive` is called, with a new address where its engine had to be started anew.

Signs of life are answers of any status, and token counters at /metrics that move (a batch of long completions can
be silent for minutes and well). Of a server that answers there without such counters silence says nothing before an
answer is due: it has `request_timeout_s` where that is longer. Until its first answer an engine has twice as long: the
first batch pays for one-off warm-up, 20 s and more where two engines share a machine's cores. Silence is added up in
short looks, so that a driver whose own event loop was blocked does not mistake that for the engine's silence.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum

import aiohttp

from pipelines.inference.answers import EncodeFn, error_of_status
from pipelines.inference.engine_metrics import EngineMetrics, parse_metrics
from pipelines.inference.errors import EngineDeadError, RequestTimeoutError, ServerError

BUSY_STATUSES = frozenset({429, 503})
GATEWAY_STATUSES = frozenset({502, 504})  # somebody answers, but not the engine
LOOK_TIMEOUT_S = 2.0
LONGEST_LOOK_S = 2.0  # silence that one look can add
WARM_UP_FACTOR = 2
PROBE_TIMEOUT_S = 30.0  # the first request of a fresh engine may pay for one-off warm-up

_ABORTED = re.compile(rb'"finish_reason"\s*:\s*"abort"')  # quotes inside a text are escaped and do not match

DiagnoseFn = Callable[[], str | None]
"""Why the engine is known to be dead; None when it may be alive."""

RestartFn = Callable[[], str]
"""Starts a dead engine anew, blocking, and returns its address; raises EngineStartError."""


@dataclass(frozen=True)
class Endpoint:
    """Where a model is served and what is known about it."""

    url: str  # without /v1
    model_name: str
    api_key_env: str | None = None  # environment variable with the key; None sends none
    max_model_len: int | None = None  # tokens; None leaves the check to the server
    vocab_size: int | None = None  # tokens; None: not known, then entropies cannot be had
    encode: EncodeFn | None = None  # for servers that return no token ids; None refuses them
    diagnose: DiagnoseFn = field(default=lambda: None)
    restart: RestartFn | None = None  # None: somebody else's server, which can only be waited for
    log_tail: Callable[[], str] = field(default=lambda: "")  # the engine's last words; "" where there is no log
    name: str | None = None  # what stays when the address changes; None: the address
    unreachable: str | None = None  # why nobody answered when the session began; None: it did


class Retry(Enum):
    """Why an attempt gave no answer and another may."""

    BUSY = "the server asked for patience"
    NOBODY = "nobody took the request"
    BROKEN = "the server went away while it had the request"


@dataclass(frozen=True)
class Look:
    """What one look at a worker showed."""

    num_refusals: int  # answers 429 and 503 since the last look
    num_answers: int  # completions since the last look
    answer_s: float  # seconds that those took, together
    num_preemptions: int  # since the last look
    metrics: EngineMetrics | None  # None: it does not tell, or has computed nothing since the last look
    has_metrics: bool  # it tells


class Worker:
    """One server of the model."""

    def __init__(
        self,
        endpoint: Endpoint,
        http: aiohttp.ClientSession,
        *,
        retry_window_s: float,
        stall_timeout_s: float | None,
        on_death: Callable[["Worker"], None],
    ) -> None:
        """`on_death` is called once per death, from within the event loop. `stall_timeout_s` None: wait for ever."""
        self.endpoint = endpoint
        self.name = endpoint.name or endpoint.url
        self.url = endpoint.url
        self.dead = endpoint.unreachable  # why; None while it is up or silent
        self.is_silent = False  # the last attempt found nobody
        self.num_samples = 0  # in flight
        self.num_lives = 1  # one more each time it is taken back
        self._http = http
        self._retry_window_s = retry_window_s
        self._stall_timeout_s = stall_timeout_s
        self._on_death = on_death
        self._unanswered_since: float | None = None  # loop time of the first failure since the last answer
        self._open: set[asyncio.Timeout] = set()  # one per request in flight; expired when the worker dies
        self._silence_s = 0.0  # with requests in flight
        self._has_answered = False  # since it was started
        self._looked_at: float | None = None
        self._tells = True  # False: it answers at /metrics, and with no token counters
        self._metrics: EngineMetrics | None = None
        self._num_refusals, self._num_answers, self._answer_s = 0, 0, 0.0

    async def try_once(
        self, payload: bytes, request_id: str, num_samples: int, may_abort: bool = False
    ) -> bytes | Retry:
        """The body of a 200 answer to /v1/completions, or why it is worth trying again, here or elsewhere.

        `may_abort`: an answer that was cut short by the server counts as none (a server that is told to stop answers
        what it holds with finish_reason "abort").

        Raises RequestError subclasses for what no other attempt would change.
        """
        started = self._now()
        try:
            async with asyncio.timeout(None) as life, self._in_flight(life, num_samples):
                status, body = await self._post(payload)
        except (aiohttp.ClientError, TimeoutError) as error:
            return Retry.BROKEN if life.expired() else self._failed(error, request_id)
        if may_abort and status == 200 and _ABORTED.search(body):
            self._unanswered("it aborted a request")
            return Retry.BROKEN
        return self._take(status, body, request_id, self._now() - started)

    @asynccontextmanager
    async def _in_flight(self, life: asyncio.Timeout, num_samples: int) -> AsyncIterator[None]:
        """Counts a request; its `life` ends when the worker dies."""
        if not self._open:
            self._silence_s = 0.0
        self._open.add(life)
        self.num_samples += num_samples
        try:
            yield
        finally:
            self._open.discard(life)
            self.num_samples -= num_samples

    async def _post(self, payload: bytes) -> tuple[int, bytes]:
        async with self._http.post(f"{self.url}/v1/completions", data=payload) as response:
            return response.status, await response.read()

    def _take(self, status: int, body: bytes, request_id: str, seconds: float) -> bytes | Retry:
        if status in GATEWAY_STATUSES:
            self._unanswered(f"status {status}")
            return Retry.NOBODY
        self._heard()
        if status in BUSY_STATUSES:  # alive and asking for patience; workers.py bounds how long
            self._num_refusals += 1
            return Retry.BUSY
        if status == 200:
            self._has_answered = True
            self._num_answers += 1
            self._answer_s += seconds
            return body
        failure = error_of_status(status, body, request_id, self.endpoint.api_key_env)
        if not isinstance(failure, EngineDeadError):
            raise failure
        self.die(str(failure))
        return Retry.BROKEN

    def _failed(self, error: Exception, request_id: str) -> Retry:
        never_sent = isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
        if isinstance(error, TimeoutError) and not never_sent:
            if (why := self.endpoint.diagnose()) is None:
                raise self.timed_out(request_id) from error
            self.die(why)
            return Retry.BROKEN
        if isinstance(error, aiohttp.ClientConnectionError | aiohttp.ClientPayloadError):
            self._unanswered(reason_of(error))
            return Retry.NOBODY if never_sent else Retry.BROKEN
        raise ServerError(f"The server's answer is not HTTP: {reason_of(error)}", request_id) from error

    def _heard(self) -> None:
        self._unanswered_since = None
        self.is_silent = False
        self._silence_s = 0.0

    def _unanswered(self, reason: str) -> None:
        """Note that nobody answered; that is death when it has lasted too long or the process is known to be gone."""
        if self.dead is not None:
            return
        now = self._now()
        self.is_silent = True
        if self._unanswered_since is None:
            self._unanswered_since = now
        waited_s = now - self._unanswered_since
        if (why := self.endpoint.diagnose()) is not None:
            self.die(why)
        elif waited_s >= self._retry_window_s:
            self.die(f"No answer from {self.url} for {waited_s:.0f} s ({reason}).")

    def die(self, why: str) -> None:
        """Count as dead from now on, and call back what is in flight."""
        if self.dead is not None:
            return
        self.dead = why
        for life in self._open:
            life.reschedule(self._now())
        self._on_death(self)

    def revive(self, url: str | None = None) -> None:
        """Live again, at a new address when one is given."""
        self.url = url or self.url
        self.dead = None
        self.num_lives += 1
        self._metrics, self._tells, self._has_answered = None, True, False
        self._heard()

    def timed_out(self, request_id: str) -> RequestTimeoutError:
        """The error of a request that took too long on a worker that lives."""
        return RequestTimeoutError(
            f"{self.url} did not answer within {self._http.timeout.total:g} s (engine.request_timeout_s). "
            "Lower engine.max_in_flight when the engine is overloaded, or allow more time.",
            request_id,
        )

    async def look(self) -> Look:
        """Read /metrics and count the silence; a worker that has been silent for too long dies here."""
        now = self._now()
        elapsed_s = 0.0 if self._looked_at is None else now - self._looked_at
        self._looked_at = now
        if self.dead is None and self._open:
            self._silence_s += min(elapsed_s, LONGEST_LOOK_S)
        before, page = self._metrics, await self._read_metrics()
        self._metrics = page or before
        has_computed = page is not None and (before is None or page.num_tokens != before.num_tokens)
        if has_computed:
            self._silence_s = 0.0
        look = Look(
            num_refusals=self._num_refusals,
            num_answers=self._num_answers,
            answer_s=self._answer_s,
            num_preemptions=max(0, page.num_preemptions - before.num_preemptions) if page and before else 0,
            metrics=page if has_computed else None,
            has_metrics=self._metrics is not None,
        )
        self._num_refusals, self._num_answers, self._answer_s = 0, 0, 0.0
        self._check_stall()
        return look

    def _check_stall(self) -> None:
        if self._stall_timeout_s is None or not self._open:
            return
        limit_s, key = self._stall_timeout_s * (1 if self._has_answered else WARM_UP_FACTOR), "engine.stall_timeout_s"
        if not self._tells and limit_s < self._http.timeout.total:
            limit_s, key = self._http.timeout.total, "engine.request_timeout_s; it tells no token counters"
        if self._silence_s >= limit_s:
            self.die(
                f"The engine at {self.url} holds {len(self._open)} requests and has given no sign of life for "
                f"{self._silence_s:.0f} s ({key}).{_paragraph(self.endpoint.log_tail())}"
            )

    async def _read_metrics(self) -> EngineMetrics | None:
        if not self._tells or self.dead is not None or not self._open:
            return None
        try:
            async with asyncio.timeout(LOOK_TIMEOUT_S), self._http.get(f"{self.url}/metrics") as response:
                status, body = response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError):
            return None
        page = parse_metrics(body.decode("utf-8", "replace")) if status == 200 else None
        if page is None and self._metrics is None and status not in BUSY_STATUSES | GATEWAY_STATUSES:
            self._tells = False
        return page

    async def probe(self) -> None:
        """Ask a silent worker whether it is there."""
        if await self.is_healthy():
            self._heard()
        else:
            self._unanswered("a probe failed")

    async def is_healthy(self) -> bool:
        """Whether the server lists the model, with enough context, and completes one token with it."""
        body = {"model": self.endpoint.model_name, "prompt": [1], "max_tokens": 1}
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                async with self._http.get(f"{self.url}/v1/models") as response:
                    status, page = response.status, await response.read()
                if status != 200 or not self._offers_model(page):
                    return False
                return (await self._post(json.dumps(body).encode()))[0] == 200
        except (aiohttp.ClientError, TimeoutError, OSError, ServerError):
            return False

    def _offers_model(self, page: bytes) -> bool:
        models = parse_models(page, self.url)
        context, needed = models.get(self.endpoint.model_name), self.endpoint.max_model_len
        return self.endpoint.model_name in models and (context is None or needed is None or context >= needed)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def parse_models(body: bytes, url: str) -> dict[str, int | None]:
    """Names in an answer to /v1/models, with the longest context where the server says so. Raises ServerError."""
    try:
        models = json.loads(body)["data"]
        lengths = {str(model["id"]): model.get("max_model_len") for model in models}
        return {name: length if isinstance(length, int) else None for name, length in lengths.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ServerError(f"The server at {url} does not list its models as OpenAI-compatible servers do.") from error


def reason_of(error: BaseException) -> str:
    """An exception in a few words."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _paragraph(text: str) -> str:
    return f"\n{text}" if text else ""
