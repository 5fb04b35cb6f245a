"""Lineage of a row over a lake of simulated search trees: seconds to trace a pair, a rollout and a node.

The trees are written piece by piece through the lake's own writer, several nights of them: ids are hashes, so that
they come in no order, as in a real lake. Every tree has 25 nodes, one rollout in five nodes, a filter decision and two
scored steps per rollout, and one pair. What is timed is all of it: opening the lake, the queries and the assembly;
imports are not. The response store is left out, which is asked by key.
"""

import argparse
import hashlib
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipelines.datasets.lineage import Tracer, open_tracing_warehouse
from pipelines.lake import Lake
from pipelines.rows import rows_to_table
from pipelines.tables import SCHEMAS
from tests.benchmarks.record import heading, provenance, save, say, table

NODES_PER_TREE, ROLLOUTS_PER_TREE = 25, 5
CHUNK_TREES = 20_000
TOKENS = 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Size and repetitions."""
    parser.add_argument("--nodes", type=int, default=100_000_000, help="search nodes in the lake")
    parser.add_argument("--nights", type=int, default=5, help="partitions that they lie in")
    parser.add_argument("--repeats", type=int, default=10, help="rows of each kind that are traced")
    parser.add_argument("--folder", type=Path, help="where the lake is made, and stays; default: a temporary folder")


def run(arguments: argparse.Namespace) -> None:
    """Make the lake, trace rows of every night, save and show."""
    if arguments.folder is not None:
        _measured(arguments, arguments.folder)
        return
    with tempfile.TemporaryDirectory() as folder:
        _measured(arguments, Path(folder))


def _measured(arguments: argparse.Namespace, folder: Path) -> None:
    lake = Lake(folder / "lake")
    num_trees = arguments.nodes // NODES_PER_TREE // arguments.nights
    nights = [f"2026-01-{day + 1:02d}" for day in range(arguments.nights)]
    started = time.perf_counter()
    for night in nights:
        if lake.manifest("preference_pairs", night) is None:
            _make_night(lake, night, num_trees)
            say(f"{night}: {num_trees * NODES_PER_TREE:,} nodes after {time.perf_counter() - started:.0f} s")
    making = time.perf_counter() - started
    draws = np.random.default_rng(0)
    places = [(nights[draws.integers(len(nights))], int(draws.integers(num_trees))) for _ in range(arguments.repeats)]
    ids = {
        "pair": [_id("pair", night, tree) for night, tree in places],
        "rollout": [_id("rollout", night, tree * ROLLOUTS_PER_TREE) for night, tree in places],
        "node": [f"{_id('tree', night, tree)}:{NODES_PER_TREE - 1}" for night, tree in places],
    }
    traced = {kind: _trace(lake, rows) for kind, rows in ids.items()}
    manifests = [one for name in ("search_nodes", "rollouts") for one in lake.manifests(name)]
    result = provenance() | {
        "num_nodes": sum(one.num_rows for one in lake.manifests("search_nodes")),
        "num_rollouts": sum(one.num_rows for one in lake.manifests("rollouts")),
        "num_nights": arguments.nights,
        "num_bytes": sum(one.num_bytes for one in manifests),
        "making_s": round(making, 1),
        "load_average": Path("/proc/loadavg").read_text().split()[0] if Path("/proc/loadavg").exists() else None,
        "seconds": traced,
    }
    save("lineage", arguments.out, result, _markdown(result))


def _trace(lake: Lake, ids: list[str]) -> dict[str, float]:
    seconds, cpu_s = [], []
    for row_id in ids:
        started, cpu_started = time.perf_counter(), time.process_time()
        with open_tracing_warehouse(lake) as warehouse:
            origins = Tracer(warehouse, lake, lambda request_id: None).origins(row_id)
        seconds.append(time.perf_counter() - started)
        cpu_s.append(time.process_time() - cpu_started)
        assert len(origins) == 1 and origins[0].sources, row_id
    return {
        "first": round(seconds[0], 3),
        "median": round(statistics.median(seconds), 3),
        "slowest": round(max(seconds), 3),
        "cpu_s": round(statistics.median(cpu_s), 3),
    }


def _make_night(lake: Lake, night: str, num_trees: int) -> None:
    problems = [{"problem_id": "p", "family": "simulated", "split": "train", "prompt": "1+2"}]
    lake.write("problems", rows_to_table("problems", problems))
    with lake.writer("search_nodes", partition=night) as nodes, lake.writer("rollouts", partition=night) as rollouts:
        for first in range(0, num_trees, CHUNK_TREES):
            trees = range(first, min(first + CHUNK_TREES, num_trees))
            nodes.add(_nodes(night, trees))
            rollouts.add(_rollouts(night, trees))
        nodes.commit()
        rollouts.commit()
    for name, make in (("consistency_results", _decisions), ("step_scores", _scores), ("preference_pairs", _pairs)):
        with lake.writer(name, partition=night) as writer:
            for first in range(0, num_trees, CHUNK_TREES):
                writer.add(make(night, range(first, min(first + CHUNK_TREES, num_trees))))
            writer.commit()


def _id(kind: str, night: str, number: int) -> str:
    return hashlib.blake2b(f"{kind} {night} {number}".encode(), digest_size=8).hexdigest()


def _ids(kind: str, night: str, numbers: Iterator[int] | range) -> pa.Array:
    return pa.array([_id(kind, night, number) for number in numbers])


def _rows(name: str, num_rows: int, night: str, **columns: pa.Array) -> pa.Table:
    """Rows of a table; columns that are not given are null."""
    columns["night"] = pa.repeat(night, num_rows)
    schema = SCHEMAS[name]
    return pa.table(
        [columns.get(one.name, pa.nulls(num_rows, one.type)).cast(one.type) for one in schema], schema=schema
    )


def _nodes(night: str, trees: range) -> pa.Table:
    num = len(trees) * NODES_PER_TREE
    node = np.tile(np.arange(NODES_PER_TREE), len(trees))
    draws = np.random.default_rng(trees.start)
    texts = pa.array([f"{a}+{b}={a + b}" for a in range(30) for b in range(30)])
    tokens = pa.ListArray.from_arrays(
        np.arange(0, num * TOKENS + 1, TOKENS, dtype=np.int32), draws.integers(0, 60, num * TOKENS)
    )
    numbers = pa.array([f"{one:032x}" for one in (draws.integers(1 << 62, size=num // 4 + 1)).tolist()])
    return _rows(
        "search_nodes", num, night,
        tree_id=_ids("tree", night, trees).take(pa.array(np.repeat(np.arange(len(trees)), NODES_PER_TREE))),
        node_id=pa.array(node), parent_id=pa.array(np.maximum(node - 1, 0) // 2, mask=node == 0),
        problem_id=pa.repeat("p", num), depth=pa.array(np.floor(np.log2(node + 1)).astype(np.int64)),
        step_text=texts.take(pa.array(draws.integers(0, len(texts), num))), token_ids=tokens,
        visit_count=pa.array(draws.integers(1, 30, num)), value=pa.array(np.round(draws.random(num), 3)),
        prior=pa.array(np.round(draws.random(num), 6)),
        request_id=numbers.take(pa.array(np.arange(num) // 4)),
    )  # fmt: skip


def _of_trees(trees: range) -> range:
    return range(trees.start * ROLLOUTS_PER_TREE, trees.stop * ROLLOUTS_PER_TREE)


def _rollouts(night: str, trees: range) -> pa.Table:
    numbers = _of_trees(trees)
    leaf = np.tile(np.arange(NODES_PER_TREE - ROLLOUTS_PER_TREE, NODES_PER_TREE), len(trees))
    steps = pa.ListArray.from_arrays(
        np.arange(0, len(numbers) * 2 + 1, 2, dtype=np.int32), pa.repeat("1+2=3", len(numbers) * 2)
    )
    return _rows(
        "rollouts", len(numbers), night, rollout_id=_ids("rollout", night, numbers),
        problem_id=pa.repeat("p", len(numbers)), recipe=pa.repeat("puct", len(numbers)), steps=steps,
        tree_id=_ids("tree", night, trees).take(pa.array(np.repeat(np.arange(len(trees)), ROLLOUTS_PER_TREE))),
        leaf_node_id=pa.array(leaf), policy_version=pa.repeat("d1", len(numbers)),
    )  # fmt: skip


def _decisions(night: str, trees: range) -> pa.Table:
    numbers = _of_trees(trees)
    return _rows(
        "consistency_results", len(numbers), night, rollout_id=_ids("rollout", night, numbers),
        problem_id=pa.repeat("p", len(numbers)), method=pa.repeat("prof", len(numbers)),
        kept=pa.array(np.arange(len(numbers)) % 2 == 0),
    )  # fmt: skip


def _scores(night: str, trees: range) -> pa.Table:
    numbers = _of_trees(trees)
    twice = pa.array(np.repeat(np.arange(len(numbers)), 2))
    return _rows(
        "step_scores", 2 * len(numbers), night, rollout_id=_ids("rollout", night, numbers).take(twice),
        step=pa.array(np.tile([0, 1], len(numbers))), source=pa.repeat("critic", 2 * len(numbers)),
        scorer_version=pa.repeat("folds-1", 2 * len(numbers)), score=pa.array(np.tile([0.25, 0.5], len(numbers))),
    )  # fmt: skip


def _pairs(night: str, trees: range) -> pa.Table:
    ids = _ids("tree", night, trees)
    sides = {
        f"{side}_id": pa.array([f"{one}:{node}" for one in ids.to_pylist()])
        for side, node in (("chosen", 23), ("rejected", 24))
    }
    return _rows("preference_pairs", len(trees), night, pair_id=_ids("pair", night, trees),
                 problem_id=pa.repeat("p", len(trees)), **sides)  # fmt: skip


def _markdown(result: dict) -> list[str]:
    rows = [[kind, *one.values()] for kind, one in result["seconds"].items()]
    size = (
        f"{result['num_nodes']:,} nodes and {result['num_rollouts']:,} rollouts in {result['num_nights']} nights, "
        f"{result['num_bytes'] / 2**30:.1f} GiB of Parquet"
    )
    return [
        *heading(result),
        f"{size}; load average {result['load_average']}.",
        "",
        *table(["traced", "first, seconds", "median", "slowest", "median of processor time"], rows),
    ]
