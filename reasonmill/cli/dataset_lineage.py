"""`reasonmill datasets lineage`: where a row came from, and which versions have anything of a row, problem or model."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reasonmill.cli.show import Format

if TYPE_CHECKING:
    from rich.tree import Tree

    from pipelines.config import Settings
    from pipelines.datasets.lineage import LookUpRequest, Origin, TablesSince, VersionUse
    from pipelines.datasets.versions import DatasetStore


def lineage(
    row_id: Annotated[
        str | None,
        typer.Argument(
            metavar="[ROW_ID]",
            help="rollout_id, pair_id, group_id, critique_id, refinement_id, tree_id:node_id or problem_id",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="name of a policy, or the beginning of a digest: the versions with it")
    ] = None,
    problem: Annotated[str | None, typer.Option(help="a problem_id: the versions with it")] = None,
    night: Annotated[str | None, typer.Option(help="only the row of this night")] = None,
    format: Annotated[Format, typer.Option("--format", help="table, or json: one object")] = Format.table,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="write a page instead")] = None,
) -> None:
    """Trace a row to pair, filters, critiques, nodes, requests and model; or a model or problem to versions."""
    from pipelines.config import load_settings
    from pipelines.errors import ReasonmillError

    if (row_id is not None) + (model is not None) + (problem is not None) != 1:
        raise ReasonmillError(
            "Name one thing to trace: a row's id, or --model DIGEST, or --problem PROBLEM_ID; "
            "such as reasonmill datasets lineage 381a195195c56dc4."
        )
    if html is not None and row_id is None:
        raise ReasonmillError("--html shows the lineage of one row: give its id.")
    settings = load_settings()
    if row_id is None:
        _show_uses(settings, model, problem, format)
        return
    _show_row(settings, row_id, night, format, html)


@dataclass(frozen=True)
class Traced:
    """What lake and versions know of a row."""

    row_id: str
    origins: "Sequence[Origin]"
    uses: "Sequence[VersionUse]"
    since: "Sequence[TablesSince]"
    damaged: Mapping[str, str]  # version -> why it cannot be read

    @property
    def notes(self) -> list[str]:
        """Sentences on what was made again since, and on versions that cannot be read."""
        return [*filter(None, map(str, self.since)), *map(_damage, self.damaged.items())]

    def to_json(self) -> dict[str, object]:
        return {
            "row_id": self.row_id,
            "published_in": [use.to_json() for use in self.uses],
            "tables_since": [one.to_json() for one in self.since],
            "damaged": self.damaged,
            "origins": [one.to_json() for one in self.origins],
        }

    def to_html(self) -> str:
        """One self-contained page."""
        from pipelines.datasets.lineage_page import to_html

        return to_html(self.row_id, self.origins, self.uses, self.notes)


def traced(settings: "Settings", row_id: str, night: str | None = None) -> Traced:
    """The row's origins and versions; a named error where neither the lake nor a version has such an id."""
    from pipelines.datasets.lineage import Tracer, open_tracing_warehouse, tables_since, versions_with_row
    from pipelines.datasets.versions import DatasetStore
    from pipelines.lake import Lake

    lake, store, name = Lake(settings.lake_url), DatasetStore(settings.datasets_url), settings.publishing.name
    uses, damaged = versions_with_row(store, name, row_id)
    with open_tracing_warehouse(lake) as warehouse, _look_up(settings) as look_up:
        tracer = Tracer(warehouse, lake, look_up, night)
        if not uses:
            _warn_of(damaged)
        origins = tracer.find(row_id) if uses else tracer.origins(row_id)
        since = tables_since(lake, store, name, uses, tracer.nights(row_id))
    return Traced(row_id, origins, uses, since, damaged)


def _show_row(settings: "Settings", row_id: str, night: str | None, format: Format, html: Path | None) -> None:
    from rich.console import Console

    from pipelines.datasets import page
    from pipelines.trees.view import one_line

    found = traced(settings, row_id, night)
    console = Console(highlight=False)
    if html is not None:
        console.print(f"Wrote {page.write(html, found.to_html())}", markup=False, soft_wrap=True)
        return
    if format is Format.json:
        typer.echo(json.dumps(found.to_json(), indent=2))
        return
    for origin in found.origins:
        console.print(_tree(origin))
    if not found.origins:
        where = f" of the night {night}" if night else ""
        console.print(f"Nothing in the lake{where} has the id {row_id}.", markup=False, soft_wrap=True)
    _print_uses(console, found.uses, f"No published version has a row with the id {row_id}.")
    for note in found.notes if found.uses else ():
        console.print(f"Note: {one_line(note)}", markup=False, soft_wrap=True)


