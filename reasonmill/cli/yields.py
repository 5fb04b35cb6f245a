"""`reasonmill yields`: what every consistency filter removed, what it alone would have, and examples by reason."""

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

Row = dict[str, object]


class Format(StrEnum):
    """How the report is given."""

    text = "text"
    json = "json"


def yields(
    night: Annotated[str | None, typer.Option(help="only this night")] = None,
    format: Annotated[Format, typer.Option("--format", help="text, or json: one object with four lists")] = Format.text,
    num_examples: Annotated[int, typer.Option("--examples", min=0, help="rejected rollouts shown per reason")] = 2,
) -> None:
    """What the filters did: rows in, removed, removed by each alone, overlaps, and rejected rollouts by reason."""
    from rich.console import Console

    parts = read_yields(night, num_examples)
    if format is Format.json:
        typer.echo(json.dumps(parts, indent=2))
        return
    _print(Console(highlight=False), parts, night)


def read_yields(night: str | None, num_examples: int) -> dict[str, list[Row]]:
    """`filters`, `reasons`, `overlaps` and `examples`, each a list of rows of its query under sql/reports/."""
    from pipelines.config import load_settings
    from pipelines.lake import Lake
    from pipelines.warehouse import Warehouse

    tables = ("consistency_results", "rollouts", "problems")
    with Warehouse(Lake(load_settings().lake_url), tables) as warehouse:
        reasons = warehouse.named("reports/filter_yields").to_pylist()
        return {
            "filters": warehouse.named("reports/filter_steps", night=night).to_pylist(),
            "reasons": [row for row in reasons if night in (None, row["night"])],
            "overlaps": warehouse.named("reports/filter_overlaps", night=night).to_pylist(),
            "examples": warehouse.named(
                "reports/rejected_examples", night=night, num_examples=num_examples
            ).to_pylist(),
        }


def _print(console: "Console", parts: dict[str, list[Row]], night: str | None) -> None:
    if not parts["filters"]:
        where = f" of {night}" if night else ""
        console.print(f"There are no results of filters{where}; `reasonmill materialize` makes them.", soft_wrap=True)
        return
    _print_table(console, "filters", parts["filters"])
    _print_table(console, "reasons", parts["reasons"])
    _print_table(console, "overlaps", parts["overlaps"])
    for row in parts["examples"]:
        _print_example(console, row)


def _print_table(console: "Console", title: str, rows: list[Row]) -> None:
    from rich.table import Table

    if not rows:
        return
    table = Table(*rows[0], box=None, pad_edge=False, title=title, title_justify="left")
    for row in rows:
        table.add_row(*(_cell(name, value) for name, value in row.items()))
    console.print(table)
    console.print()


def _cell(name: str, value: object) -> str:
    if value is None:
        return "-"
    if name.startswith("share") or name == "overlap":
        return f"{value:.1%}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _print_example(console: "Console", row: Row) -> None:
    from rich.padding import Padding
    from rich.text import Text

    score = "no score" if row["score"] is None else f"score {row['score']:.3g}"
    outcome = {1.0: "right", 0.0: "wrong", None: "not graded"}.get(row["outcome_reward"], "not graded")
    console.print(
        Text.assemble((f"{row['method']}: {row['reason']}", "bold"), f"  {row['rollout_id']}, {outcome}, {score}")
    )
    for part, style in ((row["prompt"], "dim"), (row["solution"], "")):
        console.print(Padding(Text(part or "-", style), (0, 0, 0, 2)))
    console.print()
