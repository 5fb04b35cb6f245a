"""Exact, near and semantic duplicates: what is kept, what is not, and as whose twin."""

import itertools
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.curation import Curation
from pipelines.duplicates import exact, minhash, semantic
from pipelines.duplicates.exact import ExactParams
from pipelines.duplicates.minhash import MinHashParams, StepParams, near_duplicates, signatures_of
from pipelines.duplicates.semantic import SemanticParams
from pipelines.duplicates.shingles import Bytes, distinct, shingles_of


def table(method: Curation, rows: list[dict]) -> pa.Table:
    schema = pa.schema([("position", pa.int64()), *((one.name, one.kind) for one in method.reads)])
    return pa.Table.from_pylist([{"position": i, **row} for i, row in enumerate(rows)], schema=schema)


def texts(**given: str | None) -> list[dict]:
    return [{"text_id": name, "text": text} for name, text in given.items()]


def as_bytes(*given: str) -> Bytes:
    return Bytes.of(pa.array(given, pa.large_string()))


def twins(made: pa.Table) -> list[tuple]:
    return [(row["reason"], row["duplicate_of"]) for row in made.to_pylist()]


# shingles ---------------------------------------------------------------------------------------


def brute_force(text: str, size: int, by_words: bool) -> set[str]:
    units = text.split(" ") if by_words else list(text)
    glue = " " if by_words else ""
    return {glue.join(units[i : i + size]) for i in range(max(len(units) - size + 1, 1))}


@given(st.lists(st.text("ab é漢 ", min_size=1).map(lambda t: " ".join(t.split())).filter(bool), min_size=1, max_size=9))
@settings(max_examples=60, deadline=None)
def test_shingles_are_the_runs_of_words_or_characters(given_texts):
    for size, by_words in itertools.product((1, 2, 5), (True, False)):
        found = distinct(shingles_of(as_bytes(*given_texts), 0, len(given_texts), size, by_words))
        sets = [brute_force(text, size, by_words) for text in given_texts]
        assert np.diff(found.starts).tolist() == [len(one) for one in sets]
        hashes = [set(found.hashes[a:b].tolist()) for a, b in itertools.pairwise(found.starts)]
        for (one, other), (hash_one, hash_other) in zip(
            itertools.product(sets, sets), itertools.product(hashes, hashes), strict=True
        ):
            assert len(one & other) == len(hash_one & hash_other)


def test_a_text_shorter_than_a_shingle_is_one_shingle():
    found = shingles_of(as_bytes("a b", "a b c d", "a b"), 0, 3, 3, True)
    assert np.diff(found.starts).tolist() == [1, 2, 1]
    assert found.hashes[0] == found.hashes[3]


# near duplicates --------------------------------------------------------------------------------

TEN = "one two three four five six seven eight nine ten"


def run_minhash(rows: list[dict], **params: object) -> pa.Table:
    settings = {"shingle_size": 1, "num_bands": 64, "rows_per_band": 2, "threshold": 0.8, **params}
    return minhash.run(table(minhash.CURATION, rows), MinHashParams(**settings))


def test_the_first_by_id_is_kept_and_the_exact_similarity_decides():
    # ten words against nine of them: 9/10; against nine of them and another: 9/11
    rows = texts(b=TEN, c=TEN.replace("ten", "zehn"), a=TEN.removesuffix(" ten"), d=TEN.upper() + " ")
    made = run_minhash(rows).to_pylist()
    assert [(row["kept"], row["reason"], row["duplicate_of"]) for row in made] == [
        (False, "near_duplicate", "a"),
        (False, "near_duplicate", "a"),  # 9/10 with a, as b has
        (True, None, None),
        (False, "near_duplicate", "a"),  # b's equal goes where b goes
    ]
    assert [row["jaccard"] for row in made] == [pytest.approx(0.9), pytest.approx(0.9), None, pytest.approx(0.9)]
    assert [row["score"] for row in made] == [row["jaccard"] for row in made]
    assert all(abs(row["estimated_jaccard"] - 0.9) < 0.15 for row in made if row["reason"])
    # at a threshold above 9/10 only the equal text goes
    assert twins(run_minhash(rows, threshold=0.95)) == [(None, None)] * 3 + [("exact_duplicate", "b")]


