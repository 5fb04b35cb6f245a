"""How an asset writes: through the lake, with lineage, and with metadata for the UI."""

from collections.abc import Iterator, Mapping, Sequence

import dagster as dg
import pyarrow as pa

from assets.metadata import data_version, table_metadata
from pipelines.lake import Lake
from pipelines.tables import UNPARTITIONED

ALL = "all"
ENGINE = "engine"  # key in a manifest's lineage


def partition_of(table: str, night: str) -> str:
    """The lake partition of a table on a night."""
    return ALL if table in UNPARTITIONED else night


def read_night(lake: Lake, table: str, night: str) -> pa.Table:
    """The rows that belong to a night; an unpartitioned table is the same every night."""
    return lake.read(table, partition_of(table, night))


def lineage_of(lake: Lake, tables: Sequence[str], night: str) -> dict[str, str]:
    """`table/partition` -> generation of what was read; absent partitions are left out."""
    partitions = {f"{table}/{partition_of(table, night)}": (table, partition_of(table, night)) for table in tables}
    generations = {name: lake.generation(*key) for name, key in partitions.items()}
    return {name: generation for name, generation in generations.items() if generation is not None}


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
) -> dg.MaterializeResult:
    """Replaces one partition of a table and describes it.

    Args:
        upstream: tables that the rows were made from; their generations become the lineage.
        numbers: further metadata with stable names.
        asset_key: where the asset is not named as its table.
        engine: what answered the requests behind the rows; None where none were made.
    """
    lineage = lineage_of(lake, upstream, night) | ({ENGINE: engine} if engine else {})
    manifest = lake.write(table, rows, partition=partition_of(table, night), lineage=lineage)
    return dg.MaterializeResult(
        asset_key=asset_key or table,
        metadata=table_metadata(manifest, rows, numbers or {}),
        data_version=data_version(manifest),
    )


def write_tables(
    lake: Lake,
    tables: Mapping[str, pa.Table],
    night: str,
    *,
    upstream: Sequence[str],
    numbers: Mapping[str, Mapping[str, float]],
    engine: str | None = None,
) -> Iterator[dg.MaterializeResult]:
    """Several tables of one step, in order; each is its own atomic commit."""
    for table, rows in tables.items():
        yield write_night(lake, table, rows, night, upstream=upstream, numbers=numbers.get(table), engine=engine)
