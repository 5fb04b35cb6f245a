"""Tiny published versions: two arithmetic problems with rows in every set."""

from pathlib import Path

from pipelines.config import PublishingConfig, Settings
from pipelines.datasets.versions import PublishedVersion
from pipelines.lake import Lake
from pipelines.publishing import publish
from pipelines.rows import rows_to_table

NIGHT = "2026-11-03"
ASKED = {"p": "<solve>1+2\n", "q": "<solve>2*3-1\n"}
RIGHT = {"p": "1+2=3\n#### 3\n", "q": "2*3=6\n6-1=5\n#### 5\n"}
WRONG = {"p": "1+2=4\n#### 4\n", "q": "2*3=7\n7-1=6\n#### 6\n"}
ANSWERS = {"p": "3", "q": "5"}


def rl_row(rollout_id: str, problem_id: str, reward: float, prompt: list[int], completion: list[int]) -> dict:
    return {
        "group_id": f"g-{problem_id}", "rollout_id": rollout_id, "problem_id": problem_id, "prompt_token_ids": prompt,
        "completion_token_ids": completion, "behaviour_logprobs": [-0.5] * len(completion), "policy_version": "d",
        "reward": reward, "advantage": reward - 0.5, "loss_weight": 1.0,
    }  # fmt: skip


ROWS: dict[str, list[dict]] = {
    "sft": [
        {"prompt": ASKED[name], "completion": RIGHT[name], "problem_id": name, "rollout_id": f"r-{name}",
         "origin": "search"}
        for name in ASKED
    ],
    "preference": [
        {"prompt": ASKED[name], "chosen": RIGHT[name], "rejected": WRONG[name], "margin": 0.5, "chosen_score": 1.0,
         "rejected_score": 0.5, "weight": 1.0, "method": "rollout_pairs", "problem_id": name, "pair_id": f"x-{name}"}
        for name in ASKED
    ],
    "stepwise": [
        {"prompt": ASKED["p"], "completions": ["1+2=3", "#### 4"], "labels": [True, False], "soft_labels": [0.5, 0.0],
         "visit_counts": [4, 2], "problem_id": "p", "rollout_id": "r"}
    ],
    "prompts": [
        {"prompt": ASKED[name], "reference_answer": ANSWERS[name], "problem_id": name, "family": "arithmetic",
         "difficulty": number}
        for number, name in enumerate(ASKED, start=1)
    ],
    "rl_groups": [
        rl_row("r1", "p", 1.0, [2, 23], [25, 1]),
        rl_row("r2", "p", 0.0, [2, 23], [26, 1]),
        rl_row("r3", "q", 1.0, [2, 24], [27, 21, 1]),
        rl_row("r4", "q", 0.0, [2, 24], [28, 1]),
    ],
    "splices": [
        {"splice_id": "s", "problem_id": "p", "tree_id": "t", "rollout_id": "r", "prompt": "1+2", "prefix_steps": [],
         "wrong_steps": ["1+2=4"], "transition": "No.", "right_steps": ["1+2=3", "#### 3"]}
    ],
}  # fmt: skip


def make_lake(folder: Path, night: str = NIGHT, **changes: list[dict]) -> tuple[Settings, Lake]:
    """A workspace whose lake has the training sets of one night."""
    settings = Settings(root=folder / "workspace", publishing=PublishingConfig(name="tiny"))
    lake = Lake(settings.lake_url)
    for name, rows in (ROWS | changes).items():
        lake.write(name, rows_to_table(name, [row | {"night": night} for row in rows]), partition=night)
    return settings, lake


def make_version(folder: Path, night: str = NIGHT, **changes: list[dict]) -> PublishedVersion:
    """One published version of those sets."""
    settings, lake = make_lake(folder, night, **changes)
    return publish(settings, lake, night)
