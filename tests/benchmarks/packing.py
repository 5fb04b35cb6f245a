"""What computing shared prefixes once saves: one epoch of critic training over the same labelled nodes of PUCT trees.

1. A plain `transformers.Trainer` on the flattened paths: token classification, one row per path (the fewest that hold
   every labelled node), the node's class at its step's last token and -100 elsewhere, batches grouped by length;
   `train_sampling_strategy = "group_by_length"`.
2. Ours: `train_process_critic` with as many rows per batch, in its own way of packing and without any. The time runs
   from the end of its set-up to its last step, and holds the building of the prefix trees, the contrasts of siblings
   and one saved state, which the Trainer does not have.
3. Ways of attending to ancestors only: CPU seconds for forward and backward passes over the same packed batches.

Both start from the starter policy and use the threads that torch takes. The ratio is that of the best batch size of
each. Path tokens over distinct tokens, of single trees, is what packing alone can reach where padding costs nothing.

Where the time goes (torch's profile of one epoch over 200 trees of a lake, 13,616 packed tokens, 128 rows per batch,
one thread): 53 % products of matrices, at 83 of the about 95 GFLOP/s that the core reaches alone, so that nothing but
fewer tokens makes them cheaper; 20 % attention, 24 % small operations of the network, 1 % the optimiser, 1 % prefix
trees and chunks. So the ratio follows path tokens over distinct ones, times what the Trainer pads. Tried on those
batches beside the ways below, CPU time of forward and backward passes:

    last layer only where a value is read   1.08 on one busy core; on two quiet ones an epoch of 128 rows took 1.1 to
                                            1.5 s in four runs, without it 0.9 to 1.2 s in three; not kept
    its mask made float once per batch      1.00 to 1.02; not kept
    torch's rms_norm for transformers'      0.98 to 1.02; not kept
    torch.compile of the backbone           1.13, behind 34 s of compiling, longer than a night trains; not kept
    a fused optimiser                       not built: 1.4 % of the time is all that there is

Level by level with kept keys and values was not built: per level every node's path is gathered, as chunks of the length
of a step do, which are slower than chunks of 64 (`chunks of 16` below).

    python -m tests.benchmarks packing                  grows trees of --simulations simulations (PUCT, an engine)
    python -m tests.benchmarks packing --lake FOLDER    takes the search_nodes of a lake
"""

import argparse
import asyncio
import os
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from transformers import (
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    PreTrainedModel,
    Trainer,
    TrainingArguments,
)

from assets.resources import prompts_of
from critics.batches import Unit, encode_examples, epoch_batches
from critics.examples import StepExamples, examples_from_trees
from critics.model import initial_critic, load_encoder, outputs_at
from critics.packing import CHUNK, Packing, allow_packing, chunks_of, prefix_tree
from critics.train import train_process_critic
from pipelines.config import ProblemsConfig, RolloutsConfig, Settings, StarterSource, load_settings
from pipelines.grading import extract_answer, graders_of
from pipelines.inference.engine_service import stop_engine
from pipelines.inference.session import generate_session, model_folder
from pipelines.lake import Lake
from pipelines.problems import load_problems
from pipelines.rollouts import choose_problems, search_rollouts
from tests.benchmarks import record

RUN_ID = "benchmark-packing"
NIGHT = "benchmark-packing"
BATCH_SIZES = (8, 32, 128)  # rows
CHUNKS = (16, 32, 64, 128, 256)
LEARNING_RATE = 3e-4
IGNORED = -100
WAY_BATCHES = 4  # batches of the largest size by which ways are compared


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lake", type=Path, help="a lake with problems and search_nodes; default: grow trees")
    parser.add_argument("--trees", type=int, default=40, help="trees, at most")
    parser.add_argument("--simulations", type=int, default=128, help="simulations of a tree that is grown")
    parser.add_argument("--evaluations", type=int, default=1, help="completions per node; more label more nodes")
    parser.add_argument("--candidates", type=int, default=8, help="steps proposed per expansion; equal ones merge")
    parser.add_argument("--family", default="countdown", help="starter family of the problems that trees are grown for")
    parser.add_argument("--level", type=int, default=3, help="their level; trees of easier problems hardly branch")
    parser.add_argument("--seed", type=int, default=0)


def run(arguments: argparse.Namespace) -> None:
    """All parts on one set of trees."""
    settings = load_settings(arguments.config)
    if arguments.lake is None:
        search = {"num_simulations": arguments.simulations, "num_candidates": arguments.candidates}
        source = (
            f"PUCT on {arguments.family} of level {arguments.level}, {arguments.simulations} simulations, "
            f"{arguments.candidates} candidates"
        )
        grown_for = StarterSource(family=arguments.family, level=arguments.level, count=200)
        settings = settings.model_copy(update={"problems": ProblemsConfig(sources=(grown_for,))})
        fixed = {"recipe": "puct", "seed": arguments.seed, "num_evaluations": arguments.evaluations}
        config = settings.rollouts.model_copy(update=fixed | search)
        problems, nodes = grown(settings, config, arguments.trees)
    else:
        source, lake = "search_nodes of a lake", Lake(arguments.lake)
        problems, nodes = lake.read("problems"), lake.read("search_nodes")
    examples = examples_from_trees(problems, nodes, prompts_of(settings).verify_prompt)
    chosen = random.Random(arguments.seed).sample(examples.trees, min(arguments.trees, len(examples.trees)))
    folder = model_folder(settings.policy.model)
    result = record.provenance() | {"source": source} | compared(StepExamples(tuple(chosen)), settings, folder)
    record.save("packing", arguments.out, result, as_markdown(result))


