"""What the sensors do: new policies, changed problem files, failed nights and their alerts."""

import json
import os
import shutil
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster_shared.record import copy

import assets.sensors as sensors
from assets.alerts import reason_of, report_failure, run_command
from assets.sensors import (
    PARTITION_TAG,
    done_night,
    failed_night,
    is_only_held,
    new_policy,
    new_problem_files,
    workspace_sensors,
)
from pipelines.config import Settings
from pipelines.inference.session import model_folder
from pipelines.night_report.alerts import Alert, list_alerts, read_alert, write_alert
from pipelines.policies import adopted

NIGHT = "2026-01-02"
WHOLE = frozenset({dg.AssetKey("rollouts"), dg.AssetKey("night_report")})


def settings_of(root: Path, **sections: dict) -> Settings:
    return Settings.model_validate({"root": root, **sections})


def sensed(sensor: dg.SensorDefinition, cursor: str | None = None, instance: dg.DagsterInstance | None = None):
    with dg.build_sensor_context(instance or dg.DagsterInstance.ephemeral(), cursor=cursor) as context:
        return sensor(context)


# policies ---------------------------------------------------------------------------------------


def test_a_new_policy_is_taken_for_the_next_night_and_a_broken_one_alerts_once(tmp_path):
    settings = settings_of(tmp_path, schedule={"policy_folder": "new"})
    shutil.copytree(model_folder("starter"), tmp_path / "new" / "good")
    assert "The next night uses" in sensed(new_policy(settings)).skip_message
    assert adopted(settings) == tmp_path / "new" / "good"
    shutil.copytree(model_folder("starter"), tmp_path / "new" / "bad")
    (tmp_path / "new" / "bad" / "tokenizer.json").write_text("{}")
    os.utime(tmp_path / "new" / "bad" / "config.json", (2**31 - 1, 2**31 - 1))
    said = sensed(new_policy(settings)).skip_message
    assert "In force is" in said and "Not used" in said
    (alert,) = list_alerts(settings.state_dir)
    assert alert.kind == "policy_rejected" and "The tokenizer in" in alert.reason
    sensed(new_policy(settings))
    assert list_alerts(settings.state_dir) == [alert]  # the same moment: it was not told again
    shutil.rmtree(tmp_path / "new" / "bad")
    sensed(new_policy(settings))
    assert list_alerts(settings.state_dir) == []


def test_a_policy_never_changes_while_a_run_is_under_way(tmp_path):
    settings = settings_of(tmp_path, schedule={"policy_folder": "new"})
    shutil.copytree(model_folder("starter"), tmp_path / "new" / "good")
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_run(dg.DagsterRun(job_name="night", status=dg.DagsterRunStatus.STARTED))
        assert "under way" in sensed(new_policy(settings), instance=instance).skip_message
    assert adopted(settings) is None


# problem files ----------------------------------------------------------------------------------


def test_a_changed_problem_file_asks_for_one_run_that_reads_the_problems_again(tmp_path):
    source = {"kind": "jsonl", "path": "mine.jsonl"}
    settings = settings_of(tmp_path, problems={"sources": [source]}, schedule={"enabled": True})
    sensor = new_problem_files(settings)
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    first = sensed(sensor)
    assert first.run_requests in (None, [])
    assert "None of 1 files" in sensed(sensor, first.cursor).skip_message
    (tmp_path / "mine.jsonl").write_text('{"question": "1+1", "answer": "2"}\n')
    second = sensed(sensor, first.cursor)
    assert [request.run_key for request in second.run_requests] == [second.cursor]
    assert second.cursor != first.cursor


def test_a_problem_file_that_changes_under_a_night_is_read_after_it(tmp_path):
    settings = settings_of(tmp_path, problems={"sources": [{"kind": "jsonl", "path": "mine.jsonl"}]})
    sensor = new_problem_files(settings)
    cursor = sensed(sensor).cursor
    (tmp_path / "mine.jsonl").write_text('{"question": "1+1", "answer": "2"}\n')
    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.add_run(dg.DagsterRun(job_name="night", status=dg.DagsterRunStatus.STARTED))
        assert "under way" in sensed(sensor, cursor, instance).skip_message
        instance.report_run_failed(run)
        assert len(sensed(sensor, cursor, instance).run_requests) == 1


def test_generated_problems_need_no_sensor(tmp_path):
    assert new_problem_files(settings_of(tmp_path)).default_status == dg.DefaultSensorStatus.STOPPED


# failed nights ----------------------------------------------------------------------------------


@dg.op
def dies():
    raise ValueError("no room on https://ann:secret@host")


@dg.job
def night():
    dies()


def failure_context(result: dg.ExecuteInProcessResult, instance: dg.DagsterInstance, asked: set[str] | None = None):
    keys = None if asked is None else frozenset(dg.AssetKey(key) for key in asked)
    run = copy(result.dagster_run, asset_selection=keys)
    event = result.get_run_failure_event()
    return dg.build_run_status_sensor_context("failed_night", event, instance, run).for_run_failure()


def failure(settings: Settings, instance: dg.DagsterInstance, asked: set[str] | None = None) -> str:
    result = night.execute_in_process(instance=instance, raise_on_error=False, tags={PARTITION_TAG: NIGHT})
    context = failure_context(result, instance, asked)
    failed_night(settings, WHOLE)(context)
    return result.run_id


