"""`reasonmill estimate`: what the configured night will cost, from a measured pilot or from the last night."""

import asyncio
import json
import os
import uuid
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from reasonmill.cli.demo import tonight
from reasonmill.cli.show import Format

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.table import Table

    from assets.resources import OpenSession
    from pipelines.config import Settings
    from pipelines.estimate import Interval, StageCosts, StageEstimate
    from pipelines.lake import Lake

UNITS = ((3600, "s", 100), (60, "min", 100), (1, "h", 0))  # in an hour, name, largest number shown in it


def estimate(
    night: Annotated[str | None, typer.Option(help="the night's date, YYYY-MM-DD; default: today")] = None,
    pilot: Annotated[int, typer.Option(min=2, help="problems, and criticised rollouts, that are measured")] = 16,
    from_lake: Annotated[
        bool, typer.Option("--from-lake", help="measure nothing: take what the last recorded night cost")
    ] = False,
    rate: Annotated[
        float | None, typer.Option(min=1e-3, help="completion tokens/s of the engine; default: as the pilot measures")
    ] = None,
    format: Annotated[Format, typer.Option("--format", help="table, or json: one object")] = Format.table,
) -> None:
    """Predict requests, tokens and hours of search, samples, critiques and refinements before they are spent."""
    from pipelines.config import load_settings

    settings = load_settings()
    chosen = night or tonight(settings)
    basis, stages = costs_from_lake(settings, chosen) if from_lake else costs_of_pilot(settings, chosen, pilot)
    show(settings, basis, stages, rate, format)


def costs_from_lake(settings: "Settings", night: str) -> "tuple[str, list[StageCosts]]":
    """Costs of the last recorded night, and a sentence that says what was measured."""
    from assets.pilot import recorded_costs

    lake, problems = _problems(settings)
    recorded, stages = recorded_costs(settings, lake, problems, night)
    return f"Measured: all of the night {recorded}, as it was configured then.", stages


def costs_of_pilot(
    settings: "Settings", night: str, num_problems: int, open_session: "OpenSession | None" = None
) -> "tuple[str, list[StageCosts]]":
    """Costs of a pilot that is run now, and a sentence that says what was measured.

    `open_session` opens a session for (run_id, owner_pid, model); None: the configured policy on an engine of its own.
    """
    from assets.pilot import run_pilot
    from assets.run import require_night
    from pipelines.inference.engine_service import stop_engine
    from pipelines.inference.session import generate_session

    require_night(settings, night)
    lake, problems = _problems(settings)
    run_id = str(uuid.uuid4())

    async def work() -> "list[StageCosts]":
        opened = (
            open_session(run_id, os.getpid(), None)
            if open_session
            else generate_session(settings, run_id=run_id, owner_pid=os.getpid())
        )
        async with opened as session:
            return await run_pilot(session, settings, lake, problems, night, num_problems)

    try:
        stages = asyncio.run(work())
    finally:
        stop_engine(settings, run_id)
    basis = (
        f"Measured: {num_problems} problems of the night {night} and as many criticised rollouts, side by side. The "
        "answers are in the response store, so that the night replays them."
    )
    return basis, stages


def _problems(settings: "Settings") -> "tuple[Lake, pa.Table]":
    """The lake, and its problems; where none have been made yet, those that the night would make."""
    from pipelines.lake import Lake
    from pipelines.problems import load_problems

    lake = Lake(settings.lake_url)
    problems = lake.read("problems")
    return lake, problems if problems.num_rows else load_problems(settings)


def show(settings: "Settings", basis: str, stages: "list[StageCosts]", rate: float | None, format: Format) -> None:
    """Prints the prediction; `rate` replaces the measured rates of all stages."""
    from dataclasses import replace

    from rich.console import Console

    from pipelines.estimate import estimate as predict

    if rate is not None:
        stages = [replace(one, tokens_per_s=rate) for one in stages]
    made = predict(stages)
    assumptions = [basis, *_assumptions(settings, stages, rate)]
    if format is Format.json:
        typer.echo(json.dumps({"assumptions": assumptions, "stages": [asdict(one) for one in made]}, indent=2))
        return
    console = Console(highlight=False)
    console.print(estimate_table(made))
    for sentence in assumptions:
        console.print(sentence, soft_wrap=True, markup=False)


def _assumptions(settings: "Settings", stages: "list[StageCosts]", rate: float | None) -> list[str]:
    sentences = [
        "Units not measured are like those that were, and nothing is replayed.",
        "Token scores, posed problems, judged pairs, critics and reports come on top.",
    ]
    limit = settings.rollouts.max_total_tokens
    if limit is not None:
        sentences.append(f"The limit of {limit:,} tokens (rollouts.max_total_tokens) is not applied here.")
    measured = {one.tokens_per_s for one in stages if one.num_units}
    if rate is not None:
        sentences.append(f"Hours at {rate:,.0f} completion tokens/s.")
    elif None in measured:
        sentences.append("The engine's rate was not measured, so hours are not known; give it as --rate.")
    else:
        sentences.append(
            "Hours at the pilot's own rate; a night has more in flight and fills the engine better, so it takes less. "
            "Engine start not included."
        )
    return sentences


def estimate_table(made: "list[StageEstimate]") -> "Table":
    """One row per stage with 90 % intervals below the means."""
    from rich.table import Table

    title = "Prediction, with the range that holds it nine times out of ten"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("stage\nmeasured", no_wrap=True)
    for name in ("requests", "prompt\ntokens", "completion\ntokens", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in made:
        measured = f"{one.stage}\n{one.num_measured:,} of {one.num_units:,} {one.unit}s" if one.unit else one.stage
        sums = [_sum(value) for value in (one.num_requests, one.prompt_tokens, one.completion_tokens)]
        table.add_row(measured, *sums, "not known" if one.hours is None else _time(one.hours))
    return table


def _sum(value: "Interval") -> str:
    return f"{_count(value.mean)}\n{_count(value.low)}-{_count(value.high)}"


def _count(number: float) -> str:
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if number >= size:
            scaled = number / (1e3 if letter == "k" else size)
            return f"{scaled:.3g}{letter}" if scaled < 1000 else f"{scaled:,.0f}{letter}"
    return f"{number:,.0f}"


def _time(hours: "Interval") -> str:
    """Mean and range in the unit that suits the upper end."""
    size, unit = next((one for one in UNITS if hours.high * one[0] < one[2]), UNITS[-1])[:2]
    mean, low, high = (f"{value * size:,.{0 if unit == 's' else 1}f}" for value in (hours.mean, hours.low, hours.high))
    return f"{mean} {unit}\n{low}-{high}"
