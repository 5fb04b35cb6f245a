"""The engines of a model and run, one unless configured otherwise: found when there, started when not.

Every step of a run is a process of its own and asks `ensure_engine` for the engine of (run, model, kind). The first
one starts a supervisor (engine_supervisor.py) under a file lock; the others wait for the lock and then find the state
file. Under `settings.state_dir/engines/`, per engine: `.lock`, `.json` (state), `.log` (what vLLM printed),
`.heartbeat` (touched by clients).

An engine counts as started when it has answered a one-token request under its own name, which holds the model's
digest: another server on the same port can never be mistaken for it.
"""

import fcntl
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from pipelines.config import Settings
from pipelines.inference.engine_flags import engine_environment, server_command, visible_devices
from pipelines.inference.engine_supervisor import (
    ENDED_BY_ITSELF,
    STOP_GRACE_S,
    EngineSpec,
    EngineState,
    main,
    read_state,
    spawn,
    write_json,
)
from pipelines.inference.errors import EngineStartError
from pipelines.inference.processes import ProcessId, end_group
from pipelines.inference.ray_workers import stop_ray_engines
from pipelines.inference.tokens import check_model_folder, max_model_len, model_digest

Kind = Literal["generate", "pooling"]
PROBE_PAUSE_S = 0.25
PROBE_TIMEOUT_S = 60.0  # the first request may pay for one-off warm-up
LOG_TAIL_LINES = 20
_OWN_FILES = (".json", ".lock")
_CAUSE = re.compile(r"\b[A-Z]\w*(?:Error|Exception|Interrupt)\b: .+|error: .+|No module named .+")
_CHATTER = re.compile(r"\] Route: |Consider increasing with ulimit")


@dataclass(frozen=True)
class EngineHandle:
    """An engine that answers, or did when it was handed out."""

    url: str  # without /v1
    model_name: str  # what the server calls the model
    model_digest: str
    log_path: Path | None  # None for a server of the user's
    state_path: Path | None
    heartbeat_path: Path | None
    supervisor: ProcessId | None  # tells this start of the engine from later ones

    def diagnose(self) -> str | None:
        """Why the engine is dead, with its last log lines; None while its supervisor says it runs."""
        if self.state_path is None:
            return None
        state = read_state(self.state_path)
        if state is not None and state.supervisor != self.supervisor:
            return f"The engine {self.model_name} at {self.url} has been started anew at {state.url}."
        if state is not None and state.ended is None and state.supervisor.is_alive():
            return None
        why = state.ended if state is not None and state.ended else "its supervisor is gone"
        return f"The engine {self.model_name} has ended: {why}.\n{log_tail(self.log_path)}"

    def touch(self) -> None:
        """Tell the supervisor that somebody still uses the engine."""
        if self.heartbeat_path is not None:
            self.heartbeat_path.touch()


class RunEngine:
    """One engine of a run as a session holds it: it may be started anew, at another address."""

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        run_id: str,
        owner_pid: int | None,
        index: int,
        host: str = "127.0.0.1",
        kind: Kind = "generate",
    ) -> None:
        """Finds or starts engine `index`; see `ensure_engine`."""
        self._ensure = partial(
            ensure_engine, settings, folder, run_id=run_id, owner_pid=owner_pid, kind=kind, index=index, host=host
        )
        self._handle = self._ensure()

    @property
    def url(self) -> str:
        """The address, without /v1."""
        return self._handle.url

    @property
    def model_name(self) -> str:
        """What the server calls the model; the same for all engines of a model."""
        return self._handle.model_name

    def diagnose(self) -> str | None:
        """Why the engine is dead; None while its supervisor says it runs."""
        return self._handle.diagnose()

    def log_tail(self) -> str:
        """What the engine said last."""
        return log_tail(self._handle.log_path)

    def touch(self) -> None:
        """Tell the supervisor that somebody still uses the engine."""
        self._handle.touch()

    def restart(self) -> str:
        """End the engine, start it anew and return its address. Raises EngineStartError."""
        self._handle = self._ensure(stale=self._handle)
        return self._handle.url


