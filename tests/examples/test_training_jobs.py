"""The training jobs of `examples/training` on a tiny published version, as their files run."""

import importlib.util
import json
import math
import runpy
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
JOBS = ROOT / "examples" / "training"
sys.path.insert(0, str(ROOT / "tests" / "pipelines"))

from published_worlds import ANSWERS, ASKED, RIGHT, ROWS, WRONG, make_version  # noqa: E402

from pipelines.starter.tokenizer import EOS, encode  # noqa: E402


def rollout(number: int, problem: str, text: str, reward: float) -> dict:
    tokens = [*encode(text), EOS]
    return ROWS["rl_groups"][0] | {
        "group_id": f"g-{problem}", "rollout_id": f"r{number}", "problem_id": problem, "reward": reward,
        "prompt_token_ids": encode(ASKED[problem]), "completion_token_ids": tokens, "advantage": reward - 0.5,
        "behaviour_logprobs": [-0.1] * len(tokens),
    }  # fmt: skip


GROUPS = [rollout(2 * number + side, problem, text, reward)
          for number, problem in enumerate(ANSWERS)
          for side, (text, reward) in enumerate([(RIGHT[problem], 1.0), (WRONG[problem], 0.0)])]  # fmt: skip


@pytest.fixture
def start_job(tmp_path, monkeypatch, capsys):
    """Runs a job's file on a version as a command of two steps does, and gives what it said."""

    def run(name: str, version, *arguments: str) -> str:
        command = [
            f"{name}.py", "--dataset", f"tiny@{version.version}", "--source", version.path.parents[1],
            "--data", tmp_path / "data", "--out", tmp_path / "policy", "--steps", "2", *arguments,
        ]  # fmt: skip
        monkeypatch.setattr(sys, "argv", list(map(str, command)))
        monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
        monkeypatch.syspath_prepend(JOBS)
        monkeypatch.chdir(tmp_path)
        capsys.readouterr()
        runpy.run_path(str(JOBS / f"{name}.py"), run_name="__main__")
        return capsys.readouterr().out

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sets", "arguments"),
    [
        ("train_sft", ["sft"], ["--batch-size", "2"]),
        ("train_dpo", ["preference"], ["--batch-size", "2"]),
        ("train_grpo", ["prompts"], ["--batch-size", "4", "--group-size", "2", "--max-tokens", "24"]),
        ("train_rl_groups", ["rl_groups"], ["--batch-size", "4"]),
        ("grpo_on_rl_groups", ["rl_groups"], ["--batch-size", "4"]),
    ],
)
def test_a_job_trains_on_the_pinned_version_and_names_it_in_the_policys_card(
    tmp_path, start_job, name, sets, arguments
):
    version = make_version(tmp_path, rl_groups=GROUPS)
    lines = start_job(name, version, *arguments).splitlines()
    said = next(json.loads(line) for line in lines if line.startswith('{"steps"'))
    assert said["steps"] == 2 and math.isfinite(said["last_loss"])
    assert {"model.safetensors", "tokenizer.json"} <= {path.name for path in (tmp_path / "policy").iterdir()}
    card = yaml.safe_load((tmp_path / "policy" / "README.md").read_text().split("---\n")[1])
    assert said["dataset"] == card["dataset_version"] == version.version
    assert card["datasets"] == ["tiny"] and card["dataset_sets"] == sets


@pytest.mark.slow
def test_groups_of_one_reward_are_refused_instead_of_trained_on_for_ever(tmp_path, start_job):
    version = make_version(tmp_path, rl_groups=[one | {"loss_weight": 0.0} for one in GROUPS])
    with pytest.raises(SystemExit, match=f"No group of {version.version} has both right and wrong rollouts"):
        start_job("train_rl_groups", version)


