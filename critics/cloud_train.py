"""Training of a critic that writes critiques (CLoud), in the paper's order.

1. Language stage: the model learns the critiques of others (`CloudExample.critique`), `sft_steps` steps.
2. It writes its own critique of every example, greedily: on-policy, as at inference. Trained on the critiques of
   others, the reward head would read texts that it never meets again.
3. Joint stage: reward loss + lm_weight * language loss on its own critiques, `steps` steps; every `eval_every` steps
   the reward loss of held-out problems decides, and the best weights are kept. Step 0 takes part.

Batches hold whole problems, in a seeded order, so that right and wrong rollouts of a problem meet. A run that was
killed goes on from its last saved state, if data, configuration and initial model are the same, and ends with the same
weights. Shapes as in `critics.cloud`.
"""

import hashlib
import itertools
import json
import logging
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor, nn

from critics.checkpoint import (
    CriticManifest,
    code_digest,
    folder_digest,
    load_progress,
    problems_seen_by,
    save_critic,
    save_progress,
)
from critics.cloud import (
    HEAD_FILE,
    CloudExample,
    CloudNetwork,
    evaluated,
    initial_network,
    joint_loss,
    language_loss,
    pairs_of,
    reward_loss,
    rewards_of,
    write_critiques,
)
from critics.errors import CriticDataError, CriticMemoryError
from critics.fold import ids_digest, unit_hash
from critics.metrics import auroc, pair_accuracy
from critics.train import GRADIENT_NORM, REPORT_EVERY, OnMetrics, TrainedCritic, is_out_of_memory
from pipelines.config import CloudCriticConfig
from pipelines.reasoning.prompts import PromptStyle

LANGUAGE, JOINT = "language", "joint"
TRAINING_FIELDS = (
    "lm_weight", "reward_loss", "sft_steps", "steps", "batch_size", "learning_rate", "weight_decay", "dropout",
    "max_tokens", "num_critiques", "validation_fraction", "eval_every", "seed",
)  # fmt: skip  # what decides whether a state can be taken up

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Item:
    """An example in tokens."""

    problem_id: str
    question: tuple[int, ...]
    given: tuple[int, ...] | None  # the critique of somebody else
    outcome: float


@dataclass
class _Run:
    """What changes while training runs."""

    network: CloudNetwork
    stage: str
    step: int  # of this stage
    optimiser: torch.optim.Optimizer
    own: list[list[int]]  # critiques that the model wrote; empty before it has
    best_loss: float
    best_step: int
    best_weights: dict[str, Tensor]
    best_metrics: dict[str, float]

    @property
    def weights(self) -> dict[str, Tensor]:
        return {name: weight.detach().cpu().clone() for name, weight in _modules(self.network).state_dict().items()}


def train_cloud_critic(
    examples: Sequence[CloudExample],
    config: CloudCriticConfig,
    prompts: PromptStyle,
    init_folder: Path | str,
    out_folder: Path | str,
    *,
    on_metrics: OnMetrics = lambda step, metrics: None,
    data_version: str = "",
    device: str | None = None,
) -> TrainedCritic:
    """Train and save a critic; steps of both stages are counted through in `on_metrics`.

    Examples that the model has no tokens for, or that leave no room for a critique in its context, are left out.
    Raises CriticDataError where nothing is left to learn, CheckpointError.
    """
    init_folder, out_folder = Path(init_folder), Path(out_folder)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    network = initial_network(init_folder, config)
    network.model.to(device)
    network.head.to(device)
    items = _items(examples, network, config, prompts)
    held = {item.problem_id for item in items if unit_hash(item.problem_id, _salt(config)) < config.validation_fraction}
    training = [index for index, item in enumerate(items) if item.problem_id not in held]
    validation = [index for index, item in enumerate(items) if item.problem_id in held]
    _check(items, training, config)
    fingerprint = _fingerprint(items, config, folder_digest(init_folder))
    state_path = out_folder.parent / f".{out_folder.name}.cloud.pt"
    run = _start(network, config, load_progress(state_path, fingerprint))

    def save() -> None:
        save_progress(state_path, _state(run, fingerprint))

    with torch.random.fork_rng():
        if run.stage == LANGUAGE:
            _language_stage(run, items, training, config, on_metrics, save)
            run.own = write_critiques(network, [item.question for item in items], config)
            run.stage, run.step, run.optimiser = JOINT, 0, _optimiser(network, config)
        _joint_stage(run, items, training, validation, config, on_metrics, save)
    _modules(network).load_state_dict(run.best_weights)
    metrics = {**run.best_metrics, **_sizes(items, held), "best_step": run.best_step, "last_step": run.step}
    seen = frozenset(item.problem_id for item in items) | problems_seen_by(init_folder)
    manifest = _manifest(items, config, data_version, folder_digest(init_folder), metrics, seen)
    head = {name: weight.cpu().contiguous() for name, weight in network.head.state_dict().items()}
    manifest = save_critic(network.model.cpu(), init_folder, out_folder, manifest, seen, {HEAD_FILE: head})
    state_path.unlink(missing_ok=True)
    return TrainedCritic(out_folder, manifest.digest, metrics, manifest)


