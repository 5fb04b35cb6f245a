import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForTokenClassification

from critics.errors import CheckpointError
from critics.model import initial_critic, load_encoder, outputs_at, pad_rows
from tests.critics.conftest import SPECIAL, build_language_model


def test_the_untrained_critic_gives_the_language_models_own_verdict(language_model):
    ids, ends = load_encoder(language_model).encode("<verify>12+7\n", ["12+7=19", "#### 19"])
    logits_T = initial_critic(language_model, seed=0)(input_ids=torch.tensor([ids])).logits[0, ends, 0]
    vocabulary = AutoTokenizer.from_pretrained(language_model).get_vocab()
    verdicts = [vocabulary["<right>"], vocabulary["<wrong>"]]
    with torch.no_grad():
        model = AutoModelForCausalLM.from_pretrained(language_model, dtype=torch.float32)
        next_token = model(torch.tensor([ids])).logits[0, ends].softmax(-1)[:, verdicts]
    expected = next_token[:, 0] / next_token.sum(-1)
    assert torch.sigmoid(logits_T).tolist() == pytest.approx(expected.tolist(), abs=1e-5)
    assert expected[0].item() != pytest.approx(0.5, abs=1e-3)


def test_an_untied_output_embedding_gives_the_head_as_well(tmp_path):
    folder = build_language_model(tmp_path / "untied", tied=False)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    vocabulary = AutoTokenizer.from_pretrained(folder).get_vocab()
    rows = model.lm_head.weight[[vocabulary["<right>"], vocabulary["<wrong>"]]]
    assert torch.equal(initial_critic(folder, seed=0).score.weight[0], rows[0] - rows[1])


def test_without_verdict_tokens_the_head_is_small_random_and_seeded(tmp_path):
    folder = build_language_model(tmp_path / "plain", special=SPECIAL[:4])
    heads = [initial_critic(folder, seed).score.weight for seed in (0, 0, 1)]
    assert torch.equal(heads[0], heads[1]) and not torch.equal(heads[0], heads[2])
    assert 0 < heads[0].abs().max() < 0.1


def test_step_ends_are_the_separators_whatever_stands_around_them(language_model):
    encoder = load_encoder(language_model)
    ids, ends = encoder.encode("<verify>1+2\n", ["1+2=3", "#### 3"])
    assert ends == [len("_1+2\n1+2=3\n") - 1, len("_1+2\n1+2=3\n#### 3\n") - 1]
    assert len(ids) == ends[-1] + 1
    newline = encoder.encode("", [""])[0]
    assert [ids[end] for end in ends] == newline * 2


def test_steps_beyond_the_context_have_no_end(language_model):
    ids, ends = load_encoder(language_model).encode("<verify>1\n", ["1" * 20, "2" * 30, "3" * 30])
    assert ends == [23, 54]
    assert len(ids) == 55


def test_right_padding_does_not_change_a_logit(language_model):
    critic = initial_critic(language_model, seed=0)
    encoder = load_encoder(language_model)
    short, long = (encoder.encode("<verify>1+2\n", steps)[0] for steps in (["a"], ["b" * 30]))
    with torch.no_grad():
        alone = outputs_at(critic, pad_rows([short]), torch.tensor([0]), torch.tensor([len(short) - 1]))
        padded = outputs_at(critic, pad_rows([short, long]), torch.tensor([0]), torch.tensor([len(short) - 1]))
    assert alone.item() == pytest.approx(padded.item(), abs=1e-5)


def test_a_saved_critic_is_taken_as_it_is(language_model, tmp_path):
    critic = initial_critic(language_model, seed=0)
    with torch.no_grad():
        critic.score.bias.fill_(3.0)
    critic.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(language_model).save_pretrained(tmp_path)
    again = initial_critic(tmp_path, seed=0)
    assert isinstance(again, LlamaForTokenClassification)
    assert again.score.bias.item() == 3.0


def test_a_folder_without_a_tokenizer_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="no tokenizer.json"):
        initial_critic(tmp_path, seed=0)


def test_a_tokenizer_without_a_token_for_the_end_of_a_step_is_refused(tmp_path):
    folder = build_language_model(tmp_path / "model")
    text = json.loads((folder / "tokenizer.json").read_text())
    text["normalizer"] = {"type": "Strip", "strip_left": True, "strip_right": True}
    (folder / "tokenizer.json").write_text(json.dumps(text))
    with pytest.raises(CheckpointError, match=r"has no token for '\\n', which ends a step: '1' with it becomes \[8\]"):
        load_encoder(folder)
