"""What a whole night leaves when it dies: at every write and commit point, and at random moments.

    python -m tests.benchmarks killed_night

A night of the whole graph with a scripted policy (`tests/assets/scripted_night.py`), as a process of its own. A *point*
is a call that changes the workspace: a file opened for writing, a rename, a removal. (Sqlite's commits have their tests
where the response store is.) One night is run in which the workspace is copied just before every point: what kill -9
leaves there. From each of these copies (`--every` of them) the night runs to its end. It is also killed for real at
`--kills` random moments. After each death all that can be seen has to be whole (the files of every manifest are there
with their checksums), and after the next run every row of every table and every dataset version has to be that of an
undisturbed night. Columns and folder names that name the attempt are left out (`ATTEMPT`), and what it cost (`COSTS`).

Further: a disk that is full (`RLIMIT_FSIZE` stands in: the kernel refuses to write more), and shards whose bytes were
changed.

The points come in a seeded random order and the kills among them, so that a run that is ended early (SIGTERM)
has tried a random part of both, and says how many. `--at-once` nights die beside one another, each with a share of the
points and kills and a folder of its own (a workspace may hold its own path, so a copy goes back to where it was made).
"""

import argparse
import itertools
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from assets.run import materialize_night
from pipelines.datasets.versions import list_versions
from pipelines.errors import LakeError
from pipelines.lake import Lake
from pipelines.tables import SCHEMAS
from tests.assets.scripted_night import NIGHT, ScriptedServices, small_settings
from tests.benchmarks import record

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGING = {"os.rename", "os.remove", "os.rmdir", "os.truncate", "os.link", "os.symlink"}
PARTS = ("lake", "datasets", "checkpoints", "state", "responses")  # of a workspace
ATTEMPT = {"path", "data_version", "decided_at"}  # columns that name folders, generations and the clock
COSTS = {"stage_usage", "night_metrics", "night_log"}  # tables of seconds and replays, which differ by attempt
ATTEMPT_FOLDER = re.compile(r"(process_critic/[0-9-]+)/[0-9a-f]{12}/")
FULL_DISK_BYTES = (20_000, 45_000)  # below the largest table, and below the state of a training


@dataclass(frozen=True)
class Death:
    """When a night died, and what was wrong afterwards ("" = nothing)."""

    at: str
    complaint: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--every", type=int, default=1, help="die at every n-th point")
    parser.add_argument("--kills", type=int, default=30, help="kills at random moments")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--at-once", type=int, default=os.cpu_count(), help="nights beside one another")


def run(arguments: argparse.Namespace) -> None:
    """All parts; SystemExit where anything was lost, doubled or half visible."""
    with tempfile.TemporaryDirectory() as folder:
        sizes = (arguments.every, arguments.kills, arguments.seed, max(1, arguments.at_once))
        result = record.provenance() | measure(Path(folder), *sizes)
    record.save("killed_night", arguments.out, result, as_markdown(result))
    if result["complaints"]:
        raise SystemExit(f"{len(result['complaints'])} deaths did harm.")


def measure(folder: Path, every: int, num_kills: int, seed: int, at_once: int) -> dict[str, object]:
    """Deaths at points and moments, `at_once` of them beside one another, against an undisturbed night."""
    whole = folder / "whole"
    started = time.monotonic()
    status = in_process(whole)
    if status != 0:
        raise SystemExit(f"The undisturbed night ended with {status}: {last_words(whole)}")
    whole_s = time.monotonic() - started
    wanted = rows_of(whole)
    record.say(f"an undisturbed night: {whole_s:.1f} s, {sum(map(len, wanted.values()))} rows")
    rng = random.Random(seed)
    moments = [rng.uniform(0.0, whole_s) for _ in range(num_kills)]
    with until_ended() as is_ended, ThreadPoolExecutor(at_once) as pool:
        shares = [
            pool.submit(
                deaths_of_a_share,
                folder / str(number),
                wanted,
                (every * at_once, every * number),
                moments[number::at_once],
                random.Random(f"{seed} {number}"),
                is_ended,
            )
            for number in range(at_once)
        ]
        tries, deaths = (sum(lists, []) for lists in zip(*(share.result() for share in shares), strict=True))
    tried = [one for one, death in zip(tries, deaths, strict=True) if death]
    num_points = sum(not isinstance(one, float) for one in tries)
    return {
        "num_points": num_points * every,
        "num_crashes": sum(not isinstance(one, float) for one in tried),
        "num_kills": sum(isinstance(one, float) for one in tried),
        "num_untried": len(tries) - len(tried),
        "num_rows": sum(map(len, wanted.values())),
        "whole_s": whole_s,
        "complaints": [vars(death) for death in deaths if death and death.complaint],
        "full_disk": {num_bytes: full_disk(folder / "full", wanted, num_bytes) for num_bytes in FULL_DISK_BYTES},
        "corrupted": corrupted(whole, wanted),
    }


