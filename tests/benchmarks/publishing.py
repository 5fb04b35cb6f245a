"""Publishing and pulling many small rows, beside a raw Parquet copy of the same table: rows/s and peak memory.

Every run is a process of its own. The rows are those of the set `sft` (about 90 characters each), in a lake. `copy` is
what pyarrow needs to read the whole table and to write it again with the same compression, in one file, without
checksums and without fsync. `publish` makes a version of it on the same disk (shards, checksums, card, manifest),
`pull` copies that version to another folder with every file checked. Seconds are without imports; memory is the peak of
the process beyond what it had before it began.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.config import PublishingConfig, Settings
from pipelines.datasets.pull import pull_version
from pipelines.datasets.versions import DatasetStore
from pipelines.lake import Lake
from pipelines.publishing import publish
from pipelines.tables import SCHEMAS
from tests.benchmarks.record import heading, provenance, save, say, table

NIGHT = "2026-01-01"
CHUNK = 100_000  # rows made at a time
WAYS = ("copy", "publish", "pull")
TARGET = 0.5  # share of the copy's speed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Size, repetitions, and the way that a child process goes."""
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=3, help="runs of each way; the median counts")
    parser.add_argument("--child", nargs=2, metavar=("WAY", "FOLDER"), help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> None:
    """Make the rows, go every way in turn, save and show."""
    if arguments.child is not None:
        way, folder = arguments.child
        _child(way, Path(folder))
        return
    with tempfile.TemporaryDirectory() as folder:
        num_bytes = _make(_settings(Path(folder)), arguments.rows)
        say(f"input: {arguments.rows:,} rows, {num_bytes / 2**20:.0f} MiB of Parquet")
        runs = {way: [] for way in WAYS}
        for _ in range(arguments.repeats):
            for way in WAYS:
                runs[way].append(_measure(way, folder))
                say(f"{way}: {runs[way][-1]}")
    ways = {way: _summary(found, arguments.rows) for way, found in runs.items()}
    shares = {
        way: {
            "seconds": round(ways["copy"]["seconds"] / ways[way]["seconds"], 2),
            "cpu_s": round(ways["copy"]["cpu_s"] / ways[way]["cpu_s"], 2),
        }
        for way in WAYS
    }
    result = provenance() | {
        "num_rows": arguments.rows,
        "num_bytes": num_bytes,
        "load_average": os.getloadavg()[0],
        "ways": ways,
        "share_of_copy_speed": shares,
        "target": TARGET,
    }
    save("publishing", arguments.out, result, _markdown(result))


def _settings(folder: Path) -> Settings:
    return Settings(root=folder, publishing=PublishingConfig(name="large", max_shard_rows=1_000_000))


def _make(settings: Settings, num_rows: int) -> int:
    """Solutions of three short lines, seeded; returns the bytes of the lake's files."""
    draws = np.random.default_rng(0)
    lake = Lake(settings.lake_url)
    with lake.writer("sft", partition=NIGHT) as writer:
        for first in range(0, num_rows, CHUNK):
            size = min(CHUNK, num_rows - first)
            a, b, c = (draws.integers(10, 99, size) for _ in range(3))
            lines = (a, "+", b, "=", a + b, "\n", a + b, "-", c, "=", a + b - c, "\n#### ", a + b - c, "\n")
            places = np.arange(first, first + size)
            columns = {
                "prompt": _joined("<solve>", a, "+", b, "-", c, "\n"), "completion": _joined(*lines),
                "problem_id": _joined("arithmetic-", places // 8), "rollout_id": _joined("rollout-", places),
                "origin": ["search"] * size, "night": [NIGHT] * size,
            }  # fmt: skip
            writer.add(pa.table(columns, schema=SCHEMAS["sft"]))
        return writer.commit().num_bytes


def _joined(*parts: str | np.ndarray) -> pa.Array:
    """Texts of the parts in a row, numbers written out."""
    texts = [pa.scalar(part) if isinstance(part, str) else pc.cast(pa.array(part), pa.string()) for part in parts]
    return pc.binary_join_element_wise(*texts, "")


def _measure(way: str, folder: str) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks", "publishing", "--child", way, folder]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _child(way: str, folder: Path) -> None:
    """One way from a clean start; what it makes is left for the next way and replaced by the next round."""
    settings = _settings(folder)
    lake, store = Lake(settings.lake_url), DatasetStore(settings.datasets_url)
    for one in store.listing("large").versions if way == "publish" else ():
        store.delete("large", one.version)
    goal = tempfile.mkdtemp(dir=folder)
    before = _resident("VmRSS")
    start, cpu_start = time.perf_counter(), time.process_time()
    if way == "copy":
        pq.write_table(pq.read_table(lake.files("sft")), f"{goal}/copy.parquet", compression="zstd")
    elif way == "publish":
        publish(settings, lake, NIGHT, ["sft"])
    else:
        pull_version(store, "large", to=goal)
    seconds, cpu_s = time.perf_counter() - start, time.process_time() - cpu_start
    more = (_resident("VmHWM") - before) / 2**20
    say(json.dumps({"seconds": round(seconds, 3), "cpu_s": round(cpu_s, 3), "more_mib": round(more)}))
    subprocess.run(["rm", "-r", goal], check=True)


def _summary(runs: list[dict[str, float]], num_rows: int) -> dict[str, float]:
    seconds = statistics.median(one["seconds"] for one in runs)
    return {
        "seconds": seconds,
        "cpu_s": statistics.median(one["cpu_s"] for one in runs),
        "rows_per_s": round(num_rows / seconds),
        "more_mib": max(one["more_mib"] for one in runs),
    }


def _markdown(result: dict) -> list[str]:
    rows = [
        [
            way,
            f"{one['seconds']:.1f}",
            f"{one['cpu_s']:.1f}",
            f"{one['rows_per_s']:,}",
            f"{one['more_mib']:,}",
            result["share_of_copy_speed"][way]["seconds"],
            result["share_of_copy_speed"][way]["cpu_s"],
        ]
        for way, one in result["ways"].items()
    ]
    names = ["way", "seconds (median)", "of processor time", "rows/s", "more memory at most, MiB"]
    names += ["share of the copy's speed", "by processor time"]
    size = f"{result['num_rows']:,} rows, {result['num_bytes'] / 2**20:,.0f} MiB; load {result['load_average']:.1f}."
    return [*heading(result), size, "", *table(names, rows)]


def _resident(field: str) -> int:
    """Bytes of a line of this process's status: VmRSS now, VmHWM at most so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) * 1024
