import json
from pathlib import Path

import pytest

from pipelines.corrections.candidates import read_candidates
from pipelines.corrections.measure import measure, read_corrections
from pipelines.errors import SourceError

SAMPLES = Path(__file__).parents[2] / "data"
REALCRITIC = [SAMPLES / "realcritic_gsm8k.jsonl", SAMPLES / "realcritic_arc_challenge.jsonl"]
ROW = {"idx": 1, "question": "1+1", "reasoning": "1+1=3", "gt": "2", "previous_score": [False]}
MR_GSM8K = {
    "uuid": "u", "question": "1+1", "model_output_steps": ["Step 1: 1+1=2", "Step 2: #### 2"],
    "model_output_answer_correctness": "correct", "ground_truth_answer": 2, "question_type": "POT",
}  # fmt: skip


@pytest.fixture
def write(tmp_path):
    def lines(*rows: dict, name: str = "data.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return lines


def world(write, *flags: bool):
    """A candidate per flag, right or wrong before; the reference of each is 2."""
    return read_candidates([write(*(ROW | {"idx": i, "previous_score": [one]} for i, one in enumerate(flags)))])[0]


def test_realcritic_is_read_as_published():
    found, left_out = read_candidates(REALCRITIC)
    assert [(one.id, one.is_right, one.reference, one.grader, one.subset) for one in found] == [
        ("realcritic_gsm8k:269", True, "655", "math", "realcritic_gsm8k"),
        ("realcritic_gsm8k:71", False, "38", "math", "realcritic_gsm8k"),
        ("realcritic_arc_challenge:62", False, "D", "choice", "realcritic_arc_challenge"),
    ]
    assert found[2].problem.startswith("Which is a compound?\nAnswer Choices: (A)")
    assert found[1].solution.startswith("Let's denote") and not left_out


def test_mr_gsm8k_gives_the_same_kind_of_rows(write):
    (one,), _ = read_candidates([write(MR_GSM8K)])
    assert (one.id, one.solution, one.is_right, one.reference, one.subset) == (
        "u", "Step 1: 1+1=2\nStep 2: #### 2", True, "2", "POT"
    )  # fmt: skip


def test_corrections_are_counted_by_where_they_end(write):
    # wrong, wrong, wrong, right, right; to right, still wrong, without answer, stays, ruined
    candidates = world(write, False, False, False, True, True)
    answers = write(
        {"id": "data:0", "answer": "2", "verdict": "wrong"},
        {"id": "data:1", "answer": "5", "verdict": "right"},
        {"id": "data:2", "answer": None, "verdict": "wrong"},
        {"id": "data:3", "answer": "2.0", "verdict": "right"},
        {"id": "data:4", "answer": "3"},
        name="answers.jsonl",
    )  # fmt: skip
    found = measure(candidates, read_corrections(answers, candidates), _same_text)
    assert found["all"] == found["data"]
    assert found["all"].rates == {
        "accuracy_before": 0.4, "accuracy": 0.4, "wrong_to_right": pytest.approx(1 / 3), "right_to_right": 0.5,
        "verdict_accuracy": 0.75,
    }  # fmt: skip
    assert (found["all"].num_without_answer, found["all"].num_verdicts) == (1, 4)


def _same_text(answer: str, reference: str) -> bool:
    return float(answer) == float(reference)


def test_letters_are_compared_as_letters(write):
    candidates, _ = read_candidates([write(ROW | {"gt": "D", "choices": ["(A) x", "(D) y"]})])
    for answer, ends_right in (("(d)", 1), ("D.", 1), ("A", 0), ("y", 0)):
        given = read_corrections(write({"id": "data:1", "answer": answer}, name="a.jsonl"), candidates)
        assert measure(candidates, given)["all"].num_wrong_to_right == ends_right


def test_what_is_missing_or_undecided_ends_wrong_and_is_counted(write):
    candidates = world(write, False, True)
    given = read_corrections(write({"id": "data:0", "answer": "9^9^9"}, name="a.jsonl"), candidates)
    found = measure(candidates, given, lambda answer, reference: None)["all"]
    assert (found.num_undecided, found.num_without_answer, found.rates["accuracy"]) == (1, 1, 0.0)
    assert found.rates["verdict_accuracy"] is None  # no verdict is no wrong verdict
    all_right = measure(world(write, True), {}, _same_text)["all"]
    assert all_right.rates["wrong_to_right"] is None


def test_empty_solutions_are_left_out_and_counted(write):
    file = write(ROW, ROW | {"idx": 2, "reasoning": " \n"})
    found, left_out = read_candidates([file])
    assert (len(found), dict(left_out)) == (1, {(str(file), "no_solution"): 1})


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([ROW, ROW], "line 2: the id 'data:1' is there already, in .*line 1"),
        ([ROW | {"previous_score": []}], r"`previous_score` is \[\], but must be a list that starts with true or"),
        ([ROW | {"idx": None}], "`idx` is null, but must be text or an integer"),
        ([ROW | {"gt": 2}], "`gt` is 2, but must be text"),
        ([{"question": "x"}], "no known layout has the fields question"),
        ([MR_GSM8K | {"model_output_answer_correctness": "?"}], 'is "\\?", but must be correct or wrong'),
        ([], "hold no solution to criticise"),
    ],
)
def test_a_bad_row_is_named(write, rows, message):
    with pytest.raises(SourceError, match=message):
        read_candidates([write(*rows)])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [{"id": "data:1", "answer": "2"}] * 2,
            "line 2: `id` .* an id that is there once; line 1 has it too",
        ),
        ([{"id": "x", "answer": "2"}], "must be one of the 1 ids"),
        ([{"id": "data:1", "answer": "2", "verdict": "good"}], "must be right, wrong or null"),
        ([{"id": "data:1"}], "the field `answer` is missing"),
        ([], "holds no correction"),
    ],
)
def test_a_bad_correction_is_named(write, rows, message):
    candidates, _ = read_candidates([write(ROW)])
    with pytest.raises(SourceError, match=message):
        read_corrections(write(*rows, name="a.jsonl"), candidates)
