"""Near duplicates of steps: rows per second, and whether what was planted is found.

    python -m tests.benchmarks duplicates [--rows 100000 1000000]

The table: steps of 6 to 24 words from a vocabulary of 20,000, and among them, at seeded places, one in ten that repeats
an earlier one word for word and one in ten that repeats one with a single word changed. Recall: of the changed ones
whose similarity to their original reaches the threshold, the share that is not kept. Time is from Parquet to Parquet,
with two threads, beside DuckDB's plain copy of the same file; it holds reading, normalising and writing.
"""

import argparse
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipelines.duplicates import exact, minhash
from pipelines.duplicates.exact import ExactParams
from pipelines.duplicates.minhash import MinHashParams, exact_jaccard
from pipelines.duplicates.shingles import Bytes
from tests.benchmarks import copy_limit, record
from tests.benchmarks.copy_limit import Timed, timed

WORDS, CHARACTERS = MinHashParams(), MinHashParams(unit="characters")
NUM_WORDS = 20_000


@dataclass(frozen=True)
class Recall:
    """What became of the planted rows of a table."""

    what: str
    num_exact: int
    num_exact_found: int
    num_near: int  # planted, and at least as similar as the threshold
    num_near_found: int
    num_removed: int  # rows removed in all


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])


def run(arguments: argparse.Namespace) -> None:
    """The tables."""
    times: list[Timed] = []
    recalls: list[Recall] = []
    for num_rows in arguments.rows:
        table, originals = planted(num_rows)
        for name, params in {"words": WORDS, "characters": CHARACTERS}.items():
            one, recall = measured(f"minhash_duplicates, 5 {name}", table, originals, params)
            times.append(one)
            recalls.append(recall)
        with tempfile.TemporaryDirectory() as folder:
            times.append(timed("exact_duplicates", table, lambda rows: exact.run(rows, ExactParams()), Path(folder)))
    content = record.provenance() | {
        "load": os.getloadavg()[0],
        "times": [asdict(one) for one in times],
        "recall": [asdict(one) for one in recalls],
    }
    record.save(
        "duplicates", arguments.out, content, record.heading(content) + as_markdown(times, recalls, content["load"])
    )


def measured(what: str, table: pa.Table, originals: np.ndarray, params: MinHashParams) -> tuple[Timed, Recall]:
    """Time and recall of near duplicates."""
    made: list[pa.Table] = []

    def keep(rows: pa.Table) -> pa.Table:
        made.append(minhash.run(rows, params))
        return made[0]

    with tempfile.TemporaryDirectory() as folder:
        one = timed(what, table, keep, Path(folder))
    return one, recall_of(what, table, originals, made[0], params)


def planted(num_rows: int, seed: int = 0) -> tuple[pa.Table, np.ndarray]:
    """(the table, the row that each planted row repeats or -1)."""
    rng = np.random.default_rng(seed)
    vocabulary = np.array([f"{'abcdefghij'[: 1 + i % 7]}{i}" for i in range(NUM_WORDS)])
    lengths = rng.integers(6, 25, num_rows)
    kind = rng.choice(3, num_rows, p=[0.8, 0.1, 0.1])  # new, word for word, one word changed
    kind[: num_rows // 10] = 0
    originals = np.where(kind > 0, rng.integers(0, num_rows // 10, num_rows), -1)
    texts: list[list[str]] = []
    for row in range(num_rows):
        if kind[row] == 0:
            texts.append(vocabulary[rng.integers(0, NUM_WORDS, lengths[row])].tolist())
            continue
        words = list(texts[originals[row]])
        if kind[row] == 2:
            words[int(rng.integers(0, len(words)))] = "changed"
        texts.append(words)
    table = {
        "position": pa.array(np.arange(num_rows)),
        "text_id": pa.array([f"{row:08d}" for row in range(num_rows)]),
        "text": pa.array([" ".join(words) for words in texts]),
        "group_id": pa.nulls(num_rows, pa.string()),
    }
    return pa.table(table), originals


def recall_of(what: str, table: pa.Table, originals: np.ndarray, made: pa.Table, params: MinHashParams) -> Recall:
    """The planted rows that had to go, and those that went."""
    texts = Bytes.of(table["text"].combine_chunks().cast(pa.large_string()))
    rows = np.flatnonzero(originals >= 0)
    jaccard = exact_jaccard(texts, originals[rows], rows, params)
    is_removed = ~made["kept"].to_numpy(zero_copy_only=False)
    is_equal, is_near = jaccard == 1.0, (jaccard >= params.threshold) & (jaccard < 1.0)
    return Recall(
        f"{what}, {table.num_rows:,} rows",
        int(is_equal.sum()),
        int(is_removed[rows[is_equal]].sum()),
        int(is_near.sum()),
        int(is_removed[rows[is_near]].sum()),
        int(is_removed.sum()),
    )


def as_markdown(times: Sequence[Timed], recalls: Sequence[Recall], load: float) -> list[str]:
    """Times, then recall."""
    rows = [
        [one.what, f"{one.num_exact_found:,} of {one.num_exact:,}", f"{one.num_near_found:,} of {one.num_near:,}",
         f"{one.num_removed:,}"]
        for one in recalls
    ]  # fmt: skip
    header = ["what", "word for word, found", "one word changed, at least 0.8 similar, found", "removed in all"]
    busy = f"Load of the machine at the end: {load:.1f}. Where it is above the number of cores, seconds are those of a"
    lines = [busy, "busy machine, and processor time is what counts; the share of the copy is taken from that.", ""]
    return [*lines, *copy_limit.as_markdown(list(times)), "", *record.table(header, rows)]
