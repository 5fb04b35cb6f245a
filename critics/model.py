"""The critic's network: a causal backbone with K outputs per token, which a head reads, and its tokenizer.

`LlamaForTokenClassification` for Llama backbones, whatever `AutoModelForTokenClassification` gives for
others. The outputs of a step are read at the last token of the step and its separator. Invariant of the
initial critic with the head `bce` (of the others see `critics.heads`), where the tokenizer has both verdict tokens:

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
from critics.head_registry import HEAD_KEY, head_as_json, head_from_json
from critics.heads import BceHead, Head
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

    def num_tokens(self, step: str) -> int:
        """Tokens of a step with its separator."""
        return len(self._ids(step + STEP_SEPARATOR))

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
    _check_separator(folder, tokenizer)
    largest = max(tokenizer.get_vocab().values())
    if largest >= config.vocab_size:
        raise VocabularyError(
            f"The tokenizer of {folder} has token ids up to {largest}, its network only {config.vocab_size} embeddings "
            f"(0 to {config.vocab_size - 1}): they are of different models. Take the tokenizer that the network "
            "learned with."
        )
    return StepEncoder(tokenizer, config.max_position_embeddings)


def initial_critic(folder: Path, seed: int, head: Head | None = None) -> PreTrainedModel:
    """An untrained critic from a causal language model, or an earlier critic as it is; float32, eval mode.

    head: how values are represented; None is `bce`. CheckpointError where the earlier critic has another one.
    """
    _check_folder(folder)
    head = head or BceHead()
    config = AutoConfig.from_pretrained(folder)
    if (config.architectures or [""])[0].endswith("ForTokenClassification"):
        critic = load_network(folder)
        if stored_head(critic) != head:
            raise CheckpointError(
                f"{folder} is a critic with the head {stored_head(critic)}, but the configuration asks for {head}; set "
                "process_critic.head to what it has, or start from a language model (process_critic.init)"
            )
        return critic
    language_model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    names = ["right"] if head.num_outputs == 1 else [f"{head.name}_{k}" for k in range(head.num_outputs)]
    config.num_labels, config.classifier_dropout, config.tie_word_embeddings = head.num_outputs, 0.0, False
    config.id2label, config.label2id = dict(enumerate(names)), {name: k for k, name in enumerate(names)}
    setattr(config, HEAD_KEY, head_as_json(head))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        critic = AutoModelForTokenClassification.from_config(config, dtype=torch.float32)
    backbone = getattr(critic, critic.base_model_prefix)
    backbone.load_state_dict(language_model.base_model.state_dict())
    with torch.no_grad():
        weight_KH, bias_K = head.initial(_verdict_direction(folder, language_model, config.hidden_size, seed))
        critic.score.weight.copy_(weight_KH)
        critic.score.bias.copy_(bias_K)
    return critic.eval()


def load_network(folder: Path) -> PreTrainedModel:
    """The network of a critic checkpoint; float32, eval mode."""
    _check_folder(folder)
    critic = AutoModelForTokenClassification.from_pretrained(folder, dtype=torch.float32)
    head = stored_head(critic)
    if critic.config.num_labels != head.num_outputs:
        raise CheckpointError(
            f"{folder} has {critic.config.num_labels} labels per token; a step critic with the head {head.name} has "
            f"{head.num_outputs}"
        )
    return critic.eval()


def stored_head(critic: PreTrainedModel) -> Head:
    """The head that a network's configuration names."""
    return head_from_json(getattr(critic.config, HEAD_KEY, None))


def stored_head_of(folder: Path) -> Head:
    """The head of a checkpoint folder, without loading its weights."""
    return head_from_json(getattr(AutoConfig.from_pretrained(folder), HEAD_KEY, None))


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


def _verdict_direction(folder: Path, language_model: PreTrainedModel, hidden_size: int, seed: int) -> Tensor:
    """direction_H, whose product with the last hidden state is the language model's own logit of a right step."""
    vocabulary = AutoTokenizer.from_pretrained(folder).get_vocab()
    if RIGHT_TOKEN in vocabulary and WRONG_TOKEN in vocabulary:
        rows = language_model.get_output_embeddings().weight
        return rows[vocabulary[RIGHT_TOKEN]] - rows[vocabulary[WRONG_TOKEN]]
    return 0.02 * torch.randn(hidden_size, generator=torch.Generator().manual_seed(seed))


def _check_separator(folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """A score is read at the separator, so a tokenizer that drops it has no place to read one."""
    with_separator, alone = tokenizer(["1" + STEP_SEPARATOR, "1"], add_special_tokens=False)["input_ids"]
    if with_separator == alone or with_separator[-1:] == [tokenizer.unk_token_id]:
        raise CheckpointError(
            f"the tokenizer of {folder} has no token for {STEP_SEPARATOR!r}, which ends a step: '1' with it "
            f"becomes {with_separator} and without it {alone}; take a model whose tokenizer keeps newlines"
        )


def _check_folder(folder: Path) -> None:
    for name in ("config.json", "tokenizer.json"):
        if not (Path(folder) / name).is_file():
            raise CheckpointError(
                f"{folder} has no {name}: a critic starts from, and is saved as, a Hugging Face model folder with "
                "config.json, tokenizer.json and safetensors weights"
            )
