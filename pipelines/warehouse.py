"""The warehouse: DuckDB over the lake's Parquet files, or over Arrow tables in memory.

Every table of `SCHEMAS` is a view, empty ones included, so a query never depends on what has been made
already; over a whole lake the reports without parameters (`sql/reports/difficulty_history.sql`) are views too, under
the names of their files. The connection lives in memory and sees what was committed when it was opened. It cannot leave
that: after the views are made, file and network access is switched off except for reading exactly the
committed files, Python variables are not visible as tables, settings are locked, and only statements
that read are run. Untrusted SQL therefore reads the tables and nothing else.
"""

import itertools
import re
import tempfile
from collections.abc import Collection, Mapping, Sequence
from functools import cache

import duckdb
import fsspec
import pyarrow as pa
import pyarrow.dataset

import sql as queries
from pipelines.errors import LakeError, ReasonmillError
from pipelines.lake import Lake, Manifest
from pipelines.rows import near_names
from pipelines.tables import SCHEMAS

DUCKDB_TYPES = {pa.string(): "varchar", pa.int64(): "bigint", pa.float64(): "double", pa.bool_(): "boolean"}
CATALOGUE_WORDS = {
    "information_schema",
    "duckdb_views",
    "duckdb_tables",
    "duckdb_columns",
    "pg_catalog",
    "sqlite_master",
}
Rows = pa.Table | pyarrow.dataset.Dataset
"""Rows in memory, or in files of which every query reads the columns that it needs (`Lake.dataset`)."""

READ_NAME = re.compile(r'\b(?:from|join|describe|summarize)\s+"?(\w+)', re.IGNORECASE)
UNKNOWN_TABLE = re.compile(r"Table with name (\S+) does not exist")
UNKNOWN_COLUMN = re.compile(
    r'Referenced column "([^"]+)" not found|does not have a column named "([^"]+)"|Column "([^"]+)" does not exist'
)


class QueryError(ReasonmillError):
    """A query that cannot be run: bad SQL, an unknown name, a missing parameter, or a statement that writes."""


