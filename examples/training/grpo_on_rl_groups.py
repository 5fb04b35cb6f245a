"""The filtered groups of a pinned version inside TRL's GRPOTrainer: its loss and its loop, our rollouts.

What trl 1.16.0 offers: `rollout_func` (experimental) supplies completions instead of generating them, and its
log-probabilities are kept, but without vLLM they are not the denominator of the ratio, and advantages are computed from
rewards within groups of one fixed size. So the trainer below puts two things right in what TRL prepared:
`old_per_token_logps` are the behaviour log-probabilities, and the advantages are ours, times the weight of the loss.
Groups whose kept rollouts are not --group-size many are left out and counted (by default the commonest size is taken);
train_rl_groups.py takes groups of any size.
"""

import warnings
from collections import Counter, defaultdict

import job
import torch
from datasets import Dataset
from transformers import AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from reasonmill import client


class ReplayTrainer(GRPOTrainer):
    """GRPO on rollouts that exist already."""

    def _generate_and_score_completions(self, inputs: list[dict]) -> dict[str, torch.Tensor]:
        prepared = super()._generate_and_score_completions(inputs)  # rollout_func put the row's columns into `inputs`
        prepared["old_per_token_logps"] = prepared["sampling_per_token_logps"]
        advantages = [row["advantage"] * row["loss_weight"] for row in inputs]
        prepared["advantages"] = torch.tensor(advantages, device=prepared["advantages"].device)
        return prepared


def replay(groups: dict[str, list[dict]]):
    """A rollout_func whose prompts are ids of groups: the k-th mention of a group gives its k-th rollout."""

    def rollouts(prompts: list[str], trainer: GRPOTrainer) -> dict[str, list]:
        mentions: Counter[str] = Counter()
        rows = []
        for group_id in prompts:
            group = groups[group_id]
            rows.append(group[mentions[group_id] % len(group)])
            mentions[group_id] += 1
        names = {
            "prompt_ids": "prompt_token_ids",
            "completion_ids": "completion_token_ids",
            "logprobs": "behaviour_logprobs",
            "reward": "reward",
            "advantage": "advantage",
            "loss_weight": "loss_weight",
        }
        return {name: [row[column] for row in rows] for name, column in names.items()}

    return rollouts


def stored_reward(completions: list[str], reward: list[float], **columns: list) -> list[float]:
    """The reward that the rollout got when it was graded; TRL logs it."""
    return reward


def replay_config(group_size: int, epsilon: float, settings: dict[str, object]) -> GRPOConfig:
    """`loss_type` "grpo" is the mean over rows of the mean over tokens, as in train_rl_groups.py; no KL term."""
    return GRPOConfig(num_generations=group_size, epsilon=epsilon, beta=0.0, loss_type="grpo", **settings)


def main() -> None:
    parser = job.arguments(__doc__, learning_rate=1e-4, batch_size=32)
    parser.add_argument("--epsilon", type=float, default=0.2, help="how far a ratio counts from 1")
    parser.add_argument("--group-size", type=int, help="kept rollouts per group; by default the commonest")
    args = parser.parse_args()
    version = job.pulled(args, "rl_groups")
    job.refuse_uninformative(version)
    groups: dict[str, list[dict]] = defaultdict(list)
    for row in client.load(version, "rl_groups"):
        if row["loss_weight"] > 0.0:  # groups of one reward teach nothing
            groups[row["group_id"]].append(row)
    sizes = Counter(map(len, groups.values()))
    size = args.group_size or sizes.most_common(1)[0][0]
    used = {group_id: rows for group_id, rows in groups.items() if len(rows) == size}
    print(f"{len(used)} of {len(groups)} informative groups have {size} kept rollouts; sizes: {dict(sizes)}")
    warnings.filterwarnings("ignore", message="You are using 'rollout_func'")
    config = replay_config(size, args.epsilon, job.trainer_settings(args))
    trainer = ReplayTrainer(
        args.model, stored_reward, args=config, train_dataset=Dataset.from_dict({"prompt": list(used)}),
        processing_class=AutoTokenizer.from_pretrained(args.model), rollout_func=replay(used),
    )  # fmt: skip
    job.train(trainer, args, version, ("rl_groups",), "GRPO on stored groups")


if __name__ == "__main__":
    main()
