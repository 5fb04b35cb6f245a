"""How long a method takes from Parquet to Parquet, beside DuckDB's plain copy of the same file."""

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq


@dataclass(frozen=True)
class Timed:
    """One method on one table."""

    what: str
    num_rows: int
    seconds: float  # reading the columns, the method, writing its rows
    copy_s: float  # duckdb: copy (select * from the same file) to another, best of three
    peak_mib: int  # largest memory of the process so far

    @property
    def rows_per_s(self) -> float:
        return self.num_rows / self.seconds

    @property
    def share_of_copy(self) -> float:
        """Speed as a share of the copy's speed."""
        return self.copy_s / self.seconds


def timed(what: str, table: pa.Table, run: Callable[[pa.Table], pa.Table], folder: Path) -> Timed:
    """Writes the table, then times copy and method from that file."""
    source, target = folder / "source.parquet", folder / "target.parquet"
    pq.write_table(table, source)
    copies = []
    for _ in range(3):
        with duckdb.connect() as connection:
            connection.execute("set threads = 2")
            start = time.perf_counter()
            connection.execute(f"copy (select * from '{source}') to '{target}' (format parquet)")
            copies.append(time.perf_counter() - start)
    start = time.perf_counter()
    pq.write_table(run(pq.read_table(source)), target)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return Timed(what, table.num_rows, seconds, min(copies), peak)


def as_markdown(times: list[Timed]) -> list[str]:
    """The times as a table."""
    lines = [
        "| what | rows | seconds | rows/s | plain copy, s | share of the copy's speed | peak MiB |",
        "|---" * 7 + "|",
    ]
    return lines + [
        f"| {one.what} | {one.num_rows:,} | {one.seconds:.2f} | {one.rows_per_s:,.0f} | {one.copy_s:.3f} "
        f"| {one.share_of_copy:.4f} | {one.peak_mib} |"
        for one in times
    ]
