"""Texts that share word sequences with a benchmark, and a certificate of what they were tested against.

After `normal_text.OVERLAP_RULE` a text is contaminated when it shares n words in a row (n = 13) with a test item.
Shorter texts have a fallback, down to `min_words`: a test item of m < n words counts as found where a text holds all of
it, and a text of m < n words where all of it stands in a test item. What is shorter still is found where it equals a
test item after `normal_text.DUPLICATES_RULE`, which keeps signs (a short problem is little more than its signs); else
it is not tested, and is counted as such: `is_tested` is false, and the row is kept.

Degenerate cases: a text that is null or without a letter or digit has the reason `no_text`; a benchmark without an item
that can be tested is an error, since a certificate about nothing would look like one.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field, model_validator

from pipelines.config import Section
from pipelines.curation import DECISION, Column, Curation
from pipelines.duplicates.normal_text import OVERLAP_RULE, bare_texts, normal_texts
from pipelines.duplicates.shingles import Bytes, chunks, shingles_of
from pipelines.errors import SourceError
from pipelines.trees.fields import Place, json_lines, text_in

CERTIFICATE_VERSION = 1


class ContaminationParams(Section):
    """Parameters of `contamination`; n is the usual 13 words, the fallback for short texts is ours."""

    benchmark: tuple[str, ...] = Field(
        min_length=1, description="files of test items: json lines (also .gz) or Parquet"
    )
    field: str = Field("question", min_length=1, description="field of those files that holds the item's text")
    n: int = Field(13, ge=2, le=64, description="words in a row that must be shared")
    min_words: int = Field(6, ge=2, le=64, description="shorter texts and items are not tested")

    @model_validator(mode="after")
    def _fallback_is_shorter(self) -> "ContaminationParams":
        if self.min_words > self.n:
            raise ValueError(f"min_words {self.min_words} must be at most n {self.n}")
        return self


@dataclass(frozen=True)
class TestedFile:
    """One file of test items."""

    name: str  # last part of its path
    sha256: str
    num_items: int
    num_too_short: int  # items that only an equal text is found by


@dataclass(frozen=True)
class Certificate:
    """What a table was tested against, and with what outcome."""

    method: str
    version: int
    normalisation: str
    n: int
    min_words: int
    field: str
    files: tuple[TestedFile, ...]
    rows_sha256: str  # of the tested texts, in their order
    num_rows: int
    num_tested: int
    num_contaminated: int

    def to_json(self) -> str:
        """As one JSON object with sorted keys."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "Certificate":
        """The inverse of `to_json`."""
        fields = json.loads(text)
        return cls(**{**fields, "files": tuple(TestedFile(**one) for one in fields["files"])})


@dataclass(frozen=True)
class Benchmark:
    """Test items as sets of word sequences."""

    files: tuple[TestedFile, ...]
    names: tuple[str, ...]  # of the items: file:line
    texts: Bytes  # normalised items of at least `min_words` words
    num_words: np.ndarray
    short: Mapping[str, str]  # shorter items as DUPLICATES_RULE has them, and their names


WRITES = pa.schema(
    [*DECISION, ("is_tested", pa.bool_()), ("num_matches", pa.int64()), ("num_sequences", pa.int64()),
     ("test_item", pa.string())]
)  # fmt: skip


def run(table: pa.Table, params: ContaminationParams) -> pa.Table:
    """The decision on every text, by position."""
    return overlaps(table, read_benchmark(params), params)


def certified(table: pa.Table, params: ContaminationParams) -> tuple[pa.Table, Certificate]:
    """The decisions, and the certificate that says what they rest on."""
    benchmark = read_benchmark(params)
    decisions = overlaps(table, benchmark, params)
    digest = hashlib.sha256()
    for text in table.sort_by("position")["text"].to_pylist():
        digest.update(json.dumps(text).encode() + b"\n")
    return decisions, Certificate(
        method="contamination",
        version=CERTIFICATE_VERSION,
        normalisation=OVERLAP_RULE,
        n=params.n,
        min_words=params.min_words,
        field=params.field,
        files=benchmark.files,
        rows_sha256=digest.hexdigest(),
        num_rows=decisions.num_rows,
        num_tested=pc.sum(decisions["is_tested"], min_count=0).as_py(),
        num_contaminated=pc.sum(pc.equal(decisions["reason"], "benchmark_overlap"), min_count=0).as_py(),
    )


