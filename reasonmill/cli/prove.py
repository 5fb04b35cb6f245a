"""`reasonmill prove`: does the loop's data improve the policy, and more than simpler ways to choose it?"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.records import ProgressFn
    from reasonmill.proof.plan import Cell, Plan


def prove(
    out: Annotated[Path, typer.Option(help="folder of results, policies and data; the same folder goes on")],
    quick: Annotated[bool, typer.Option(help="one seed and smaller nights: at most 40 minutes on two cores")] = False,
    seeds: Annotated[int | None, typer.Option(min=1, help="seeds; default: 3, and 1 with --quick")] = None,
    nights: Annotated[int | None, typer.Option(min=1, help="nights; default: 3")] = None,
    arm: Annotated[
        list[str] | None,
        typer.Option(help="arm beside the usual three: four_per_problem, by_difficulty (repeatable)"),
    ] = None,
    report_only: Annotated[
        bool, typer.Option("--report", help="write the report of what is finished, run nothing")
    ] = False,
) -> None:
    """Train the policy on nights of data of three arms, and measure it on the frozen evaluation problems.

    Killed at any time, the same command goes on with the cell (arm, seed, night) that was not finished.
    """
    from rich.console import Console

    from pipelines.config import load_settings
    from reasonmill.proof.report import write_report
    from reasonmill.proof.run import Experiment, run_experiment

    console, plan = Console(highlight=False), chosen_plan(quick, seeds, nights, arm or ())
    experiment = Experiment(load_settings(), plan, out.absolute(), display=lambda cell: _display(console, cell))
    if not report_only:
        update = lambda cell, result: write_report(experiment.out, plan, experiment.results())
        asyncio.run(run_experiment(experiment, update))
    paths = write_report(experiment.out, plan, experiment.results())
    console.print(paths["report.md"].read_text(encoding="utf-8"), markup=False, soft_wrap=True)
    for path in paths.values():
        console.print(str(path), soft_wrap=True)


def chosen_plan(quick: bool, seeds: int | None, nights: int | None, more_arms: Sequence[str] = ()) -> "Plan":
    """The plan of the options."""
    from reasonmill.proof.plan import QUICK, Plan

    plan = QUICK if quick else Plan()
    arms = tuple(dict.fromkeys((*plan.arms, *more_arms)))
    chosen = {"num_seeds": seeds, "num_nights": nights, "arms": arms}
    return replace(plan, **{name: value for name, value in chosen.items() if value is not None})


@contextmanager
def _display(console: "Console", cell: "Cell") -> "Iterator[ProgressFn]":
    """A heading and the live stages of one cell."""
    from reasonmill.cli.demo import live_progress

    console.print(cell.name, soft_wrap=True)
    with live_progress(console) as on_progress:
        yield on_progress
