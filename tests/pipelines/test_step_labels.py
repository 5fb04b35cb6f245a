import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import SourceError
from pipelines.step_labels.files import matched, read_labelled, read_scores
from pipelines.step_labels.layouts import LAYOUTS

SAMPLES = Path(__file__).parents[1] / "data"
ROW = {"id": "a", "steps": ["1+1=2", "2+1=4"], "label": 1}


@pytest.fixture
def write(tmp_path):
    def lines(*rows: dict | str, name: str = "data.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
        return path

    return lines


def brief(solutions):
    return [(one.id, len(one.steps), one.label, one.subset) for one in solutions]


def test_plain_rows_may_name_a_problem_and_a_subset(write):
    rows = [ROW, ROW | {"id": 7, "label": -1, "subset": "gsm8k", "problem": "1+1+1", "problem_id": "p"}]
    (first, second), left_out = read_labelled([write(*rows)])
    assert (first.id, first.steps, first.label, first.subset) == ("a", ("1+1=2", "2+1=4"), 1, None)
    assert (first.group, first.num_counted) == ("a", 2)
    assert (second.id, second.label, second.subset, second.group) == ("7", -1, "gsm8k", "p")
    assert not left_out


def test_processbench_is_read_as_published():
    found, left_out = read_labelled([SAMPLES / "processbench.jsonl"])
    assert brief(found) == [
        ("gsm8k-386", 5, -1, None), ("gsm8k-33", 5, 2, None), ("math-54", 2, 0, None), ("math-314", 4, 2, None),
    ]  # fmt: skip
    assert found[0].problem.startswith("Jimmy has $2 more")
    assert not left_out


def test_prmbench_gives_the_spoilt_solution_and_the_right_one_it_was_made_from():
    # error_steps [2, 3, 4] and [9, 16], from 1; the 16 does not exist, but the first one does
    found, _ = read_labelled([SAMPLES / "prmbench.jsonl"])
    assert brief(found) == [
        ("circular:prm_test_p1_49", 5, 1, "circular"),
        ("circular:prm_test_p1_49:original", 5, -1, "circular"),
        ("confidence:prm_test_p1_87", 11, 8, "confidence"),
        ("confidence:prm_test_p1_87:original", 16, -1, "confidence"),
    ]
    assert found[0].group == found[1].group == "Compute $99^2+99+1$ in your head."


def test_mr_gsm8k_counts_first_error_steps_from_one_and_leaves_out_what_names_no_step(tmp_path):
    def row(name: str, correctness: str, first: object) -> str:
        return json.dumps({
            "uuid": name, "question": "1+1?", "model_output_steps": ["Step 1: one", "Step 2: two"],
            "model_output_solution_correctness": correctness, "model_output_solution_first_error_step": first,
            "question_type": "reversed",
        })  # fmt: skip

    path = tmp_path / "solutions.jsonl"
    path.write_text("\n".join([row("a", "wrong", 2), row("b", "correct", "N/A"), row("c", "wrong", 3)]))
    found, left_out = read_labelled([path])
    assert [(one.id, one.label, one.subset, one.problem) for one in found] == [
        ("a", 1, "reversed", "1+1?"), ("b", -1, "reversed", "1+1?")
    ]  # fmt: skip
    assert left_out == {(str(path), "first_error_step_unknown"): 1}


def test_mr_ben_steps_reach_from_tag_to_tag_and_code_steps_are_lines():
    found, left_out = read_labelled([SAMPLES / "mr_ben.jsonl"])
    physics, maths, code = found
    assert [step.partition(":")[0] for step in physics.steps] == ["Step 1", "Step 2", "Step 3", "Step 4", "Solution"]
    assert physics.steps[2].endswith("Q = 0.01 C")
    assert (physics.label, physics.subset) == (-1, "high_school_physics")
    assert maths.steps[maths.label] == "Step 3: Plugging in t = 1, we get: \ndy/dt = 4 cos(1) + 12 cos(12) = 2.829"
    assert maths.problem.endswith("D: 12.287 ")
    assert code.steps[code.label].strip() == r"pattern = r'[-+]?[0-9]*\.?[0-9]+([eE][-+]?[0-9]+)?'"
    assert sum(left_out.values()) == 1  # the fourth names no first wrong line
    assert {reason for _, reason in left_out} == {"first_error_step_unknown"}


def test_bigbench_mistake_has_ids_from_its_lines():
    found, _ = read_labelled([SAMPLES / "bigbench_mistake.jsonl"])
    assert brief(found) == [
        ("bigbench_mistake:1", 4, -1, "bigbench_mistake"), ("bigbench_mistake:2", 4, 1, "bigbench_mistake"),
    ]  # fmt: skip


def test_our_own_stepwise_set_is_read_from_parquet(tmp_path):
    rows = [
        {"completions": ["1+1=3", "#### 3"], "labels": [False, False], "rollout_id": "r"},
        {"completions": ["1+1=2"], "labels": [True], "rollout_id": "s"},
    ]
    pq.write_table(
        pa.Table.from_pylist([row | {"prompt": "1+1", "problem_id": "p"} for row in rows]), tmp_path / "set.parquet"
    )
    found, _ = read_labelled([tmp_path / "set.parquet"])
    assert brief(found) == [("r", 2, 0, None), ("s", 1, -1, None)]
    assert (found[0].problem, found[0].problem_id) == ("1+1", "p")


def test_of_several_files_each_is_a_subset(write):
    first, second = write(ROW, name="gsm8k.jsonl"), write(ROW | {"id": "b", "subset": "own"}, name="math.jsonl")
    assert [one.subset for one in read_labelled([first, second])[0]] == ["gsm8k", "own"]


def test_a_gzipped_file_is_unpacked(tmp_path):
    with gzip.open(tmp_path / "data.jsonl.gz", "wt") as file:
        file.write(json.dumps(ROW) + "\n\n")
    assert brief(read_labelled([tmp_path / "data.jsonl.gz"])[0]) == [("a", 2, 1, None)]


def test_a_byte_order_mark_is_passed_over(write):
    assert brief(read_labelled([write("\ufeff" + json.dumps(ROW))])[0]) == [("a", 2, 1, None)]


def test_ids_that_a_benchmark_repeats_are_numbered():
    twice, _ = read_labelled([SAMPLES / "prmbench.jsonl", SAMPLES / "prmbench.jsonl"])
    assert [one.id for one in twice[4:6]] == ["circular:prm_test_p1_49#2", "circular:prm_test_p1_49:original#2"]


@pytest.mark.parametrize("samples", ["processbench", "prmbench", "mr_ben", "bigbench_mistake"])
def test_a_named_layout_reads_what_is_recognised(samples):
    path = SAMPLES / f"{samples}.jsonl"
    assert read_labelled([path], samples.replace("_", "-"))[0] == read_labelled([path])[0]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "holds no labelled solution"),
        (["", "  "], "holds no labelled solution"),
        (["{"], 'line 1: the line is "{", but must be one JSON object in UTF-8'),
        ([ROW, "[1]"], r"line 2: the line is \[1\], but must be a JSON object"),
        ([{"id": "a", "label": 0}], "line 1: the field `steps` is missing; there are id, label"),
        ([{"id": "a", "steps": ["x"]}], "line 1: the field `label` is missing"),
        ([{"steps": ["x"], "label": 0}], "line 1: the field `id` is missing"),
        ([ROW, {"id": "b", "steps": ["x"]}], "line 2: the field `label` is missing"),
        ([{"text": "x"}], r"line 1: no known layout has the fields text. Known layouts, by their fields: plain \(id,"),
        ([ROW | {"label": 2}], r"`label` is 2, but must be -1 \(no wrong step\) or the index of one of the 2 steps"),
        ([ROW | {"label": -2}], "`label` is -2"),
        ([ROW | {"label": None}], "`label` is null, but must be an integer"),
        ([ROW | {"label": True}], "`label` is true, but must be an integer"),
        ([ROW | {"label": 0.5}], "`label` is 0.5, but must be an integer"),
        ([ROW | {"steps": []}], r"`steps` is \[\], but must be a list of at least one step"),
        ([ROW | {"steps": "1+1"}], '`steps` is "1\\+1", but must be a list'),
        ([ROW | {"steps": ["x", 3]}], r"`steps\[1\]` is 3, but must be text"),
        ([ROW | {"id": None}], "`id` is null, but must be text or an integer"),
        ([ROW | {"id": ""}], '`id` is "", but must be text'),
        ([ROW | {"subset": 3}], "`subset` is 3, but must be text"),
        ([ROW, ROW], "line 2: the id 'a' is there already, in .*data.jsonl, line 1"),
        ([ROW | {"id": 7}, ROW | {"id": "7"}], "line 2: the id '7' is there already"),
        ([{"input": "1", "steps": ["x"], "mistake_index": 1}], "`mistake_index` is 1, but must be null or the index"),
        (
            [{"prompt": "1", "completions": ["x"], "labels": []}],
            r"`labels` is \[\], but must be true or false for each",
        ),
    ],
)
def test_bad_labels_are_explained_with_file_line_and_value(write, rows, message):
    path = write(*rows)
    with pytest.raises(SourceError, match=message) as caught:
        read_labelled([path])
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "holds no scores; each line must be an object with `id` and `scores`"),
        (['{"id": "a", "scores": [0.5]'], "line 1: the line is .*must be one JSON object"),
        ([{"id": "a"}], "line 1: the field `scores` is missing; there are id"),
        ([{"scores": [1]}], "line 1: the field `id` is missing"),
        ([{"id": "a", "scores": [0.5, 1.5]}], r"line 1: `scores\[1\]` is 1.5, but must be a number from 0 to 1"),
        ([{"id": "a", "scores": [-0.1]}], r"`scores\[0\]` is -0.1"),
        (['{"id": "a", "scores": [NaN]}'], r"`scores\[0\]` is NaN, but must be a number from 0 to 1"),
        (['{"id": "a", "scores": [Infinity]}'], r"`scores\[0\]` is Infinity"),
        ([{"id": "a", "scores": ["0.5"]}], r'`scores\[0\]` is "0.5", but must be a number'),
        ([{"id": "a", "scores": [True]}], r"`scores\[0\]` is true, but must be a number"),
        ([{"id": "a", "scores": [None]}], r"`scores\[0\]` is null"),
        ([{"id": "a", "scores": 0.5}], "`scores` is 0.5, but must be a list"),
        ([{"id": "a", "scores": [0]}] * 2, "line 2: the id 'a' is there already"),
    ],
)
def test_bad_scores_are_explained_with_file_line_and_value(write, rows, message):
    path = write(*rows, name="scores.jsonl")
    with pytest.raises(SourceError, match=message) as caught:
        read_scores(path)
    assert str(path) in str(caught.value)


