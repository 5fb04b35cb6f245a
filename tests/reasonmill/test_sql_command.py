import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from pipelines.errors import ReasonmillError
from pipelines.lake import Lake, rows_to_table
from reasonmill import client
from reasonmill.cli.sql import as_csv, as_json, sql

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A workspace whose lake holds two rollouts, one without a reward."""
    (tmp_path / "reasonmill.toml").write_text('[paths]\nlake = "lake"\n')
    monkeypatch.setenv("REASONMILL_CONFIG", str(tmp_path / "reasonmill.toml"))
    rows = [
        {"rollout_id": "r1", "steps": ["1+1=2", "#### 2"], "outcome_reward": 1.0, "num_tokens": 9, "night": "n1"},
        {"rollout_id": "r2", "num_tokens": 4, "error": "too\nlong", "night": "n1"},
    ]
    Lake(tmp_path / "lake").write("rollouts", rows_to_table("rollouts", rows), partition="n1")
    return tmp_path


def run(*args: str, **kwargs):
    app = typer.Typer()
    app.command()(sql)
    return CliRunner().invoke(app, list(args), **kwargs)


def test_json_is_an_array_of_objects_and_nothing_else(workspace):
    query = "select rollout_id, steps, outcome_reward, sum(num_tokens) over () as total from rollouts"
    result = run(query, "--format", "json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == [
        {"rollout_id": "r1", "steps": ["1+1=2", "#### 2"], "outcome_reward": 1.0, "total": 13},
        {"rollout_id": "r2", "steps": None, "outcome_reward": None, "total": 13},
    ]


def test_token_scores_can_be_asked_and_reported_like_any_table(workspace):
    lake = Lake(workspace / "lake")
    scores = [
        {"rollout_id": "r1", "model_id": name, "model_digest": name, "token_logprobs": [value] * 9, "num_tokens": 9,
         "sum_logprob": 9 * value, "token_entropies": [0.5] * 9, "step_ends": [6, 9], "night": "n1"}
        for name, value in (("strong", -0.5), ("weak", -1.5))
    ]  # fmt: skip
    lake.write("token_scores", rows_to_table("token_scores", scores), partition="n1")
    gold = [{"rollout_id": "r1", "step": step, "is_right": step == 0, "night": "n1"} for step in (0, 1)]
    lake.write("gold_steps", rows_to_table("gold_steps", gold), partition="n1")
    lake.write("problems", rows_to_table("problems", [{"problem_id": "p", "family": "arithmetic"}]))
    rollout = {"rollout_id": "r1", "problem_id": "p", "outcome_reward": 1.0, "num_tokens": 9, "night": "n1"}
    lake.write("rollouts", rows_to_table("rollouts", [rollout]), partition="n1")

    query = "select model_id, list_sum(token_logprobs) as total from token_scores order by model_id"
    assert json.loads(run(query, "--format", "json").stdout) == [
        {"model_id": "strong", "total": -4.5}, {"model_id": "weak", "total": -13.5},
    ]  # fmt: skip
    entropy = json.loads(run("--report", "token_entropy", "--format", "json").stdout)
    assert [(row["model_id"], row["kind"], row["num_tokens"]) for row in entropy] == [
        ("strong", "right", 6), ("strong", "first_wrong", 3), ("weak", "right", 6), ("weak", "first_wrong", 3),
    ]  # fmt: skip
    ratio = json.loads(run("--report", "density_ratio", "--format", "json").stdout)
    assert [(row["strong_model"], row["mean_log_ratio_right"]) for row in ratio] == [("strong", 9.0), ("weak", -9.0)]


def test_no_rows_are_an_empty_array(workspace):
    assert run("select * from sft", "--format", "json").stdout == "[]\n"


def test_csv_has_a_header_and_lists_as_json(workspace):
    result = run("select rollout_id, steps, error from rollouts", "--format", "csv")
    assert list(csv.reader(result.stdout.splitlines(keepends=True))) == [
        ["rollout_id", "steps", "error"], ["r1", '["1+1=2", "#### 2"]', ""], ["r2", "", "too\nlong"],
    ]  # fmt: skip


def test_parquet_goes_to_a_file_and_only_to_a_file(workspace, tmp_path):
    path = tmp_path / "rows.parquet"
    result = run("select rollout_id, null as nothing from rollouts", "--format", "parquet", "--output", str(path))
    assert (result.exit_code, result.stdout) == (0, "")
    assert pq.read_table(path)["rollout_id"].to_pylist() == ["r1", "r2"]
    error = run("select 1", "--format", "parquet").exception
    assert isinstance(error, ReasonmillError)
    assert "--output" in str(error)


def test_a_table_is_printed_with_its_number_of_rows(workspace):
    text = run("select rollout_id, num_tokens, error from rollouts").stdout
    assert "r1" in text
    assert "too⏎long" in text
    assert "2 rows" in text
    assert "2 rows, the first 1 shown" in run("select rollout_id from rollouts", "--limit", "1").stdout


def test_a_query_comes_from_standard_input_or_from_a_report(workspace):
    assert json.loads(run("-", "--format", "json", input="select 1 as a").stdout) == [{"a": 1}]
    rows = json.loads(run("--report", "table_summary", "--format", "json").stdout)
    assert [row["num_tokens"] for row in rows if row["table_name"] == "rollouts"] == [13]
    assert "reports/error_depth: At which step" in run("--report", "list").stdout


def test_wrong_use_is_explained(workspace):
    assert "Give either a query" in str(run().exception)
    assert "did you mean rollouts" in str(run("select * from rollout").exception)
    error = run("select 1", "--format", "csv", "--output", str(workspace / "no" / "rows.csv")).exception
    assert "could not be written: No such file or directory" in str(error)


def test_json_and_csv_write_what_they_cannot_hold_as_null_or_text():
    rows = pa.table({"a": [float("nan"), 0.5], "b": pa.array([{"x": [1]}, None])})
    assert json.loads(as_json(rows)) == [{"a": None, "b": {"x": [1]}}, {"a": 0.5, "b": None}]
    assert as_csv(rows) == 'a,b\nnan,"{""x"": [1]}"\n0.5,\n'


def test_the_client_scans_and_queries_a_workspace_by_folder(workspace, monkeypatch):
    monkeypatch.delenv("REASONMILL_CONFIG")
    assert client.scan("rollouts", workspace).collect()["num_tokens"].to_list() == [9, 4]
    rows = client.query("select rollout_id from rollouts where num_tokens > $low", workspace=workspace, low=5)
    assert rows.to_pylist() == [{"rollout_id": "r1"}]


def test_importing_the_client_imports_nothing_heavy():
    heavy = "{'polars', 'duckdb', 'datasets', 'pydantic', 'torch', 'vllm'}"  # pyarrow and fsspec it reads with
    text = f"import sys, reasonmill.client; print(sorted({heavy} & set(sys.modules)))"
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    finished = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, env=environment, check=True)
    assert finished.stdout == "[]\n"
