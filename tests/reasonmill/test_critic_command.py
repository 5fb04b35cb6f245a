import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from pipelines.errors import ReasonmillError
from reasonmill.cli.critic import critic_app
from tests.critics.conftest import build_language_model
from tests.critics.test_score import save_fold_critic

REPOSITORY = Path(__file__).parents[2]
DATA = [
    {"id": "a", "steps": ["1+1=2", "2+1=4"], "label": 1, "subset": "gsm8k"},
    {"id": "b", "steps": ["2+2=4"], "label": -1, "subset": "gsm8k"},
    {"id": "c", "steps": ["2*2=5", "5+1=6"], "label": 0, "subset": "math"},
]
SCORES = [{"id": "a", "scores": [0.9, 0.2]}, {"id": "b", "scores": [0.8]}, {"id": "c", "scores": [0.7, 0.1]}]


@pytest.fixture
def files(tmp_path):
    """A data file and a file of scores."""
    data, scores = tmp_path / "data.jsonl.gz", tmp_path / "scores.jsonl"
    with gzip.open(data, "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in DATA)
    scores.write_text("".join(json.dumps(row) + "\n" for row in SCORES))
    return data, scores


def run(*args: object):
    app = typer.Typer()
    app.add_typer(critic_app, name="critic")
    return CliRunner().invoke(app, ["critic", *map(str, args)])


def test_json_is_one_object_and_nothing_else_on_standard_output(files):
    data, scores = files
    result = run("evaluate", "--scores", scores, "--data", data, "--format", "json")
    assert result.exit_code == 0
    # gsm8k is separated by (.2, .8]; at .5 a is found, b accepted, c (.7) is called wrong a step late
    assert json.loads(result.stdout) == {
        "f1": pytest.approx(2 / 3), "acc_error": 0.5, "acc_correct": 1.0,
        "threshold": pytest.approx(0.5), "threshold_source": "gsm8k",
        "step_auroc": 1.0,  # right .9, .8 above wrong .2, .7
        "ece": pytest.approx((0.1 + 0.2 + 0.2 + 0.7) / 4),
        "brier": pytest.approx((0.01 + 0.04 + 0.04 + 0.49) / 4),
        "num_items": 3,
    }  # fmt: skip
    assert result.stdout.count("\n") == 1


def test_a_given_threshold_is_taken(files):
    data, scores = files
    result = run("evaluate", "--scores", scores, "--data", data, "--format", "json", "--threshold", 0.75)
    found = json.loads(result.stdout)
    assert (found["f1"], found["threshold"], found["threshold_source"]) == (1.0, 0.75, "fixed")


def test_the_table_shows_every_subset_and_how_the_threshold_came(files):
    data, scores = files
    text = run("evaluate", "--scores", scores, "--data", data).stdout
    assert "Threshold 0.5, tuned on the items of subset gsm8k." in text
    assert [line.split()[0] for line in text.splitlines()[:4]] == ["first", "gsm8k", "math", "all"]
    assert max(map(len, text.splitlines())) <= 120


def test_one_class_gives_nulls_and_says_so(files, tmp_path):
    _, scores = files
    (tmp_path / "right.jsonl").write_text(json.dumps(DATA[1]) + "\n")
    (tmp_path / "one.jsonl").write_text(json.dumps(SCORES[1]) + "\n")
    result = run("evaluate", "--scores", tmp_path / "one.jsonl", "--data", tmp_path / "right.jsonl", "--format", "json")
    found = json.loads(result.stdout)
    assert [found[key] for key in ("f1", "acc_error", "acc_correct", "step_auroc")] == [None, None, 1.0, None]
    assert "a class is absent; 0.5 was taken" in result.stderr


def test_solutions_are_printed_for_judges_elsewhere_and_read_back(files):
    data, _ = files
    assert [json.loads(line) for line in run("solutions", "--data", data).stdout.splitlines()] == DATA


def test_a_trained_critic_scores_the_steps_itself(tmp_path, monkeypatch):
    model = build_language_model(tmp_path / "model")
    scorer = save_fold_critic(model, tmp_path / "critic", 0, seen=frozenset({"seen"}))
    rows = [row | {"problem": "1+2", "problem_id": row["id"]} for row in DATA]
    rows.append(rows[0] | {"id": "d", "problem_id": "seen"})
    data, scores = tmp_path / "data.jsonl", tmp_path / "scores.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "reasonmill.toml").write_text('[policy]\nprompt_style = "starter"\n')
    monkeypatch.setenv("REASONMILL_CONFIG", str(tmp_path / "reasonmill.toml"))
    result = run("evaluate", tmp_path / "critic", "--data", data, "--format", "json")
    assert "1 left out, problem_seen_in_training" in result.stderr
    own = scorer.score(["<verify>1+2\n"] * 3, [row["steps"] for row in DATA])
    scores.write_text("".join(json.dumps({"id": r["id"], "scores": s}) + "\n" for r, s in zip(DATA, own, strict=True)))
    data.write_text("".join(json.dumps(row) + "\n" for row in rows[:3]))
    assert json.loads(result.stdout) == json.loads(
        run("evaluate", "--scores", scores, "--data", data, "--format", "json").stdout
    )


def test_readme_shows_what_the_command_prints(tmp_path):
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    found = re.search(
        r"```console\n\$ cat solutions.jsonl\n(.*?)\$ cat scores.jsonl\n(.*?)\$ reasonmill (critic [^\n]*)\n(.*?)```",
        readme, re.DOTALL,
    )  # fmt: skip
    data, scores, command, printed = found.groups()
    (tmp_path / "solutions.jsonl").write_text(data)
    (tmp_path / "scores.jsonl").write_text(scores)
    _, *args = [str(tmp_path / word) if word.endswith(".jsonl") else word for word in command.split()]
    shown, real = json.loads(printed), json.loads(run(*args).stdout)
    assert shown == pytest.approx(real)


def test_figures_are_written(files, tmp_path):
    data, scores = files
    result = run("evaluate", "--scores", scores, "--data", data, "--figures", tmp_path / "figures", "--format", "json")
    assert json.loads(result.stdout)["num_items"] == 3
    written = {path.name: path.read_bytes()[:8] for path in (tmp_path / "figures").iterdir()}
    assert written == dict.fromkeys(["reliability.png", "roc.png", "value_by_depth.png"], b"\x89PNG\r\n\x1a\n")
    error = run("evaluate", "--scores", scores, "--data", data, "--figures", data).exception
    assert "Figures cannot be written to" in str(error)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--data", "{data}"], "Give either a critic's folder"),
        (["nowhere", "--scores", "{scores}", "--data", "{data}"], "Give either a critic's folder"),
        (["nowhere", "--data", "{data}"], "nowhere holds no critic"),
        (["--scores", "{scores}", "--data", "{data}", "--threshold", "1.5"], "The threshold is 1.5, but must be from"),
        (["--scores", "{scores}", "--data", "{data}", "--threshold", "nan"], "The threshold is nan"),
        (["--scores", "{scores}", "--data", "{data}", "--layout", "mrben"], "did you mean mr-ben"),
        (["--scores", "{scores}", "--data", "none.jsonl"], "none.jsonl cannot be read: No such file"),
        (["--scores", "none.jsonl", "--data", "{data}"], "none.jsonl cannot be read: No such file"),
    ],
)
def test_wrong_use_is_one_explained_paragraph(files, args, message):
    data, scores = files
    result = run("evaluate", *(arg.format(data=data, scores=scores) for arg in args))
    assert isinstance(result.exception, ReasonmillError)
    assert message in str(result.exception)
    assert result.stdout == ""


