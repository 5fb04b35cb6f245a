"""Strategies by numbers worked out by hand."""

import numpy as np
import pyarrow as pa
import pytest

from pipelines.inference.errors import VocabularyTooLargeError
from pipelines.reasoning.solve import Solution
from pipelines.records import TokenUsage
from pipelines.rows import rows_to_table
from pipelines.strategies import (
    StrategyResult,
    best_of_n_certainty,
    best_of_n_critic,
    best_of_n_logprob,
    best_of_n_mean_logprob,
    borda_certainty,
    compare,
    greedy,
    guided_search,
    interval,
    majority,
    oracle,
    pass_at_1,
    report_rows,
    rollout_scores,
    self_certainties,
    weighted_majority,
)
from pipelines.tables import SCHEMAS


def rollout(rollout_id, problem_id, answer, reward, logprob, num_tokens=10):
    return {
        "rollout_id": rollout_id, "problem_id": problem_id, "answer": answer, "outcome_reward": reward,
        "sum_logprob": logprob, "num_tokens": num_tokens, "num_prompt_tokens": 5,
    }  # fmt: skip


ROWS = [
    # easy: the majority is right, the likeliest sample is wrong
    rollout("a1", "easy", "4", 1.0, -2.0),
    rollout("a2", "easy", "4", 1.0, -3.0),
    rollout("a3", "easy", "7", 0.0, -1.0),
    rollout("a4", "easy", None, 0.0, -0.1),
    # hard: the majority is wrong, one sample is right
    rollout("b1", "hard", "9", 0.0, -1.0),
    rollout("b2", "hard", "9", 0.0, -1.5),
    rollout("b3", "hard", "8", 1.0, -4.0),
    rollout("b4", "hard", "1", 0.0, -5.0, num_tokens=30),
]
ROLLOUTS = rows_to_table("rollouts", ROWS)
STEP_SCORES = rows_to_table(
    "step_scores",
    [
        {"rollout_id": rollout_id, "step": step, "score": score}
        for rollout_id, scores in {
            "a1": [0.9, 0.5], "a2": [0.6, 0.7], "a3": [0.8, 0.4], "a4": [1.0, 1.0],
            "b1": [0.9, 0.2], "b2": [0.5, 0.3], "b3": [0.6, 0.9], "b4": [1.0, None],
        }.items()
        for step, score in enumerate(scores)
    ],
)  # fmt: skip


def right(result: StrategyResult) -> dict[str, float]:
    return dict(zip(result.problem_ids, result.is_right.tolist(), strict=True))


def test_pass_at_1_is_the_mean_over_samples():
    result = pass_at_1(ROLLOUTS)
    assert right(result) == {"easy": 0.5, "hard": 0.25}
    assert result.accuracy == 0.375
    assert result.completion_tokens.tolist() == [10.0, 15.0]
    assert result.prompt_tokens.tolist() == [5.0, 5.0]


def test_the_majority_ignores_missing_answers():
    result = majority(ROLLOUTS, 4)
    assert right(result) == {"easy": 1.0, "hard": 0.0}
    assert result.completion_tokens.tolist() == [40.0, 60.0]
    assert result.prompt_tokens.tolist() == [5.0, 5.0]


def test_a_tied_majority_goes_to_the_lowest_rollout_id():
    tied = rows_to_table("rollouts", [rollout("z2", "p", "1", 1.0, -1.0), rollout("z1", "p", "2", 0.0, -1.0)])
    assert right(majority(tied, 2)) == {"p": 0.0}


def test_best_of_n_by_log_probability_takes_the_likeliest_sample_that_has_an_answer():
    assert right(best_of_n_logprob(ROLLOUTS, 4)) == {"easy": 0.0, "hard": 0.0}
    # blocks of two: easy (a1 right, a3 wrong), hard (b1 wrong, b3 right)
    assert right(best_of_n_logprob(ROLLOUTS, 2)) == {"easy": 0.5, "hard": 0.5}


