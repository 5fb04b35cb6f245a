"""Rows in the shape of their table: schema lookup, dicts to Arrow, strict but friendly conversion.

What reaches a Parquet file has exactly the declared columns and types: no missing column, no unknown
one, no column without a type. Only conversions that cannot change a value are made.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import LakeError
from pipelines.tables import SCHEMAS

ROW_GROUP_ROWS = 65_536
ROW_GROUP_BYTES = 32 * 2**20  # of Arrow memory: rows with token lists make smaller groups
PIECE_ROWS = 1024  # of `content_groups`: a group ends after a whole number of these


def schema_of(table: str) -> pa.Schema:
    """The declared schema; LakeError with near names where there is no such table."""
    if table not in SCHEMAS:
        raise LakeError(f"There is no table {table!r}; {near_names(table, SCHEMAS)}")
    return SCHEMAS[table]


def near_names(name: str, names: Iterable[str]) -> str:
    """A phrase with the names that look like `name`, or with all of them where none does."""
    names = list(names)
    if not names:
        return "there are none."
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    return f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(names)}."


def rows_to_table(table: str, rows: Sequence[Mapping[str, object]]) -> pa.Table:
    """Dicts to the table's schema: a missing key becomes null, an unknown key or a wrong type raises LakeError."""
    schema = schema_of(table)
    names = set(schema.names)
    for index, row in enumerate(rows):
        if not row.keys() <= names:
            key = min(row.keys() - names)
            raise LakeError(f"Row {index} for table {table} has a key {key!r}; {near_names(key, schema.names)}")
    return pa.table([_column(table, field, rows) for field in schema], schema=schema)