def grown(settings: Settings, config: RolloutsConfig, num_trees: int) -> tuple[pa.Table, pa.Table]:
    """Problems, and the nodes of their trees by the starter policy; replayed where they were grown before."""
    try:
        return asyncio.run(_grown(settings, config, num_trees))
    finally:
        stop_engine(settings, RUN_ID)


async def _grown(settings: Settings, config: RolloutsConfig, num_trees: int) -> tuple[pa.Table, pa.Table]:
    chosen = choose_problems(load_problems(settings), num_trees, night=NIGHT, seed=config.seed)
    async with generate_session(settings, run_id=RUN_ID) as session:
        trees = await search_rollouts(
            chosen, session, prompts_of(settings), config, night=NIGHT, grade=graders_of(settings),
            extract_answer=extract_answer, max_model_len=session.max_model_len,
        )  # fmt: skip
    return chosen, trees.search_nodes


def compared(examples: StepExamples, settings: Settings, folder: Path) -> dict:
    """Sizes, seconds of every part, and the ratio; plain data."""
    largest = max(BATCH_SIZES)
    units = encode_examples(examples, load_encoder(folder), batch_size=10**9)  # one per tree
    rows = [row for unit in units for row in unit.rows]
    num_path_tokens = sum(map(len, rows))
    num_distinct = sum(len(prefix_tree(unit.rows).token_ids) for unit in units)
    seconds = {"trainer": {}, "packed": {}, "unpacked": {}}
    for size in BATCH_SIZES:  # the ways in turn, so that what else the machine does meets all of them
        seconds["packed"][size] = our_epoch_s(examples, settings, folder, size, "chunks")
        seconds["trainer"][size] = trainer_epoch_s(units, folder, size)
        seconds["unpacked"][size] = our_epoch_s(examples, settings, folder, size, "off")
        record.say(f"{size} rows per batch: " + ", ".join(f"{way} {seconds[way][size].wall:.1f} s" for way in seconds))
    cut = encode_examples(examples, load_encoder(folder), largest)
    batches = list(epoch_batches(cut, largest, 0, 0))[:WAY_BATCHES]
    return {
        "num_trees": len(examples.trees), "num_nodes": examples.num_nodes, "num_rows": len(rows),
        "path_tokens": num_path_tokens, "distinct_tokens": num_distinct,
        "path_over_distinct": num_path_tokens / num_distinct, "longest_row": max(map(len, rows)),
        "num_threads": torch.get_num_threads(), "load_average": os.getloadavg()[0], "seconds": seconds,
        "ratio": _ratio(seconds, Seconds._fields.index("wall")),
        "cpu_ratio": _ratio(seconds, Seconds._fields.index("cpu")),
        "ways_s": ways_s(batches, folder),
    }  # fmt: skip


def _ratio(seconds: dict[str, dict[int, "Seconds"]], kind: int) -> float:
    """The Trainer's best batch size over our own."""
    trainer, ours = (min(of_size[kind] for of_size in seconds[way].values()) for way in ("trainer", "packed"))
    return trainer / ours


class Seconds(NamedTuple):
    """What an epoch took."""

    wall: float
    cpu: float  # of this process, all threads


def now() -> Seconds:
    return Seconds(time.monotonic(), time.process_time())