def ensure_engine(
    settings: Settings,
    model_folder: Path,
    *,
    run_id: str,
    owner_pid: int | None = None,
    kind: Kind = "generate",
    index: int = 0,
    host: str = "127.0.0.1",
    stale: EngineHandle | None = None,
) -> EngineHandle:
    """The engine of this run and model; starts it (tens of seconds) when no process of the run has yet.

    `index`: which of the run's engines for this model, from 0. `host`: the address of this machine that it listens on.
    `stale`: an engine that died or no longer answers, which is ended and started anew; where another process has done
    that already, this is the one it started. What was stopped on purpose is not started again.
    `owner_pid`: the process with whose end the engine ends; None leaves that to `idle_timeout_s` and `stop_engine`.
    `settings.engine.mode = "url"` never starts anything: see session.py.
    Raises ModelFolderError before anything is started, EngineStartError with the engine's last log lines.
    """
    check_model_folder(model_folder)
    digest = model_digest(model_folder)
    base = _engines_folder(settings) / f"{_file_safe(run_id)}-{digest[:12]}-{kind}{f'-{index}' if index else ''}"
    state_path = base.with_name(base.name + ".json")
    deadline = time.monotonic() + settings.engine.start_timeout_s
    with _exclusive(base.with_name(base.name + ".lock"), deadline):
        state = read_state(state_path)
        if state is not None and state.ended is None and state.supervisor.is_alive():
            if stale is None or state.supervisor != stale.supervisor:
                Path(state.heartbeat_path).touch()
                return _handle(state, state_path)
            _stop(state)
        elif stale is not None and (state is None or not (state.ended or ENDED_BY_ITSELF).startswith(ENDED_BY_ITSELF)):
            why = state.ended if state is not None else "it was stopped with its run"
            raise EngineStartError(f"The engine {stale.model_name} is not started again: {why}.")
        if state is not None:
            end_group(state.group, state.members, STOP_GRACE_S)  # what a killed supervisor left behind
        spec = _new_spec(settings, model_folder, digest, base, owner_pid, kind, index, host)
        return _start(spec, settings.engine.start_timeout_s, kind)


def stop_engine(settings: Settings, run_id: str) -> int:
    """End all engines of a run and wait until they are gone; returns how many were running.

    A start that is under way is waited for (up to `engine.start_timeout_s`), so that nothing begins after the end.
    """
    num_stopped = stop_ray_engines(settings, run_id) if settings.engine.mode == "ray" else 0
    folder, pattern = _engines_folder(settings), f"{_file_safe(run_id)}-*"
    for path in sorted({found.with_suffix(".json") for found in folder.glob(pattern) if found.suffix in _OWN_FILES}):
        num_stopped += _stop_and_forget(path)
        deadline = time.monotonic() + settings.engine.start_timeout_s
        with suppress(EngineStartError), _exclusive(path.with_suffix(".lock"), deadline):
            num_stopped += _stop_and_forget(path)
    return num_stopped


def _stop_and_forget(state_path: Path) -> bool:
    """Stop the engine of a state file; whether it was running."""
    state = read_state(state_path)
    if state is None:
        return False
    was_running = state.supervisor.is_alive()
    _stop(state)
    state_path.unlink(missing_ok=True)
    Path(state.heartbeat_path).unlink(missing_ok=True)
    return was_running


def _stop(state: EngineState) -> None:
    """End a supervisor and its engine, and wait until they are gone."""
    if state.supervisor.is_alive():
        with suppress(ProcessLookupError):  # it has just ended by itself
            os.kill(state.supervisor.pid, 15)
        _wait_until(lambda: not state.supervisor.is_alive(), STOP_GRACE_S + 5)
    end_group(state.group, state.members, STOP_GRACE_S)


def log_tail(path: Path | None, num_lines: int = LOG_TAIL_LINES) -> str:
    """The errors named in an engine's log, then its last lines; without progress bars and banners."""
    if path is None or not path.is_file():
        return "There is no log."
    text = path.read_bytes()[-200_000:].decode("utf-8", "replace")
    lines = [line.rstrip()[:400] for line in re.split(r"[\r\n]+", text) if line.strip() and not _CHATTER.search(line)]
    causes = list(dict.fromkeys(found.group(0)[:400] for line in lines if (found := _CAUSE.search(line))))
    shown = [f"Errors in {path}:", *(f"  {cause}" for cause in causes[-4:])] if causes else []
    return "\n".join([*shown, f"Last lines of {path}:", *(f"  {line}" for line in lines[-num_lines:])])


