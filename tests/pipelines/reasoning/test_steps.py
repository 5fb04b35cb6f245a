"""Where steps end and which is the answer."""

from hypothesis import given
from hypothesis import strategies as st
from reasoning_worlds import GRADING, make_problem

from pipelines.reasoning.steps import grade_steps, is_answer_step, is_cut_off, split_steps


def test_every_line_is_a_step_and_blank_lines_are_none():
    assert split_steps("12+7=19\n\n  19-5=14 \n#### 14\n") == ["12+7=19", "19-5=14", "#### 14"]


def test_what_follows_the_answer_is_dropped():
    assert split_steps("2+3=5\n#### 5\nProblem: 7+8\n#### 15") == ["2+3=5", "#### 5"]
    assert split_steps("so \\boxed{5}\nmore") == ["so \\boxed{5}"]


def test_an_answer_step_has_an_answer_mark():
    assert is_answer_step("#### 5")
    assert is_answer_step("Thus \\boxed{5}.")
    assert not is_answer_step("2+3=5")


@given(st.text())
def test_splitting_steps_again_changes_nothing(text):
    steps = split_steps(text)
    assert split_steps("\n".join(steps)) == steps
    assert all(step == step.strip() != "" for step in steps)


def test_a_solution_that_was_cut_off_has_no_answer_and_is_wrong():
    graded = grade_steps(make_problem(), ["2+3=5", "#### 5"], True, **GRADING)
    assert (graded.answer, graded.outcome_reward) == (None, 0.0)
    graded = grade_steps(make_problem(), ["2+3=5", "#### 5"], False, **GRADING)
    assert (graded.answer, graded.outcome_reward) == ("5", 1.0)


def test_a_solution_that_goes_on_after_its_answer_was_not_cut_off():
    assert not is_cut_off("2+2=4\n#### 4\nAnother problem: what is", "length")
    assert is_cut_off("2+2=4\n#### 4", "length")  # more digits may have been to come
    assert is_cut_off("2+2=", "length")
    assert not is_cut_off("2+2=4\n#### 4", "stop")