def test_no_chain_of_small_steps_removes_a_text_without_a_kept_twin():
    # neighbours share 9 of 11 words, a and c 8 of 12
    rows = texts(a=TEN, b=TEN.replace("one", "x"), c=TEN.replace("one", "x").replace("two", "y"))
    assert twins(run_minhash(rows)) == [(None, None), ("near_duplicate", "a"), (None, None)]


def test_texts_of_different_groups_are_never_compared():
    rows = [
        {"text_id": str(i), "text": TEN, "group_id": group} for i, group in enumerate(["g", "h", None, "g", None])
    ]  # fmt: skip
    expected = [(None, None)] * 3 + [("exact_duplicate", "0"), ("exact_duplicate", "2")]
    assert twins(run_minhash(rows)) == expected
    assert twins(exact.run(table(exact.CURATION, rows), ExactParams())) == expected
    near = [{**row, "text": f"{TEN} {i}"} for i, row in enumerate(rows)]
    assert [reason for reason, _ in twins(run_minhash(near))] == [None] * 3 + ["near_duplicate"] * 2


def test_a_text_that_is_empty_or_missing_is_named():
    rows = texts(a=None, b="", c=" \n ", d="x")
    for made in (run_minhash(rows), exact.run(table(exact.CURATION, rows), ExactParams())):
        assert twins(made) == [("no_text", None)] * 3 + [(None, None)]
        assert made["kept"].to_pylist() == [False] * 3 + [True]
    assert run_minhash([]).num_rows == exact.run(table(exact.CURATION, []), ExactParams()).num_rows == 0
    assert run_minhash([]).schema == pa.schema([("position", pa.int64()), *minhash.WRITES])
    assert twins(run_minhash(rows[:2])) == [("no_text", None)] * 2


def test_the_decision_does_not_depend_on_the_order_of_the_rows():
    rng = np.random.default_rng(0)
    words = np.array(list("abcdefgh"))
    rows = texts(**{f"t{i:03d}": " ".join(words[rng.integers(0, 8, 6)]) for i in range(120)})
    found = {row["text_id"]: twin for row, twin in zip(rows, twins(run_minhash(rows)), strict=True)}
    shuffled = [rows[i] for i in rng.permutation(len(rows))]
    assert found == {row["text_id"]: twin for row, twin in zip(shuffled, twins(run_minhash(shuffled)), strict=True)}
    assert {reason for reason, _ in found.values()} == {None, "near_duplicate"} | {
        reason for reason, _ in found.values() if reason == "exact_duplicate"
    }


def test_an_estimate_is_as_near_as_its_permutations_allow():
    params = MinHashParams(shingle_size=1, num_bands=128, rows_per_band=4)
    common, own, other = (" ".join(f"{mark}{i}" for i in range(n)) for mark, n in (("c", 60), ("a", 20), ("b", 20)))
    both = as_bytes(f"{common} {own}", f"{common} {other}")
    signatures = signatures_of(both, params)
    estimate = (signatures[:, 0] == signatures[:, 1]).mean()
    assert estimate == pytest.approx(0.6, abs=3 * math.sqrt(0.6 * 0.4 / 512))
    assert (signatures_of(both, params) == signatures).all()
    assert not (signatures_of(both, params.model_copy(update={"seed": 1})) == signatures).all()


def test_every_removed_text_has_a_kept_twin_and_every_pair_that_was_found_is_decided():
    rng = np.random.default_rng(1)
    rows = [" ".join(f"w{w}" for w in rng.integers(0, 12, 9)) for _ in range(150)]
    unique = list(dict.fromkeys(rows))
    params = MinHashParams(shingle_size=1, num_bands=200, rows_per_band=1, threshold=0.7)
    found = near_duplicates(as_bytes(*unique), np.zeros(len(unique), int), params)
    sets = [set(text.split()) for text in unique]
    kept = [i for i in range(len(unique)) if found.twin[i] < 0]
    for i, twin in enumerate(found.twin):
        earlier = [len(sets[i] & sets[k]) / len(sets[i] | sets[k]) for k in kept if k < i]
        assert (max(earlier, default=0.0) >= 0.7 - 1e-9) == (twin >= 0)
        if twin >= 0:
            assert found.jaccard[i] == pytest.approx(max(earlier))
            assert twin in kept