def deaths_of_a_share(
    folder: Path,
    wanted: dict[str, list],
    points: tuple[int, int],
    moments: list[float],
    rng: random.Random,
    is_ended: Callable[[], bool],
) -> tuple[list[tuple[Path, str] | float], list[Death | None]]:
    """Deaths at every `points[0]`-th point from `points[1]` on and at the moments; None for those not tried."""
    night = folder / "night"
    tries: list[tuple[Path, str] | float] = [*copies_at_points(night, folder / "copies", *points), *moments]
    rng.shuffle(tries)
    deaths: list[Death | None] = [None] * len(tries)
    for number, one in enumerate(tries):
        if is_ended():
            break
        shutil.rmtree(night, ignore_errors=True)
        if isinstance(one, float):
            at = f"killed after {one:.2f} s"
            in_process(night, at_moment(one))
        else:
            copy, at = one
            copy.rename(night)
        death = deaths[number] = next_run(night, wanted, at)
        if death.complaint or number % 20 == 0:
            record.say(f"{folder.name}: {number + 1} of {len(tries)}: {at}: {death.complaint or 'nothing lost'}")
    return tries, deaths


@contextmanager
def until_ended() -> Iterator[Callable[[], bool]]:
    """Whether the process has been asked to end (SIGTERM); the death that is being tried is finished first."""
    asked = []
    before = signal.signal(signal.SIGTERM, lambda *_: asked.append(True))
    try:
        yield lambda: bool(asked)
    finally:
        signal.signal(signal.SIGTERM, before)


# dying ------------------------------------------------------------------------------------------------


def next_run(folder: Path, wanted: dict[str, list], at: str) -> Death:
    """What can be seen after a death, and the night again to its end."""
    broken = what_is_broken(folder)
    status = in_process(folder)
    if broken or status != 0:
        return Death(at, broken or f"the next run ended with {status}: {last_words(folder)}")
    return Death(at, difference(rows_of(folder), wanted))


def in_process(folder: Path, arm: Callable[[Path], None] | None = None) -> int:
    """A night in a process of its own; its exit status, negative for a signal. `arm` prepares the process.

    The fork server has read the modules and started no thread: a child forked from here, where DuckDB, Arrow and torch
    run threads, can meet their locks and pools half way.
    """
    folder.mkdir(parents=True, exist_ok=True)
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([__name__])
    night = processes.Process(target=_as_child, args=(folder, arm))
    night.start()
    night.join()
    return night.exitcode


def _as_child(folder: Path, arm: Callable[[Path], None] | None) -> None:
    """Never returns: what is left open is not closed in order, as when a process dies."""
    code = 1
    try:
        os.environ.pop("DAGSTER_HOME", None)
        quiet = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        settings = small_settings(folder)
        if arm:
            arm(folder)
        materialize_night(settings, NIGHT, services=ScriptedServices(settings))
        code = 0
    except BaseException as error:  # noqa: BLE001  # the process ends here, whatever it was
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(code)


def at_moment(seconds: float) -> Callable[[Path], None]:
    """Kill -9 after so many seconds."""
    return partial(_kill_after, seconds)


def _kill_after(seconds: float, folder: Path) -> None:
    signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))


def copies_at_points(folder: Path, copies: Path, every: int, first: int = 0) -> list[tuple[Path, str]]:
    """Every n-th point of a night from the `first` on, with a copy of the workspace as it was just before."""
    points = copies / "points"
    copies.mkdir(parents=True)
    status = in_process(folder, partial(_copy_at_points, copies, points, every, first))
    if status != 0:
        raise SystemExit(f"A night ended with {status}: {last_words(folder)}")
    lines = [line.split(" ", 1) for line in points.read_text().splitlines()]
    return [(copies / number, f"before point {number}, {point}") for number, point in lines]


