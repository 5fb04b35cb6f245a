"""`datasets diff` of two versions of a million rows each, per set: seconds and peak memory.

Two versions of `preference` and `rl_groups` (token lists) are published through the project's own writer: a tenth of
the rows is gone, a tenth is new and a tenth has another margin or advantage. The diff runs in a process of its own.
"""

import argparse
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipelines.config import PublishingConfig, Settings
from pipelines.datasets.diff import diff_versions
from pipelines.datasets.manifest import RunInfo
from pipelines.datasets.published import read_version
from pipelines.lake import Lake
from pipelines.publishing import publish
from pipelines.tables import SCHEMAS
from tests.benchmarks.record import heading, provenance, save, say, table

NIGHTS = ("2026-01-01", "2026-01-02")
CHUNK = 50_000
MIXING = np.uint64(0x9E3779B97F4A7C15)
PROMPT_TOKENS, COMPLETION_TOKENS = 12, 37


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Size, sets, and the child process."""
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the set in each version")
    parser.add_argument("--sets", nargs="+", choices=("preference", "rl_groups"), default=["preference", "rl_groups"])
    parser.add_argument("--child", nargs=2, metavar=("OLD", "NEW"), help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> None:
    """Publish two versions per set, diff them, save and show."""
    if arguments.child is not None:
        _child(*map(Path, arguments.child))
        return
    results = {}
    for name in arguments.sets:
        with tempfile.TemporaryDirectory() as folder:
            versions = [_publish(Path(folder), name, night, arguments.rows) for night in NIGHTS]
            say(f"{name}: published {', '.join(path.name for path in versions)}")
            command = [sys.executable, "-m", "tests.benchmarks", "dataset_diff", "--child", *map(str, versions)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            size = sum(file.stat().st_size for file in versions[0].rglob("*.parquet"))
            results[name] = json.loads(done.stdout.splitlines()[-1]) | {"num_bytes": size}
            expected = arguments.rows // 10
            assert all(results[name][key] == expected for key in ("added", "removed", "changed")), results[name]
    load = Path("/proc/loadavg").read_text().split()[0] if Path("/proc/loadavg").exists() else None
    result = provenance() | {"num_rows": arguments.rows, "load_average": load, "sets": results}
    save("dataset_diff", arguments.out, result, _markdown(result))


def _publish(folder: Path, name: str, night: str, num_rows: int) -> Path:
    settings = Settings(root=folder, publishing=PublishingConfig(name=name, max_shard_rows=250_000))
    lake = Lake(settings.lake_url)
    first = num_rows // 10 if night == NIGHTS[1] else 0
    with lake.writer(name, partition=night) as writer:
        for start in range(first, first + num_rows, CHUNK):
            writer.add(_rows(name, night, np.arange(start, min(start + CHUNK, first + num_rows)), num_rows))
        writer.commit()
    return Path(publish(settings, lake, night, [name], RunInfo(code_digest="c")).path)


def _rows(name: str, night: str, numbers: np.ndarray, num_rows: int) -> pa.Table:
    """Numbered rows; of the second night every number from a half to six tenths has another value."""
    num = len(numbers)
    is_moved = (night == NIGHTS[1]) & (numbers >= num_rows // 2) & (numbers < num_rows // 2 + num_rows // 10)
    value = pa.array(np.where(is_moved, -1.0, numbers % 97 / 97.0))
    ids = pa.array([hashlib.blake2b(str(one).encode(), digest_size=10).hexdigest() for one in numbers.tolist()])
    texts = pa.array([f"{a}+{b}={a + b}\n" for a in range(40) for b in range(40)])
    columns = {
        "problem_id": pa.array([f"p{one // 8}" for one in numbers.tolist()]),
        "night": pa.repeat(night, num),
    }
    if name == "preference":
        columns |= {"pair_id": ids, "margin": value, "prompt": texts.take(pa.array(numbers % 1600))}
        columns |= {"chosen": texts.take(pa.array(numbers % 1511)), "rejected": texts.take(pa.array(numbers % 1499))}
    else:
        columns |= {"rollout_id": ids, "advantage": value, "reward": pa.array((numbers % 2).astype(float))}
        columns |= {"prompt_token_ids": _lists(numbers, PROMPT_TOKENS, np.int64)}
        columns |= {"completion_token_ids": _lists(numbers, COMPLETION_TOKENS, np.int64)}
        columns |= {"behaviour_logprobs": _lists(numbers, COMPLETION_TOKENS, np.float64)}
    schema = SCHEMAS[name]
    return pa.table([columns.get(one.name, pa.nulls(num, one.type)).cast(one.type) for one in schema], schema=schema)


def _lists(numbers: np.ndarray, length: int, kind: type) -> pa.ListArray:
    mixed = (numbers[:, None] * length + np.arange(length)[None, :]).astype(np.uint64) * MIXING
    mixed ^= mixed >> np.uint64(29)
    values = -(mixed % np.uint64(1 << 20)).astype(float) / 2**20 if kind is np.float64 else mixed % np.uint64(61)
    return pa.ListArray.from_arrays(np.arange(0, values.size + 1, length, dtype=np.int32), values.astype(kind).ravel())


def _child(old: Path, new: Path) -> None:
    started, cpu_started = time.perf_counter(), time.process_time()
    (found,) = diff_versions(read_version(old), read_version(new)).sets
    numbers = {
        "seconds": round(time.perf_counter() - started, 2),
        "cpu_s": round(time.process_time() - cpu_started, 2),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }
    say(json.dumps(numbers | {key: getattr(found, f"num_{key}") for key in ("added", "removed", "changed", "same")}))


def _markdown(result: dict) -> list[str]:
    rows = [
        [name, f"{one['num_bytes'] / 2**20:.0f}", one["seconds"], one["cpu_s"], one["peak_gib"]]
        for name, one in result["sets"].items()
    ]
    return [
        *heading(result),
        f"{result['num_rows']:,} rows in each of two versions; load average {result['load_average']}.",
        "",
        *table(["set", "MiB of Parquet per version", "seconds", "of processor time", "peak memory, GiB"], rows),
    ]
