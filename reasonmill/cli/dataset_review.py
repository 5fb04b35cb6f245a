"""`reasonmill datasets review`: solutions for people to review, and their labels back into the lake."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reasonmill.cli.show import Format

if TYPE_CHECKING:
    from pipelines.config import Settings
    from pipelines.warehouse import Warehouse

review_app = typer.Typer(help="Solutions for people to review, and their labels.", no_args_is_help=True)


@review_app.command("export")
def export_queue(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="json lines, one solution each; must not exist yet")],
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="QUEUE",
            help="audited_sample, disagreements, or a set: sft, stepwise, rl_groups; several; default: the first two",
        ),
    ] = None,
    night: Annotated[str | None, typer.Option(help="of audited_sample and disagreements; default: the last")] = None,
    version: Annotated[
        str | None, typer.Option(metavar="NAME[@VERSION]", help="of sets; default: the newest version")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="solutions of a queue, at most")] = None,
    blind: Annotated[bool, typer.Option("--blind", help="without what machines say of them")] = False,
    again: Annotated[bool, typer.Option("--again", help="also solutions that somebody has reviewed")] = False,
) -> None:
    """Write solutions for people to label: fill in first_error_step (-1: none), reviewer and, if need be, a comment."""
    from pipelines.config import load_settings
    from pipelines.datasets.review import AUDITED, DISAGREEMENTS, READ, queue_lines, queued, reviewed_rollouts
    from pipelines.errors import ReasonmillError
    from pipelines.lake import Lake
    from pipelines.warehouse import Warehouse

    if file.exists():
        raise ReasonmillError(f"{file} is there already and may hold somebody's work; name another file.")
    settings = load_settings()
    with Warehouse(Lake(settings.lake_url), READ) as warehouse:
        names = dict.fromkeys(source or (AUDITED, DISAGREEMENTS))
        queues = {name: _queue(settings, warehouse, name, night, version, limit) for name in names}
        done = reviewed_rollouts(warehouse)
        lines = queue_lines(warehouse, queued(queues, limit, () if again else done), is_blind=blind)
    for name, rollout_ids in queues.items():
        num_done = len(done.intersection(rollout_ids))
        typer.echo(f"{name}: {len(rollout_ids):,} solutions, {num_done:,} of them reviewed", err=True)
    try:
        with file.open("x", encoding="utf-8") as out:
            out.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    except OSError as error:
        raise ReasonmillError(f"{file} could not be written: {error.strerror or error}.") from error
    typer.echo(f"{len(lines):,} solutions to review are in {file}")


@review_app.command("import")
def import_reviews(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="an exported file with labels filled in")],
    reviewer: Annotated[str | None, typer.Option(help="who labelled lines that name nobody")] = None,
    date: Annotated[str | None, typer.Option(metavar="YYYY-MM-DD", help="when, of lines without a date")] = None,
    format: Annotated[Format, typer.Option("--format", help="table, or json: one object")] = Format.table,
) -> None:
    """Store the labels of a file in the table human_labels: all of them, or none where a line is not as it must be."""
    from pipelines.config import load_settings
    from pipelines.datasets.review import READ, read_reviews, store_reviews
    from pipelines.lake import Lake
    from pipelines.warehouse import Warehouse

    lake = Lake(load_settings().lake_url)
    with Warehouse(lake, READ) as warehouse:
        reviews, num_empty = read_reviews(file, warehouse, reviewer, date)
    done = store_reviews(lake, reviews, num_empty)
    if format is Format.json:
        counts = {"num_stored": done.num_stored, "num_known": done.num_known, "num_empty": done.num_empty}
        typer.echo(json.dumps(counts | {"nights": list(done.nights)}))
        return
    typer.echo(
        f"{done.num_stored:,} reviews stored, {done.num_known:,} were there already, "
        f"{done.num_empty:,} lines without a label"
    )


def _queue(
    settings: "Settings", warehouse: "Warehouse", name: str, night: str | None, version: str | None, limit: int | None
) -> list[str]:
    """The rollouts of one queue, by its name."""
    from pipelines.datasets.review import (
        AUDITED,
        DISAGREEMENTS,
        SET_LIMIT,
        SETS,
        ReviewError,
        audited_rollouts,
        disagreed_rollouts,
        queued,
        rollouts_of_set,
    )
    from pipelines.datasets.versions import DatasetStore, split_spec
    from pipelines.night_report.facts import NUM_DISAGREEMENTS
    from pipelines.rows import near_names
    from reasonmill.cli.nights import known_night

    if name not in (AUDITED, DISAGREEMENTS, *SETS):
        raise ReviewError(f"There is no queue {name!r}; {near_names(name, (AUDITED, DISAGREEMENTS, *SETS))}")
    if name in SETS:
        store = DatasetStore(settings.datasets_url)
        found = rollouts_of_set(store.resolve(*split_spec(version or settings.publishing.name)), name, store)
        return found if limit is not None else [one.rollout_id for one in queued({name: found}, SET_LIMIT)]
    asked = known_night(settings, night)
    if name == DISAGREEMENTS:
        return disagreed_rollouts(warehouse, asked, limit or NUM_DISAGREEMENTS)
    return audited_rollouts(warehouse, asked, settings.night_report)
