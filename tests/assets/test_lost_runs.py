"""Runs whose process was killed give up what they held; runs that are at work are left alone."""

import subprocess
import time
from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.events import DagsterEvent, DagsterEventType, EngineEventData

from assets.lost_runs import (
    HOST_TAG,
    PARTITION_TAG,
    end_lost_runs,
    lost_runs,
    require_no_other,
    step_processes,
    this_machine,
)
from assets.run import wait_or_refuse
from pipelines.errors import PartitionBusyError

NIGHT = "2026-01-02"


@pytest.fixture
def instance(tmp_path) -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test(temp_dir=str(tmp_path)) as made:
        made.event_log_storage.set_concurrency_slots("engine", 1)
        yield made


@pytest.fixture
def process() -> Iterator[subprocess.Popen]:
    started = subprocess.Popen(["sleep", "60"])
    yield started
    started.kill()
    started.wait()


def started_run(instance: dg.DagsterInstance, pid: int, **tags: str) -> dg.DagsterRun:
    """A run whose worker is a process, and which holds the engine."""
    run = instance.add_run(
        dg.DagsterRun(job_name="night", status=dg.DagsterRunStatus.STARTED, tags={PARTITION_TAG: NIGHT, **tags})
    )
    instance.report_engine_event("Executing steps", run, EngineEventData({"pid": dg.MetadataValue.text(str(pid))}))
    instance.event_log_storage.claim_concurrency_slot("engine", run.run_id, "rollouts")
    return run


def status_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    return instance.get_run_by_id(run.run_id).status


def num_claimed(instance: dg.DagsterInstance) -> int:
    return len(instance.event_log_storage.get_concurrency_info("engine").claimed_slots)


def test_a_run_whose_process_was_killed_fails_and_frees_the_engine(instance, process):
    run = started_run(instance, process.pid)
    process.kill()
    process.wait()
    assert end_lost_runs(instance) == [run.run_id]
    assert status_of(instance, run) == dg.DagsterRunStatus.FAILURE
    assert num_claimed(instance) == 0
    assert end_lost_runs(instance) == []


def test_a_run_that_is_at_work_keeps_the_engine_and_the_same_night_is_refused(instance, process):
    run = started_run(instance, process.pid, **this_machine())
    assert end_lost_runs(instance) == []
    assert num_claimed(instance) == 1
    with pytest.raises(PartitionBusyError, match=f"night {NIGHT} is being made by the run {run.run_id}"):
        wait_or_refuse(instance, NIGHT)
    assert require_no_other(instance, "2026-01-03") == [run.run_id]


def test_a_process_that_got_the_number_of_a_dead_one_is_not_the_runs(instance, process):
    run = started_run(instance, process.pid)
    (event,) = instance.all_logs(run.run_id, of_type=DagsterEventType.ENGINE_EVENT)
    instance.wipe()
    old = instance.add_run(run)
    instance.store_event(event._replace(timestamp=time.time() - 3600))
    assert end_lost_runs(instance) == [old.run_id]
    assert process.poll() is None


def test_what_is_left_of_the_steps_of_a_lost_run_is_ended(instance, process):
    run = started_run(instance, 2**22 + 1)  # beyond the highest pid
    step = EngineEventData({"pid": dg.MetadataValue.text(str(process.pid))})
    event = DagsterEvent(DagsterEventType.STEP_WORKER_STARTED.value, run.job_name, event_specific_data=step)
    instance.report_dagster_event(event, run.run_id)
    assert [one.pid for one in step_processes(instance, run.run_id)] == [process.pid]
    end_lost_runs(instance)
    assert process.wait(10) == -9


def test_runs_of_another_machine_and_runs_that_have_recorded_no_process_are_left_alone(instance):
    elsewhere = started_run(instance, 2**22 + 1, **{HOST_TAG: "another machine"})
    young = instance.add_run(dg.DagsterRun(job_name="night", status=dg.DagsterRunStatus.STARTED))
    assert end_lost_runs(instance) == []
    assert {status_of(instance, run) for run in (elsewhere, young)} == {dg.DagsterRunStatus.STARTED}


def test_a_run_that_died_while_it_was_cancelled_is_cancelled(instance):
    run = started_run(instance, 2**22 + 1)
    instance.report_run_canceling(run)
    with dg.build_sensor_context(instance) as context:
        assert run.run_id in lost_runs()(context).skip_message
    assert status_of(instance, run) == dg.DagsterRunStatus.CANCELED


def test_a_run_that_was_cancelled_gives_up_its_slot_without_a_daemon(instance, process):
    run = started_run(instance, process.pid)
    instance.report_run_canceled(run)
    assert num_claimed(instance) == 1
    assert end_lost_runs(instance) == []
    assert num_claimed(instance) == 0
