import dataclasses
import itertools
import json

import pytest

from critics import score
from critics.checkpoint import CriticManifest, save_critic
from critics.errors import CheckpointError, CriticDataError, LeakError
from critics.fold import fold_of
from critics.model import initial_critic
from critics.score import (
    StepOpinion,
    load_critic,
    out_of_fold_scores,
    packed_outputs,
    padded_outputs,
    pooled_opinions,
    score_rollouts,
    score_solutions,
)
from pipelines.step_labels.solution import LabelledSolution
from pipelines.tables import SCHEMAS
from pipelines.trees.fields import Place
from tests.critics.conftest import make_problem, table, verify_prompt

PROBLEMS = [f"p{i}" for i in range(12)]
NIGHT = "2026-11-01"


def save_fold_critic(language_model, folder, fold, num_folds=2, seen=None, bias=0.0):
    """An untrained critic that claims to have learned from all problems outside `fold`."""
    if seen is None:
        seen = frozenset(p for p in PROBLEMS if fold_of(p, num_folds) != fold)
    manifest = CriticManifest("process", "", "v", "e", "i", fold, num_folds, "t", len(seen), 0, 0, {}, {}, "now")
    network = initial_critic(language_model, 0)
    network.score.bias.data.fill_(bias)
    save_critic(network, language_model, folder, manifest, seen)
    return load_critic(folder)


@pytest.fixture
def critics(language_model, tmp_path):
    return {fold: save_fold_critic(language_model, tmp_path / str(fold), fold) for fold in (0, 1)}


@pytest.fixture
def problems():
    return table("problems", [make_problem(p) for p in PROBLEMS])


@pytest.fixture
def rollouts():
    return table("rollouts", [{"rollout_id": f"r-{p}", "problem_id": p, "steps": ["a1", "b2"]} for p in PROBLEMS])


@pytest.mark.slow
def test_scores_do_not_depend_on_the_rest_of_the_batch(critics, monkeypatch):
    steps = [["a" * (1 + i % 13)] * (1 + i % 3) for i in range(40)]
    prompts = [f"<verify>{i}\n" for i in range(40)]
    together = critics[0].score(prompts, steps)
    alone = [critics[0].score([prompt], [texts])[0] for prompt, texts in zip(prompts, steps, strict=True)]
    for name in ("TOKENS_PER_BATCH", "PACKED_TOKENS"):
        monkeypatch.setattr(score, name, 50)
    in_small_batches = critics[0].score(prompts, steps)
    for one, other in itertools.product([together], [alone, in_small_batches]):
        assert [value for row in one for value in row] == pytest.approx([v for row in other for v in row], abs=1e-5)
    assert [len(row) for row in together] == [len(texts) for texts in steps]
    assert all(0 <= value <= 1 for row in together for value in row)


def test_a_step_does_not_see_the_steps_after_it(critics):
    short, long = critics[0].score(["<verify>1\n"] * 2, [["a1"], ["a1", "b2"]])
    assert short[0] == pytest.approx(long[0], abs=1e-5)


def test_steps_beyond_the_context_are_not_scored_and_empty_rollouts_have_no_scores(critics):
    scores = critics[0].score(["<verify>1\n"] * 2, [["1" * 20, "2" * 60, "3"], []])
    assert scores[0][0] is not None
    assert scores[0][1:] == [None, None]
    assert scores[1] == []


def test_every_step_of_every_rollout_gets_one_row_of_one_version(critics, problems, rollouts):
    found = out_of_fold_scores(rollouts, problems, critics, verify_prompt, NIGHT)
    assert found.schema == SCHEMAS["step_scores"]
    assert [(row["rollout_id"], row["step"]) for row in found.to_pylist()] == [
        (f"r-{p}", step) for p in PROBLEMS for step in (0, 1)
    ]
    assert len(set(found["scorer_version"].to_pylist())) == 1
    assert set(found["source"].to_pylist()) == {"critic"}
    assert set(found["night"].to_pylist()) == {NIGHT}


def test_failed_rollouts_have_no_rows(critics, problems):
    failed = table("rollouts", [{"rollout_id": "r", "problem_id": "p1", "steps": None, "error": "timeout"}])
    assert out_of_fold_scores(failed, problems, critics, verify_prompt, NIGHT).num_rows == 0


def test_a_critic_that_saw_the_problem_is_refused(language_model, critics, problems, rollouts, tmp_path):
    fold = fold_of("p3", 2)
    leaky = save_fold_critic(language_model, tmp_path / "leaky", fold, seen=frozenset({"p3"}))
    with pytest.raises(LeakError, match="p3"):
        out_of_fold_scores(rollouts, problems, {**critics, fold: leaky}, verify_prompt, NIGHT)
    with pytest.raises(LeakError, match="learned from its problem"):
        score_rollouts(rollouts, problems, critics[0], verify_prompt, NIGHT)


def test_critics_of_swapped_folds_are_refused(critics, problems, rollouts):
    with pytest.raises(LeakError, match="trained without fold 1 of 2"):
        out_of_fold_scores(rollouts, problems, {0: critics[1], 1: critics[0]}, verify_prompt, NIGHT)


