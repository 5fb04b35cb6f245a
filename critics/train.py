"""Training of the process critic on search trees: one seeded loop that survives a kill.

Order of events: examples -> fold left out -> split by problem -> token rows -> the initial critic is
validated (step 0) -> optimiser steps -> every `eval_every` steps validation and a saved state -> stop at
`steps`, or after `patience` validations without a lower loss -> the weights of the best validation are
saved. Because step 0 takes part, a night whose data teaches nothing leaves the initial critic as it was.

    loss = value_weight * head's loss + contrast_weight * pair loss + bag loss + anchor_weight * KL to step 0

The head (`critics.heads`) turns outputs_NK, K per labelled node, into values; pairs and anchor compare `head.logit`.

Started by `accelerate launch` the loop runs in several processes, one per GPU (`critics.team`).

A run that was killed goes on from its last saved state if data, configuration and initial model are the
same, and ends with the same weights as an uninterrupted one.
"""

import hashlib
import itertools
import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from critics.adapters import merged, with_adapters
from critics.batches import (
    Batch,
    Unit,
    check_lengths,
    collate,
    encode_examples,
    epoch_batches,
    in_parts,
    ordered_batches,
    readable,
)
from critics.checkpoint import (
    CriticManifest,
    code_digest,
    folder_digest,
    load_progress,
    problems_seen_by,
    read_manifest,
    save_critic,
    save_progress,
)
from critics.errors import CriticDataError, CriticMemoryError
from critics.examples import StepExamples
from critics.fold import ids_digest
from critics.head_registry import head_of
from critics.heads import Head
from critics.label_sources import SOURCES, check_classes, check_targets
from critics.losses import PAIR_LOSSES, anchor_divergence, bag_loss
from critics.metrics import auroc, brier, pair_accuracy
from critics.model import initial_critic, load_encoder, outputs_at
from critics.packing import allow_packing
from critics.team import Team, launched_team
from pipelines.config import CriticConfig
from pipelines.errors import ConfigError

WARMUP_SHARE = 0.1  # of all steps
FINAL_LEARNING_RATE = 0.1  # share of the peak at the last step
GRADIENT_NORM = 1.0
REPORT_EVERY = 10  # steps between calls of on_metrics without validation
CONFIDENT_WEIGHT = 0.5  # validation AUROC and Brier count nodes with at least this evidence weight

logger = logging.getLogger(__name__)

Metrics = Mapping[str, float]
OnMetrics = Callable[[int, Metrics], None]


CONFIG_FIELDS = (
    "steps", "batch_size", "learning_rate", "weight_decay", "contrast_weight", "anchor_weight", "num_folds",
    "validation_fraction", "eval_every", "patience", "packing", "precision", "gradient_checkpointing", "lora_rank",
    "seed", "labels", "head", "ensemble", "pooling", "dropped", "member_weights", "num_bins", "num_quantiles",
    "num_grades", "read_off", "risk_level", "value_weight", "label_smoothing", "pair_loss", "bag_pooling", "read_at",
    "attributes",
)  # fmt: skip  # what training reads of its configuration, so what decides whether a state can be taken up


@dataclass(frozen=True)
class TrainedCritic:
    """A finished checkpoint."""

    folder: Path
    digest: str  # sha256 of the weights and network configuration
    metrics: Metrics  # of the best validation, and num_nodes, num_pairs, num_problems, best_step, last_step
    manifest: CriticManifest


@dataclass
class _Run:
    """What changes while training runs."""

    critic: PreTrainedModel
    head: Head
    optimiser: torch.optim.Optimizer
    step: int
    best_step: int
    best_metrics: dict[str, float]
    best_weights: dict[str, Tensor]
    team: Team
    num_parts: int = 1  # in which every batch is evaluated; doubled where memory does not suffice


