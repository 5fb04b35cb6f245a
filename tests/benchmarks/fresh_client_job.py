"""Runs where only torch, trl and this repository are installed: every set of a version reaches its trainer.

    python fresh_client_job.py DATASETS NAME@VERSION FOLDER

Pulls the version, loads every set with the light client, lets TRL's trainers take one step on the starter policy, and
prints one JSON object: what was installed, rows and loss by set, and which modules of ours were imported.
"""

import json
import sys
from importlib.metadata import distributions, version
from pathlib import Path

from transformers import AutoTokenizer
from trl import (
    DPOConfig,
    DPOTrainer,
    GRPOConfig,
    GRPOTrainer,
    KTOConfig,
    KTOTrainer,
    SFTConfig,
    SFTTrainer,
)

import pipelines.starter
from reasonmill import client

STARTER = str(Path(pipelines.starter.__file__).parent / "weights")
OURS = ("pipelines", "reasonmill", "critics", "assets", "sql")
PINNED_ONLY = ("dagster", "duckdb", "polars", "pydantic", "typer", "vllm", "ray", "numpy", "pandas")


def main(source: str, dataset: str, folder: str) -> None:
    name, _, wanted = dataset.partition("@")
    pulled = client.pull(name, wanted, to=folder, source=source)
    rows = {one: client.load(pulled, one) for one in ("sft", "preference", "stepwise", "prompts", "rl_groups")}
    short = {
        "output_dir": f"{folder}/out", "max_steps": 1, "per_device_train_batch_size": 2, "use_cpu": True,
        "bf16": False, "report_to": "none", "save_strategy": "no", "logging_steps": 1, "disable_tqdm": True,
    }  # fmt: skip

    def step(trainer_class, config, train_dataset, *arguments) -> float:
        trainer = trainer_class(
            STARTER, *arguments, args=config, train_dataset=train_dataset,
            processing_class=AutoTokenizer.from_pretrained(STARTER),
        )  # fmt: skip
        trainer.train()
        return next(entry["loss"] for entry in trainer.state.log_history if "loss" in entry)

    def no_reward(completions, reference_answer, **columns):
        return [float(len(text) + len(answer)) for text, answer in zip(completions, reference_answer, strict=True)]

    few = {one: table.select(range(min(8, len(table)))) for one, table in rows.items()}
    group = GRPOConfig(num_generations=2, max_completion_length=8, **short)
    losses = {
        "sft": step(SFTTrainer, SFTConfig(**short), few["sft"]),
        "preference": step(DPOTrainer, DPOConfig(**short), few["preference"]),
        "preference, unpaired by TRL": step(KTOTrainer, KTOConfig(**short), few["preference"]),
        "prompts": step(GRPOTrainer, group, few["prompts"], no_reward),
    }
    print(json.dumps({
        "versions": {one: version(one) for one in ("torch", "trl", "transformers", "datasets", "pyarrow")},
        "num_packages": len(list(distributions())),
        "absent": [one for one in PINNED_ONLY if not _is_installed(one)],
        "rows": {one: len(table) for one, table in rows.items()},
        "columns": {one: table.column_names for one, table in rows.items()},
        "losses": losses,
        "modules": sorted(one for one in sys.modules if one.split(".")[0] in OURS),
    }))  # fmt: skip


def _is_installed(name: str) -> bool:
    return any((found.metadata["Name"] or "").lower() == name for found in distributions())


if __name__ == "__main__":
    main(*sys.argv[1:])
