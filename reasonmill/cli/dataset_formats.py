"""`reasonmill datasets formats | export | mix`: published sets in the columns of a trainer."""

import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.errors import FormatError

if TYPE_CHECKING:
    from pipelines.config import Settings
    from pipelines.datasets.formats import Format
    from pipelines.datasets.mixtures import Source
    from pipelines.datasets.versions import PublishedVersion

Target = Annotated[
    Path, typer.Option("--to", metavar="FILE-OR-DIR", help=".parquet, .jsonl or .jsonl.gz, else a folder")
]
FormatName = Annotated[str, typer.Option("--format", help="`reasonmill datasets formats` lists them")]
Seed = Annotated[int, typer.Option(help="of splits and of the order of a mixture")]
Model = Annotated[
    str | None, typer.Option(help="whose chat template made the prompts; for formats with messages")
]  # fmt: skip
Plain = Annotated[bool, typer.Option("--plain", help="messages hold the prompts as they are, without a template")]

Force = Annotated[bool, typer.Option("--force", help="write over files that are there already")]


class Listing(StrEnum):
    """How a list is printed."""

    table = "table"
    json = "json"


class StopAt(StrEnum):
    """When a mixture ends."""

    first = "first"
    all = "all"


def formats(
    name: Annotated[str | None, typer.Argument(help="one format, with its columns and their types")] = None,
    format: Annotated[Listing, typer.Option("--format", help="table, or json: one list of objects")] = Listing.table,
) -> None:
    """List the formats: what a row is, which set it reads, and what reads it in a test."""
    from rich.console import Console
    from rich.table import Table

    from pipelines.datasets.formats import FORMATS, format_named

    chosen = list(FORMATS.values()) if name is None else [format_named(name)]
    if format is Listing.json:
        typer.echo(json.dumps([_described(one) for one in chosen], indent=2))
        return
    table = Table("format", "reads", "what a row is", "validated by", box=None, pad_edge=False)
    for one in chosen:
        table.add_row(one.name, ", ".join(one.reads), one.summary, one.validated_by)
    console = Console(highlight=False)
    console.print(table)
    if name is not None:
        console.print("\n".join(["", *(f"{column.name}: {column.type}" for column in chosen[0].schema)]), markup=False)


def _described(one: "Format") -> dict[str, object]:
    return {
        "format": one.name,
        "summary": one.summary,
        "reads": list(one.reads),
        "columns": {column.name: str(column.type) for column in one.schema},
        "validated_by": one.validated_by,
    }


def export(
    dataset: Annotated[
        str, typer.Argument(metavar="NAME[@VERSION]", help="a published dataset, or a version's folder")
    ],
    format: FormatName,
    target: Target,
    splits: Annotated[
        list[str] | None, typer.Option("--split", metavar="NAME=SHARE", help="by problem; several that add up to 1")
    ] = None,
    seed: Seed = 0,
    model: Model = None,
    plain: Plain = False,
    force: Force = False,
) -> None:
    """Write one set of a version in a trainer's format, as one file or one per split."""
    from pipelines.config import load_settings
    from pipelines.datasets.formats import export as exports
    from pipelines.datasets.formats import format_named
    from pipelines.datasets.splits import checked_shares
    from pipelines.lake import Lake

    settings = load_settings()
    version = _version(settings, dataset)
    form = _with_template(format_named(format), version, model, plain)
    named = [_number(text, "--split") for text in splits or ()]
    if len(dict(named)) < len(named):
        raise FormatError(f"--split names a split twice: {', '.join(name for name, _ in named)}.")
    shares = checked_shares(dict(named)) if named else None
    lake = Lake(settings.lake_url)
    for one in exports.export(version, form, target, shares, seed, lake, overwrite=force):
        typer.echo(
            f"{one.split}: {one.num_rows:,} rows in {one.path}" if one.path else f"{one.split}: no rows, no file"
        )


