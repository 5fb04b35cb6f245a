"""The lake: every table as Parquet, and the only code that writes Parquet.

Layout: `<lake>/<table>/<partition>/<generation>/part-00000.parquet` and `.../manifest.json`.

Each write fills a new generation folder. Its manifest, written last and in one piece (a rename on a
local disk, one put on an object store), is the commit: the newest generation with a manifest is the
table's content, so a crash at any moment leaves the old partition or the new one and never a mixture.
The generation before stays, for readers that have already resolved it; older ones and those without a
manifest are removed by the next write. Generation ids count upwards and do not depend on the clock.
Every shard has the table's one Arrow schema, at least one row, and its SHA-256 in the manifest.
"""

import hashlib
import itertools
import json
import os
import re
import secrets
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from pipelines.errors import LakeError
from pipelines.leases import hold_lease
from pipelines.rows import (
    RowGrouping,
    batches_of,
    conform,
    content_groups,
    near_names,
    row_groups,
    rows_to_table,
    schema_of,
)

if TYPE_CHECKING:
    import polars

__all__ = ["FileEntry", "Lake", "Manifest", "rows_to_table", "write_parquet", "write_shards"]

SHARD_BYTES = 256 * 2**20  # of compressed Parquet
SOUGHT = ("tree_id", "rollout_id", "pair_id", "critique_id", "refinement_id", "problem_id")
"""Columns of tables that rows are looked up by: their row groups carry Bloom filters, since ids come in no order."""
FALSE_POSITIVES = 0.01  # of the Bloom filters
STREAM_ROWS = 16_384  # rows of a piece that `Lake.stream` gives
MANIFEST = "manifest.json"
PARTITION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
GENERATION_NAME = re.compile(r"\d{8}-\d{8}T\d{6}-[0-9a-f]{8}")