def overlaps(table: pa.Table, benchmark: Benchmark, params: ContaminationParams) -> pa.Table:
    """Columns `position` and WRITES, by position. `score`: share of the text's word sequences that a test item has."""
    table = table.sort_by("position")
    normal = pc.fill_null(bare_texts(table["text"]), "")
    num_words = _num_words(normal)
    tested = np.flatnonzero(num_words >= params.min_words)
    texts = Bytes.of(normal.take(pa.array(tested)))
    matches, sequences, items = _matches(texts, num_words[tested], benchmark, params)
    is_tested = np.zeros(table.num_rows, bool)
    is_tested[tested] = True
    counts, totals, named = (np.zeros(table.num_rows, np.int64) for _ in range(3))
    counts[tested], totals[tested], named[tested] = matches, sequences, items
    equal_to = _equal_items(table["text"], (num_words > 0) & (num_words < params.min_words), benchmark)
    is_equal = equal_to.is_valid().to_numpy(zero_copy_only=False)
    is_tested, counts[is_equal], totals[is_equal] = is_tested | is_equal, 1, 1
    reasons = np.where(counts > 0, "benchmark_overlap", np.where(num_words == 0, "no_text", None))
    score = np.divide(np.minimum(counts, totals), totals, out=np.full(len(totals), np.nan), where=totals > 0)
    reason = pa.array(reasons, pa.string())
    item_names = pa.array(benchmark.names, pa.string()).take(pa.array(named, mask=(counts == 0) | is_equal))
    item_names = pc.coalesce(item_names, equal_to)
    columns = [
        table["position"], pc.is_null(reason), reason, pa.array(score, mask=np.isnan(score)), pa.array(is_tested),
        pa.array(counts, mask=~is_tested), pa.array(totals, mask=~is_tested), item_names,
    ]  # fmt: skip
    return pa.table(columns, names=["position", *WRITES.names]).cast(pa.schema([("position", pa.int64()), *WRITES]))


def _equal_items(texts: pa.ChunkedArray, is_short: np.ndarray, benchmark: Benchmark) -> pa.Array:
    """The name of the test item that a short text equals; null for long texts and for those that equal none."""
    normal = normal_texts(texts.filter(pa.array(is_short)))
    found = pc.index_in(normal, value_set=pa.array(list(benchmark.short), pa.large_string()), skip_nulls=True)
    places = np.full(len(texts), -1, np.int64)
    places[is_short] = pc.fill_null(found, -1).to_numpy(zero_copy_only=False)
    return pa.array(list(benchmark.short.values()), pa.string()).take(pa.array(places, mask=places < 0))


def read_benchmark(params: ContaminationParams) -> Benchmark:
    """The test items of all files; SourceError where a file cannot be read or holds nothing that can be tested."""
    files, names, texts = [], [], []
    short: dict[str, str] = {}
    for path in map(Path, params.benchmark):
        items = list(_items(path, params.field))
        normal = pc.fill_null(bare_texts(pa.array([text for text, _ in items], pa.string())), "")
        is_long = _num_words(normal) >= params.min_words
        if not is_long.any():
            raise SourceError(
                f"{path.name}: none of the {len(items)} texts in `{params.field}` has {params.min_words} words, so"
                " nothing can be tested against it; name another field or a smaller min_words."
            )
        files.append(TestedFile(path.name, _sha256(path), len(items), int((~is_long).sum())))
        names += [name for (_, name), long in zip(items, is_long, strict=True) if long]
        short = _short_items(items, is_long) | short
        texts.append(normal.filter(pa.array(is_long)))
    together = pa.concat_arrays(texts)
    return Benchmark(tuple(files), tuple(names), Bytes.of(together), _num_words(together), short)


def benchmark_of(name: str, sha256: str, items: Sequence[tuple[str, str]], params: ContaminationParams) -> Benchmark:
    """Test items (text, name) that are in memory; where none is long enough nothing will be found, and that is said."""
    normal = pc.fill_null(bare_texts(pa.array([text for text, _ in items], pa.string())), "")
    is_long = _num_words(normal) >= params.min_words
    texts = normal.filter(pa.array(is_long))
    names = tuple(item for (_, item), long in zip(items, is_long, strict=True) if long)
    files = (TestedFile(name, sha256, len(items), int((~is_long).sum())),)
    return Benchmark(files, names, Bytes.of(texts), _num_words(texts), _short_items(items, is_long))


