"""`reasonmill apply`: a curation method on a file of one's own, without Dagster and without a model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click
import typer
from typer.core import TyperCommand

from pipelines.errors import ReasonmillError

if TYPE_CHECKING:
    from pipelines.apply import Applied


class ApplyCommand(TyperCommand):
    """Behind its own help stand the methods, with the columns that each reads and makes; they are looked up then."""

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from pipelines.apply import applicable_methods
        from reasonmill.cli.show import shown_columns

        super().format_help(ctx, formatter)
        for name, curation in applicable_methods().items():
            typer.echo(f"{name}({', '.join(curation.params.model_fields)})\n{shown_columns(curation, '  ')}\n")
        typer.echo("`reasonmill methods NAME` tells what the columns and parameters of a method mean.")


def apply(
    method: Annotated[str, typer.Argument(help="a method that runs on a table, such as prof; my_methods.py:NAME")],
    source: Annotated[Path, typer.Option("--input", help="Parquet, or one JSON object per line (.jsonl, .jsonl.gz)")],
    target: Annotated[Path, typer.Option("--output", help="the rows with what the method adds, or its own rows")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="a parameter; may be given several times")
    ] = None,
) -> None:
    """Runs a published method on a table of yours.

    A filter judges every row (kept, or a reason, with its score); the rows stay in their order and keep their columns.
    Other methods add numbers to every row, or write rows of their own.
    """
    from rich.console import Console

    from pipelines.apply import apply_method

    applied = apply_method(method, source, target, dict(map(_pair, settings or [])), _own_method)
    Console(stderr=True, highlight=False).print(_said(applied), soft_wrap=True, markup=False)


def _own_method(reference: str) -> object:
    from pipelines.config import load_settings
    from pipelines.extensions import load_extension

    return load_extension(load_settings(), "filters", reference)


def _said(applied: "Applied") -> str:
    if applied.num_kept is not None:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in applied.reasons.items())
        return f"{applied.num_kept:,} of {applied.num_rows:,} rows kept" + (f"; {reasons}" if reasons else "")
    return f"{applied.num_rows:,} rows read, {applied.num_written:,} written with {', '.join(applied.columns)}"


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ReasonmillError(f"--set {text} is no KEY=VALUE; write it as --set num_removed=4.")
    return key.strip(), value.strip()