def test_the_reason_of_a_run_whose_process_died_is_how_it_died():
    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.add_run(dg.DagsterRun(job_name="night", status=dg.DagsterRunStatus.STARTED))
        assert reason_of(instance, run.run_id, "from outside") == "from outside"
        instance.report_engine_event("Run execution process for x was terminated by signal 9.\nMore.", run)
        assert reason_of(instance, run.run_id, "from outside").endswith("was terminated by signal 9.")


def test_a_failed_night_leaves_an_alert_with_its_reason_and_no_credentials(tmp_path):
    settings = settings_of(tmp_path)
    with dg.DagsterInstance.ephemeral() as instance:
        run_id = failure(settings, instance)
        assert not is_only_held(instance, run_id)
        assert reason_of(instance, run_id, "?").startswith("dies: ")
    alert = read_alert(settings.state_dir, NIGHT)
    assert (alert.kind, alert.run_id) == ("night_failed", run_id)
    assert "no room on https://***@host" in alert.reason


@pytest.mark.parametrize(("asked", "is_there"), [(None, False), ({"rollouts"}, True)])
def test_a_night_whose_critic_is_held_takes_an_older_alert_away_when_it_was_whole(
    tmp_path, monkeypatch, asked, is_there
):
    settings = settings_of(tmp_path)
    write_alert(settings.state_dir, Alert(NIGHT, "night_failed", "the engine died", "", ""))
    monkeypatch.setattr(sensors, "is_only_held", lambda instance, run_id: True)
    with dg.DagsterInstance.ephemeral() as instance:
        failure(settings, instance, asked)
    assert (read_alert(settings.state_dir, NIGHT) is not None) == is_there


def test_a_reading_of_the_problem_files_that_fails_is_told_until_one_works(tmp_path):
    settings = settings_of(tmp_path)

    @dg.job(name="read_problems")
    def reading():
        dies()

    with dg.DagsterInstance.ephemeral() as instance:
        result = reading.execute_in_process(instance=instance, raise_on_error=False)
        failed_night(settings, WHOLE)(failure_context(result, instance))
        (alert,) = list_alerts(settings.state_dir)
        assert (alert.kind, alert.night) == ("problems_failed", "") and "no room" in alert.reason

        @dg.job(name="read_problems")
        def works():
            dg.op(name="well")(lambda: None)()

        result = works.execute_in_process(instance=instance)
        event = result.get_run_success_event()
        done_night(settings, WHOLE)(dg.build_run_status_sensor_context("done", event, instance, result.dagster_run))
    assert list_alerts(settings.state_dir) == []


def test_the_alert_command_reads_the_alert_and_runs_without_a_shell(tmp_path):
    script = "import sys, pathlib; pathlib.Path('told.json').write_text(sys.stdin.read())"
    settings = settings_of(tmp_path, schedule={"alert_command": [sys.executable, "-c", script, "; touch shell"]})
    assert report_failure(settings, NIGHT, "it broke", "r1") == []
    assert json.loads((tmp_path / "told.json").read_text())["reason"] == "it broke"
    assert not (tmp_path / "shell").exists()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["no-such-program"], "could not be run"),
        ([sys.executable, "-c", "raise SystemExit('hf_abcdefghijkl')"], "1: ***"),
    ],
)
def test_an_alert_command_that_fails_is_told_and_does_not_raise(tmp_path, command, said):
    settings = settings_of(tmp_path, schedule={"alert_command": command})
    assert said in run_command(settings, Alert(NIGHT, "night_failed", "x", "", ""))


@pytest.mark.parametrize(
    ("job", "asked", "is_done"),
    [
        ("night", None, True),
        ("night", {"rollouts"}, False),
        ("__ASSET_JOB", {"rollouts", "night_report", "problems"}, True),  # a backfill of the UI
        ("__ASSET_JOB", {"rollouts"}, False),
        ("read_problems", None, False),
    ],
)
def test_a_night_that_is_done_takes_its_alert_away_and_a_part_of_it_does_not(tmp_path, job, asked, is_done):
    settings = settings_of(tmp_path)
    write_alert(settings.state_dir, Alert(NIGHT, "night_failed", "x", "", ""))

    @dg.op
    def works():
        return None

    @dg.job(name=job.strip("_"))
    def good():
        works()

    with dg.DagsterInstance.ephemeral() as instance:
        result = good.execute_in_process(instance=instance, tags={PARTITION_TAG: NIGHT})
        event = result.get_run_success_event()
        keys = None if asked is None else frozenset(dg.AssetKey(key) for key in asked)
        run = copy(result.dagster_run, job_name=job, asset_selection=keys)
        done_night(settings, WHOLE)(dg.build_run_status_sensor_context("done_night", event, instance, run))
    assert (read_alert(settings.state_dir, NIGHT) is None) == is_done


def test_every_sensor_has_a_name_and_says_what_it_does():
    found = {sensor.name: sensor for sensor in workspace_sensors(Settings(), WHOLE)}
    assert set(found) == {"new_policy", "new_problem_files", "failed_night", "done_night", "lost_runs"}
    assert all(sensor.description for sensor in found.values())
    assert found["failed_night"].default_status == dg.DefaultSensorStatus.RUNNING