def _new_spec(
    settings: Settings,
    folder: Path,
    digest: str,
    base: Path,
    owner_pid: int | None,
    kind: Kind,
    index: int,
    host: str,
) -> EngineSpec:
    owner = None
    if owner_pid is not None:
        owner = ProcessId.of(owner_pid)
        if owner is None:
            raise EngineStartError(f"The process {owner_pid}, which was to own the engine, is already gone.")
    port = _free_port(host)
    context = min(settings.policy.max_model_len, max_model_len(folder) or settings.policy.max_model_len)
    model_name = f"{folder.name}-{digest[:12]}"
    return EngineSpec(
        command=server_command(sys.executable, settings.engine, folder, model_name, port, kind, context, host),
        environment=_environment(settings, index),
        log_path=f"{base}.log",
        state_path=f"{base}.json",
        heartbeat_path=f"{base}.heartbeat",
        owner=owner,
        idle_timeout_s=settings.engine.idle_timeout_s,
        url=f"http://{host}:{port}",
        model_name=model_name,
        model_digest=digest,
    )


def _environment(settings: Settings, index: int) -> dict[str, str]:
    environment = engine_environment(settings.engine, os.environ)
    if settings.engine.mode != "server":
        return environment  # Ray has given each of its workers devices of its own
    devices = visible_devices(settings.engine, index, os.environ)
    return environment | ({"CUDA_VISIBLE_DEVICES": devices} if devices is not None else {})


def _start(spec: EngineSpec, start_timeout_s: float, kind: Kind) -> EngineHandle:
    state_path = Path(spec.state_path)
    state_path.unlink(missing_ok=True)
    if Path(spec.log_path).exists():
        Path(spec.log_path).replace(f"{spec.log_path}.before")  # what the engine said before it was started anew
    Path(spec.log_path).touch()
    Path(spec.heartbeat_path).touch()
    spec_path = state_path.with_suffix(".spec")
    write_json(spec_path, spec)
    supervisor = spawn(spec_path)
    try:
        _wait_until_ready(spec, supervisor, start_timeout_s, kind)
    except BaseException:
        supervisor.terminate()  # also when the caller is interrupted: no half-started engine stays
        _wait_until(lambda: supervisor.poll() is not None, STOP_GRACE_S + 5)
        raise
    state = read_state(state_path)
    if state is None:
        raise EngineStartError(f"The engine {spec.model_name} answered, but {state_path} was removed; run again.")
    return _handle(state, state_path)


def _wait_until_ready(spec: EngineSpec, supervisor: subprocess.Popen, start_timeout_s: float, kind: Kind) -> None:
    deadline = time.monotonic() + start_timeout_s
    while not _answers(spec, kind):
        Path(spec.heartbeat_path).touch()
        state = read_state(Path(spec.state_path))
        if supervisor.poll() is not None or (state is not None and state.ended is not None):
            why = state.ended if state is not None and state.ended else "its supervisor could not run it"
            raise EngineStartError(_start_failure(spec, why))
        if time.monotonic() >= deadline:
            raise EngineStartError(
                _start_failure(spec, f"it did not answer within {start_timeout_s:g} s (engine.start_timeout_s)")
            )
        time.sleep(PROBE_PAUSE_S)


def _start_failure(spec: EngineSpec, why: str) -> str:
    return f"The engine for the model {spec.model_name} did not start: {why}.\n{log_tail(Path(spec.log_path))}"


def _answers(spec: EngineSpec, kind: Kind) -> bool:
    """Whether the server is up and, for a generating model, completes one token under its own name."""
    try:
        with urllib.request.urlopen(f"{spec.url}/health", timeout=5):
            pass
        if kind == "pooling":
            return True
        body = {"model": spec.model_name, "prompt": [1], "max_tokens": 1}
        request = urllib.request.Request(
            f"{spec.url}/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=PROBE_TIMEOUT_S):
            return True
    except (OSError, urllib.error.URLError):
        return False


@contextmanager
def _exclusive(path: Path, deadline: float) -> Iterator[None]:
    """Hold the file lock at `path`; the kernel frees it when its holder dies."""
    with path.open("w") as file:
        while not _try_lock(file.fileno()):
            if time.monotonic() >= deadline:
                raise EngineStartError(
                    f"Another process has been starting the same engine for longer than engine.start_timeout_s; it "
                    f"holds {path}."
                )
            time.sleep(PROBE_PAUSE_S)
        yield


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _handle(state: EngineState, state_path: Path) -> EngineHandle:
    return EngineHandle(
        url=state.url,
        model_name=state.model_name,
        model_digest=state.model_digest,
        log_path=Path(state.log_path),
        state_path=state_path,
        heartbeat_path=Path(state.heartbeat_path),
        supervisor=state.supervisor,
    )


def _engines_folder(settings: Settings) -> Path:
    folder = Path(settings.state_dir) / "engines"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _file_safe(run_id: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]", "_", run_id)


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


def _wait_until(is_done: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not is_done():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.05)
    return True


if __name__ == "__main__":
    main(sys.argv[1])
