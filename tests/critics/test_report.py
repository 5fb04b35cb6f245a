import pytest

from critics.calibrated import Calibration
from critics.evaluation import CountedSteps
from critics.figures import inline_figure, write_report_figures
from critics.report import by_slice, critic_report, labelled_steps, scored_rollouts
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


POOL = table(
    "rollouts",
    [
        {"rollout_id": f"r{i}", "problem_id": "p", "recipe": "independent_samples", "steps": ["a"], "answer": answer,
         "outcome_reward": outcome, "sum_logprob": -float(i)}
        for i, (answer, outcome) in enumerate([("7", 1.0), ("8", 0.0), ("7", 1.0), ("9", 0.0)])
    ],
)  # fmt: skip
POOL_SCORES = scores_table({"r0": [0.7], "r1": [0.9], "r2": [0.3], "r3": [0.5]})
GREEDY = table("rollouts", [{"problem_id": "p", "outcome_reward": 1.0}, {"problem_id": "q", "outcome_reward": 0.0}])


def pool_report(**known):
    return critic_report(PROBLEM, POOL, POOL_SCORES, gold_table({}), critic_id="c", night="n", **known)


def test_selection_is_followed_until_the_critic_is_over_optimised():
    # by score: wrong .9, right .7, wrong .5, right .3: of 2 the second is taken in 2 of 6 pairs, the last never
    found = values(pool_report(greedy=GREEDY))
    assert [found[f"best_of_{n}_min"] for n in (1, 2, 4)] == pytest.approx([1 / 2, 1 / 3, 0.0])
    assert [found[f"selected_score_{n}_min"] for n in (1, 2, 4)] == pytest.approx([0.6, 4.6 / 6, 0.9])
    assert (found["best_n_min"], found["overoptimised_min"]) == (1.0, 0.5)
    assert found["greedy"] == 1.0  # of the problems of the slice
    # 7 of 2: {7 7} 1, {7 8} and {7 9} twice 1/2, {8 9} 0
    assert [found[f"majority_of_{n}"] for n in (1, 2, 4)] == pytest.approx([1 / 2, (1 + 4 * 0.5) / 6, 1.0])
    # right .7 and .3 against wrong .9 and .5: one win of four
    assert (found["pair_accuracy_min"], found["pair_ties_min"]) == (0.25, 0.0)


def test_the_surest_problems_are_answered_first():
    problems = table("problems", [make_problem("p"), make_problem("q")])
    rows = [RIGHT | {"rollout_id": "a"}, WRONG | {"rollout_id": "b", "problem_id": "q"}]
    rollouts = table("rollouts", [row | {"steps": ["x"]} for row in rows])
    scores = scores_table({"a": [0.9], "b": [0.6]})
    found = values(critic_report(problems, rollouts, scores, gold_table({}), critic_id="c", night="n"))
    assert [found[f"selective_accuracy_{share}_min"] for share in (10, 50, 60, 100)] == [1.0, 1.0, 0.5, 0.5]


def test_steps_are_reported_by_depth_with_their_pairs_and_ties():
    report = critic_report(PROBLEM, ROLLOUTS, SCORES, GOLD, critic_id="c", night="n")
    assert values(report, "depth=0") == {
        "step_auroc": None, "step_calibration_error": pytest.approx(0.1), "mean_score_right": 0.9,
        "mean_score_first_wrong": None,
    }  # fmt: skip
    assert values(report, "depth=1")["step_auroc"] == 1.0
    assert values(report, "depth=1")["mean_score_first_wrong"] == 0.3
    found = values(report)
    assert (found["step_pair_accuracy"], found["step_pair_ties"]) == (1.0, 0.0)


def test_rollouts_are_binned_by_their_lowest_score():
    report = pool_report()
    assert [values(report, f"score_bin={i}")["mean_score_min"] for i in range(4)] == [0.3, 0.5, 0.7, 0.9]
    assert [values(report, f"score_bin={i}")["share_right"] for i in range(4)] == [1.0, 0.0, 1.0, 0.0]


def test_the_critics_own_calibration_is_judged_on_gold_labels():
    # isotonic of two knots maps .3 to 0 and .8, .9 to 1: no error is left; the temperature sharpens
    calibration = Calibration("d", 0.5, (0.3, 0.8), (0.0, 1.0), 2, 1, 0.1, None, None)
    found = values(
        critic_report(PROBLEM, ROLLOUTS, SCORES, GOLD, critic_id="c", night="n", calibration=calibration)
    )  # fmt: skip
    assert found["step_calibration_error_isotonic"] == 0.0
    assert found["step_calibration_error_temperature"] < found["step_calibration_error"]
    assert found["step_calibration_error_temperature_refitted"] is None  # one problem has no second half


def test_every_figure_is_drawn_from_the_rows_and_one_of_them_inline(tmp_path):
    report = by_slice(critic_report(PROBLEM, ROLLOUTS, SCORES, GOLD, critic_id="c", night="n", greedy=GREEDY))
    steps = labelled_steps(scored_rollouts(PROBLEM, ROLLOUTS, SCORES, GOLD))
    paths = write_report_figures(tmp_path / "figures", report, steps, "two rollouts")
    assert [path.stem for path in paths] == [
        "reliability", "value_by_depth", "roc", "best_of_n", "overoptimisation", "coverage", "score_against_gold",
    ]  # fmt: skip
    assert all(path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" for path in paths)
    inline = inline_figure(report, "two rollouts")
    assert inline.startswith("![two rollouts](data:image/png;base64,") and len(inline) < 64 * 1024
    assert inline_figure({}, "nothing") is None
    assert write_report_figures(tmp_path / "none", {}, CountedSteps([], [], [], []), "nothing") == []