def test_the_command_ends_with_code_1_and_imports_no_torch(files, tmp_path):
    data, scores = files
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    code = (
        "import sys; from reasonmill.cli.main import main\n"
        "try: main()\n"
        "finally: print(sorted({'torch', 'matplotlib', 'dagster'} & set(sys.modules)), file=sys.stderr)"
    )
    args = [sys.executable, "-c", code, "critic", "evaluate", "--data", str(data), "--format", "json", "--scores"]
    good = subprocess.run([*args, str(scores)], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert (good.returncode, good.stderr) == (0, "[]\n")
    assert json.loads(good.stdout)["num_items"] == 3
    scores.write_text(scores.read_text().replace("0.7", "7"))
    bad = subprocess.run([*args, str(scores)], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert (bad.returncode, bad.stdout) == (1, "")
    assert "line 3: `scores[0]` is 7, but must be a number from 0 to 1.\n" in bad.stderr


def test_corrections_elsewhere_are_printed_out_and_judged(tmp_path):
    rows = [
        {"idx": 0, "question": "1+1", "reasoning": "3", "gt": "2", "previous_score": [False]},
        {"idx": 1, "question": "1+2", "reasoning": "3", "gt": "3", "previous_score": [True]},
    ]
    data, answers = tmp_path / "math.jsonl", tmp_path / "answers.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    printed = run("candidates", "--data", data)
    assert [json.loads(line) for line in printed.stdout.splitlines()] == [
        {"id": "math:0", "problem": "1+1", "solution": "3", "subset": "math"},
        {"id": "math:1", "problem": "1+2", "solution": "3", "subset": "math"},
    ]
    answers.write_text('{"id": "math:0", "answer": "2", "verdict": "wrong"}\n{"id": "math:1", "answer": null}\n')
    found = json.loads(run("corrections", "--data", data, "--answers", answers, "--format", "json").stdout)
    assert (found["all"]["wrong_to_right"], found["all"]["right_to_right"], found["math"]["verdict_accuracy"]) == (
        1,
        0,
        1,
    )
    table = run("corrections", "--data", data, "--answers", answers).stdout.splitlines()
    assert table[0].split()[:3] == ["solutions", "accuracy_before", "accuracy"]
    assert table[-1].split() == ["all", "2", "0.500", "0.500", "1.000", "0.000", "1.000", "1", "0"]
