"""`reasonmill methods` and `reasonmill recipes`: what there is to use."""

import difflib
import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.curation import Curation


class Format(StrEnum):
    """How a list is printed."""

    table = "table"
    json = "json"


def methods(
    name: Annotated[str | None, typer.Argument(help="one method, with its columns, parameters and defaults")] = None,
    format: Annotated[Format, typer.Option("--format", help="table, or json: one list of objects")] = Format.table,
    html: Annotated[Path | None, typer.Option("--html", help="write a page of all methods to this file")] = None,
) -> None:
    """List the published methods that this project implements."""
    from rich.console import Console
    from rich.table import Table

    from pipelines.catalogue import method_rows

    rows = method_rows() if name is None else [_method_row(name)]
    if html is not None:
        _write_page(rows, html)
        return
    if format is Format.json:
        typer.echo(json.dumps(rows, indent=2))
        return
    console = Console(highlight=False)
    if name is not None:
        _show_method(console, rows[0])
        return
    table = Table("method", "what it does", "paper", "reads -> writes", "tier", box=None, pad_edge=False)
    for row in rows:
        paper = f"arXiv {row['arxiv']}" if row["arxiv"] else row["paper"]
        table.add_row(row["method"], row["summary"], paper, _tables_of(row), row["tier"])
    console.print(table)


def _write_page(rows: list[dict[str, object]], html: Path) -> None:
    from pipelines.catalogue.page import to_html
    from pipelines.errors import ReasonmillError

    try:
        html.write_text(to_html(rows), encoding="utf-8")
    except OSError as error:
        raise ReasonmillError(f"{html} could not be written: {error.strerror}.") from error
    typer.echo(f"{len(rows)} methods are on the page {html}.", err=True)


def _method_row(name: str) -> dict[str, object]:
    from pipelines.catalogue import method_rows
    from pipelines.errors import WorkspaceError

    rows = {row["method"]: row for row in method_rows()}
    if name not in rows:
        near = difflib.get_close_matches(name, rows, n=3) or sorted(rows)
        raise WorkspaceError(f"There is no method `{name}`. Did you mean {', '.join(near)}?")
    return rows[name]


def _tables_of(row: dict[str, object]) -> str:
    return f"{', '.join(row['reads'])} -> {', '.join(row['writes'])}"


def shown_columns(curation: "Curation", indent: str) -> str:
    """What a method reads and makes: one line each."""
    reads = ", ".join(f"{column.name}{'' if column.is_required else ' (optional)'}" for column in curation.reads)
    made = "adds" if curation.grain == "rows" else "rows of"
    return f"{indent}reads {reads}\n{indent}{made} {', '.join(curation.writes.names)}"


def recipes(
    name: Annotated[str | None, typer.Argument(help="one recipe, with all that is said of it")] = None,
    format: Annotated[Format, typer.Option("--format", help="table, or json: one list of objects")] = Format.table,
) -> None:
    """List the search recipes that `rollouts.recipe` can name, with paper, parameters, defaults and tier."""
    from rich.console import Console

    from pipelines.catalogue import recipe_rows
    from pipelines.search.recipes import recipe_named

    rows = recipe_rows()
    if name is not None:
        recipe = recipe_named(name)
        rows = [row for row in rows if row["recipe"] == recipe.name]
    if format is Format.json:
        typer.echo(json.dumps(rows, indent=2))
        return
    console = Console(highlight=False)
    if name is not None:
        _show_recipe(console, rows[0])
        return
    for row in rows:
        _list_recipe(console, row)
    console.print("`reasonmill recipes NAME` says more of one.", markup=False)


def _list_recipe(console: "Console", row: dict[str, object]) -> None:
    """Name and tier, one sentence, the paper, and the parameters with their defaults."""
    from rich.padding import Padding
    from rich.text import Text

    from pipelines.catalogue import METHODS

    console.print(Text.assemble((row["recipe"], "bold"), f"  {row['tier']}"))
    numbers = [f"{key} = {_shown(value)}" for key, value in _numbers_of(row).items()]
    texts = [METHODS[row["recipe"]].summary, row["paper"], *_lines(numbers, console.width - 2)]
    for text, style in zip(texts, ["", *["dim"] * (len(texts) - 1)], strict=True):
        console.print(Padding(Text(text, style), (0, 0, 0, 2)))
    console.print()


