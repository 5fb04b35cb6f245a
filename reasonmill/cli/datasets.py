"""`reasonmill datasets`: published versions, listed, shown, pulled, pinned, rolled back and deleted."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reasonmill.cli.show import Format

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.datasets.pull import ProgressFn
    from pipelines.datasets.versions import DatasetStore, PublishedVersion

Row = dict[str, object]

datasets_app = typer.Typer(help="Published dataset versions.", no_args_is_help=True)

PLAIN_LINE_EVERY_S = 10.0
Spec = Annotated[str, typer.Argument(metavar="NAME[@VERSION]", help="a dataset; VERSION: its name or start, or a pin")]
Source = Annotated[
    str | None, typer.Option("--source", metavar="URL", help="folder or URL of the datasets; default: the workspace's")
]
AsJson = Annotated[Format, typer.Option("--format", help="table, or json")]


@datasets_app.command("list")
def list_datasets(
    name: Annotated[str | None, typer.Argument(help="only this dataset")] = None,
    source: Source = None,
    format: AsJson = Format.table,
) -> None:
    """List the published versions of every dataset by night, newest last; `latest` and pins beside what they name."""
    from rich.console import Console
    from rich.table import Table

    store = open_store(source)
    names = _names(store, name)
    rows = [row for one in names for row in _version_rows(store, one)]
    for reason in (reason for one in names for reason in store.listing(one).misplaced.values()):
        typer.echo(f"warning: {reason}", err=True)
    if format is Format.json:
        typer.echo(json.dumps(rows, indent=2))
        return
    console = Console(highlight=False)
    if not rows:
        console.print(f"No version is in {store.shown} yet; `reasonmill demo` publishes one.", soft_wrap=True)
        return
    table = Table("version", "created", "rows", "tokens", "pins", box=None, pad_edge=False)  # names hold the night
    table.columns[0].no_wrap = table.columns[1].no_wrap = True
    for column in table.columns[2:4]:
        column.justify = "right"
    for row in rows:
        if row["damaged"]:
            table.add_row(str(row["version"]), "damaged")
        else:
            created = str(row["created_at"])[:16].replace("T", " ")
            cells = (row["version"], created, _count(row["num_rows"]), _count(row["num_tokens"]))
            table.add_row(*map(str, cells), ", ".join(row["pins"]))
    console.print(table)
    console.print(f"in {store.shown}", soft_wrap=True)
    for row in rows:
        if row["damaged"]:
            console.print(f"{row['version']}: {row['damaged']}", markup=False, soft_wrap=True)
    for one in names:
        for pin, reason in store.pin_listing(one).damaged.items():
            console.print(f"{one}@{pin}: {reason}", markup=False, soft_wrap=True)


@datasets_app.command()
def show(spec: Spec, source: Source = None, format: AsJson = Format.table) -> None:
    """Show one version: its sets, what made it, its pins, and whether its card is still the one that was published."""
    from rich.console import Console

    from pipelines.datasets.published import CARD, card_problem
    from pipelines.datasets.versions import split_spec

    store = open_store(source)
    found = store.resolve(*split_spec(spec))
    problem = card_problem(found.manifest, store.read_file(found, CARD))
    row = next(row for row in _version_rows(store, found.manifest["name"]) if row["version"] == found.version)
    if format is Format.json:
        shown = row | {"warnings": [problem] if problem else [], "manifest": found.manifest}
        typer.echo(json.dumps(shown, indent=2))
        return
    _print_version(Console(highlight=False), found, row)
    if problem:
        typer.echo(f"warning: {problem}", err=True)


@datasets_app.command()
def pull(
    spec: Spec,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="the version becomes the folder DIR/VERSION")],
    sets: Annotated[list[str] | None, typer.Option("--set", help="only this set; may be given several times")] = None,
    source: Source = None,
) -> None:
    """Copy a version to a folder, every file checked; run it again to go on where it was interrupted."""
    from rich.console import Console

    from pipelines.datasets.pull import pull_version
    from pipelines.datasets.versions import split_spec

    store = open_store(source)
    with _progress(Console(stderr=True, highlight=False)) as on_progress:
        pulled = pull_version(store, *split_spec(spec), to, sets or (), on_progress)
    for warning in pulled.warnings:
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(
        f"{pulled.num_copied} files copied ({_size(pulled.num_bytes_copied)}), {pulled.num_kept} were there already.",
        err=True,
    )
    typer.echo(str(pulled.path))


@datasets_app.command()
def pin(
    spec: Spec,
    pin: Annotated[str, typer.Argument(help="the name that is to point at it, such as prod")],
) -> None:
    """Point a name at a version: it can be pulled as NAME@PIN and is neither deleted nor cleaned away."""
    from pipelines.datasets.versions import split_spec

    name, version = split_spec(spec)
    pinned = open_store(None).pin(name, version, pin)
    before = f" (before: {pinned.targets[-2].version})" if len(pinned.targets) > 1 else ""
    typer.echo(f"{name}@{pin} is {pinned.version}{before}")


@datasets_app.command()
def unpin(
    name: Annotated[str, typer.Argument(help="the dataset")],
    pin: Annotated[str, typer.Argument(help="the pin; latest: end its rollback")],
) -> None:
    """Remove a pin; the version stays."""
    store = open_store(None)
    removed = store.unpin(name, pin)
    was = f"no longer points at {removed.version}" if removed else "is removed; its file was damaged"
    typer.echo(f"{name}@{pin} {was}")
    if pin == "latest":
        typer.echo(f"{name}@latest is {store.resolve(name).version}")


@datasets_app.command()
def rollback(
    name: Annotated[str, typer.Argument(help="the dataset")],
    to: Annotated[str | None, typer.Option("--to", metavar="VERSION", help="default: the one before")] = None,
    pin: Annotated[str, typer.Option("--pin", help="the name that goes back")] = "latest",
    undo: Annotated[bool, typer.Option("--undo", help="end a rollback of latest")] = False,
) -> None:
    """Point `latest`, or a pin, at an earlier version; for `latest` until a newer version is published."""
    if undo:
        if to is not None or pin != "latest":
            raise typer.BadParameter("--undo ends a rollback of latest; it goes with neither --to nor --pin")
        unpin(name, "latest")
        return
    moved = open_store(None).rollback(name, to, pin)
    until = " until a newer version is published or `rollback --undo`" if pin == "latest" else ""
    typer.echo(f"{name}@{pin} is {moved.version}{until}")


@datasets_app.command()
def delete(
    spec: Annotated[str, typer.Argument(metavar="NAME@VERSION")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="do not ask")] = False,
) -> None:
    """Remove a version for good; refused while a pin points at it, or is damaged and might."""
    from pipelines.datasets.versions import split_spec

    name, version = split_spec(spec)
    store = open_store(None)
    if not yes:
        typer.confirm(f"Remove {name}@{version} from {store.shown} for good?", abort=True)
    typer.echo(f"{store.delete(name, version)} is removed")


def open_store(source: str | None) -> "DatasetStore":
    """The datasets at a URL, or those of the workspace."""
    from pipelines.datasets.versions import DatasetStore

    if source is not None:
        return DatasetStore(source)
    from pipelines.config import load_settings

    return DatasetStore(load_settings().datasets_url)


def _names(store: "DatasetStore", name: str | None) -> list[str]:
    from pipelines.errors import WorkspaceError
    from pipelines.rows import near_names

    names = store.names()
    if name is None:
        return names
    if name not in names:
        raise WorkspaceError(f"There is no dataset {name!r} in {store.shown}; {near_names(name, names)}")
    return [name]


def _version_rows(store: "DatasetStore", name: str) -> list[Row]:
    """One row per version, damaged ones last; `pins` has `latest` where a pull without a version leads.

    `damaged_pins`: pin of the dataset -> why its file cannot be used; the same in every row, empty where all can.
    """
    from pipelines.datasets.versions import LATEST

    found = store.listing(name)
    in_effect, damaged_pins = store.pins_in_effect(name), dict(store.pin_listing(name).damaged)
    if found.versions and LATEST not in damaged_pins:
        in_effect = {LATEST: found.versions[-1].version} | in_effect
    rows: list[Row] = [
        {
            "dataset": name,
            "version": one.version,
            "night": one.manifest.get("night"),
            "created_at": one.manifest["created_at"],
            "num_rows": one.manifest.get("num_rows"),
            "num_tokens": one.manifest.get("num_tokens"),
            "content_sha256": one.manifest["content_sha256"],
            "pins": sorted(pin for pin, version in in_effect.items() if version == one.version),
            "path": str(one.path),
            "damaged": None,
            "damaged_pins": damaged_pins,
        }
        for one in found.versions
    ]
    keys = ("night", "created_at", "num_rows", "num_tokens", "content_sha256")
    for version, reason in sorted(found.damaged.items()):
        path = f"{store.shown}/{name}/{version}"
        rows.append({"dataset": name, "version": version, **dict.fromkeys(keys), "pins": [], "path": path,
                     "damaged": reason, "damaged_pins": damaged_pins})  # fmt: skip
    return rows


def _print_version(console: "Console", found: "PublishedVersion", row: Row) -> None:
    from rich.table import Table
    from rich.text import Text

    from pipelines.datasets.commit import commit_of

    manifest = found.manifest
    console.print(Text(found.version, "bold"))
    lines = [
        ("path", row["path"]),
        ("night", row["night"]),
        ("created", row["created_at"]),
        ("pins", ", ".join(row["pins"]) or "none"),
        ("content", row["content_sha256"]),
        ("code", manifest.get("code_digest") or "not recorded"),
        ("commit", commit_of(manifest) or "not recorded"),
        ("engine", manifest.get("engine") or "not recorded"),
        *((f"model {role}", digest or "none") for role, digest in sorted(dict(manifest.get("models", {})).items())),
    ]
    for title, value in lines:
        console.print(Text(f"{title:<22} {value}"), soft_wrap=True)
    console.print()
    table = Table("set", "rows", "tokens", "files", "size", "columns", box=None, pad_edge=False)
    for column in table.columns[1:5]:
        column.justify = "right"
    for name, entry in manifest["sets"].items():
        size = sum(file["num_bytes"] for file in entry["files"])
        tokens = entry.get("tokens") or {}
        num_tokens = tokens["num_prompt_tokens"] + tokens["num_completion_tokens"] if tokens else None
        table.add_row(
            name, _count(entry["num_rows"]), _count(num_tokens), str(len(entry["files"])), _size(size),
            ", ".join(entry["columns"]),
        )  # fmt: skip
    console.print(table)
    for name, entry in manifest["sets"].items():
        if reason := entry.get("tokens_reason"):
            console.print(Text(f"tokens of {name} are not counted: {reason}"), soft_wrap=True)


@contextmanager
def _progress(console: "Console") -> Iterator["ProgressFn"]:
    """A bar on a terminal; elsewhere a line now and then."""
    if not console.is_terminal:
        yield _line_progress(console)
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.fields[files]}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console) as bars:
        task = bars.add_task("pull", total=None, files="")

        def draw(done: int, files: int, done_bytes: int, num_bytes: int) -> None:
            bars.update(task, completed=done_bytes, total=num_bytes, files=f"{done}/{files} files")

        yield draw


def _line_progress(console: "Console") -> "ProgressFn":
    printed = time.monotonic()

    def write(done: int, files: int, done_bytes: int, num_bytes: int) -> None:
        nonlocal printed
        if time.monotonic() - printed >= PLAIN_LINE_EVERY_S:
            printed = time.monotonic()
            console.print(f"{done}/{files} files, {_size(done_bytes)} of {_size(num_bytes)}", soft_wrap=True)

    return write


def _count(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "-"


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 2**20:,.1f} MiB" if num_bytes >= 2**20 else f"{num_bytes / 2**10:,.1f} KiB"
