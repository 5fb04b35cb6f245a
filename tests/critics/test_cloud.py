"""A critic that writes before it scores: a random Llama of single characters learns that `c` is right and `d` wrong."""

import json
import math

import pyarrow as pa
import pytest
import torch
import typer
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from critics.checkpoint import read_manifest
from critics.cloud import (
    CloudExample,
    cloud_examples,
    evaluated,
    initial_network,
    is_cloud_critic,
    joint_loss,
    language_loss,
    load_cloud_critic,
    pairs_of,
    reward_loss,
    rewards_of,
    write_critiques,
)
from critics.cloud_train import train_cloud_critic
from critics.errors import CheckpointError, CriticDataError, CriticMemoryError
from pipelines.config import AgentConfig, CloudCriticConfig, load_settings
from pipelines.lake import Lake
from pipelines.reasoning.prompts import load_prompts
from pipelines.tables import SCHEMAS
from reasonmill.cli.critic import critic_app
from tests.critics.conftest import SPECIAL, build_language_model

PROMPTS, AGENT = load_prompts("starter"), AgentConfig(name="critique_a")
CONFIG = CloudCriticConfig(
    sft_steps=30, steps=30, batch_size=16, learning_rate=1e-2, max_tokens=8, eval_every=10, validation_fraction=0.3
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model folder that declares its own end token."""
    folder = build_language_model(
        tmp_path_factory.mktemp("cloud"), special=(*SPECIAL, "<critique_a>", "<review>"), num_heads=4
    )
    for name in ("config.json", "generation_config.json"):
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(content | {"eos_token_id": 1, "bos_token_id": None}))
    return folder


def make_example(problem: int, step: str, critique: str | None = None):
    is_right = step.startswith("c")
    question = PROMPTS.critique_prompt(AGENT, {"prompt": f"{problem}+1"}, [step])
    said = critique if critique is not None else ("0 a\n" if is_right else "0 b\n")
    return CloudExample(f"r{problem}{step}", f"p{problem}", question, said, float(is_right))


def examples(num_problems: int):
    return [make_example(k, step) for k in range(num_problems) for step in ("c1", "d1", "c2", "d2")]


def test_the_joint_loss_is_the_reward_loss_and_the_weighted_language_loss():
    # one pair, 1 above 0: -log sigmoid(1) = log(1 + 1/e); four even words: log 4 per token of the critique
    rewards_N, outcomes_N = torch.tensor([0.0, 1.0]), torch.tensor([0.0, 1.0])
    reward = reward_loss("pairs", rewards_N, outcomes_N, [(1, 0, 1.0)])
    language = language_loss(torch.zeros(1, 3, 4), torch.tensor([[-100, 2, 3]]))
    assert reward.item() == pytest.approx(math.log(1 + math.exp(-1)))  # 0.31326
    assert language.item() == pytest.approx(math.log(4))
    assert joint_loss(reward, language, 1.25).item() == pytest.approx(0.31326 + 1.25 * 1.38629, abs=1e-5)


def test_the_outcome_loss_is_the_cross_entropy_with_the_grade():
    # sigmoid(0) = 1/2 twice
    assert reward_loss("outcome", torch.zeros(2), torch.tensor([0.0, 1.0]), []).item() == pytest.approx(math.log(2))


def test_without_a_pair_or_a_word_there_is_no_loss_and_a_gradient_of_zero():
    rewards_N = torch.tensor([0.3, 0.2], requires_grad=True)
    loss = reward_loss("pairs", rewards_N, torch.ones(2), [])
    loss.backward()
    assert loss.item() == 0.0 and rewards_N.grad.tolist() == [0.0, 0.0]
    assert language_loss(torch.zeros(1, 2, 4), torch.full((1, 2), -100)).item() == 0.0


def test_every_right_row_of_a_problem_is_paired_with_every_wrong_one_and_each_problem_counts_once():
    assert pairs_of(["p", "q", "p", "p", "q"], [1.0, 1.0, 0.0, 0.0, 1.0]) == [(0, 2, 0.5), (0, 3, 0.5)]


def test_only_critique_and_end_are_targets(model):
    network = initial_network(model, CONFIG)
    rewards_N, logits_BTV, targets_BT = evaluated(network, [(6, 9), (6, 9, 9)], [[10], []])
    assert targets_BT.tolist() == [[-100, -100, 10, 1], [-100, -100, -100, 1]]
    assert logits_BTV.shape[:2] == (2, 4)
    assert rewards_N.tolist() == [0.0, 0.0]  # the head's last layer begins at 0


def test_the_reward_is_read_at_the_end_whatever_is_padded_behind(model):
    network = initial_network(model, CONFIG)
    torch.nn.init.normal_(network.head.out.weight)
    together = rewards_of(network, [(6, 9), (6, 9, 9, 9, 9)], [[10], [11, 12]])
    alone = rewards_of(network, [(6, 9)], [[10]])
    assert together[0].item() == pytest.approx(alone[0].item(), abs=1e-6)
    assert abs(together[0] - together[1]) > 1e-4


def test_a_greedy_critique_does_not_depend_on_what_else_is_written_beside_it(model):
    network = initial_network(model, CONFIG)
    questions = [(6, 9), (6, 10, 11, 12, 13, 14), (6, 9, 15)]
    together = write_critiques(network, questions, CONFIG)
    assert together == [write_critiques(network, [one], CONFIG)[0] for one in questions]
    assert all(len(critique) <= 8 and 1 not in critique for critique in together)


def tables(rollouts, critiques):
    problems = [{"problem_id": "p", "prompt": "1+1", "split": "train"}, {"problem_id": "h", "split": "held_out"}]
    made = {"problems": problems, "rollouts": rollouts, "critiques": critiques}
    return [
        pa.table({c: [row.get(c) for row in rows] for c in SCHEMAS[name].names}, schema=SCHEMAS[name])
        for name, rows in made.items()
    ]


def test_the_first_agent_that_agrees_with_the_grade_is_learned_from_and_a_rollout_without_one_stays():
    made = tables(
        [
            {"rollout_id": "r1", "problem_id": "p", "steps": ["1+1=2"], "outcome_reward": 1.0, "night": "n"},
            {"rollout_id": "r2", "problem_id": "p", "steps": ["1+1=3"], "outcome_reward": 0.0, "night": "n"},
            {"rollout_id": "r3", "problem_id": "p", "steps": ["1+1=4"], "outcome_reward": None, "night": "n"},
            {"rollout_id": "r4", "problem_id": "h", "steps": ["1+1=2"], "outcome_reward": 1.0, "night": "n"},
            {"rollout_id": "r5", "problem_id": "p", "steps": [], "outcome_reward": 0.0, "night": "n"},
        ],
        [
            {"critique_id": "1", "rollout_id": "r1", "agent": "a", "verdict": "wrong", "text": "no", "night": "n"},
            {"critique_id": "2", "rollout_id": "r1", "agent": "c", "verdict": "right", "text": "yes c", "night": "n"},
            {"critique_id": "3", "rollout_id": "r1", "agent": "b", "verdict": "right", "text": "yes b", "night": "n"},
            {"critique_id": "4", "rollout_id": "r2", "agent": "a", "verdict": "wrong", "text": "x", "night": "n",
             "error": "failed"},
        ],
    )  # fmt: skip
    first, second = cloud_examples(*made, PROMPTS, AGENT)
    assert (first.rollout_id, first.critique, first.outcome) == ("r1", "yes b", 1.0)
    assert first.question == "<critique_a>1+1\n1+1=2\n<review>\n"
    assert (second.rollout_id, second.critique, second.outcome) == ("r2", None, 0.0)


@pytest.fixture(scope="module")
def trained(model, tmp_path_factory):
    """A critic of the toy rule, and its training."""
    folder = tmp_path_factory.mktemp("critics") / "cloud"
    return train_cloud_critic(examples(24), CONFIG, PROMPTS, model, folder, data_version="v")


def scorer_of(folder, **config):
    return load_cloud_critic(folder, CONFIG.model_copy(update=config), PROMPTS, AGENT)


def test_held_out_problems_are_judged_right_after_training(trained):
    assert trained.metrics["validation_pair_accuracy"] == 1.0
    scorer = scorer_of(trained.folder)
    prompts = [PROMPTS.verify_prompt({"prompt": "99+1"})] * 2
    (right,), (wrong,) = scorer.score(prompts, [["c7"], ["d7"]])
    assert right > wrong
    assert scorer.critiques(prompts, [["c7"], ["d7"]]) == ["0 a\n", "0 b\n"]


def test_a_checkpoint_is_a_language_model_that_plain_transformers_loads(trained):
    assert is_cloud_critic(trained.folder)
    plain = AutoModelForCausalLM.from_pretrained(trained.folder)
    ids = initial_network(trained.folder, CONFIG).encode(make_example(3, "c1").question, PROMPTS)
    said = plain.generate(torch.tensor([ids]), max_new_tokens=8, do_sample=False)[0, len(ids) :]
    assert scorer_of(trained.folder)._network.tokenizer.decode(said.tolist()) == "0 a\n"
    assert (trained.manifest.kind, trained.manifest.data_version) == ("outcome", "v")


def test_several_sampled_critiques_give_the_mean_reward_and_are_drawn_alike_again(trained):
    prompt = PROMPTS.verify_prompt({"prompt": "5+1"})
    several = scorer_of(trained.folder, num_critiques=3, temperature=3.0)
    first, again = (several.score([prompt], [["c1"]]) for _ in range(2))
    assert first == again
    assert first != scorer_of(trained.folder).score([prompt], [["c1"]])


def test_a_step_that_leaves_no_room_for_a_critique_has_no_score(trained):
    prompt = PROMPTS.verify_prompt({"prompt": "5+1"})
    ((first, second),) = scorer_of(trained.folder).score([prompt], [["c1", "c" * 60]])  # the context is 64 tokens
    assert first is not None and second is None


@pytest.mark.parametrize("stop_at", [20, 50])  # in the language stage, in the joint one
def test_a_killed_training_ends_with_the_weights_of_one_that_was_not(trained, model, tmp_path, stop_at):
    def stop(step, metrics):
        if step == stop_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_cloud_critic(examples(24), CONFIG, PROMPTS, model, tmp_path / "cloud", on_metrics=stop)
    steps = []
    again = train_cloud_critic(
        examples(24), CONFIG, PROMPTS, model, tmp_path / "cloud", on_metrics=lambda step, _: steps.append(step)
    )
    assert steps[0] > stop_at
    assert again.digest == trained.digest


def test_without_critiques_it_is_a_plain_reward_model_that_needs_none_to_learn_from(model, tmp_path):
    silent = [CloudExample(e.rollout_id, e.problem_id, e.question, None, e.outcome) for e in examples(24)]
    plain = CONFIG.model_copy(update={"num_critiques": 0})
    trained = train_cloud_critic(silent, plain, PROMPTS, model, tmp_path / "plain")
    assert trained.metrics["num_taught"] == 0
    scorer = load_cloud_critic(trained.folder, plain, PROMPTS, AGENT)
    prompts = [PROMPTS.verify_prompt({"prompt": "99+1"})] * 2
    (right,), (wrong,) = scorer.score(prompts, [["c7"], ["d7"]])
    assert right > wrong
    assert scorer.critiques(prompts, [["c7"], ["d7"]]) == ["", ""]


def test_bad_examples_are_named(model, tmp_path):
    right = [make_example(k, "c1") for k in range(4)]
    with pytest.raises(CriticDataError, match="4 graded rollouts are left to train on, 4 of them right"):
        train_cloud_critic(
            right, CONFIG.model_copy(update={"validation_fraction": 0.0}), PROMPTS, model, tmp_path / "x"
        )
    apart = [*right[:2], *(make_example(k, "d1") for k in (7, 8))]
    whole = CONFIG.model_copy(update={"validation_fraction": 0.0})
    with pytest.raises(CriticDataError, match='no pair; set cloud_critic.reward_loss = "outcome"'):
        train_cloud_critic(apart, whole, PROMPTS, model, tmp_path / "x")
    silent = [CloudExample(e.rollout_id, "p", e.question, None, e.outcome) for e in apart]
    with pytest.raises(CriticDataError, match="none of the 4 graded rollouts has a critique that agrees"):
        train_cloud_critic(silent, whole, PROMPTS, model, tmp_path / "x")


def test_a_batch_that_memory_does_not_hold_is_named_with_its_size(model, tmp_path, monkeypatch):
    def without_memory(network, questions, critiques):
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr("critics.cloud_train.evaluated", without_memory)
    with pytest.raises(CriticMemoryError, match="language stage, step 0: 16 rollouts.*cloud_critic.batch_size"):
        train_cloud_critic(examples(24), CONFIG, PROMPTS, model, tmp_path / "x")


def test_a_critic_is_trained_on_the_lake_from_the_command_line(model, tmp_path, monkeypatch):
    monkeypatch.setenv("REASONMILL_CONFIG", str(tmp_path / "reasonmill.toml"))
    small = "sft_steps = 2\nsteps = 2\nmax_tokens = 8\nvalidation_fraction = 0.0\n"
    (tmp_path / "reasonmill.toml").write_text(f'[cloud_critic]\ninit = "{model}"\n{small}')
    rollouts = [
        {"rollout_id": name, "problem_id": "p", "steps": [name], "outcome_reward": reward, "night": "2026-01-01"}
        for name, reward in (("c1", 1.0), ("d1", 0.0))
    ]
    critiques = [
        {
            "critique_id": "k",
            "rollout_id": "d1",
            "agent": "a",
            "verdict": "wrong",
            "text": "0 b\n",
            "night": "2026-01-01",
        }
    ]
    lake = Lake(load_settings().lake_url)
    for name, rows in zip(("problems", "rollouts", "critiques"), tables(rollouts, critiques), strict=True):
        lake.write(name, rows, partition="2026-01-01")
    app = typer.Typer()
    app.add_typer(critic_app, name="critic")
    result = CliRunner().invoke(app, ["critic", "train-cloud", "--out", str(tmp_path / "critic")])
    assert result.exit_code == 0, result.output
    assert read_manifest(tmp_path / "critic").metrics["num_taught"] == 1
    assert "rollouts/2026-01-01" in json.loads(read_manifest(tmp_path / "critic").data_version)


def test_a_step_critic_cannot_write_a_critique(model, tmp_path):
    content = json.loads((model / "config.json").read_text()) | {"architectures": ["LlamaForTokenClassification"]}
    (tmp_path / "config.json").write_text(json.dumps(content))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match="LlamaForTokenClassification, which cannot write a critique"):
        initial_network(tmp_path, CONFIG)


def test_critic_evaluate_takes_such_a_checkpoint(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("REASONMILL_CONFIG", str(tmp_path / "reasonmill.toml"))
    (tmp_path / "reasonmill.toml").write_text("[cloud_critic]\nmax_tokens = 8\n")
    rows = [
        {"id": "a", "problem": "98+1", "steps": ["c1"], "label": -1},
        {"id": "b", "problem": "97+1", "steps": ["d1"], "label": 0},
    ]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    app = typer.Typer()
    app.add_typer(critic_app, name="critic")
    arguments = ["critic", "evaluate", str(trained.folder), "--data", str(tmp_path / "data.jsonl"), "--format", "json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["f1"] == 1.0
