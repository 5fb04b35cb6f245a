"""What agents write, and what is made of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.agents.parse import Failure, Judgement, parse_critique


def test_the_starter_format_gives_a_verdict_per_step():
    text = "0 12+7=19 right\n1 19-5=13 wrong 19-5=14\n2 3*4=12 left 5,12 right\n3 #### 12 right\nverdict 1\n"
    assert parse_critique(text, 4) == Judgement(("right", "wrong", "right", "right"), 1)


def test_verdict_minus_one_means_no_error():
    assert parse_critique("0 right\n1 right\nverdict -1\n", 2) == Judgement(("right", "right"), -1)


def test_a_cut_off_critique_counts_when_its_lines_decide():
    assert parse_critique("0 right\n1 wrong 1", 4) == Judgement(("right", "wrong"), 1)
    assert parse_critique("0 right\n1 right\n2 rig", 4) == Failure("incomplete")


def test_a_verdict_alone_implies_the_steps_before_it():
    assert parse_critique("verdict 2", 4) == Judgement(("right", "right", "wrong"), 2)


@pytest.mark.parametrize(
    ("text", "first_error_step"),
    [
        ("Step 1: correct\nStep 2: incorrect, 3*4 is 12\nStep 3: correct\nVerdict: step 2", 1),
        ("**Step 0**: right\n**Step 1** is wrong because 2+2=4\nFirst error: step 1", 1),
        ("- step 0: Correct\n- step 1: Correct\nFirst error: none", -1),
        ("0. right\n1. right\nOverall judgment: Correct", -1),
        ("0) right\n1) not correct\nFinal verdict: [Incorrect]", 1),
        ("I checked everything.\n0 right\n1 right\n**Answer**: \\boxed{-1}", -1),
    ],
)
def test_the_line_format_of_instructed_models_is_read(text, first_error_step):
    judgement = parse_critique(text, 3 if "Step 3" in text else 2)
    assert isinstance(judgement, Judgement)
    assert judgement.first_error_step == first_error_step


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("This looks fine to me.", "no_judgement"),
        ("0 right\n1 wrong 3\nverdict -1", "contradictory"),
        ("0 right\n1 right\nverdict 1", "contradictory"),
        ("0 right\n0 wrong\nverdict 0", "contradictory"),
        ("0 right\n1 right\nverdict 7", "step_out_of_range"),
        ("5 wrong", "step_out_of_range"),
        ("Overall judgment: Incorrect", "incomplete"),
        ("第一步是错的，应该是十二。", "other_language"),
        ("El primer paso está mal, debería ser doce", "other_language"),
        ("Nein, falsch", "no_judgement"),
    ],
)
def test_what_cannot_be_read_is_a_named_failure(text, reason):
    assert parse_critique(text, 2) == Failure(reason)


def test_a_rollout_without_steps_cannot_be_judged():
    assert parse_critique("verdict -1", 0) == Failure("no_steps")


LINES = st.sampled_from(["0 right", "1 wrong 3", "Step 2: correct", "verdict 1", "verdict -1", "99 wrong", "verdict"])


@given(st.one_of(st.text(), st.lists(LINES).map("\n".join)), st.integers(-1, 5))
def test_no_text_raises_and_every_judgement_is_consistent(text, num_steps):
    said = parse_critique(text, num_steps)
    if isinstance(said, Judgement):
        assert -1 <= said.first_error_step < num_steps
        assert len(said.step_verdicts) <= num_steps
        first_wrong = said.step_verdicts.index("wrong") if "wrong" in said.step_verdicts else -1
        assert first_wrong == said.first_error_step


@pytest.mark.parametrize("text", ["verdict" + " " * 2000, "1" + " " * 2000 + "x", "> *" * 2000, "- " * 1500 + "0"])
def test_long_runs_of_space_and_markup_are_read_at_once(text):
    """The patterns would backtrack for hours on them."""
    assert parse_critique(text, 2) == Failure("no_judgement")


def test_markup_around_a_verdict_is_no_obstacle():
    assert parse_critique("0    right\n****Step 1**** is   wrong\nverdict    1", 2) == Judgement(("right", "wrong"), 1)
