"""Scoring speed of a process critic on the same rollouts: plain batched PyTorch, packed, and vLLM's pooling runner.

The critic is the untrained one of the configured policy. Plain: `StepScorer` on right-padded batches of similar
lengths. Packed: what rollouts share is computed once (critics/packing.py). Pooling: the same scorer on an engine of the
engine service, token ids in and raw outputs back; its start is counted apart. Equal rollouts are scored once by all
three. Best of --repeats turns through the three; the largest difference of their scores stands beside them.

    python -m tests.benchmarks critic_scoring                  samples --problems x 8 rollouts first
    python -m tests.benchmarks critic_scoring --lake FOLDER    takes the rollouts of a lake
"""

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import torch
from transformers import PreTrainedModel

from assets.resources import prompts_of
from critics.checkpoint import CriticManifest, save_critic
from critics.model import initial_critic, load_encoder, load_network, stored_head
from critics.score import OutputsFn, StepScorer, load_served_critic, packed_outputs, padded_outputs
from pipelines.config import Settings, load_settings
from pipelines.grading import extract_answer, graders_of
from pipelines.inference.engine_service import stop_engine
from pipelines.inference.session import generate_session, model_folder
from pipelines.lake import Lake
from pipelines.problems import load_problems
from pipelines.rollouts import choose_problems, sample_rollouts
from tests.benchmarks import record

RUN_ID = "benchmark-critic-scoring"
NIGHT = "benchmark-critic-scoring"
MANIFEST = CriticManifest(
    kind="process", digest="", data_version="", examples_digest="", init_digest="", fold=None, num_folds=2,
    training_problems_digest="", num_problems=0, num_nodes=0, num_pairs=0, config={}, metrics={}, created_at="",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lake", type=Path, help="a lake with problems and rollouts; default: sample some")
    parser.add_argument("--problems", type=int, default=200, help="problems of which eight rollouts each are sampled")
    parser.add_argument("--repeats", type=int, default=3)


def run(arguments: argparse.Namespace) -> None:
    """The three in turn."""
    settings = load_settings(arguments.config)
    try:
        if arguments.lake is None:
            problems, rollouts = asyncio.run(sampled(settings, arguments.problems))
            stop_engine(settings, RUN_ID)
        else:
            problems, rollouts = (Lake(arguments.lake).read(table) for table in ("problems", "rollouts"))
        result = record.provenance() | compared(settings, problems, rollouts, arguments.repeats)
    finally:
        stop_engine(settings, RUN_ID)
    record.save("critic_scoring", arguments.out, result, as_markdown(result))


async def sampled(settings: Settings, num_problems: int) -> tuple[pa.Table, pa.Table]:
    """Problems and eight rollouts of each."""
    chosen = choose_problems(load_problems(settings), num_problems, night=NIGHT, seed=0)
    async with generate_session(settings, run_id=RUN_ID) as session:
        made = await sample_rollouts(
            chosen, session, prompts_of(settings), settings.rollouts.model_copy(update={"group_size": 8}), night=NIGHT,
            grade=graders_of(settings), extract_answer=extract_answer, max_model_len=session.max_model_len,
        )  # fmt: skip
    return chosen, made.rollouts


def compared(settings: Settings, problems: pa.Table, rollouts: pa.Table, repeats: int) -> dict:
    """Seconds of each, sizes and differences; plain data."""
    prompts, steps = _texts(settings, problems, rollouts)
    policy = model_folder(settings.policy.model)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "critic"
        save_critic(initial_critic(policy, 0), policy, checkpoint, MANIFEST, frozenset())
        started = time.monotonic()
        pooling = load_served_critic(checkpoint, settings, RUN_ID, os.getpid())
        engine_start_s = time.monotonic() - started
        in_process = {"PyTorch, padded batches": padded_outputs, "PyTorch, packed": packed_outputs}
        scorers = {name: scorer_of(checkpoint, outputs) for name, outputs in in_process.items()}
        scorers["vLLM pooling"] = pooling
        seconds, scores = _measured(scorers, prompts, steps, repeats)
    encoder = load_encoder(policy)
    distinct = {(prompt, tuple(texts)) for prompt, texts in zip(prompts, steps, strict=True)}
    num_tokens = sum(len(encoder.encode(prompt, texts)[0]) for prompt, texts in distinct)
    reference = scores["PyTorch, padded batches"]
    return {
        "num_rollouts": len(prompts), "num_distinct": len(distinct), "num_tokens": num_tokens,
        "num_threads": torch.get_num_threads(), "engine_start_s": engine_start_s, "load": load, "seconds": seconds,
        "largest_difference": {name: _largest_difference(of_one, reference) for name, of_one in scores.items()},
    }  # fmt: skip


def scorer_of(checkpoint: Path, outputs: Callable[[PreTrainedModel], OutputsFn]) -> StepScorer:
    """The critic of a folder, in this process."""
    network = load_network(checkpoint)
    return StepScorer(outputs(network), load_encoder(checkpoint), MANIFEST, frozenset(), stored_head(network))


Scores = Sequence[Sequence[float | None]]


def _measured(
    scorers: dict[str, StepScorer], prompts: Sequence[str], steps: Sequence[Sequence[str]], repeats: int
) -> tuple[dict[str, float], dict[str, Scores]]:
    seconds: dict[str, float] = {}
    scores: dict[str, Scores] = {}
    for scorer in scorers.values():
        scorer.score(prompts[:64], steps[:64])  # warm-up
    for _ in range(repeats):
        for name, scorer in scorers.items():
            started = time.monotonic()
            scores[name] = scorer.score(prompts, steps)
            elapsed = time.monotonic() - started
            seconds[name] = min(elapsed, seconds.get(name, elapsed))
    return seconds, scores


def _texts(settings: Settings, problems: pa.Table, rollouts: pa.Table) -> tuple[list[str], list[list[str]]]:
    prompt_of = {row["problem_id"]: prompts_of(settings).verify_prompt(row) for row in problems.to_pylist()}
    rows = [row for row in rollouts.select(["problem_id", "steps"]).to_pylist() if row["steps"]]
    return [prompt_of[row["problem_id"]] for row in rows], [row["steps"] for row in rows]


def _largest_difference(scores: Scores, reference: Scores) -> float:
    """Over the steps that both have a score of."""
    return max(
        abs(one - other)
        for of_one, of_other in zip(scores, reference, strict=True)
        for one, other in zip(of_one, of_other, strict=True)
        if one is not None and other is not None
    )


def as_markdown(result: dict) -> list[str]:
    """The numbers as a table."""
    plain = result["seconds"]["PyTorch, padded batches"]
    rows = [
        [
            name,
            f"{s:.2f}",
            f"{result['num_tokens'] / s:,.0f}",
            f"{plain / s:.2f}",
            f"{result['largest_difference'][name]:.1e}",
        ]
        for name, s in result["seconds"].items()
    ]
    sizes = (
        f"{result['num_rollouts']} rollouts, {result['num_distinct']} distinct ones with {result['num_tokens']} "
        f"tokens; {result['num_threads']} threads; the engine took {result['engine_start_s']:.0f} s to start; load "
        f"average before it {result['load']:.1f}."
    )
    header = ["scorer", "s", "tokens/s", "times as fast", "largest difference of a score"]
    return [*record.heading(result), sizes, "", *record.table(header, rows)]
