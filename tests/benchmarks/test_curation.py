"""What the benchmarks of curation methods compute from what they measured."""

import numpy as np
import pyarrow as pa
import pytest

from pipelines.duplicates import minhash
from pipelines.errors import SourceError
from tests.benchmarks.copy_limit import timed
from tests.benchmarks.curation import check_files, wilson
from tests.benchmarks.duplicates import WORDS, planted, recall_of


def test_what_is_missing_is_said(tmp_path):
    with pytest.raises(
        SourceError, match="No folder is given: --data must name .* missing are agent-process-bench/bfcl"
    ):
        check_files(None)
    with pytest.raises(SourceError, match="lacks files: .*realcritic/math.jsonl.gz"):
        check_files(tmp_path)


def test_a_share_has_wilsons_interval():
    z2 = 1.959963984540054**2
    assert wilson(0, 10) == {
        "hits": 0, "total": 10, "share": 0.0, "low": pytest.approx(0.0), "high": pytest.approx(z2 / (10 + z2)),
    }  # fmt: skip
    assert wilson(0, 0)["share"] is None


def test_planted_duplicates_are_known_and_counted():
    table, originals = planted(600)
    texts = table["text"].to_pylist()
    rows = np.flatnonzero(originals >= 0)
    assert 60 < len(rows) < 200
    assert all(texts[row] == texts[originals[row]] or "changed" in texts[row] for row in rows)
    made = minhash.run(table, WORDS)
    recall = recall_of("words", table, originals, made, WORDS)
    num_equal = sum(texts[row] == texts[originals[row]] for row in rows)
    assert (recall.num_exact, recall.num_exact_found) == (num_equal, num_equal)
    assert recall.num_near_found <= recall.num_near < len(rows) - num_equal  # short texts differ by too much


def test_a_method_is_timed_from_file_to_file(tmp_path):
    one = timed("all", pa.table({"x": [1, 2, 3]}), lambda rows: rows, tmp_path)
    assert (one.num_rows, one.rows_per_s) == (3, pytest.approx(3 / one.seconds))
    assert one.share_of_copy == pytest.approx(one.copy_cpu_s / one.cpu_s)
