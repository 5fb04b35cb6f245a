import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.config import FileSource, MadeSource, PluginSource, ProblemsConfig, Settings, StarterSource
from pipelines.errors import SourceError, WorkspaceError
from pipelines.problems import load_problems
from pipelines.rows import rows_to_table
from pipelines.tables import SCHEMAS


def settings_for(folder, *sources, held_out_fraction=0.2):
    return Settings(root=folder, problems=ProblemsConfig(sources=sources, held_out_fraction=held_out_fraction))


def jsonl(folder, *rows, name="mine.jsonl"):
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    (folder / name).write_bytes(b"\n".join(lines) + b"\n")
    return FileSource(kind="jsonl", path=name)


def error_of(folder, *sources):
    with pytest.raises(SourceError) as caught:
        load_problems(settings_for(folder, *sources))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_starter_problems_come_with_the_frozen_evaluation_problems(tmp_path):
    table = load_problems(settings_for(tmp_path, StarterSource(family="arithmetic", count=20)))
    assert table.schema == SCHEMAS["problems"]
    rows = table.to_pylist()
    evaluation = [row for row in rows if row["is_evaluation"]]
    assert len(evaluation) == 1200
    assert {row["split"] for row in evaluation} == {"held_out"}
    assert len({row["problem_id"] for row in rows}) == len(rows)
    assert load_problems(settings_for(tmp_path, StarterSource(family="arithmetic", count=20))) == table


def test_what_the_generator_refuses_is_explained(tmp_path):
    beyond = StarterSource.model_construct(kind="starter", family="countdown", level=9, count=1, dial_choices=4)
    explained = error_of(tmp_path, beyond)
    assert "countdown of level 9" in explained
    assert "[[problems.sources]]" in explained


def test_gsm8k_works_as_it_is(data_dir):
    table = load_problems(settings_for(data_dir, FileSource(kind="jsonl", path="gsm8k_8.jsonl")))
    assert table["reference_answer"].to_pylist() == ["72", "10", "5", "42", "624", "35", "48", "16"]
    assert table["prompt"][0].as_py().startswith("Natalia sold clips to 48 of her friends")
    assert set(table["family"].to_pylist()) == {"gsm8k_8"}
    assert table["source_line"].to_pylist() == [1, 2, 3, 4, 5, 6, 7, 8]


def test_ids_and_split_depend_on_the_content_and_not_on_order_or_repetition(tmp_path):
    rows = [{"question": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(40)]
    there = load_problems(settings_for(tmp_path, jsonl(tmp_path, *rows))).to_pylist()
    back = load_problems(settings_for(tmp_path, jsonl(tmp_path, *reversed(rows), rows[0]))).to_pylist()
    assert len(back) == 40
    key = lambda row: (row["problem_id"], row["split"], row["prompt"])
    assert sorted(map(key, there)) == sorted(map(key, back))
    assert {row["split"] for row in there} == {"train", "held_out"}


def test_case_and_spacing_do_not_change_the_split(tmp_path):
    source = jsonl(tmp_path, {"question": "What is  1 + 1?", "answer": 2}, {"question": "what IS 1 + 1?", "answer": 2})
    first, second = load_problems(settings_for(tmp_path, source, held_out_fraction=0.5)).to_pylist()
    assert first["problem_id"] != second["problem_id"]
    assert first["split"] == second["split"]


def test_held_out_problems_of_own_sources_become_the_evaluation_problems(tmp_path):
    rows = [{"question": f"q{n}", "answer": n} for n in range(30)]
    table = load_problems(settings_for(tmp_path, jsonl(tmp_path, *rows), held_out_fraction=0.5)).to_pylist()
    assert all(row["is_evaluation"] == (row["split"] == "held_out") for row in table)


def test_gz_and_parquet_give_the_same_problems_as_plain_lines(tmp_path):
    rows = [{"question": "2 + 2?", "answer": "so #### 4"}, {"question": "3 + 3?", "answer": "6"}]
    plain = load_problems(settings_for(tmp_path, jsonl(tmp_path, *rows)))
    (tmp_path / "mine.jsonl.gz").write_bytes(gzip.compress((tmp_path / "mine.jsonl").read_bytes()))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "mine.parquet")
    for kind, path in (("jsonl", "mine.jsonl.gz"), ("parquet", "mine.parquet")):
        other = load_problems(settings_for(tmp_path, FileSource(kind=kind, path=path)))
        assert other.drop_columns(["source"]) == plain.drop_columns(["source"])


