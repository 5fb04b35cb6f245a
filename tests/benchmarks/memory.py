"""Resident memory of a night's search against its number of problems: `python -m tests.benchmarks memory`.

Each night runs in a process of its own: trees of the scripted model (which answers at once), streamed to a lake, with
the response store on. Measured is the largest resident set (VmHWM) beyond what the process had when the search began,
beside the size of the rows as Arrow tables, which is what a search that gathers its rows has to hold at least.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
from collections import deque
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from pipelines.config import RolloutsConfig
from pipelines.grading import extract_answer, grade
from pipelines.inference.response_store import ResponseStore
from pipelines.inference.scripted import ScriptedModel
from pipelines.inference.types import GenerationRequest
from pipelines.lake import Lake
from pipelines.problem_rows import TABLES
from pipelines.reasoning.prompts import load_prompts
from pipelines.rollouts import search_rollouts
from pipelines.rows import rows_to_table
from tests.benchmarks.record import RESULTS

SIZES = {"streamed": (200, 1000, 2000, 4000), "gathered": (200, 2000)}
NIGHT = "2026-01-01"
ROW_GROUP_BYTES = 8 * 2**20  # as `assets/writing.py` streams
MIB = 2**20
CONFIG = RolloutsConfig(num_simulations=8, num_candidates=8, num_evaluations=1, trees_in_flight=64)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Has no arguments of its own."""


def run(arguments: argparse.Namespace) -> None:
    """Measures every size with streamed and with gathered rows, prints a table and writes the numbers."""
    rows = [_in_a_process(size, how) for how, sizes in SIZES.items() for size in sizes]
    text = _table(rows)
    sys.stdout.write(text)
    when = f"{datetime.now(UTC):%Y-%m-%d}"
    machine = f"{platform.machine()}, {os.cpu_count()} CPU cores"
    out = arguments.out or RESULTS / "memory.json"
    out.write_text(json.dumps({"measured_at": when, "machine": machine, "rows": rows}, indent=1) + "\n")
    out.with_suffix(".md").write_text(f"{machine}, {when}.\n\n{text}")


def _in_a_process(num_problems: int, how: str) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.memory", str(num_problems), how]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _table(rows: list[dict[str, float]]) -> str:
    lines = [
        "| rows | problems | rows of search_nodes | rows as Arrow, MiB | more resident memory at most, MiB | seconds |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row['how']} | {row['num_problems']:,} | {row['num_nodes']:,} | {row['arrow_mib']:.0f} | "
            f"{row['more_mib']:.0f} | {row['seconds']:.0f} |"
        )
    return "\n".join([*lines, ""])


def measure(num_problems: int, how: str) -> dict[str, float]:
    """One night in this process; `how`: "streamed" to a lake, or "gathered" in memory."""
    problems = _problems(num_problems)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        store = stack.enter_context(ResponseStore(Path(folder) / "responses.sqlite"))
        lake = Lake(Path(folder) / "lake")
        _search(_problems(8), store, None)  # imports, caches and connections that every night needs
        before = _resident("VmRSS")
        started = datetime.now(UTC)
        if how == "streamed":
            writers = {
                name: stack.enter_context(lake.writer(name, partition=NIGHT, row_group_bytes=ROW_GROUP_BYTES))
                for name in TABLES
            }
            _search(problems, store, lambda table, rows: writers[table].add(rows))
            for writer in writers.values():
                writer.commit()
            seconds, more = (datetime.now(UTC) - started).total_seconds(), _resident("VmHWM") - before
            made = [lake.read(name) for name in TABLES]
        else:
            result = _search(problems, store, None)
            seconds, more = (datetime.now(UTC) - started).total_seconds(), _resident("VmHWM") - before
            made = [getattr(result, name) for name in TABLES]
        return {
            "how": how,
            "num_problems": num_problems,
            "num_nodes": made[0].num_rows,
            "arrow_mib": sum(table.nbytes for table in made) / MIB,
            "more_mib": more / MIB,
            "seconds": seconds,
        }


def _search(problems: pa.Table, store: ResponseStore, keep):
    model = ScriptedModel(_write)
    model.requests = deque(maxlen=1)  # a record of all requests would be what is measured
    return asyncio.run(
        search_rollouts(
            problems, model.session(store), load_prompts("starter"), CONFIG, night=NIGHT, grade=grade,
            extract_answer=extract_answer, keep=keep,
        )
    )  # fmt: skip


def _write(request: GenerationRequest) -> list[str]:
    """Steps of varied wording, and an answer that is right every other time."""
    text = "".join(map(chr, request.prompt_token_ids))
    rngs = [random.Random(f"{request.seed}-{index}") for index in range(request.sampling.n)]
    num_steps = text.count("\n") - 1
    steps = ["".join(f"way {rng.randrange(10**4)} of many\n" for _ in range(4 - num_steps)) for rng in rngs]
    return [f"{step}#### {5 + (rng.random() < 0.5)}\n" for step, rng in zip(steps, rngs, strict=True)]


def _problems(num: int) -> pa.Table:
    shared = {"family": "arithmetic", "prompt": "2+3", "reference_answer": "5", "split": "train", "grader": "number"}
    return rows_to_table("problems", [{"problem_id": f"p{index:06}", **shared} for index in range(num)])


def _resident(field: str) -> int:
    """Bytes of a line of this process's status: VmRSS now, VmHWM at most so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) * 1024


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("num_problems", type=int)
    parser.add_argument("how", choices=["streamed", "gathered"])
    arguments = parser.parse_args()
    sys.stdout.write(json.dumps(measure(arguments.num_problems, arguments.how)))
