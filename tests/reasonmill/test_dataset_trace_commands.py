"""`reasonmill datasets lineage | diff | rebuild` over a workspace with two published versions."""

import hashlib
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from pipelines.config import PublishingConfig, Settings
from pipelines.datasets.manifest import RunInfo
from pipelines.datasets.published import sets_digest, with_digest
from pipelines.datasets.versions import DatasetStore
from pipelines.errors import ReasonmillError
from pipelines.lake import Lake
from pipelines.publishing import publish
from pipelines.rows import rows_to_table
from reasonmill.cli import main

NIGHTS = ("2026-11-03", "2026-11-04")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("workspace")
    (root / "reasonmill.toml").write_text('[publishing]\nname = "tiny"\n')
    settings = Settings(root=root, publishing=PublishingConfig(name="tiny"))
    lake = Lake(settings.lake_url)
    problems = [{"problem_id": name, "prompt": "1+2", "split": "train"} for name in ("p", "unpublished")]
    lake.write("problems", rows_to_table("problems", problems), partition="all")
    for number, night in enumerate(NIGHTS, start=1):
        rollout = {"rollout_id": f"r{number}", "problem_id": "p", "policy_version": "d1", "steps": ["1+2=3"]}
        row = {"prompt": "1+2", "completion": "3", "problem_id": "p", "rollout_id": f"r{number}", "origin": "search"}
        lake.write("rollouts", rows_to_table("rollouts", [rollout | {"night": night}]), partition=night)
        lake.write("sft", rows_to_table("sft", [row | {"night": night}] * number), partition=night)
        publish(settings, lake, night, ["sft"], RunInfo(code_digest="0" * 64, models={"policy": "d1"}))
    return root


@pytest.fixture(autouse=True)
def _configured(workspace, monkeypatch) -> None:
    monkeypatch.setenv("REASONMILL_CONFIG", str(workspace / "reasonmill.toml"))


def run(*arguments: str) -> str:
    done = CliRunner(env={"COLUMNS": "160"}).invoke(main.app, ["datasets", *arguments])
    if done.exception is not None:
        raise done.exception
    return done.output


def test_lineage_draws_the_row_and_names_the_version_that_has_it(workspace):
    shown = run("lineage", "r1")
    assert "rollout r1" in shown and "tiny-2026-11-03" in shown and "tiny-2026-11-04" not in shown
    found = json.loads(run("lineage", "r2", "--format", "json"))
    assert found["origins"][0]["facts"]["model"] == "d1"
    assert [(use["set_name"], use["num_rows"]) for use in found["published_in"]] == [("sft", 2)]


@pytest.fixture
def own(workspace, tmp_path, monkeypatch) -> Path:
    """A copy of the workspace that a test may change."""
    shutil.copytree(workspace, tmp_path / "own")
    monkeypatch.setenv("REASONMILL_CONFIG", str(tmp_path / "own" / "reasonmill.toml"))
    return tmp_path / "own"


def test_lineage_says_that_the_lake_is_another_one_than_a_version_was_made_from(own):
    lake = Lake(own / "lake")
    assert "Note:" not in run("lineage", "r1") and "was made from other tables" not in run("lineage", "r1")
    lake.write("rollouts", lake.read("rollouts", NIGHTS[0]), partition=NIGHTS[0])
    assert f"the lake now has another generation of rollouts/{NIGHTS[0]}." in run("lineage", "r1")
    assert "was made from other tables" not in run("lineage", "r2")
    (found,) = json.loads(run("lineage", "r1", "--format", "json"))["tables_since"]
    assert found["version"].startswith("tiny-2026-11-03") and found["changed"][0]["table"] == "rollouts"
    assert found["changed"][0]["now"] == lake.generation("rollouts", NIGHTS[0])
    run("lineage", "r1", "--html", str(own / "row.html"))
    assert f"another generation of rollouts/{NIGHTS[0]}" in (own / "row.html").read_text()


def test_lineage_lists_the_versions_of_a_row_that_the_lake_has_no_more(own):
    shutil.rmtree(own / "lake" / "rollouts")
    shown = run("lineage", "r1")
    assert "Nothing in the lake has the id r1." in shown and "tiny-2026-11-03" in shown
    assert f"no longer has rollouts/{NIGHTS[0]}" in shown
    found = json.loads(run("lineage", "r1", "--format", "json"))
    assert found["origins"] == [] and len(found["published_in"]) == 1
    with pytest.raises(ReasonmillError, match="Nothing in the lake has the id 'r9'"):
        run("lineage", "r9")


def test_a_damaged_version_is_named_wherever_versions_are_listed(own):
    (folder,) = (own / "datasets" / "tiny").glob("tiny-2026-11-03-*")
    (folder / "manifest.json").write_text("{")
    said = f"What the version {folder.name} has is not known"
    for arguments in (("--problem", "p"), ("--model", "d1"), ("r2",)):
        shown = run("lineage", *arguments)
        assert said in shown and "tiny-2026-11-04" in shown
    assert list(json.loads(run("lineage", "r2", "--format", "json"))["damaged"]) == [folder.name]
    done = CliRunner().invoke(main.app, ["datasets", "lineage", "r9"])
    assert said in done.output and "Nothing in the lake" in str(done.exception)


