"""Weights and filters over pairs, on tables worked out by hand."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mined import applied


def pair(chosen: str = "good", rejected: str = "bad", problem: str = "p", **more: object) -> dict:
    return {"problem_id": problem, "chosen": chosen, "rejected": rejected} | more


# strength ---------------------------------------------------------------------------------------------


def voted(*gaps: float) -> dict:
    """A pair whose members' gaps are these."""
    return pair(chosen_scores=list(gaps), rejected_scores=[0.0] * len(gaps))


ENSEMBLE = [voted(-1.0, -2.0), voted(0.1, -0.1), voted(0.2, 0.4), voted(2.0, 1.0), voted(3.0, 3.0)]
"""mu -1.5, 0, 0.3, 1.5, 3: ranks 0, 1, 2, 3, 4 of five; mislabelled below rank 1, strong from rank 3 on."""


def test_strength_is_the_mean_and_deviation_of_the_members_gaps():
    rows = applied("preference_strength", ENSEMBLE)
    assert [row["score"] for row in rows] == [-1.5, 0.0, 0.3, 1.5, 3.0]
    assert [row["score_deviation"] for row in rows] == pytest.approx([0.5, 0.1, 0.1, 0.5, 0.0])


def test_the_lowest_fifth_below_zero_is_turned_round_or_dropped():
    assert [row["is_flipped"] for row in applied("preference_strength", ENSEMBLE)] == [True, False, False, False, False]
    assert [row["new_margin"] for row in applied("preference_strength", ENSEMBLE)] == [1.5, None, None, None, None]
    dropped = applied("preference_strength", ENSEMBLE, mode="drop")
    assert [row["reason"] for row in dropped] == ["likely_mislabelled", None, None, None, None]
    agreed = [voted(1.0), voted(2.0), voted(3.0)]
    assert not any(row["is_flipped"] for row in applied("preference_strength", agreed, low_share=1.0))


def test_soft_labels_are_the_members_mean_probability_and_leave_strong_pairs_alone():
    def p(*gaps: float) -> float:
        return sum(1 / (1 + math.exp(-gap)) for gap in gaps) / len(gaps)

    rows = applied("preference_strength", ENSEMBLE, mode="soft_label")
    assert [row["new_soft_label"] for row in rows[:3]] == pytest.approx([1 - p(-1.0, -2.0), 0.5, p(0.2, 0.4)])
    assert [row["is_flipped"] for row in rows] == [True, False, False, False, False]
    assert [row["new_soft_label"] for row in rows[3:]] == [None, None]


def test_margins_become_mu_and_strong_pairs_lose_weight():
    assert [row["new_margin"] for row in applied("preference_strength", ENSEMBLE, mode="margin")] == [
        -1.5,
        0,
        0.3,
        1.5,
        3,
    ]
    weighed = applied("preference_strength", ENSEMBLE, mode="down_weight", strong_weight=0.25)
    assert [row["weight_factor"] for row in weighed] == [None, None, None, 0.25, 0.25]


@pytest.mark.parametrize(
    "unscored",
    [pair(), voted(), pair(chosen_scores=[1.0], rejected_scores=[1.0, 2.0]), voted(float("nan"), 1.0)],
)
def test_pairs_that_the_ensemble_did_not_score_stay_as_they_were(unscored):
    row = applied("preference_strength", [*ENSEMBLE, unscored], mode="drop")[-1]
    assert (row["kept"], row["reason"], row["score"]) == (True, None, None)
    assert applied("preference_strength", []) == []


# lengths ----------------------------------------------------------------------------------------------


def test_the_narrowest_margins_of_the_longer_side_go_until_lengths_balance():
    rows = [
        pair("long", "s", margin=0.9), pair("long", "s", margin=0.1), pair("long", "s"), pair("s", "long", margin=0.5),
        pair("same", "size", margin=0.0),
    ]  # fmt: skip
    made = applied("length_balance", rows)
    assert [row["reason"] for row in made] == [None, "length_imbalance", "length_imbalance", None, None]
    assert [row["score"] for row in made] == [3, 3, 3, -3, 0]
    assert [row["kept"] for row in applied("length_balance", rows, max_share=2 / 3)] == [True, True, False, True, True]


