"""Critiques as units, and the grammar of a critique."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.agents.parse import Judgement, parse_critique
from pipelines.agents.units import Unit, critique_regex, line_of, units_of

STEPS = ("12+7=18", "18*2=36", "#### 36")


def read(text: str) -> tuple[Unit, ...]:
    judged = parse_critique(text, len(STEPS))
    assert isinstance(judged, Judgement)
    return units_of(text, judged, STEPS)


def test_the_starters_line_is_location_and_suggestion():
    text = "0 wrong 12+7=19\n1 right\n2 wrong #### 38\nverdict 0\n"
    assert read(text) == (
        Unit(0, None, "12+7=19", "calculation", None), Unit(2, None, "#### 38", "answer", None),
    )  # fmt: skip


def test_a_countdown_move_is_a_suggestion_too():
    assert read("0 wrong 4*2=8 left 3,8\n1 right\n2 right\nverdict 0\n")[0].suggestion == "4*2=8 left 3,8"


def test_an_instructed_models_line_has_criterion_severity_flaw_and_suggestion():
    text = "Step 0: wrong [calculation|4] 12+7 is not 18 -> 12+7=19\nStep 1: right\nStep 2: right\nVerdict: 0"
    assert read(text) == (Unit(0, "12+7 is not 18", "12+7=19", "calculation", 4),)


def test_free_text_is_a_flaw_and_steps_counted_from_one_are_shifted():
    text = "Step 1: correct\nStep 2: incorrect, 18*2 is 36 but 19 was meant\nStep 3: correct\nVerdict: step 2"
    (unit,) = read(text)
    assert (unit.step, unit.suggestion) == (1, None)
    assert unit.flaw == "18*2 is 36 but 19 was meant"


def test_a_first_error_that_only_the_closing_names_is_a_unit_without_words():
    assert read("verdict 2\n") == (Unit(2, None, None, "answer", None),)
    assert read("verdict -1\n") == ()


@pytest.mark.parametrize(
    "unit",
    [
        Unit(1, None, "18*2=36", "calculation", None),
        Unit(1, None, None, "calculation", None),
        Unit(1, "it was 19", "19*2=38", "reasoning", 5),
        Unit(1, "it was 19", None, "reasoning", 2),
    ],
)
def test_a_written_unit_is_read_again_as_itself(unit):
    assert read(f"0 right\n{line_of(unit)}\n2 right\nverdict 1\n") == (unit,)


def test_the_grammar_lets_exactly_whole_critiques_pass():
    grammar = re.compile(critique_regex(2))
    for text in (
        "0 right\n1 right\nverdict -1\n",
        "0 wrong 2+3=5\n1 right\nverdict 0\n",
        "0 wrong\n1 wrong\nverdict 1\n",
    ):
        assert grammar.fullmatch(text)
    for text in (
        "",
        "0 right\n",
        "0 right\n1 right\nverdict 2\n",
        "0 right\n1 right\nverdict +1\n",
        "0 right\n1 right",
    ):
        assert not grammar.fullmatch(text)


LINES = st.sampled_from(["0 right", "1 wrong 2=3", "2 wrong [a|3] b -> c", "1 wrong [[|9] -> ->",
                         "step 3: incorrect ###", "verdict 1", "verdict -1", "", "->", "[x|2]"])  # fmt: skip


@given(st.one_of(st.text(max_size=300), st.lists(LINES, max_size=8).map("\n".join)))
def test_whatever_can_be_read_has_its_units_within_the_solution(text):
    judged = parse_critique(text, len(STEPS))
    if isinstance(judged, Judgement):
        units = units_of(text, judged, STEPS)
        assert [unit.step for unit in units] == [i for i, said in enumerate(judged.step_verdicts) if said == "wrong"]
        assert all("\n" not in line_of(unit) for unit in units)
