"""Train a policy further on the rows of a published training set: one seeded loop, the same for every data set.

    loss = - mean over completion tokens of log p(token)                      imitate (the end mark is a token)
         + keep_weight * mean over kept positions of KL(p_before || p)        stay as it was where nothing is taught

The second term is read on `kept_texts` (the policy's own critique prompts with solutions behind them): its critic
starts from that role, and imitation alone would wash it out. With keep_weight 0 it is plain supervised fine-tuning.

Invariants
- `num_tokens` completion tokens are read whatever the size of the data: a small set is read more often. The last row
  is read whole, so a run reads less than one row more.
- Every epoch is a shuffle of all rows by the seed; equal rows, settings and initial weights give equal weights on one
  machine with the same number of threads.
- The folder (weights in bf16, tokenizer, `fine_tuning.json`, card) appears by one rename, or not at all.
"""

import json
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from pipelines.errors import ReasonmillError

IGNORE = -100
CARD, RECORD = "README.md", "fine_tuning.json"
BUILDING = ".building-"
WARM_SHARE = 0.1  # of the tokens, over which the learning rate rises
LAST_SHARE = 0.05  # of the peak learning rate, at the end

Text = tuple[str, str]
"""Prompt, which is only read, and the text behind it."""
OnMetrics = Callable[[int, Mapping[str, float]], None]
Encoded = tuple[list[int], int]
"""Token ids of prompt and text, and how many of them are the prompt's."""


class TrainingDataError(ReasonmillError):
    """Rows that a policy cannot be trained on."""


@dataclass(frozen=True)
class FineTuning:
    """Everything but the data that decides the weights."""

    num_tokens: int = 60_000  # completion tokens read, rows read again included
    learning_rate: float = 1e-3  # peak, of AdamW
    batch_rows: int = 48
    keep_weight: float = 1.0
    kept_rows: int = 16  # texts per step on which the policy is kept as it was
    max_grad_norm: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class FineTuned:
    """A policy folder that plain transformers and the engine load."""

    folder: Path
    num_steps: int
    num_tokens: int  # completion tokens read
    loss: float  # imitation, of the last step
    kept_divergence: float  # KL(before || now) on the kept texts of the last step; 0 where none were given


def fine_tune(
    init_folder: Path,
    rows: Sequence[Text],
    out: Path,
    config: FineTuning,
    *,
    kept_texts: Sequence[Text] = (),
    card: str = "",
    on_metrics: OnMetrics = lambda step, metrics: None,
) -> FineTuned:
    """Train on (prompt, completion) rows and write the policy to `out`, replacing what is there.

    Raises TrainingDataError where there is no row, or a row that is longer than the policy's context.
    """
    model = AutoModelForCausalLM.from_pretrained(init_folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(init_folder)
    limit = model.config.max_position_embeddings
    examples = [encode(tokenizer, *row, limit, ends=True) for row in rows]
    if not examples:
        raise TrainingDataError("There is no row to train the policy on; the training set `sft` is empty.")
    kept = [encode(tokenizer, *text, limit, ends=False) for text in kept_texts]
    before = AutoModelForCausalLM.from_pretrained(init_folder, dtype=torch.float32).eval() if kept else None
    optimiser = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.0)
    rng = random.Random(config.seed)
    batches, kept_batches = _endless(examples, config.batch_rows, rng), _endless(kept, config.kept_rows, rng)
    model.train()
    num_steps = num_tokens = 0
    loss = divergence = 0.0
    while num_tokens < config.num_tokens:
        batch = beginning(next(batches), config.num_tokens - num_tokens)
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * rate_share(num_tokens / config.num_tokens)
        imitation = imitation_loss(model, batch)
        total, loss = imitation, imitation.item()
        if before is not None and config.keep_weight > 0:
            distance = kept_divergence(model, before, next(kept_batches))
            total, divergence = total + config.keep_weight * distance, distance.item()
        total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        num_steps += 1
        num_tokens += sum(len(ids) - start for ids, start in batch)
        on_metrics(num_steps, {"loss": loss, "kept_divergence": divergence, "num_tokens": float(num_tokens)})
    made = FineTuned(out, num_steps, num_tokens, loss, divergence)
    _write(model, tokenizer, made, config, card)
    return made