def _language_stage(
    run: _Run,
    items: Sequence[_Item],
    training: Sequence[int],
    config: CloudCriticConfig,
    on_metrics: OnMetrics,
    save: Callable[[], None],
) -> None:
    taught = [index for index in training if items[index].given is not None]
    if not taught or config.num_critiques == 0:
        return
    progress = _Progress(config, run.step)
    for batch in itertools.islice(_batches(items, taught, config, LANGUAGE), run.step, config.sft_steps):
        with _step(run, items, batch, config.sft_steps, config):
            _, logits_BTV, targets_BT = evaluated(
                run.network, [items[i].question for i in batch], [items[i].given for i in batch]
            )
            loss = language_loss(logits_BTV, targets_BT)
            loss.backward()
        if run.step % config.eval_every == 0:
            save()
        progress.report(on_metrics, run.step, {"language": loss.item()})


def _joint_stage(
    run: _Run,
    items: Sequence[_Item],
    training: Sequence[int],
    validation: Sequence[int],
    config: CloudCriticConfig,
    on_metrics: OnMetrics,
    save: Callable[[], None],
) -> None:
    progress = _Progress(config, config.sft_steps + run.step)
    if run.step == 0:
        _keep_best(run, _validated(run, items, validation, config))
    for batch in itertools.islice(_batches(items, training, config, JOINT), run.step, config.steps):
        with _step(run, items, batch, config.steps, config):
            rewards_N, logits_BTV, targets_BT = evaluated(
                run.network, [items[i].question for i in batch], [run.own[i] for i in batch]
            )
            reward = _reward_loss(rewards_N, [items[i] for i in batch], config)
            language = language_loss(logits_BTV, targets_BT)
            joint_loss(reward, language, config.lm_weight if config.num_critiques else 0.0).backward()
        metrics = {"reward": reward.item(), "language": language.item()}
        if run.step % config.eval_every == 0 or run.step == config.steps:
            metrics |= _validated(run, items, validation, config)
            _keep_best(run, metrics)
            save()
        progress.report(on_metrics, config.sft_steps + run.step, metrics)


class _Progress:
    """Reports every few steps, with the time left."""

    def __init__(self, config: CloudCriticConfig, first_step: int) -> None:
        self._num_steps, self._first, self._started = config.sft_steps + config.steps, first_step, time.monotonic()

    def report(self, on_metrics: OnMetrics, step: int, metrics: Mapping[str, float]) -> None:
        if step % REPORT_EVERY and "validation_reward" not in metrics:
            return
        seconds_per_step = (time.monotonic() - self._started) / (step - self._first)
        seconds_left = seconds_per_step * (self._num_steps - step)
        on_metrics(step, {**metrics, "num_steps": self._num_steps, "seconds_left": seconds_left})


def _reward_loss(rewards_N: Tensor, items: Sequence[_Item], config: CloudCriticConfig) -> Tensor:
    outcomes_N = torch.tensor([item.outcome for item in items], device=rewards_N.device)
    pairs = pairs_of([item.problem_id for item in items], outcomes_N.tolist())
    return reward_loss(config.reward_loss, rewards_N, outcomes_N, pairs)


