"""A tiny experiment without an engine: a scripted policy that slips in four of ten steps, real critics and training.

`python scripted_proof.py OUT KILL_AT` runs it and kills itself at its KILL_AT-th report of progress.
"""

import asyncio
import os
import random
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from pipelines.config import Settings
from pipelines.inference.response_store import ResponseStore
from pipelines.inference.scripted import ScriptedModel
from pipelines.inference.session import Session
from pipelines.inference.tokens import Tokenizer, model_digest
from pipelines.inference.types import GenerationRequest
from pipelines.starter import families, tokenizer
from pipelines.starter.train import save_tokenizer
from reasonmill.proof.plan import FILTERED, RANDOM, Plan
from reasonmill.proof.run import Experiment, run_experiment

PLAN = Plan(
    num_seeds=1, num_nights=2, num_search_problems=6, num_sample_problems=10, group_size=4, critic_steps=4,
    threshold=0.0, num_training_tokens=200, num_evaluation_problems=2, num_evaluation_samples=4,
    num_judged_samples=3, num_bootstrap=100,
)  # fmt: skip
KILLED = replace(PLAN, num_nights=1, arms=(FILTERED, RANDOM))  # the beginning of the same experiment


def random_policy(folder: Path) -> Path:
    """An untrained Llama with the starter's tokenizer."""
    if not folder.exists():
        save_tokenizer(folder, 256)
        config = LlamaConfig(
            vocab_size=len(tokenizer.VOCABULARY), hidden_size=16, intermediate_size=32, num_hidden_layers=1,
            num_attention_heads=2, max_position_embeddings=256, tie_word_embeddings=True,
            pad_token_id=tokenizer.PAD, eos_token_id=tokenizer.EOS, bos_token_id=None,
        )  # fmt: skip
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def reply(text: str, rng: random.Random) -> str:
    """The steps of an arithmetic chain that are missing, one in four of ten off by one; `#### 0` for all else."""
    prompt, _, body = text.removeprefix("<solve>").partition("\n")
    if " " in prompt or "," in prompt:
        return "#### 0\n"
    chain, steps = families.parse_chain(prompt), [line for line in body.split("\n") if line]
    value = int(steps[-1].split("=")[1]) if steps else chain.start
    lines = []
    for operator, operand in chain.operations[len(steps) :]:
        result = families.apply(value, operator, operand) + (rng.random() < 0.4)
        lines.append(f"{value}{operator}{operand}={result}\n")
        value = result
    return "".join(lines) + f"#### {value}\n"


def script(codec: Tokenizer, request: GenerationRequest) -> list[str]:
    text = re.sub("<solve>", "", "".join(tokenizer.VOCABULARY[one] for one in request.prompt_token_ids))
    is_greedy = request.sampling.temperature == 0
    return [reply(text, random.Random(f"{request.seed}-{0 if is_greedy else i}")) for i in range(request.sampling.n)]


@asynccontextmanager
async def open_scripted(settings: Settings, model: str, run_id: str) -> AsyncIterator[Session]:
    """A session that answers from the script, with the digest of the policy's folder, behind the response store."""
    codec, store = Tokenizer.load(Path(model)), ResponseStore(settings.response_store_path)
    scripted = ScriptedModel(lambda request: script(codec, request))
    scripted.tokenizer = codec
    try:
        yield replace(scripted.session(store), model_digest=model_digest(Path(model)), max_model_len=256)
    finally:
        store.close()


def experiment(out: Path, plan: Plan = PLAN) -> Experiment:
    settings = Settings.model_validate(
        {
            "root": out,
            "policy": {"model": str(random_policy(out.parent / "policy"))},
            "problems": {"sources": [{"kind": "starter", "family": "arithmetic", "level": 1, "count": 40}]},
            "rollouts": {"num_simulations": 8, "num_candidates": 4, "num_evaluations": 2},
            "process_critic": {"batch_size": 16},
        }
    )
    return Experiment(settings, plan, out, open_session=open_scripted)


def main(out: Path, kill_at: int) -> None:
    num_reports = 0

    def report(stage: str, done: int, total: int, numbers: Mapping[str, float]) -> None:
        nonlocal num_reports
        num_reports += 1
        if num_reports == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    asyncio.run(run_experiment(replace(experiment(out, KILLED), on_progress=report), lambda cell, result: None))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
