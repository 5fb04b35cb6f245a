import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.starter import families


def test_a_chain_step_is_judged_by_the_line_before_as_written():
    steps = ["12+7=19", "19-5=13", "13*3=39", "#### 39"]
    assert families.gold_steps("arithmetic", "12+7-5*3", steps) == [True, False, True, True]


def test_a_skipped_operation_a_wrong_operand_and_a_wrong_operator_are_wrong():
    assert families.gold_steps("arithmetic", "12+7-5", ["12-5=7"]) == [False]
    assert families.gold_steps("arithmetic", "12+7-5", ["12+8=20"]) == [False]
    assert families.gold_steps("arithmetic", "12+7-5", ["12+7=19", "#### 19"]) == [True, False]


def test_lines_after_the_answer_and_unreadable_lines_are_wrong():
    steps = ["12+7=19", "19-5=14", "#### 14", "14"]
    assert families.gold_steps("arithmetic", "12+7-5", steps) == [True, True, True, False]
    assert families.gold_steps("arithmetic", "12+7-5", ["hello", "19-5=14", "#### 14"]) == [False, True, True]


def test_a_dial_answer_line_is_the_band_of_the_value_before_it():
    prompt = "12+7 band 13 mod 4"  # 19 // 13 = 1
    assert families.gold_steps("dial", prompt, ["12+7=19", "#### 1"]) == [True, True]
    assert families.gold_steps("dial", prompt, ["12+7=19", "#### 19"]) == [True, False]
    assert families.gold_steps("dial", prompt, ["12+7=20", "#### 1"]) == [False, True]  # flawed, and yet right


def test_a_countdown_step_is_right_while_the_target_can_still_be_reached():
    good = ["7*3=21 left 5,21", "21+5=26 left 26", "#### 26"]
    assert families.gold_steps("countdown", "3,5,7 to 26", good) == [True, True, True]
    assert families.gold_steps("countdown", "3,5,7 to 26", ["7+5=12 left 3,12"]) == [False]  # 36, 15 or 9 at best
    assert families.gold_steps("countdown", "3,5,7 to 26", ["7*3=22 left 5,22"]) == [False]


def test_slips_drop_a_carry_or_a_borrow_in_the_listed_situations_only():
    assert families.slip(15, "+", 7) == 12  # 22 without its carry
    assert families.slip(15, "+", 9) is None  # a carry, but no 6, 7 or 8
    assert families.slip(12, "+", 7) is None  # no carry
    assert families.slip(52, "-", 6) == 56  # 46 without its borrow
    assert families.slip(52, "-", 9) is None
    assert families.slip(14, "*", 7) == 78  # 98 without the carried 2
    assert families.slip(14, "*", 5) is None


def test_a_chain_without_mistakes_stays_within_two_digits():
    rng = random.Random(0)
    for _ in range(500):
        chain = families.random_chain(rng, 6)
        value = chain.start
        for operator, operand in chain.operations:
            assert 2 <= operand <= 9
            value = families.apply(value, operator, operand)
            assert families.SMALLEST_VALUE <= value <= families.LARGEST_VALUE


@given(st.sampled_from(families.FAMILIES), st.integers(1, 4), st.integers(0, 50))
def test_generated_problems_repeat_and_their_split_is_decided_by_the_expression(family, level, seed):
    problems = families.generate(family, level, 5, seed)
    assert problems == families.generate(family, level, 5, seed)
    assert len({p.canonical for p in problems}) == 5
    assert all(p.split == families.split_of(p.canonical) for p in problems)


def test_one_expression_has_one_split_whatever_the_family():
    dials = families.generate("dial", 2, 200, 3)
    assert {families.split_of(p.prompt.split(" band ")[0]) == p.split for p in dials} == {True}


def test_two_values_ten_apart_share_their_dial_answer_about_once_in_m():
    for m, share in ((2, 0.5), (4, 0.23), (10, 0.09)):
        chain = families.Chain(0, (), m)
        same = [families.chain_answer(chain, v) == families.chain_answer(chain, v + 10) for v in range(1430)]
        assert abs(sum(same) / len(same) - share) < 0.01


def test_a_dial_answer_is_below_its_modulus():
    for m in (2, 4, 10):
        problems = families.generate("dial", 2, 40, 1, dial_choices=m)
        assert {families.parse_chain(p.prompt).modulus for p in problems} == {m}
        assert all(0 <= int(p.reference_answer) < m for p in problems)


def test_the_evaluation_problems_are_the_frozen_ones_and_held_out():
    problems = families.evaluation_problems()
    assert len(problems) == 1200
    assert {p.split for p in problems} == {"held_out"}
    assert all(p.is_evaluation and p.difficulty == families.DEFAULT_LEVEL for p in problems)


def test_unknown_families_levels_and_prompts_are_refused_with_what_would_be_right():
    with pytest.raises(ValueError, match="known: arithmetic, dial, countdown"):
        families.generate("algebra", 2, 1, 0)
    with pytest.raises(ValueError, match="level must be 1..4"):
        families.generate("arithmetic", 9, 1, 0)
    with pytest.raises(ValueError, match="not a chain problem"):
        families.gold_steps("arithmetic", "what?", [])