def encode(tokenizer: PreTrainedTokenizerBase, prompt: str, text: str, limit: int, *, ends: bool) -> Encoded:
    """Ids of prompt and text, which are cut into tokens apart, as the policy read and wrote them."""
    start = tokenizer.encode(prompt, add_special_tokens=False)
    ids = start + tokenizer.encode(text, add_special_tokens=False) + ([tokenizer.eos_token_id] if ends else [])
    if not start or len(ids) == len(start):
        raise TrainingDataError(f"A row has no prompt or no completion: {prompt[:60]!r} and {text[:60]!r}.")
    if len(ids) > limit:
        raise TrainingDataError(
            f"The row that begins with {prompt[:60]!r} has {len(ids)} tokens, and the policy's context holds {limit}. "
            "Leave it out of the training set, or take a policy with a longer context."
        )
    return ids, len(start)


def beginning(batch: Sequence[Encoded], num_tokens: int) -> list[Encoded]:
    """The first rows, until they have so many completion tokens; the row that reaches the number is whole."""
    rows: list[Encoded] = []
    for ids, start in batch:
        if num_tokens <= 0:
            break
        rows.append((ids, start))
        num_tokens -= len(ids) - start
    return rows


def rate_share(done: float) -> float:
    """Share of the peak learning rate when a share `done` of the tokens is read: up over a tenth, then down."""
    rising = min(1.0, (done + 0.01) / WARM_SHARE)
    return rising * (LAST_SHARE + (1 - LAST_SHARE) * (1 - done))


def imitation_loss(model: PreTrainedModel, batch: Sequence[Encoded]) -> torch.Tensor:
    """Mean cross-entropy of the tokens behind the prompts."""
    ids_BT, mask_BT, targets_BT = _padded(batch)
    hidden_BTD = model.model(input_ids=ids_BT, attention_mask=mask_BT).last_hidden_state[:, :-1]
    is_target_BT = targets_BT[:, 1:] != IGNORE
    logits_ND = model.lm_head(hidden_BTD[is_target_BT])
    return F.cross_entropy(logits_ND, targets_BT[:, 1:][is_target_BT])


def kept_divergence(model: PreTrainedModel, before: PreTrainedModel, batch: Sequence[Encoded]) -> torch.Tensor:
    """Mean KL(before || model) over the predictions after the prompt's last token and all of the text's tokens."""
    ids_BT, mask_BT, targets_BT = _padded(batch)
    is_read_BT = targets_BT != IGNORE  # the text's tokens
    is_read_BT[:, :-1] |= targets_BT[:, 1:] != IGNORE  # and the token before them
    with torch.no_grad():
        old_ND = before(input_ids=ids_BT, attention_mask=mask_BT).logits[is_read_BT].log_softmax(-1)
    new_ND = model(input_ids=ids_BT, attention_mask=mask_BT).logits[is_read_BT].log_softmax(-1)
    return (old_ND.exp() * (old_ND - new_ND)).sum(-1).mean()


def _padded(batch: Sequence[Encoded]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids, attention mask and targets (IGNORE in prompts and padding), padded on the right."""
    width = max(len(ids) for ids, _ in batch)
    ids_BT = torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in batch])
    mask_BT = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids, _ in batch])
    targets_BT = torch.tensor([[IGNORE] * start + ids[start:] + [IGNORE] * (width - len(ids)) for ids, start in batch])
    return ids_BT, mask_BT, targets_BT


def _endless(examples: Sequence[Encoded], size: int, rng: random.Random) -> Iterator[list[Encoded]]:
    """Batches of shuffled epochs for ever; an epoch's last batch may be smaller."""
    while examples:
        shuffled = list(examples)
        rng.shuffle(shuffled)
        for at in range(0, len(shuffled), size):
            yield shuffled[at : at + size]


def _write(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, made: FineTuned, config: FineTuning, card: str
) -> None:
    made.folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=BUILDING, dir=made.folder.parent))
    try:
        building.chmod(0o755)
        model.to(torch.bfloat16).save_pretrained(building)
        tokenizer.save_pretrained(building)
        record = {"config": asdict(config), "result": {k: v for k, v in asdict(made).items() if k != "folder"}}
        (building / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        (building / CARD).write_text(card, encoding="utf-8")
        if made.folder.exists():
            shutil.rmtree(made.folder)
        os.rename(building, made.folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
