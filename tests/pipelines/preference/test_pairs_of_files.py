"""Miners and filters of pairs on files of a user's own, one behind the other."""

import json

import pytest

from pipelines.apply import ApplyError, apply_method
from pipelines.catalogue.preference import METHODS


def written(path, rows: list[dict]):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


ANSWERS = [
    {"problem_id": 1, "response_id": name, "response": "word " * length, "score": score}
    for name, length, score in (("a", 9, 0.9), ("b", 1, 0.1), ("c", 5, 0.5), ("d", 7, 0.3))
]


def test_answers_become_pairs_and_the_pairs_are_weighed_and_filtered_in_turn(tmp_path):
    """beta 1000 accepts all in order: a against b (chosen is longer), c against d (shorter). Both stay."""
    answers, pairs = written(tmp_path / "answers.jsonl", ANSWERS), tmp_path / "pairs.jsonl"
    done = apply_method("rso", answers, pairs, {"beta": "1000", "num_accepted": "4", "seed": "2"})
    assert (done.num_rows, done.num_written) == (4, 2)
    assert {(row["chosen_id"], row["rejected_id"]): row["margin"] for row in read(pairs)} == pytest.approx(
        {("a", "b"): 0.8, ("c", "d"): 0.2}
    )
    balanced, weighed = tmp_path / "balanced.jsonl", tmp_path / "weighed.jsonl"
    assert apply_method("length_balance", pairs, balanced, {}).num_kept == 2
    more = [row | {"chosen_scores": [1.0, 2.0], "rejected_scores": [0.0, 0.0]} for row in read(pairs)]
    apply_method("preference_strength", written(tmp_path / "more.jsonl", more), weighed, {"mode": "margin"})
    assert [row["new_margin"] for row in read(weighed)] == [1.5, 1.5]
    single = tmp_path / "single.parquet"
    assert apply_method("unpaired", pairs, single, {}).num_written == 4


def test_an_answer_without_text_is_refused_with_its_row(tmp_path):
    answers = written(tmp_path / "answers.jsonl", [*ANSWERS, ANSWERS[0] | {"response": None}])
    with pytest.raises(ApplyError, match="row 5.*`response`"):
        apply_method("rso", answers, tmp_path / "pairs.jsonl", {})


def test_a_missing_column_is_named_with_a_near_one(tmp_path):
    renamed = [{("scores" if key == "score" else key): value for key, value in row.items()} for row in ANSWERS]
    with pytest.raises(ApplyError, match="no column `score`.*Did you mean scores"):
        apply_method("dno_pairs", written(tmp_path / "answers.jsonl", renamed), tmp_path / "pairs.jsonl", {})


@pytest.mark.parametrize("method", [method for method in METHODS if method.curation.grain == "table"],
                         ids=lambda method: method.name)  # fmt: skip
def test_an_empty_file_makes_an_empty_file(method, tmp_path):
    empty, made = written(tmp_path / "empty.jsonl", []), tmp_path / "made.jsonl"
    assert apply_method(method.name, empty, made, {}).num_written == 0
    assert read(made) == []