def our_epoch_s(examples: StepExamples, settings: Settings, folder: Path, batch_size: int, packing: str) -> Seconds:
    """Seconds from the first step of `train_process_critic` to its last, every labelled node once."""
    units = encode_examples(examples, load_encoder(folder), batch_size)
    num_steps = sum(1 for _ in epoch_batches(units, batch_size, 0, 0))
    config = settings.process_critic.model_copy(
        update={
            "steps": num_steps, "batch_size": batch_size, "packing": packing, "eval_every": num_steps, "seed": 0,
            "validation_fraction": 0.0, "anchor_weight": 0.0,
        }
    )  # fmt: skip
    times: dict[int, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as out:
        train_process_critic(
            examples, config, folder, Path(out) / "critic",
            on_metrics=lambda step, metrics: times.setdefault(step, now()),
        )  # fmt: skip
    return Seconds(*np.subtract(times[num_steps], times[0]))


def trainer_epoch_s(units: Sequence[Unit], folder: Path, batch_size: int) -> Seconds:
    """Seconds of `Trainer.train` for one epoch over the flattened paths."""
    critic = AutoModelForTokenClassification.from_pretrained(folder, num_labels=2, dtype=torch.float32)
    with tempfile.TemporaryDirectory() as out:
        trainer = Trainer(
            critic,
            TrainingArguments(
                output_dir=out, num_train_epochs=1, per_device_train_batch_size=batch_size, seed=0,
                train_sampling_strategy="group_by_length", learning_rate=LEARNING_RATE, report_to="none",
                save_strategy="no", logging_strategy="no", disable_tqdm=True, dataloader_pin_memory=False,
            ),
            train_dataset=flattened(units),
            data_collator=DataCollatorForTokenClassification(AutoTokenizer.from_pretrained(folder)),
        )  # fmt: skip
        started = now()
        trainer.train()
        return Seconds(*np.subtract(now(), started))


def flattened(units: Sequence[Unit]) -> list[dict[str, list[int]]]:
    """One row per path, in the Trainer's columns."""
    rows = []
    for unit in units:
        labels = [[IGNORED] * len(row) for row in unit.rows]
        for row, position, target in zip(unit.read_row, unit.read_position, unit.targets, strict=True):
            labels[row][position] = int(target >= 0.5)
        rows += [{"input_ids": ids, "labels": of_row} for ids, of_row in zip(unit.rows, labels, strict=True)]
    return rows


def ways_s(batches: Sequence[Sequence[Unit]], folder: Path) -> dict[str, float]:
    """CPU seconds for forward and backward passes over the same batches, the better of two turns through all ways."""
    critic = initial_critic(folder, 0)
    allow_packing(critic)
    ways = {f"chunks of {chunk}": _in_chunks(chunk) for chunk in CHUNKS}
    ways |= {"dense mask of the whole batch": _in_chunks(None), "subtrees that repeat their prefix": _subtrees}
    seconds: dict[str, float] = {}
    for _ in range(2):
        for name, outputs in ways.items():
            started = time.process_time()
            for units in batches:
                outputs(critic, [row for unit in units for row in unit.rows]).square().sum().backward()
            elapsed = time.process_time() - started
            seconds[name] = min(elapsed, seconds.get(name, elapsed))
    return seconds


Outputs = Callable[[PreTrainedModel, Sequence[Sequence[int]]], Tensor]


def _in_chunks(chunk: int | None) -> Outputs:
    def outputs(critic: PreTrainedModel, rows: Sequence[Sequence[int]]) -> Tensor:
        tree = prefix_tree(rows)
        packing = Packing(torch.from_numpy(tree.positions)[None], chunks_of(tree, chunk or len(tree.token_ids)))
        places_U = torch.arange(len(tree.token_ids))
        return outputs_at(critic, torch.from_numpy(tree.token_ids)[None], torch.zeros_like(places_U), places_U, packing)

    return outputs


def _subtrees(critic: PreTrainedModel, rows: Sequence[Sequence[int]]) -> Tensor:
    """Every chunk of tokens as a row of its own, behind its first token's ancestors, with a mask of four dimensions."""
    tree = prefix_tree(rows)
    chunks = chunks_of(tree)
    token_ids, positions, last = (
        torch.cat([torch.from_numpy(of_tree), torch.zeros(CHUNK, dtype=torch.int64)])
        for of_tree in (tree.token_ids, tree.positions, tree.last_descendants)
    )
    keys_GK = chunks.keys_GK
    queries_GK1, keys_G1K = keys_GK[:, :, None], keys_GK[:, None, :]
    sees_GKK = (keys_G1K <= queries_GK1) & (queries_GK1 <= last[keys_G1K]) | torch.eye(keys_GK.shape[1], dtype=bool)
    logits_GK1 = critic(
        input_ids=token_ids[keys_GK], position_ids=positions[keys_GK], attention_mask=sees_GKK[:, None], use_cache=False
    ).logits
    return logits_GK1[:, -CHUNK:]


def as_markdown(result: dict) -> list[str]:
    """The numbers as tables."""
    seconds = result["seconds"]
    names = {"trainer": "transformers.Trainer", "packed": "ours, packed", "unpacked": "ours, not packed"}
    rows = [
        [name, *(f"{wall:.1f} ({cpu:.1f})" for wall, cpu in (seconds[way][size] for size in BATCH_SIZES))]
        for way, name in names.items()
    ]
    best = min(result["ways_s"].values())
    sizes = (
        f"{result['num_trees']} trees ({result['source']}), {result['num_nodes']} labelled nodes on "
        f"{result['num_rows']} paths of at most {result['longest_row']} tokens; {result['path_tokens']} path tokens "
        f"over {result['distinct_tokens']} distinct ones: {result['path_over_distinct']:.2f}. "
        f"{result['num_threads']} threads; load average at the end {result['load_average']:.1f}."
    )
    ratios = (
        f"**{result['ratio']:.2f}** times as fast as the Trainer, each at its best batch size; by CPU time, which "
        f"other work disturbs less, {result['cpu_ratio']:.2f} times."
    )
    return [
        *record.heading(result),
        sizes,
        "",
        ratios,
        "",
        *record.table(["one epoch, s (CPU)", *(f"{size} rows per batch" for size in BATCH_SIZES)], rows),
        "",
        *record.table(
            ["way of attending", "CPU s", "of the best"],
            [[name, f"{value:.2f}", f"{value / best:.2f}"] for name, value in result["ways_s"].items()],
        ),
    ]