GOOD = {"question": "1 + 1?", "answer": "2"}


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        (b'{"question": "x", ', ("line 2", "not JSON", '\'{"question": "x",')),
        (b"[1, 2]", ("line 2", "JSON object", "list")),
        (b'{"question": "x"}', ("line 2", "`answer` is missing", "the row has question")),
        (b'{"question": "  ", "answer": "1"}', ("line 2", "`question` is empty")),
        (b'{"question": 5, "answer": "1"}', ("line 2", "`question` must be text", "a number")),
        (b'{"question": "x", "answer": null}', ("line 2", "`answer` must be text", "null")),
        (b'{"question": "x", "answer": true}', ("`answer` must be text", "true or false")),
        (b'{"question": "x", "answer": "because ####"}', ("line 2", "nothing after `####`")),
        (b'{"question": "x", "answer": "seven"}', ("line 2", "'seven' is not a number", "exact or math")),
        (b'{"question": "a\\u0000b", "answer": "1"}', ("line 2", "U+0000", "position 1")),
        (b'{"question": "\\ud800", "answer": "1"}', ("line 2", "U+D800")),
        (b'{"question": "\xff", "answer": "1"}', ("line 2", "byte 15", "0xff", "UTF-8")),
        (b'{"question": "x", "answer": ' + b"9" * 5000 + b"}", ("line 2",)),
        (b"[" * 100_000, ("line 2", "nested")),
    ],
)
def test_a_bad_line_is_named_with_its_number_and_what_is_wrong(tmp_path, line, parts):
    explained = error_of(tmp_path, jsonl(tmp_path, GOOD, line, GOOD))
    assert [part for part in parts if part not in explained] == []
    assert "mine.jsonl" in explained


def test_an_integer_beyond_64_bits_is_refused(tmp_path):
    jsonl(tmp_path, {**GOOD, "level": 2**63})
    source = FileSource(kind="jsonl", path="mine.jsonl", difficulty_field="level")
    assert "64 bits" in error_of(tmp_path, source)


def test_one_id_with_two_texts_names_both_lines(tmp_path):
    rows = [{"id": "a", "question": "1 + 1?", "answer": "2"}, {"id": "a", "question": "1 + 2?", "answer": "3"}]
    jsonl(tmp_path, *rows)
    explained = error_of(tmp_path, FileSource(kind="jsonl", path="mine.jsonl", id_field="id"))
    assert "line 1 has prompt '1 + 1?'" in explained
    assert "line 2 has '1 + 2?'" in explained


def test_one_text_with_two_answers_is_a_contradiction(tmp_path):
    explained = error_of(tmp_path, jsonl(tmp_path, GOOD, {**GOOD, "answer": "3"}))
    assert "line 1 has reference_answer '2'" in explained
    assert "line 2 has '3'" in explained


def test_missing_empty_and_damaged_files_are_explained(tmp_path):
    assert "is not there" in error_of(tmp_path, FileSource(kind="jsonl", path="absent.jsonl"))
    assert "is not there" in error_of(tmp_path, FileSource(kind="parquet", path="absent.parquet"))
    (tmp_path / "empty.jsonl").write_text("\n\n")
    assert "holds no problems" in error_of(tmp_path, FileSource(kind="jsonl", path="empty.jsonl"))
    (tmp_path / "folder.jsonl").mkdir()
    assert "cannot be read" in error_of(tmp_path, FileSource(kind="jsonl", path="folder.jsonl"))
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(json.dumps(GOOD).encode() * 1000)[:-20])
    assert "cut.jsonl.gz" in error_of(tmp_path, FileSource(kind="jsonl", path="cut.jsonl.gz"))
    (tmp_path / "text.parquet").write_text("hello")
    assert "cannot be read as Parquet" in error_of(tmp_path, FileSource(kind="parquet", path="text.parquet"))
    pq.write_table(pa.table({"q": ["x"]}), tmp_path / "columns.parquet")
    assert "no column `question`; it has q" in error_of(tmp_path, FileSource(kind="parquet", path="columns.parquet"))


