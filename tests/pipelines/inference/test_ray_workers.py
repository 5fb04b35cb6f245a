"""Two CPU workers on a local Ray cluster of two machines, one of which is lost."""

import asyncio
import builtins
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipelines.config import EngineConfig, Settings
from pipelines.inference.engine_service import stop_engine
from pipelines.inference.engine_supervisor import EngineState, read_state
from pipelines.inference.errors import EngineStartError
from pipelines.inference.ray_workers import engine_resources, ray_engines
from pipelines.inference.session import Session, generate_session
from pipelines.inference.types import Completion, GenerationRequest, Sampling

RUN_ID = "on_ray"
SMALL = {"object_store_memory": 80 << 20, "include_dashboard": False}


def test_a_worker_claims_its_cores_and_the_gpus_of_its_group():
    one = EngineConfig(mode="ray")
    group = EngineConfig(mode="ray", tensor_parallel_size=4, ray_num_cpus=8)

    assert engine_resources(one, {"CPU": 2.0}) == {"num_cpus": 1.0, "num_gpus": 0.0}
    assert engine_resources(one, {"CPU": 2.0, "GPU": 2.0}) == {"num_cpus": 1.0, "num_gpus": 1.0}
    assert engine_resources(group, {"CPU": 64.0, "GPU": 8.0}) == {"num_cpus": 8.0, "num_gpus": 4.0}
    with pytest.raises(EngineStartError, match="One worker claims 8 CPU .*ray_num_cpus.*, and the whole .* has 2"):
        engine_resources(group, {"CPU": 2.0})
    with pytest.raises(EngineStartError, match="claims 4 GPU .*tensor_parallel_size.*, and the whole .* has 1"):
        engine_resources(group, {"CPU": 64.0, "GPU": 1.0})


def test_without_ray_the_error_says_what_to_install(make_settings, monkeypatch):
    real_import = builtins.__import__

    def without_ray(name: str, *rest: object) -> object:
        if name == "ray":
            raise ImportError("No module named 'ray'")
        return real_import(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_ray)
    with pytest.raises(EngineStartError, match="pip install -r requirements/ray.txt"):
        ray_engines(make_settings(mode="ray"), "starter", "d", RUN_ID)


class TwoMachines:
    """A Ray cluster of two machines with one core each, and a head without any."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **SMALL})
        self.machines = [self.add_machine() for _ in range(2)]

    def add_machine(self) -> object:
        return self.cluster.add_node(num_cpus=1, **SMALL)

    def lose(self, machine: object) -> None:
        """End a machine without warning, and its actor with it."""
        self.cluster.remove_node(machine, allow_graceful=False)


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch) -> Iterator[TwoMachines]:
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    made = TwoMachines()
    yield made
    ray.shutdown()
    made.cluster.shutdown()


def states(settings: Settings) -> list[EngineState]:
    """Engines whose supervisors live."""
    found = [read_state(path) for path in (settings.state_dir / "engines").glob(f"{RUN_ID}_*.json")]
    return [state for state in found if state is not None and state.supervisor.is_alive() and state.ended is None]


async def ask_all(session: Session, seed: int, half_way: Callable[[], None] = lambda: None) -> list[Completion]:
    """Five requests of each of 20 problems; `half_way` is called when half of them are answered."""
    prompt = tuple(session.tokenizer.encode("<solve>12+7\n"))
    num_answered = 0

    async def ask(problem: int, number: int) -> Completion:
        nonlocal num_answered
        request = GenerationRequest(prompt, Sampling(n=2, max_tokens=60), seed + number, "sample", f"p{problem}")
        completion = await session.generate(request)
        num_answered += 1
        if num_answered == 50:
            half_way()
        return completion

    return await asyncio.gather(*(ask(i % 20, i) for i in range(100)))


@pytest.mark.vllm
@pytest.mark.slow
def test_a_lost_machine_costs_no_request_and_its_worker_starts_on_the_next(machines, make_settings, tiny_model: Path):
    settings = make_settings(
        tiny_model, mode="ray", num_workers=2, ray_address=machines.cluster.address, start_timeout_s=600.0
    )
    owner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])

    async def run() -> None:
        async with generate_session(settings, run_id=RUN_ID, owner_pid=owner.pid) as session:
            assert len(states(settings)) == 2
            completions = await ask_all(session, 0, lambda: machines.lose(machines.machines[1]))
            assert len(completions) == 100
            assert session.stats.num_errors == 0
            assert await wait_until(lambda: len(states(settings)) == 1)  # the lost machine's engine is gone
            # All may have been answered before the engine went: an engine without requests is missed by the next ones.
            assert len(await ask_all(session, 500)) == 100
            assert session.stats.num_errors == 0

            machines.add_machine()
            assert await wait_until(lambda: len(states(settings)) == 2)
            assert len(await ask_all(session, 1000)) == 100

    try:
        asyncio.run(run())
        engines = states(settings)
        owner.kill()
        owner.wait()
        assert asyncio.run(wait_until(lambda: not any(p.is_alive() for engine in engines for p in engine.members)))
    finally:
        owner.kill()
        stop_engine(settings, RUN_ID)


async def wait_until(is_done: Callable[[], bool], seconds: float = 300) -> bool:
    deadline = time.monotonic() + seconds
    while not is_done():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.5)
    return True