def _validated(
    run: _Run, items: Sequence[_Item], validation: Sequence[int], config: CloudCriticConfig
) -> dict[str, float]:
    """Reward loss and rankings of the held-out problems; empty without any, or without a pair where pairs are learned.
    Undefined numbers are left out."""
    held = [items[i] for i in validation]
    pairs = pairs_of([item.problem_id for item in held], [item.outcome for item in held])
    if not (pairs if config.reward_loss == "pairs" else held):
        return {}
    rewards_N = rewards_of(run.network, [item.question for item in held], [run.own[i] for i in validation])
    rewards = rewards_N.tolist()
    found = {
        "validation_reward": _reward_loss(rewards_N, held, config).item(),
        "validation_pair_accuracy": pair_accuracy(
            [rewards[right] for right, _, _ in pairs], [rewards[wrong] for _, wrong, _ in pairs],
            [weight for _, _, weight in pairs],
        ),
        "validation_auroc": auroc(rewards, [item.outcome >= 0.5 for item in held]),
    }  # fmt: skip
    return {name: value for name, value in found.items() if value is not None}


def _keep_best(run: _Run, metrics: Mapping[str, float]) -> None:
    """Remember the weights of the lowest validation loss; without validation problems, the latest."""
    loss = metrics.get("validation_reward")
    if loss is None or loss < run.best_loss:
        run.best_loss = math.inf if loss is None else loss
        run.best_step, run.best_weights = run.step, run.weights
        run.best_metrics = {name: value for name, value in metrics.items() if name.startswith("validation_")}


@contextmanager
def _step(
    run: _Run, items: Sequence[_Item], batch: Sequence[int], num_steps: int, config: CloudCriticConfig
) -> Iterator[None]:
    """One optimiser step round the gradients that are made inside; the learning rate falls on a cosine to 0.

    Raises CriticMemoryError where memory does not suffice: pairs of a problem must stay together, so that no batch is
    halved.
    """
    for group in run.optimiser.param_groups:
        group["lr"] = config.learning_rate * 0.5 * (1 + math.cos(math.pi * run.step / num_steps))
    run.network.model.train()
    run.network.head.train()
    torch.manual_seed(config.seed * 1_000_003 + run.step)  # what dropout draws does not depend on where it began
    run.optimiser.zero_grad(set_to_none=True)
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise CriticMemoryError(
            f"{run.stage} stage, step {run.step}: {len(batch)} rollouts, the longest of "
            f"{max(len(items[i].question) for i in batch)} tokens before its critique, do not fit into memory "
            f"({error}). Set a smaller cloud_critic.batch_size."
        ) from error
    nn.utils.clip_grad_norm_(_modules(run.network).parameters(), GRADIENT_NORM)
    run.optimiser.step()
    run.step += 1


def _batches(
    items: Sequence[_Item], members: Sequence[int], config: CloudCriticConfig, salt: str
) -> Iterator[list[int]]:
    """Endless epochs of whole problems, at most `batch_size` rows each; a larger problem is cut."""
    of_problem: dict[str, list[int]] = {}
    for index in members:
        of_problem.setdefault(items[index].problem_id, []).append(index)
    for epoch in itertools.count():
        draw = random.Random(f"{config.seed}/{salt}/{epoch}")
        batch: list[int] = []
        for rows in draw.sample(list(of_problem.values()), len(of_problem)):
            drawn = draw.sample(rows, len(rows))  # right and wrong ones meet, wherever a problem is cut
            for part in (drawn[at : at + config.batch_size] for at in range(0, len(drawn), config.batch_size)):
                if batch and len(batch) + len(part) > config.batch_size:
                    yield batch
                    batch = []
                batch = [*batch, *part]
        yield batch


def _items(
    examples: Sequence[CloudExample], network: CloudNetwork, config: CloudCriticConfig, prompts: PromptStyle
) -> list[_Item]:
    room = network.encoder.max_length - config.max_tokens - 1
    items = []
    for one in examples:
        question = network.encode(one.question, prompts)
        if len(question) > room or not network.knows(one.question):
            continue
        given = None if one.critique is None or not network.knows(one.critique) else _said(one.critique, network)
        fitting = given if given is not None and len(given) <= config.max_tokens else None
        items.append(_Item(one.problem_id, question, fitting, one.outcome))
    if len(items) < len(examples):
        logger.warning(
            "%d of %d graded rollouts are left out: longer than %d tokens, or with characters that the tokenizer does "
            "not know.", len(examples) - len(items), len(examples), room,
        )  # fmt: skip
    return items


