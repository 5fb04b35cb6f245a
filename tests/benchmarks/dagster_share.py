"""What Dagster costs a night: the time of a finished run in which no step was at work.

    dagster job execute -m assets.definitions -j night --tags '{"dagster/partition": "2026-11-21"}'
    python -m tests.benchmarks dagster_share

Reads the newest finished runs of whole nights from DAGSTER_HOME, or the one that --run names: those of the command
above, of the UI and of the schedule have a process per step, those of `reasonmill` have one process. A step is at work
from its first event to its last; what is left of the run is processes that start, imports, and Dagster's own
bookkeeping between steps. These seconds hardly depend on how long the steps take, so their share of a night of 30
minutes is told beside the share of this run.
"""

import argparse
from collections.abc import Sequence
from statistics import median

import dagster as dg

from assets.lost_runs import PARTITION_TAG
from tests.benchmarks import record

NIGHT_S = 30 * 60.0
LAST_STEP = "critic_promotions"
STARTING, STARTED, ENDED = "STEP_WORKER_STARTING", {"STEP_START"}, {"STEP_SUCCESS", "STEP_FAILURE"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=int, default=3, help="newest finished runs that are read")
    parser.add_argument("--run", help="the id of the run to read instead, or its beginning")


def run(arguments: argparse.Namespace) -> None:
    """Read the runs and write the table; SystemExit where there is none."""
    with dg.DagsterInstance.get() as instance:
        found = instance.get_run_records(dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS]))
        wanted = [one for one in found if _is_wanted(instance, one.dagster_run, arguments.run)]
        runs = [_measured(instance, one) for one in wanted[: arguments.runs]]
    if not runs:
        raise SystemExit("There is no finished run of a night in DAGSTER_HOME; `make demo` makes one.")
    result = record.provenance() | {"runs": runs}
    record.save("dagster_share", arguments.out, result, as_markdown(result))


def _is_wanted(instance: dg.DagsterInstance, run: dg.DagsterRun, run_id: str | None) -> bool:
    """Whether a run is the named one, or made a night to its end: its last step is the promotion of the critic."""
    if run_id is not None:
        return run.run_id.startswith(run_id)
    return PARTITION_TAG in run.tags and any(
        log.step_key == LAST_STEP for log in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_SUCCESS)
    )


def _measured(instance: dg.DagsterInstance, one) -> dict[str, object]:
    events = [(log.timestamp, log.dagster_event) for log in instance.all_logs(one.dagster_run.run_id)]
    starts = {event.step_key: moment for moment, event in events if event and event.event_type_value in STARTED}
    ends = {event.step_key: moment for moment, event in events if event and event.event_type_value in ENDED}
    forks = {event.step_key: moment for moment, event in events if event and event.event_type_value == STARTING}
    spans = [(starts[step], ends[step]) for step in starts if step in ends]
    wall_s = one.end_time - one.start_time
    idle_s = wall_s - covered(spans)
    return {
        "executor": "a process per step" if forks else "one process",
        "steps": len(spans),
        "wall_s": wall_s,
        "idle_s": idle_s,
        "idle_per_step_s": idle_s / len(spans),
        "start_of_step_s": median(starts[step] - forks[step] for step in forks if step in starts) if forks else None,
        "share": idle_s / wall_s,
        "share_of_30_min": idle_s / (idle_s + NIGHT_S),
    }


def covered(spans: Sequence[tuple[float, float]]) -> float:
    """Length of the union of intervals."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(end - max(start, reached), 0.0)
        reached = max(reached, end)
    return total


def as_markdown(result: dict) -> list[str]:
    """The table of a result."""
    header = ["executor", "steps", "run, s", "no step at work, s", "per step, s", "start of a step's process, s",
              "share of this run", "share of 30 minutes of work"]  # fmt: skip
    rows = [
        [one["executor"], one["steps"], f"{one['wall_s']:.0f}", f"{one['idle_s']:.1f}", f"{one['idle_per_step_s']:.2f}",
         "–" if one["start_of_step_s"] is None else f"{one['start_of_step_s']:.1f}", f"{one['share']:.1%}",
         f"{one['share_of_30_min']:.1%}"]
        for one in result["runs"]
    ]  # fmt: skip
    return [*record.heading(result), *record.table(header, rows)]