def train_process_critic(
    examples: StepExamples,
    config: CriticConfig,
    init_folder: Path | str,
    out_folder: Path | str,
    *,
    on_metrics: OnMetrics = lambda step, metrics: None,
    resume: bool = True,
    fold: int | None = None,
    data_version: str = "",
    device: str | None = None,
) -> TrainedCritic:
    """Train a process critic and save its checkpoint.

    config.batch_size counts token rows (paths); config.init is not read here.
    fold: problems of this fold are left out (`config.num_folds` folds); None trains on all of them.
    data_version: names the tables behind `examples`, for the manifest.
    device: None takes CUDA (bf16 autocast) if there is one, else the CPU (float32). Of several processes that were
    launched together each takes its share of every batch, and `on_metrics` is called by the first.
    Raises CriticDataError where no labelled step is left or too many lie beyond the context, VocabularyError for texts
    that the initial model has no tokens for, CriticMemoryError, ConfigError.
    """
    init_folder, out_folder = Path(init_folder), Path(out_folder)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    team = launched_team(device, config.sharded)
    if team.accelerator is not None:
        device = str(team.accelerator.device)
    if config.packing == "flex" and device.startswith("cpu"):
        raise ConfigError(
            'process_critic.packing = "flex" trains on GPUs only, because torch has no backward pass of FlexAttention '
            'on the CPU; set "chunks".'
        )
    if config.value_weight == 0 and contrast_weight(config) == 0 and config.labels != "outcome_bag":
        raise ConfigError(
            "process_critic.value_weight = 0 and contrast_weight = 0 leave nothing to learn; give one of them a weight."
        )
    examples = examples.without_fold(fold, config.num_folds)
    check_targets(examples)
    encoder = load_encoder(init_folder)
    examples = readable(examples, encoder, init_folder, config.max_cut_share)
    training, validation = _split(examples, config, fold)
    check_classes(training)
    units = [
        encode_examples(part, encoder, config.batch_size, every_token=config.read_at == "every_token")
        for part in (training, validation)
    ]
    check_lengths(examples, encoder, config.max_cut_share)
    if not units[0]:
        raise CriticDataError(
            f"none of the {training.num_nodes} labelled steps of {len(training.trees)} trees fits into the "
            f"{encoder.max_length} tokens of {init_folder}"
        )
    head = head_of(config)
    critic = _trainable(initial_critic(init_folder, config.seed, head), config).to(device)
    if config.anchor_weight > 0:
        _fill_initial_logits(critic, head, units[0], config, device)
    state_path = out_folder.parent / f".{out_folder.name}.training.pt"
    init_digest = folder_digest(init_folder)
    fingerprint = _fingerprint(examples, config, fold, init_digest)
    progress = load_progress(state_path, fingerprint) if resume else None
    report = on_metrics if team.is_first else lambda step, metrics: None
    run = _start(critic, head, config, units[1], device, progress, report, team)
    _train(run, units[0], units[1], config, device, report, lambda: _save(state_path, run, fingerprint))
    metrics = {**run.best_metrics, **_sizes(examples), "best_step": run.best_step, "last_step": run.step}
    if team.is_first:
        if team.size > 1:  # what trained is wrapped, or sharded
            critic = _trainable(initial_critic(init_folder, config.seed, head), config)
        critic.load_state_dict(run.best_weights, strict=False)
        seen = examples.problem_ids | problems_seen_by(init_folder)
        manifest = _manifest(examples, config, fold, data_version, init_digest, metrics, seen)
        save_critic(merged(critic.cpu()), init_folder, out_folder, manifest, seen)
        state_path.unlink(missing_ok=True)
    team.wait()
    manifest = read_manifest(out_folder)
    return TrainedCritic(out_folder, manifest.digest, metrics, manifest)


def learning_rate_at(step: int, config: CriticConfig) -> float:
    """Linear warm-up over the first tenth, then cosine to a tenth of the peak; `step` counts from 0."""
    warmup = max(1, round(WARMUP_SHARE * config.steps))
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    share_done = (step - warmup) / max(1, config.steps - warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * min(share_done, 1.0)))
    return config.learning_rate * (FINAL_LEARNING_RATE + (1 - FINAL_LEARNING_RATE) * cosine)


