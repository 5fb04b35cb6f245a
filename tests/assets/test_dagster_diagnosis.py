"""What the doctor finds in Dagster."""

import json
import time

import dagster as dg
import pytest
from dagster._core.events import EngineEventData
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    ScheduleInstigatorData,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._daemon.types import DaemonHeartbeat

from assets.diagnosis import (
    daemon_finding,
    definitions_findings,
    guide_findings,
    instance_findings,
    pool_finding,
    queue_findings,
    schedule_findings,
    stopped_findings,
)
from pipelines.config import Settings
from pipelines.lake import Lake
from pipelines.rows import rows_to_table

LOADABLE = LoadableTargetOrigin(module_name="assets.definitions")


@pytest.fixture
def instance(tmp_path):
    with dg.instance_for_test(temp_dir=str(tmp_path)) as made:
        yield made


def test_the_graph_of_the_default_configuration_loads():
    assert [finding.level for finding in definitions_findings(Settings())] == ["ok"]


def test_a_schedule_that_is_off_is_a_warning():
    assert [finding.level for finding in schedule_findings(Settings())] == ["warning"]
    on = Settings.model_validate({"schedule": {"enabled": True}})
    assert [finding.level for finding in schedule_findings(on)] == ["ok"]


def test_a_daemon_that_is_not_there_is_an_error_only_where_the_schedule_needs_it(instance):
    assert daemon_finding(instance, is_needed=False).level == "warning"
    assert daemon_finding(instance, is_needed=True).level == "error"
    instance.add_daemon_heartbeat(DaemonHeartbeat(time.time(), "SCHEDULER", "d", []))
    assert daemon_finding(instance, is_needed=True).level == "ok"


def test_a_slot_of_a_run_that_has_ended_is_told(instance):
    storage = instance.event_log_storage
    storage.set_concurrency_slots("engine", 1)
    assert pool_finding(instance, "engine").text == "free, 1 at a time"
    run = instance.add_run(dg.DagsterRun(job_name="night", status=dg.DagsterRunStatus.STARTED))
    storage.claim_concurrency_slot("engine", run.run_id, "rollouts")
    assert pool_finding(instance, "engine").level == "ok"
    instance.report_run_failed(run)
    found = pool_finding(instance, "engine")
    assert (found.level, run.run_id in found.text) == ("warning", True)


def test_a_schedule_or_an_alert_sensor_that_somebody_stopped_is_told(instance):
    on = Settings.model_validate({"schedule": {"enabled": True}})
    assert list(stopped_findings(instance, on)) == []
    stopped = (
        ("every_night", InstigatorType.SCHEDULE, ScheduleInstigatorData("0 2 * * *")),
        ("failed_night", InstigatorType.SENSOR, None),
    )
    for name, kind, data in stopped:
        origin = RemoteInstigatorOrigin(
            repository_origin=RemoteRepositoryOrigin(ManagedGrpcPythonEnvCodeLocationOrigin(LOADABLE), "r"),
            instigator_name=name,
        )
        instance.add_instigator_state(InstigatorState(origin, kind, InstigatorStatus.STOPPED, data))
    found = {finding.name: finding.level for finding in stopped_findings(instance, on)}
    assert found == {"schedule every_night": "error", "sensor failed_night": "warning"}
    assert [finding.name for finding in stopped_findings(instance, Settings())] == ["sensor failed_night"]


def test_critics_that_guide_tonight_and_cannot_be_loaded_are_an_error(tmp_path, monkeypatch):
    assert list(guide_findings(Settings())) == []
    guided = Settings.model_validate({"root": tmp_path, "rollouts": {"guided": True}})
    assert [finding.level for finding in guide_findings(guided)] == ["ok"]  # none was promoted
    lake = Lake(guided.lake_url)
    member = {"critic_id": "c", "fold": None, "path": "checkpoints/gone", "digest": "d"}
    members = [member, member | {"fold": 0, "critic_id": "f"}]
    row = {"number": 0, "action": "promoted", "reason": "first", "critic_night": "2026-01-02", "critic_id": "c",
           "members": json.dumps(members), "night": "2026-01-02"}  # fmt: skip
    lake.write("critic_promotions", rows_to_table("critic_promotions", [row]), partition="2026-01-02")
    (finding,) = guide_findings(guided)
    assert (finding.name, finding.level) == ("guide", "error") and "checkpoints/gone" in finding.text


def test_without_an_instance_the_doctor_says_how_to_ask_it(monkeypatch):
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    (finding,) = instance_findings(Settings())
    assert finding.level == "ok" and "DAGSTER_HOME" in finding.advice


def test_a_pool_without_a_limit_is_a_warning_and_one_that_admits_nothing_an_error(instance):
    assert pool_finding(instance, "engine").level == "warning"
    instance.event_log_storage.set_concurrency_slots("engine", 0)
    assert pool_finding(instance, "engine").level == "error"


def test_a_run_whose_process_was_killed_is_told(instance):
    run = instance.add_run(dg.DagsterRun(job_name="night", status=dg.DagsterRunStatus.STARTED))
    pid = dg.MetadataValue.text(str(2**22 + 1))  # beyond the highest
    instance.report_engine_event("Executing steps", run, EngineEventData({"pid": pid}))
    first, second = queue_findings(instance)
    assert run.run_id in first.text and "free_slots_after_run_end_seconds" in second.advice


@pytest.mark.parametrize("home", ["/no/such/home", "relative"])
def test_a_dagster_home_that_is_none_is_an_error(monkeypatch, home):
    monkeypatch.setenv("DAGSTER_HOME", home)
    (finding,) = instance_findings(Settings())
    assert finding.level == "error" and home in finding.text
