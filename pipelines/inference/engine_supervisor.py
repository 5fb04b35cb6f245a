"""The small process that owns one engine: starts it, watches it, ends its whole process group.

Run as `python -m pipelines.inference.engine_service SPEC.json`. vLLM's children outlive a dead parent and hold the
memory, so nobody else starts vLLM. The supervisor ends the group when
- the owner (the run's process) is gone,
- no client has touched the heartbeat file for `idle_timeout_s`,
- it is told to stop (SIGTERM or SIGINT), or
- the engine itself ends.
If the supervisor is killed with SIGKILL the kernel sends SIGTERM to the server process; what remains of the group
is ended by the next `ensure_engine` or `stop_engine`, which find it in the state file.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from pipelines.inference.processes import ProcessId, end_group, group_members

POLL_S = 0.25
STOP_GRACE_S = 8.0
SCRATCH = "reasonmill-"  # short: a socket's path has at most 107 characters
PR_SET_PDEATHSIG = 1
ENDED_BY_ITSELF = "the engine process ended by itself"  # the one end after which it may be started again


@dataclass(frozen=True)
class EngineSpec:
    """What a supervisor is to run; written by ensure_engine, read by the supervisor."""

    command: list[str]
    environment: dict[str, str]
    log_path: str
    state_path: str
    heartbeat_path: str
    owner: ProcessId | None  # None: nobody, only the idle timeout ends the engine
    idle_timeout_s: float
    url: str
    model_name: str
    model_digest: str


@dataclass(frozen=True)
class EngineState:
    """What every process of a run can read about its engine."""

    url: str
    model_name: str
    model_digest: str
    log_path: str
    heartbeat_path: str
    supervisor: ProcessId
    group: int  # process group of the engine
    members: tuple[ProcessId, ...]  # of that group, as last seen
    ended: str | None  # why the engine ended; None while it runs


def read_state(path: Path) -> EngineState | None:
    """The state in a file; None when there is no complete one."""
    try:
        fields = json.loads(path.read_text())
        fields["supervisor"] = ProcessId(**fields["supervisor"])
        fields["members"] = tuple(ProcessId(**member) for member in fields["members"])
        return EngineState(**fields)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_json(path: Path, value: EngineState | EngineSpec) -> None:
    """Write atomically, readable by this user only (a spec holds an environment)."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(asdict(value), file)
    draft.replace(path)


def main(spec_path: str) -> None:
    """Supervise one engine until it ends or is to be ended."""
    path = Path(spec_path)
    fields = json.loads(path.read_text())
    path.unlink()
    fields["owner"] = ProcessId(**fields["owner"]) if fields["owner"] else None
    _supervise(EngineSpec(**fields))


def _supervise(spec: EngineSpec) -> None:
    stops: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, _frame: stops.append(received))
    # vLLM leaves its sockets and rendezvous files where it put them: in a folder that goes with it
    with tempfile.TemporaryDirectory(prefix=SCRATCH, ignore_cleanup_errors=True) as scratch:
        engine = _start(spec, scratch)
        members = _members_of(engine.pid, ())
        reason = None
        while reason is None:
            _write_state(spec, engine.pid, members, None)
            reason = _wait_for_change(spec, engine, members, stops)
            members = _members_of(engine.pid, members)
        _write_state(spec, engine.pid, members, reason)
        end_group(engine.pid, members, STOP_GRACE_S)
        engine.wait()


def _wait_for_change(
    spec: EngineSpec, engine: subprocess.Popen, known: tuple[ProcessId, ...], stops: list[int]
) -> str | None:
    """Block until the engine is to end (the reason) or its group has other members than `known` (None)."""
    looks = 0
    while True:
        if engine.poll() is not None:
            return f"{ENDED_BY_ITSELF} with {_exit_words(engine.returncode)}"
        if stops:
            return "it was told to stop"
        if spec.owner is not None and not spec.owner.is_alive():
            return f"its owner, process {spec.owner.pid}, is gone"
        idle_s = time.time() - _touched_at(spec.heartbeat_path)
        if idle_s > spec.idle_timeout_s:
            return f"nobody used it for {idle_s:.0f} s (engine.idle_timeout_s = {spec.idle_timeout_s:g})"
        looks += 1
        if looks % 8 == 0 and set(_members_of(engine.pid, known)) != set(known):
            return None
        time.sleep(POLL_S)


def _start(spec: EngineSpec, scratch: str) -> subprocess.Popen:
    parent = os.getpid()
    compiled = f"{tempfile.gettempdir()}/torchinductor_{os.getuid()}"  # by default below TMPDIR; worth keeping
    environment = {"TORCHINDUCTOR_CACHE_DIR": compiled} | spec.environment | {"TMPDIR": scratch}

    def in_child() -> None:
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)  # the supervisor died before the line above

    with open(spec.log_path, "ab") as log:
        return subprocess.Popen(
            spec.command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=in_child,
        )


def _members_of(group: int, known: tuple[ProcessId, ...]) -> tuple[ProcessId, ...]:
    alive = {member.pid: member for member in known if member.is_alive()}
    for member in group_members(group):
        alive.setdefault(member.pid, member)
    return tuple(sorted(alive.values(), key=lambda member: member.pid))


def _write_state(spec: EngineSpec, group: int, members: tuple[ProcessId, ...], ended: str | None) -> None:
    supervisor = ProcessId.of(os.getpid())
    state = EngineState(
        spec.url, spec.model_name, spec.model_digest, spec.log_path, spec.heartbeat_path,
        supervisor, group, members, ended,
    )  # fmt: skip
    write_json(Path(spec.state_path), state)


def _touched_at(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def _exit_words(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def spawn(spec_path: Path) -> subprocess.Popen:
    """Start a supervisor in a session of its own, so that a signal to the caller's group does not reach it."""
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines.inference.engine_service", str(spec_path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd=Path(__file__).resolve().parents[2],
    )