def test_where_every_chosen_text_is_longer_none_can_stay():
    assert [row["kept"] for row in applied("length_balance", [pair("long", "s"), pair("same", "size")])] == [
        False,
        True,
    ]


# contradictions and cycles ----------------------------------------------------------------------------


def test_both_sides_of_a_contradiction_go_within_one_problem_and_prompt():
    rows = [pair("a", "b"), pair("b", "a"), pair("b", "a"), pair("b", "a", "q"), pair("b", "a", prompt="other")]
    made = applied("contradictions", rows)
    assert [row["reason"] for row in made] == ["contradicted"] * 3 + [None, None]
    assert [row["score"] for row in made] == [2, 1, 1, 0, 0]


def test_all_pairs_of_a_triangle_go_and_a_pair_that_leads_to_it_stays():
    rows = [pair("a", "b"), pair("b", "c"), pair("c", "a"), pair("x", "a"), pair("c", "y"), pair("c", "a", "q")]
    made = applied("intransitive_pairs", rows)
    assert [row["reason"] for row in made] == ["in_cycle"] * 3 + [None] * 3
    assert [row["score"] for row in made] == [3, 3, 3, None, None, None]


def test_longer_cycles_are_found_where_they_are_looked_for():
    rows = [pair("a", "b"), pair("b", "c"), pair("c", "d"), pair("d", "a")]
    assert all(row["kept"] for row in applied("intransitive_pairs", rows))
    assert [row["score"] for row in applied("intransitive_pairs", rows, max_length=4)] == [4] * 4
    two = applied("intransitive_pairs", [pair("a", "b"), pair("b", "a")], max_length=2)
    assert [row["score"] for row in two] == [2, 2]


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)).filter(lambda e: e[0] != e[1]), max_size=14))
def test_what_is_left_of_any_wins_can_be_ranked(wins):
    rows = [pair(str(one), str(two)) for one, two in wins]
    made = applied("intransitive_pairs", rows, max_length=6)
    left = {(row["chosen"], row["rejected"]) for row, judged in zip(rows, made, strict=True) if judged["kept"]}
    while left:  # a graph without cycles always has a text that never loses
        top = {one for one, _ in left} - {two for _, two in left}
        assert top
        left = {edge for edge in left if edge[0] not in top}


# annotators -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strengths", "expected"),
    [
        ([2.0, 2.0, 1.0], (None, 5 / 3, False, 5 / 3)),
        ([3.0, 1.0, 1.0, 2.0], (None, 4 / 3, False, 4 / 3)),  # 1 1 2 is as tight as any and the lowest of equals
        ([-2.0, -3.0, -2.0], (None, -7 / 3, True, 7 / 3)),
        ([3.0, 2.0, 0.5], ("no_consensus", 5.5 / 3, False, None)),  # 2.5 apart
        ([1.0, -1.0], ("tie", 0.0, False, None)),
        ([1.0], (None, 1.0, False, 1.0)),
        ([], ("not_annotated", None, False, None)),
        (None, ("not_annotated", None, False, None)),
    ],
)
def test_the_most_similar_annotations_are_averaged_and_weigh_the_pair(strengths, expected):
    (row,) = applied("annotator_strengths", [pair(strengths=strengths)])
    assert (row["reason"], row["is_flipped"]) == (expected[0], expected[2])
    assert (row["score"], row["weight_factor"]) == (pytest.approx(expected[1]), pytest.approx(expected[3]))
    assert row["kept"] == (expected[0] is None)


# likelihoods ------------------------------------------------------------------------------------------


