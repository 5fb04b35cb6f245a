import math

import pyarrow as pa
import pytest

from pipelines.curation import Curation
from pipelines.judges.trustjudge_scores import CURATION, ScoreParams, graded, judged, run, score_token

GRADE = ["Score", ":", " [", "8", "]"]
TOP = [["x"]] * 3 + [["8", "9", "good"]] + [["]"]]
LOGPROBS = [[0.0]] * 3 + [[math.log(0.5), math.log(1 / 3), math.log(1 / 6)]] + [[0.0]]


def table(*judgments: tuple) -> pa.Table:
    columns = list(zip(*judgments, strict=True)) or [(), (), ()]
    arrays = [pa.array(list(values), one.kind) for one, values in zip(CURATION.reads, columns, strict=True)]
    names = ["position", *(one.name for one in CURATION.reads)]
    return pa.table([pa.array(range(len(judgments)), pa.int64()), *arrays], names=names)


def test_the_weights_are_the_odds_to_the_fifth_power():
    # p = 1/2: odds 1; p = 1/3: odds 1/2, to the fifth 1/32; S = (8 * 1 + 9 / 32) / (1 + 1 / 32) = 265 / 33
    rows = run(table((GRADE, TOP, LOGPROBS)), ScoreParams()).to_pylist()
    assert rows == [
        {"position": 0, "score": pytest.approx(265 / 33), "mean_score": pytest.approx(7.0), "top_score": 8.0,
         "is_certain": False, "reason": None}
    ]  # fmt: skip
    # with T = 1 the odds themselves weigh: (8 + 4.5) / 1.5
    assert graded({8: math.log(0.5), 9: math.log(1 / 3)}, 1.0).score == pytest.approx(25 / 3)


def test_a_fully_confident_grade_is_kept_where_the_published_code_drops_it():
    certain = graded({8: 0.0}, 0.2)
    assert (certain.score, certain.mean_score, certain.is_certain) == (8.0, 8.0, True)
    # the limit: the nearer p is to 1, the nearer the score is to the grade
    almost = graded({8: math.log1p(-1e-9), 3: math.log(1e-9)}, 0.2)
    assert almost.score == pytest.approx(8.0, abs=1e-12)
    assert not almost.is_certain
    # p = 0 has no weight
    assert graded({8: math.log(0.5), 100: -math.inf}, 0.2).score == 8.0


def test_one_grade_with_and_without_a_leading_space_adds_up():
    top = [*TOP[:3], ["8", "Ġ8", "▁9"], TOP[4]]
    logprobs = [*LOGPROBS[:3], [math.log(0.25), math.log(0.25), math.log(1 / 3)], LOGPROBS[4]]
    assert judged(GRADE, top, logprobs, ScoreParams()).score == pytest.approx(265 / 33)
    whole = [*LOGPROBS[:3], [math.log(0.6), math.log(0.4), -math.inf], LOGPROBS[4]]
    assert judged(GRADE, top, whole, ScoreParams()).is_certain


@pytest.mark.parametrize(
    ("tokens", "reason"),
    [
        (["Score: [", "8", "5", "]"], "score_split"),
        (["[", "8", "5]"], "score_split"),
        (["[8", "]"], "score_not_alone"),
        (["[8]"], "score_not_alone"),
        (["[", "8]"], "score_not_alone"),
        (["[", "]"], "no_score"),
        (["I", "like", "it"], "no_score"),
        (["[", *"abcdefgh", "]"], "no_score"),  # the bracket closes too late
        ([], "no_score"),
        (None, "no_score"),
        (["[", "good", "]"], "no_grade"),
        (["[", "101", "]"], "no_grade"),
    ],
)  # fmt: skip
def test_a_judgment_without_a_score_of_one_token_has_a_named_reason_and_no_score(tokens, reason):
    top = [[token] for token in tokens or []]
    result = judged(tokens, top, [[-0.5]] * len(top), ScoreParams())
    assert (result.score, result.top_score, result.reason) == (None, None, reason)


def test_the_last_bracket_counts():
    assert score_token(["[", "1", "]", "no", ",", "[", "2", "]"]) == (6, None)
    assert score_token(["[", "1", "]", "see", "[", "a"]) == (1, None)


@pytest.mark.parametrize(
    ("top", "logprobs"),
    [(None, None), ([], []), (TOP, [[0.0]]), (TOP, [[0.0]] * 5), ([*TOP[:3], [], []], [[0.0]] * 3 + [[], []])],
)  # fmt: skip
def test_a_score_token_without_a_distribution_has_no_score(top, logprobs):
    assert judged(GRADE, top, logprobs, ScoreParams()).reason == "no_distribution"


def test_a_probability_that_is_no_number_is_no_grade():
    logprobs = [*LOGPROBS[:3], [math.nan, math.nan, 0.0], LOGPROBS[4]]
    assert judged(GRADE, TOP, logprobs, ScoreParams()).reason == "no_grade"


def test_an_empty_table_has_an_empty_result_of_the_declared_columns():
    rows = run(table(), ScoreParams())
    assert (rows.num_rows, rows.schema) == (0, pa.schema([("position", pa.int64()), *CURATION.writes]))
    assert isinstance(CURATION, Curation)
    with pytest.raises(ValueError, match="min_score 5 must be below max_score 5"):
        ScoreParams(min_score=5, max_score=5)