def _column(table: str, field: pa.Field, rows: Sequence[Mapping[str, object]]) -> pa.Array:
    values = [row.get(field.name) for row in rows]
    try:
        return pa.array(values, field.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        index, value = _first_misfit(values, field.type)
        raise LakeError(
            f"Row {index} for table {table}: column {field.name!r} must be {field.type}, but the value is {value!r}."
        ) from error


def _first_misfit(values: list, kind: pa.DataType) -> tuple[int, object]:
    for index, value in enumerate(values):
        try:
            pa.array([value], kind)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            return index, value
    return 0, values[0]


def conform(table: str, rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """`rows` with the schema's columns, order and types; LakeError names a column that does not fit and both types."""
    for name in schema.names:
        if name not in rows.column_names:
            raise LakeError(
                f"Table {table}: column {name!r} ({schema.field(name).type}) is missing;"
                f" the rows have {', '.join(rows.column_names) or 'no columns'}."
            )
    for name in rows.column_names:
        if name not in schema.names:
            raise LakeError(f"Table {table} has no column {name!r}; {near_names(name, schema.names)}")
        if rows.column_names.count(name) > 1:
            raise LakeError(f"Table {table}: the rows have column {name!r} more than once.")
    return pa.table([_cast(table, rows.column(field.name), field) for field in schema], schema=schema)


def _cast(table: str, column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    if column.type == field.type:
        return column
    misfit = f"Table {table}: column {field.name!r} is {column.type}, but must be {field.type}"
    if not _fits(column.type, field.type):
        raise LakeError(f"{misfit}.")
    try:
        return column.cast(field.type)
    except pa.ArrowInvalid as error:
        raise LakeError(f"{misfit}, and not every value can be converted: {error}.") from error


def _fits(actual: pa.DataType, declared: pa.DataType) -> bool:
    """Whether values of one type mean the same in the other (a sum of integers comes from DuckDB as a decimal)."""
    if pa.types.is_null(actual):
        return True
    if pa.types.is_dictionary(actual):
        return _fits(actual.value_type, declared)
    if pa.types.is_list(declared):
        is_list = pa.types.is_list(actual) or pa.types.is_large_list(actual) or pa.types.is_fixed_size_list(actual)
        return is_list and _fits(actual.value_type, declared.value_type)
    if pa.types.is_string(declared):
        return pa.types.is_string(actual) or pa.types.is_large_string(actual) or pa.types.is_string_view(actual)
    is_whole = pa.types.is_integer(actual) or pa.types.is_decimal(actual)
    if pa.types.is_integer(declared):
        return is_whole
    if pa.types.is_floating(declared):
        return is_whole or pa.types.is_floating(actual)
    return False


def batches_of(rows: pa.Table | Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The rows as one or many Arrow tables, in order."""
    if isinstance(rows, pa.Table):
        yield rows
        return
    for batch in rows:
        yield pa.Table.from_batches([batch])


class RowGrouping:
    """Gathers rows until they fill a row group: at most ROW_GROUP_ROWS rows and about `max_bytes` bytes."""

    def __init__(self, max_bytes: int | None = None) -> None:
        self._max_bytes = max_bytes
        self._pending: list[pa.Table] = []
        self._num_rows = self._num_bytes = 0

    def add(self, rows: pa.Table) -> Iterator[pa.Table]:
        """The groups that are full with these rows; to be used up before more rows are added."""
        max_bytes = self._max_bytes or ROW_GROUP_BYTES
        for piece in _pieces(rows, max_bytes):
            if self._pending and self._num_rows + piece.num_rows > ROW_GROUP_ROWS:
                yield from self.rest()
            self._pending.append(piece)
            self._num_rows += piece.num_rows
            self._num_bytes += piece.nbytes
            if self._num_bytes >= max_bytes:
                yield from self.rest()

    def rest(self) -> Iterator[pa.Table]:
        """The group that is not full, if it has any rows."""
        if self._pending:
            group = pa.concat_tables(self._pending)
            self._pending, self._num_rows, self._num_bytes = [], 0, 0
            yield group


def row_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in tables of at most ROW_GROUP_ROWS rows and about ROW_GROUP_BYTES bytes, none of them empty."""
    grouping = RowGrouping()
    for table in tables:
        yield from grouping.add(table)
    yield from grouping.rest()


def _pieces(table: pa.Table, max_bytes: int) -> Iterator[pa.Table]:
    rows_in_budget = max_bytes * table.num_rows // max(1, table.nbytes)
    step = max(1, min(ROW_GROUP_ROWS, rows_in_budget))
    for start in range(0, table.num_rows, step):
        yield table.slice(start, step)


def content_groups(tables: Iterable[pa.Table], max_rows: int) -> Iterator[pa.Table]:
    """Row groups whose borders depend on the rows alone, however the rows come in pieces; at most `max_rows` each.

    Each group is one chunk, so that the same rows make the same Parquet file, byte for byte. Only about a group and
    what comes in stays in memory.
    """
    grouped: list[pa.Table] = []
    num_rows = num_bytes = 0
    for piece in _equal_pieces(tables, min(PIECE_ROWS, max_rows)):
        piece_bytes = sum(map(_content_bytes, piece.columns))
        if grouped and num_rows + piece.num_rows > min(max_rows, ROW_GROUP_ROWS):
            yield pa.concat_tables(grouped).combine_chunks()
            grouped, num_rows, num_bytes = [], 0, 0
        grouped.append(piece)
        num_rows, num_bytes = num_rows + piece.num_rows, num_bytes + piece_bytes
        if num_bytes >= ROW_GROUP_BYTES:
            yield pa.concat_tables(grouped).combine_chunks()
            grouped, num_rows, num_bytes = [], 0, 0
    if grouped:
        yield pa.concat_tables(grouped).combine_chunks()


def _equal_pieces(tables: Iterable[pa.Table], size: int) -> Iterator[pa.Table]:
    """The same rows in tables of exactly `size` rows, the last one apart."""
    rest: pa.Table | None = None
    for table in tables:
        rows = table if rest is None else pa.concat_tables([rest, table])
        whole = rows.num_rows - rows.num_rows % size
        for start in range(0, whole, size):
            yield rows.slice(start, size)
        rest = rows.slice(whole) if whole < rows.num_rows else None
    if rest is not None:
        yield rest


def _content_bytes(column: pa.ChunkedArray | pa.Array) -> int:
    """Bytes of the values, counted from the values: the buffers behind equal values can differ."""
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return 4 * len(column) + (pc.sum(pc.binary_length(column)).as_py() or 0)
    if pa.types.is_list(kind):
        return 4 * len(column) + _content_bytes(pc.list_flatten(column))
    if pa.types.is_struct(kind):
        return sum(_content_bytes(pc.struct_field(column, [index])) for index in range(kind.num_fields))
    return len(column) * kind.bit_width // 8