def _train(
    run: _Run,
    training: Sequence[Unit],
    validation: Sequence[Unit],
    config: CriticConfig,
    device: str,
    on_metrics: OnMetrics,
    save: Callable[[], None],
) -> None:
    batches = itertools.islice(_endless_batches(training, config), run.step, None)
    first_step, started = run.step, time.monotonic()
    while run.step < config.steps and not _is_stuck(run, config):
        metrics = _optimise(run, next(batches), config, device)
        run.step += 1
        is_last = run.step == config.steps
        if run.step % config.eval_every == 0 or is_last:
            metrics |= run.team.agreed(_evaluate(run.critic, run.head, validation, config, device))
            _keep_best(run, metrics)
            save()
        elif run.step % REPORT_EVERY:
            continue
        seconds_per_step = (time.monotonic() - started) / (run.step - first_step)
        seconds_left = seconds_per_step * (config.steps - run.step)
        on_metrics(run.step, metrics | {"num_steps": config.steps, "seconds_left": seconds_left})


def _optimise(run: _Run, units: Sequence[Unit], config: CriticConfig, device: str) -> dict[str, float]:
    """One optimiser step; returns its loss terms."""
    rate = learning_rate_at(run.step, config)
    for group in run.optimiser.param_groups:
        group["lr"] = rate
    run.critic.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed * 1_000_003 + run.step)  # what a loss draws does not depend on where it began
        metrics = _gradients(run, units, config, device)
    torch.nn.utils.clip_grad_norm_(run.critic.parameters(), GRADIENT_NORM)
    run.optimiser.step()
    return metrics | {"learning_rate": rate, "num_nodes": float(sum(len(unit.targets) for unit in units))}


def _gradients(run: _Run, units: Sequence[Unit], config: CriticConfig, device: str) -> dict[str, float]:
    """Loss terms of a batch, their gradients in the parameters.

    A batch that memory does not hold is cut in half, and so is every later one. Each part counts by its share of the
    labelled nodes.
    """
    while True:
        run.optimiser.zero_grad(set_to_none=True)
        parts = in_parts(units, run.num_parts)
        shares = [sum(len(unit.targets) for unit in part) for part in parts]
        try:
            terms = [
                _backward(run, part, share / sum(shares), config, device)
                for part, share in zip(parts, shares, strict=True)
            ]
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            _halve(run, parts, error)
        else:
            return {name: sum(of_part[name] for of_part in terms) for name in terms[0]}


