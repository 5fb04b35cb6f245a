"""Meta-critique and final critique of a group worked out by hand.

Three steps; four agents of weights 1, 1, 1, 2:

    agent  step 0  step 1             step 2   weight
    a      right   wrong (3*4=12)     right    1
    b      right   wrong (3*4=11)     wrong    1
    c      wrong   right              right    1
    d      right   wrong (3*4=12)     right    2

Wrong shares: 1/5, 4/5, 1/5. Verdict wrong, first error 1, confidence 5/5.
"""

import pytest

from pipelines.agents.aggregate import Vote, aggregate
from pipelines.agents.final import JudgedUnit, final_critique
from pipelines.agents.meta import (
    MetaCritique,
    by_peers,
    quality_by_model,
    quality_by_peers,
    read_meta,
)
from pipelines.agents.parse import Judgement
from pipelines.agents.units import Unit

TEXTS = {
    "a": (("right", "wrong", "right"), {1: "3*4=12"}, 1.0),
    "b": (("right", "wrong", "wrong"), {1: "3*4=11", 2: None}, 1.0),
    "c": (("wrong", "right", "right"), {0: "1+2=4"}, 1.0),
    "d": (("right", "wrong", "right"), {1: "3*4=12"}, 2.0),
}
VOTES = [Vote(agent, weight, Judgement(said, said.index("wrong"))) for agent, (said, _, weight) in TEXTS.items()]
UNITS = [
    (agent, weight, Unit(step, None, suggestion, "calculation", None))
    for agent, (_, found, weight) in TEXTS.items()
    for step, suggestion in found.items()
]


def judged(votes=VOTES) -> list[JudgedUnit]:
    return [JudgedUnit(agent, weight, unit, by_peers(unit, agent, votes)) for agent, weight, unit in UNITS]


def test_a_unit_is_confirmed_when_most_of_the_others_weight_agrees():
    """a at step 1: b and d of b, c, d agree, 3 of 4. b at step 2: nobody of 4. c at step 0: nobody of 4."""
    found = {(one.agent, one.unit.step): (one.meta.category, one.meta.support) for one in judged()}
    assert found == {
        ("a", 1): ("confirmed", 0.75), ("b", 1): ("confirmed", 0.75), ("b", 2): ("contested", 0.0),
        ("c", 0): ("contested", 0.0), ("d", 1): ("confirmed", pytest.approx(2 / 3)),
    }  # fmt: skip


def test_the_quality_of_a_critique_is_minus_the_shares_that_contradict_it():
    """a: 1/4 (c at step 0) + 1/4 (c at step 1) + 1/4 (b at step 2) = 3/4. b: 1/4 + 1/4 + 4/4 = 3/2.
    c: 4/4 + 4/4 + 1/4 = 9/4. d: 1/3 + 1/3 + 1/3 = 1.
    """
    assert [quality_by_peers(vote, VOTES) for vote in VOTES] == pytest.approx([-0.75, -1.5, -2.25, -1.0])
    assert quality_by_peers(VOTES[0], VOTES[:1]) is None


def test_the_final_critique_keeps_the_suggestion_with_the_most_weight_behind_it():
    """Step 1: 3*4=12 has weight 3 (a, d), 3*4=11 weight 1; of a and d the first by name."""
    conclusion = aggregate(VOTES)
    final = final_critique(conclusion, VOTES, judged(), 3, 0.5)
    assert final.text == "0 right\n1 wrong 3*4=12\n2 right\nverdict 1\n"
    assert [one.agent for one in final.kept] == ["a"]
    assert {(one.agent, one.unit.step): reason for one, reason in final.dropped} == {
        ("b", 1): "not_the_best", ("d", 1): "not_the_best", ("b", 2): "not_wrong_by_vote",
        ("c", 0): "not_wrong_by_vote",
    }  # fmt: skip


def test_where_the_vote_finds_nothing_every_unit_is_dropped():
    votes = [Vote("b", 1.0, VOTES[1].judgement), *(Vote(name, 1.0, Judgement(("right",) * 3, -1)) for name in "xyz")]
    units = [one for one in judged(votes) if one.agent == "b"]
    final = final_critique(aggregate(votes), votes, units, 3, 0.5)
    assert final.text == "0 right\n1 right\n2 right\nverdict -1\n"
    assert [reason for _, reason in final.dropped] == ["verdict_right", "verdict_right"]


def test_the_first_error_keeps_a_unit_that_nobody_confirms():
    """Two agents find different first errors; each step has half the weight, so the first of them is the verdict's."""
    votes = [Vote("a", 1.0, Judgement(("wrong", "right"), 0)), Vote("b", 1.0, Judgement(("right", "wrong"), 1))]
    units = [JudgedUnit(name, 1.0, Unit(step, None, None, None, None), MetaCritique("contested", 0.0, None))
             for name, step in (("a", 0), ("b", 1))]  # fmt: skip
    final = final_critique(aggregate(votes), votes, units, 2, 0.5)
    assert final.text == "0 wrong\n1 right\nverdict 0\n"
    assert [reason for _, reason in final.dropped] == ["not_wrong_by_vote"]


def test_a_suggestion_that_a_model_calls_wrong_is_left_out_and_the_flaw_stays():
    votes = [Vote("a", 1.0, Judgement(("wrong", "right"), 0))]
    unit = Unit(0, "the sum is off", "2+3=7", "calculation", 4)
    units = [JudgedUnit("a", 1.0, unit, read_meta("wrong_suggestion 3\n"))]
    assert final_critique(aggregate(votes), votes, units, 2, 0.5).text == (
        "0 wrong [calculation|4] the sum is off\n1 right\nverdict 0\n"
    )


def test_a_models_answer_is_a_category_and_a_severity_or_an_error():
    assert read_meta("no_flaw 5") == MetaCritique("no_flaw", None, 5)
    assert read_meta("**flawless**: 1 because it holds") == MetaCritique("flawless", None, 1)
    for text in ("", "bad", "flawless", "flawless 7", "错误 3"):
        assert read_meta(text).error == "unreadable: no_category"


def test_quality_by_a_model_sums_the_severities_of_what_is_not_flawless():
    assert quality_by_model([read_meta("flawless 2"), read_meta("no_flaw 5"), read_meta("too_vague 1")]) == -6.0
    assert quality_by_model([read_meta("flawless 2")]) == 0.0
    assert quality_by_model([]) is None
    assert quality_by_model([read_meta("flawless 2"), read_meta("?")]) is None
