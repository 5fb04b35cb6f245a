import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from pipelines.config import load_settings, parse_settings
from reasonmill.cli import main
from reasonmill.cli.config import NIGHTLY, example_toml
from reasonmill.cli.demo import live_progress, policy_table, strategy_title

ROOT = Path(__file__).parents[2]


def run(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "reasonmill.cli.main", *arguments]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "COLUMNS": "160"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_the_shipped_example_is_the_generated_one_and_valid(tmp_path):
    shipped = (ROOT / "reasonmill.example.toml").read_text(encoding="utf-8")
    assert shipped == example_toml(), "write it again: reasonmill config init <folder>, then copy its reasonmill.toml"
    assert parse_settings(shipped, tmp_path / "reasonmill.toml").rollouts.group_size == 8


def test_every_value_of_the_example_is_valid_when_its_comment_sign_is_removed(tmp_path):
    lines = example_toml().splitlines()
    settings_lines = [line.removeprefix("# ") if line[2:].split(" = ")[0].isidentifier() else line for line in lines]
    active = [line for line in settings_lines if not line.startswith(("# [[", "kind = ", "path = ", "grader = "))]
    text = "\n".join(active)
    assert text.count(" = ") > 90
    # list items stay commented: without their [[headers]] their keys would land in the section above
    for section in ("[paths]", "[engine]", "[rollouts]", "[publishing]", "[schedule]"):
        body = text.split(section)[1].split("\n\n")[0]
        parse_settings(section + body, tmp_path / "reasonmill.toml")


def test_init_writes_a_file_once_and_validate_accepts_it(tmp_path):
    first = run("config", "init", "mine", "--preset", "nightly", cwd=tmp_path)
    assert first.returncode == 0
    settings = load_settings(tmp_path / "mine")
    assert settings.schedule.enabled
    assert settings.rollouts.num_search_problems == NIGHTLY["rollouts.num_search_problems"]
    second = run("config", "init", "mine", cwd=tmp_path)
    assert second.returncode == 1
    assert "exists already" in second.stderr
    assert run("--config", "mine", "config", "validate", cwd=tmp_path).returncode == 0


def test_validate_names_a_method_over_pairs_that_is_none(tmp_path):
    (tmp_path / "reasonmill.toml").write_text('[[preference_pairs.methods]]\nmethod = "rsoo"\n')
    refused = run("config", "validate", cwd=tmp_path)
    assert refused.returncode == 1
    assert 'preference_pairs.methods[0].method = "rsoo"' in refused.stderr
    assert "did you mean rso?" in refused.stderr


def test_show_prints_where_each_value_came_from(tmp_path):
    (tmp_path / "reasonmill.toml").write_text("[rollouts]\ngroup_size = 16\n")
    shown = run("config", "show", cwd=tmp_path).stdout
    line = next(line for line in shown.splitlines() if line.startswith("rollouts.group_size"))
    assert line.split() == ["rollouts.group_size", "16", "reasonmill.toml:2"]
    assert "default" in next(line for line in shown.splitlines() if line.startswith("rollouts.seed"))


def test_an_explained_error_is_one_paragraph_on_stderr_and_exit_code_1(tmp_path):
    (tmp_path / "reasonmill.toml").write_text("[rollouts]\ngroup_size = 0\n")
    done = run("config", "show", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "line 2: `rollouts.group_size` has the value 0" in done.stderr


def test_wrong_usage_is_exit_code_2(tmp_path):
    assert run("confg", cwd=tmp_path).returncode == 2


@pytest.mark.slow
def test_a_bad_night_is_explained(tmp_path):
    done = run("materialize", "--night", "2026-13-01", cwd=tmp_path)
    assert done.returncode == 1
    assert "2026-13-01" in done.stderr


def test_the_command_line_loads_nothing_heavy():
    code = (
        "import sys; import reasonmill.cli.main; "
        "print([m for m in ('torch', 'vllm', 'dagster', 'duckdb', 'pyarrow', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('[rollouts]\nrecipe = "putc"', "puct"),
        ('[rollouts]\nrecipe = "beam"\nparameters = { wdith = 3 }', "wdith"),
        ('[consistency]\nuse = ["porf"]\n[[consistency.methods]]\nname = "porf"', "did you mean prof?"),
    ],
)
def test_validate_finds_names_and_parameters_that_are_not_there(tmp_path, text, named):
    file = tmp_path / "reasonmill.toml"
    file.write_text(text)
    found = CliRunner().invoke(main.app, ["config", "validate", str(file)])
    assert found.exit_code != 0
    assert named in f"{found.output}{found.exception}"