def is_out_of_memory(error: RuntimeError) -> bool:
    """Also where the machine's own memory does not suffice, for which torch has no error of its own."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator: can't allocate memory" in str(error)


def _halve(run: _Run, parts: Sequence[Sequence[Unit]], error: RuntimeError) -> None:
    largest = max(parts, key=lambda part: sum(len(unit.rows) for unit in part))
    num_rows = sum(len(unit.rows) for unit in largest)
    if run.team.size > 1:
        raise CriticMemoryError(
            f"step {run.step}: process {run.team.rank} of {run.team.size} has no memory for its share of {num_rows} "
            f"rows of at most {max(unit.num_tokens for unit in largest)} tokens ({error}). Processes that train "
            "together do not halve a batch: set a smaller process_critic.batch_size, or gradient_checkpointing."
        ) from error
    if num_rows <= 1:
        raise CriticMemoryError(
            f"step {run.step}: one row of {largest[0].num_tokens} tokens of tree {largest[0].tree_id} does not fit "
            f"into memory ({error}). Set process_critic.gradient_checkpointing or lora_rank, or take a smaller model."
        ) from error
    if run.num_parts == 1:
        logger.warning(
            "Step %d: %d rows of at most %d tokens do not fit into memory; from here on batches are evaluated in "
            "halves, or smaller parts.", run.step, num_rows, max(unit.num_tokens for unit in largest),
        )  # fmt: skip
    run.num_parts *= 2


def _backward(run: _Run, units: Sequence[Unit], share: float, config: CriticConfig, device: str) -> dict[str, float]:
    """Adds the gradients of `share` times the loss of some units; returns the terms times `share`."""
    team, head = run.team, run.head
    only = team.rows_of(sum(len(unit.rows) for unit in units)) if team.size > 1 else None
    batch, kind = collate(units, config.packing, only).to(device), torch.device(device).type
    is_bfloat16 = config.precision == "bfloat16" or (config.precision == "auto" and kind == "cuda")
    with torch.autocast(kind, dtype=torch.bfloat16, enabled=is_bfloat16):
        own_MK = outputs_at(run.critic, batch.ids_BT, batch.rows_N, batch.positions_N, batch.packing)
    outputs_NK = team.joined(own_MK, batch.start, len(batch.targets_N))
    logits_N = head.logit(outputs_NK)
    terms = _loss_terms(head, outputs_NK, logits_N, batch, config)
    loss = sum(terms.values())
    if config.anchor_weight > 0:
        anchor = anchor_divergence(logits_N, batch.initial_N)
        loss = loss + config.anchor_weight * anchor
        terms["anchor"] = anchor
    (team.size * share * loss).backward()
    return {name: share * term.item() for name, term in (terms | {"loss": loss}).items()}


def contrast_weight(config: CriticConfig) -> float:
    """`config.contrast_weight`; 1 where that is 0 and the labels are pairs, since nothing else could be learned."""
    are_pairs = SOURCES[config.labels].kind == "preference"
    return config.contrast_weight or (1.0 if are_pairs else 0.0)


def _loss_terms(
    head: Head, outputs_NK: Tensor, logits_N: Tensor, batch: Batch, config: CriticConfig
) -> dict[str, Tensor]:
    """The weighted terms of the loss whose sum is minimised, without the anchor; those that are switched off are 0."""
    labels = batch.labels()
    if config.label_smoothing > 0:
        labels = labels.smoothed(config.label_smoothing)
    pairs = (batch.better_P, batch.worse_P, batch.pair_weights_P)
    terms = {
        "value": config.value_weight * head.loss(outputs_NK, labels),
        "contrast": contrast_weight(config) * PAIR_LOSSES[config.pair_loss](logits_N, *pairs),
    }
    if len(batch.bag_outcomes_G):
        terms["bag"] = bag_loss(head.mean(outputs_NK), batch.bags_GM, batch.bag_outcomes_G, config.bag_pooling)
    return terms


def _evaluate(
    critic: PreTrainedModel, head: Head, units: Sequence[Unit], config: CriticConfig, device: str
) -> dict[str, float]:
    """Losses and rankings on the validation problems; empty without any. Undefined numbers are left out."""
    if not units:
        return {}
    groups = ordered_batches(units, config.batch_size)
    outputs_NK = torch.cat([_outputs(critic, group, config, device) for group in groups])
    logits_N = head.logit(outputs_NK)
    everything = collate([unit for group in groups for unit in group])
    terms = _loss_terms(head, outputs_NK, logits_N, everything, config)
    sure = everything.weights_N >= CONFIDENT_WEIGHT
    targets, scores = everything.targets_N[sure], head.mean(outputs_NK)[sure]
    better, worse = logits_N[everything.better_P], logits_N[everything.worse_P]
    metrics = {
        "validation_loss": sum(term.item() for term in terms.values()),
        **{f"validation_{name}": term.item() for name, term in terms.items()},
        "validation_sibling_accuracy": pair_accuracy(
            better.tolist(), worse.tolist(), everything.pair_weights_P.tolist()
        ),
        "validation_step_auroc": auroc(scores.tolist(), (targets >= 0.5).tolist()),
        "validation_brier": brier(scores.tolist(), targets.tolist()),
    }
    return {name: value for name, value in metrics.items() if value is not None}


@torch.no_grad()
def _outputs(critic: PreTrainedModel, units: Sequence[Unit], config: CriticConfig, device: str) -> Tensor:
    critic.eval()
    batch = collate(units, config.packing).to(device)
    return outputs_at(critic, batch.ids_BT, batch.rows_N, batch.positions_N, batch.packing).cpu()


def _fill_initial_logits(
    critic: PreTrainedModel, head: Head, units: Sequence[Unit], config: CriticConfig, device: str
) -> None:
    for group in ordered_batches(units, config.batch_size):
        logits = iter(head.logit(_outputs(critic, group, config, device)).tolist())
        for unit in group:
            unit.initial = list(itertools.islice(logits, len(unit.targets)))


def _start(
    critic: PreTrainedModel,
    head: Head,
    config: CriticConfig,
    validation: Sequence[Unit],
    device: str,
    progress: Mapping | None,
    on_metrics: OnMetrics,
    team: Team,
) -> _Run:
    critic = team.prepared(critic)
    optimiser = torch.optim.AdamW(
        [parameter for parameter in critic.parameters() if parameter.requires_grad],
        lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=config.weight_decay,
    )  # fmt: skip
    if progress is None:
        metrics = team.agreed(_evaluate(critic, head, validation, config, device))
        on_metrics(0, {**metrics, "num_steps": config.steps})
        return _Run(critic, head, optimiser, 0, 0, metrics, team.trained_weights(critic), team)
    team.load_weights(critic, progress["weights"])
    team.load_optimiser(optimiser, progress["optimiser"])
    return _Run(
        critic, head, optimiser, progress["step"], progress["best_step"], progress["best_metrics"],
        progress["best_weights"], team, progress["num_parts"],
    )  # fmt: skip


def _keep_best(run: _Run, metrics: Metrics) -> None:
    """Remember the weights of the lowest validation loss; without validation problems, the latest."""
    if "validation_loss" not in metrics or metrics["validation_loss"] < run.best_metrics["validation_loss"]:
        run.best_step, run.best_weights = run.step, run.team.trained_weights(run.critic)
        run.best_metrics = {name: value for name, value in metrics.items() if name.startswith("validation_")}


def _is_stuck(run: _Run, config: CriticConfig) -> bool:
    return bool(run.best_metrics) and run.step - run.best_step >= config.patience * config.eval_every


def _endless_batches(units: Sequence[Unit], config: CriticConfig) -> Iterator[list[Unit]]:
    for epoch in itertools.count():
        yield from epoch_batches(units, config.batch_size, config.seed, epoch)


def _save(path: Path, run: _Run, fingerprint: str) -> None:
    state = {"fingerprint": fingerprint, "step": run.step, "best_step": run.best_step, "num_parts": run.num_parts}
    state |= {"best_metrics": run.best_metrics, "best_weights": run.best_weights}
    state |= {"weights": run.team.trained_weights(run.critic)}
    state |= {"optimiser": run.team.optimiser_state(run.optimiser)}
    if run.team.is_first:
        save_progress(path, state)
    run.team.wait()


def _trainable(critic: PreTrainedModel, config: CriticConfig) -> PreTrainedModel:
    if config.packing != "off":
        allow_packing(critic)
    if config.gradient_checkpointing:
        critic.gradient_checkpointing_enable()
    return with_adapters(critic, config.lora_rank, config.seed) if config.lora_rank else critic


def _split(examples: StepExamples, config: CriticConfig, fold: int | None) -> tuple[StepExamples, StepExamples]:
    training, validation = examples.split(config.validation_fraction, config.seed)
    if training.num_nodes + training.num_pairs + training.num_bags == 0:
        raise CriticDataError(
            f"no labelled step is left to train on: {len(examples.trees)} trees of {len(examples.problem_ids)} "
            f"problems outside fold {fold}, of which {len(validation.trees)} trees are for validation. Steps have "
            "labels where a graded completion below their parent was right; search more problems or easier ones"
        )
    return training, validation


def _sizes(examples: StepExamples) -> dict[str, float]:
    return {
        "num_nodes": examples.num_nodes,
        "num_pairs": examples.num_pairs,
        "num_problems": len(examples.problem_ids),
    }


def _fingerprint(examples: StepExamples, config: CriticConfig, fold: int | None, init_digest: str) -> str:
    content = json.dumps([examples.digest(), _config_dict(config), fold, init_digest])
    return hashlib.sha256(content.encode()).hexdigest()


def _config_dict(config: CriticConfig) -> dict[str, float | int | str | tuple[str, ...]]:
    return {name: getattr(config, name) for name in CONFIG_FIELDS}


def _manifest(
    examples: StepExamples,
    config: CriticConfig,
    fold: int | None,
    data_version: str,
    init_digest: str,
    metrics: Metrics,
    seen: frozenset[str],
) -> CriticManifest:
    return CriticManifest(
        kind=SOURCES[config.labels].kind,
        digest="",
        data_version=data_version,
        examples_digest=examples.digest(),
        init_digest=init_digest,
        fold=fold,
        num_folds=config.num_folds,
        training_problems_digest=ids_digest(seen),
        num_problems=len(examples.problem_ids),
        num_nodes=examples.num_nodes,
        num_pairs=examples.num_pairs,
        config=_config_dict(config),
        metrics=metrics,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        code_digest=code_digest(),
    )
