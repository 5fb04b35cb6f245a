"""Mixtures whose turns one can write down; nothing twice, what ran out is told."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.datasets.mixtures import Source, by_difficulty, mix
from pipelines.errors import FormatError


def source(name: str, num_rows: int, weight: float) -> Source:
    return Source(name, pa.table({"id": [f"{name}{number}" for number in range(num_rows)]}), weight)


def ids(mixture) -> list[str]:
    return [row for piece in mixture.pieces() for row in piece["id"].to_pylist()]


def turns(mixture) -> str:
    return "".join(row[0] for row in ids(mixture))


def test_two_to_one_takes_turns_a_b_a():
    # credit before the draws, after adding 2 and 1: (2,1) a; (1,2) b; (3,0) a; and again
    mixture = mix([source("a", 100, 2.0), source("b", 100, 1.0)], num_rows=6)
    assert turns(mixture) == "abaaba"
    assert (mixture.num_taken, mixture.exhausted_at) == ({"a": 4, "b": 2}, {})


def test_by_default_it_ends_when_a_source_that_ran_out_is_due():
    # a b a | a b: b has none left after 5 rows, and the sixth turn is a's, the seventh a's, the eighth b's
    mixture = mix([source("a", 100, 2.0), source("b", 2, 1.0)])
    assert turns(mixture) == "abaabaa"
    assert mixture.exhausted_at == {"b": 5}


def test_with_all_the_rest_goes_on_in_proportion_and_every_row_comes_once():
    mixture = mix([source("a", 5, 2.0), source("b", 1, 1.0), source("c", 4, 1.0)], stop_at="all")
    assert sorted(ids(mixture)) == sorted([f"a{n}" for n in range(5)] + ["b0"] + [f"c{n}" for n in range(4)])
    # (2,1,1) a; (0,2,2) b, which ends; then a and c by 2 : 1 from (0,2): (2,3) c; (4,1) a; (3,2) a; (2,3) c; ...
    assert turns(mixture)[:6] == "abcaac"
    assert mixture.exhausted_at == {"b": 2, "a": 8, "c": 10}


def test_the_seed_orders_rows_within_a_source_and_nothing_else():
    sources = [source("a", 50, 1.0), source("b", 50, 1.0)]
    one, again, other = mix(sources, seed=1), mix(sources, seed=1), mix(sources, seed=2)
    assert ids(one) == ids(again) != ids(other)
    assert turns(one) == turns(other)
    assert ids(one)[:20:2] != [f"a{number}" for number in range(10)]


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(1, 9)), min_size=1, max_size=4), st.integers(1, 60))
def test_shares_hold_within_one_row_until_a_source_runs_out(sizes, num_rows):
    sources = [source("abcd"[number], size, weight) for number, (size, weight) in enumerate(sizes)]
    mixture = mix(sources, num_rows)
    rows, total = ids(mixture), sum(weight for _, weight in sizes)
    assert len(rows) == len(set(rows)) <= num_rows
    for number, (_, weight) in enumerate(sizes):
        for end in range(len(rows) + 1):
            taken = sum(row[0] == "abcd"[number] for row in rows[:end])
            assert abs(taken - end * weight / total) < len(sizes)


def test_difficulties_share_the_weight_of_their_source():
    rows = pa.table({"problem_id": ["p", "q", "r", "s", "t"], "id": ["a", "b", "c", "d", "e"]})
    difficulties = {"p": 1, "q": 2, "r": 2, "s": None}
    easy, hard = by_difficulty(Source("x", rows, 3.0), difficulties, {1: 1.0, 2: 2.0, 4: 7.0})
    assert (easy.name, easy.weight, easy.rows["id"].to_pylist()) == ("x/difficulty 1", 1.0, ["a"])
    assert (hard.name, hard.weight, hard.rows["id"].to_pylist()) == ("x/difficulty 2", 2.0, ["b", "c"])


def test_a_difficulty_that_nothing_has_is_told_with_those_there_are():
    rows = pa.table({"problem_id": ["p", "q"]})
    with pytest.raises(FormatError, match="no row of difficulty 3; it has 1, 2"):
        by_difficulty(Source("x", rows, 1.0), {"p": 1, "q": 2}, {3: 1.0})


@pytest.mark.parametrize(
    ("sources", "message"),
    [([], "at least one source"), ([source("a", 1, 1.0), source("a", 1, 1.0)], "a is named more than once"),
     ([source("a", 1, 0.0)], "weight of a is 0"), ([source("a", 1, float("nan"))], "weight of a is nan"),
     ([source("a", 0, 1.0)], "a has no rows")],
)  # fmt: skip
def test_what_cannot_be_mixed_is_refused(sources, message):
    with pytest.raises(FormatError, match=message):
        mix(sources)