def test_one_critic_scores_problems_that_it_has_not_seen(language_model, problems, rollouts, tmp_path):
    scorer = save_fold_critic(language_model, tmp_path / "c", None, seen=frozenset({"another"}))
    found = score_rollouts(rollouts, problems, scorer, verify_prompt, NIGHT)
    assert found.num_rows == 24
    assert set(found["scorer_version"].to_pylist()) == {scorer.version}


def test_a_rollout_of_an_unknown_problem_is_named(critics, problems):
    stray = table("rollouts", [{"rollout_id": "r9", "problem_id": "nowhere", "steps": ["a"]}])
    with pytest.raises(CriticDataError, match="r9 belongs to problem nowhere"):
        out_of_fold_scores(stray, problems, critics, verify_prompt, NIGHT)


def test_a_folder_that_is_no_critic_is_refused(language_model):
    with pytest.raises(CheckpointError, match="manifest.json"):
        load_critic(language_model)


def test_a_new_checkpoint_replaces_the_old_one_as_a_whole(language_model, tmp_path):
    first = save_fold_critic(language_model, tmp_path / "c", 0)
    (tmp_path / "c" / "stray").touch()
    second = save_fold_critic(language_model, tmp_path / "c", 1)
    assert dataclasses.replace(second.manifest, fold=0, num_problems=first.manifest.num_problems) == first.manifest
    assert not (tmp_path / "c" / "stray").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def make_solution(name, steps, problem="1+2", problem_id=None):
    return LabelledSolution(name, problem, problem_id, tuple(steps), -1, None, Place("data.jsonl", 3))


def test_solutions_that_a_critic_cannot_or_must_not_score_are_left_out_and_counted(critics):
    seen = sorted(critics[0].training_problems)[0]
    solutions = [
        make_solution("good", ["a1", "b2"]), make_solution("seen", ["a1"], problem_id=seen),
        make_solution("long", ["a" * 80]), make_solution("short", ["c"]),
    ]  # fmt: skip
    kept, scores, left_out = score_solutions(solutions, critics[0], verify_prompt)
    assert [solution.id for solution in kept] == ["good", "short"]
    assert scores == critics[0].score(["<verify>1+2\n"] * 2, [["a1", "b2"], ["c"]])
    assert left_out == {"problem_seen_in_training": 1, "longer_than_the_context": 1}


def test_characters_that_the_tokenizer_does_not_know_are_no_steps_to_score(language_model, tmp_path):
    scorer = save_fold_critic(language_model, tmp_path / "c", 0)
    config = tmp_path / "c" / "tokenizer_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"unk_token": "<pad>"}))
    scorer = load_critic(tmp_path / "c")
    solutions = [make_solution("known", ["a1"]), make_solution("unknown", ["ä1"])]
    kept, _, left_out = score_solutions(solutions, scorer, verify_prompt)
    assert [solution.id for solution in kept] == ["known"]
    assert left_out == {"characters_unknown_to_the_tokenizer": 1}
    with pytest.raises(
        CriticDataError, match=r"none of the 1 solutions \(1 characters_unknown.*'unknown' in data.jsonl"
    ):
        score_solutions(solutions[1:], scorer, verify_prompt)


def test_a_solution_without_a_statement_is_named(critics):
    with pytest.raises(CriticDataError, match="data.jsonl, line 3: solution 'a' has no `problem`"):
        score_solutions([make_solution("a", ["1"], problem=None)], critics[0], verify_prompt)


def test_packed_outputs_are_those_of_padded_rows_in_any_order_and_over_several_batches(language_model, monkeypatch):
    monkeypatch.setattr(score, "PACKED_TOKENS", 20)
    monkeypatch.setattr(score, "TOKENS_PER_BATCH", 20)
    rows = [[3, 7, 8, 9], [3, 7, 8, 9, 10, 11], [3, 12], [3, 7, 8, 13], [4] * 30, [3, 7, 8, 9]]
    ends = [[1, 3], [5], [1], [0, 3], [29], [3]]
    padded, packed = (
        outputs(initial_critic(language_model, 0))(rows, ends) for outputs in (padded_outputs, packed_outputs)
    )
    assert [tuple(of_row.shape) for of_row in packed] == [(2, 1), (1, 1), (1, 1), (2, 1), (1, 1), (1, 1)]
    for one, other in zip(packed, padded, strict=True):
        assert one.flatten().tolist() == pytest.approx(other.flatten().tolist(), abs=1e-5)
    assert packed[0][1] == pytest.approx(packed[5][0])


def test_critics_of_several_seeds_are_pooled_and_their_variance_is_the_disagreement(critics, language_model, tmp_path):
    critics |= {1: save_fold_critic(language_model, tmp_path / "other", 1, bias=1.0)}
    prompts, steps = ["<verify>1\n"], [["a1", "2" * 60]]
    first, second = (critic.score(prompts, steps)[0][0] for critic in critics.values())
    (mean,) = pooled_opinions(list(critics.values()), prompts, steps)
    assert mean[0].score == pytest.approx((first + second) / 2)
    assert mean[0].disagreement == pytest.approx((first - second) ** 2 / 4)
    assert mean[0].member_scores == (first, second)
    assert mean[1] is None  # beyond the context
    assert pooled_opinions(list(critics.values()), prompts, steps, min)[0][0].score == min(first, second)
    assert pooled_opinions([critics[0]], prompts, steps)[0][0] == StepOpinion(first, None)
