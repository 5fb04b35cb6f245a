"""Pairs over many trees, and contradictions and cycles over many triples, from Parquet to Parquet.

Trees have a root, three children and three children of each, with random values; miners read them as `reasonmill apply`
does. Triples are three texts of a problem with a win between any two; a fourth of them are cycles. Each method is
measured against DuckDB's plain copy of the same file, beside it in turn; medians of `--repeats` runs. The number of
cycles found is compared with the number that was planted.

    python -m tests.benchmarks pairs
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.preference.methods import curation_named
from tests.benchmarks import record

MINERS = ("sibling_step_pairs", "mcts_dpo_pairs", "ppm_step_pairs", "tree_path_pairs")
TREES = """
    select
        concat('t', tree) as tree_id,
        node as node_id,
        case when node = 0 then null when node < 4 then 0 else (node - 1) // 3 end as parent_id,
        concat('p', tree) as problem_id,
        if(node = 0, concat('problem number ', tree), null) as prompt,
        if(node = 0, '', concat('step ', node, ': ', md5(concat(tree, '-', node)))) as step_text,
        null::varchar as action,
        round(hash(tree, node, 1) % 1001 / 1000, 3) as value,
        null::double as raw_value,
        (1 + hash(tree, node, 2) % 8)::bigint as visit_count,
        if(node > 3, (hash(tree, node, 3) % 2)::double, null) as outcome_reward,
        if(node = 0, 'policy', null) as policy
    from (select unnest(range($size)) as tree) cross join (select unnest(range(13)) as node)
    order by tree, node
"""
TRIPLES = """
    select
        concat('p', problem) as problem_id,
        concat('problem number ', problem) as prompt,
        concat('text ', if(turned, two, one), ' of ', md5(problem::varchar)) as chosen,
        concat('text ', if(turned, one, two), ' of ', md5(problem::varchar)) as rejected
    from (
        select *, one = 'a' and two = 'c' and problem % 4 = 0 as turned
        from (select unnest(range($size)) as problem)
        cross join (values ('a', 'b'), ('b', 'c'), ('a', 'c')) as wins(one, two)
    )
    order by problem, one, two
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--size", type=int, default=100_000, help="trees, and triples")
    parser.add_argument("--repeats", type=int, default=3, help="runs of which the median is taken")


def run(arguments: argparse.Namespace) -> None:
    """Measures every method, prints a table and writes the numbers."""
    with tempfile.TemporaryDirectory() as folder:
        trees, triples = Path(folder) / "trees.parquet", Path(folder) / "triples.parquet"
        for path, rows in ((trees, TREES), (triples, TRIPLES)):
            duckdb.execute(f"copy ({rows.replace('$size', str(arguments.size))}) to '{path}' (format parquet)")
        measured = [_measured(name, trees, arguments.repeats) for name in MINERS]
        measured += [_measured(name, triples, arguments.repeats) for name in ("contradictions", "intransitive_pairs")]
    planted = 3 * len(range(0, arguments.size, 4))
    found = measured[-1].pop("num_removed")
    result = record.provenance() | {
        "size": arguments.size,
        "load": os.getloadavg()[0],
        "num_planted": planted,
        "num_found": found,
        "rows": measured,
    }
    record.save("pairs", arguments.out, result, _as_markdown(result))


def _measured(name: str, source: Path, repeats: int) -> dict[str, object]:
    """Seconds of one method and of the plain copy, in turn, and what came out."""
    target = source.with_name("out.parquet")
    seconds, copying = [], []
    for _ in range(repeats):
        seconds.append(_timed(lambda: _apply(name, source, target)))
        made = pq.read_table(target)
        copying.append(_timed(lambda: duckdb.execute(f"copy (from '{source}') to '{target}' (format parquet)")))
    num_rows = pq.read_metadata(source).num_rows
    took, cpu_s = (statistics.median(column) for column in zip(*seconds, strict=True))
    copied, copied_cpu_s = (statistics.median(column) for column in zip(*copying, strict=True))
    one = {"method": name, "num_rows": num_rows, "seconds": took, "copy_seconds": copied, "rows_per_s": num_rows / took}
    one |= {"cpu_s": cpu_s, "copy_cpu_s": copied_cpu_s, "share_of_copy": copied_cpu_s / cpu_s}
    one |= {"times_copy": took / copied, "num_made": made.num_rows}
    return one | ({"num_removed": made["kept"].to_pylist().count(False)} if "kept" in made.column_names else {})


def _apply(name: str, source: Path, target: Path) -> None:
    curation = curation_named(name)
    table = pq.read_table(source)
    for column in curation.reads:
        if column.name not in table.column_names:
            table = table.append_column(column.name, pa.nulls(table.num_rows, column.kind))
    table = table.append_column("position", pa.array(np.arange(table.num_rows)))
    pq.write_table(curation.run(table, curation.params()), target)


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    """(seconds, seconds of processor time)."""
    started, cpu_started = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started, time.process_time() - cpu_started


def _as_markdown(result: dict) -> list[str]:
    rows = [
        [one["method"], f"{one['num_rows']:,}", f"{one['num_made']:,}", f"{one['seconds']:.2f}",
         f"{one['cpu_s']:.2f}", f"{one['rows_per_s']:,.0f}", f"{one['times_copy']:.1f}", f"{one['share_of_copy']:.3f}"]
        for one in result["rows"]
    ]  # fmt: skip
    header = ["method", "rows in", "rows out", "seconds", "of processor time", "rows/s"]
    header += ["times DuckDB's copy", "share of its speed, by processor time"]
    load = f"Load of the machine at the end: {result['load']:.1f}."
    found = f"Pairs on planted cycles: {result['num_planted']:,}; found: {result['num_found']:,}."
    return [*record.heading(result), load, "", *record.table(header, rows), "", found]