class Warehouse:
    """SQL over the committed rows of all partitions of a lake; close it, or use it in a `with` block."""

    def __init__(self, lake: Lake, tables: Collection[str] = tuple(SCHEMAS)):
        """`tables` that are not named are empty; with all of them there are the reports' views as well."""
        views, files = {}, []
        for table in tables:
            manifests = [manifest for manifest in lake.manifests(table) if manifest.files]
            if manifests:
                paths = lake.paths(manifests)
                views[table] = _file_view(table, paths, manifests)
                files += paths
        try:
            self._open({}, views, files, None if lake.is_local else lake.filesystem)
            self._reports = set(report_views()) if set(tables) == set(SCHEMAS) else set()
            self._unmade_reports = set(self._reports)
        except duckdb.Error as error:
            self.close()
            raise LakeError(f"A committed file of {lake.root} cannot be read: {error}") from error

    @classmethod
    def over(cls, tables: Mapping[str, Rows]) -> "Warehouse":
        """A warehouse of Arrow tables and datasets; tables of `SCHEMAS` that are not given are empty.

        An empty one is made when a query names it: making all of them takes as long as most queries.
        """
        warehouse = cls.__new__(cls)
        warehouse._open(tables, {}, [], None)
        return warehouse

    @classmethod
    def over_files(
        cls, files: Mapping[str, Sequence[str]], filesystem: fsspec.AbstractFileSystem | None = None
    ) -> "Warehouse":
        """A warehouse of Parquet files outside the lake, in their order: name -> paths, or URLs with a `filesystem`."""
        warehouse = cls.__new__(cls)
        views = {
            name: f"select * from read_parquet([{', '.join(map(_quoted, paths))}], hive_partitioning = false)"
            for name, paths in files.items()
        }
        try:
            warehouse._open({}, views, [path for paths in files.values() for path in paths], filesystem)
        except duckdb.Error as error:
            warehouse.close()
            raise QueryError(f"A Parquet file cannot be read: {error}") from error
        return warehouse

    def _open(
        self,
        tables: Mapping[str, Rows],
        views: Mapping[str, str],
        files: list[str],
        filesystem: fsspec.AbstractFileSystem | None,
    ) -> None:
        self._connection = duckdb.connect(":memory:", config={"python_enable_replacements": "false"})
        if filesystem is not None:
            self._connection.register_filesystem(filesystem)
        for name, table in tables.items():
            self._connection.register(name, table)
        for name, view in views.items():
            self._connection.execute(f'create view "{name}" as {view}')
        self._unmade = {name for name in SCHEMAS if name not in tables and name not in views}
        self._reports: set[str] = set()  # names of the reports that are views
        self._unmade_reports: set[str] = set()
        self._connection.execute(f"set allowed_paths = [{', '.join(_quoted(path) for path in files)}]")
        self._connection.execute(f"set temp_directory = {_quoted(tempfile.gettempdir() + '/reasonmill-duckdb')}")
        self._connection.execute("set parquet_metadata_cache = true")  # footers of many row groups are read once
        self._connection.execute("set enable_external_access = false")
        self._connection.execute("set lock_configuration = true")

    def hold(self, name: str, rows: pa.Table) -> None:
        """Makes rows that were computed a relation that later queries read."""
        self._connection.register(name, rows)

    def __enter__(self) -> "Warehouse":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()

    def query(self, sql: str, /, **params: object) -> pa.Table:
        """The rows of one reading statement (select, from, with, values, describe, show, summarize, explain).

        `params` fill DuckDB's named parameters (`$min_margin`). Sums of integers come as int64 where they fit; of
        columns with one name the later ones get a number (`a, a_1`), since rows are read by name.
        Raises QueryError, whose text names near tables or columns where a name is unknown.
        """
        try:
            self._refuse_writes(sql)
            self._make_views(sql)
            result = self._connection.sql(sql, params=params)
            rows = _plain_integers(result.to_arrow_table())
            return rows.rename_columns(_with_distinct_names(rows.column_names))
        except (duckdb.Error, RuntimeError) as error:
            raise QueryError(self._explain(str(error), sql)) from error

    def named(self, name: str, columns: Sequence[str] | None = None, /, **params: object) -> pa.Table:
        """The rows of a query file under `sql/`, such as "reports/error_depth".

        `columns`: those to make, the first of which orders the rows; None: all, in the query's own order.
        """
        try:
            query = queries.read(name)
        except KeyError as error:
            raise QueryError(f"There is no query {name!r}; {near_names(name, queries.names())}") from error
        given, needed = set(params), set(query.params)
        if given != needed:
            raise QueryError(
                f"The query {name} takes the parameters {', '.join(sorted(needed)) or 'none'},"
                f" but was given {', '.join(sorted(given)) or 'none'}."
            )
        if columns is None:
            return self.query(query.text, **params)
        chosen = ", ".join(f'"{column}"' for column in columns)
        return self.query(f"select {chosen} from (\n{query.text}\n) order by 1", **params)

    def _make_views(self, sql: str) -> None:
        """Empty views of the tables and views of the reports that a statement names; of all where it asks for all."""
        words = set(re.findall(r"\w+", sql.lower()))
        asks_for_all = not words.isdisjoint(CATALOGUE_WORDS) or words <= {"show", "all", "tables", "describe", "from"}
        for name in sorted(self._unmade if asks_for_all else self._unmade & words):
            self._connection.execute(f'create view "{name}" as {_empty_view(SCHEMAS[name])}')
            self._unmade.discard(name)
        named = {name.lower() for name in READ_NAME.findall(sql)}
        for name in sorted(self._unmade_reports if asks_for_all else self._unmade_reports & named):
            text = report_views()[name]
            self._make_views(text)
            self._connection.execute(f'create view "{name}" as {text}')
            self._unmade_reports.discard(name)

    def _refuse_writes(self, sql: str) -> None:
        statements = self._connection.extract_statements(sql)
        if len(statements) != 1:
            raise QueryError(f"Give exactly one statement; this text has {len(statements)}.")
        kind = statements[0].type
        if kind == duckdb.StatementType.EXPLAIN:
            explained = re.sub(r"(?is)^\s*explain\s*(\([^)]*\)|analyze)?\s*", "", sql)
            kind = self._connection.extract_statements(explained)[0].type  # still EXPLAIN where a comment stands before
        if kind != duckdb.StatementType.SELECT:
            raise QueryError(
                f"Only statements that read can be run here, and this is {kind.name.lower().replace('_', ' ')};"
                " start it with select, from, with, describe, summarize or explain."
            )

    def _explain(self, message: str, sql: str) -> str:
        message, _, position = message.partition("\n\nLINE ")
        first = " ".join(message.splitlines()[0].split()).rstrip(".!")
        text = f"The query cannot be run: {first}."
        if match := UNKNOWN_TABLE.search(message):
            return f"{text} As for {match[1]}: {near_names(match[1], [*SCHEMAS, *self._reports])}"
        if match := UNKNOWN_COLUMN.search(message):
            name = next(group for group in match.groups() if group)
            return f"{text} As for {name}: {near_names(name, self._columns_in(sql))}"
        return f"{text} It stopped at: {position.split(':', 1)[1].splitlines()[0].strip()}" if position else text

    def _columns_in(self, sql: str) -> list[str]:
        """Columns of the tables and reports whose names occur in a query, of all tables where none does."""
        words = set(re.findall(r"\w+", sql))
        columns = {table: SCHEMAS[table].names for table in SCHEMAS if table in words}
        for name in sorted(words & (self._reports - self._unmade_reports)):
            columns[name] = self._connection.sql(f'from "{name}"').columns
        return list(dict.fromkeys(itertools.chain(*(columns or {t: SCHEMAS[t].names for t in SCHEMAS}).values())))


