"""Training a policy further: what counts as learned, how much is read, and the folder that comes out."""

import json
import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from pipelines.inference.tokens import Tokenizer, check_model_folder
from pipelines.starter import tokenizer as starter
from pipelines.starter.fine_tune import (
    FineTuning,
    TrainingDataError,
    beginning,
    encode,
    fine_tune,
    imitation_loss,
    kept_divergence,
    rate_share,
)
from pipelines.starter.train import save_tokenizer

ROWS = [("<solve>12+7\n", "12+7=19\n#### 19\n"), ("<solve>5*3\n", "5*3=15\n#### 15\n")]


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained Llama with the starter's tokenizer and 64 tokens of context."""
    folder = tmp_path_factory.mktemp("policy")
    save_tokenizer(folder, 64)
    config = LlamaConfig(
        vocab_size=len(starter.VOCABULARY), hidden_size=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=64, tie_word_embeddings=True, pad_token_id=starter.PAD,
        eos_token_id=starter.EOS, bos_token_id=None,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def load(folder: Path) -> LlamaForCausalLM:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def test_only_the_completion_and_the_end_mark_are_learned(policy: Path) -> None:
    ids, start = encode(AutoTokenizer.from_pretrained(policy), "<solve>1+1\n", "#### 2\n", 64, ends=True)
    assert start == 5  # <solve> 1 + 1 and the line break
    assert [starter.VOCABULARY[one] for one in ids[start:]] == ["#### ", "2", "\n", "<eos>"]


def test_the_loss_is_the_mean_over_completion_tokens_whatever_the_padding(policy: Path) -> None:
    model, tokens = load(policy).eval(), AutoTokenizer.from_pretrained(policy)
    batch = [encode(tokens, *row, 64, ends=True) for row in ROWS]
    alone = [(imitation_loss(model, [one]).item(), len(one[0]) - one[1]) for one in batch]
    expected = sum(loss * count for loss, count in alone) / sum(count for _, count in alone)
    assert imitation_loss(model, batch).item() == pytest.approx(expected, rel=1e-5)


def test_a_policy_does_not_diverge_from_itself(policy: Path) -> None:
    model, tokens = load(policy).eval(), AutoTokenizer.from_pretrained(policy)
    batch = [encode(tokens, *row, 64, ends=False) for row in ROWS]
    assert kept_divergence(model, model, batch).item() == pytest.approx(0.0, abs=1e-6)


def test_the_rate_rises_over_a_tenth_of_the_tokens_and_falls_to_its_end() -> None:
    assert rate_share(0.0) == pytest.approx(0.1)
    assert rate_share(0.1) == pytest.approx(0.05 + 0.95 * 0.9)
    assert rate_share(1.0) == pytest.approx(0.05)


def test_the_last_batch_ends_with_the_row_that_reaches_the_number_of_tokens() -> None:
    batch = [([1] * 5, 2), ([1] * 6, 2), ([1] * 7, 2)]  # 3, 4 and 5 completion tokens
    assert [len(beginning(batch, count)) for count in (1, 3, 4, 7, 8, 100)] == [1, 1, 2, 2, 3, 3]


def test_training_reads_so_many_tokens_and_learns_the_rows(policy: Path, tmp_path: Path) -> None:
    # the rows have 13 and 12 tokens with the end mark; 168 steps of both read 4,200
    config = FineTuning(num_tokens=4200, learning_rate=0.02, batch_rows=2)
    made = fine_tune(policy, ROWS, tmp_path / "out", config, card="the card")
    assert (made.num_tokens, made.num_steps) == (4200, 168)
    assert made.loss < 0.2 < math.log(len(starter.VOCABULARY))
    assert (tmp_path / "out" / "README.md").read_text() == "the card"
    assert json.loads((tmp_path / "out" / "fine_tuning.json").read_text())["result"]["num_tokens"] == 4200


def test_the_folder_is_loaded_by_transformers_and_by_the_engine(policy: Path, tmp_path: Path) -> None:
    fine_tune(policy, ROWS, tmp_path / "out", FineTuning(num_tokens=20))
    check_model_folder(tmp_path / "out")
    text = "<solve>5*3\n5*3=15\n"
    assert AutoTokenizer.from_pretrained(tmp_path / "out").encode(text) == Tokenizer.load(policy).encode(text)
    assert load(tmp_path / "out").config.max_position_embeddings == 64
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]  # nothing half built is left


def test_equal_seeds_give_equal_weights_and_the_kept_texts_hold_the_policy(policy: Path, tmp_path: Path) -> None:
    kept = [("<verify>12+7\n", "12+7=19\n#### 19\n")]
    free = FineTuning(num_tokens=2000, learning_rate=0.02, batch_rows=2, keep_weight=0.0)
    held = FineTuning(num_tokens=2000, learning_rate=0.02, batch_rows=2, keep_weight=10.0)
    folders = {}
    for name, config in (("a", free), ("b", free), ("held", held)):
        folders[name] = fine_tune(policy, ROWS, tmp_path / name, config, kept_texts=kept).folder
    a, b = (load(folders[name]).state_dict() for name in ("a", "b"))
    assert all(torch.equal(a[name], b[name]) for name in a)
    batch = [encode(AutoTokenizer.from_pretrained(policy), *kept[0], 64, ends=False)]
    moved = {name: kept_divergence(load(folders[name]), load(policy), batch).item() for name in ("a", "held")}
    assert moved["held"] < moved["a"] / 4


def test_no_rows_and_rows_beyond_the_context_are_refused_with_what_is_wrong(policy: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match="`sft` is empty"):
        fine_tune(policy, [], tmp_path / "out", FineTuning())
    with pytest.raises(TrainingDataError, match="has 72 tokens, and the policy's context holds 64"):
        fine_tune(policy, [("<solve>", "1" * 70)], tmp_path / "out", FineTuning())
    with pytest.raises(TrainingDataError, match="no prompt or no completion"):
        fine_tune(policy, [("", "1\n")], tmp_path / "out", FineTuning())
    assert not (tmp_path / "out").exists()
