"""`reasonmill datasets review`: out, filled in, back, and learned from."""

import json

import pytest
from typer.testing import CliRunner

from critics.label_sources import build_examples
from pipelines.errors import ReasonmillError
from pipelines.lake import Lake, rows_to_table
from reasonmill.cli import main
from tests.critics.conftest import verify_prompt

NIGHT = "2026-11-03"


@pytest.fixture
def lake(tmp_path, monkeypatch) -> Lake:
    (tmp_path / "reasonmill.toml").write_text("")
    monkeypatch.setenv("REASONMILL_CONFIG", str(tmp_path / "reasonmill.toml"))
    lake = Lake(tmp_path / "lake")
    problem = {"problem_id": "p", "prompt": "1+2", "split": "train", "is_evaluation": False}
    lake.write("problems", rows_to_table("problems", [problem]))
    rollouts = [
        {"rollout_id": f"r{i}", "problem_id": "p", "group_id": "g", "steps": [f"1+2={i}", "#### 3"],
         "outcome_reward": 1.0, "night": NIGHT}
        for i in range(3)
    ]  # fmt: skip
    lake.write("rollouts", rows_to_table("rollouts", rollouts), partition=NIGHT)
    return lake


def run(*arguments: str) -> str:
    done = CliRunner().invoke(main.app, ["datasets", "review", *arguments])
    if done.exception is not None:
        raise done.exception
    return done.output


def test_a_queue_goes_out_is_filled_in_and_comes_back_as_labels_of_a_critic(lake, tmp_path):
    file = tmp_path / "queue.jsonl"
    assert "3 solutions to review" in run("export", str(file))
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    labels = {"r0": 0, "r3": None, "r2": 0}
    file.write_text("\n".join(json.dumps(x | {"first_error_step": labels.get(x["rollout_id"])}) for x in lines))
    with pytest.raises(ReasonmillError, match="no_reviewer"):
        run("import", str(file))
    done = json.loads(run("import", str(file), "--reviewer", "ann", "--date", "2026-11-05", "--format", "json"))
    assert done == {"num_stored": 2, "num_known": 0, "num_empty": 1, "nights": [NIGHT]}
    assert "0 reviews stored, 2 were there already" in run("import", str(file), "--reviewer", "ann")
    assert "1 solutions to review" in run("export", str(tmp_path / "rest.jsonl"))  # what waits
    assert "3 solutions to review" in run("export", str(tmp_path / "all.jsonl"), "--again", "--blind")
    tables = {"problems": lake.read("problems"), "human_labels": lake.read("human_labels")}
    examples = build_examples("human", tables, verify_prompt)
    assert [(x.tree_id, x.labels[1].target, x.labels[2].weight) for x in examples.trees] == [
        ("r0", 0.0, 0.0), ("r2", 0.0, 0.0),
    ]  # fmt: skip


def test_a_queue_is_never_written_over_and_an_unknown_one_names_near_ones(lake, tmp_path):
    run("export", str(tmp_path / "queue.jsonl"))
    with pytest.raises(ReasonmillError, match="somebody's work"):
        run("export", str(tmp_path / "queue.jsonl"))
    with pytest.raises(ReasonmillError, match="did you mean audited_sample"):
        run("export", str(tmp_path / "other.jsonl"), "--from", "audited")
    with pytest.raises(ReasonmillError, match="no night '2026-11-09'"):
        run("export", str(tmp_path / "other.jsonl"), "--night", "2026-11-09")


def test_a_date_that_is_none_is_refused_whatever_the_file_holds(lake, tmp_path):
    run("export", str(tmp_path / "queue.jsonl"), "--from", "audited_sample")
    with pytest.raises(ReasonmillError, match='--date: reviewed_on is "nonsense"; a date such as 2026-11-21 is needed'):
        run("import", str(tmp_path / "queue.jsonl"), "--date", "nonsense")
