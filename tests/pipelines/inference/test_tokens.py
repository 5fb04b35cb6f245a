import shutil
from pathlib import Path

import pytest

from pipelines.inference.engine_service import ensure_engine
from pipelines.inference.errors import ModelFolderError
from pipelines.inference.tokens import Tokenizer, max_model_len, model_digest


@pytest.fixture
def model_copy(tiny_model: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_model, tmp_path / "copy")


def test_special_tokens_in_text_become_one_token_and_none_are_added(tiny_model: Path):
    tokenizer = Tokenizer.load(tiny_model)

    assert tokenizer.encode("<solve>12\n") == [3, 6, 7, 5 + "0123456789+-*=# \n".index("\n")]
    assert tokenizer.eos_ids == {0}
    assert tokenizer.vocab_size == 49


def test_decoding_leaves_special_tokens_out_and_joins_without_spaces(tiny_model: Path):
    tokenizer = Tokenizer.load(tiny_model)

    assert tokenizer.decode([*tokenizer.encode("<solve>3*7=21 left 5,21\n"), 0]) == "3*7=21 left 5,21\n"


def test_the_context_length_comes_from_the_configuration(tiny_model: Path):
    assert max_model_len(tiny_model) == 256


def test_the_digest_follows_the_content_and_not_the_place(tiny_model: Path, model_copy: Path):
    assert model_digest(model_copy) == model_digest(tiny_model)

    weights = model_copy / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)

    assert model_digest(model_copy) != model_digest(tiny_model)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_what_a_model_folder_lacks_is_named_before_anything_starts(make_settings, model_copy: Path, name: str):
    (model_copy / name).unlink()

    with pytest.raises(ModelFolderError) as caught:
        ensure_engine(make_settings(model_copy), model_copy, run_id="r")

    assert str(model_copy) in str(caught.value)
    assert "lacks" in str(caught.value)
    assert name.split(".")[-1] in str(caught.value)
    assert not (make_settings(model_copy).state_dir / "engines").exists()


def test_a_model_folder_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(ModelFolderError, match=r"nowhere is not there"):
        Tokenizer.load(tmp_path / "nowhere")


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_a_malformed_tokenizer_is_named(model_copy: Path, content: str):
    (model_copy / "tokenizer.json").write_text(content)

    with pytest.raises(ModelFolderError, match=r"tokenizer\.json"):
        Tokenizer.load(model_copy)


def test_a_model_without_a_chat_template_says_what_to_do(tiny_model: Path):
    with pytest.raises(ModelFolderError, match="no chat template"):
        Tokenizer.load(tiny_model).apply_chat([{"role": "user", "content": "1+1"}])
