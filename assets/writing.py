"""How an asset writes: through the lake, with lineage, and with metadata for the UI."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import dagster as dg
import pyarrow as pa
import pyarrow.dataset

from assets.column_lineage import column_lineage
from assets.metadata import RowsSeen, data_version, table_metadata
from pipelines.lake import Lake, Manifest, PartitionWriter
from pipelines.tables import UNPARTITIONED

ALL = "all"
ENGINE = "engine"  # key in a manifest's lineage
STREAM_ROW_GROUP_BYTES = 8 * 2**20  # of Arrow memory per table that is being written


def partition_of(table: str, night: str) -> str:
    """The lake partition of a table on a night."""
    return ALL if table in UNPARTITIONED else night


def read_night(lake: Lake, table: str, night: str) -> pa.Table:
    """The rows that belong to a night; an unpartitioned table is the same every night."""
    return lake.read(table, partition_of(table, night))


def scan_night(lake: Lake, table: str, night: str) -> pyarrow.dataset.Dataset:
    """`read_night` of a table of millions of rows: queries read the columns that they need."""
    return lake.dataset(table, partition_of(table, night))


def lineage_of(lake: Lake, tables: Sequence[str], night: str) -> dict[str, str]:
    """`table/partition` -> generation of what was read; absent partitions are left out."""
    partitions = {f"{table}/{partition_of(table, night)}": (table, partition_of(table, night)) for table in tables}
    generations = {name: lake.generation(*key) for name, key in partitions.items()}
    return {name: generation for name, generation in generations.items() if generation is not None}


def generations_until(lake: Lake, table: str, night: str) -> dict[str, str]:
    """`table/night` -> generation of every night of a table up to this one."""
    return {f"{table}/{one.partition}": one.generation for one in lake.manifests(table) if one.partition <= night}


def write_night(
    lake: Lake,
    table: str,
    rows: pa.Table,
    night: str,
    *,
    upstream: Sequence[str],
    numbers: Mapping[str, float] | None = None,
    asset_key: str | None = None,
    engine: str | None = None,
    also_from: Mapping[str, str] | None = None,
) -> dg.MaterializeResult:
    """Replaces one partition of a table and describes it.

    Args:
        upstream: tables that the rows were made from; their generations become the lineage.
        numbers: further metadata with stable names.
        asset_key: where the asset is not named as its table.
        engine: what answered the requests behind the rows; None where none were made.
        also_from: further lineage, `table/partition` -> generation, such as another night's critics.
    """
    lineage = {**lineage_of(lake, upstream, night), **(also_from or {}), **({ENGINE: engine} if engine else {})}
    manifest = lake.write(table, rows, partition=partition_of(table, night), lineage=lineage)
    return described(manifest, RowsSeen().add(rows), numbers or {}, asset_key, upstream)


def described(
    manifest: Manifest,
    seen: RowsSeen,
    numbers: Mapping[str, float],
    asset_key: str | None = None,
    upstream: Sequence[str] = (),
) -> dg.MaterializeResult:
    """A committed partition in Dagster's words; `asset_key` where the asset is not named as its table."""
    lineage = column_lineage(manifest.table, upstream)
    return dg.MaterializeResult(
        asset_key=asset_key or manifest.table,
        metadata={
            **table_metadata(manifest, seen, numbers),
            **({"dagster/column_lineage": lineage} if lineage is not None else {}),
        },
        data_version=data_version(manifest),
    )


class NightStream:
    """Tables of one step whose rows are written while they are made; made by `stream_tables`."""

    def __init__(self, writers: Mapping[str, PartitionWriter]) -> None:
        self._writers = writers
        self._seen = {table: RowsSeen() for table in writers}
        self._manifests: dict[str, Manifest] = {}

    def keep(self, table: str, rows: pa.Table) -> None:
        """Takes rows of a table."""
        self._writers[table].add(rows)
        self._seen[table].add(rows)

    def commit(self, lineage: Mapping[str, str]) -> None:
        """Makes the rows of every table visible, one table after the other."""
        for table, writer in self._writers.items():
            self._manifests[table] = writer.commit(lineage)

    def described(self, numbers: Mapping[str, Mapping[str, float]]) -> Iterator[dg.MaterializeResult]:
        """The committed tables in Dagster's words, with further numbers by table."""
        for table, manifest in self._manifests.items():
            yield described(manifest, self._seen[table], numbers.get(table, {}))

    def num_rows(self, table: str) -> int:
        """Rows taken so far."""
        return self._writers[table].num_rows


@contextmanager
def stream_tables(lake: Lake, tables: Iterable[str], night: str) -> Iterator[NightStream]:
    """Replaces a night of several tables by rows that come piece by piece; each is its own atomic commit."""
    with ExitStack() as stack:
        writers = {
            table: stack.enter_context(
                lake.writer(table, partition=partition_of(table, night), row_group_bytes=STREAM_ROW_GROUP_BYTES)
            )
            for table in tables
        }
        yield NightStream(writers)


def write_tables(
    lake: Lake,
    tables: Mapping[str, pa.Table],
    night: str,
    *,
    upstream: Sequence[str],
    numbers: Mapping[str, Mapping[str, float]],
    engine: str | None = None,
    also_from: Mapping[str, str] | None = None,
) -> Iterator[dg.MaterializeResult]:
    """Several tables of one step, in order; each is its own atomic commit."""
    for table, rows in tables.items():
        yield write_night(
            lake, table, rows, night, upstream=upstream, numbers=numbers.get(table), engine=engine, also_from=also_from
        )