def test_methods_are_listed_and_shown(tmp_path):
    runner = CliRunner(env={"COLUMNS": "200"})
    listed = runner.invoke(main.app, ["methods"])
    assert listed.exit_code == 0
    assert "2509.03403" in listed.output
    shown = runner.invoke(main.app, ["methods", "prof"]).output
    assert all(word in shown for word in ("num_removed", "step_values", "adds to every row: kept"))
    rows = json.loads(runner.invoke(main.app, ["methods", "prof", "--format", "json"]).output)
    assert (rows[0]["method"], rows[0]["arxiv"]) == ("prof", "2509.03403")
    told = runner.invoke(main.app, ["methods", "--html", str(tmp_path / "methods.html")])
    assert "methods are on the page" in told.output
    assert "<h1>Methods of Reasonmill" in (tmp_path / "methods.html").read_text()


def test_apply_tells_which_columns_every_method_reads_and_makes():
    help_text = CliRunner(env={"COLUMNS": "200"}).invoke(main.app, ["apply", "--help"]).output
    assert "reads problem_id, rollout_id, outcome_reward, step_values, group_id (optional)" in help_text
    assert "adds kept, reason, score" in help_text


def test_recipes_are_listed_with_paper_parameters_defaults_and_tier():
    listed = CliRunner(env={"COLUMNS": "160"}).invoke(main.app, ["recipes"])
    assert listed.exit_code == 0
    for part in ("diverse_verifier_tree_search", "arXiv 2406.03816", "beam_width = 5", "roll_weight = 0.5"):
        assert part in listed.output
    narrow = CliRunner(env={"COLUMNS": "80"}).invoke(main.app, ["recipes"]).output
    assert "diverse_verifier_tree_search" in narrow
    assert max(map(len, narrow.splitlines())) <= 80
    assert "parameters.num_branches = 2," in narrow  # a parameter is never torn apart
    assert 'parameters.trigger = "",' in narrow


def test_one_recipe_is_shown_with_all_that_is_said_of_it():
    shown = CliRunner(env={"COLUMNS": "80"}).invoke(main.app, ["recipes", "value_guided_decoding"]).output
    assert max(map(len, shown.splitlines())) <= 80
    words = " ".join(shown.split())
    for part in ("2212.10938", "One simulation decodes one path", "rollouts.parameters.eta 0.1", "experimental"):
        assert part in words
    listed = CliRunner().invoke(main.app, ["recipes", "beam", "--format", "json"])
    assert [row["recipe"] for row in json.loads(listed.output)] == ["beam"]


def test_a_recipe_that_there_is_not_is_refused_with_the_near_names():
    refused = CliRunner().invoke(main.app, ["recipes", "best_of_m"])
    assert refused.exit_code != 0
    assert "Did you mean best_of_n" in str(refused.exception)


def test_recipes_as_json_are_one_list_of_objects():
    listed = CliRunner().invoke(main.app, ["recipes", "--format", "json"])
    rows = {row["recipe"]: row for row in json.loads(listed.output)}
    assert rows["beam"]["parameters"]["beam_width"] == 4
    assert rows["beam"]["tier"] == "experimental"
    assert set(rows["puct"]) == {"recipe", "summary", "paper", "parameters", "own_parameters", "constants", "tier"}
    assert CliRunner().invoke(main.app, ["recipes", "--format", "xml"]).exit_code == 2


def test_progress_without_a_terminal_is_one_line_at_start_and_end(tmp_path):
    file = (tmp_path / "out.txt").open("w+")
    with live_progress(Console(file=file, width=100)) as on_progress:
        for done in (0, 1, 2, 3):
            on_progress("rollouts", done, 3, {"tokens_per_s": 1234.5})
    file.seek(0)
    lines = file.read().splitlines()
    assert [line.split()[1] for line in lines] == ["0/3", "3/3"]
    assert "1,234 tokens/s" in lines[0]


@pytest.mark.parametrize(
    ("strategy", "title"),
    [
        ("greedy", "greedy"),
        ("majority_8", "majority of 8"),
        ("best_of_16_critic", "best of 16 by critic"),
        ("weighted_majority_8_critic", "majority of 8 by critic"),
        ("rest_mcts_critic", "rest mcts with critic"),
        ("x", "x"),
    ],
)
def test_strategies_have_readable_names(strategy, title):
    assert strategy_title(strategy) == title


def test_the_table_of_strategies_shows_shares_and_tokens(tmp_path):
    rows = [{
        "strategy": "majority_8", "num_problems": 200, "accuracy": 0.62, "low": 0.55, "high": 0.69,
        "prompt_tokens": 20.0, "completion_tokens": 310.4, "critic_tokens": None, "night": "2026-01-01",
    }]  # fmt: skip
    file = (tmp_path / "out.txt").open("w+")
    Console(file=file, width=120).print(policy_table(json.loads(json.dumps(rows))))
    file.seek(0)
    text = file.read()
    assert [part for part in ("200 held-out", "majority of 8", "62.0%", "55.0-69.0", "310") if part not in text] == []
