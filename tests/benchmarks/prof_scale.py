"""PROF with reasons from Parquet to Parquet, against DuckDB's plain copy of the table and a loop over groups.

Every run is a process of its own: seconds are those of the way alone, without imports, memory is the process's peak,
imports included. The plain loop reads the file into Python objects (one dict per row), gathers them by problem, sorts
every group by the same rule, and writes all rows with the decision; what both keep must be equal.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.apply import apply_method
from tests.benchmarks.record import heading, provenance, save, say, table

GROUP_SIZE, MEAN_STEPS, NUM_REMOVED = 8, 8, 4
CHUNK = 400_000  # rows made at a time
WAYS = ("copy", "prof", "loop")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Size, repetitions, and the way that a child process goes."""
    parser.add_argument("--rows", type=int, default=1_000_000, help="rollouts, in groups of 8")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each way; the median counts")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--child", nargs=3, metavar=("WAY", "INPUT", "OUTPUT"), help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> None:
    """Make the input, run every way in turn, save and show."""
    if arguments.child is not None:
        way, source, target = arguments.child
        _child(way, Path(source), Path(target))
        return
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "rollouts.parquet"
        _make(source, arguments.rows)
        say(f"input: {arguments.rows:,} rollouts, {source.stat().st_size / 2**20:.0f} MiB")
        runs = {way: [] for way in arguments.ways}
        for _ in range(arguments.repeats):
            for way in arguments.ways:
                runs[way].append(_measure(way, source, Path(folder) / f"{way}.parquet"))
                say(f"{way}: {runs[way][-1]}")
        is_equal = _kept(Path(folder), "prof") == _kept(Path(folder), "loop") if {"prof", "loop"} <= set(runs) else None
        size = source.stat().st_size
    ways = {way: _summary(found, arguments.rows) for way, found in runs.items()}
    result = provenance() | {
        "num_rows": arguments.rows,
        "num_bytes": size,
        "ways": ways,
        "load_average": Path("/proc/loadavg").read_text().split()[0] if Path("/proc/loadavg").exists() else None,
        "prof_to_copy": _ratio(ways, "prof", "copy"),
        "loop_to_prof": _ratio(ways, "loop", "prof"),
        "prof_to_copy_cpu": _ratio(ways, "prof", "copy", "cpu_s"),
        "loop_to_prof_cpu": _ratio(ways, "loop", "prof", "cpu_s"),
        "prof_equals_loop": is_equal,
    }
    save("prof_scale", arguments.out, result, _markdown(result))


def _make(target: Path, num_rows: int) -> None:
    """Groups of 8 with 4 to 12 steps each, scores that know a little of the outcome; seeded."""
    schema = pa.schema(
        [
            ("problem_id", pa.string()),
            ("rollout_id", pa.string()),
            ("outcome_reward", pa.float64()),
            ("step_values", pa.list_(pa.float64())),
        ]
    )
    draws = np.random.default_rng(0)
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        for first in range(0, num_rows, CHUNK):
            places = np.arange(first, min(first + CHUNK, num_rows))
            counts = draws.integers(MEAN_STEPS - 4, MEAN_STEPS + 5, len(places))
            outcomes = (draws.random(len(places)) < draws.random(len(places))).astype(float)
            values = np.clip(0.4 + 0.2 * np.repeat(outcomes, counts) + 0.2 * draws.standard_normal(counts.sum()), 0, 1)
            columns = [
                pa.array([f"p{place // GROUP_SIZE:08d}" for place in places]),
                pa.array([f"r{place:09d}" for place in places]),
                pa.array(outcomes),
                pa.ListArray.from_arrays(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32), pa.array(values)),
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema), row_group_size=65_536)


