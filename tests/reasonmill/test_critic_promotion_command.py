import json

import pytest
import typer
from typer.testing import CliRunner

from critics.registry import PromotionError, promote
from pipelines.lake import Lake, rows_to_table
from reasonmill.cli.critic import critic_app
from tests.critics.test_registry import NIGHTS, critic_rows


@pytest.fixture
def lake(tmp_path, monkeypatch):
    """Critics of two nights; those of the first are current, and the second was held."""
    (tmp_path / "reasonmill.toml").write_text("")
    monkeypatch.setenv("REASONMILL_CONFIG", str(tmp_path / "reasonmill.toml"))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    lake = Lake(tmp_path / "lake")
    for night in NIGHTS[:2]:
        lake.write("critics", rows_to_table("critics", critic_rows(night)), partition=night)
    promote(lake, NIGHTS[0])
    trial = {"critic_id": f"{NIGHTS[1]}-all", "is_promotable": False, "reason": "worse_on_evaluation", "drift": 0.5}
    trial |= {"night": NIGHTS[1], "evaluation_difference": -0.1, "evaluation_low": -0.2, "evaluation_high": -0.05}
    lake.write("critic_trials", rows_to_table("critic_trials", [trial]), partition=NIGHTS[1])
    return lake


def run(*args: str):
    app = typer.Typer()
    app.add_typer(critic_app, name="critic")
    return CliRunner().invoke(app, ["critic", *args])


def test_the_list_says_what_was_promoted_and_held_and_which_is_current(lake):
    lines = run("list").stdout.splitlines()
    assert lines[1].split() == [NIGHTS[0], "promoted", "by_hand", f"{NIGHTS[0]}-all", "current"]
    assert lines[2].split() == [
        NIGHTS[1], "held", "worse_on_evaluation", f"{NIGHTS[1]}-all", "-0.100", "-0.200", "to", "-0.050", "0.50",
    ]  # fmt: skip
    found = json.loads(run("list", "--format", "json").stdout)
    assert [(row["action"], row["is_current"]) for row in found] == [("promoted", True), ("held", False)]


def test_a_held_critic_is_promoted_by_hand_and_rolled_back(lake):
    result = run("promote", NIGHTS[1])
    assert result.stdout == f"promoted: {NIGHTS[1]}-all is the current critic after the night {NIGHTS[1]}.\n"
    assert "DAGSTER_HOME is not set" in result.stderr
    assert run("rollback").stdout == (
        f"rolled_back: {NIGHTS[0]}-all is the current critic after the night {NIGHTS[1]}.\n"
    )


def test_what_cannot_be_done_is_explained(lake):
    assert isinstance(run("promote", "2026-01-09").exception, PromotionError)
    assert "There is no earlier critic to roll back to" in str(run("rollback").exception)


def test_an_empty_lake_has_no_history(tmp_path, monkeypatch):
    (tmp_path / "reasonmill.toml").write_text("")
    monkeypatch.setenv("REASONMILL_CONFIG", str(tmp_path / "reasonmill.toml"))
    result = run("list")
    assert result.stdout == "" and "No critic was tried yet" in result.stderr
