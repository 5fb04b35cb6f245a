"""Errors that are put into right steps."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.agents.corruption import KINDS, corrupt, corrupt_step, equation_holds, mended

STEPS = ("2+3=5", "5-1=4", "#### 4")


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 500))
def test_a_corruption_changes_one_step_that_is_not_the_answer(kind, seed):
    made = corrupt(STEPS, kind, random.Random(seed))
    assert made.step in (0, 1) and made.original == STEPS[made.step]
    if kind == "missing_step":
        assert made.steps == STEPS[: made.step] + STEPS[made.step + 1 :]
    else:
        assert [i for i in range(3) if made.steps[i] != STEPS[i]] == [made.step]


@given(seed=st.integers(0, 500), a=st.integers(-99, 99), b=st.integers(0, 99))
def test_a_wrong_number_breaks_the_equation_and_other_errors_keep_it(seed, a, b):
    rng = random.Random(seed)
    step = f"{a}+{b}={a + b}"
    assert equation_holds(corrupt_step(step, "wrong_number", rng)) is False
    for kind in ("wrong_operator", "wrong_operand"):
        changed = corrupt_step(step, kind, rng)
        assert changed is None or (equation_holds(changed) and changed != step)


def test_what_a_rule_does_not_fit_is_not_corrupted():
    rng = random.Random(0)
    assert corrupt_step("so we are done", "wrong_number", rng) is None
    assert corrupt_step("so there are 12 left", "wrong_operator", rng) is None
    assert corrupt_step("2+2=4", "wrong_operator", random.Random(1)) in (None, "2-2=0")  # 2*2 is 4 too
    assert corrupt(("#### 4",), "wrong_number", rng) is None
    assert corrupt(("2+3=5", "#### 5"), "missing_step", rng) is None


def test_a_calculator_checks_and_mends_equations():
    assert equation_holds("3*4=12 left 5,12") is True
    assert equation_holds("first 3*4=12, then 12 - 5 = 8") is False
    assert equation_holds("#### 4") is None
    assert mended("3*4=11") == "3*4=12"
    assert mended("4-9=5") == "4-9=-5"
