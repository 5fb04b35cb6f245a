"""Rewards of critics on rows worked out by hand."""

import math

import pytest
from curation_worlds import run_method

NAN = math.nan


def critique(verdict: str | None, before: float | None, *afters: float | None, **more: object) -> dict:
    return {"rollout_id": "r", "critique": "c", "verdict": verdict, "original_reward": before,
            "refinement_rewards": list(afters) or None} | more  # fmt: skip


CRITIQUES = [
    critique("wrong", 0.0, 1.0, 0.0),  # found it, helps half of the time
    critique("right", 1.0, 1.0),  # rightly praised, left right
    critique("wrong", 1.0, 0.0),  # false alarm that ruins it
    critique("right", 0.0, 0.0),  # overlooked
    critique(None, 0.0, 1.0),
    critique("wrong", None, 1.0),
    critique("wrong", 0.0),
    critique("wrong", 0.0, None, NAN),
]


def rewards(name: str, rows=CRITIQUES, **parameters: object) -> list[float | None]:
    return [row["reward"] for row in run_method(name, rows, **parameters)]


def test_critique_rl_in_stage_one_is_plus_or_minus_one_and_a_missing_verdict_is_wrong():
    assert rewards("critique_rl", stage=1) == [1.0, 1.0, -1.0, -1.0, -1.0, None, 1.0, 1.0]


@pytest.mark.parametrize(
    ("mode", "help_of_first", "help_of_second"),
    [("refine", 0.5, 1.0), ("delta", 0.5, 0.0), ("correct", 0.5, 0.2)],
)
def test_critique_rl_in_stage_two_adds_help_and_bonus_and_a_wrong_verdict_overrides_both(
    mode, help_of_first, help_of_second
):
    expected = [help_of_first + 0.2, help_of_second + 0.2, -1.0, -1.0, -1.0, None, None, None]
    assert rewards("critique_rl", mode=mode) == pytest.approx(expected)
    made = run_method("critique_rl", CRITIQUES, mode=mode)
    assert [row["reason"] for row in made] == [
        None, None, None, None, "no_verdict", "no_grade", "no_refinement", "no_refinement",
    ]  # fmt: skip


def test_a_refinement_that_ruins_a_right_answer_is_minus_one_by_delta():
    assert run_method("critique_rl", CRITIQUES, mode="delta")[2]["helpfulness"] == -1.0


def test_ref_critic_is_the_weighted_mean_of_its_two_rewards():
    """(1 + 0.5)/2; right solutions have no refinement reward; a false alarm 0; (0 + 0)/2."""
    assert rewards("ref_critic") == [0.75, 1.0, 0.0, 0.0, None, None, None, None]
    assert rewards("ref_critic", balance_weight=0.0) == [1.0, 1.0, 0.0, 0.0, None, None, 1.0, 1.0]
    assert rewards("ref_critic", only_wrong=False)[:4] == [0.75, 1.0, 0.0, 0.0]
    assert rewards("ref_critic", balance_weight=3.0)[0] == pytest.approx((1 + 3 * 0.5) / 4)


def test_label_match_is_one_or_zero_and_what_cannot_be_read_has_no_reward():
    made = run_method("critique_label_match", CRITIQUES)
    assert [row["reward"] for row in made] == [1.0, 1.0, 0.0, 0.0, None, None, 1.0, 1.0]
    assert made[4]["reason"] == "no_verdict" and made[5]["reason"] == "no_grade"


def test_ctrl_keeps_what_passes_and_does_not_speak_of_the_hint():
    rows = [critique("wrong", 0.0, 1.0), critique("wrong", 0.0, 1.0, critique="As The Hint says"),
            critique("wrong", 0.0, 1.0, 0.0), critique("wrong", 0.0)]  # fmt: skip
    made = run_method("ctrl", rows, balanced=False)
    assert [(row["reason"], row["score"]) for row in made] == [
        (None, 1.0), ("mentions_hint", 1.0), ("refinement_fails", 0.5), ("no_refinement", None),
    ]  # fmt: skip
    assert [row["kept"] for row in run_method("ctrl", rows, balanced=False, min_share=0.5)] == [
        True,
        False,
        True,
        False,
    ]