def _short_items(items: Sequence[tuple[str, str]], is_long: np.ndarray) -> dict[str, str]:
    """Normalised text -> name of the items that are too short to be searched for; of equal ones the first."""
    short = [item for item, long in zip(items, is_long, strict=True) if not long]
    normal = normal_texts(pa.array([text for text, _ in short], pa.string())).to_pylist()
    return dict(reversed([(text, name) for text, (_, name) in zip(normal, short, strict=True)]))


def _items(path: Path, field: str) -> Iterator[tuple[str, str]]:
    """(text, file:line) of every item."""
    if path.suffix != ".parquet":
        for row, place in json_lines(path):
            yield text_in(row, field, place), f"{place.file}:{place.line}"
        return
    try:
        there = pq.read_schema(path).names
        if field not in there:
            raise SourceError(f"{path.name} has no column `{field}`; it has {', '.join(there)}.")
        texts = pq.read_table(path, columns=[field])[field].to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from error
    for number, text in enumerate(texts, start=1):
        if not isinstance(text, str):
            raise Place(path.name, number, field).wrong(text, "text")
        yield text, f"{path.name}:{number}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _num_words(normal: pa.Array) -> np.ndarray:
    """Words of normalised texts."""
    spaces = pc.count_substring(normal, " ").to_numpy(zero_copy_only=False)
    return np.where(pc.binary_length(normal).to_numpy(zero_copy_only=False) > 0, spaces + 1, 0).astype(np.int64)


def _matches(
    texts: Bytes, num_words: np.ndarray, benchmark: Benchmark, params: ContaminationParams
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per text: shared sequences, all its sequences (of n words, or itself), and the first item that shares one."""
    matches = np.zeros(len(texts), np.int64)
    items = np.full(len(texts), len(benchmark.names))
    whole = [size for size in range(params.min_words, params.n) if (benchmark.num_words == size).any()]
    for size in (params.n, *whole):  # every window of a text against windows of items, or whole short items
        chosen = np.flatnonzero(benchmark.num_words >= size if size == params.n else benchmark.num_words == size)
        _count(texts, np.flatnonzero(num_words >= size), benchmark.texts, chosen, size, matches, items)
    for size in range(params.min_words, params.n):  # a whole short text against every window of longer items
        chosen = np.flatnonzero(benchmark.num_words > size)
        _count(texts, np.flatnonzero(num_words == size), benchmark.texts, chosen, size, matches, items)
    return matches, np.maximum(num_words - params.n + 1, 1), np.minimum(items, max(len(benchmark.names) - 1, 0))


def _count(
    texts: Bytes, chosen: np.ndarray, tests: Bytes, chosen_tests: np.ndarray, size: int, matches: np.ndarray,
    items: np.ndarray,
) -> None:  # fmt: skip
    """Adds the sequences of `size` words that the chosen texts share with the chosen items; keeps the first item."""
    if not len(chosen) or not len(chosen_tests):
        return
    known, owners = _sequences(tests.take(chosen_tests), size)
    known, firsts = np.unique(known, return_index=True)
    item_of = chosen_tests[owners[firsts]]
    part = texts.take(chosen)
    for first, last in chunks(part):
        found = shingles_of(part, first, last, size, by_words=True)
        places = np.minimum(np.searchsorted(known, found.hashes), len(known) - 1)
        is_hit = known[places] == found.hashes
        hit_owners = np.repeat(chosen[first:last], np.diff(found.starts))[is_hit]
        np.add.at(matches, hit_owners, 1)
        np.minimum.at(items, hit_owners, item_of[places[is_hit]])


def _sequences(texts: Bytes, size: int) -> tuple[np.ndarray, np.ndarray]:
    found = shingles_of(texts, 0, len(texts), size, by_words=True)
    return found.hashes, np.repeat(np.arange(len(texts)), np.diff(found.starts))


CURATION = Curation(
    params=ContaminationParams,
    reads=(Column("text", pa.string(), "what a model would be trained on; null or empty: reason no_text"),),
    writes=WRITES,
    grain="rows",
    run=run,
)
