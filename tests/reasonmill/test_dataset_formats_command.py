"""`reasonmill datasets formats | export | mix` over a workspace with one published version."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from pipelines.config import load_settings
from pipelines.errors import FormatError
from pipelines.lake import Lake, rows_to_table
from pipelines.publishing import publish
from reasonmill.cli import main

README = Path(__file__).parents[2] / "README.md"
NIGHT = "2026-11-03"
PROBLEMS = {"p": 1, "q": 1, "r": 2, "s": 2}  # difficulty by problem


@pytest.fixture
def version(tmp_path, monkeypatch):
    (tmp_path / "reasonmill.toml").write_text('[paths]\nlake = "lake"\ndatasets = "datasets"\n')
    monkeypatch.setenv("REASONMILL_CONFIG", str(tmp_path / "reasonmill.toml"))
    settings = load_settings()
    lake = Lake(settings.lake_url)
    rows = {
        "sft": [{"prompt": f"ask {name}", "completion": f"say {name}", "problem_id": name} for name in PROBLEMS],
        "prompts": [
            {"prompt": f"ask {name}", "reference_answer": name, "problem_id": name, "difficulty": difficulty}
            for name, difficulty in PROBLEMS.items()
        ],
    }
    for name, of_table in rows.items():
        lake.write(name, rows_to_table(name, [row | {"night": NIGHT} for row in of_table]), partition=NIGHT)
    return publish(settings, lake, NIGHT, tuple(rows))


def run(*arguments: str) -> str:
    done = CliRunner(env={"COLUMNS": "200"}).invoke(main.app, ["datasets", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def prompts(path) -> list[str]:
    return pq.read_table(path)["prompt"].to_pylist()


def test_formats_are_listed_with_their_columns_and_what_validates_them():
    rows = {row["format"]: row for row in json.loads(run("formats", "--format", "json"))}
    assert rows["trl_sft"]["reads"] == ["sft"]
    assert list(rows["trl_sft"]["columns"]) == ["prompt", "completion", "problem_id", "rollout_id"]
    assert "column contract" in rows["stepwise"]["validated_by"]
    assert "trl_grpo" in run("formats")
    assert "labels: list<item: bool>" in run("formats", "stepwise")


def test_a_version_is_exported_by_its_name_its_version_or_its_folder(version, tmp_path):
    name = version.manifest["name"]
    for number, dataset in enumerate([name, f"{name}@{version.version}", str(version.path)]):
        path = tmp_path / f"{number}.parquet"
        assert run("export", dataset, "--format", "trl_sft", "--to", str(path)) == f"train: 4 rows in {path}\n"
        assert prompts(path) == ["ask p", "ask q", "ask r", "ask s"]


def test_splits_become_files_of_a_folder(version, tmp_path):
    run("export", version.manifest["name"], "--format", "trl_sft", "--to", str(tmp_path / "out"),
        "--split", "train=0.5", "--split", "test=0.5")  # fmt: skip
    parts = {path.stem: prompts(path) for path in (tmp_path / "out").iterdir()}
    assert sorted(sum(parts.values(), [])) == ["ask p", "ask q", "ask r", "ask s"]


def test_files_that_are_there_are_not_written_over_without_force(version, tmp_path):
    name, path, folder = version.manifest["name"], tmp_path / "rows.parquet", tmp_path / "out"
    folder.mkdir()
    for file in (path, folder / "test.parquet"):
        file.write_text("mine")
    splits = ("--split", "train=0.5", "--split", "test=0.5")
    for arguments in (("export", name, "--to", str(path)), ("export", name, "--to", str(folder), *splits),
                      ("mix", f"{name}=1", "--to", str(path))):  # fmt: skip
        with pytest.raises(FormatError, match="is there already, and nothing was written; .*--force"):
            run(*arguments, "--format", "trl_sft")
    assert path.read_text() == "mine" and [one.name for one in folder.iterdir()] == ["test.parquet"]
    assert "4 rows" in run("export", name, "--to", str(path), "--format", "trl_sft", "--force")


def test_the_exports_that_readme_shows_run(version, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [line for line in README.read_text(encoding="utf-8").splitlines() if "reasonmill datasets export" in line]
    assert lines
    for line in lines:
        said = run(*shlex.split(line, comments=True)[2:])
        assert re.findall(r"(\d+) rows in (\S+)", said) and "rl/" in said


def test_a_mixture_by_difficulty_says_what_ran_out(version, tmp_path):
    name, path = version.manifest["name"], tmp_path / "mixed.parquet"
    said = run("mix", f"{name}=1", "--format", "trl_sft", "--difficulty", "1=2", "--difficulty", "2=1",
               "--to", str(path))  # fmt: skip
    # turns 1, 2, 1, and then difficulty 1, which has no third row
    assert {prompt[-1] for prompt in prompts(path)[::2]} == {"p", "q"}
    assert said.splitlines() == [
        f"3 rows in {path}",
        f"  {version.version}/difficulty 1: 2, all of them, after row 3",
        f"  {version.version}/difficulty 2: 1 of 2",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("export", "reasoning", "--format", "trl_stf", "--to", "x.parquet"), "did you mean trl_sft"),
        (("export", "reasoning", "--format", "trl_sft", "--to", "x", "--split", "train"), "'train' is not --split"),
        (
            ("export", "reasoning", "--format", "trl_sft", "--to", "x", "--split", "a=0.5", "--split", "a=0.5"),
            "--split names a split twice: a, a",
        ),
        (("mix", "reasoning", "--format", "trl_sft", "--to", "x.parquet"), "'reasoning' is not NAME=WEIGHT"),
        (("mix", "reasoning=1", "--format", "trl_sft", "--to", "x", "--difficulty", "hard=1"), "'hard' is no diff"),
    ],
)
def test_what_cannot_be_read_is_explained(version, arguments, message):
    assert version.manifest["name"] == "reasoning"
    with pytest.raises(FormatError, match=message):
        CliRunner().invoke(main.app, ["datasets", *arguments], catch_exceptions=False)


@pytest.mark.slow
def test_messages_by_a_models_chat_template_make_the_published_prompts_again(tmp_path, monkeypatch):
    from transformers import AutoTokenizer

    from pipelines.inference.tokens import Tokenizer

    starter = Path(__file__).parents[2] / "pipelines" / "starter" / "weights"
    model = tmp_path / "model"
    shutil.copytree(starter, model)
    tokenizer = AutoTokenizer.from_pretrained(starter)
    tokenizer.chat_template = (
        "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] | trim }}\n{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    tokenizer.save_pretrained(model)
    render = Tokenizer.load(model).chat_text
    asked = [render([{"role": "user", "content": text}]) for text in ("1+2", "3*4")]
    assert asked[0] == "<user>1+2\n<assistant>"

    (tmp_path / "reasonmill.toml").write_text('[policy]\nprompt_style = "chat"\nmodel = "model"\n')
    monkeypatch.setenv("REASONMILL_CONFIG", str(tmp_path / "reasonmill.toml"))
    settings = load_settings()
    rows = [{"prompt": text, "completion": "say", "problem_id": str(number), "night": NIGHT}
            for number, text in enumerate(asked)]  # fmt: skip
    lake = Lake(settings.lake_url)
    lake.write("sft", rows_to_table("sft", rows), partition=NIGHT)
    publish(settings, lake, NIGHT, ("sft",))
    run("export", "reasoning", "--format", "messages", "--to", str(tmp_path / "rows.parquet"), "--model", str(model))
    messages = [row[0] for row in pq.read_table(tmp_path / "rows.parquet")["messages"].to_pylist()]
    assert messages == [{"role": "user", "content": "1+2"}, {"role": "user", "content": "3*4"}]
    assert [render([message]) for message in messages] == asked

    run("export", "reasoning", "--format", "messages", "--to", str(tmp_path / "plain.parquet"), "--plain")
    plain = [row[0]["content"] for row in pq.read_table(tmp_path / "plain.parquet")["messages"].to_pylist()]
    assert plain == asked