def test_ctrl_balances_verdicts_to_the_shares_of_the_solutions():
    """Solutions: a, b wrong, c right. Fit: three that say wrong, three that say right; per 2 wrong 1 right stays: at
    most floor(3 * 1/2) = 1 that says right, and all three (at most 3 * 2/1) that say wrong.
    """
    rows = [critique("wrong", 0.0, 1.0, rollout_id="a", critique=f"w{i}") for i in range(2)]
    rows += [critique("wrong", 0.0, 1.0, rollout_id="b", critique="w2")]
    rows += [critique("right", 1.0, 1.0, rollout_id="c", critique=f"r{i}") for i in range(3)]
    made = run_method("ctrl", rows)
    assert [row["reason"] for row in made[:3]] == [None, None, None]
    assert sorted(row["reason"] or "kept" for row in made[3:]) == ["balance_random", "balance_random", "kept"]
    one_sided = run_method("ctrl", rows[:3])
    assert all(row["kept"] for row in one_sided)


def test_the_metric_reward_is_the_metric_afterwards_or_the_gain():
    rows = [{"metric_before": 0.25, "metric_after": 0.75}, {"metric_before": None, "metric_after": 0.5},
            {"metric_before": 0.5, "metric_after": NAN}]  # fmt: skip
    made = run_method("metric_gain", rows)
    assert [(row["reward"], row["gap"], row["reason"]) for row in made] == [
        (0.75, 0.5, None), (0.5, None, None), (None, None, "no_metric"),
    ]  # fmt: skip
    assert made[0]["soft_label"] == pytest.approx(1 / (1 + math.exp(-0.5)))
    assert rewards("metric_gain", rows, relative=True) == [0.5, None, None]


def test_span_rewards_punish_wrong_steps_and_end_with_the_outcome():
    rows = [
        {"step_verdicts": ["right", "wrong", "right"], "outcome_reward": 1.0},
        {"step_verdicts": ["wrong"], "outcome_reward": 0.0},
        {"step_verdicts": [], "outcome_reward": 1.0},
        {"step_verdicts": ["right", "perhaps"], "outcome_reward": 1.0},
        {"step_verdicts": ["right"], "outcome_reward": None},
    ]
    made = run_method("drlc_span_rewards", rows)
    assert [row["step_rewards"] for row in made] == [[0.0, -1.0, 1.0], [-1.0], None, None, None]
    assert [row["reason"] for row in made[2:]] == ["no_verdicts", "unreadable_verdict", "no_outcome"]
    weighted = run_method("drlc_span_rewards", rows[:1], intrinsic_weight=0.5, outcome_weight=2.0, reward_right=True)
    assert weighted[0]["step_rewards"] == [0.5, -0.5, 2.5]


def test_critique_grpo_puts_answers_and_refinements_into_one_group():
    """p: answers a 0, b 0, refinements of a 1 and of b 0: mean 1/4."""
    rows = [
        {"problem_id": "p", "original_id": "a", "original": "A", "original_reward": 0.0, "refinement_id": "ra",
         "refinement": "RA", "refinement_reward": 1.0},
        {"problem_id": "p", "original_id": "b", "original": "B", "original_reward": 0.0, "refinement_id": "rb",
         "refinement": "RB", "refinement_reward": 0.0},
    ]  # fmt: skip
    made = run_method("critique_grpo", rows)
    assert [(row["response_id"], row["is_refinement"], row["advantage"]) for row in made] == [
        ("a", False, -0.25), ("b", False, -0.25), ("ra", True, 0.75), ("rb", True, -0.25),
    ]  # fmt: skip
    kept = run_method("critique_grpo", rows, only_right=True)
    assert [row["advantage"] for row in kept] == pytest.approx([-1 / 3, -1 / 3, 2 / 3])


@pytest.mark.parametrize("name", ["critique_rl", "ref_critic", "ctrl", "critique_label_match", "metric_gain",
                                  "drlc_span_rewards", "critique_grpo"])  # fmt: skip
def test_an_empty_table_gives_an_empty_table(name):
    assert run_method(name, []) == []
