"""What the doctor finds in Dagster."""

import time

import dagster as dg
import pytest
from dagster._daemon.types import DaemonHeartbeat

from assets.diagnosis import daemon_finding, definitions_findings, instance_findings, pool_finding, schedule_findings
from pipelines.config import Settings


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


def test_a_slot_of_a_run_that_has_ended_would_keep_tonight_waiting(instance):
    assert pool_finding(instance, "engine").text == "free"
    storage = instance.event_log_storage
    storage.set_concurrency_slots("engine", 1)
    run = instance.add_run(dg.DagsterRun(job_name="night", status=dg.DagsterRunStatus.STARTED))
    storage.claim_concurrency_slot("engine", run.run_id, "rollouts")
    assert pool_finding(instance, "engine").level == "ok"
    instance.report_run_failed(run)
    found = pool_finding(instance, "engine")
    assert (found.level, run.run_id in found.text) == ("error", True)


def test_without_an_instance_the_doctor_says_how_to_ask_it(monkeypatch):
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    (finding,) = instance_findings(Settings())
    assert finding.level == "ok" and "DAGSTER_HOME" in finding.advice