def test_best_of_n_by_critic_depends_on_the_aggregate():
    # easy, without the unanswered a4: min .5 .6 .4, last .5 .7 .4; hard: min .2 .3 .6, product .18 .15 .54
    assert right(best_of_n_critic(ROLLOUTS, STEP_SCORES, 4, "min")) == {"easy": 1.0, "hard": 1.0}
    result = best_of_n_critic(ROLLOUTS, STEP_SCORES, 4, "product")
    assert right(result) == {"easy": 1.0, "hard": 1.0}
    assert result.critic_tokens.tolist() == [60.0, 80.0]  # four prompts of 5 and every completion
    assert result.strategy == "best_of_4_critic"


def test_length_is_divided_out_of_the_log_probability():
    # sums -2 and -3, means over 4 and 30 tokens -0.5 and -0.1
    rows = [rollout("a", "p", "1", 0.0, -2.0, num_tokens=4), rollout("b", "p", "2", 1.0, -3.0, num_tokens=30)]
    assert right(best_of_n_logprob(rows_to_table("rollouts", rows), 2)) == {"p": 0.0}
    result = best_of_n_mean_logprob(rows_to_table("rollouts", rows), 2)
    assert (right(result), result.strategy) == ({"p": 1.0}, "best_of_2_mean_logprob")
    assert result.critic_tokens.tolist() == [0.0]  # what was sampled is known already


def test_a_weighted_majority_sums_the_critics_scores_per_answer():
    # easy, mean: 4 has 0.7 + 0.65, 7 has 0.6; hard: 9 has 0.55 + 0.4 = 0.95, 8 has 0.75, 1 was never scored
    assert right(weighted_majority(ROLLOUTS, STEP_SCORES, 4, "mean")) == {"easy": 1.0, "hard": 0.0}
    # product: 9 has 0.18 + 0.15 = 0.33, 8 has 0.54
    result = weighted_majority(ROLLOUTS, STEP_SCORES, 4, "product")
    assert right(result) == {"easy": 1.0, "hard": 1.0}
    assert result.critic_tokens.tolist() == [60.0, 80.0]
    assert result.strategy == "weighted_majority_4_critic"


def test_a_scorer_has_its_name_and_its_own_tokens():
    tokens = {"a1": 100, "a2": 50, "b1": 7}
    result = best_of_n_critic(ROLLOUTS, STEP_SCORES, 4, scorer="self_prm", tokens_read=tokens)
    assert (result.strategy, result.critic_tokens.tolist()) == ("best_of_4_self_prm", [150.0, 7.0])
    result = weighted_majority(ROLLOUTS, STEP_SCORES, 2, scorer="self_prm", tokens_read=tokens)
    assert (result.strategy, result.critic_tokens.tolist()) == ("weighted_majority_2_self_prm", [75.0, 3.5])


def certainties(*values: float | None, model: str = "m"):
    ids = ["a1", "a2", "a3", "a4", "b1", "b2", "b3", "b4"]
    return rows_to_table(
        "token_scores",
        [
            {"rollout_id": rollout_id, "model_digest": model, "self_certainty": value}
            for rollout_id, value in zip(ids, values, strict=True)
        ],
    )


def test_samples_are_ranked_by_self_certainty():
    # easy: 7 is surest, the unanswered a4 takes no part; hard: 8 is surest, then 1, 9, 9
    scores = certainties(2.0, 1.0, 3.0, 9.0, 1.0, 2.0, 4.0, 3.0)
    assert right(best_of_n_certainty(ROLLOUTS, scores, 4)) == {"easy": 0.0, "hard": 1.0}
    # p = 0.5, easy: 4 has 2^0.5 + 1 = 2.41, 7 has 3^0.5 = 1.73; hard: 8 has 4^0.5 = 2, 9 has 2^0.5 + 1 = 2.41
    result = borda_certainty(ROLLOUTS, scores, 4)
    assert right(result) == {"easy": 1.0, "hard": 0.0}
    assert (result.strategy, result.critic_tokens.tolist()) == ("borda_4_certainty", [60.0, 80.0])
    # p = 1, hard: 8 has 4, 9 has 2 + 1; easy: both have 3, and 7 the surest sample
    assert right(borda_certainty(ROLLOUTS, scores, 4, power=1.0)) == {"easy": 0.0, "hard": 1.0}
    assert right(borda_certainty(ROLLOUTS, scores, 4, power=0.0)) == right(majority(ROLLOUTS, 4))
    assert borda_certainty(ROLLOUTS, scores, 4, power=0.0).strategy == "borda_4_certainty_p0"


