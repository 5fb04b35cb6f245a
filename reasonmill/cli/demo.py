"""`reasonmill demo` and `reasonmill materialize`: run one night, show it live, then sum it up.

The run itself is `assets.run.materialize_night`; this file only draws. On a terminal every stage has a live bar
with its rates and the time left; elsewhere each stage prints a line when it starts, now and then, and when it ends.
"""

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from assets.run import RunSummary
    from pipelines.config import Settings
    from pipelines.records import ProgressFn

PLAIN_LINE_EVERY_S = 20.0

STRATEGIES = {
    "greedy": "greedy",
    "pass_at": "pass@{n}",
    "majority": "majority of {n}",
    "best_of_logprob": "best of {n} by log-probability",
    "best_of_mean_logprob": "best of {n} by mean log-prob.",
    "best_of_critic": "best of {n} by critic",
    "weighted_majority_critic": "majority of {n} by critic",
    "best_of_certainty": "best of {n} by self-certainty",
    "borda_certainty": "Borda of {n} by self-certainty",
    "best_of_self_prm": "best of {n} by own verdicts",
    "weighted_majority_self_prm": "majority of {n} by own verdicts",
    "puct_critic": "PUCT with critic",
    "oracle": "pass@{n} (oracle)",
}


def demo() -> None:
    """Do the whole job once on this machine: search, critiques, filters, datasets and a trained critic."""
    from pipelines.config import load_settings

    settings = load_settings()
    run_night(settings, tonight(settings))


def materialize(
    night: Annotated[str | None, typer.Option(help="the night's date, YYYY-MM-DD; default: today")] = None,
    select: Annotated[
        str | None, typer.Option(help="assets only, such as rollouts or consistency_results+ (with what follows)")
    ] = None,
) -> None:
    """Make, or replace, one night of every table, or of the selected ones."""
    from pipelines.config import load_settings

    settings = load_settings()
    run_night(settings, night or tonight(settings), select)


def tonight(settings: "Settings") -> str:
    """Today's date in the schedule's time zone, YYYY-MM-DD."""
    from zoneinfo import ZoneInfo

    return datetime.now(ZoneInfo(settings.schedule.timezone)).date().isoformat()


def run_night(settings: "Settings", night: str, select: str | None = None) -> None:
    """Run a night live and sum it up; ReasonmillError where it did not finish."""
    from rich.console import Console

    os.environ.setdefault("TQDM_DISABLE", "1")  # the model libraries' own bars would tear the display
    from assets.run import materialize_night
    from pipelines.errors import ReasonmillError

    console = Console(highlight=False)
    console.print(f"Night {night}; workspace {settings.root}; model {settings.policy.model}", soft_wrap=True)
    started = time.monotonic()
    with live_progress(console) as on_progress:
        summary = materialize_night(settings, night, on_progress, select)
    print_summary(console, summary, settings, time.monotonic() - started)
    if not summary.success:
        raise ReasonmillError(f"The night {night} did not finish: {' '.join(summary.errors) or 'see the log above'}.")


@contextmanager
def live_progress(console: "Console") -> Iterator["ProgressFn"]:
    """A ProgressFn that draws one bar per stage on a terminal, or prints lines where there is none."""
    if not console.is_terminal:
        yield _line_progress(console)
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:<22}"), BarColumn(bar_width=24), MofNCompleteColumn(),
        TextColumn("{task.fields[numbers]}"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, int] = {}

        def draw(stage: str, done: int, total: int, numbers: Mapping[str, float]) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total or None, numbers="")
            bars.update(tasks[stage], completed=done, total=total or None, numbers=_numbers(numbers))

        yield draw


def _line_progress(console: "Console") -> "ProgressFn":
    started: dict[str, float] = {}
    printed: dict[str, float] = {}

    def write(stage: str, done: int, total: int, numbers: Mapping[str, float]) -> None:
        now = time.monotonic()
        first = stage not in started
        started.setdefault(stage, now)
        if first or done >= total or now - printed[stage] >= PLAIN_LINE_EVERY_S:
            printed[stage] = now
            spent = now - started[stage]
            left = f", {spent / done * (total - done):.0f} s left" if 0 < done < total else ""
            console.print(f"{stage}: {done}/{total} {_numbers(numbers)} {spent:.0f} s{left}", soft_wrap=True)

    return write


def _numbers(numbers: Mapping[str, float]) -> str:
    return "  ".join(f"{_short(value)} {name.replace('_per_s', '/s')}" for name, value in list(numbers.items())[:3])


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10 or value == int(value) else f"{value:.3g}"


def print_summary(console: "Console", summary: "RunSummary", settings: "Settings", seconds: float) -> None:
    """Rows and tokens per table, the strategies on held-out problems, where the files are, and what to try next."""
    from rich.table import Table

    tables = Table("table", "rows", "tokens", title="Tables", title_justify="left")
    for name, rows, tokens in summary.tables:
        tables.add_row(name, f"{rows:,}", f"{tokens:,}" if tokens else "")
    for column in tables.columns[1:]:
        column.justify = "right"
    console.print(tables)
    if summary.policy_report:
        console.print(policy_table(summary.policy_report))
    stages = ", ".join(f"{stage} {spent:.0f} s" for stage, spent in summary.seconds_per_stage.items())
    console.print(
        f"{seconds / 60:.1f} minutes, {summary.tokens_per_s:,.0f} generated tokens/s ({stages})", soft_wrap=True
    )
    for name, path in (
        ("lake", settings.lake_url),
        ("dataset", summary.dataset_path),
        ("critic", summary.critic_path),
        ("report", summary.report_path),
    ):
        if path:
            console.print(f"{name:<8} {path}", soft_wrap=True)
    for warning in summary.errors:
        console.print(f"check failed: {warning}", markup=False, soft_wrap=True)
    console.print("\nTry next:")
    for command in _next_commands():
        console.print(f"  {command}", markup=False, soft_wrap=True)


def policy_table(rows: list[Mapping]) -> object:
    """The `policy_report` rows as a rich table of at most 80 columns; tokens are means per problem."""
    from rich.table import Table

    num_problems = max(row["num_problems"] for row in rows)
    title = f"{num_problems} held-out problems, tokens per problem"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("strategy", no_wrap=True)
    for name in ("right", "95 %", "prompt", "generated", "critic"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        bounds = f"{100 * row['low']:.1f}-{100 * row['high']:.1f}" if row["low"] is not None else ""
        tokens = [_short(row[key] or 0.0) for key in ("prompt_tokens", "completion_tokens", "critic_tokens")]
        table.add_row(strategy_title(row["strategy"]), f"{row['accuracy']:.1%}", bounds, *tokens)
    return table


def strategy_title(strategy: str) -> str:
    """A strategy's name for people: `best_of_8_critic` -> `best of 8 by critic`."""
    size = re.search(r"_(\d+)", strategy)
    name = strategy if size is None else strategy.replace(size[0], "", 1)
    if name not in STRATEGIES and strategy.endswith("_critic"):  # the night's own search recipe
        return f"{strategy.removesuffix('_critic').replace('_', ' ')} with critic"
    return STRATEGIES[name].format(n=size[1] if size else "") if name in STRATEGIES else strategy


def _next_commands() -> tuple[str, ...]:
    reasonmill = Path(".venv/bin/reasonmill")
    command = str(reasonmill) if reasonmill.exists() else "reasonmill"
    return (
        f'{command} sql "select recipe, count(*) as num, avg(outcome_reward) as reward from rollouts group by recipe"',
        f"{command} config init my_workspace",
        "make ui",
    )
