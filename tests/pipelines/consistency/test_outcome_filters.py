"""Filters by outcome alone, each on groups of a few rollouts."""

import math

import pytest
from curation_worlds import group, reasons, run_method

MIXED = [*group("a", 1, 1, 1, 0), *group("b", 1, 1), *group("c", 0, 0), *group("d", 1), *group("e", 1, None)]


def test_reinforce_rej_drops_groups_without_contrast_and_scores_the_rest_with_signed_rewards():
    made = run_method("reinforce_rej", MIXED)
    assert reasons(made) == [
        None, None, None, None, "all_right", "all_right", "all_wrong", "all_wrong", "all_right", "all_right",
        "ungraded",
    ]  # fmt: skip
    assert [row["score"] for row in made[:4]] == [1.0, 1.0, 1.0, -1.0]
    assert [row["score"] for row in run_method("reinforce_rej", MIXED, signed=False)[:4]] == [1.0, 1.0, 1.0, 0.0]


def test_a_group_is_the_group_id_and_not_the_problem():
    rows = [row | {"group_id": name} for row, name in zip(group("p", 1, 0, 1, 1), "xxyy", strict=True)]
    assert reasons(run_method("reinforce_rej", rows)) == [None, None, "all_right", "all_right"]
    assert reasons(run_method("reinforce_rej", [rows[0] | {"group_id": None}])) == ["not_in_group"]


def test_an_ungraded_rollout_neither_makes_nor_breaks_a_contrast():
    assert reasons(run_method("reinforce_rej", group("a", 1, 0, float("nan")))) == [None, None, "ungraded"]
    assert reasons(run_method("reinforce_rej", group("a", 1, 0.5))) == ["all_right", "ungraded"]


def test_raft_keeps_right_answers():
    made = run_method("raft", MIXED)
    assert [reasons(made).index("wrong_answer"), reasons(made).count("wrong_answer")] == [3, 3]
    assert reasons(made)[-3:] == [None, None, "ungraded"]
    assert [row["score"] for row in made[2:4]] == [1.0, 0.0]


def test_raft_draws_by_a_seeded_lot_where_a_group_has_too_many():
    rows = group("a", *[1] * 12)
    drawn = [reasons(run_method("raft", rows, max_per_group=3, seed=seed)) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert [one.count("over_limit") for one in drawn] == [9, 9, 9]
    assert reasons(run_method("raft", rows[::-1], max_per_group=3))[::-1] == drawn[0]


def test_nft_weighs_a_group_by_its_rate_over_all_its_rollouts():
    made = run_method("nft", MIXED)
    assert reasons(made) == reasons(run_method("reinforce_rej", MIXED))
    assert [row["score"] for row in made[:4]] == [0.75] * 4
    assert [row["loss_weight"] for row in made[:5]] == [0.25, 0.25, 0.25, 0.25, None]
    by_root = run_method("nft", MIXED, weighting="square_root", negative_weight=0.5)
    assert [row["loss_weight"] for row in by_root[2:4]] == pytest.approx([math.sqrt(1 / 3), math.sqrt(1 / 3) / 2])
    assert [row["loss_weight"] for row in run_method("nft", MIXED, weighting="none")[:1]] == [1.0]


def test_nft_clamps_extreme_rates():
    made = run_method("nft", group("a", 1, *[0] * 99))  # 1 of 100 counts as .02
    assert (made[0]["score"], made[0]["loss_weight"]) == (0.02, pytest.approx(0.98))


def test_overlong_answers_go_and_the_penalty_grows_over_the_buffer():
    lengths = [80, 90, 100, 101, 50, None]
    rows = [{"num_tokens": length, "finish_reason": "stop"} for length in lengths]
    rows[4]["finish_reason"] = "length"
    made = run_method("overlong", rows, max_tokens=100, num_buffer_tokens=20)
    assert reasons(made) == [None, None, None, "overlong", "cut_off", "unknown_length"]
    assert [row["score"] for row in made] == [0.0, -0.5, -1.0, -1.0, 0.0, None]


@pytest.mark.parametrize("name", ["reinforce_rej", "raft", "nft", "overlong"])
def test_no_rows_make_no_rows(name):
    assert run_method(name, []) == []
