"""`reasonmill prove`: its options, and a report of a folder in which nothing is finished yet."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from reasonmill.cli import main
from reasonmill.cli.prove import chosen_plan


def test_quick_is_one_smaller_seed_and_the_full_run_three() -> None:
    quick, full = chosen_plan(True, None, None), chosen_plan(False, None, None)
    assert (quick.num_seeds, quick.num_nights, full.num_seeds, full.num_nights) == (1, 3, 3, 3)
    assert quick.num_training_tokens < full.num_training_tokens
    assert chosen_plan(True, 2, 1).num_seeds == 2
    assert chosen_plan(True, 2, 1).num_nights == 1


def test_arms_come_beside_the_usual_three() -> None:
    assert chosen_plan(True, None, None).arms == ("filtered", "rejection_sampling", "random")
    assert chosen_plan(True, None, None, ["by_difficulty", "random"]).arms[2:] == ("random", "by_difficulty")


def test_a_report_of_an_empty_folder_says_that_nothing_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main.app, ["prove", "--quick", "--report", "--out", "proof"])
    assert result.exit_code == 0, result.output
    assert "0 of 10 cells finished" in result.output
    assert json.loads((tmp_path / "proof" / "report.json").read_text())["cells"] == []


def test_a_folder_is_asked_for(tmp_path: Path) -> None:
    result = CliRunner().invoke(main.app, ["prove", "--quick"])
    assert result.exit_code == 2
    assert "--out" in result.output