def test_steps_are_rows_of_their_own():
    rows = [
        {"rollout_id": "r2", "steps": ["3 + 4 = 7", "so the answer is 7"]},
        {"rollout_id": "r1", "steps": ["So  the answer is 7", None, "3 - 4 = 7"]},
        {"rollout_id": "r3", "steps": None},
    ]
    made = minhash.run_steps(table(minhash.STEP_CURATION, rows), StepParams()).to_pylist()
    assert [(row["rollout_id"], row["step"], row["reason"], row["duplicate_of"]) for row in made] == [
        ("r2", 0, None, None), ("r2", 1, "exact_duplicate", "r1:000000"),
        ("r1", 0, None, None), ("r1", 1, "no_text", None), ("r1", 2, None, None),
    ]  # fmt: skip
    empty = minhash.run_steps(table(minhash.STEP_CURATION, []), StepParams())
    assert (empty.num_rows, empty.schema) == (0, minhash.STEP_WRITES)


# exact and semantic -----------------------------------------------------------------------------


def test_texts_are_equal_as_they_are_or_after_normalisation():
    rows = texts(c="Same text", b="same  text", a="same text", d="Same text")
    made = twins(exact.run(table(exact.CURATION, rows), ExactParams()))
    assert made == [("exact_duplicate", "a"), ("exact_duplicate", "a"), (None, None), ("exact_duplicate", "a")]
    made = twins(exact.run(table(exact.CURATION, rows), ExactParams(normalise=False)))
    assert made == [(None, None)] * 3 + [("exact_duplicate", "c")]


def test_embeddings_that_point_the_same_way_are_duplicates_of_the_first_by_id():
    vectors = {"b": [2.0, 0.0], "a": [1.0, 0.1], "c": [0.0, 1.0], "d": [0.0, 0.0], "e": None, "f": [1.0],
               "g": [math.nan, 1.0], "h": [-1.0, 0.0], "i": []}  # fmt: skip
    rows = [{"text_id": name, "embedding": vector} for name, vector in vectors.items()]
    made = semantic.run(table(semantic.CURATION, rows), SemanticParams())
    broken = ("broken_embedding", None)
    assert twins(made) == [
        ("semantic_duplicate", "a"), (None, None), (None, None), broken, broken, broken, broken, (None, None), broken,
    ]  # fmt: skip
    assert made["score"].to_pylist()[0] == pytest.approx(1 / math.sqrt(1.01))
    assert semantic.run(table(semantic.CURATION, []), SemanticParams()).num_rows == 0


def test_semantic_blocks_give_what_looking_at_every_kept_row_gives(monkeypatch):
    monkeypatch.setattr(semantic, "BLOCK_ROWS", 7)
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(60, 3)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    twin, cosine = semantic.kept_first(vectors, 0.9)
    kept: list[int] = []
    for i in range(60):
        best = max(kept, key=lambda k: vectors[i] @ vectors[k], default=None)
        if best is not None and vectors[i] @ vectors[best] >= 0.9:
            assert (twin[i], cosine[i]) == (best, pytest.approx(float(vectors[i] @ vectors[best]), abs=1e-5))
        else:
            assert twin[i] == -1
            kept.append(i)
    assert 0 < len(kept) < 60


def test_a_crowd_of_near_duplicates_leaves_the_first():
    # more than are compared by one bucket: 40 texts that differ in their last word alone
    rows = texts(**{f"t{i:02d}": f"{TEN} eleven twelve w{i}" for i in range(40)})  # 12 of 14 words are shared
    made = twins(run_minhash(rows))
    assert made == [(None, None)] + [("near_duplicate", "t00")] * 39
