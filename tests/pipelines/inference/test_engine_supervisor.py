"""The supervisor as a real process over a stand-in engine: a shell with a child that would outlive it."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipelines.inference.engine_service import stop_engine
from pipelines.inference.engine_supervisor import EngineSpec, EngineState, read_state, spawn, write_json
from pipelines.inference.processes import ProcessId, end_group, group_members

ENGINE = ["/bin/sh", "-c", "sleep 600 & sleep 600"]


class Supervised:
    """A running supervisor and the state that it reports."""

    def __init__(self, folder: Path, **changes: object) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        base = folder / "r-abc-generate"
        self.state_path = base.with_suffix(".json")
        self.heartbeat = base.with_suffix(".heartbeat")
        self.heartbeat.touch()
        fields = {
            "command": ENGINE, "environment": dict(os.environ), "log_path": f"{base}.log",
            "state_path": str(self.state_path), "heartbeat_path": str(self.heartbeat), "owner": None,
            "idle_timeout_s": 600.0, "url": "http://127.0.0.1:1", "model_name": "m", "model_digest": "d",
        }  # fmt: skip
        write_json(base.with_suffix(".spec"), EngineSpec(**(fields | changes)))
        self.process = spawn(base.with_suffix(".spec"))
        assert wait_until(lambda: self.state is not None and len(group_members(self.state.group)) == 3)

    @property
    def state(self) -> EngineState | None:
        return read_state(self.state_path)

    def ended(self) -> str | None:
        """Why the engine ended, once every process of its group is gone."""
        assert wait_until(lambda: self.process.poll() is not None)
        assert group_members(self.state.group) == []
        return self.state.ended


def wait_until(is_done: Callable[[], bool], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not is_done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def touch(heartbeat: Path, seconds_ago: float) -> None:
    """A sign of life as it would look some time after it was given: waiting for it would depend on the machine."""
    given = time.time() - seconds_ago
    os.utime(heartbeat, (given, given))


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[..., Supervised]]:
    started: list[Supervised] = []

    def start(**changes: object) -> Supervised:
        started.append(Supervised(tmp_path / "workspace", **changes))
        return started[-1]

    yield start
    for supervised in started:
        supervised.process.kill()
        supervised.process.wait()
        end_group(supervised.state.group, group_members(supervised.state.group), 0)


def test_the_group_ends_with_its_owner(supervise):
    owner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    supervised = supervise(owner=ProcessId.of(owner.pid))

    owner.kill()
    owner.wait()

    assert supervised.ended() == f"its owner, process {owner.pid}, is gone"


def test_a_zombie_owner_counts_as_gone(supervise):
    owner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    supervised = supervise(owner=ProcessId.of(owner.pid))

    owner.kill()

    assert "is gone" in supervised.ended()
    owner.wait()


def test_the_group_lives_while_somebody_uses_it_and_ends_after_the_idle_timeout(supervise):
    supervised = supervise(idle_timeout_s=600.0)
    touch(supervised.heartbeat, seconds_ago=300)
    time.sleep(1.0)  # several looks of the supervisor
    assert supervised.process.poll() is None

    touch(supervised.heartbeat, seconds_ago=601)
    assert "nobody used it for" in supervised.ended()


def test_the_group_ends_when_the_supervisor_is_told_to_stop(supervise):
    supervised = supervise()
    supervised.process.terminate()

    assert supervised.ended() == "it was told to stop"


def test_children_that_outlive_the_engine_are_ended_too(supervise):
    supervised = supervise()
    os.kill(supervised.state.group, signal.SIGKILL)

    assert supervised.ended() == "the engine process ended by itself with signal SIGKILL"


def test_what_the_engine_leaves_in_the_temporary_folder_goes_with_it(supervise, tmp_path):
    said = tmp_path / "said"
    script = f'touch "$TMPDIR/socket"; echo "$TMPDIR $TORCHINDUCTOR_CACHE_DIR" > {said}; sleep 600 & sleep 600'
    supervised = supervise(command=["/bin/sh", "-c", script])
    scratch, compiled = (Path(one) for one in said.read_text().split())
    assert (scratch / "socket").exists()
    assert scratch not in compiled.parents

    supervised.process.terminate()
    assert supervised.ended() == "it was told to stop"
    assert not scratch.exists()


@pytest.mark.slow
def test_an_engine_that_ignores_sigterm_is_killed(supervise):
    supervised = supervise(command=["/bin/sh", "-c", "trap '' TERM; sleep 600 & sleep 600 & while :; do wait; done"])
    supervised.process.terminate()

    assert supervised.ended() == "it was told to stop"


def test_stopping_a_run_ends_what_a_killed_supervisor_left_behind(make_settings):
    settings = make_settings()
    supervised = Supervised(settings.state_dir / "engines")
    assert wait_until(lambda: len(supervised.state.members) == 3)
    group = supervised.state.group
    supervised.process.kill()
    supervised.process.wait()

    assert stop_engine(settings, "r") == 0
    assert wait_until(lambda: group_members(group) == [])
    assert not supervised.state_path.exists()


def test_stopping_a_run_waits_for_a_start_under_way(make_settings):
    settings = make_settings()
    folder = settings.state_dir / "engines"
    folder.mkdir(parents=True)
    groups: list[int] = []
    with (folder / "r-abc-generate.lock").open("w") as lock:
        fcntl.flock(lock.fileno(), fcntl.LOCK_EX)

        def start() -> None:
            time.sleep(0.3)
            groups.append(Supervised(folder).state.group)
            fcntl.flock(lock.fileno(), fcntl.LOCK_UN)

        starting = threading.Thread(target=start)
        starting.start()
        assert stop_engine(settings, "r") == 1
        starting.join()
    assert wait_until(lambda: group_members(groups[0]) == [])
    assert list(folder.glob("*.json")) == []


def test_a_pid_that_another_process_has_now_is_not_the_same_process():
    me = ProcessId.of(os.getpid())

    assert me.is_alive()
    assert not ProcessId(me.pid, me.started_at - 60).is_alive()
