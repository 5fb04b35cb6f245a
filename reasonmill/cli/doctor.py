"""`reasonmill doctor`: what would fail tonight, and what to do about it."""

import json
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipelines.diagnosis import Finding

STYLES = {"ok": "green", "warning": "yellow", "error": "bold red"}


class Format(StrEnum):
    """How the findings are printed."""

    table = "table"
    json = "json"


def doctor(
    format: Annotated[Format, typer.Option("--format", help="table, or json: one object")] = Format.table,
) -> None:
    """Look at engine, model, disk, memory, schedule, pools, leases and versions; exit code 1 if tonight would fail."""
    findings = examine()
    errors = [one for one in findings if one.level == "error"]
    if format is Format.json:
        found = {"would_run": not errors, "findings": [asdict(one) for one in findings]}
        typer.echo(json.dumps(found, indent=2))
    else:
        _print(findings)
    if errors:
        raise typer.Exit(1)


def examine() -> "list[Finding]":
    """Every finding; a configuration that cannot be read is the only one."""
    from pipelines.config import load_settings
    from pipelines.diagnosis import ERROR, OK, Finding, diagnose
    from pipelines.errors import ConfigError
    from pipelines.policies import with_adopted_policy
    from pipelines.redaction import redacted

    try:
        settings = load_settings()
    except ConfigError as error:
        return [Finding("configuration", ERROR, redacted(str(error)), "reasonmill config validate names every mistake")]
    from assets.diagnosis import diagnose_dagster

    settings = with_adopted_policy(settings)
    read = f"{settings.config_file or 'built-in defaults'}, workspace {settings.root}"
    return [Finding("configuration", OK, read), *diagnose(settings), *diagnose_dagster(settings)]


def _print(findings: "list[Finding]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, show_header=False)
    for one in findings:
        words = Text(one.text)
        if one.advice:
            words.append(f"\n{one.advice}", style="dim")
        table.add_row(Text(one.level, STYLES[one.level]), one.name, words)
    console.print(table)
    errors = sum(one.level == "error" for one in findings)
    warnings = sum(one.level == "warning" for one in findings)
    verdict = "Tonight would fail." if errors else "Nothing found that tonight would fail on."
    console.print(f"\n{verdict} {errors} errors, {warnings} warnings.", markup=False)
