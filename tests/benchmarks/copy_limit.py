"""How long a method takes from Parquet to Parquet, beside DuckDB's plain copy of the same file."""

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

COPY = "copy (select * from '{source}') to '{target}' (format parquet)"


@dataclass(frozen=True)
class Timed:
    """One method on one table."""

    what: str
    num_rows: int
    seconds: float  # reading the columns, the method, writing its rows
    cpu_s: float  # processor time of the same, all threads together: what a busy machine does not change
    copy_s: float  # duckdb: copy (select * from the same file) to another, best of three
    copy_cpu_s: float  # its processor time
    peak_mib: int  # largest memory of the process so far

    @property
    def rows_per_s(self) -> float:
        return self.num_rows / self.seconds

    @property
    def share_of_copy(self) -> float:
        """Speed as a share of the copy's speed, by processor time."""
        return self.copy_cpu_s / self.cpu_s


def timed(what: str, table: pa.Table, run: Callable[[pa.Table], pa.Table], folder: Path) -> Timed:
    """Writes the table, then times copy and method from that file."""
    source, target = folder / "source.parquet", folder / "target.parquet"
    pq.write_table(table, source)
    copies = []
    for _ in range(3):
        with duckdb.connect() as connection:
            connection.execute("set threads = 2")
            copies.append(_clocked(partial(connection.execute, COPY.format(source=source, target=target))))
    seconds, cpu_s = _clocked(lambda: pq.write_table(run(pq.read_table(source)), target))
    copy_s, copy_cpu_s = (min(clock) for clock in zip(*copies, strict=True))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return Timed(what, table.num_rows, seconds, cpu_s, copy_s, copy_cpu_s, peak)


def _clocked(work: Callable[[], object]) -> tuple[float, float]:
    """(seconds, seconds of processor time)."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def as_markdown(times: list[Timed]) -> list[str]:
    """The times as a table."""
    names = "what | rows | seconds | cpu s | rows/s | plain copy, s | cpu s | share of the copy's speed | peak MiB"
    lines = [f"| {names} |", "|---" * 9 + "|"]
    return lines + [
        f"| {one.what} | {one.num_rows:,} | {one.seconds:.2f} | {one.cpu_s:.2f} | {one.rows_per_s:,.0f} "
        f"| {one.copy_s:.3f} | {one.copy_cpu_s:.3f} | {one.share_of_copy:.4f} | {one.peak_mib} |"
        for one in times
    ]
