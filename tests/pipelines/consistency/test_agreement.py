"""Majorities, cross labels, agreeing judges and contrast instructions, by hand."""

import math

import pytest
from curation_worlds import reasons, run_method


def answers(*given: str | None, problem: str = "p") -> list[dict]:
    return [{"problem_id": problem, "rollout_id": f"{problem}{i}", "answer": answer} for i, answer in enumerate(given)]


def test_samples_of_a_large_majority_stay():
    rows = answers("7", "8", "7", None, "7")
    made = run_method("self_consistency", rows)
    assert reasons(made) == [None, "minority_answer", None, "no_answer", None]
    assert [row["score"] for row in made] == pytest.approx([0.6, 0.2, 0.6, None, 0.6])
    assert reasons(run_method("self_consistency", rows, min_share=0.7))[0] == "low_agreement"


def test_of_equal_majorities_the_one_with_the_smallest_id_wins():
    rows = answers("8", "7", "7", "8")
    assert reasons(run_method("self_consistency", rows)) == [None, "minority_answer", "minority_answer", None]
    assert reasons(run_method("self_consistency", rows[::-1])) == [None, "minority_answer", "minority_answer", None]


def test_groups_of_one_agree_with_themselves_and_groups_without_answers_with_nobody():
    assert reasons(run_method("self_consistency", answers("7"))) == [None]
    assert reasons(run_method("self_consistency", answers(None, None))) == ["no_answer", "no_answer"]
    assert reasons(run_method("self_consistency", [answers("7")[0] | {"group_id": None}])) == ["not_in_group"]


def sides(original: list[str | None], paraphrase: list[str | None]) -> list[dict]:
    return [
        {"problem_id": "p", "is_paraphrase": side, "answer": answer}
        for side, given in ((False, original), (True, paraphrase))
        for answer in given
    ]


def test_each_side_is_labelled_by_the_majority_of_the_other():
    made = run_method("co_reward", sides(["4", "4", "5"], ["5", "5", "4", ""]))
    assert [row["cross_label"] for row in made] == ["5", "5", "5", "4", "4", "4", "4"]
    assert [row["cross_reward"] for row in made] == [0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0]
    assert made[0]["label_share"] == pytest.approx(2 / 3)  # the empty answer votes for nothing


def test_of_equally_frequent_answers_the_first_is_the_label_and_without_answers_there_is_none():
    assert run_method("co_reward", sides(["1"], ["9", "1"]))[0]["cross_label"] == "9"
    made = run_method("co_reward", sides(["1"], [None]))
    assert [row["cross_reward"] for row in made] == [None, 0.0]
    assert run_method("co_reward", []) == []


def test_pairs_on_which_all_judges_agree_stay():
    given = [[0.9, 0.8], [0.1, 0.3], [0.9, 0.2], [0.9, 0.5], [0.9], [], None, [0.9, 1.2], [0.9, None], [math.nan, 0.5]]
    made = run_method("scir", [{"preferences": one} for one in given], eta=0.0)
    assert reasons(made) == [
        None, None, "judges_disagree", "undecided", "single_judge", "no_preferences", "no_preferences",
        "broken_preference", "broken_preference", "broken_preference",
    ]  # fmt: skip
    # KL(.8 || .9) = .8 ln(.8 / .9) + .2 ln(.2 / .1) = .0444
    assert made[0]["score"] == pytest.approx(0.8 * math.log(8 / 9) + 0.2 * math.log(2))
    assert made[4]["score"] == 0.0 and made[5]["score"] is None


def test_the_penalty_adds_the_entropy_of_every_judge_and_every_pair_of_judges():
    plain, full = (run_method("scir", [{"preferences": [0.5, 0.5]}], eta=eta)[0]["score"] for eta in (0.0, 1.0))
    assert (plain, full) == (0.0, pytest.approx(2 * math.log(2)))
    (three,) = run_method("scir", [{"preferences": [0.9, 0.8, 0.8]}], eta=0.0)
    assert three["score"] == pytest.approx(2 * (0.8 * math.log(8 / 9) + 0.2 * math.log(2)))  # 2 and 3 are alike


def scored(pair: str, s11: float, s12: float, s21: float, s22: float | None) -> list[dict]:
    keys = ((1, 1), (1, 2), (2, 1), (2, 2))
    return [
        {"pair_id": pair, "instruction": i, "response": r, "score": score}
        for (i, r), score in zip(keys, (s11, s12, s21, s22), strict=True)
    ]


def test_a_reward_model_must_tell_similar_instructions_and_responses_apart():
    # a: all four comparisons right. b: s11 = s12 a tie, s22 < s21, s11 < s21, s22 < s12. c lacks a score
    rows = [*scored("a", 2, 1, 0, 3), *scored("b", 1, 1, 2, 0), *scored("c", 1, 0, 0, None)]
    made = run_method("contrast_instructions", rows)
    assert made == [
        {"metric": "instruction", "num_comparisons": 4, "num_ties": 0, "accuracy": 0.5},
        {"metric": "response", "num_comparisons": 4, "num_ties": 1, "accuracy": 0.5},
    ]
    assert run_method("contrast_instructions", []) == []