def _said(critique: str, network: CloudNetwork) -> tuple[int, ...]:
    return tuple(network.tokenizer.encode(critique))


def _check(items: Sequence[_Item], training: Sequence[int], config: CloudCriticConfig) -> None:
    outcomes = [items[i].outcome for i in training]
    if len(set(outcomes)) < 2:
        raise CriticDataError(
            f"{len(outcomes)} graded rollouts are left to train on, {sum(outcomes):.0f} of them right: a critic needs "
            "right and wrong ones. Make rollouts of other problems"
        )
    if config.sft_steps and config.num_critiques and all(items[i].given is None for i in training):
        raise CriticDataError(
            f"none of the {len(outcomes)} graded rollouts has a critique that agrees with its grade, from which "
            "critiques could be learned; make critiques, or set cloud_critic.sft_steps = 0"
        )
    if config.reward_loss == "pairs" and not pairs_of([items[i].problem_id for i in training], outcomes):
        raise CriticDataError(
            f"none of the {len({items[i].problem_id for i in training})} problems has a right and a wrong rollout, so "
            'there is no pair; set cloud_critic.reward_loss = "outcome"'
        )


def _start(network: CloudNetwork, config: CloudCriticConfig, progress: Mapping | None) -> _Run:
    run = _Run(network, LANGUAGE, 0, _optimiser(network, config), [], math.inf, 0, {}, {})
    if progress is not None:
        _modules(network).load_state_dict(progress["weights"])
        run.optimiser.load_state_dict(progress["optimiser"])
        run.stage, run.step, run.own = progress["stage"], progress["step"], progress["own"]
        run.best_loss, run.best_step = progress["best_loss"], progress["best_step"]
        run.best_weights, run.best_metrics = progress["best_weights"], progress["best_metrics"]
    return run


def _state(run: _Run, fingerprint: str) -> Mapping:
    return {
        "fingerprint": fingerprint, "stage": run.stage, "step": run.step, "own": run.own, "weights": run.weights,
        "optimiser": run.optimiser.state_dict(), "best_loss": run.best_loss, "best_step": run.best_step,
        "best_weights": run.best_weights, "best_metrics": run.best_metrics,
    }  # fmt: skip


def _optimiser(network: CloudNetwork, config: CloudCriticConfig) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        _modules(network).parameters(), lr=config.learning_rate, betas=(0.9, 0.95), weight_decay=config.weight_decay
    )


def _modules(network: CloudNetwork) -> nn.ModuleDict:
    return nn.ModuleDict({"model": network.model, "head": network.head})


def _salt(config: CloudCriticConfig) -> str:
    return f"validation/{config.seed}"


def _sizes(items: Sequence[_Item], held: set[str]) -> dict[str, float]:
    return {
        "num_rollouts": len(items),
        "num_taught": sum(item.given is not None for item in items),
        "num_problems": len({item.problem_id for item in items}),
        "num_held_out_problems": len(held),
    }


def _fingerprint(items: Sequence[_Item], config: CloudCriticConfig, init_digest: str) -> str:
    return hashlib.sha256(json.dumps([_digest(items), _config_dict(config), init_digest]).encode()).hexdigest()


def _digest(items: Sequence[_Item]) -> str:
    return hashlib.sha256(json.dumps([list(asdict(item).values()) for item in items]).encode()).hexdigest()


def _config_dict(config: CloudCriticConfig) -> dict[str, float | int | str]:
    return {name: getattr(config, name) for name in TRAINING_FIELDS}


def _manifest(
    items: Sequence[_Item],
    config: CloudCriticConfig,
    data_version: str,
    init_digest: str,
    metrics: Mapping[str, float],
    seen: frozenset[str],
) -> CriticManifest:
    return CriticManifest(
        kind="outcome",
        digest="",
        data_version=data_version,
        examples_digest=_digest(items),
        init_digest=init_digest,
        fold=None,
        num_folds=1,
        training_problems_digest=ids_digest(seen),
        num_problems=len({item.problem_id for item in items}),
        num_nodes=len(items),
        num_pairs=len(pairs_of([item.problem_id for item in items], [item.outcome for item in items])),
        config=_config_dict(config),
        metrics=metrics,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        code_digest=code_digest(),
    )
