"""Splits by problem: hashes that one can look up, stability, and never a problem on two sides."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.datasets.splits import checked_shares, place_of, rows_in_split, split_of
from pipelines.errors import FormatError

SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}


def test_a_problem_has_one_place_for_ever():
    # sha256sum of ["dataset_split",0,"p"] begins with 4f72ef259eb9c68f
    assert place_of("p") == 0x4F72EF259EB9C68F / 2**64
    assert place_of("p", seed=1) != place_of("p")


def test_the_shares_cut_the_places_in_their_order():
    place = place_of("p")
    assert split_of("p", {"below": place, "above": 1.0 - place}) == "above"  # the cut belongs to what follows it
    assert split_of("p", {"below": place + 1e-9, "above": 1.0 - place - 1e-9}) == "below"


def test_many_problems_fall_into_their_shares():
    found = [split_of(f"problem-{number}", SHARES) for number in range(4000)]
    counts = {name: found.count(name) / 4000 for name in SHARES}
    # standard deviation of a share of 0.8 of 4,000 is 0.0063
    assert counts == pytest.approx(SHARES, abs=0.025)


@settings(max_examples=40)
@given(st.lists(st.text(max_size=6), max_size=30), st.lists(st.text(max_size=6), max_size=30))
def test_rows_that_are_added_move_nobody_and_no_problem_is_on_two_sides(ids, more):
    def parts(names):
        table = pa.table({"problem_id": pa.array(names, pa.string())})
        return {split: rows_in_split(table, split, SHARES)["problem_id"].to_pylist() for split in SHARES}

    before, after = parts(ids), parts(ids + more)
    assert sorted(sum(before.values(), [])) == sorted(ids)
    for split in SHARES:
        assert after[split][: len(before[split])] == before[split]
        assert all(set(after[split]).isdisjoint(after[other]) for other in SHARES if other != split)


@pytest.mark.parametrize(
    ("shares", "message"),
    [({"train": 0.8, "test": 0.1}, "add up to 0.9"), ({"train": 1.0, "test": 0.0}, "share of test is 0"),
     ({"train": float("nan")}, "share of train is nan"), ({}, "add up to 0"),
     ({"train": 0.9, "../x": 0.1}, r"cannot be called '\.\./x'"), ({"": 1.0}, "cannot be called ''")],
)  # fmt: skip
def test_shares_that_are_none_are_refused(shares, message):
    with pytest.raises(FormatError, match=message):
        checked_shares(shares)


def test_a_row_without_a_problem_is_refused():
    with pytest.raises(FormatError, match="Row 1 has no problem_id"):
        rows_in_split(pa.table({"problem_id": ["p", None]}), "train", SHARES)
