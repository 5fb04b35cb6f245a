"""The process critic's network: a causal backbone with one logit per token, and its tokenizer.

`LlamaForTokenClassification` for Llama backbones, whatever `AutoModelForTokenClassification` gives for
others. The logit of a step is read at the last token of the step and its separator. Invariant of the
initial critic, where the tokenizer has both verdict tokens:

    sigmoid(logit) = P(<right>) / (P(<right>) + P(<wrong>))

under the language model at that position, because score.weight = emb[<right>] - emb[<wrong>] and the
final norm stands before the head in both networks. Rows are padded on the right and no attention mask
is given: a causal model never looks at what follows.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from critics.errors import CheckpointError, VocabularyError
from critics.packing import Packing

RIGHT_TOKEN, WRONG_TOKEN = "<right>", "<wrong>"
STEP_SEPARATOR = "\n"


class StepEncoder:
    """Texts to token ids with exact step ends: the prompt and every step are tokenised on their own."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_length: int):
        self._tokenizer = tokenizer
        self._cache: dict[str, list[int]] = {}
        self.max_length = max_length  # tokens that the network can take

    def encode(self, prompt: str, steps: Sequence[str]) -> tuple[list[int], list[int]]:
        """(token ids, index of each step's last token). Cut at `max_length`: later steps have no index."""
        ids = list(self._ids(prompt))
        ends = []
        for step in steps:
            ids.extend(self._ids(step + STEP_SEPARATOR))
            if len(ids) > self.max_length:
                break
            ends.append(len(ids) - 1)
        return ids[: ends[-1] + 1 if ends else 0], ends

    def knows(self, text: str) -> bool:
        """Whether no part of a text becomes the tokenizer's unknown token (none is known to, if it has no such)."""
        return self._tokenizer.unk_token_id is None or self._tokenizer.unk_token_id not in self._ids(text)

    def remember(self, texts: Iterable[str]) -> None:
        """Tokenise many texts at once; `encode` then looks them up."""
        unseen = sorted({text for text in texts if text not in self._cache})
        if unseen:
            ids = self._tokenizer(unseen, add_special_tokens=False)["input_ids"]
            self._cache.update(zip(unseen, ids, strict=True))

    def _ids(self, text: str) -> list[int]:
        if text not in self._cache:
            self.remember([text])
        return self._cache[text]


def load_encoder(folder: Path) -> StepEncoder:
    """The encoder of a model folder."""
    _check_folder(folder)
    config = AutoConfig.from_pretrained(folder).get_text_config()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    largest = max(tokenizer.get_vocab().values())
    if largest >= config.vocab_size:
        raise VocabularyError(
            f"The tokenizer of {folder} has token ids up to {largest}, its network only {config.vocab_size} embeddings "
            f"(0 to {config.vocab_size - 1}): they are of different models. Take the tokenizer that the network "
            "learned with."
        )
    return StepEncoder(tokenizer, config.max_position_embeddings)


def initial_critic(folder: Path, seed: int) -> PreTrainedModel:
    """An untrained critic from a causal language model, or an earlier critic as it is; float32, eval mode."""
    _check_folder(folder)
    config = AutoConfig.from_pretrained(folder)
    if (config.architectures or [""])[0].endswith("ForTokenClassification"):
        return load_network(folder)
    language_model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    config.num_labels, config.classifier_dropout, config.tie_word_embeddings = 1, 0.0, False
    config.id2label, config.label2id = {0: "right"}, {"right": 0}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        critic = AutoModelForTokenClassification.from_config(config, dtype=torch.float32)
    backbone = getattr(critic, critic.base_model_prefix)
    backbone.load_state_dict(language_model.base_model.state_dict())
    with torch.no_grad():
        critic.score.weight.copy_(_head_weight(folder, language_model, critic.score.weight, seed))
        critic.score.bias.zero_()
    return critic.eval()


def load_network(folder: Path) -> PreTrainedModel:
    """The network of a critic checkpoint; float32, eval mode."""
    _check_folder(folder)
    critic = AutoModelForTokenClassification.from_pretrained(folder, dtype=torch.float32)
    if critic.config.num_labels != 1:
        raise CheckpointError(f"{folder} has {critic.config.num_labels} labels per token; a step critic has 1")
    return critic.eval()


def logits_at(
    critic: PreTrainedModel, ids_BT: Tensor, rows_N: Tensor, positions_N: Tensor, packing: Packing | None = None
) -> Tensor:
    """Float32 logits at (row, position) pairs of token ids."""
    return outputs_at(critic, ids_BT, rows_N, positions_N, packing)[:, 0]


def outputs_at(
    critic: PreTrainedModel, ids_BT: Tensor, rows_N: Tensor, positions_N: Tensor, packing: Packing | None = None
) -> Tensor:
    """Float32 outputs (N, K) at (row, position) pairs of right-padded token ids.

    packing: the ids are one row of packed ones, of a critic that `packing.allow_packing` has been called with.
    """
    if packing is None:
        outputs_BTK = critic(input_ids=ids_BT, use_cache=False).logits
    else:
        no_mask = torch.empty(1, 1, 1, 1, device=ids_BT.device)  # of four dimensions: transformers makes none itself
        outputs_BTK = critic(
            input_ids=ids_BT, position_ids=packing.positions_1U, attention_mask=no_mask,
            visibility=packing.visibility, use_cache=False,
        ).logits  # fmt: skip
    return outputs_BTK[rows_N, positions_N].float()


def pad_rows(rows: Sequence[Sequence[int]]) -> Tensor:
    """Token ids, padded on the right with 0: int64 of shape (rows, longest)."""
    longest = max(len(row) for row in rows)
    return torch.tensor([list(row) + [0] * (longest - len(row)) for row in rows])


def _head_weight(folder: Path, language_model: PreTrainedModel, like: Tensor, seed: int) -> Tensor:
    vocabulary = AutoTokenizer.from_pretrained(folder).get_vocab()
    if RIGHT_TOKEN in vocabulary and WRONG_TOKEN in vocabulary:
        rows = language_model.get_output_embeddings().weight
        return (rows[vocabulary[RIGHT_TOKEN]] - rows[vocabulary[WRONG_TOKEN]]).reshape(like.shape)
    return 0.02 * torch.randn(like.shape, generator=torch.Generator().manual_seed(seed))


def _check_folder(folder: Path) -> None:
    for name in ("config.json", "tokenizer.json"):
        if not (Path(folder) / name).is_file():
            raise CheckpointError(
                f"{folder} has no {name}: a critic starts from, and is saved as, a Hugging Face model folder with "
                "config.json, tokenizer.json and safetensors weights"
            )