def _measure(way: str, source: Path, target: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks", "prof_scale", "--child", way, str(source), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _child(way: str, source: Path, target: Path) -> None:
    start, cpu_start = time.perf_counter(), time.process_time()
    {"copy": _copy, "prof": _prof, "loop": _loop}[way](source, target)
    seconds, cpu_s = time.perf_counter() - start, time.process_time() - cpu_start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    say(json.dumps({"seconds": round(seconds, 3), "cpu_s": round(cpu_s, 3), "peak_gib": round(peak, 3)}))


def _copy(source: Path, target: Path) -> None:
    duckdb.execute(f"copy (from read_parquet('{source}')) to '{target}' (format parquet, compression zstd)")


def _prof(source: Path, target: Path) -> None:
    apply_method("prof", source, target, {})


def _loop(source: Path, target: Path) -> None:
    """PROF-Both with the mean, written down as the paper's pseudo-code."""
    rows = pq.read_table(source).to_pylist()
    total, count = 0.0, 0
    for row in rows:
        total += sum(row["step_values"])
        count += len(row["step_values"])
    centre = total / count
    groups = defaultdict(list)
    for row in rows:
        steps = row["step_values"]
        mean = sum(2 * (value - centre) for value in steps) / len(steps) if steps else 0.0
        outlier = 10.0 if not 2 <= len(steps) <= 30 else 0.0
        row["score"] = round(mean * (2 * row["outcome_reward"] - 1) - outlier, 9)
        row["kept"], row["reason"] = True, None
        groups[row["problem_id"]].append(row)
    for group in groups.values():
        group = sorted(group, key=lambda row: (row["score"], row["rollout_id"]))
        right = [row for row in group if row["outcome_reward"] == 1]
        wrong = [row for row in group if row["outcome_reward"] == 0]
        k = min(NUM_REMOVED, len(group))
        k_right = max(min(k, round((len(right) - len(wrong) + k) / 2), len(right)), 0)
        for row in right[:k_right] + wrong[: min(k - k_right, len(wrong))]:
            row["kept"], row["reason"] = False, "low_consistency"
    pq.write_table(pa.Table.from_pylist(rows), target, compression="zstd")


def _kept(folder: Path, way: str) -> list[bool]:
    return pq.read_table(folder / f"{way}.parquet", columns=["kept"])["kept"].to_pylist()


def _summary(runs: list[dict[str, float]], num_rows: int) -> dict[str, float]:
    seconds = statistics.median(one["seconds"] for one in runs)
    return {
        "seconds": seconds,
        "all_seconds": [one["seconds"] for one in runs],
        "cpu_s": statistics.median(one["cpu_s"] for one in runs),
        "peak_gib": max(one["peak_gib"] for one in runs),
        "rows_per_s": round(num_rows / seconds),
    }


def _ratio(ways: dict[str, dict[str, float]], one: str, other: str, number: str = "seconds") -> float | None:
    return round(ways[one][number] / ways[other][number], 2) if {one, other} <= set(ways) else None


def _markdown(result: dict) -> list[str]:
    rows = [
        [way, f"{one['seconds']:.1f}", f"{one['cpu_s']:.1f}", f"{one['rows_per_s']:,}", f"{one['peak_gib']:.2f}"]
        for way, one in result["ways"].items()
    ]
    size = (
        f"{result['num_rows']:,} rollouts in groups of {GROUP_SIZE}, {result['num_bytes'] / 2**20:.0f} MiB of Parquet"
    )
    sentences = []
    if result["prof_to_copy"] is not None:
        sentences = [
            f"PROF takes {result['prof_to_copy']} times the copy ({result['prof_to_copy_cpu']} of processor time)."
        ]
    if result["loop_to_prof"] is not None:
        sentences += [
            f"The loop takes {result['loop_to_prof']} times PROF ({result['loop_to_prof_cpu']} of processor time).",
            f"PROF and the loop keep the same rows: {result['prof_equals_loop']}.",
        ]
    return [
        *heading(result),
        f"{size}; load average at the end {result['load_average']}.",
        "",
        *table(["way", "seconds (median)", "of processor time", "rows/s", "peak memory, GiB"], rows),
        "",
        *sentences,
    ]