@cache
def report_views() -> dict[str, str]:
    """Name -> query of the reports that take no parameters and have no table's name."""
    reports = {name.removeprefix("reports/"): queries.read(name) for name in queries.names() if "reports/" in name}
    return {name: query.text for name, query in reports.items() if not query.params and name not in SCHEMAS}


def _with_distinct_names(names: Sequence[str]) -> list[str]:
    """The names, a repeated one with the next free number behind it: `a, a_1`."""
    distinct: list[str] = []
    for name in names:
        number = next(n for n in itertools.count() if (f"{name}_{n}" if n else name) not in distinct)
        distinct.append(f"{name}_{number}" if number else name)
    return distinct


def _file_view(table: str, paths: Sequence[str], manifests: Sequence[Manifest]) -> str:
    """Reads the files; a declared column that no file has yet (they were written before it) is null."""
    stored = {name for manifest in manifests for name in manifest.schema}
    is_uniform = all(manifest.schema == manifests[0].schema for manifest in manifests)
    columns = [
        f'"{field.name}"' if field.name in stored else f'null::{_duckdb_type(field.type)} as "{field.name}"'
        for field in SCHEMAS[table]
    ]
    files = ", ".join(_quoted(path) for path in paths)
    options = f"hive_partitioning = false, union_by_name = {str(not is_uniform).lower()}"
    return f"select {', '.join(columns)} from read_parquet([{files}], {options})"


def _empty_view(schema: pa.Schema) -> str:
    columns = [f'null::{_duckdb_type(field.type)} as "{field.name}"' for field in schema]
    return f"select {', '.join(columns)} where false"


def _duckdb_type(kind: pa.DataType) -> str:
    return f"{_duckdb_type(kind.value_type)}[]" if pa.types.is_list(kind) else DUCKDB_TYPES[kind]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _plain_integers(table: pa.Table) -> pa.Table:
    """DuckDB adds integers up as 128-bit numbers, which Arrow has only as decimals; as int64 they are handier."""
    for index, field in enumerate(table.schema):
        if pa.types.is_decimal(field.type) and field.type.scale == 0:
            try:
                table = table.set_column(index, field.name, table.column(index).cast(pa.int64()))
            except pa.ArrowInvalid:
                continue  # larger than 64 bits: the decimal is exact
    return table
