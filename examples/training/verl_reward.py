"""The reward function that verl needs for rows of the format `verl_rl`, whose data sources it does not know.

    reasonmill datasets export reasoning@prod --format verl_rl --to data --split train=0.95 --split validation=0.05
    python -m verl.trainer.main_ppo data.train_files=data/train.parquet data.val_files=data/validation.parquet \\
        custom_reward_function.path=examples/training/verl_reward.py custom_reward_function.name=compute_score ...

Prompts of a policy without a chat template come as one message of plain text; give the tokenizer the template
`pipelines.datasets.formats.PLAIN_TEMPLATE`, which adds nothing to it.
"""


def compute_score(data_source: str, solution_str: str, ground_truth: str, extra_info: dict | None = None) -> float:
    """1 where the last `#### answer` is the ground truth, else 0; see train_grpo.py for what this cannot grade."""
    if "####" not in solution_str:
        return 0.0
    return float(solution_str.rpartition("####")[2].strip() == ground_truth)