def test_a_pair_weighs_what_both_sides_are_likely():
    """exp(mean(-1, -3)) * exp(mean(-2)) = e^-4; aligned by log sums -1, -1 | -2: e^-1 * e^0."""
    row = pair(chosen_logprobs=[-1.0, -3.0], rejected_logprobs=[-2.0])
    (plain,) = applied("likelihood_weights", [row], alignment="none")
    assert plain["weight_factor"] == pytest.approx(math.exp(-4))
    squares = {"chosen_square_logprobs": [-1.0, -1.0], "rejected_square_logprobs": [-2.0]}
    (aligned,) = applied("likelihood_weights", [row | squares])
    assert aligned["weight_factor"] == pytest.approx(math.exp(-1))


@pytest.mark.parametrize(
    "unknown",
    [
        pair(),
        pair(chosen_logprobs=[-1.0], rejected_logprobs=[-1.0]),
        pair(chosen_logprobs=[], rejected_logprobs=[-1.0]),
    ],
)
def test_a_pair_whose_likelihood_is_not_known_keeps_its_weight(unknown):
    (row,) = applied("likelihood_weights", [unknown])
    assert (row["kept"], row["weight_factor"]) == (True, None)


def test_tokens_are_rewarded_by_what_the_better_prompt_makes_of_them():
    rows = [
        {"better_logprobs": [-1.0, -2.0, -1.0], "worse_logprobs": [-1.0, -1.0, -2.0]},
        {"better_logprobs": [-1.0], "worse_logprobs": [-1.0, -2.0]},
        {"better_logprobs": None, "worse_logprobs": [-1.0]},
    ]  # fmt: skip
    high = 1 / (1 + math.exp(-1)) - 0.5
    made = [row["token_rewards"] for row in applied("token_rewards", rows)]
    assert made == [pytest.approx([0.0, -high, high]), None, None]


def test_tokens_weigh_their_own_probability():
    rows = [{"token_logprobs": [0.0, math.log(0.5)]}, {"token_logprobs": [0.1]}, {"token_logprobs": None}]
    made = applied("token_weights", rows)
    assert [row["token_weights"] for row in made] == [pytest.approx([1.0, 0.5]), None, None]
    assert [row["mean_weight"] for row in made] == [pytest.approx(0.75), None, None]


# replay and single texts ------------------------------------------------------------------------------


def test_thirty_percent_of_the_iteration_before_and_half_of_that_before_it_are_replayed():
    rows = [pair(iteration=iteration) for iteration in (3, 2, 1) for _ in range(20)] + [pair()]
    made = applied("replay_shares", rows)
    kept = [sum(row["kept"] for row in made[start : start + 20]) for start in (0, 20, 40)]
    assert kept == [20, 6, 3]
    assert (made[-1]["reason"], made[0]["score"], made[59]["score"]) == ("no_iteration", 0, 2)


def test_every_text_has_one_label_and_the_classes_balance():
    """Chosen a, b; rejected x, y, z; c is both. n_true w_true = n_false w_false with w_true = 3 / 2."""
    rows = [pair("a", "x"), pair("a", "y"), pair("b", "z"), pair("c", "x"), pair("a", "c")]
    made = applied("unpaired", rows)
    assert {row["completion"]: (row["label"], row["weight"]) for row in made} == {
        "a": (True, 1.5), "b": (True, 1.5), "x": (False, 1.0), "y": (False, 1.0), "z": (False, 1.0),
    }  # fmt: skip
    rejected = applied("unpaired", rows, only_rejected=True)
    assert [(row["completion"], row["weight"]) for row in rejected] == [("x", 1.0), ("y", 1.0), ("z", 1.0)]


def test_many_good_texts_raise_the_weight_of_the_few_bad_ones():
    rows = [pair(name, "x") for name in "abcd"]
    weights = {row["completion"]: row["weight"] for row in applied("unpaired", rows)}
    assert weights == {**dict.fromkeys("abcd", 1.0), "x": 3.0}  # 4 / 3 between the classes
