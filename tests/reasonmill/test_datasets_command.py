"""`reasonmill datasets` on a small workspace."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.datasets.versions import DatasetStore
from pipelines.errors import ReasonmillError
from reasonmill.cli.main import app
from tests.pipelines.dataset_worlds import NIGHTS, publish_nights


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[DatasetStore, list[str]]:
    """A workspace with two versions of the dataset tiny."""
    store, made = publish_nights(tmp_path, NIGHTS[:2])
    (tmp_path / "workspace/reasonmill.toml").write_text("")
    monkeypatch.setenv("REASONMILL_CONFIG", str(tmp_path / "workspace/reasonmill.toml"))
    return store, made


def printed(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["datasets", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def rows(*arguments: str) -> list[dict]:
    return json.loads(printed("list", "--format", "json", *arguments))


def test_versions_are_listed_with_rows_and_pins(world):
    store, (a, b) = world
    store.pin("tiny", a, "prod")
    assert [(row["version"], row["num_rows"], row["night"], row["pins"]) for row in rows()] == [
        (a, 6, NIGHTS[0], ["prod"]),
        (b, 6, NIGHTS[1], ["latest"]),
    ]
    assert rows("tiny", "--source", store.root) == rows()
    assert a in printed("list") and "prod" in printed("list") and store.root in printed("list")
    with pytest.raises(ReasonmillError, match="no dataset 'tinny' in .*; did you mean tiny"):
        printed("list", "tinny")


def test_a_workspace_without_versions_says_so(tmp_path, monkeypatch):
    (tmp_path / "reasonmill.toml").write_text("")
    monkeypatch.setenv("REASONMILL_CONFIG", str(tmp_path / "reasonmill.toml"))
    assert "No version is in" in printed("list")
    assert rows() == []


def test_a_damaged_version_is_listed_with_the_reason(world):
    store, (a, b) = world
    Path(store.root, "tiny", a, "manifest.json").write_text("[]")
    damaged = rows()[-1]
    assert (damaged["version"], damaged["num_rows"]) == (a, None)
    assert "it is a list, not an object" in damaged["damaged"]
    assert f"{a}: The manifest" in printed("list")


def test_a_damaged_pin_is_listed_by_name_and_removed(world):
    store, (a, b) = world
    store.pin("tiny", a, "prod")
    Path(store.root, "tiny/pins/prod.json").write_text("{")
    assert [(row["version"], row["pins"], list(row["damaged_pins"])) for row in rows()] == [
        (a, [], ["prod"]),
        (b, ["latest"], ["prod"]),
    ]
    assert re.search(r"tiny@prod: The pin .*prod.json is damaged", printed("list"))
    assert printed("unpin", "tiny", "prod") == "tiny@prod is removed; its file was damaged\n"
    assert rows()[0]["damaged_pins"] == {}
    Path(store.root, "tiny/pins/latest.json").write_text("{")
    assert [row["pins"] for row in rows()] == [[], []]  # where latest leads cannot be told
    assert printed("rollback", "tiny", "--undo").endswith(f"tiny@latest is {b}\n")


def test_one_version_is_shown_with_its_sets_and_an_edited_card_is_said(world):
    store, (a, b) = world
    shown = json.loads(printed("show", f"tiny@{a}", "--format", "json"))
    assert (shown["version"], shown["warnings"]) == (a, [])
    assert shown["manifest"]["sets"]["sft"]["num_rows"] == 5
    assert "prompt, completion" in printed("show", "tiny")
    Path(store.root, "tiny", a, "README.md").write_text("mine")
    result = CliRunner().invoke(app, ["datasets", "show", f"tiny@{a}"])
    assert f"warning: README.md of {a} was edited after publication" in result.stderr
    assert "data are untouched" in result.stderr


def test_a_pull_prints_the_folder_and_can_be_repeated(world, tmp_path):
    _, (a, _) = world
    assert printed("pull", f"tiny@{a}", "--to", str(tmp_path / "to")).strip() == str(tmp_path / "to" / a)
    result = CliRunner().invoke(app, ["datasets", "pull", f"tiny@{a}", "--to", str(tmp_path / "to")])
    assert re.search(r"0 files copied \(0.0 KiB\), \d+ were there already\.", result.stderr)
    with pytest.raises(ReasonmillError, match="no set 'sftt'; did you mean sft"):
        printed("pull", "tiny", "--to", str(tmp_path / "to"), "--set", "sftt")


def test_versions_are_pinned_rolled_back_and_deleted(world):
    store, (a, b) = world
    assert printed("pin", f"tiny@{a}", "prod") == f"tiny@prod is {a}\n"
    assert printed("pin", "tiny", "prod") == f"tiny@prod is {b} (before: {a})\n"
    assert printed("rollback", "tiny", "--pin", "prod") == f"tiny@prod is {a}\n"
    assert printed("rollback", "tiny").startswith(f"tiny@latest is {a} until a newer version is published")
    assert store.resolve("tiny").version == a
    assert printed("rollback", "tiny", "--undo").endswith(f"tiny@latest is {b}\n")
    with pytest.raises(ReasonmillError, match="pin 'prod' points at it"):
        printed("delete", f"tiny@{a}", "--yes")
    printed("unpin", "tiny", "prod")
    refused = CliRunner().invoke(app, ["datasets", "delete", f"tiny@{a}"], input="n\n")
    assert refused.exit_code == 1
    assert printed("delete", f"tiny@{a}", "--yes") == f"{a} is removed\n"
    assert [row["version"] for row in rows()] == [b]


def test_undoing_a_rollback_goes_with_no_other_option(world):
    result = CliRunner().invoke(app, ["datasets", "rollback", "tiny", "--undo", "--pin", "prod"])
    assert result.exit_code == 2