@dataclass(frozen=True)
class FileEntry:
    """One Parquet file: `path` is its name inside its folder, `sha256` the digest of its bytes."""

    path: str
    num_rows: int
    num_bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What one generation of one partition holds; `schema` maps column to Arrow type, `created_at` is ISO 8601 UTC."""

    table: str
    partition: str
    generation: str
    num_rows: int
    num_bytes: int
    files: tuple[FileEntry, ...]
    schema: Mapping[str, str]
    lineage: Mapping[str, str]
    created_at: str

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Manifest":
        data = json.loads(text)
        return cls(**(data | {"files": tuple(FileEntry(**entry) for entry in data["files"])}))


class Lake:
    """The tables under one folder or fsspec URL."""

    def __init__(self, url: str | Path):
        self.filesystem, root = fsspec.core.url_to_fs(os.path.expanduser(str(url)))
        self.root = root.rstrip("/")
        self.is_local = isinstance(self.filesystem, LocalFileSystem)

    # writing ------------------------------------------------------------------------------------

    def write(
        self,
        table: str,
        rows: pa.Table | Iterable[pa.RecordBatch],
        *,
        partition: str = "all",
        lineage: Mapping[str, str] | None = None,
    ) -> Manifest:
        """Replaces one partition by `rows`, atomically; zero rows make a manifest without files.

        Columns are put into the schema's order and widened to its types (int32 to int64, null to any).
        Raises LakeError when a column is missing, unknown or of another type, or when a file cannot be
        written (the message says where, how much, and what the partition still holds), and
        PartitionBusyError when another process writes the same partition. What `rows` itself raises
        passes through; in every case the old partition stays as it was.
        """
        with self.writer(table, partition=partition) as writer:
            for batch in batches_of(rows):
                writer.add(batch)
            return writer.commit(lineage)

    @contextmanager
    def writer(
        self, table: str, *, partition: str = "all", row_group_bytes: int | None = None
    ) -> Iterator["PartitionWriter"]:
        """Replaces one partition by rows that come piece by piece, for a `with` block; see `write`.

        Rows go to disk as soon as they fill a row group (of about `row_group_bytes` of Arrow memory; None: as `write`
        makes them), so that only that much stays in memory. Nothing is visible before `commit`; without it, whatever
        the reason, the partition stays as it was.
        """
        schema = schema_of(table)
        with self.lease(f"{table}.{_partition_name(partition)}.write"):
            previous = self.manifest(table, partition)
            generation = self._next_generation(table, partition)
            folder = self._path(table, partition, generation)
            writer = PartitionWriter(self, table, partition, generation, folder, schema, row_group_bytes)
            try:
                yield writer
            except LakeError as error:
                if writer.is_committed:
                    raise
                raise type(error)(f"{error} {_what_remains(table, partition, previous)}") from error
            finally:
                if not writer.is_committed:
                    writer.discard()
                    self._remove(folder)
            if writer.is_committed:
                self._remove_old(table, partition, keep={generation, previous.generation if previous else ""})

    def lease(self, name: str) -> AbstractContextManager[None]:
        """An exclusive lease for a `with` block; PartitionBusyError names pid, host and time of the holder."""
        return hold_lease(self.filesystem, f"{self.root}/.leases/{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}.json", name)

    def _commit(self, folder: str, manifest: Manifest) -> None:
        path = f"{folder}/{MANIFEST}"
        data = manifest.to_json().encode()
        with _explained(self.filesystem, path):
            self.filesystem.makedirs(folder, exist_ok=True)
            if not self.is_local:
                self.filesystem.pipe_file(path, data)
                return
            with open(f"{path}.part", "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            _sync_folder(folder)  # the shards' names first, then the manifest's
            os.replace(f"{path}.part", path)
            _sync_folder(folder)
            _sync_folder(os.path.dirname(folder))

    def _next_generation(self, table: str, partition: str) -> str:
        last = max(self._generations(table, partition), default="00000000")
        return f"{int(last[:8]) + 1:08d}-{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"

    def _remove_old(self, table: str, partition: str, keep: set[str]) -> None:
        for generation in self._generations(table, partition):
            if generation not in keep:
                self._remove(self._path(table, partition, generation))

    def _remove(self, folder: str) -> None:
        """Removes a generation, its manifest first; what cannot be removed now is left to the next write."""
        try:
            if self.filesystem.exists(f"{folder}/{MANIFEST}"):
                self.filesystem.rm_file(f"{folder}/{MANIFEST}")
            if self.filesystem.exists(folder):
                self.filesystem.rm(folder, recursive=True)
        except OSError:
            return

    # reading ------------------------------------------------------------------------------------

    def read(self, table: str, partition: str | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows of one partition, or of all (None) in the partitions' order; an absent table is an empty one."""
        schema = schema_of(table)
        for name in columns or ():
            if name not in schema.names:
                raise LakeError(f"Table {table} has no column {name!r}; {near_names(name, schema.names)}")
        files = self.files(table, partition)
        if not files:
            empty = schema.empty_table()
            return empty if columns is None else empty.select(list(columns))
        try:
            return self._dataset(files, schema).to_table(columns=None if columns is None else list(columns))
        except (OSError, pa.ArrowInvalid) as error:
            raise LakeError(f"Table {table} cannot be read from {self.root}: {error}") from error

    def dataset(self, table: str, partition: str | None = None) -> pyarrow.dataset.Dataset:
        """What `read` gives, left in its files until somebody asks for columns of it."""
        schema = schema_of(table)
        files = self.files(table, partition)
        return self._dataset(files, schema) if files else pyarrow.dataset.dataset(schema.empty_table())

    def stream(self, table: str, manifest: Manifest) -> Iterator[pa.Table]:
        """The rows of one committed manifest of a table, piece by piece and in order; few of them are in memory."""
        schema = schema_of(table)
        if not manifest.files:
            return
        try:
            batches = self._dataset(self.paths([manifest]), schema).to_batches(
                batch_size=STREAM_ROWS, batch_readahead=4, fragment_readahead=1
            )
            for batch in batches:
                yield pa.Table.from_batches([batch], schema)
        except (OSError, pa.ArrowInvalid) as error:
            raise LakeError(f"Table {table} cannot be read from {self.root}: {error}") from error

    def scan(self, table: str) -> "polars.LazyFrame":
        """The table as a polars LazyFrame with the schema's columns, also when there are no rows yet."""
        import polars

        schema = schema_of(table)
        files = self.files(table)
        empty = polars.from_arrow(schema.empty_table())
        if not files:
            return empty.lazy()
        if not self.is_local:
            return polars.scan_pyarrow_dataset(self._dataset(files, schema))
        return polars.scan_parquet(
            files, schema=empty.schema, missing_columns="insert", extra_columns="ignore",
            hive_partitioning=False, glob=False,
        )  # fmt: skip

    def manifest(self, table: str, partition: str = "all") -> Manifest | None:
        """The manifest of the committed generation; None where nothing was written yet."""
        for generation in sorted(self._generations(table, partition), reverse=True):
            path = f"{self._path(table, partition, generation)}/{MANIFEST}"
            try:
                return Manifest.from_json(self.filesystem.cat_file(path))
            except FileNotFoundError:
                continue  # being written, or left by a crash
            except (ValueError, KeyError, TypeError) as error:
                raise LakeError(f"The manifest {path} is damaged ({error}); restore it from a backup.") from error
        return None

    def partitions(self, table: str) -> list[str]:
        """Names of the partitions that have been committed, sorted."""
        return [manifest.partition for manifest in self.manifests(table)]

    def manifests(self, table: str) -> list[Manifest]:
        """The committed manifest of every partition, in the partitions' order."""
        schema_of(table)
        names = sorted(name for name in self._names(self._path(table)) if PARTITION_NAME.fullmatch(name))
        return [manifest for name in names if (manifest := self.manifest(table, name)) is not None]

    def files(self, table: str, partition: str | None = None) -> list[str]:
        """Paths (URLs where the lake is not a local folder) of the committed Parquet files."""
        schema_of(table)
        if partition is None:
            return self.paths(self.manifests(table))
        manifest = self.manifest(table, partition)
        return self.paths([manifest]) if manifest else []

    def paths(self, manifests: Iterable[Manifest]) -> list[str]:
        """Paths (URLs where the lake is not a local folder) of the files of these manifests."""
        paths = [
            self._path(manifest.table, manifest.partition, manifest.generation, entry.path)
            for manifest in manifests
            for entry in manifest.files
        ]
        return paths if self.is_local else [self.filesystem.unstrip_protocol(path) for path in paths]

    def generation(self, table: str, partition: str = "all") -> str | None:
        """Id of the committed generation; None where nothing was written yet."""
        manifest = self.manifest(table, partition)
        return manifest.generation if manifest else None

    def verify(self, table: str, partition: str = "all") -> None:
        """Reads every file of a partition again; LakeError where one is missing or not what its manifest says."""
        manifest = self.manifest(table, partition)
        for entry in manifest.files if manifest else ():
            path = f"{self._path(table, partition, manifest.generation)}/{entry.path}"
            if not self.filesystem.exists(path):
                raise LakeError(f"{path} is in the manifest of {table}/{partition} but does not exist.")
            digest = hashlib.sha256(self.filesystem.cat_file(path)).hexdigest()
            if digest != entry.sha256:
                raise LakeError(f"{path} has SHA-256 {digest}, but was written with {entry.sha256}: it was changed.")

    def _dataset(self, files: list[str], schema: pa.Schema) -> pyarrow.dataset.Dataset:
        paths = files if self.is_local else [self.filesystem._strip_protocol(file) for file in files]
        filesystem = None if self.is_local else self.filesystem
        return pyarrow.dataset.dataset(paths, schema=schema, format="parquet", filesystem=filesystem)

    def _generations(self, table: str, partition: str) -> list[str]:
        return [name for name in self._names(self._path(table, partition)) if GENERATION_NAME.fullmatch(name)]

    def _names(self, folder: str) -> list[str]:
        self.filesystem.invalidate_cache(folder)
        try:
            return [path.rstrip("/").rpartition("/")[2] for path in self.filesystem.ls(folder, detail=False)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise LakeError(f"The folder {folder} cannot be listed: {error.strerror or error}.") from error

    def _path(self, *parts: str) -> str:
        return "/".join([self.root, *parts])


class PartitionWriter:
    """Rows of one partition on their way to disk; made by `Lake.writer`.

    A file is opened only when it has rows, so there is no empty shard. `num_rows` counts what was added.
    """

    def __init__(
        self,
        lake: Lake,
        table: str,
        partition: str,
        generation: str,
        folder: str,
        schema: pa.Schema,
        row_group_bytes: int | None,
    ):
        self.table, self.partition, self.generation = table, partition, generation
        self.num_rows = 0
        self.is_committed = False
        self._lake, self._folder, self._schema = lake, folder, schema
        self._grouping = RowGrouping(row_group_bytes)
        self._entries: list[FileEntry] = []
        self._file: _ParquetFile | None = None

    def add(self, rows: pa.Table) -> None:
        """Appends rows, put into the schema's columns and types; LakeError where they do not fit."""
        self.num_rows += rows.num_rows
        for group in self._grouping.add(conform(self.table, rows, self._schema)):
            self._write(group)

    def commit(self, lineage: Mapping[str, str] | None = None) -> Manifest:
        """Writes what is left and the manifest: from now on the partition holds the added rows."""
        for group in self._grouping.rest():
            self._write(group)
        self._end_file()
        files = tuple(self._entries)
        manifest = Manifest(
            self.table, self.partition, self.generation, sum(file.num_rows for file in files),
            sum(file.num_bytes for file in files), files,
            {field.name: str(field.type) for field in self._schema}, dict(lineage or {}),
            datetime.now(UTC).isoformat(timespec="seconds"),
        )  # fmt: skip
        self._lake._commit(self._folder, manifest)
        self.is_committed = True
        return manifest

    def discard(self) -> None:
        """Closes the file under way; its folder has no manifest, so nobody reads it."""
        if self._file is not None:
            self._file.close(is_complete=False)
            self._file = None

    def _write(self, group: pa.Table) -> None:
        if self._file is None:
            path = f"{self._folder}/part-{len(self._entries):05d}.parquet"
            self._file = _ParquetFile(self._lake.filesystem, path, self._schema, _bloom_filters(group))
            self._file.open()
        self._file.write(group)
        if self._file.num_bytes >= SHARD_BYTES:
            self._end_file()

    def _end_file(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            file.close(is_complete=True)
            self._entries.append(file.entry)


# Parquet files outside the tables ---------------------------------------------------------------


def write_parquet(path_or_url: str | Path, table: pa.Table) -> FileEntry:
    """Writes one Parquet file that appears complete or not at all; a column without any type becomes string."""
    return write_parquet_batches(path_or_url, table.schema, row_groups([table]))


def write_parquet_batches(path_or_url: str | Path, schema: pa.Schema, groups: Iterable[pa.Table]) -> FileEntry:
    """`write_parquet` of rows that come piece by piece, one row group each. What `groups` raises passes through."""
    filesystem, path = fsspec.core.url_to_fs(os.path.expanduser(str(path_or_url)))
    folder, _, name = path.rpartition("/")
    target = f"{folder}/.{name}.{secrets.token_hex(4)}.part" if isinstance(filesystem, LocalFileSystem) else path
    typed = pa.schema([field.with_type(pa.string()) if field.type == pa.null() else field for field in schema])
    coming = iter(groups)
    first = next(coming, None)
    try:
        with _ParquetFile(filesystem, target, typed, distinct=_distinct_columns(first)) as file:
            for group in itertools.chain([first] if first is not None else [], coming):
                file.write(group if group.schema.equals(typed) else group.cast(typed))
        if target != path:
            with _explained(filesystem, path):
                os.replace(target, path)
    finally:
        if target != path:
            Path(target).unlink(missing_ok=True)
    return FileEntry(name, file.entry.num_rows, file.entry.num_bytes, file.entry.sha256)


def write_shards(folder: str | Path, name: str, table: pa.Table, max_rows: int = 1_000_000) -> list[FileEntry]:
    """`stream_shards` of a table in memory."""
    return stream_shards(folder, name, table.schema, [table], table.num_rows, max_rows)


def stream_shards(
    folder: str | Path, name: str, schema: pa.Schema, rows: Iterable[pa.Table], num_rows: int, max_rows: int
) -> list[FileEntry]:
    """Writes `<name>-00000-of-0000N.parquet` files of `max_rows` rows, the last one of fewer; no rows, no file.

    `num_rows` is how many come (LakeError where it is another number): it is in the files' names. The same rows make
    the same bytes, however they come in pieces. For folders that are not yet visible to readers (a version being
    published); `path` is relative to `folder`.
    """
    num_shards = -(-num_rows // max_rows)
    filesystem, root = fsspec.core.url_to_fs(os.path.expanduser(str(folder)))
    entries = []
    for shard, groups in enumerate(_cut(rows, max_rows)):
        path = f"{root.rstrip('/')}/{name}-{shard:05d}-of-{num_shards:05d}.parquet"
        with _ParquetFile(filesystem, path, schema) as file:
            for group in content_groups(groups, max_rows):
                file.write(group)
        entries.append(file.entry)
    written = sum(entry.num_rows for entry in entries)
    if written != num_rows:
        raise LakeError(f"{folder}/{name} was to have {num_rows:,} rows, but {written:,} came: they changed meanwhile.")
    return entries


def _cut(rows: Iterable[pa.Table], max_rows: int) -> Iterator[Iterator[pa.Table]]:
    """The rows in runs of exactly `max_rows`, the last one of fewer; each run is to be used up before the next."""
    coming = (table for table in rows if table.num_rows)
    rest = next(coming, None)

    def run() -> Iterator[pa.Table]:
        nonlocal rest
        missing = max_rows
        while missing and rest is not None:
            piece = rest.slice(0, missing)
            missing -= piece.num_rows
            rest = rest.slice(piece.num_rows) if piece.num_rows < rest.num_rows else next(coming, None)
            yield piece

    while rest is not None:
        yield run()


class _ParquetFile:
    """One Parquet file being written through a digest; as a file object it is Arrow's sink.

    A failed write is remembered in `failure` and later bytes are dropped, so that Arrow can close its
    writer; the failure is raised with the next row group or at the end as a LakeError with path and byte count.
    """

    def __init__(
        self,
        filesystem: fsspec.AbstractFileSystem,
        path: str,
        schema: pa.Schema,
        bloom_filters: Mapping[str, Mapping[str, float]] | None = None,
        distinct: Collection[str] = (),
    ):
        """`distinct`: columns whose values hardly repeat, which get no dictionary."""
        self.filesystem, self.path, self.schema = filesystem, path, schema
        self.dictionary = [
            path for field in schema if field.name not in distinct for path in _dictionary_paths(field.name, field.type)
        ]
        self.bloom_filters = dict(bloom_filters) if bloom_filters else None
        self.num_rows = self.num_bytes = 0
        self.digest = hashlib.sha256()
        self.hashing = ThreadPoolExecutor(1)  # beside the next column's encoding
        self.hashed: Future[None] | None = None  # the last bytes that were handed to it
        self.failure: OSError | None = None
        self.closed = False

    def __enter__(self) -> "_ParquetFile":
        self.open()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self.close(is_complete=kind is None)

    def open(self) -> None:
        """Makes the file and its folder."""
        with _explained(self.filesystem, self.path):
            self.filesystem.makedirs(self.path.rpartition("/")[0], exist_ok=True)
            self.file = self.filesystem.open(self.path, "wb")
        self.writer = pq.ParquetWriter(
            pa.PythonFile(_Sink(self), mode="w"), self.schema, compression="zstd",
            use_dictionary=self.dictionary, bloom_filter_options=self.bloom_filters,
        )  # fmt: skip

    def write(self, group: pa.Table) -> None:
        """Appends one row group."""
        self.writer.write_table(group, row_group_size=max(1, group.num_rows))
        self.num_rows += group.num_rows
        if self.hashed is not None:
            self.hashed.result()
        self._raise_failure()

    def close(self, is_complete: bool) -> None:
        """Ends the file; LakeError where a complete one is not on disk."""
        self.writer.close()
        self.hashing.shutdown()
        try:
            if is_complete and self.failure is None:
                self.file.flush()
                if isinstance(self.filesystem, LocalFileSystem):
                    os.fsync(self.file.fileno())
            self.file.close()
        except OSError as error:
            self.failure = self.failure or error
        if is_complete:
            self._raise_failure()

    def append(self, data: bytes) -> int:
        if self.failure is None:
            try:
                self.file.write(data)
                self.hashed = self.hashing.submit(self.digest.update, data)
                self.num_bytes += len(data)
            except OSError as error:
                self.failure = error
        return len(data)

    def _raise_failure(self) -> None:
        if self.failure is not None:
            raise _write_error(self.filesystem, self.path, self.failure, self.num_bytes) from self.failure

    @property
    def entry(self) -> FileEntry:
        """The finished file."""
        return FileEntry(self.path.rpartition("/")[2], self.num_rows, self.num_bytes, self.digest.hexdigest())


def _bloom_filters(group: pa.Table) -> dict[str, dict[str, float]]:
    """Options of the columns that are looked up; a file's first row group says how many values a group has."""
    return {
        name: {"ndv": max(1, pc.count_distinct(group[name]).as_py()), "fpp": FALSE_POSITIVES}
        for name in SOUGHT
        if name in group.column_names
    }


def _distinct_columns(group: pa.Table | None) -> list[str]:
    """Columns of texts or numbers of which more than half are distinct: a dictionary of them costs time and space."""
    columns = [] if group is None else zip(group.column_names, group.columns, strict=True)
    return [
        name
        for name, column in columns
        if column.type in (pa.string(), pa.float64(), pa.int64())
        and 2 * pc.count_distinct(column).as_py() > group.num_rows
    ]


def _dictionary_paths(path: str, kind: pa.DataType, is_listed: bool = False) -> Iterator[str]:
    """Parquet's names of the columns that get a dictionary: all but lists of floats, whose values hardly repeat."""
    if pa.types.is_struct(kind):
        for field in kind:
            yield from _dictionary_paths(f"{path}.{field.name}", field.type, is_listed)
    elif pa.types.is_map(kind):
        yield from _dictionary_paths(f"{path}.key_value.key", kind.key_type, True)
        yield from _dictionary_paths(f"{path}.key_value.value", kind.item_type, True)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        yield from _dictionary_paths(f"{path}.list.element", kind.value_type, True)
    elif not (is_listed and pa.types.is_floating(kind)):
        yield path


class _Sink:
    """The part of a Python file that Arrow's writer needs."""

    closed = False

    def __init__(self, file: _ParquetFile):
        self.write = file.append

    def flush(self) -> None:
        """Nothing is held back here."""

    def close(self) -> None:
        self.closed = True


@contextmanager
def _explained(filesystem: fsspec.AbstractFileSystem, path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _write_error(filesystem, path, error, 0) from error


def _write_error(filesystem: fsspec.AbstractFileSystem, path: str, error: OSError, num_bytes: int) -> LakeError:
    free = ""
    if isinstance(filesystem, LocalFileSystem):
        folder = next(parent for parent in Path(path).parents if parent.exists())
        free = f"; {shutil.disk_usage(folder).free:,} bytes are free there"
    reason = error.strerror or str(error)
    return LakeError(f"{path} could not be written: {reason} after {num_bytes:,} bytes of this file{free}.")


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _what_remains(table: str, partition: str, previous: Manifest | None) -> str:
    if previous is None:
        return f"Nothing was committed: {table}/{partition} still does not exist."
    return (
        f"Nothing was lost: {table}/{partition} still holds its {previous.num_rows:,} rows"
        f" of {previous.created_at} (generation {previous.generation})."
    )


def _partition_name(partition: str) -> str:
    if not PARTITION_NAME.fullmatch(partition):
        raise LakeError(f"{partition!r} cannot name a partition; use letters, digits, '.', '_', '-' as in 2026-11-03.")
    return partition
