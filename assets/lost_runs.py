"""Runs that nobody works on any more: their processes were killed, or the machine went down.

Dagster keeps such a run as started and its slots of the pools as taken, for ever where no code server watches it: the
next night would wait for the engine without end. So whoever starts a night, and a sensor, look at the processes that a
run has recorded. A process that began after it was recorded is another one with the same number. Only runs of this
machine are judged: those of `reasonmill` carry its name in a tag, the others were started here where Dagster's default
launcher starts them.
"""

import contextlib
import os
import signal
import socket
from collections.abc import Sequence
from datetime import UTC, datetime

import dagster as dg
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher

from pipelines.errors import PartitionBusyError
from pipelines.inference.processes import START_TOLERANCE_S, ProcessId

HOST_TAG = "reasonmill/host"
PARTITION_TAG = "dagster/partition"
UNDER_WAY = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
WORKER, STEP = dg.DagsterEventType.ENGINE_EVENT, dg.DagsterEventType.STEP_WORKER_STARTED


def this_machine() -> dict[str, str]:
    """The tags of a run that this process works on."""
    return {HOST_TAG: socket.gethostname()}


def end_lost_runs(instance: dg.DagsterInstance) -> list[str]:
    """Marks lost runs as failed, ends what is left of their steps, frees all slots of ended runs; ids of the lost."""
    lost = [run for run in _runs_of_this_machine(instance) if is_lost(instance, run.run_id)]
    for run in lost:
        for process in step_processes(instance, run.run_id):
            with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
                os.kill(process.pid, signal.SIGKILL)
        said = "The process of this run has ended without a word. What it wrote before stays; run the night again."
        if run.status is dg.DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, said)
        else:
            instance.report_run_failed(run, said)
    free_left_slots(instance)
    return [run.run_id for run in lost]


def free_left_slots(instance: dg.DagsterInstance) -> None:
    """Frees what runs hold that have ended, which Dagster leaves to a daemon that need not be there."""
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return
    for run_id in storage.get_concurrency_run_ids():
        run = instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            storage.free_concurrency_slots_for_run(run_id)


def is_lost(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether the process that works on a run, as far as it has recorded one, has ended."""
    recorded = _recorded(instance, run_id, WORKER)
    return bool(recorded) and _still_there(*recorded[-1]) is None


def step_processes(instance: dg.DagsterInstance, run_id: str) -> list[ProcessId]:
    """The steps of a run that are still at work."""
    found = (_still_there(*one) for one in _recorded(instance, run_id, STEP))
    return [process for process in found if process is not None]


def require_no_other(instance: dg.DagsterInstance, night: str) -> list[str]:
    """PartitionBusyError where another run makes this night; the ids of runs that make something else."""
    runs = instance.get_run_records(dg.RunsFilter(statuses=UNDER_WAY))
    for record in runs:
        if record.dagster_run.tags.get(PARTITION_TAG) == night:
            since = datetime.fromtimestamp(record.start_time or record.create_timestamp.timestamp(), UTC)
            raise PartitionBusyError(
                f"The night {night} is being made by the run {record.dagster_run.run_id} since {since:%Y-%m-%d %H:%M} "
                "UTC. Nothing was changed; wait until that run has ended, or end it, and try again."
            )
    return [record.dagster_run.run_id for record in runs]


def lost_runs() -> dg.SensorDefinition:
    """Ends lost runs, so that the queue and the pools go on."""

    @dg.sensor(
        name="lost_runs",
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=15,
        description="Marks runs as failed whose process was killed, and frees their slots of the pools.",
    )
    def sense(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        ended = end_lost_runs(context.instance)
        return dg.SkipReason(f"Ended {', '.join(ended)}." if ended else "Every run has its process.")

    return sense


def _runs_of_this_machine(instance: dg.DagsterInstance) -> Sequence[dg.DagsterRun]:
    is_here = isinstance(instance.run_launcher, DefaultRunLauncher)
    runs = instance.get_runs(dg.RunsFilter(statuses=UNDER_WAY))
    return [
        run for run in runs if (run.tags[HOST_TAG] == socket.gethostname() if HOST_TAG in run.tags else is_here)
    ]  # fmt: skip


def _recorded(instance: dg.DagsterInstance, run_id: str, kind: dg.DagsterEventType) -> list[tuple[int, float]]:
    """(pid, moment) of every process that events of a kind name, the earliest first."""
    events = [(log.timestamp, log.dagster_event) for log in instance.all_logs(run_id, of_type=kind)]
    named = [(moment, event.engine_event_data.metadata.get("pid")) for moment, event in events if event is not None]
    return [(int(pid.value), moment) for moment, pid in named if pid is not None]


def _still_there(pid: int, recorded_at: float) -> ProcessId | None:
    process = ProcessId.of(pid)
    return process if process is not None and process.started_at <= recorded_at + START_TOLERANCE_S else None