def mix(
    datasets: Annotated[list[str], typer.Argument(metavar="NAME[@VERSION]=WEIGHT...", help="what is mixed")],
    format: FormatName,
    target: Target,
    rows: Annotated[
        int | None, typer.Option(min=1, help="rows of the mixture; as many as there are by default")
    ] = None,
    difficulty: Annotated[
        list[str] | None, typer.Option(metavar="DIFFICULTY=WEIGHT", help="within every dataset; others are left out")
    ] = None,
    stop_at: Annotated[
        StopAt, typer.Option(help="first: when a source that ran out is due; all: when every row is in")
    ] = StopAt.first,
    seed: Seed = 0,
    model: Model = None,
    plain: Plain = False,
    force: Force = False,
) -> None:
    """Mix a set of several versions by weight and difficulty, without replacement, and say what ran out."""
    from pipelines.config import load_settings
    from pipelines.datasets.formats import format_named
    from pipelines.datasets.formats.export import check_new, write_rows
    from pipelines.datasets.mixtures import mix as mixture_of

    settings = load_settings()
    if not force:
        check_new(_file_in(target))
    weights = {_difficulty(text): weight for text, weight in map(_weighed, difficulty or [])}
    sources: list[Source] = []
    for name, weight in (_number(text, "NAME=WEIGHT") for text in datasets):
        version = _version(settings, name)
        form = _with_template(format_named(format), version, model, plain)
        sources += _sources(version, form, weight, weights)
    mixture = mixture_of(sources, rows, seed, stop_at.value)
    num_rows = write_rows(_file_in(target), form, mixture.pieces())
    typer.echo(f"{num_rows:,} rows in {_file_in(target)}")
    for source in mixture.sources:
        ran_out = mixture.exhausted_at.get(source.name)
        end = f", all of them, after row {ran_out:,}" if ran_out is not None else f" of {source.rows.num_rows:,}"
        typer.echo(f"  {source.name}: {mixture.num_taken[source.name]:,}{end}")


def _sources(
    version: "PublishedVersion", form: "Format", weight: float, difficulties: Mapping[int, float]
) -> "list[Source]":
    import pyarrow as pa

    from pipelines.datasets.formats.export import converted, difficulties_of, source_rows
    from pipelines.datasets.mixtures import Source, by_difficulty

    pieces = list(converted(form, source_rows(version, form)))
    source = Source(version.version, pa.concat_tables(pieces) if pieces else form.schema.empty_table(), weight)
    return by_difficulty(source, difficulties_of(version), difficulties) if difficulties else [source]


def _file_in(target: Path) -> Path:
    return target if target.suffix in (".parquet", ".jsonl", ".gz") else target / "train.parquet"


def _version(settings: "Settings", dataset: str) -> "PublishedVersion":
    from pipelines.datasets.versions import MANIFEST, read_version, resolve, split_spec

    if "/" in dataset or (Path(dataset) / MANIFEST).is_file():
        return read_version(dataset)
    return resolve(settings.datasets_url, *split_spec(dataset))


def _with_template(form: "Format", version: "PublishedVersion", model: str | None, plain: bool) -> "Format":
    """Messages by the template of `model`, or of the version's own policy where that was asked in chat style."""
    if not form.is_chat or plain:
        return form
    from pipelines.datasets.published import told

    policy = told(version.manifest, "configuration").get("policy", {})
    if model is None and policy.get("prompt_style") != "chat":
        return form
    from pipelines.datasets.formats import user_text_of
    from pipelines.inference.tokens import Tokenizer

    tokenizer = Tokenizer.load(model or policy["model"])
    return form.with_template(user_text_of(lambda text: tokenizer.chat_text([{"role": "user", "content": text}])))


def _number(text: str, option: str) -> tuple[str, float]:
    name, equals, number = text.rpartition("=")
    try:
        if not equals or not name:
            raise ValueError
        return name, float(number)
    except ValueError:
        raise FormatError(f"{text!r} is not {option}: give a name, = and a number, such as reasoning=0.5.") from None


def _weighed(text: str) -> tuple[str, float]:
    return _number(text, "--difficulty")


def _difficulty(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise FormatError(f"{text!r} is no difficulty; it is a whole number, as in --difficulty 2=1.") from None