def _copy_at_points(copies: Path, points: Path, every: int, first: int, folder: Path) -> None:
    file = os.open(points, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    count = itertools.count()

    def on_point(point: str) -> None:
        number = next(count)
        if number % every == first:
            _copy(folder, copies / str(number))
            os.write(file, f"{number} {point}\n".encode())

    watch(folder, on_point)


def _copy(folder: Path, target: Path) -> None:
    """Copy without Python's `open`, which would be a point itself."""
    target.mkdir()
    subprocess.run(["cp", "-a", "--reflink=auto", f"{folder}/.", str(target)], check=True)


def watch(folder: Path, on_point: Callable[[str], None]) -> None:
    """Calls `on_point` before everything that Python does to files below lake, datasets, checkpoints and state."""
    inside = tuple(f"{folder}/{part}/" for part in PARTS)

    def hook(event: str, arguments: tuple) -> None:
        if event == "open":
            path, mode, flags = arguments
            if not (flags or 0) & WRITING and not set(mode or "") & set("wax+"):
                return
        elif event not in CHANGING:
            return
        path = os.fspath(arguments[0]) if not isinstance(arguments[0], int) else ""
        path = path.decode() if isinstance(path, bytes) else path
        if path.startswith(inside):
            on_point(f"{event} {path[len(str(folder)) + 1 :]}")

    sys.addaudithook(hook)


def last_words(folder: Path) -> str:
    """The end of what a night's processes wrote."""
    return (folder / "log").read_text()[-500:]


# what is there ----------------------------------------------------------------------------------------


def rows_of(folder: Path) -> dict[str, list]:
    """Every row of every table, and the content of every dataset version."""
    lake = Lake(small_settings(folder).lake_url)
    rows = {}
    for table in set(SCHEMAS) - COSTS:
        columns = [name for name in SCHEMAS[table].names if name not in ATTEMPT]
        rows[table] = [_without_folders(row) for row in lake.read(table, columns=columns).to_pylist()]
    settings = small_settings(folder)
    versions = list_versions(settings.datasets_dir, settings.publishing.name)
    return rows | {"dataset versions": [one.manifest["content_sha256"] for one in versions]}


def _without_folders(row: dict) -> dict:
    return {name: ATTEMPT_FOLDER.sub(r"\1/", one) if isinstance(one, str) else one for name, one in row.items()}


def difference(made: dict[str, list], wanted: dict[str, list]) -> str:
    """The first table that is not as it should be; "" where all are."""
    for table, rows in wanted.items():
        if made[table] != rows:
            return f"{table}: {len(made[table])} rows, {len(rows)} wanted" + _first_difference(made[table], rows)
    return ""


def _first_difference(made: list, wanted: list) -> str:
    for one, other in zip(made, wanted, strict=False):
        if isinstance(one, dict) and one != other:
            return f"; {', '.join(name for name in one if one[name] != other[name])} differ"
    return ""


def what_is_broken(folder: Path) -> str:
    """What a reader would stumble over right after the death; "" where everything visible is whole."""
    settings = small_settings(folder)
    lake = Lake(settings.lake_url)
    try:
        for table in SCHEMAS:
            for partition in lake.partitions(table):
                lake.verify(table, partition)
            lake.read(table)
        for version in list_versions(settings.datasets_dir, settings.publishing.name):
            files = [file for entry in version.manifest["sets"].values() for file in entry["files"]]
            missing = [file["path"] for file in files if not (Path(version.path) / file["path"]).is_file()]
            if missing:
                return f"{version.version} lacks {missing[0]}"
    except (LakeError, OSError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


# other ways to be hurt --------------------------------------------------------------------------------


def full_disk(folder: Path, wanted: dict[str, list], num_bytes: int) -> str:
    """A night that may write no file beyond so many bytes, and the night again with room."""
    status = in_process(folder, partial(_limit_files, num_bytes))
    said = last_words(folder).strip().splitlines()[-1:] or ["nothing"]
    death = next_run(folder, wanted, "full disk")
    complaint = "the night did not notice" if status == 0 else death.complaint
    words = said[0].replace(str(folder.resolve()), "workspace")
    return f"the night ended saying {words[-300:]!r}; then: {complaint or 'nothing lost'}"


def _limit_files(num_bytes: int, folder: Path) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, num_bytes))


def corrupted(folder: Path, wanted: dict[str, list]) -> str:
    """One byte of a shard changed: verify names it, and the night again replaces it."""
    lake = Lake(small_settings(folder).lake_url)
    path = Path(lake.files("rollouts", NIGHT)[0])
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    try:
        lake.verify("rollouts", NIGHT)
        return "not noticed"
    except LakeError as error:
        found = path.name in str(error)
    status = in_process(folder)
    complaint = "" if found else "the message does not name the file"
    complaint = complaint or ("" if status == 0 else f"the next run ended with {status}: {last_words(folder)}")
    return complaint or difference(rows_of(folder), wanted) or "named by its checksum, made anew by the next run"


def as_markdown(result: dict) -> list[str]:
    """The table of a result."""
    header = ["write and commit points", "crashes at them", "kills at random moments", "did harm", "not tried"]
    names = ("num_points", "num_crashes", "num_kills")
    row = [*(result[name] for name in names), len(result["complaints"]), result["num_untried"]]
    harm = [f"- {death['at']}: {death['complaint']}" for death in result["complaints"]]
    return [
        *record.heading(result),
        f"A scripted night of {result['num_rows']} rows in {result['whole_s']:.1f} s.",
        "",
        *record.table(header, [row]),
        "",
        *harm,
        *(f"- no file beyond {num_bytes} bytes: {said}" for num_bytes, said in result["full_disk"].items()),
        f"- a shard with a changed byte: {result['corrupted']}",
    ]