def job_module(name: str):
    """A job's file as a module."""
    if str(JOBS) not in sys.path:
        sys.path.insert(0, str(JOBS))
    spec = importlib.util.spec_from_file_location(name, JOBS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _loss(rows: list[dict], log_p: float, epsilon: float = 0.2) -> float:
    """`batch_loss` of a policy that gives every token the probability exp(log_p)."""
    import torch

    job = job_module("train_rl_groups")

    class Flat(torch.nn.Module):
        device = torch.device("cpu")

        def forward(self, input_ids, attention_mask):
            logits = torch.zeros(*input_ids.shape, 4)  # a quarter for each of four tokens
            return type("Output", (), {"logits": logits})

    assert log_p == math.log(0.25)
    return job.batch_loss(Flat(), rows, epsilon).item()


def row(behaviour: list[float], advantage: float, loss_weight: float = 1.0) -> dict:
    return {"prompt_token_ids": [1], "completion_token_ids": [2] * len(behaviour), "behaviour_logprobs": behaviour,
            "advantage": advantage, "loss_weight": loss_weight}  # fmt: skip


@pytest.mark.slow
def test_the_loss_of_groups_is_the_clipped_ratio_times_the_advantage():
    log_p = math.log(0.25)
    on_policy, likelier = [log_p, log_p], [math.log(0.125)]  # ratios 1 and 2
    assert _loss([row(on_policy, 0.5)], log_p) == pytest.approx(-0.5)
    assert _loss([row(likelier, 1.0)], log_p) == pytest.approx(-1.2)  # clipped from above where that is a gain
    assert _loss([row(likelier, -1.0)], log_p) == pytest.approx(2.0)  # and not where it is a loss
    # token mean within a row, ratios 1 and 2: -(1 + 1.2) / 2; weights 2 and 1; rows of unequal length
    two = [row([log_p, math.log(0.125)], 1.0, 2.0), row(on_policy[:1], -0.5)]
    assert _loss(two, log_p) == pytest.approx((2 * -1.1 + 0.5) / 2)


@pytest.mark.slow
def test_trl_takes_the_same_loss_from_the_stored_groups_as_the_plain_loop(tmp_path):
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer

    starter = ROOT / "pipelines" / "starter" / "weights"
    replayed, plain = job_module("grpo_on_rl_groups"), job_module("train_rl_groups")
    groups = {name: [one for one in GROUPS if one["group_id"] == name] for name in ("g-p", "g-q")}
    groups["g-p"] = [one | {"loss_weight": 1.5} for one in groups["g-p"]]
    settings = {
        "output_dir": str(tmp_path), "max_steps": 1, "per_device_train_batch_size": 4, "use_cpu": True,
        "bf16": False, "report_to": "none", "save_strategy": "no", "logging_steps": 1, "disable_tqdm": True,
    }  # fmt: skip
    trainer = replayed.ReplayTrainer(
        str(starter), replayed.stored_reward, args=replayed.replay_config(2, 0.2, settings),
        train_dataset=Dataset.from_dict({"prompt": list(groups)}), rollout_func=replayed.replay(groups),
        processing_class=AutoTokenizer.from_pretrained(starter),
    )  # fmt: skip
    trainer.train()
    model = AutoModelForCausalLM.from_pretrained(starter).float()
    rows = [one for group in groups.values() for one in group]
    expected = plain.batch_loss(model, rows, 0.2).item()
    found = next(entry["loss"] for entry in trainer.state.log_history if "loss" in entry)
    assert abs(expected) > 0.01  # ratios are not 1: the behaviour was another policy's
    assert found == pytest.approx(expected, abs=2e-3)


def test_rewards_compare_the_last_marked_answer():
    reward = job_module("verl_reward").compute_score
    assert reward("reasonmill/arithmetic", "1+2=3\n#### 3\n", "3") == 1.0
    assert reward("reasonmill/arithmetic", "#### 3\n#### 4", "3") == 0.0
    assert reward("reasonmill/arithmetic", "3", "3") == 0.0
