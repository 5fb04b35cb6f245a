"""A real, tiny model for the inference tests: a random Llama with a character tokenizer."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.config import EngineConfig, PolicyConfig, Settings

SPECIAL_TOKENS = ("<eos>", "<pad>", "<unk>", "<solve>", "<review>")
CHARACTERS = "0123456789+-*=# \n,abcdefghijklmnopqrstuvwxyz"


def build_model(folder: Path, *, hidden: int = 64, layers: int = 2) -> Path:
    """Write a random Llama (head size 32) and its tokenizer in Hugging Face format; returns the folder."""
    import torch
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    vocabulary = {token: i for i, token in enumerate([*SPECIAL_TOKENS, *CHARACTERS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", pad_token="<pad>").save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        num_key_value_heads=hidden // 32,
        head_dim=32,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        eos_token_id=0,
        bos_token_id=None,
        pad_token_id=1,
        initializer_range=0.3,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def make_settings(tmp_path: Path) -> Callable[..., Settings]:
    """Settings in a fresh workspace: `make_settings(model, mode=..., idle_timeout_s=...)`."""

    def make(model: Path | str = "starter", **engine: object) -> Settings:
        return Settings(
            root=tmp_path / "workspace",
            policy=PolicyConfig(model=str(model), max_model_len=128),
            engine=EngineConfig(**{"device": "cpu", "max_num_seqs": 32, "kv_cache_gib": 1.0, **engine}),
        )

    return make
