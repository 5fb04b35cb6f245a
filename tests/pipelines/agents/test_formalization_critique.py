"""Critics of formal statements, on answers written by hand."""

import pytest
from curation_worlds import reasons, run_method

from pipelines.agents.formalization_critique import verdict_of

RIGHT_WORDS, WRONG_WORDS = "It says the same.\nJudgement: Correct", "The range is off by one.\n**Judgment:** Incorrect."


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        (RIGHT_WORDS, "correct"), (WRONG_WORDS, "incorrect"), ("Judgement: Correct", None), ("It is correct.", None),
        ("Judgement: Correct\nor not", None), ("", None), (None, None),
    ],
)  # fmt: skip
def test_an_answer_has_an_explanation_and_ends_in_its_judgement(text, verdict):
    assert verdict_of(text) == verdict


def test_the_reward_is_the_match_and_negatives_must_compile():
    rows = [
        {"critique": RIGHT_WORDS, "label": "correct"}, {"critique": RIGHT_WORDS, "label": "incorrect"},
        {"critique": WRONG_WORDS, "label": "incorrect", "compiles": True},
        {"critique": WRONG_WORDS, "label": "incorrect", "compiles": False},
        {"critique": "hm", "label": "correct"}, {"critique": RIGHT_WORDS, "label": None},
    ]  # fmt: skip
    made = run_method("formalization_critique", rows)
    assert [row["reward"] for row in made] == [1.0, 0.0, 1.0, 1.0, None, None]
    assert reasons(made) == [None, "wrong_verdict", None, "not_compilable", "unreadable", "no_label"]
    assert reasons(run_method("formalization_critique", rows, need_compiling=False))[3] is None
    assert run_method("formalization_critique", []) == []


def test_the_rates_are_over_what_could_be_read():
    """Right statements: 2 of 3 called correct; wrong ones: 1 of 2 called incorrect; one unread."""
    pairs = [("correct", "correct")] * 2 + [("incorrect", "correct"), ("incorrect", "incorrect"),
             ("correct", "incorrect"), (None, "correct"), ("correct", None)]  # fmt: skip
    (row,) = run_method("formalization_rates", [{"verdict": verdict, "label": label} for verdict, label in pairs])
    assert (row["num_judged"], row["num_unreadable"], row["accuracy"]) == (5, 1, 0.6)
    assert (row["tpr"], row["fnr"]) == pytest.approx((2 / 3, 1 / 3))
    assert (row["tnr"], row["fpr"]) == (0.5, 0.5)
    (row,) = run_method("formalization_rates", [])
    assert (row["num_judged"], row["accuracy"], row["tpr"]) == (0, None, None)
