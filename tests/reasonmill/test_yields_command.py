"""`reasonmill yields` over a lake with one list of two filters."""

import json

import pytest
from typer.testing import CliRunner

from pipelines.lake import Lake, rows_to_table
from reasonmill.cli import main

NIGHT = "2026-11-03"
RESULTS = {  # rollout -> reason by method; r9 failed
    "short": {"r1": None, "r2": "too_long", "r3": "too_long", "r4": None, "r9": "failed"},
    "prof": {"r1": "low_consistency", "r2": "low_consistency", "r3": None, "r4": None, "r9": "failed"},
    "short+prof": {"r1": None, "r2": "too_long", "r3": "too_long", "r4": "low_consistency", "r9": "failed"},
}


@pytest.fixture
def lake(tmp_path, monkeypatch) -> Lake:
    (tmp_path / "reasonmill.toml").write_text('[paths]\nlake = "lake"\n')
    monkeypatch.setenv("REASONMILL_CONFIG", str(tmp_path / "reasonmill.toml"))
    lake = Lake(tmp_path / "lake")
    results = [
        {"rollout_id": rollout, "problem_id": "p", "group_id": "g", "method": method, "kept": reason is None,
         "reason": reason, "score": 0.25, "night": NIGHT}
        for method, given in RESULTS.items() for rollout, reason in given.items()
    ]  # fmt: skip
    rollouts = [
        {"rollout_id": name, "problem_id": "p", "steps": ["1+1=2", "#### 2"], "outcome_reward": 1.0, "night": NIGHT}
        for name in RESULTS["prof"]
    ]
    lake.write("consistency_results", rows_to_table("consistency_results", results), partition=NIGHT)
    lake.write("rollouts", rows_to_table("rollouts", rollouts), partition=NIGHT)
    lake.write("problems", rows_to_table("problems", [{"problem_id": "p", "prompt": "1+1"}]), partition="all")
    return lake


def run(*arguments: str) -> str:
    done = CliRunner(env={"COLUMNS": "160"}).invoke(main.app, ["yields", *arguments])
    assert done.exit_code == 0, done.output
    return done.output


def test_every_filter_is_told_with_what_it_got_and_what_it_alone_would_have_removed(lake):
    filters = {row["method"]: row for row in json.loads(run("--format", "json"))["filters"]}
    numbers = ("filter", "num_in", "num_removed", "share_removed", "num_alone")
    assert [filters["short"][name] for name in numbers] == ["short", 4, 2, 0.5, 2]
    assert [filters["prof"][name] for name in numbers] == ["prof", 4, 2, 0.5, 2]
    # behind `short` it gets r1 and r4, and removes r4, which alone it would have kept
    assert [filters["short+prof"][name] for name in numbers] == ["prof", 2, 1, 0.5, 2]


def test_overlaps_are_between_filters_that_judge_all_alone(lake):
    # prof removes r1 r2, short r2 r3: one of three
    (row,) = json.loads(run("--format", "json"))["overlaps"]
    assert (row["filter"], row["other"], row["num_both"], row["overlap"]) == ("prof", "short", 1, pytest.approx(1 / 3))


def test_examples_are_shown_by_filter_and_reason(lake):
    examples = json.loads(run("--format", "json", "--examples", "1"))["examples"]
    assert [(row["method"], row["reason"]) for row in examples] == [("prof", "low_consistency"), ("short", "too_long")]
    assert (examples[0]["prompt"], examples[0]["solution"]) == ("1+1", "1+1=2\n#### 2")
    assert json.loads(run("--format", "json", "--examples", "0"))["examples"] == []


def test_the_text_has_all_parts_and_a_night_without_results_says_so(lake):
    text = run()
    assert all(word in text for word in ("num_alone", "33.3%", "short: too_long", "right, score 0.25", "#### 2"))
    assert "no results of filters of 2020-01-01" in run("--night", "2020-01-01")
    assert json.loads(run("--night", NIGHT, "--format", "json"))["reasons"]