def test_an_unknown_grader_is_refused_before_the_file_is_read(tmp_path):
    explained = error_of(tmp_path, FileSource(kind="jsonl", path="absent.jsonl", grader="nmber"))
    assert "`nmber`" in explained
    assert "number" in explained


def test_a_function_of_the_user_is_a_source(tmp_path):
    (tmp_path / "my_source.py").write_text(
        "def problems():\n    for n in range(3):\n        yield {'prompt': f'{n}+1', 'reference_answer': n + 1}\n"
        "def broken():\n    yield {'prompt': 'x', 'reference_answer': 1 / 0}\n"
    )
    source = PluginSource(kind="plugin", name="sums", path="my_source.py:problems")
    table = load_problems(settings_for(tmp_path, source))
    assert table["prompt"].to_pylist() == ["0+1", "1+1", "2+1"]
    assert table["reference_answer"].to_pylist() == ["1", "2", "3"]
    with pytest.raises(WorkspaceError, match=r"my_source.py, line 5: ZeroDivisionError"):
        load_problems(settings_for(tmp_path, PluginSource(kind="plugin", name="b", path="my_source.py:broken")))
    with pytest.raises(WorkspaceError, match="has no `absent`; it has problems, broken"):
        load_problems(settings_for(tmp_path, PluginSource(kind="plugin", name="b", path="my_source.py:absent")))


# problems that the policy posed ---------------------------------------------------------------------------------------


def made(*rows):
    base = {"family": "arithmetic", "difficulty": 2, "grader": "number", "kept": True, "method": "tt_si",
            "night": "2026-01-01"}  # fmt: skip
    full = [
        base | {"candidate_id": str(index), "problem_id": f"m{index}", "prompt": row["canonical"],
                "reference_answer": "1"} | row
        for index, row in enumerate(rows)
    ]  # fmt: skip
    return rows_to_table("new_problems", full)


def made_rows(tmp_path, table, *sources):
    settings = settings_for(tmp_path, *(sources or (StarterSource(count=5), MadeSource(kind="new_problems"))))
    rows = load_problems(settings, table).to_pylist()
    return [row for row in rows if row["source"].startswith("new_problems")]


def test_kept_new_problems_become_training_problems_that_name_their_night(tmp_path):
    table = made({"canonical": "12+5-3"}, {"canonical": "12+5-4", "kept": False, "reason": "repeated"})
    (row,) = made_rows(tmp_path, table)
    assert row == {
        "problem_id": "m0", "family": "arithmetic", "difficulty": 2, "prompt": "12+5-3", "reference_answer": "1",
        "split": "train", "canonical": "12+5-3", "grader": "number", "is_evaluation": False,
        "source": "new_problems/2026-01-01", "source_line": None,
    }  # fmt: skip
    assert made_rows(tmp_path, table, StarterSource(count=5)) == []  # no source of the kind
    assert load_problems(settings_for(tmp_path, StarterSource(count=5), MadeSource(kind="new_problems"))).num_rows


def test_of_new_problems_the_oldest_counts_and_none_that_another_problem_stands_for(tmp_path):
    settings = settings_for(tmp_path, StarterSource(count=5))
    first = load_problems(settings).to_pylist()
    trained, frozen = first[0], next(row for row in first if row["is_evaluation"] and row["family"] == "arithmetic")
    table = made(
        {"canonical": "12+5-3", "night": "2026-01-02"},
        {"canonical": "12+5-3", "night": "2026-01-01", "problem_id": "older"},
        {"canonical": trained["canonical"]},
        {"canonical": frozen["canonical"]},
        {"canonical": frozen["canonical"], "family": "dial"},
    )
    assert [row["problem_id"] for row in made_rows(tmp_path, table)] == ["older"]


def test_a_source_of_new_problems_may_take_one_method_alone_and_cannot_stand_alone(tmp_path):
    table = made({"canonical": "12+5-3"}, {"canonical": "12+5-4", "method": "imagination"})
    source = MadeSource(kind="new_problems", methods=("imagination",))
    assert [row["problem_id"] for row in made_rows(tmp_path, table, StarterSource(count=5), source)] == ["m1"]
    with pytest.raises(ValueError, match="nothing to begin with"):
        settings_for(tmp_path, source)
