"""`reasonmill nights`: the log of nights, their reports, and nights run one after the other."""

import json
from collections.abc import Collection, Sequence
from datetime import date, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipelines.config import Settings

nights_app = typer.Typer(help="The log of nights, their reports, and backfills.", invoke_without_command=True)

Row = dict[str, object]
COLUMNS = {
    "night": "night", "verdict": "critic", "num_tokens": "tokens", "tokens_per_kept_row": "per row",
    "num_kept_rows": "rows", "right_share": "right", "pass1": "pass@1", "greedy": "greedy",
    "critic_auroc_frozen": "AUROC", "ece": "ece", "seconds": "min",
}  # fmt: skip
"""Column of the log -> its heading on the terminal."""
LEGEND = (
    "tokens: completion tokens of all stages, replayed ones counted; per row: those of search, samples, critiques and "
    "refinements for one row of a training set; right: of the night's independent samples; AUROC: right against wrong "
    "answers within frozen problems, by step scores; ece: calibration error of step scores; min: all stages, added up"
)
SHARES = ("right_share", "pass1", "greedy")
NO_NIGHTS = "There are no nights in the lake yet; `reasonmill demo` makes the first one."


class Format(StrEnum):
    """How the log is printed."""

    table = "table"
    json = "json"


@nights_app.callback()
def nights(
    context: typer.Context,
    format: Annotated[Format, typer.Option("--format", help="table, or json: one list of objects")] = Format.table,
) -> None:
    """One line per night: tokens, yields, how good critic and policy are, and what changed since the night before."""
    if context.invoked_subcommand is not None:
        return
    from pipelines.config import load_settings

    settings = load_settings()
    rows = log_of(settings)
    if format is Format.json:
        typer.echo(json.dumps(rows, indent=2))
        return
    if rows:
        _print_log(rows)
    unfinished = unfinished_nights(settings, {str(row["night"]) for row in rows})
    for night, reason in unfinished.items():
        typer.echo(f"{night}  {reason}")
    if not rows and not unfinished:
        typer.echo(NO_NIGHTS)


@nights_app.command()
def report(
    night: Annotated[str | None, typer.Argument(help="YYYY-MM-DD; default: the last one")] = None,
    again: Annotated[bool, typer.Option("--again", help="write the page anew from the lake")] = False,
    browser: Annotated[bool, typer.Option("--open", help="show it in the browser")] = False,
) -> None:
    """Print where the page of a night lies; it is written from the lake where it is not there yet."""
    from pipelines.config import load_settings
    from pipelines.lake import Lake
    from pipelines.night_report.write import report_path, write_report

    settings = load_settings()
    lake = Lake(settings.lake_url)
    chosen = known_night(settings, night)
    path = report_path(settings, chosen)
    if again or not path.is_file():
        path, _ = write_report(settings, lake, chosen)
    typer.echo(str(path))
    if browser:
        typer.launch(path.as_uri())


@nights_app.command()
def run(
    first: Annotated[str, typer.Option("--from", help="first night, YYYY-MM-DD")],
    last: Annotated[str, typer.Option("--to", help="last night, YYYY-MM-DD")],
    select: Annotated[str | None, typer.Option(help="assets only, such as consistency_results+")] = None,
    missing: Annotated[bool, typer.Option("--missing", help="only nights that the lake has no log of")] = False,
) -> None:
    """Run a range of nights, one after the other, the earliest first; a night that fails ends the range."""
    from assets.run import require_night
    from pipelines.config import load_settings
    from pipelines.errors import ReasonmillError
    from pipelines.lake import Lake
    from reasonmill.cli.demo import run_night

    settings = load_settings()
    wanted = nights_between(first, last)
    for night in (wanted[0], wanted[-1]):  # not after nights of work
        require_night(settings, night)
    done = set(Lake(settings.lake_url).partitions("night_log")) if missing else set()
    for index, night in enumerate(wanted):
        if night in done:
            continue
        try:
            run_night(settings, night, select)
        except ReasonmillError as error:
            raise ReasonmillError(what_is_left(night, wanted[index + 1 :], select, error)) from error


@nights_app.command()
def serve(
    host: Annotated[str, typer.Option(help="address to listen at; others than this machine's own see all reports")] = (
        "127.0.0.1"
    ),
    port: Annotated[int | None, typer.Option(help="default: that of night_report.pages_url")] = None,
) -> None:
    """Show reports, trees and rows' lineage to a browser until interrupted: where the links of Dagster's UI lead."""
    from urllib.parse import urlsplit

    from pipelines.config import load_settings
    from pipelines.errors import ReasonmillError
    from reasonmill.cli.dataset_lineage import traced
    from reasonmill.cli.night_server import page_server

    settings = load_settings()
    chosen = port if port is not None else urlsplit(settings.night_report.pages_url).port or 80
    try:
        server = page_server(settings.state_dir, host, chosen, lambda row_id: traced(settings, row_id).to_html())
    except OSError as error:
        raise ReasonmillError(
            f"Port {chosen} of {host} cannot be used ({error.strerror or error}). Give another --port, and the same in "
            "night_report.pages_url, so that the links of the UI find it."
        ) from error
    typer.echo(f"Reports and trees of {settings.state_dir}: http://{host}:{server.server_address[1]}")
    with server:
        server.serve_forever()


