"""The meta-judge on votes that a reader can count."""

from pipelines.agents.aggregate import Aggregate, Vote, aggregate, wrong_shares
from pipelines.agents.parse import Judgement


def vote(agent: str, *verdicts: str, weight: float = 1.0) -> Vote:
    first = verdicts.index("wrong") if "wrong" in verdicts else -1
    return Vote(agent, weight, Judgement(verdicts, first))


def test_two_of_three_agents_carry_the_verdict():
    votes = [vote("a", "right", "wrong"), vote("b", "right", "wrong"), vote("c", "right", "right")]
    assert aggregate(votes) == Aggregate("wrong", 2 / 3, 1, 3)


def test_one_of_three_agents_is_outvoted():
    votes = [vote("a", "wrong", "right"), vote("b", "right", "right"), vote("c", "right", "right")]
    assert aggregate(votes) == Aggregate("right", 2 / 3, -1, 3)


def test_a_heavy_agent_outvotes_two_light_ones():
    votes = [vote("a", "wrong", weight=3.0), vote("b", "right"), vote("c", "right")]
    assert aggregate(votes) == Aggregate("wrong", 3 / 5, 0, 3)


def test_the_first_step_over_the_threshold_is_the_first_error():
    votes = [
        vote("a", "wrong", "wrong", "right"),
        vote("b", "right", "wrong", "right"),
        vote("c", "right", "wrong", "wrong"),
    ]
    assert wrong_shares(votes) == [1 / 3, 1.0, 1 / 3]
    assert aggregate(votes).first_error_step == 1


def test_agents_that_stopped_early_have_no_say_in_later_steps():
    votes = [vote("a", "wrong"), vote("b", "right", "wrong"), vote("c", "right", "right")]
    assert wrong_shares(votes) == [1 / 3, 1 / 2]


def test_agents_that_only_agree_that_something_is_wrong_get_the_most_accused_step():
    votes = [
        vote("a", "wrong", "right", "right"),
        vote("b", "right", "wrong", "right"),
        vote("c", "right", "right", "wrong"),
    ]
    assert aggregate(votes) == Aggregate("wrong", 1.0, 0, 3)


def test_a_lower_threshold_lets_one_of_three_decide():
    votes = [vote("a", "right", "wrong"), vote("b", "right", "right"), vote("c", "right", "right")]
    assert aggregate(votes, threshold=0.3) == Aggregate("wrong", 1 / 3, 1, 3)


def test_at_threshold_one_all_must_agree():
    assert aggregate([vote("a", "wrong"), vote("b", "wrong")], threshold=1.0).verdict == "wrong"
    assert aggregate([vote("a", "wrong"), vote("b", "right")], threshold=1.0).verdict == "right"


def test_a_tie_is_not_an_error_and_no_votes_are_no_verdict():
    assert aggregate([vote("a", "wrong"), vote("b", "right")]).verdict == "right"
    assert aggregate([]) is None
