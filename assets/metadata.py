"""What a materialisation tells the Dagster UI: stable names for numbers, a schema, a small preview.

Everything stays far below the 64 KiB that an event may carry; numbers keep their names because Dagster plots
them over time.
"""

import hashlib
from collections.abc import Mapping

import dagster as dg
import pyarrow as pa

from pipelines.lake import Manifest
from pipelines.tables import SCHEMAS

PREVIEW_ROWS = 5
PREVIEW_COLUMNS = 12
PREVIEW_CELL_CHARS = 60


def data_version(manifest: Manifest) -> dg.DataVersion:
    """Digest of the partition's content: writing the same rows again leaves what follows fresh."""
    content = "\n".join(sorted(file.sha256 for file in manifest.files))
    return dg.DataVersion(hashlib.sha256(f"{manifest.table}\n{content}".encode()).hexdigest()[:32])


def column_schema(table: str) -> dg.TableSchema:
    """The declared Arrow schema of a table in Dagster's words."""
    return dg.TableSchema(columns=[dg.TableColumn(name=field.name, type=str(field.type)) for field in SCHEMAS[table]])


def table_metadata(manifest: Manifest, rows: pa.Table, numbers: Mapping[str, float]) -> dict[str, object]:
    """Row count, schema, size, tokens and yields of one written partition, with a preview of its first rows."""
    tokens = {"tokens": num_tokens(rows)} if "num_tokens" in rows.column_names else {}
    errors = {"num_errors": num_errors(rows)} if "error" in rows.column_names else {}
    return {
        "dagster/row_count": manifest.num_rows,
        "dagster/column_schema": column_schema(manifest.table),
        "num_bytes": manifest.num_bytes,
        "generation": manifest.generation,
        "preview": dg.MetadataValue.md(preview(rows)),
        **tokens,
        **errors,
        **numbers,
    }


def num_tokens(rows: pa.Table) -> int:
    """Sum of the `num_tokens` column, unknown counts left out."""
    return sum(value for value in rows["num_tokens"].to_pylist() if value is not None)


def num_errors(rows: pa.Table) -> int:
    """Rows whose `error` is filled."""
    return rows.num_rows - rows["error"].null_count


def preview(rows: pa.Table) -> str:
    """A Markdown table of the first rows, long cells cut; the empty table says so."""
    if rows.num_rows == 0:
        return "*no rows*"
    names = rows.column_names[:PREVIEW_COLUMNS]
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for row in rows.slice(0, PREVIEW_ROWS).select(names).to_pylist():
        lines.append("| " + " | ".join(_cell(row[name]) for name in names) + " |")
    return "\n".join(lines)


def _cell(value: object) -> str:
    text = "" if value is None else str(value).replace("|", "\\|").replace("\n", "⏎")
    return text if len(text) <= PREVIEW_CELL_CHARS else text[: PREVIEW_CELL_CHARS - 1] + "…"
