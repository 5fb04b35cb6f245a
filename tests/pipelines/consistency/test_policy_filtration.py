import pytest
from curation_worlds import reasons, run_method

from pipelines.consistency.policy_filtration import r_squared


def sample(name: str, reward: float | None, outcome: float | None = None, problem: str = "p") -> dict:
    values = None if reward is None else [reward, reward]
    return {"problem_id": problem, "rollout_id": name, "step_values": values, "outcome_reward": outcome}


FIVE = [sample(name, reward) for name, reward in zip("abcde", (0.5, 0.9, 0.1, 0.6, 0.4), strict=True)]


def test_the_best_and_the_worst_stay():
    made = run_method("policy_filtration", FIVE)
    assert reasons(made) == ["unreliable_reward", None, None, "unreliable_reward", "unreliable_reward"]
    assert [row["score"] for row in made] == [0.5, 0.9, 0.1, 0.6, 0.4]
    assert reasons(run_method("policy_filtration", FIVE, num_best=2, num_worst=0))[3] is None


def test_others_are_drawn_by_a_seeded_lot():
    drawn = [reasons(run_method("policy_filtration", FIVE, num_worst=0, num_random=2, seed=seed)) for seed in (0, 0, 3)]
    assert drawn[0] == drawn[1]
    assert all(one[1] is None and one.count(None) == 3 for one in drawn)


def test_small_groups_stay_whole_and_ends_are_not_counted_twice():
    assert reasons(run_method("policy_filtration", [sample("a", 0.5)])) == [None]
    assert reasons(run_method("policy_filtration", FIVE[:2], num_best=2, num_worst=2)) == [None, None]


def test_of_equal_rewards_the_smaller_id_is_the_better():
    ties = [sample(name, 0.5) for name in "cab"]
    assert reasons(run_method("policy_filtration", ties, num_worst=0)) == [
        "unreliable_reward", None, "unreliable_reward"
    ]  # fmt: skip


def test_what_has_no_reward_takes_no_part():
    rows = [sample("a", 0.5), sample("b", None), sample("c", float("nan")), sample("d", 0.1) | {"step_values": []}]
    made = run_method("policy_filtration", rows)
    assert reasons(made) == [None, "no_step_scores", "broken_step_scores", "no_step_scores"]
    assert [row["score"] for row in made] == [0.5, None, None, None]


def test_r_squared_is_the_square_of_the_correlation():
    # rewards 0, 1, 2 against 0, 0, 1: covariance 1, variances 2 and 2/3: 1 / (4/3)
    assert r_squared([0.0, 0.0, 1.0], [0.0, 1.0, 2.0]) == pytest.approx(0.75)
    assert r_squared([1.0, 1.0, 1.0], [0.0, 1.0, 2.0]) is None
    assert r_squared([0.0, 1.0], [0.0, 1.0]) is None


def test_the_strategy_whose_rewards_tell_most_is_chosen():
    # what stays of the best alone is right, so that nothing can be told; the best and the worst tell all
    rows = [
        sample(f"{problem}{i}", reward, outcome, problem)
        for problem in ("p", "q")
        for i, (reward, outcome) in enumerate([(0.9, 1.0), (0.6, 1.0), (0.5, 0.0), (0.1, 0.0)])
    ]
    made = {row["strategy"]: row for row in run_method("policy_filtration_search", rows)}
    assert made["best_and_worst"] == {
        "strategy": "best_and_worst", "num_best": 1, "num_worst": 1, "num_random": 0, "num_kept": 4, "num_graded": 4,
        "right_share": 0.5, "r_squared": pytest.approx(1.0), "is_chosen": True,
    }  # fmt: skip
    assert (made["best"]["right_share"], made["best"]["r_squared"], made["best"]["is_chosen"]) == (1.0, None, False)


def test_empty_tables_have_no_rate_and_nothing_chosen():
    made = run_method("policy_filtration_search", [])
    assert [(row["num_kept"], row["right_share"], row["r_squared"], row["is_chosen"]) for row in made] == [
        (0, None, None, False)
    ] * 4
