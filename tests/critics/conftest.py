"""Builders for the critics' tests: a tiny random Llama with a character tokenizer, and search trees."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from pipelines.tables import SCHEMAS

SPECIAL = ("<pad>", "<eos>", "<solve>", "<verify>", "<right>", "<wrong>")
CHARACTERS = "\n0123456789+-*=# abcdefg"


def build_language_model(
    folder: Path, *, special: tuple[str, ...] = SPECIAL, tied: bool = True, num_heads: int = 2
) -> Path:
    """A random Llama of hidden size 32 whose tokens are single characters, saved as a model folder."""
    vocabulary = {token: i for i, token in enumerate([*special, *CHARACTERS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("[\\s\\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>")
    fast.add_special_tokens({"additional_special_tokens": list(special[2:])})
    config = LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=num_heads, max_position_embeddings=64, tie_word_embeddings=tied, initializer_range=0.2,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def make_problem(problem_id: str, *, prompt: str = "1+2", split: str = "train", family: str = "arithmetic") -> dict:
    return {"problem_id": problem_id, "prompt": prompt, "split": split, "family": family}


def make_node(node_id: int, parent_id: int | None, step: str, right: float = 0, num: int = 0, **fields) -> dict:
    """A search node with `right` right ones among `num` graded completions."""
    row = {
        "tree_id": "t", "problem_id": "p", "node_id": node_id, "parent_id": parent_id, "step_text": step,
        "num_samples": num, "raw_value": right / num if num else None, "is_terminal": False, "outcome_reward": None,
    }  # fmt: skip
    return row | fields


def table(name: str, rows: list[dict]) -> pa.Table:
    return pa.table({c: [row.get(c) for row in rows] for c in SCHEMAS[name].names}, schema=SCHEMAS[name])


def verify_prompt(problem: dict) -> str:
    return f"<verify>{problem['prompt']}\n"


@pytest.fixture(scope="session")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_language_model(tmp_path_factory.mktemp("language_model"))


@pytest.fixture(scope="session")
def toy_trees() -> Callable[[int], tuple[pa.Table, pa.Table]]:
    """Trees in which a step that begins with `a` is right (4 of 4 completions) and with `b` wrong (0 of 4)."""

    def build(num_problems: int) -> tuple[pa.Table, pa.Table]:
        problems, nodes = [], []
        for i in range(num_problems):
            problem_id = f"p{i}"
            problems.append(make_problem(problem_id, prompt=f"{i % 10}+{i // 10 % 10}"))
            ids = {"tree_id": f"t{i}", "problem_id": problem_id}
            nodes += [
                make_node(0, None, "", **ids),
                make_node(1, 0, f"a{i % 7}", 4, 4, **ids),
                make_node(2, 0, f"b{i % 5}", 0, 4, **ids),
                make_node(3, 1, f"b{i % 3}c", 0, 4, **ids),
                make_node(4, 1, f"a{i % 4}c", 4, 4, **ids),
            ]
        return table("problems", problems), table("search_nodes", nodes)

    return build
