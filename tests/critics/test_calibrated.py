import json

import pytest

from critics.calibrated import FILE, calibrate_critic, calibrated, fit_calibration, labelled_scores, read_calibration
from critics.calibration import Temperature
from critics.errors import CheckpointError
from critics.evidence import StepLabel
from critics.examples import Row, StepExamples, TreeExample, examples_from_trees
from critics.score import out_of_fold_scores
from tests.critics.conftest import make_problem, table, verify_prompt
from tests.critics.test_score import PROBLEMS, save_fold_critic


@pytest.fixture
def scorer(language_model, tmp_path):
    return save_fold_critic(language_model, tmp_path / "critic", 0)


@pytest.fixture
def examples(toy_trees):
    return examples_from_trees(*toy_trees(30), verify_prompt)


def test_labelled_steps_are_read_once_each_without_those_of_little_evidence(scorer):
    labels = (StepLabel(0, 0, 0), StepLabel(1.0, 0.9, 0.9), StepLabel(0.25, 0.6, 0.3), StepLabel(0.0, 0.4, 0.1))
    rows = (Row((1, 2), (0, 1)), Row((1, 3), (1,)))
    tree = TreeExample("t", "p", "<verify>1+2\n", ("", "a1", "b2", "b3"), labels, (), rows)
    scores, targets, groups = labelled_scores(scorer, StepExamples((tree,)))
    assert (targets, groups) == ([1.0, 0.25], ["p", "p"])
    assert scores == pytest.approx(scorer.score(["<verify>1+2\n"], [["a1", "b2"]])[0])


def test_a_calibration_lies_beside_the_weights_and_is_read_back(scorer, examples, tmp_path):
    written = calibrate_critic(tmp_path / "critic", scorer, examples, 0.5, 0)
    assert read_calibration(tmp_path / "critic", scorer.manifest.digest) == written
    _, held_out = examples.split(0.5, 0)
    assert written == fit_calibration(scorer, held_out)
    assert written.num_problems == len(held_out.problem_ids)
    assert written.ece_temperature is not None and set(written.numbers()) == {"ece", "ece_temperature", "ece_isotonic"}


def test_a_calibration_of_other_weights_counts_as_absent(scorer, examples, tmp_path):
    calibrate_critic(tmp_path / "critic", scorer, examples, 0.5, 0)
    assert read_calibration(tmp_path / "critic", "other") is None
    path = tmp_path / "critic" / FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | {"critic_digest": "other"}))
    with pytest.raises(CheckpointError, match='calibration = "isotonic" cannot be followed'):
        calibrated(scorer, tmp_path / "critic", "isotonic")
    path.write_text("{}")
    with pytest.raises(CheckpointError, match="is no calibration"):
        read_calibration(tmp_path / "critic", "other")


def test_without_held_out_problems_there_is_none_and_an_old_one_goes(scorer, examples, tmp_path):
    calibrate_critic(tmp_path / "critic", scorer, examples, 0.5, 0)
    assert calibrate_critic(tmp_path / "critic", scorer, examples, 0.0, 0) is None
    assert not (tmp_path / "critic" / FILE).exists()
    assert fit_calibration(scorer, StepExamples(())) is None


def test_calibrated_scores_go_through_the_map_and_carry_a_version_of_their_own(scorer, examples, tmp_path):
    written = calibrate_critic(tmp_path / "critic", scorer, examples, 0.5, 0)
    mapped = calibrated(scorer, tmp_path / "critic", "temperature")
    prompts, steps = ["<verify>1\n"] * 2, [["1" * 20, "2" * 60], ["a1"]]
    plain, scores = scorer.score(prompts, steps), mapped.score(prompts, steps)
    assert scores[0][0] == pytest.approx(Temperature(written.temperature)([plain[0][0]])[0])
    assert scores[0][1] is None
    assert calibrated(scorer, tmp_path / "critic", "none") is scorer
    isotonic = calibrated(scorer, tmp_path / "critic", "isotonic")
    assert len({scorer.version, mapped.version, isotonic.version}) == 3
    assert mapped.knows("1+2") and mapped.training_problems == scorer.training_problems


def test_calibrated_fold_critics_still_score_out_of_fold_only(language_model, examples, tmp_path):
    critics = {}
    for fold in (0, 1):
        folder = tmp_path / str(fold)
        plain = save_fold_critic(language_model, folder, fold)
        calibrate_critic(folder, plain, examples, 0.5, 0)
        critics[fold] = calibrated(plain, folder, "temperature")
    problems = table("problems", [make_problem(p) for p in PROBLEMS])
    rows = [{"rollout_id": f"r-{p}", "problem_id": p, "steps": ["a1"]} for p in PROBLEMS]
    scores = out_of_fold_scores(table("rollouts", rows), problems, critics, verify_prompt, "n")
    assert scores.num_rows == len(PROBLEMS)
    assert all(0 <= score <= 1 for score in scores["score"].to_pylist())
