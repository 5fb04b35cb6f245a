"""What `apply` writes: every row of the input with the added columns, or a method's own rows; whole or not at all."""

import gzip
import json
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa

from pipelines.apply.source import BATCH_ROWS, is_lines, lines, parquet_file, parquet_rows
from pipelines.errors import ApplyError
from pipelines.lake import write_parquet, write_parquet_batches


def write_added(source: Path, target: Path, added: pa.Table, held: pa.Table) -> None:
    """The rows of `source`, in their order, each with its row of `added` behind its own columns.

    `held`: columns of the same rows that are in memory; those that are as the file has them are not read again.
    """
    if is_lines(target):
        rows = lines(source) if is_lines(source) else parquet_rows(source)
        write_lines(target, ({**row, **more} for row, more in zip(rows, _rows_of(added), strict=True)))
    else:
        write_parquet_batches(target, *_batches(source, added, held))


def write_own(target: Path, rows: pa.Table) -> None:
    """A method's own rows."""
    if is_lines(target):
        write_lines(target, _rows_of(rows))
    else:
        write_parquet(target, rows)


def _rows_of(table: pa.Table) -> Iterator[dict[str, object]]:
    for batch in table.to_batches(BATCH_ROWS):
        yield from batch.to_pylist()


def _batches(source: Path, added: pa.Table, held: pa.Table) -> tuple[pa.Schema, Iterator[pa.Table]]:
    """The rows of a file as Arrow, each with what is added, and their schema."""
    if is_lines(source):
        rows = _table_of(source)
        schema, unread, parts = rows.schema, rows.schema.names, iter(rows.to_batches(BATCH_ROWS))
    else:
        file = parquet_file(source)
        schema = file.schema_arrow
        unread = [name for name in schema.names if not _is_held(schema.field(name), held)]
        parts = file.iter_batches(BATCH_ROWS, columns=unread) if unread else _no_columns(added.num_rows)
    full = pa.schema([*schema, *added.schema], schema.metadata)

    def groups() -> Iterator[pa.Table]:
        first = 0
        for part in parts:
            read = dict(zip(unread, part.columns, strict=True))
            known = held.slice(first, part.num_rows)
            own = [read[name] if name in read else known[name] for name in schema.names]
            more = added.slice(first, part.num_rows).columns
            first += part.num_rows
            yield pa.Table.from_arrays([*own, *more], schema=full)

    return full, groups()


def _is_held(field: pa.Field, held: pa.Table) -> bool:
    return field.name in held.column_names and held.schema.field(field.name).type == field.type


def _no_columns(num_rows: int) -> Iterator[pa.Table]:
    """As many rows as a file has, in pieces, without a column."""
    numbers = pa.table({"position": pa.nulls(num_rows)})
    return (numbers.slice(first, BATCH_ROWS).select([]) for first in range(0, num_rows, BATCH_ROWS))


def _table_of(source: Path) -> pa.Table:
    """All lines as one table with the columns that any row has; a key that a row lacks is null there."""
    rows = list(lines(source))
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.table([_column_of(source, name, rows) for name in names], names=names)


def _column_of(source: Path, name: str, rows: list[dict[str, object]]) -> pa.Array:
    try:
        return pa.array([row.get(name) for row in rows])
    except (pa.ArrowException, OverflowError) as error:
        raise ApplyError(
            f"{source}: the column `{name}` cannot stand in a Parquet file ({error}); write to a .jsonl file instead."
        ) from error


def write_lines(target: Path, rows: Iterable[dict[str, object]]) -> None:
    """One JSON object per line, in a file that appears complete or not at all."""
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(draft, "wb") if target.suffix == ".gz" else draft.open("wb") as file:
            for row in rows:
                file.write(json.dumps(row, ensure_ascii=False, default=str).encode() + b"\n")
        os.replace(draft, target)
    except OSError as error:
        raise ApplyError(f"{target} could not be written: {error.strerror}. The input is as it was.") from error
    finally:
        draft.unlink(missing_ok=True)
