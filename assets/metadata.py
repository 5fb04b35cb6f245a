"""What a materialisation tells the Dagster UI: stable names for numbers, a schema, a small preview.

Everything stays far below the 64 KiB that an event may carry; numbers keep their names because Dagster plots
them over time.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.lake import Manifest
from pipelines.table_comments import column_comments
from pipelines.tables import SCHEMAS
from pipelines.warehouse import Warehouse

PREVIEW_ROWS = 5
PREVIEW_COLUMNS = 12
PREVIEW_CELL_CHARS = 60
NUM_EXAMPLES = 10  # kept rows, and rejected ones, that are shown
MARKDOWN = re.compile(r"[\\`*_{}\[\]()#!|<>~$&]")  # characters that mean something there


def data_version(manifest: Manifest) -> dg.DataVersion:
    """Digest of the partition's content: writing the same rows again leaves what follows fresh."""
    content = "\n".join(sorted(file.sha256 for file in manifest.files))
    return dg.DataVersion(hashlib.sha256(f"{manifest.table}\n{content}".encode()).hexdigest()[:32])


def column_schema(table: str) -> dg.TableSchema:
    """The declared Arrow schema of a table in Dagster's words, and what `tables.py` says of its columns."""
    comments = column_comments()[table]
    return dg.TableSchema(
        columns=[
            dg.TableColumn(name=field.name, type=str(field.type), description=comments.get(field.name))
            for field in SCHEMAS[table]
        ]
    )


@dataclass
class RowsSeen:
    """What is said of a table's rows, kept while they pass: they need not be in memory at once."""

    head: pa.Table | None = None  # the first rows, enough for a preview; None before the first
    num_tokens: int = 0
    num_errors: int = 0

    def add(self, rows: pa.Table) -> "RowsSeen":
        """Counts further rows; returns itself."""
        if rows.num_rows and (self.head is None or self.head.num_rows < PREVIEW_ROWS):
            # copied, because a slice would keep all rows in memory
            first = rows.take(list(range(min(PREVIEW_ROWS, rows.num_rows))))
            self.head = first if self.head is None else pa.concat_tables([self.head, first])
        self.num_tokens += num_tokens(rows) if "num_tokens" in rows.column_names else 0
        self.num_errors += num_errors(rows) if "error" in rows.column_names else 0
        return self


def table_metadata(manifest: Manifest, seen: RowsSeen, numbers: Mapping[str, float]) -> dict[str, object]:
    """Row count, schema, size, tokens and yields of one written partition, with a preview of its first rows."""
    columns = SCHEMAS[manifest.table].names
    tokens = {"tokens": seen.num_tokens} if "num_tokens" in columns else {}
    errors = {"num_errors": seen.num_errors} if "error" in columns else {}
    head = SCHEMAS[manifest.table].empty_table() if seen.head is None else seen.head
    return {
        "dagster/row_count": manifest.num_rows,
        "dagster/column_schema": column_schema(manifest.table),
        "num_bytes": manifest.num_bytes,
        "generation": manifest.generation,
        "preview": dg.MetadataValue.md(preview(head)),
        **tokens,
        **errors,
        **numbers,
    }


def num_tokens(rows: pa.Table) -> int:
    """Sum of the `num_tokens` column, unknown counts left out."""
    return pc.sum(rows["num_tokens"]).as_py() or 0


def num_errors(rows: pa.Table) -> int:
    """Rows whose `error` is filled."""
    return rows.num_rows - rows["error"].null_count


def preview(rows: pa.Table) -> str:
    """A Markdown table of the first rows, long cells cut; the empty table says so."""
    if rows.num_rows == 0:
        return "*no rows*"
    names = rows.column_names[:PREVIEW_COLUMNS]
    return _markdown(rows.slice(0, PREVIEW_ROWS).select(names).to_pylist())


def _cell(value: object) -> str:
    """A value as it is, whatever it holds: model output is untrusted, and `21*4+6*2` is no emphasis."""
    text = "" if value is None else str(value).replace("\n", "⏎")
    text = text if len(text) <= PREVIEW_CELL_CHARS else text[: PREVIEW_CELL_CHARS - 1] + "…"
    return MARKDOWN.sub(r"\\\g<0>", text)


def rejected_preview(warehouse: Warehouse, night: str, link: Callable[[str], str]) -> str:
    """Ten kept and ten rejected rollouts of the filter that feeds the training sets, as Markdown tables by reason.

    `link`: the address of a rollout's lineage.
    """
    shown = warehouse.named("reports/kept_and_rejected", night=night, num_examples=NUM_EXAMPLES)
    rows = shown.to_pylist()
    kept = [row for row in rows if row["reason"] == "kept"]
    rejected = [row for row in rows if row["reason"] != "kept"]
    parts = [
        f"**{len(some)} {title}**\n\n{_markdown(some, {'rollout_id': link})}"
        for title, some in (("kept", kept), ("rejected, by reason", rejected))
        if some
    ]
    return "\n\n".join(parts) or "*no filter has judged this night*"


def _markdown(
    rows: Sequence[Mapping[str, object]], links: Mapping[str, Callable[[str], str]] = MappingProxyType({})
) -> str:
    """A table of the rows; `links`: column -> where its values lead to."""
    names = list(rows[0])

    def shown(name: str, value: object) -> str:
        return f"[{_cell(value)}]({links[name](str(value))})" if name in links and value is not None else _cell(value)

    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(shown(name, row[name]) for name in names) + " |" for row in rows]
    return "\n".join(lines)
