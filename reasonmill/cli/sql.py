"""`reasonmill sql`: ask the tables of the lake a question, see the answer as a table, CSV, JSON or Parquet."""

import csv
import io
import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.errors import LakeError, ReasonmillError

if TYPE_CHECKING:
    import pyarrow as pa

MAX_CELL = 60  # characters of a value that the printed table shows


class Format(StrEnum):
    """How the answer is given."""

    table = "table"
    csv = "csv"
    json = "json"
    parquet = "parquet"


def sql(
    query: Annotated[
        str | None, typer.Argument(help='such as "select count(*) from rollouts"; - reads it from standard input')
    ] = None,
    report: Annotated[
        str | None, typer.Option(help="a shipped query instead, such as reports/error_depth; list shows their names")
    ] = None,
    output_format: Annotated[Format, typer.Option("--format", help="how to print the rows")] = Format.table,
    output: Annotated[Path | None, typer.Option(help="write to this file (parquet needs one)")] = None,
    limit: Annotated[int, typer.Option(min=1, help="rows that a printed table shows")] = 100,
) -> None:
    """Runs one DuckDB query over all tables: every table of the lake is a view under its own name."""
    if report == "list":
        _print_reports()
        return
    if (query is None) == (report is None):
        raise ReasonmillError('Give either a query, such as reasonmill sql "show tables", or --report with a name.')
    if output_format is Format.parquet and output is None:
        raise ReasonmillError("Parquet is not text: name a file with --output, such as --output rows.parquet.")
    rows = _run(sys.stdin.read() if query == "-" else query, report)
    if output_format is Format.table and output is None:
        _print_table(rows, limit)
    else:
        _write(rows, output_format, output)


def _run(query: str | None, report: str | None) -> "pa.Table":
    from pipelines.config import load_settings
    from pipelines.lake import Lake
    from pipelines.warehouse import Warehouse

    with Warehouse(Lake(load_settings().lake_url)) as warehouse:
        if report is not None:
            return warehouse.named(report if "/" in report else f"reports/{report}")
        return warehouse.query(query)


def _write(rows: "pa.Table", output_format: Format, output: Path | None) -> None:
    if output_format is Format.parquet:
        from pipelines.lake import write_parquet

        write_parquet(output, rows)
        return
    if output_format is Format.json:
        text = as_json(rows)
    elif output_format is Format.csv:
        text = as_csv(rows)
    else:
        text = _rendered(rows, rows.num_rows)
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise LakeError(f"{output} could not be written: {error.strerror}.") from error


def as_json(rows: "pa.Table") -> str:
    """A JSON array with one object per row; NaN and infinity, which JSON does not have, become null."""
    lines = [json.dumps(_plain(row), ensure_ascii=False) for row in rows.to_pylist()]
    return "[" + ",\n ".join(lines) + "]\n"


def as_csv(rows: "pa.Table") -> str:
    """CSV with a header line; null is an empty field, a list or struct is written as JSON."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows.column_names)
    for row in rows.to_pylist():
        writer.writerow([_field(value) for value in row.values()])
    return text.getvalue()


def _field(value: object) -> object:
    return json.dumps(_plain(value), ensure_ascii=False) if isinstance(value, (list, dict)) else value


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return value if value - value == 0 else None
    return value if value is None or isinstance(value, (str, int, bool)) else str(value)


def _print_table(rows: "pa.Table", limit: int) -> None:
    sys.stdout.write(_rendered(rows, limit))


def _rendered(rows: "pa.Table", limit: int) -> str:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = rows.slice(0, limit)
    table = Table(show_edge=False, header_style="bold")
    numbers = [str(field.type).startswith(("int", "uint", "double", "float", "decimal")) for field in rows.schema]
    for name, is_number in zip(rows.column_names, numbers, strict=True):
        table.add_column(Text(name), justify="right" if is_number else "left", overflow="fold")
    for row in shown.to_pylist():
        table.add_row(*[Text(_cell(value)) for value in row.values()])
    is_terminal = sys.stdout.isatty()
    text = io.StringIO()
    console = Console(file=text, force_terminal=is_terminal, width=None if is_terminal else 200)
    console.print(table)
    more = f", the first {limit:,} shown (--limit)" if rows.num_rows > limit else ""
    console.print(Text(f"{rows.num_rows:,} {'row' if rows.num_rows == 1 else 'rows'}{more}", style="dim"))
    return text.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = json.dumps(_plain(value), ensure_ascii=False) if isinstance(value, (list, dict)) else str(value)
    text = text.replace("\n", "⏎")
    return text if len(text) <= MAX_CELL else text[: MAX_CELL - 1] + "…"


def _print_reports() -> None:
    import sql as queries

    for name in queries.names():
        query = queries.read(name)
        if not query.params:
            sys.stdout.write(f"{name}: {query.title}\n")
