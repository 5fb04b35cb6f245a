"""Miners of pairs of whole answers, on groups worked out by hand."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mined import answer, applied, sides

from pipelines.preference.methods import curation_named

# statistical rejection sampling -----------------------------------------------------------------------


def test_a_low_temperature_accepts_the_best_in_turn():
    """exp(-0.2 / 0.001) passes never: each round accepts the best that is left, d then b."""
    rows = [answer(name, score) for name, score in zip("abcd", (0.1, 0.6, 0.2, 0.8), strict=True)]
    assert sides(applied("rso", rows, beta=0.001, num_accepted=2)) == {("d", "b"): 0.2}
    assert sides(applied("rso", rows, beta=0.001, num_accepted=4)) == {("d", "b"): 0.2, ("c", "a"): 0.1}


@settings(max_examples=6, deadline=None)
@given(gap=st.floats(0.05, 1.5), beta=st.floats(0.2, 2.0), seed=st.integers(0, 1000))
def test_in_the_first_round_a_candidate_passes_with_exp_of_its_gap_over_beta(gap, beta, seed):
    """Three candidates are looked at in this order: low, top, third; top and third always pass (third's gap is 1e-12),
    and two are accepted. So top meets low where low passed in round 1, with probability p, and third where it did not.
    """
    num_problems, p = 1000, math.exp(-gap / beta)
    rows = []
    for problem in range(num_problems):
        rows += [answer(f"{problem}-low", 1.0 - gap, f"{problem}"), answer(f"{problem}-top", 1.0, f"{problem}"),
                 answer(f"{problem}-third", 1.0 - 1e-12, f"{problem}")]  # fmt: skip
    made = applied("rso", rows, beta=beta, num_accepted=2, seed=seed)
    share = sum("low" in row["rejected_id"] for row in made) / num_problems
    assert abs(share - p) < 5 * math.sqrt(p * (1 - p) / num_problems) + 1e-9


def test_rejection_sampling_takes_identical_texts_once_and_ends_with_fewer_candidates():
    rows = [answer("a", 1.0), answer("b", 0.5), answer("b again", 0.5, response="text b")]
    assert sides(applied("rso", rows)) == {("a", "b"): 0.5}
    assert applied("rso", [answer("a", 1.0)]) == applied("rso", []) == []
    assert applied("rso", [answer("a", 1.0), answer("b", 1.0)]) == []


def test_rejection_sampling_leaves_out_answers_without_a_number():
    rows = [answer("a", 1.0), answer("b", None), answer("c", float("nan")), answer("d", 0.0)]
    assert sides(applied("rso", rows)) == {("a", "d"): 1.0}


def test_neighbours_meet_in_the_first_round_and_winners_meet_again_in_a_tournament():
    """With beta = 1000 all pass at once, in order: a 0.1, b 0.4 | c 0.3, d 0.2 | e 0.5. First round: b > a, c > d.
    Tournament: b > c, then e > b (e had no neighbour before).
    """
    rows = [answer(name, score) for name, score in zip("abcde", (0.1, 0.4, 0.3, 0.2, 0.5), strict=True)]
    seats = {"beta": 1000.0, "num_accepted": 5, "seed": 1}
    assert sides(applied("rso", rows, **seats)) == pytest.approx({("b", "a"): 0.3, ("c", "d"): 0.1})
    assert sides(applied("rso", rows, pairing="tournament", **seats)) == pytest.approx(
        {("b", "a"): 0.3, ("c", "d"): 0.1, ("b", "c"): 0.1, ("e", "b"): 0.1}
    )


# margins of a judge's scores --------------------------------------------------------------------------


def test_a_teacher_wins_by_two_points_and_a_student_by_one():
    rows = [answer("teacher", 5.0, is_teacher=True), answer("good", 6.0), answer("close", 4.0), answer("poor", 3.0)]
    assert sides(applied("dno_pairs", rows)) == {
        ("teacher", "poor"): 2.0, ("good", "teacher"): 1.0, ("good", "close"): 2.0, ("good", "poor"): 3.0,
    }  # fmt: skip


def test_an_answer_that_repeats_itself_is_a_negative_whatever_its_score():
    """ "one two" eleven times: 19 n-grams of four words, two distinct ones."""
    rows = [answer("loop", 6.0, response="one two " * 11), answer("good", 5.0), answer("fair", 4.9)]
    assert sides(applied("dno_pairs", rows)) == {("good", "loop"): 5.0}
    assert ("loop", "good") in sides(applied("dno_pairs", rows, max_repeated=1.0))


def test_an_answer_without_a_score_or_below_five_points_is_no_positive():
    assert applied("dno_pairs", [answer("a", 4.9), answer("b", 0.0), answer("c", None)]) == []


# past and future --------------------------------------------------------------------------------------


def voices(past: list[float], present: list[float], future: list[float] = ()) -> list[dict]:
    return [
        answer(f"{policy}{i}", score, policy=policy)
        for policy, scores in (("past", past), ("present", present), ("future", future))
        for i, score in enumerate(scores)
    ]


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        (([0.1, 0.6], [0.3, 0.8]), ("present1", "past0")),  # the past is worse than the worst of the present
        (([0.4], [0.3, 0.8]), ("present1", "present0")),  # it is not: the present's own worst
        (([0.3], [0.3, 0.8]), ("present1", "present0")),  # equally bad is not worse
        (([0.1], [0.3, 0.8], [0.9, 0.2]), ("future0", "past0")),
        (([0.1], [0.3, 0.8], [0.8]), ("present1", "past0")),  # equally good is not better
    ],
)
def test_the_past_is_rejected_and_the_future_chosen(scores, expected):
    assert list(sides(applied("temporal_pairs", voices(*scores)))) == [expected]


def test_no_gap_or_no_answer_of_the_present_gives_no_pair():
    assert applied("temporal_pairs", voices([0.5], [0.5])) == []
    assert applied("temporal_pairs", voices([0.1], [], [0.9])) == []


# win rates, density ratio, several policies, strata ---------------------------------------------------


def test_win_rates_need_no_transitive_preferences():
    """a beats b 0.9, b beats c 0.8, c beats a 0.6: rates a (0.9 + 0.4) / 2, b (0.1 + 0.8) / 2, c (0.2 + 0.6) / 2."""
    duels = [("a", "b", 0.9), ("b", "c", 0.8), ("c", "a", 0.6), ("a", "a", 1.0), ("b", "a", float("nan"))]
    rows = [
        {"problem_id": "p", "first_id": one, "second_id": two, "first": one, "second": two, "preference": preference}
        for one, two, preference in duels
    ]
    (pair,) = applied("spo_pairs", rows)
    assert (pair["chosen"], pair["rejected"]) == ("a", "c")
    assert (pair["chosen_score"], pair["rejected_score"]) == (0.65, 0.4)


def test_the_answer_that_the_strong_model_prefers_most_meets_the_one_it_prefers_least():
    rows = [
        answer("a", strong_logprob=-10.0, weak_logprob=-14.0), answer("b", strong_logprob=-5.0, weak_logprob=-5.0),
        answer("c", strong_logprob=-9.0, weak_logprob=-8.0), answer("d", strong_logprob=-1.0),
    ]  # fmt: skip
    (pair,) = applied("density_ratio_pairs", rows)
    assert (pair["chosen_id"], pair["rejected_id"], pair["margin"]) == ("a", "c", 5.0)


def test_source_models_and_the_targets_own_best_stand_against_its_worst():
    rows = [
        answer("s1", 0.9, policy="big"), answer("s2", 0.7, policy="other"), answer("t1", 0.6, policy="target"),
        answer("t2", 0.2, policy="target"), answer("nobody", 1.0),
    ]  # fmt: skip
    made = applied("wrpo_pairs", rows)
    assert {(row["chosen_id"], row["rejected_id"]): row["weight"] for row in made} == {
        ("s1", "t2"): 0.1, ("t1", "t2"): 0.9,
    }  # fmt: skip
    assert applied("wrpo_pairs", rows[:2]) == []


def test_a_tuned_model_is_chosen_over_its_base_without_a_look_at_the_answers():
    rows = [answer("t1", policy="tuned"), *(answer(f"b{i}", policy="base") for i in range(3)), answer("x", policy="y")]
    made = applied("tuned_against_base", rows)
    assert sides(made) == {("t1", "b0"): None, ("t1", "b1"): None, ("t1", "b2"): None}


def test_fresh_answers_stand_against_those_that_dissatisfied():
    rows = [
        answer("new", policy="policy"), answer("bad", policy="deployed", outcome_reward=0.0),
        answer("good", policy="deployed", outcome_reward=1.0), answer("silent", policy="deployed"),
    ]  # fmt: skip
    assert sides(applied("drift_pairs", rows)) == {("new", "bad"): None}


def test_answers_meet_within_their_stratum_only():
    rows = [
        answer("a", 0.9, stratum="x"), answer("b", 0.1, stratum="x"), answer("c", 0.5, stratum="y"),
        answer("d", 0.45, stratum="y"), answer("e", 0.8), answer("f", 0.2),
    ]  # fmt: skip
    assert sides(applied("stratified_pairs", rows)) == pytest.approx({("a", "b"): 0.8, ("e", "f"): 0.6})


# critiques and refinements ----------------------------------------------------------------------------


def critique(name: str, quality: float | None, *scores: float) -> dict:
    return {"rollout_id": "r", "problem_id": "p", "critique_id": name, "critique": name, "quality": quality,
            "refinement_scores": list(scores) or None}  # fmt: skip


def test_the_better_critique_is_kept_where_its_refinements_are_better_too():
    rows = [critique("good", 5.0, 1.0, 1.0, 0.0), critique("poor", 1.0, 0.0, 1.0, 0.0), critique("odd", 3.0, 0.0)]
    assert sides(applied("marv_critique_pairs", rows)) == pytest.approx(
        {("good", "poor"): 1 / 3, ("good", "odd"): 2 / 3}
    )
    assert len(applied("marv_critique_pairs", rows, min_refinements=3)) == 1


def test_without_a_judgment_the_refinements_decide_and_without_refinements_nobody():
    assert sides(applied("marv_critique_pairs", [critique("a", None, 1.0), critique("b", 9.0, 0.0)])) == {
        ("a", "b"): 1.0
    }
    assert applied("marv_critique_pairs", [critique("a", 1.0), critique("b", 0.0, 1.0)]) == []


def test_a_refinement_is_chosen_where_it_is_graded_higher():
    def refined(name: str, before: float, after: float) -> dict:
        return {"problem_id": "p", "original_id": f"o{name}", "original": f"old {name}", "original_reward": before,
                "refinement_id": f"n{name}", "refinement": f"new {name}", "refinement_reward": after}  # fmt: skip

    rows = [refined("1", 0.0, 1.0), refined("2", 1.0, 0.0), refined("3", 1.0, 1.0)]
    assert sides(applied("refinement_pairs", rows)) == {("n1", "o1"): 1.0}
    assert sides(applied("refinement_pairs", rows, both_ways=True)) == {("n1", "o1"): 1.0, ("o2", "n2"): 1.0}


@pytest.mark.parametrize(
    "method",
    ["rso", "dno_pairs", "temporal_pairs", "density_ratio_pairs", "wrpo_pairs", "stratified_pairs", "mutual_taught"],
)
def test_empty_tables_and_single_answers_give_no_pair(method):
    assert applied(method, []) == applied(method, [{"problem_id": "p", "response_id": "a", "response": "x"}]) == []


def bad_answer(number: int, outcome: float, score: float, text: str | None = None) -> dict:
    return {"problem_id": "p", "group_id": "g", "response_id": f"r{number}", "prompt": "q", "policy": "v",
            "response": text or f"text {number}", "steps": ["x"], "outcome_reward": outcome, "score": score,
            "strong_logprob": score, "weak_logprob": 0.0}  # fmt: skip


BAD_GROUPS = {
    "one": [bad_answer(0, 1.0, 0.5)],
    "all right and tied": [bad_answer(number, 1.0, 0.5) for number in range(3)],
    "all wrong and tied": [bad_answer(number, 0.0, 0.5) for number in range(3)],
    "equal texts": [bad_answer(0, 1.0, 0.9, "same"), bad_answer(1, 0.0, 0.1, "same")],
    "tied scores": [bad_answer(0, 1.0, 0.5), bad_answer(1, 0.0, 0.5)],
    "no numbers": [bad_answer(0, 1.0, math.nan), bad_answer(1, 0.0, math.nan)],
}


@pytest.mark.parametrize("world", BAD_GROUPS)
@pytest.mark.parametrize("method", ["rso", "dno_pairs", "density_ratio_pairs", "stratified_pairs", "rollout_pairs"])
def test_bad_groups_give_no_pair_unless_the_grades_alone_make_one(method, world):
    known = {column.name for column in curation_named(method).reads}
    rows = [{key: value for key, value in row.items() if key in known} for row in BAD_GROUPS[world]]
    found = [(pair["chosen_id"], pair["rejected_id"], pair["margin"]) for pair in applied(method, rows)]
    by_grade = method == "rollout_pairs" and world in ("tied scores", "no numbers")
    assert found == ([("r0", "r1", 1.0)] if by_grade else [])


@pytest.mark.parametrize("method", ["rso", "dno_pairs", "stratified_pairs", "density_ratio_pairs", "wrpo_pairs"])
def test_answers_to_different_problems_never_meet_whatever_their_groups_are_called(method):
    rows = [
        answer(name, score, problem, group_id="0", policy="target", strong_logprob=score, weak_logprob=0.0)
        for name, score, problem in (("a", 6.0, "p"), ("b", 1.0, "q"))
    ]
    known = {column.name for column in curation_named(method).reads}
    assert applied(method, [{key: value for key, value in row.items() if key in known} for row in rows]) == []


# policy shifts ----------------------------------------------------------------------------------------


def shift(before: dict[str, list[float]], after: dict[str, list[float]], **more: object) -> list[dict]:
    """Answers p-old-0, p-old-1 ... and p-new-0 ... with these scores, by problem."""
    sides = (("old", before, False), ("new", after, True))
    return [
        answer(f"{problem}-{side}-{k}", score, problem, policy=side, is_teacher=is_new, **more)
        for side, scores, is_new in sides
        for problem, some in scores.items()
        for k, score in enumerate(some)
    ]


BEFORE, AFTER = {"p": [0.5, 0.3], "q": [0.9, 0.7]}, {"p": [0.6, 0.1], "q": [0.65, 0.9]}


def test_an_updated_policys_answer_is_chosen_unless_it_is_clearly_worse():
    """Scores of before: mean 0.6, variance (0.01 + 0.09 + 0.09 + 0.01) / 4 = 0.05, so epsilon = 0.2236. The deltas are
    0.1, -0.2, -0.25 and 0.2: the third is below -epsilon. Two of four comparisons are won.
    """
    expected = {("p-new-0", "p-old-0"): 0.1, ("p-new-1", "p-old-1"): -0.2, ("q-new-1", "q-old-1"): 0.2}
    made = applied("mutual_taught", shift(BEFORE, AFTER), min_win_rate=0.5)
    assert sides(made) == pytest.approx(expected)
    assert {(row["kind"], row["chosen_policy"], row["rejected_policy"]) for row in made} == {
        ("policy_shift", "new", "old")
    }
    named = applied("mutual_taught", shift(BEFORE, AFTER), min_win_rate=0.5, before="old", after="new")
    assert named == made
    turned = applied("mutual_taught", shift(BEFORE, AFTER), min_win_rate=0.0, before="new", after="old")
    assert ("q-old-0", "q-new-0") in sides(turned)
    strict = applied("mutual_taught", shift(BEFORE, AFTER), min_win_rate=0.5, tolerance=0.0)
    assert sides(strict) == pytest.approx({("p-new-0", "p-old-0"): 0.1, ("q-new-1", "q-old-1"): 0.2})


def test_an_update_that_wins_too_few_comparisons_makes_no_pair_at_all():
    assert applied("mutual_taught", shift(BEFORE, AFTER)) == []  # 1/2 is below the paper's 0.6
    draws = shift({"p": [0.5] * 5}, {"p": [0.75, 0.5, 0.5, 0.5, 0.25]})  # (1 + 3/2) / 5
    assert applied("mutual_taught", draws, min_win_rate=0.51) == []
    # every answer of before scores alike: epsilon is 0, and only the better one stays
    assert sides(applied("mutual_taught", draws, min_win_rate=0.5)) == {("p-new-0", "p-old-0"): 0.25}


def test_a_pair_whose_boundary_is_met_exactly_is_dropped():
    rows = shift({"p": [0.0, 1.0]}, {"p": [1.0, 0.5]})  # epsilon = 0.5, deltas 1 and -0.5
    assert sides(applied("mutual_taught", rows, min_win_rate=0.5)) == {("p-new-0", "p-old-0"): 1.0}


def test_known_outcomes_overrule_the_policy_only_where_that_is_asked_for():
    rows = [answer("new", 0.9, is_teacher=True, outcome_reward=0.0), answer("old", 0.1, outcome_reward=1.0)]
    assert sides(applied("mutual_taught", rows)) == {("new", "old"): pytest.approx(0.8)}
    assert applied("mutual_taught", rows, respects_outcomes=True) == []
    unknown = [rows[0] | {"outcome_reward": None}, rows[1]]
    assert len(applied("mutual_taught", unknown, respects_outcomes=True)) == 1


def test_answers_without_a_partner_or_a_number_are_left_out_of_the_comparison():
    rows = shift({"p": [0.1, float("nan")], "q": [0.2]}, {"p": [0.9, 0.8], "r": [0.9]})
    assert sides(applied("mutual_taught", rows)) == {("p-new-0", "p-old-0"): pytest.approx(0.8)}
    assert applied("mutual_taught", [answer("a", 0.5), answer("b", 0.9)]) == []  # all by the policy of before


# tactics ----------------------------------------------------------------------------------------------


def tactic(name: str, result: str, is_on_proof: bool | None = None, state: str | None = "⊢ 1 + 1 = 2") -> dict:
    return {"problem_id": "t", "tactic_id": name, "state": state, "tactic": f"by {name}", "result": result,
            "is_on_proof": is_on_proof}  # fmt: skip


def test_a_tactic_of_a_proof_is_chosen_over_errors_at_the_same_goals_alone():
    rows = [tactic("norm_num", "finished", True), tactic("ring", "error"), tactic("simp", "state"),
            tactic("omega", "timeout"), tactic("decide", "crash"), tactic("sorry", "given_up"),
            tactic("linarith", "error", state="⊢ False"), tactic("nothing", "error", state=None)]  # fmt: skip
    pairs = applied("tactic_pairs", rows)
    assert sides(pairs) == {("norm_num", "ring"): 1.0}
    assert (pairs[0]["prompt"], pairs[0]["chosen"], pairs[0]["kind"]) == ("⊢ 1 + 1 = 2", "by norm_num", "tactic")
    # nobody knows whether a detour would have come to a proof
    assert sides(applied("tactic_pairs", rows, against_detours=True)) == {
        ("norm_num", "ring"): 1.0, ("norm_num", "simp"): None
    }  # fmt: skip
    # errors come first
    assert sides(applied("tactic_pairs", rows, against_detours=True, max_pairs_per_problem=1)) == {
        ("norm_num", "ring"): 1.0
    }  # fmt: skip


def test_a_text_on_a_proof_is_never_rejected_and_a_theorem_without_a_proof_gives_no_pair():
    twice = [tactic("ring", "finished", True), {**tactic("ring2", "error"), "tactic": "by ring"}]
    assert applied("tactic_pairs", twice) == []
    assert applied("tactic_pairs", [tactic("ring", "error"), tactic("simp", "state")]) == []
    # an attempt that is marked as on a proof, but failed, is on none
    assert applied("tactic_pairs", [tactic("ring", "error", True), tactic("simp", "error")]) == []
    assert applied("tactic_pairs", []) == []