def test_models_and_problems_lead_to_their_versions(workspace):
    uses = json.loads(run("lineage", "--model", "d1", "--format", "json"))
    assert [(use["set_name"], use["num_rows"]) for use in uses] == [("", None), ("sft", 1), ("", None), ("sft", 2)]
    assert len(json.loads(run("lineage", "--problem", "p", "--format", "json"))) == 2
    named = json.loads(run("lineage", "--model", "starter", "--format", "json"))
    assert named == uses  # the policy's own name


def test_a_model_or_problem_that_nobody_knows_is_an_error_with_near_names(workspace):
    with pytest.raises(ReasonmillError, match="names the model 'startr'; did you mean starter"):
        run("lineage", "--model", "startr")
    with pytest.raises(ReasonmillError, match="names the model ''"):
        run("lineage", "--model", "")
    with pytest.raises(ReasonmillError, match="nor the lake has a problem 'unpublishd'; did you mean unpublished"):
        run("lineage", "--problem", "unpublishd", "--format", "json")
    with pytest.raises(ReasonmillError, match="has a problem 'zzz'; the column problem_id"):
        run("lineage", "--problem", "zzz")
    assert "No published version of tiny has anything of unpublished" in run("lineage", "--problem", "unpublished")


def test_a_bare_name_is_the_latest_version_and_a_folder_that_is_none_says_so(workspace, tmp_path):
    for spec in ("tiny", "tiny@latest", "latest"):
        assert json.loads(run("diff", "tiny-2026-11-03", spec, "--format", "json"))["new"].startswith("tiny-2026-11-04")
    with pytest.raises(ReasonmillError, match="other code may make other rows"):
        run("rebuild", "tiny", "--to", str(tmp_path / "again"))
    (tmp_path / "rows").mkdir()
    with pytest.raises(ReasonmillError, match="rows is not a dataset version: it has no manifest.json"):
        run("diff", str(tmp_path / "rows"), "latest")
    with pytest.raises(ReasonmillError, match="There is no dataset 'tinny' in .*; did you mean tiny"):
        run("diff", "tinny@prod", "latest")


def test_a_folder_of_this_directory_that_is_no_version_says_so(workspace, tmp_path, monkeypatch):
    (tmp_path / "rows").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ReasonmillError, match="rows is not a dataset version: it has no manifest.json"):
        run("diff", "rows", "latest")


def test_one_thing_is_traced_at_a_time(workspace):
    for arguments in ((), ("r1", "--model", "d1"), ("--model", "d1", "--html", "x.html")):
        with pytest.raises(ReasonmillError):
            run("lineage", *arguments)


def test_pages_are_written_where_they_are_asked_for(workspace, tmp_path):
    assert "Wrote" in run("lineage", "r1", "--html", str(tmp_path / "a" / "row.html"))
    run("diff", "tiny-2026-11-03", "latest", "--html", str(tmp_path / "diff.html"))
    assert "Lineage of" in (tmp_path / "a" / "row.html").read_text()
    assert "tiny-2026-11-04" in (tmp_path / "diff.html").read_text()


def test_diff_compares_with_the_latest_version_by_default(workspace):
    found = json.loads(run("diff", "tiny-2026-11-03", "--format", "json"))
    (sft,) = found["sets"]
    assert (sft["num_added"], sft["num_removed"], sft["num_shared_problems"]) == (2, 1, 1)
    shown = run("diff", "tiny@tiny-2026-11-03")
    assert "2 rows added, 1 removed, 0 changed, 0 the same; 0 settings differ." in shown


def test_a_column_that_came_is_shown_where_no_row_changed(workspace, tmp_path):
    version = DatasetStore(workspace / "datasets").resolve("tiny", "tiny-2026-11-03")
    other = tmp_path / version.version
    shutil.copytree(version.path, other)
    manifest = json.loads((other / "manifest.json").read_text())
    entry = manifest["sets"]["sft"]
    file = other / entry["files"][0]["path"]
    pq.write_table(pq.read_table(file).append_column("extra", pa.array(["x"])), file)
    entry["columns"] |= {"extra": "string", "completion": "large_string"}
    entry["files"][0] |= {
        "num_bytes": file.stat().st_size, "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }  # fmt: skip
    manifest["content_sha256"] = sets_digest(
        {name: (one["columns"], [file["sha256"] for file in one["files"]]) for name, one in manifest["sets"].items()}
    )
    manifest.pop("manifest_sha256")
    (other / "manifest.json").write_text(json.dumps(with_digest(manifest)))
    shown = run("diff", version.version, str(other))
    assert "0 rows added, 0 removed, 0 changed, 1 the same" in shown
    assert "new columns: extra" in shown
    assert "columns of another type: completion (string -> large_string)" in shown
    assert "columns that are gone: extra" in run("diff", str(other), version.version)


def test_a_set_or_version_that_is_not_there_is_an_error_with_near_names(workspace):
    with pytest.raises(ReasonmillError, match="did you mean sft"):
        run("diff", "tiny-2026-11-03", "--set", "sfft")
    with pytest.raises(ReasonmillError, match="tiny-2026-11-04"):
        run("diff", "tiny-2027")


def test_a_version_of_other_code_is_not_rebuilt_without_force(workspace, tmp_path):
    with pytest.raises(ReasonmillError, match="other code may make other rows"):
        run("rebuild", "latest", "--to", str(tmp_path / "again"))
    assert not (tmp_path / "again").exists()