def test_votes_by_certainty_need_one_model_whose_vocabulary_was_seen():
    with pytest.raises(VocabularyTooLargeError, match="None of the 8 rows of token_scores has a self-certainty"):
        borda_certainty(ROLLOUTS, certainties(*[None] * 8), 4)
    with pytest.raises(ValueError, match="rows of 2 models"):
        self_certainties(pa.concat_tables([certainties(*[1.0] * 8), certainties(*[1.0] * 8, model="other")]))
    assert self_certainties(certainties(1.0, *[None] * 7)) == {"a1": 1.0}


def test_a_rollout_that_was_never_scored_is_chosen_only_when_there_is_no_other():
    assert "b4" not in rollout_scores(STEP_SCORES, "mean")
    assert rollout_scores(STEP_SCORES, "product")["b1"] == pytest.approx(0.18)
    only = rows_to_table("rollouts", [ROWS[7]])
    assert right(best_of_n_critic(only, STEP_SCORES, 1)) == {"hard": 0.0}


def test_the_oracle_is_right_when_any_sample_is():
    assert right(oracle(ROLLOUTS, 4)) == {"easy": 1.0, "hard": 1.0}
    assert right(oracle(ROLLOUTS, 2)) == {"easy": 0.5, "hard": 0.5}


def test_failed_rollouts_count_as_wrong():
    failed = {"rollout_id": "f1", "problem_id": "p", "error": "ServerError: x"}
    assert right(greedy(rows_to_table("rollouts", [failed]))) == {"p": 0.0}
    assert right(majority(rows_to_table("rollouts", [failed]), 1)) == {"p": 0.0}
    assert right(best_of_n_logprob(rows_to_table("rollouts", [failed]), 1)) == {"p": 0.0}


def test_too_few_samples_are_refused():
    with pytest.raises(ValueError, match="needs 8 samples per problem, and problem easy has 4"):
        majority(ROLLOUTS, 8)


def make_result(name, is_right):
    ids = tuple(f"p{index:04d}" for index in range(len(is_right)))
    zeros = np.zeros(len(is_right))
    return StrategyResult(name, ids, np.array(is_right, dtype=float), zeros, zeros, zeros)


def test_a_comparison_is_paired():
    # 100 problems; the strategy is right on 60, the baseline on 50 of the same 60: never worse
    strategy, baseline = make_result("new", [1] * 60 + [0] * 40), make_result("old", [1] * 50 + [0] * 50)
    comparison = compare(strategy, baseline)
    assert comparison.difference == pytest.approx(0.10)
    assert 0.03 < comparison.low < comparison.difference < comparison.high < 0.18
    assert compare(strategy, baseline) == comparison
    # unpaired, the interval of a difference of 10 points at n = 100 would reach below zero
    with pytest.raises(ValueError, match="not run on the same problems"):
        compare(strategy, make_result("other", [1] * 10))


def test_the_interval_of_a_half_at_four_hundred_problems_is_about_five_points_wide_on_each_side():
    low, high = interval(np.array([0.0, 1.0] * 200))
    assert (low, high) == (pytest.approx(0.451, abs=0.01), pytest.approx(0.549, abs=0.01))


def test_solutions_of_a_search_are_ordered_by_problem_and_failures_are_wrong():
    usage = TokenUsage(prompt_tokens=7, completion_tokens=100, critic_tokens=30)
    result = guided_search(
        [
            Solution("p2", "5", 1.0, ("#### 5",), 0.9, 3, usage),
            Solution("p1", None, None, (), None, 0, TokenUsage(), "ServerError: x"),
        ],
        "puct_critic",
    )
    assert right(result) == {"p1": 0.0, "p2": 1.0}
    assert result.critic_tokens.tolist() == [0.0, 30.0]


def test_report_rows_fit_the_table_of_the_report():
    rows = report_rows([pass_at_1(ROLLOUTS), oracle(ROLLOUTS, 4)], night="2026-01-01")
    table = rows_to_table("policy_report", rows)
    assert table.schema.equals(SCHEMAS["policy_report"])
    assert table["accuracy"].to_pylist() == [0.375, 1.0]
