"""Runs in an environment with verl and openrlhf: their dataset classes read what was exported, and say what they got.

    python trainer_datasets_reader.py FOLDER

FOLDER has `tokenizer/` and one Parquet file per format. Prints one JSON object: format -> rows as the class gives them.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

from datasets import load_dataset
from omegaconf import OmegaConf
from openrlhf.datasets import PromptDataset, RewardDataset, SFTDataset
from transformers import AutoTokenizer
from verl.utils.dataset.multiturn_sft_dataset import MultiTurnSFTDataset
from verl.utils.dataset.rl_dataset import RLHFDataset

MAX_LENGTH = 384


def main(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    found = {
        "versions": {name: version(name) for name in ("verl", "openrlhf", "transformers", "torch", "datasets")},
        "verl_rl": verl_rl(folder, tokenizer),
        "messages": verl_messages(folder, tokenizer),
        "openrlhf_sft": openrlhf_sft(folder, tokenizer),
        "openrlhf_preference": openrlhf_preference(folder, tokenizer),
        "openrlhf_prompts": openrlhf_prompts(folder, tokenizer),
    }
    print(json.dumps(found))


def verl_rl(folder, tokenizer) -> list[dict]:
    config = OmegaConf.create({"max_prompt_length": MAX_LENGTH, "cache_dir": str(folder / "cache"),
                               "filter_overlong_prompts_workers": 1})  # fmt: skip
    rows = RLHFDataset(str(folder / "verl_rl.parquet"), tokenizer, config)
    return [
        {
            "prompt": tokenizer.apply_chat_template(row["raw_prompt"], add_generation_prompt=True, tokenize=False),
            "data_source": row["data_source"],
            "ground_truth": row["reward_model"]["ground_truth"],
            "index": row["index"],
        }
        for row in (rows[number] for number in range(len(rows)))
    ]


def verl_messages(folder, tokenizer) -> list[dict]:
    config = OmegaConf.create({"max_length": MAX_LENGTH})
    rows = MultiTurnSFTDataset(str(folder / "messages.parquet"), tokenizer, config)
    return [learned(tokenizer, row["input_ids"], row["loss_mask"])
            for row in (rows[number] for number in range(len(rows)))]  # fmt: skip


def openrlhf_sft(folder, tokenizer) -> list[dict]:
    strategy = strategy_with(input_key="input", output_key="output")
    rows = SFTDataset(rows_of(folder, "openrlhf_sft"), tokenizer, MAX_LENGTH, strategy, "{}", num_processors=1)
    items = [rows[number] for number in range(len(rows))]
    # its mask stands on the place before the token that is predicted
    return [learned(tokenizer, ids[0], mask[0].roll(1)) for ids, _, mask in items]


def openrlhf_preference(folder, tokenizer) -> list[dict]:
    strategy = strategy_with(prompt_key="prompt", chosen_key="chosen", rejected_key="rejected")
    rows = RewardDataset(rows_of(folder, "openrlhf_preference"), tokenizer, MAX_LENGTH, strategy, num_processors=1)
    items = [rows[number] for number in range(len(rows))]
    return [{"chosen": tokenizer.decode(chosen[0]), "rejected": tokenizer.decode(rejected[0]), "margin": margin}
            for chosen, _, rejected, _, margin in items]  # fmt: skip


def openrlhf_prompts(folder, tokenizer) -> list[dict]:
    strategy = strategy_with(input_key="input", label_key="label")
    rows = PromptDataset(rows_of(folder, "openrlhf_prompts"), tokenizer, strategy)
    names = ("datasource", "prompt", "label")
    return [dict(zip(names, rows[number], strict=False)) for number in range(len(rows))]


def rows_of(folder, name):
    return load_dataset("parquet", data_files=str(folder / f"{name}.parquet"), split="train",
                        cache_dir=str(folder / "cache"))  # fmt: skip


def strategy_with(**keys):
    return SimpleNamespace(args=SimpleNamespace(data=SimpleNamespace(**keys)), is_rank_0=lambda: True)


def learned(tokenizer, ids, mask) -> dict:
    """The whole text and the part that the loss is on, padding left out."""
    real = [(int(token), int(is_learned)) for token, is_learned in zip(ids, mask, strict=True)
            if int(token) != tokenizer.pad_token_id]  # fmt: skip
    return {"text": tokenizer.decode([token for token, _ in real]),
            "learned": tokenizer.decode([token for token, is_learned in real if is_learned])}  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]))