def test_both_files_must_have_the_same_ids_and_numbers_of_steps(write):
    solutions, _ = read_labelled([write(ROW, ROW | {"id": "b"})])

    def match(*rows: dict) -> list:
        path = write(*rows, name="scores.jsonl")
        return matched(solutions, read_scores(path), path)

    a, b = {"id": "a", "scores": [0.9, 0]}, {"id": "b", "scores": [1, 0.5]}
    assert match(b, a) == [(0.9, 0.0), (1.0, 0.5)]
    with pytest.raises(SourceError, match="data.jsonl, line 2: the id 'b' has no scores among the 1 of .*scores.jsonl"):
        match(a)
    with pytest.raises(SourceError, match=r"scores.jsonl, line 3: the id 'c' is not among the 2 .* such as 'a', 'b'"):
        match(a, b, {"id": "c", "scores": []})
    with pytest.raises(SourceError, match=r"line 1: `scores` of 'a' has 1 numbers, but its `steps` in .* are 2"):
        match({"id": "a", "scores": [0.9]}, b)


def test_a_file_that_is_not_there_or_no_gzip_is_named(write, tmp_path):
    with pytest.raises(SourceError, match="nowhere.jsonl cannot be read: No such file or directory"):
        read_labelled([tmp_path / "nowhere.jsonl"])
    with pytest.raises(SourceError, match="cannot be read: Is a directory"):
        read_scores(tmp_path)
    with pytest.raises(
        SourceError, match=r"data.jsonl.gz ends in .gz but is not packed with gzip \(Not a gzipped file"
    ):
        read_labelled([write(ROW, name="data.jsonl.gz")])
    with pytest.raises(SourceError, match="data.parquet cannot be read as Parquet"):
        read_labelled([write(ROW, name="data.parquet")])


def test_a_layout_with_a_wrong_name_gets_near_names():
    with pytest.raises(SourceError, match=r"no layout 'procesbench'; did you mean processbench or prmbench\?"):
        read_labelled([SAMPLES / "processbench.jsonl"], "procesbench")
    assert set(LAYOUTS) == {"plain", "stepwise", "processbench", "prmbench", "mr-ben", "mr-gsm8k", "bigbench-mistake"}


def test_a_truncated_gzip_is_named(tmp_path):
    packed = gzip.compress((json.dumps(ROW) + "\n").encode() * 500)
    (tmp_path / "data.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(SourceError, match="data.jsonl.gz"):
        read_scores(tmp_path / "data.jsonl.gz")
