"""LoRA (arXiv 2106.09685) through peft, for backbones too large to train whole: W x becomes W x + (2 r / r) B A x.

A and B are of rank r on every linear layer of the backbone; B starts at 0, so that the first critic is the initial one.
The head is trained whole. Before saving, the adapters are added to the weights: a checkpoint is a plain model.
"""

import torch
from transformers import PreTrainedModel

from critics.errors import CheckpointError

SCALE = 2.0  # alpha / rank


def with_adapters(critic: PreTrainedModel, rank: int, seed: int) -> PreTrainedModel:
    """The critic with adapters; only they and the head are trained. CheckpointError where peft is not installed."""
    try:
        from peft import LoraConfig, TaskType, get_peft_model
    except ImportError as error:
        raise CheckpointError(
            "process_critic.lora_rank needs the package peft, which is not installed; install what "
            "requirements/base.txt pins, or set lora_rank = 0."
        ) from error
    config = LoraConfig(
        task_type=TaskType.TOKEN_CLS, r=rank, lora_alpha=SCALE * rank, target_modules="all-linear",
        modules_to_save=["score"],
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return get_peft_model(critic, config)


def merged(critic: PreTrainedModel) -> PreTrainedModel:
    """The critic with its adapters added to the weights; as it is without any."""
    return critic.merge_and_unload() if hasattr(critic, "merge_and_unload") else critic
