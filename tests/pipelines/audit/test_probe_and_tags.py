import math

import pyarrow as pa
import pytest

from pipelines.audit import behaviour_tags, entropy_probe
from pipelines.audit.behaviour_tags import TagParams
from pipelines.audit.entropy_probe import ProbeParams, probe

INF, NAN = math.inf, math.nan


def test_the_probe_is_the_cosine_of_padded_entropies_times_the_ratio_of_lengths():
    # (1, 2, 2) and (2, 1): cos = (2 + 2) / (3 * sqrt 5), lengths 2 and 3
    assert probe([1.0, 2.0, 2.0], [2.0, 1.0])[0] == pytest.approx(4 / (3 * math.sqrt(5)) * 2 / 3)
    assert probe([0.3, 0.7], [0.3, 0.7]) == (pytest.approx(1.0), None)
    assert probe([1.0, 0.0], [0.0, 1.0]) == (0.0, None)


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        (None, [1.0], "no_entropies"), ([1.0], [], "no_entropies"), ([1.0], [NAN], "broken_entropies"),
        ([INF], [1.0], "broken_entropies"), ([-0.1], [1.0], "broken_entropies"), ([None], [1.0], "broken_entropies"),
        ([0.0, 0.0], [1.0], "zero_entropies"),
    ],
)  # fmt: skip
def test_entropies_without_an_angle_have_a_reason_and_no_score(first, second, reason):
    assert probe(first, second) == (None, reason)


def test_the_probe_runs_over_a_table():
    kinds = [("position", pa.int64()), *((one.name, one.kind) for one in entropy_probe.CURATION.reads)]
    rows = [{"position": 4, "first_entropies": [1.0], "second_entropies": [2.0]}, {"position": 5}]
    made = entropy_probe.run(pa.Table.from_pylist(rows, schema=pa.schema(kinds)), ProbeParams())
    assert made.to_pylist() == [
        {"position": 4, "score": 1.0, "reason": None}, {"position": 5, "score": None, "reason": "no_entropies"},
    ]  # fmt: skip


def tags(*texts: str | None) -> list[dict]:
    table = pa.table({"position": pa.array(range(len(texts)), pa.int64()), "text": pa.array(texts, pa.string())})
    made = behaviour_tags.run(table, TagParams())
    assert made.schema == pa.schema([("position", pa.int64()), *behaviour_tags.WRITES])
    return made.to_pylist()


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("First, add 3 and 4. Let me verify that this result is right.", (1, 0, 1, 0)),
        ("Wait, that is wrong. Let’s try again.", (0, 3, 0, 0)),
        ("We break the problem into subgoals. Step 1: 3 + 4. Step 2: 7 * 2.", (0, 0, 4, 0)),
        ("Working backwards: to reach 24, we need 4 * 6.", (0, 0, 0, 2)),
        ("3 + 4 = 7. The waiter hummed; a second passed.", (0, 0, 0, 0)),
        ("", (0, 0, 0, 0)),
    ],
)
def test_behaviours_are_counted_by_their_phrases(text, counts):
    row = tags(text)[0]
    names = list(behaviour_tags.RULES)
    assert tuple(row[f"num_{name}"] for name in names) == counts
    assert row["behaviours"] == [name for name, count in zip(names, counts, strict=True) if count]


def test_a_text_that_is_missing_has_no_counts():
    assert set(tags(None)[0].values()) == {0, None}
    assert tags() == []
