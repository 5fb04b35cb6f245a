"""D3S: the split of two extremes is the best subset of its size, by hand and against every subset."""

import itertools
import statistics

import pytest
from curation_worlds import group, reasons, run_method
from hypothesis import given, settings
from hypothesis import strategies as st

# advantages: a .75 -.25 -.25 -.25; b .5 .5 -.5 -.5
BATCH = [*group("a", 1, 0, 0, 0), *group("b", 1, 1, 0, 0)]


def kept_ids(rows: list[dict], **parameters: object) -> set[str]:
    made = run_method("d3s", rows, **parameters)
    return {row["rollout_id"] for row, one in zip(rows, made, strict=True) if one["kept"]}


def test_three_of_eight_are_the_two_smallest_and_the_largest():
    # -.5 -.5 .75 have variance 1.0625/3 - (.25/3)^2 = .3472; -.5 .5 .75 have 1.0625/3 - .0625 = .2917
    assert kept_ids(BATCH, num_kept=3) == {"b2", "b3", "a0"}


def test_half_of_them_are_two_of_each_end_and_of_equal_ones_the_later_id_is_the_larger():
    # -.5 -.5 .5 .75: .3242; three smallest and one largest: .2656; one and three: .2305
    made = run_method("d3s", BATCH)
    assert kept_ids(BATCH) == {"b2", "b3", "b1", "a0"}
    assert [row["score"] for row in made] == [0.75, -0.25, -0.25, -0.25, 0.5, 0.5, -0.5, -0.5]
    assert set(reasons(made)) == {None, "low_variance"}


def test_normalised_advantages_are_compared_across_groups():
    # a: deviation .5, so 1.5 and -.5; b: deviation sqrt(1/3), so .866 and -.866
    made = run_method("d3s", BATCH, normalise=True, num_kept=2)
    assert [row["score"] for row in made][:2] == pytest.approx([1.5, -0.5])
    assert kept_ids(BATCH, normalise=True, num_kept=2) == {"a0", "b2"}


def test_what_has_no_grade_or_group_takes_no_part():
    rows = [*group("a", 1, 0, None, 0.5), group("b", 1)[0] | {"group_id": None}]
    assert reasons(run_method("d3s", rows, num_kept=9)) == [None, None, "ungraded", "ungraded", "not_in_group"]


@pytest.mark.parametrize(
    ("rows", "expected"), [([], []), (group("a", 1), [None]), (group("a", 1, 1), [None, "low_variance"])]
)
def test_batches_without_any_variance_still_have_a_rule(rows, expected):
    assert sorted(reasons(run_method("d3s", rows, num_kept=1)), key=str) == sorted(expected, key=str)
    assert reasons(run_method("d3s", rows, num_kept=0)) == ["low_variance"] * len(rows)


OUTCOMES = st.lists(st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=4), min_size=1, max_size=3)


@pytest.mark.slow
@settings(max_examples=20)
@given(OUTCOMES, st.integers(1, 6))
def test_no_subset_of_the_same_size_varies_more(outcomes, num_kept):
    rows = [row for index, one in enumerate(outcomes) for row in group(f"g{index}-", *one)]
    made = run_method("d3s", rows, num_kept=num_kept)
    scores = [row["score"] for row in made]
    kept = [row["score"] for row in made if row["kept"]]
    assert len(kept) == min(num_kept, len(rows))
    best = max(statistics.pvariance(subset) for subset in itertools.combinations(scores, len(kept)))
    assert statistics.pvariance(kept) == pytest.approx(best, abs=1e-8)
    backwards = run_method("d3s", rows[::-1], num_kept=num_kept)[::-1]
    assert backwards == made


def test_of_all_tokens_those_with_the_largest_advantage_times_entropy_stay():
    rows = [  # |A| H: 1 .5 | 1.2 .2; half of four tokens stay
        {"rollout_id": "a", "advantage": 1.0, "token_entropies": [1.0, 0.5]},
        {"rollout_id": "b", "advantage": -2.0, "token_entropies": [0.6, 0.1]},
        {"rollout_id": "c", "advantage": None, "token_entropies": [9.0]},
        {"rollout_id": "d", "advantage": 1.0, "token_entropies": []},
        {"rollout_id": "e", "advantage": 1.0, "token_entropies": None},
    ]
    masks = [row["token_mask"] for row in run_method("d3s_tokens", rows, keep_share=0.5)]
    assert masks == [[True, False], [True, False], None, [], None]
    rows[0]["token_entropies"] = [float("nan"), 0.5]  # not known is not high: it is out, and .5 follows 1.2
    assert run_method("d3s_tokens", rows[:2], keep_share=0.5)[0]["token_mask"] == [False, True]