def _show_recipe(console: "Console", row: dict[str, object]) -> None:
    """Everything that is known of one recipe, and how it is configured."""
    from rich.table import Table
    from rich.text import Text

    from pipelines.catalogue import METHODS, parameter_meanings
    from pipelines.config import RolloutsConfig
    from pipelines.search.recipes import RECIPES

    meanings = parameter_meanings(RECIPES[row["recipe"]])
    console.print(Text.assemble((row["recipe"], "bold"), f"  {row['tier']}"))
    console.print(Text(f"{row['paper']}\n\n{row['summary']}.\n"))
    console.print(Text(f"code: {METHODS[row['recipe']].function}\n"))
    table = Table("key", "default", "meaning", box=None, pad_edge=False)
    for key, value in row["parameters"].items():
        table.add_row(f"rollouts.{key}", _shown(value), RolloutsConfig.model_fields[key].description or "")
    for key, value in row["own_parameters"].items():
        table.add_row(f"rollouts.parameters.{key}", _shown(value), Text(meanings[key]))
    for key, value in row["constants"].items():
        table.add_row(key, _shown(value), "a number of the method; not configured")
    console.print(table)


def _numbers_of(row: dict[str, object]) -> dict[str, object]:
    """What is configured, then what is configured under `rollouts.parameters`, then what is fixed."""
    own = {f"parameters.{key}": value for key, value in row["own_parameters"].items()}
    return {**row["parameters"], **own, **row["constants"]}


def _shown(value: object) -> str:
    """A default as the configuration file has it; words are quoted, so that an empty one is seen."""
    return json.dumps(value) if isinstance(value, str | list | tuple) else str(value)


def _lines(parts: list[str], width: int) -> list[str]:
    """The parts, separated by commas, in lines of at most this width where a part alone fits."""
    lines: list[str] = []
    for index, part in enumerate(parts):
        text = part if index == len(parts) - 1 else f"{part},"
        if lines and len(lines[-1]) + 1 + len(text) <= width:
            lines[-1] += f" {text}"
        else:
            lines.append(text)
    return lines


def _show_method(console: "Console", row: dict[str, object]) -> None:
    """Everything that is known of one method: its paper, its columns on a table of one's own, its parameters."""
    from rich.table import Table
    from rich.text import Text

    paper = f"{row['paper']}, arXiv {row['arxiv']}" if row["arxiv"] else row["paper"]
    console.print(Text.assemble((row["method"], "bold"), f"  {row['tier']}"))
    console.print(Text(f"{row['summary']}\n{paper}"))
    if row["measured"]:
        console.print(Text(f"measured: {row['measured']}"))
    console.print(Text(f"code: {row['function']}" + (f"; query: sql/{row['query']}.sql" if row["query"] else "")))
    if row["columns_in"]:
        console.print(Text(f"\nreasonmill apply {row['method']} --input FILE --output FILE", "bold"))
        columns = Table("column", "kind", "meaning", box=None, pad_edge=False)
        for column in row["columns_in"]:
            name = column["name"] if column["is_required"] else f"{column['name']} (optional)"
            columns.add_row(Text(name), Text(column["kind"]), Text(column["meaning"]))
        console.print(columns)
        made = "adds to every row" if row["grain"] == "rows" else "writes rows of its own"
        made_columns = ", ".join(f"{column['name']} ({column['kind']})" for column in row["columns_out"])
        console.print(Text(f"{made}: {made_columns}\n"))
    parameters = Table("parameter", "default", "allowed", "meaning", box=None, pad_edge=False)
    for one in row["parameters"]:
        default = "required" if one["is_required"] else _shown(one["default"])
        default = default if len(default) < 40 else "see config show"
        parameters.add_row(one["name"], Text(default), Text(one["allowed"]), Text(one["meaning"]))
    console.print(parameters)
