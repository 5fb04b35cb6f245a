from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import SourceError
from pipelines.grading import extract_answer, grade
from pipelines.grading.countdown import replay
from pipelines.grading.equivalence import MathChecker, parse_number, same_number


@pytest.mark.parametrize(
    ("grader", "text", "answer"),
    [
        ("number", "1+1=2\n#### 2\n", "2"),
        ("number", "#### 1\nno, wait\n#### 1,000 \n", "1,000"),
        ("number", "so \\boxed{\\frac{1}{2}} it is", "\\frac{1}{2}"),
        ("number", "the answer is 7", None),
        ("math", "the answer is 1,007.", "1,007"),
        ("number", "#### \n", None),
        ("exact", "\\boxed{a", None),
        ("exact", "", None),
    ],
)
def test_the_last_marked_answer_is_extracted(grader, text, answer):
    assert extract_answer(grader, text) == answer


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1,234.50", Fraction(2469, 2)), ("$72", Fraction(72)), ("72%", Fraction(72)), ("3/4", Fraction(3, 4)),
        ("\\frac{1}{2}", Fraction(1, 2)), (".5", Fraction(1, 2)), ("-5", Fraction(-5)), ("\u22124", Fraction(-4)),
        ("72 apples", Fraction(72)), ("1e3", Fraction(1000)), ("12.", Fraction(12)),
        ("1,23", None), ("5 million", None), ("1/0", None), ("x", None), ("", None), ("1e999999999", None),
        ("9" * 301, None), ("\u0663", None), ("7 8", None),
    ],
)  # fmt: skip
def test_numbers_are_read_exactly_or_not_at_all(text, number):
    assert parse_number(text) == number


@given(st.integers(min_value=-(10**30), max_value=10**30))
def test_an_integer_equals_itself_with_commas_and_with_a_decimal(value):
    assert same_number(f"{value:,}", str(value))
    assert same_number(f"{value}.0", str(value))
    assert not same_number(str(value + 1), str(value))


@given(st.text(max_size=60))
def test_no_answer_text_breaks_a_grader(text):
    for grader, reference in (("number", "3"), ("exact", "a"), ("countdown", "26")):
        problem = {"problem_id": "p", "prompt": "3,5,7 to 26", "reference_answer": reference}
        assert grade(grader, problem, text, [text]) in (0.0, 1.0)


def test_no_answer_is_wrong_and_an_unreadable_reference_is_not_graded():
    problem = {"problem_id": "p", "prompt": "x", "reference_answer": "forty-two"}
    assert grade("exact", problem, None, []) == 0.0
    assert grade("number", problem, "42", []) is None
    with pytest.raises(SourceError, match="`nmber`, which does not exist; there are countdown, exact, math, number"):
        grade("nmber", problem, "42", [])


def test_countdown_steps_are_replayed():
    problem = {"problem_id": "p", "prompt": "3,5,7 to 26", "reference_answer": "26"}
    assert grade("countdown", problem, "26", ["3*7=21 left 5,21", "5+21=26 left 26", "#### 26"]) == 1.0
    assert grade("countdown", problem, "26", ["7*3=21 left 21,5", "21+5=26 left 26"]) == 1.0  # in any order
    wrong = {
        "only the answer": ["#### 26"],
        "a number twice": ["3*3=9 left 5,7,9", "9+7=16 left 5,16", "16+5=21 left 21"],
        "miscalculated": ["3*7=22 left 5,22", "22+5=27 left 27"],
        "left is wrong": ["3*7=21 left 5,26"],
        "not all used": ["3*7=21 left 5,21", "#### 26"],
        "below zero": ["3-7=-4 left -4,5"],
        "no step": ["hello"],
    }
    assert {name: grade("countdown", problem, "26", steps) for name, steps in wrong.items()} == dict.fromkeys(
        wrong, 0.0
    )
    assert grade("countdown", problem, "25", ["3*7=21 left 5,21", "5+21=26 left 26"]) == 0.0
    assert grade("countdown", {**problem, "prompt": "3+5"}, "8", []) is None
    assert replay([2, 2], ["2*2=4 left 4"]) == [4]


def test_mathematics_is_compared_by_meaning():
    problem = {"problem_id": "p", "prompt": "x", "reference_answer": "\\frac{\\sqrt{2}}{2}"}
    assert grade("math", problem, "\\frac{1}{\\sqrt{2}}", []) == 1.0
    assert grade("math", problem, "2", []) == 0.0
    assert grade("math", problem, "((((", []) == 0.0
    assert grade("math", {**problem, "reference_answer": "0.5"}, "1/2", []) == 1.0


def test_a_question_that_takes_too_long_is_not_graded_and_the_next_one_is():
    checker = MathChecker(timeout_s=1.0)
    assert checker.same("9^{9^{9^{9}}}", "2") is None
    assert checker.same("x + 1", "1 + x") is True
    checker.close()