def what_is_left(night: str, later: Sequence[str], select: str | None, error: Exception) -> str:
    """Why a night of a range failed, and how the range goes on."""
    if not later:
        return f"The night {night} failed: {error}"
    return (
        f"The night {night} failed: {error}\nNot begun: {', '.join(later)}. When the cause is mended: "
        f"reasonmill nights run --from {night} --to {later[-1]}{f' --select {select}' if select else ''}"
    )


def nights_between(first: str, last: str) -> list[str]:
    """The days from first to last, both included; ConfigError where one is no day or they are the wrong way round."""
    from pipelines.errors import ConfigError

    try:
        start, end = date.fromisoformat(first), date.fromisoformat(last)
    except ValueError as error:
        raise ConfigError(f"--from {first} --to {last}: {error}; give days as YYYY-MM-DD.") from None
    if end < start:
        raise ConfigError(f"--from {first} lies after --to {last}; give the earlier night first.")
    return [(start + timedelta(days=days)).isoformat() for days in range((end - start).days + 1)]


def known_night(settings: "Settings", night: str | None) -> str:
    """The named night, or the last one; LakeError where the lake has no rollouts of it."""
    from pipelines.errors import LakeError
    from pipelines.lake import Lake
    from pipelines.night_report.alerts import read_alert
    from pipelines.rows import near_names

    known = Lake(settings.lake_url).partitions("rollouts")
    if night is not None and night not in known:
        if (alert := read_alert(settings.state_dir, night)) is not None:
            raise LakeError(f"The night {night} failed before it had rollouts: {alert.reason}")
        if known:
            raise LakeError(f"The lake has no night {night!r}; {near_names(night, known)}")
    if not known:
        raise LakeError(NO_NIGHTS)
    return night or known[-1]


def unfinished_nights(settings: "Settings", recorded: Collection[str]) -> dict[str, str]:
    """Night -> why it has no line in the log: it failed, or it was not run to its end. Newest last."""
    from pipelines.lake import Lake
    from pipelines.night_report.alerts import list_alerts

    begun = dict.fromkeys(Lake(settings.lake_url).partitions("rollouts"), "has rollouts and was not run to its end")
    failed = {one.night: f"failed: {one.reason}" for one in list_alerts(settings.state_dir) if one.night}
    found = begun | failed
    return {night: found[night] for night in sorted(found) if night in failed or night not in recorded}


def log_of(settings: "Settings") -> list[Row]:
    """One object per recorded night, oldest first: its row of night_log, its numbers, and what changed before it.

    The configuration itself is left out: `changed` says what of it differs.
    """
    from pipelines.lake import Lake
    from pipelines.night_report.facts import recorded_metrics
    from pipelines.night_report.log import changes_of
    from pipelines.warehouse import Warehouse

    with Warehouse(Lake(settings.lake_url), tables=["night_log", "night_metrics", "critic_trials"]) as warehouse:
        log = warehouse.named("reports/night_log_rows").to_pylist()
        metrics = recorded_metrics(warehouse, [row["night"] for row in log])
    rows = []
    for index, row in enumerate(log):
        changed = changes_of(row, log[index - 1] if index else None)
        shown = {name: value for name, value in row.items() if name not in ("config", "generations")}
        found = [{"what": one.what, "before": one.before, "after": one.after} for one in changed]
        rows.append({**shown, "metrics": metrics.get(row["night"], {}), "changed": found})
    return rows


def _print_log(rows: list[Row]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for name, title in COLUMNS.items():
        table.add_column(title, justify="left" if name in ("night", "verdict") else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(_cell(name, row) for name in COLUMNS))
    console = Console(highlight=False)
    console.print(table, markup=False)
    for row in rows:
        console.print(_yields_and_changes(row), markup=False)
    console.print(LEGEND, style="dim", markup=False)


def _yields_and_changes(row: Row) -> str:
    """What the filters of a night kept, and what differs from the night before it."""
    yields = {name.removeprefix("yield_"): value for name, value in row["metrics"].items() if "yield_" in name}
    kept = ", ".join(f"{name} {value:.1%}" for name, value in sorted(yields.items()))
    changed = ", ".join(one["what"].removeprefix("configuration ") for one in row["changed"])
    return f"{row['night']} filters kept: {kept or 'none ran'}; changed: {changed or 'nothing'}"


def _cell(name: str, row: Row) -> str:
    from pipelines.night_report.svg import short

    value = row.get(name, row["metrics"].get(name))
    if value is None:
        return "-"
    if name == "seconds":
        return f"{value / 60:.1f}"
    if name in SHARES:
        return f"{value:.1%}"
    if name in ("num_tokens", "num_kept_rows"):
        return short(value)
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 10 else f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
