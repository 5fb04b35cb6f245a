"""`reasonmill nights` and `reasonmill doctor`."""

import json
from datetime import date, timedelta

import pytest
from typer.testing import CliRunner

from pipelines.config import load_settings
from pipelines.errors import ConfigError, LakeError
from pipelines.lake import Lake, rows_to_table
from pipelines.night_report.alerts import Alert, list_alerts, write_alert
from reasonmill.cli.main import app
from reasonmill.cli.nights import known_night, nights_between

N1, N2 = "2026-01-01", "2026-01-02"
METRICS = {"pass1": 0.5, "yield_prof": 0.25}


def invoke(*arguments: str):
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "80"})


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    (tmp_path / "reasonmill.toml").write_text("")
    monkeypatch.setenv("REASONMILL_CONFIG", str(tmp_path))
    return tmp_path


@pytest.fixture
def two_nights(workspace) -> Lake:
    lake = Lake(load_settings().lake_url)
    for night, size in ((N1, 8), (N2, 16)):
        config = json.dumps({"rollouts.group_size": size})
        log = {"night": night, "verdict": "promote", "num_tokens": 1500, "seconds": 90.0, "config": config}
        lake.write("night_log", rows_to_table("night_log", [log]), partition=night)
        metrics = [{"metric": name, "value": value, "night": night} for name, value in METRICS.items()]
        lake.write("night_metrics", rows_to_table("night_metrics", metrics), partition=night)
        rollout = {"rollout_id": night, "problem_id": "p", "group_id": "g", "night": night, "outcome_reward": 1.0}
        lake.write("rollouts", rows_to_table("rollouts", [rollout]), partition=night)
    return lake


def test_the_log_has_a_line_per_night_with_what_changed(two_nights):
    output = invoke("nights").output
    said = " ".join(output.split())
    lines = [line for line in output.splitlines() if line.startswith("2026")]
    assert [line.split()[:2] for line in lines[:2]] == [[N1, "promote"], [N2, "promote"]]
    assert "1.5k" in lines[1] and "50.0%" in lines[1] and "1.5" in lines[1]
    assert lines[2:] == [
        f"{N1} filters kept: prof 25.0%; changed: nothing",
        f"{N2} filters kept: prof 25.0%; changed: rollouts.group_size",
    ]
    assert "tokens: completion tokens of all stages" in said and "per row: those of search" in said


def test_the_log_as_json_names_every_change_and_leaves_unknown_numbers_out(two_nights):
    rows = json.loads(invoke("nights", "--format", "json").output)
    assert [row["night"] for row in rows] == [N1, N2]
    assert rows[0]["changed"] == []
    assert rows[1]["changed"] == [{"what": "configuration rollouts.group_size", "before": "8", "after": "16"}]
    assert rows[1]["metrics"] == METRICS


def test_a_lake_without_nights_says_how_to_make_one(workspace):
    assert "reasonmill demo" in invoke("nights").output
    assert json.loads(invoke("nights", "--format", "json").output) == []


def test_a_night_that_failed_is_in_the_log_with_its_reason_and_so_is_one_that_was_not_finished(two_nights):
    write_alert(load_settings().state_dir, Alert("2026-01-03", "night_failed", "rollouts: no model", "r", "now"))
    rollout = {"rollout_id": "x", "problem_id": "p", "night": "2026-01-04"}
    two_nights.write("rollouts", rows_to_table("rollouts", [rollout]), partition="2026-01-04")
    assert invoke("nights").output.splitlines()[-2:] == [
        "2026-01-03  failed: rollouts: no model",
        "2026-01-04  has rollouts and was not run to its end",
    ]
    with pytest.raises(LakeError, match="2026-01-03 failed before it had rollouts: rollouts: no model"):
        known_night(load_settings(), "2026-01-03")


def test_a_range_that_ends_after_today_is_refused_before_its_first_night(workspace):
    later = str(date.today() + timedelta(days=2))
    error = invoke("nights", "run", "--from", N1, "--to", later).exception
    assert isinstance(error, ConfigError) and f"night '{later}' is no partition" in str(error)
    assert not (workspace / "lake").exists()


def test_the_report_of_a_night_is_written_once_and_again_when_asked(two_nights, workspace):
    path = workspace / "state" / "reports" / N2 / "night.html"
    assert invoke("nights", "report").output.strip() == str(path)
    path.write_text("kept")
    invoke("nights", "report", N2)
    assert path.read_text() == "kept"
    invoke("nights", "report", N2, "--again")
    assert f"Night {N2}" in path.read_text()


def test_a_night_that_is_not_there_is_named_with_near_ones(two_nights):
    with pytest.raises(LakeError, match=f"no night '2026-01-03'.*{N2}"):
        known_night(load_settings(), "2026-01-03")


def test_a_range_has_every_day_from_first_to_last():
    assert nights_between("2026-02-27", "2026-03-01") == ["2026-02-27", "2026-02-28", "2026-03-01"]
    assert nights_between(N1, N1) == [N1]


def test_a_night_that_fails_ends_the_range_and_says_how_it_goes_on(workspace):
    """The server of the configuration is not there, so the first of three nights fails."""
    (workspace / "reasonmill.toml").write_text(
        '[engine]\nmode = "url"\nurl = "http://127.0.0.1:1"\n[schedule]\nretries = 0\n'
    )
    ended = invoke("nights", "run", "--from", N1, "--to", "2026-01-03", "--select", "problems,rollouts")
    said = str(ended.exception)
    assert said.startswith(f"The night {N1} failed: No server answers at http://127.0.0.1:1")
    assert f"Not begun: {N2}, 2026-01-03." in said
    assert said.endswith(f"reasonmill nights run --from {N1} --to 2026-01-03 --select problems,rollouts")
    (alert,) = list_alerts(workspace / "state")
    assert (alert.night, alert.kind) == (N1, "night_failed") and "No server answers" in alert.reason


@pytest.mark.parametrize(("first", "last"), [(N2, N1), ("yesterday", N1), ("2026-02-30", "2026-03-01")])
def test_a_range_that_is_none_is_refused(first, last):
    with pytest.raises(ConfigError):
        nights_between(first, last)


def test_the_doctor_ends_with_1_where_tonight_would_fail_and_says_what_to_do(workspace):
    well = invoke("doctor", "--format", "json")
    found = json.loads(well.output)
    assert (well.exit_code, found["would_run"]) == (0, True)
    assert {"configuration", "model", "engine", "disk", "leases", "graph", "schedule", "daemon"} <= {
        finding["name"] for finding in found["findings"]
    }
    (workspace / "reasonmill.toml").write_text('[policy]\nmodel = "/no/such/model"\n')
    ill = invoke("doctor")
    assert ill.exit_code == 1 and "Tonight would fail." in ill.output and "/no/such/model" in ill.output


def test_the_doctor_explains_a_configuration_that_cannot_be_read(workspace):
    (workspace / "reasonmill.toml").write_text("[rollouts]\ngroup_size = -1\n")
    ill = invoke("doctor", "--format", "json")
    (finding,) = json.loads(ill.output)["findings"]
    assert (ill.exit_code, finding["name"]) == (1, "configuration")
