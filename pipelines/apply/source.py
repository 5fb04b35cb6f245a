"""A user's file, Parquet or one JSON object per line: the columns that a method reads, and all rows again."""

import difflib
import gzip
import itertools
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from pipelines.curation import Column, Curation
from pipelines.errors import ApplyError
from pipelines.kinds import Misfit, fits, reader, words

ReadFn = Callable[[object], object]
BATCH_ROWS = 65_536
PARQUET, LINES = (".parquet",), (".jsonl", ".jsonl.gz")


def is_lines(path: Path) -> bool:
    """Whether the name says that the file holds one JSON object per line."""
    return path.name.endswith(LINES)


def read_columns(source: Path, curation: Curation) -> pa.Table:
    """`position` and the columns of `curation.reads`, in their kinds; ApplyError where one is missing or misfits."""
    schema = pa.schema([("position", pa.int64()), *((column.name, column.kind) for column in curation.reads)])
    read = _line_columns if is_lines(source) else _parquet_columns
    batches, there = read(source, curation)
    rows = pa.Table.from_batches(batches, schema)
    for column in curation.reads:
        if column.stand_in is not None and column.name not in there:
            rows = rows.set_column(
                schema.get_field_index(column.name), schema.field(column.name), rows[column.stand_in]
            )
    return rows


def _misses(source: Path, column: Column, there: Sequence[str]) -> ApplyError:
    near = difflib.get_close_matches(column.name, there, n=3)
    hint = f"Did you mean {', '.join(near)}?" if near else f"It has {', '.join(there) or 'no column'}."
    must = words(column.kind, column.is_nullable)
    return ApplyError(f"{source} has no column `{column.name}`, which must be {must}. {hint}")


def _refuse_taken(source: Path, curation: Curation, there: Sequence[str]) -> None:
    """A result never overwrites a column of the user's."""
    taken = [name for name in curation.writes.names if name in there] if curation.grain == "rows" else []
    if taken:
        raise ApplyError(f"{source} has a column `{taken[0]}` already, where the result would go; rename or drop it.")


# Parquet ------------------------------------------------------------------------------------------


def parquet_file(source: Path) -> pq.ParquetFile:
    """The opened file; ApplyError where it is none."""
    try:
        return pq.ParquetFile(source)
    except (pa.ArrowException, OSError) as error:
        raise ApplyError(f"{source} cannot be read as Parquet: {str(error).splitlines()[0]}") from error


def _parquet_columns(source: Path, curation: Curation) -> tuple[Iterator[pa.RecordBatch], list[str]]:
    file = parquet_file(source)
    there = file.schema_arrow.names
    for column in curation.reads:
        if column.name not in there:
            if column.is_required:
                raise _misses(source, column, there)
        elif not fits(column.kind, file.schema_arrow.field(column.name).type):
            kind, must = file.schema_arrow.field(column.name).type, words(column.kind, column.is_nullable)
            raise ApplyError(f"{source}: the column `{column.name}` is {kind}, and must be {must}.")
    _refuse_taken(source, curation, there)
    return _parquet_batches(source, file, curation.reads), there


def _parquet_batches(source: Path, file: pq.ParquetFile, columns: Sequence[Column]) -> Iterator[pa.RecordBatch]:
    there = [column.name for column in columns if column.name in file.schema_arrow.names]
    first = 0
    for batch in pads.dataset(source, format="parquet").to_batches(columns=there, batch_size=BATCH_ROWS):
        given = dict(zip(there, batch.columns, strict=True))
        arrays = [_cast(source, first, column, given.get(column.name), batch.num_rows) for column in columns]
        position = pa.array(np.arange(first, first + batch.num_rows))
        yield pa.RecordBatch.from_arrays([position, *arrays], names=["position", *(column.name for column in columns)])
        first += batch.num_rows


def _cast(source: Path, first: int, column: Column, given: pa.Array | None, num_rows: int) -> pa.Array:
    if given is None:
        return pa.nulls(num_rows, column.kind)
    must = words(column.kind, column.is_nullable)
    if given.null_count and not column.is_nullable:
        row = first + pc.index(given.is_null(), True).as_py() + 1
        raise ApplyError(f"{source}, row {row}: `{column.name}` is null, and must be {must}.")
    try:
        return given.cast(column.kind)
    except pa.ArrowInvalid as error:
        raise ApplyError(
            f"{source}, rows {first + 1} to {first + num_rows}: `{column.name}` must be {must}: {error}."
        ) from error


def parquet_rows(source: Path) -> Iterator[dict[str, object]]:
    """Every row as a dict."""
    for batch in parquet_file(source).iter_batches(BATCH_ROWS):
        yield from batch.to_pylist()


# lines --------------------------------------------------------------------------------------------


def _line_columns(source: Path, curation: Curation) -> tuple[Iterator[pa.RecordBatch], set[str]]:
    """The second result fills while the batches are read: names of all columns that any row had."""
    first = next(lines(source), None)
    for column in curation.reads if first is not None else ():
        if column.is_required and column.name not in first:
            raise _misses(source, column, list(first))
    there: set[str] = set()
    return _line_batches(source, curation, there), there


def _line_batches(source: Path, curation: Curation, there: set[str]) -> Iterator[pa.RecordBatch]:
    columns = [(column, reader(column.kind)) for column in curation.reads]
    names = ["position", *(column.name for column in curation.reads)]
    numbered = enumerate(lines(source), start=1)
    while chunk := list(itertools.islice(numbered, BATCH_ROWS)):
        new = list(dict.fromkeys(name for _, row in chunk for name in row if name not in there))
        _refuse_taken(source, curation, new)
        there.update(new)
        arrays = [
            pa.array([_value(source, number, row, column, read) for number, row in chunk], column.kind)
            for column, read in columns
        ]
        position = pa.array([number - 1 for number, _ in chunk], pa.int64())
        yield pa.RecordBatch.from_arrays([position, *arrays], names=names)


def _value(source: Path, number: int, row: Mapping[str, object], column: Column, read: ReadFn) -> object:
    """One field of a line in the kind of its column; `number` counts rows, and blank lines are none."""
    must = words(column.kind, column.is_nullable)
    if column.name not in row:
        if column.is_required:
            raise ApplyError(f"{source}, row {number} has no `{column.name}`, which must be {must}.")
        return None
    value = row[column.name]
    try:
        if value is None and not column.is_nullable:
            raise Misfit
        return read(value)
    except Misfit:
        raise ApplyError(f"{source}, row {number}: `{column.name}` is {short(value)}, and must be {must}.") from None


def short(value: object) -> str:
    """A value as a message shows it."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def lines(source: Path) -> Iterator[dict[str, object]]:
    """The objects of a file with one per line; blank lines are passed over."""
    number = 0
    try:
        with gzip.open(source, "rb") if source.suffix == ".gz" else source.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield _object(source, number, line)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ApplyError(f"{source} is damaged after line {number}: {error}. Fetch or pack the file again.") from error
    except OSError as error:
        raise ApplyError(f"{source} cannot be read: {error.strerror}.") from error


def _object(source: Path, number: int, line: bytes) -> dict[str, object]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ApplyError(f"{source}, line {number} is not JSON: {error}.") from error
    if not isinstance(row, dict):
        raise ApplyError(f"{source}, line {number} is {short(row)}; every line must be a JSON object.")
    return row
