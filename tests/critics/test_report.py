import pytest

from critics.report import critic_report
from pipelines.tables import SCHEMAS
from tests.critics.conftest import make_problem, table

PROBLEM = table("problems", [make_problem("p")])
RIGHT = {"recipe": "independent_samples", "problem_id": "p", "outcome_reward": 1.0, "sum_logprob": -5.0}
WRONG = {"recipe": "independent_samples", "problem_id": "p", "outcome_reward": 0.0, "sum_logprob": -1.0}
ROLLOUTS = table(
    "rollouts",
    [
        {"rollout_id": "right", "steps": ["a", "b"], **RIGHT},
        {"rollout_id": "wrong", "steps": ["a", "c", "d"], **WRONG},
    ],
)


def scores_table(scores: dict[str, list[float]]):
    return table(
        "step_scores",
        [{"rollout_id": r, "step": i, "score": s} for r, row in scores.items() for i, s in enumerate(row)],
    )


def gold_table(labels: dict[str, list[bool]]):
    rows = [{"rollout_id": r, "step": i, "is_right": x} for r, row in labels.items() for i, x in enumerate(row)]
    return table("gold_steps", rows)


SCORES = scores_table({"right": [0.9, 0.8], "wrong": [0.9, 0.3, 0.9]})
GOLD = gold_table({"right": [True, True], "wrong": [True, False, False]})


def values(report, where="all"):
    return {row["metric"]: row["value"] for row in report.to_pylist() if row["slice"] == where}


def test_selection_by_critic_stands_beside_the_policys_own_and_the_oracle():
    report = critic_report(PROBLEM, ROLLOUTS, SCORES, GOLD, critic_id="c", night="2026-11-01")
    assert report.schema == SCHEMAS["critic_report"]
    found = values(report)
    assert found["best_of_1_product"] == found["pass_at_1"] == 0.5
    assert (found["best_of_2_product"], found["best_of_2_min"], found["best_of_2_last"]) == (1.0, 1.0, 0.0)
    assert (found["best_of_2_policy_logprob"], found["pass_at_2"]) == (0.0, 1.0)
    assert (found["within_problem_auroc_product"], found["within_problem_auroc_policy_logprob"]) == (1.0, 0.0)
    assert "best_of_4_product" not in found
    assert values(report, "family=arithmetic") == found


def test_steps_after_the_first_wrong_one_are_not_counted():
    found = values(critic_report(PROBLEM, ROLLOUTS, SCORES, GOLD, critic_id="c", night="n"))
    # counted: right .9 .8 .9, wrong .3 (the .9 after it is not): ranking perfect
    assert found["step_auroc"] == 1.0
    assert found["step_brier"] == pytest.approx((0.01 + 0.04 + 0.01 + 0.09) / 4)
    assert found["first_error_f1"] == 1.0


def test_without_gold_labels_only_outcomes_are_reported():
    found = values(critic_report(PROBLEM, ROLLOUTS, SCORES, gold_table({}), critic_id="c", night="n"))
    assert "step_auroc" not in found
    assert found["best_of_2_product"] == 1.0


def test_rollouts_with_a_missing_score_or_from_a_tree_are_left_out():
    scores = scores_table({"right": [0.9], "wrong": [0.9, 0.3, 0.9]})
    report = critic_report(PROBLEM, ROLLOUTS, scores, GOLD, critic_id="c", night="n")
    assert values(report)["pass_at_1"] == 0.0
    tree = table("rollouts", [{"rollout_id": "right", "steps": ["a", "b"], **RIGHT, "recipe": "puct"}])
    assert critic_report(PROBLEM, tree, SCORES, GOLD, critic_id="c", night="n").num_rows == 0


def test_metrics_of_the_training_are_reported_as_they_are():
    training = {"validation_sibling_accuracy": 0.75, "num_nodes": 40}
    report = critic_report(PROBLEM, ROLLOUTS, SCORES, GOLD, critic_id="c", night="n", training_metrics=training)
    assert values(report, "validation") == training
