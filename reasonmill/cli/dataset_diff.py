"""`reasonmill datasets diff A B`: what differs between two versions."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reasonmill.cli.show import Format

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.config import Settings
    from pipelines.datasets.diff import SetDiff, VersionDiff
    from pipelines.datasets.versions import DatasetStore, PublishedVersion

MAX_CHANGES = 30  # of provenance and of configuration that a terminal shows


def diff(
    old: Annotated[str, typer.Argument(metavar="A", help="NAME[@VERSION], VERSION, PIN, or a folder that was pulled")],
    new: Annotated[str, typer.Argument(metavar="B", help="the same, to compare A with")] = "latest",
    only: Annotated[list[str] | None, typer.Option("--set", help="only this set; may be given again")] = None,
    format: Annotated[Format, typer.Option("--format", help="table, or json: one object")] = Format.table,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="write a page instead")] = None,
) -> None:
    """Compare two versions: rows added, removed, changed; shifted distributions; code and configuration."""
    from rich.console import Console

    from pipelines.config import load_settings
    from pipelines.datasets import page
    from pipelines.datasets.diff import diff_versions
    from pipelines.datasets.diff_page import to_html
    from pipelines.datasets.versions import DatasetStore

    settings = load_settings()
    store = DatasetStore(settings.datasets_url)
    before, after = (find_version(settings, store, text) for text in (old, new))
    _require_sets(before, after, only or [])
    found = diff_versions(before, after, only or [], store)
    console = Console(highlight=False)
    if html is not None:
        console.print(f"Wrote {page.write(html, to_html(found))}", markup=False, soft_wrap=True)
    elif format is Format.json:
        typer.echo(json.dumps(found.to_json(), indent=2))
    else:
        _print(console, found)


def find_version(settings: "Settings", store: "DatasetStore", text: str) -> "PublishedVersion":
    """A version by its folder, by NAME or NAME@VERSION, or by version or pin of the configured dataset."""
    from pipelines.datasets.published import MANIFEST, NAME, read_version
    from pipelines.datasets.versions import split_spec
    from pipelines.errors import WorkspaceError

    if "/" in text or Path(text, MANIFEST).is_file():
        return read_version(text)
    if "@" in text or (NAME.fullmatch(text) and store.has(text)):
        return store.resolve(*split_spec(text))
    try:
        return store.resolve(settings.publishing.name, text)
    except WorkspaceError:
        if Path(text).is_dir():
            return read_version(text)  # which says what it lacks
        raise


def _require_sets(old: "PublishedVersion", new: "PublishedVersion", names: list[str]) -> None:
    from pipelines.errors import WorkspaceError
    from pipelines.rows import near_names

    there = {**old.manifest["sets"], **new.manifest["sets"]}
    for name in names:
        if name not in there:
            raise WorkspaceError(f"Neither version has a set {name!r}; {near_names(name, there)}")


def _print(console: "Console", found: "VersionDiff") -> None:
    from rich.table import Table
    from rich.text import Text

    from pipelines.datasets.diff_page import change_cells, headline
    from pipelines.trees.view import one_line

    console.print(Text(f"{found.old} → {found.new}", "bold"))
    console.print(headline(found))
    for sentence in found.left_out:
        console.print(Text(one_line(sentence)), soft_wrap=True)
    rows = Table(
        "set", "old", "new", "added", "removed", "changed", "same", "problems in both", box=None, pad_edge=False
    )
    for one in found.sets:
        counts = (one.num_old, one.num_new, one.num_added, one.num_removed, one.num_changed, one.num_same)
        problems = f"{one.num_shared_problems:,} of {one.num_old_problems:,}/{one.num_new_problems:,}"
        rows.add_row(one.name, *(f"{count:,}" for count in counts), problems)
    console.print(rows)
    for one in found.sets:
        _print_set(console, one)
    for name, changes in (("Provenance", found.provenance), ("Configuration", found.configuration)):
        if not changes:
            continue
        table = Table(name, "was", "is", box=None, pad_edge=False)
        for change in changes[:MAX_CHANGES]:
            table.add_row(*(Text(cell) for cell in change_cells(change)))
        console.print(table)
        if len(changes) > MAX_CHANGES:
            console.print(f"and {len(changes) - MAX_CHANGES} more; --html and --format json show all.")


def _print_set(console: "Console", one: "SetDiff") -> None:
    from rich.table import Table
    from rich.text import Text

    from pipelines.datasets.diff_page import column_changes, shift_cells, short

    moved = [shift for shift in one.shifts if shift.distance]
    if not (moved or one.num_added or one.num_removed or one.num_changed or one.has_other_columns):
        return
    console.print(Text(f"\n{one.name}", "bold"))
    for kind in ("added", "removed", "changed"):
        if keys := getattr(one, kind):
            console.print(Text(f"{kind}, such as {', '.join(map(short, keys))}"))
    if one.changed_columns:
        console.print(Text("changed: " + ", ".join(f"{name} in {count:,}" for name, count in one.changed_columns)))
    for kind, names in column_changes(one):
        console.print(Text(f"{kind}: {', '.join(names)}"))
    if moved:
        table = Table("column", "was (5 / 50 / 95 %)", "is", "nulls", "distance", box=None, pad_edge=False)
        for shift in moved:
            table.add_row(*(Text(cell) for cell in shift_cells(shift)))
        console.print(table)
