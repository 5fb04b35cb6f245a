"""Judges as trainees, on items worked out by hand."""

import pytest
from curation_worlds import reasons, run_method
from hypothesis import given, settings
from hypothesis import strategies as st


def judgment(name: str, verdict: str | None, label: str | None = "A", **more: object) -> dict:
    return {"item_id": "i", "judgment_id": name, "prompt": "P", "critique": f"because {name}", "verdict": verdict,
            "label": label} | more  # fmt: skip


JUDGMENTS = [
    judgment("good", "A", response="the answer", deduced_response="a guess"),
    judgment("bad", "B", response="the answer", deduced_response="a guess"),
    judgment("worse", "C"),
    judgment("mute", None),
    judgment("lost", "B", None, item_id="j"),
]


def test_the_three_kinds_of_judgment_pairs():
    made = run_method("judgment_pairs", JUDGMENTS)
    assert [(row["kind"], row["chosen"], row["rejected"]) for row in made] == [
        ("critique", "because good\nA", "because bad\nB"),
        ("critique", "because good\nA", "because worse\nC"),
        ("deduction", "the answer", "a guess"),
        ("verdict", "A", "B"),
        ("verdict", "A", "C"),
    ]
    assert {row["kind"]: row["prompt"] for row in made}["deduction"] == "P\nbecause good\nA"
    assert [row["kind"] for row in run_method("judgment_pairs", JUDGMENTS, kinds=["verdict"])] == ["verdict"] * 2
    assert len(run_method("judgment_pairs", JUDGMENTS, kinds=["critique"], max_pairs_per_item=1)) == 1


def test_all_right_and_all_wrong_items_make_no_pair_of_critiques():
    for verdict in "AB":
        rows = [judgment(name, verdict) for name in ("x", "y")]
        assert run_method("judgment_pairs", rows, kinds=["critique"]) == []


def test_self_rationalization_prefers_the_label_over_scores_that_are_off():
    """Scores 4, 4, 3, 1 with label 3: third against first, second (gap 1) and fourth (gap 2)."""
    rows = [judgment(name, None, score=score, label_score=3.0) for name, score in
            (("a", 4.0), ("b", 4.0), ("c", 3.0), ("d", 1.0))]  # fmt: skip
    made = run_method("self_rationalization", rows)
    assert {(row["chosen_id"], row["rejected_id"]): row["margin"] for row in made} == {
        ("c", "a"): 1.0, ("c", "b"): 1.0, ("c", "d"): 2.0,
    }  # fmt: skip
    assert [row["rejected_id"] for row in run_method("self_rationalization", rows, max_pairs_per_item=1)] == ["d"]
    by_majority = run_method("self_rationalization", rows, by_majority=True, min_gap=3.0)
    assert {(row["chosen_id"], row["rejected_id"]) for row in by_majority} == {("a", "d"), ("b", "d")}
    assert run_method("self_rationalization", [row | {"label_score": None} for row in rows]) == []


def test_rationales_are_kept_where_they_reach_the_label_and_do_not_leak():
    rows = [judgment("a", "A"), judgment("b", "B"), judgment("c", None), judgment("d", "A", None),
            judgment("e", "A", critique="the Reference has 5")]  # fmt: skip
    made = run_method("kept_rationales", rows, balanced=False)
    assert reasons(made) == [None, "wrong_verdict", "unreadable", "no_label", "mentions_reference"]
    assert [row["score"] for row in made] == [1.0, 0.0, None, None, 1.0]


def test_labels_are_balanced_by_lot():
    rows = [judgment(f"a{i}", "A") for i in range(5)] + [judgment(f"b{i}", "B", "B") for i in range(2)]
    made = run_method("kept_rationales", rows)
    assert [row["kept"] for row in made[5:]] == [True, True]
    assert reasons(made[:5]).count("balance_random") == 3
    without = run_method("kept_rationales", [*rows[:5], judgment("x", "A", "B")])
    assert reasons(without) == ["balance_random"] * 5 + ["wrong_verdict"]


def answer(name: str, grade: float | None) -> dict:
    return {"problem_id": "p", "response_id": name, "prompt": "P", "response": name.upper(), "outcome_reward": grade}


def test_rollouts_become_three_kinds_of_judge_prompts():
    rows = [answer("a", 1.0), answer("b", 0.0), answer("c", None)]
    made = run_method("recycled_rollouts", rows)
    found = {(row["kind"], row["first"], row["second"]): row["label"] for row in made}
    assert found[("pointwise", "A", None)] == "right" and found[("pointwise", "B", None)] == "wrong"
    assert found[("reflection", "B", None)] == "A"
    ((_, first, _), label) = next((key, label) for key, label in found.items() if key[0] == "pairwise")
    assert label == ("first" if first == "A" else "second")
    assert len(made) == 4


def test_a_problem_that_is_all_wrong_has_no_pairs_and_reflections_without_a_label():
    made = run_method("recycled_rollouts", [answer("a", 0.0), answer("b", 0.0)])
    assert [(row["kind"], row["label"]) for row in made] == [
        ("pointwise", "wrong"), ("pointwise", "wrong"), ("reflection", None), ("reflection", None),
    ]  # fmt: skip


def test_preference_prompts_have_the_place_of_the_chosen_side_as_their_answer():
    rows = [{"problem_id": "p", "prompt": f"{i}", "chosen": "good", "rejected": "bad"} for i in range(40)]
    made = run_method("preference_prompts", rows)
    assert all((row["first"] if row["reference_answer"] == "1" else row["second"]) == "good" for row in made)
    assert 8 < sum(row["reference_answer"] == "1" for row in made) < 32  # by lot: 20 of 40, sd 3.2
    broken = [{"problem_id": "p", "chosen": "x", "rejected": "x"}]
    assert [(row["reference_answer"], row["reason"]) for row in run_method("preference_prompts", broken)] == [
        (None, "equal_sides")
    ]


@settings(max_examples=20, deadline=None)
@given(num_judge=st.integers(0, 30), num_others=st.integers(0, 30), share=st.sampled_from([0.0, 0.2, 0.5, 0.75]))
def test_judge_rows_never_exceed_their_share_and_the_others_all_stay(num_judge, num_others, share):
    rows = [{"row_id": f"{i}", "is_judge": i < num_judge} for i in range(num_judge + num_others)]
    made = run_method("judge_share", rows, share=share)
    kept = [row["kept"] for row in made]
    assert all(kept[num_judge:])
    assert sum(kept[:num_judge]) == min(num_judge, int(share * num_others / (1 - share) + 1e-9))


@pytest.mark.parametrize("name", ["judgment_pairs", "self_rationalization", "kept_rationales", "recycled_rollouts",
                                  "preference_prompts", "judge_share"])  # fmt: skip
def test_an_empty_table_gives_an_empty_table(name):
    assert run_method(name, []) == []
