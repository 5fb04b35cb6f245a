"""Two real vLLM servers: one is killed half-way and started anew, then the other one freezes."""

import asyncio
import os
import signal
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipelines.config import Settings
from pipelines.inference.engine_metrics import parse_metrics
from pipelines.inference.engine_service import stop_engine
from pipelines.inference.engine_supervisor import EngineState, read_state
from pipelines.inference.session import Session, generate_session
from pipelines.inference.types import Completion, GenerationRequest, Sampling
from pipelines.inference.workers import choose

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

RUN_ID = "two"
HOMES = {f"p{i}": choose(f"p{i}", {"worker-0": 0, "worker-1": 0}) for i in range(20)}


@pytest.fixture
def settings(make_settings: Callable[..., Settings], tiny_model: Path) -> Iterator[Settings]:
    made = make_settings(tiny_model, num_workers=2, stall_timeout_s=20.0, start_timeout_s=600.0)
    yield made
    stop_engine(made, RUN_ID)


def state_of(settings: Settings, worker: int) -> EngineState:
    (path,) = (settings.state_dir / "engines").glob(f"{RUN_ID}-*-generate{'-1' if worker else ''}.json")
    return read_state(path)


def num_tokens(state: EngineState) -> int:
    with urllib.request.urlopen(f"{state.url}/metrics", timeout=10) as response:
        return parse_metrics(response.read().decode()).num_tokens


async def ask_all(session: Session, seed: int, worker: str, half_way: Callable[[], None]) -> list[Completion]:
    """Ten requests of each problem; `half_way` is called when half of those at home with a worker are answered.

    Of all requests half may be answered when one worker, the faster one, has no more to do.
    """
    prompt = tuple(session.tokenizer.encode("<solve>12+7\n"))
    requests = [
        GenerationRequest(prompt, Sampling(n=2, max_tokens=60), seed + i, "sample", f"p{i % 20}") for i in range(200)
    ]
    num_left = sum(HOMES[request.affinity] == worker for request in requests) // 2

    async def ask(request: GenerationRequest) -> Completion:
        nonlocal num_left
        completion = await session.generate(request)
        num_left -= HOMES[request.affinity] == worker
        if HOMES[request.affinity] == worker and num_left == 0:
            half_way()
        return completion

    return await asyncio.gather(*(ask(request) for request in requests))


def test_a_killed_and_then_a_frozen_server_cost_no_request(settings, caplog):
    """The killed one is started anew and must be taken back: when the other freezes there is nobody else to answer."""
    assert {*HOMES.values()} == {"worker-0", "worker-1"}

    async def run() -> None:
        async with generate_session(settings, run_id=RUN_ID, owner_pid=os.getpid()) as session:
            first, second = state_of(settings, 0), state_of(settings, 1)
            completions = await ask_all(session, 0, "worker-1", lambda: os.killpg(second.group, signal.SIGKILL))
            assert len(completions) == 200
            assert (session.stats.num_errors, session.stats.num_engine_deaths) == (0, 1)

            completions = await ask_all(session, 1000, "worker-0", lambda: os.killpg(first.group, signal.SIGSTOP))
            assert len(completions) == 200
            assert (session.stats.num_errors, session.stats.num_engine_deaths) == (0, 2)
            again = state_of(settings, 1)
            assert again.supervisor != second.supervisor
            assert num_tokens(again) > 1000  # the probe of its start is one token

    asyncio.run(run())
    assert "ended by itself with signal SIGKILL" in caplog.text
    assert "The engine worker-1 is taken back." in caplog.text
    assert "has given no sign of life for" in caplog.text
    assert "Last lines of" in caplog.text
