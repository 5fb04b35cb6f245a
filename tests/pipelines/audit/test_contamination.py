import gzip
import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.audit.contamination import (
    CURATION,
    Certificate,
    ContaminationParams,
    benchmark_of,
    certified,
    overlaps,
    run,
)
from pipelines.errors import SourceError

ITEM = "A train leaves Rome at noon and drives 90 km per hour; when is it in Florence?"  # 17 words
SHORT = "What is 7 times 8, please?"  # 6 words


def table(*texts: str | None) -> pa.Table:
    return pa.table({"position": pa.array(range(len(texts)), pa.int64()), "text": pa.array(texts, pa.string())})


@pytest.fixture
def benchmark(tmp_path) -> Path:
    path = tmp_path / "test.jsonl"
    path.write_text("".join(json.dumps({"question": text}) + "\n" for text in (ITEM, SHORT, "Two words")))
    return path


def decided(benchmark: Path, *texts: str | None, **params: object) -> list[tuple]:
    rows = run(table(*texts), ContaminationParams(benchmark=(str(benchmark),), **params)).to_pylist()
    return [(row["reason"], row["num_matches"], row["test_item"]) for row in rows]


def test_thirteen_words_in_a_row_are_an_overlap_whatever_stands_between_them(benchmark):
    thirteen = "a TRAIN leaves rome, at noon -- and drives 90 km per hour when"
    twelve = thirteen.removesuffix(" when") + " then it stops"
    made = decided(benchmark, f"Take this: {ITEM} Think.", f"so {thirteen} so", f"so {twelve}")
    # 17 words have 5 runs of 13
    assert made == [
        ("benchmark_overlap", 5, "test.jsonl:1"), ("benchmark_overlap", 1, "test.jsonl:1"), (None, 0, None),
    ]  # fmt: skip
    assert decided(benchmark, f"so {twelve}", n=12)[0][:2] == ("benchmark_overlap", 1)


def test_a_short_item_is_found_whole_and_a_short_text_where_it_stands_in_an_item(benchmark):
    made = decided(
        benchmark,
        "Now what is 7 times 8, please? I would say that it is 56, or am I wrong?",  # all of SHORT
        "Now what is 7 times 9, please? I would say that it is 63, or am I wrong?",
        SHORT,
        "leaves Rome at noon and drives",  # six words of ITEM
        "leaves Rome at noon and stays",
        "leaves Rome at noon and",  # five words: not tested
        "no words",
    )
    overlap = "benchmark_overlap"
    assert made == [
        (overlap, 1, "test.jsonl:2"), (None, 0, None), (overlap, 1, "test.jsonl:2"), (overlap, 1, "test.jsonl:1"),
        (None, 0, None), (None, None, None), (None, None, None),
    ]  # fmt: skip


def test_a_text_that_is_too_short_is_found_where_it_equals_an_item_signs_included():
    params = ContaminationParams(benchmark=("x",))
    items = [("93+6-6-6-3", "a"), ("93+6-6-6-3", "b"), (ITEM, "c")]
    rows = overlaps(
        table("93+6-6-6-3", "93-6-6-6-3", " 93+6-6-6-3\n", "93+6"), benchmark_of("x", "", items, params), params
    )
    assert [(row["reason"], row["is_tested"], row["test_item"], row["score"]) for row in rows.to_pylist()] == [
        ("benchmark_overlap", True, "a", 1.0), (None, False, None, None), ("benchmark_overlap", True, "a", 1.0),
        (None, False, None, None),
    ]  # fmt: skip


def test_a_short_item_of_a_file_is_named_by_its_line(benchmark):
    assert decided(benchmark, "two  WORDS", ITEM) == [
        ("benchmark_overlap", 1, "test.jsonl:3"), ("benchmark_overlap", 5, "test.jsonl:1"),
    ]  # fmt: skip


def test_what_cannot_be_tested_is_kept_and_said_and_no_text_is_named(benchmark):
    rows = run(table("too short", None, " ?! ", ITEM), ContaminationParams(benchmark=(str(benchmark),))).to_pylist()
    assert [(row["kept"], row["reason"], row["is_tested"], row["score"]) for row in rows] == [
        (True, None, False, None), (False, "no_text", False, None), (False, "no_text", False, None),
        (False, "benchmark_overlap", True, 1.0),
    ]  # fmt: skip
    empty = run(table(), ContaminationParams(benchmark=(str(benchmark),)))
    assert (empty.num_rows, empty.schema) == (0, pa.schema([("position", pa.int64()), *CURATION.writes]))


def test_the_certificate_says_what_was_tested_against_what(benchmark, tmp_path):
    packed = tmp_path / "more.jsonl.gz"
    packed.write_bytes(gzip.compress((json.dumps({"question": ITEM.replace("Rome", "Paris")}) + "\n").encode()))
    pq.write_table(pa.table({"question": [ITEM]}), tmp_path / "rows.parquet")
    files = (str(benchmark), str(packed), str(tmp_path / "rows.parquet"))
    decisions, certificate = certified(table(ITEM, "x", None), ContaminationParams(benchmark=files))
    assert decisions["reason"].to_pylist() == ["benchmark_overlap", None, "no_text"]
    assert [(one.name, one.num_items, one.num_too_short) for one in certificate.files] == [
        ("test.jsonl", 3, 1), ("more.jsonl.gz", 1, 0), ("rows.parquet", 1, 0),
    ]  # fmt: skip
    assert certificate.files[0].sha256 == hashlib.sha256(benchmark.read_bytes()).hexdigest()
    assert (certificate.num_rows, certificate.num_tested, certificate.num_contaminated) == (3, 1, 1)
    assert (certificate.n, certificate.min_words, certificate.field) == (13, 6, "question")
    assert Certificate.from_json(certificate.to_json()) == certificate
    assert certificate.rows_sha256 == hashlib.sha256(f'"{ITEM}"\n"x"\nnull\n'.encode()).hexdigest()
    assert str(tmp_path) not in certificate.to_json()


def test_a_benchmark_that_tests_nothing_is_an_error(benchmark, tmp_path):
    with pytest.raises(SourceError, match="the field `prompt` is missing"):
        decided(benchmark, ITEM, field="prompt")
    with pytest.raises(SourceError, match="none of the 3 texts in `question` has 20 words"):
        decided(benchmark, ITEM, n=30, min_words=20)
    with pytest.raises(SourceError, match="cannot be read"):
        decided(tmp_path / "absent.jsonl", ITEM)
    with pytest.raises(SourceError, match="has no column `question`; it has text"):
        pq.write_table(pa.table({"text": [ITEM]}), tmp_path / "rows.parquet")
        decided(tmp_path / "rows.parquet", ITEM)
    with pytest.raises(ValueError, match="min_words 9 must be at most n 8"):
        ContaminationParams(benchmark=("x",), n=8, min_words=9)