def _damage(found: tuple[str, str]) -> str:
    """A sentence on a damaged version."""
    version, reason = found
    return f"What the version {version} has is not known: {reason}"


def _warn_of(damaged: "Mapping[str, str]") -> None:
    """Names damaged versions on the error stream."""
    from pipelines.trees.view import one_line

    for found in damaged.items():
        typer.echo(f"Warning: {one_line(_damage(found))}", err=True)


@contextmanager
def _look_up(settings: "Settings") -> "Iterator[LookUpRequest]":
    """What the response store knows of a request; nothing where there is no store."""
    from pipelines.inference.response_shards import is_store
    from pipelines.inference.response_store import ResponseStore

    if not is_store(settings.response_store_path):
        yield lambda request_id: None
        return
    with ResponseStore(settings.response_store_path) as store:
        yield store.record


def _tree(origin: "Origin") -> "Tree":
    from rich.tree import Tree

    root = Tree(_label(origin), guide_style="dim")
    for source in origin.sources:
        root.add(_tree(source))
    return root


def _label(origin: "Origin") -> object:
    from rich.text import Text

    from pipelines.trees.view import one_line

    facts = "  ".join(f"{name}: {one_line(value)}" for name, value in origin.facts)
    role = (f"{origin.role} ", "yellow") if origin.role else ""
    return Text.assemble(role, (origin.kind, "bold"), " ", (one_line(origin.row_id), "cyan"), "  ", (facts, "dim"))


def _show_uses(settings: "Settings", model: str | None, problem: str | None, format: Format) -> None:
    from rich.console import Console

    from pipelines.datasets.lineage import damaged_versions, versions_with_model, versions_with_row
    from pipelines.datasets.versions import DatasetStore

    store, name = DatasetStore(settings.datasets_url), settings.publishing.name
    if model is None:
        uses, damaged = versions_with_row(store, name, problem)
    else:
        uses, damaged = versions_with_model(store, name, model), damaged_versions(store, name)
    _warn_of(damaged)
    if not uses:
        _require_known(settings, store, model, problem)
    if format is Format.json:
        typer.echo(json.dumps([use.to_json() for use in uses], indent=2))
        return
    _print_uses(Console(highlight=False), uses, f"No published version of {name} has anything of {problem}.")


def _require_known(settings: "Settings", store: "DatasetStore", model: str | None, problem: str | None) -> None:
    """An error with near names where no version has the model, or neither a version nor the lake the problem."""
    from pipelines.datasets.lineage import known_models, near_problems
    from pipelines.errors import ReasonmillError
    from pipelines.lake import Lake
    from pipelines.rows import near_names
    from pipelines.warehouse import Warehouse

    name = settings.publishing.name
    if model is not None:
        near = near_names(model, known_models(store, name))
        raise ReasonmillError(f"No published version of {name} names the model {model!r}; {near}")
    with Warehouse(Lake(settings.lake_url), ("problems",)) as warehouse:
        near = near_problems(warehouse, problem)
    if near is not None:
        guess = (
            f"did you mean {' or '.join(near)}?" if near else "the column problem_id of every set has those that are."
        )
        raise ReasonmillError(f"Neither a published version of {name} nor the lake has a problem {problem!r}; {guess}")


def _print_uses(console: object, uses: "Sequence[VersionUse]", nothing: str) -> None:
    from rich.table import Table
    from rich.text import Text

    if not uses:
        console.print(nothing, markup=False, soft_wrap=True)
        return
    table = Table("version", "set", "by", "rows", box=None, pad_edge=False)
    for use in uses:
        count = "" if use.num_rows is None else f"{use.num_rows:,}"
        table.add_row(Text(use.version), use.set_name, use.column, count)
    console.print(table)
