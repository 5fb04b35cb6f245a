"""A whole night without an engine: a scripted policy for arithmetic chains, and a tiny workspace.

The policy evaluates chains left to right and slips by one in four of ten steps; as a critic it says which step
slipped; as a refiner it writes the right solution. What it says depends on the prompt and the seed alone.
"""

import random
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from assets.resources import RunServices
from pipelines.config import Settings
from pipelines.inference.response_store import ResponseStore
from pipelines.inference.scripted import ScriptedModel
from pipelines.inference.session import Session
from pipelines.inference.types import GenerationRequest
from pipelines.records import ProgressFn
from pipelines.starter import tokenizer
from pipelines.starter.train import save_tokenizer

NIGHT = "2026-01-02"
SLIP_SHARE = 0.4
POSING = ("tt_si", "imagination")
WriteFn = Callable[[str, random.Random], str]
OPERATIONS = re.compile(r"([+\-*])(\d+)")


def small_settings(root: Path, **sections: dict) -> Settings:
    """Six training problems and four evaluation problems, tiny budgets, a random critic of hidden size 16."""
    chosen = {
        "problems": {"sources": [{"kind": "starter", "family": "arithmetic", "level": 1, "count": 40}]},
        "rollouts": {
            "num_search_problems": 6,
            "num_sample_problems": 6,
            "num_simulations": 16,
            "num_candidates": 4,
            "num_evaluations": 2,
            "group_size": 8,
        },
        "critiques": {"num_rollouts": 8},
        "new_problems": {"methods": [{"method": name, "num_sources": 4, "num_variants": 2} for name in POSING]},
        "process_critic": {"steps": 4, "batch_size": 16, "eval_every": 2, "init": str(random_model(root / "model"))},
        "reports": {
            "num_problems": 4,
            "n_values": [4],
            "num_samples": 4,
            "num_simulations": 2,
            "num_bootstrap": 100,
        },
        "tree_extracts": {"min_completions": 1, "min_value_gap": -1.0, "min_right_value": 0.0},
        "preference_pairs": {"min_margin": 0.0},
    }
    for name, section in sections.items():
        chosen[name] = chosen.get(name, {}) | section
    return Settings.model_validate({"root": root, **chosen})


def random_model(folder: Path) -> Path:
    """An untrained Llama with the starter's tokenizer."""
    if folder.exists():
        return folder
    save_tokenizer(folder, 256)
    config = LlamaConfig(
        vocab_size=len(tokenizer.VOCABULARY), hidden_size=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=256, tie_word_embeddings=True,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def write_reply(text: str, rng: random.Random) -> str:
    """What the scripted policy writes after a prompt of the starter style."""
    role, rest = re.match(r"(<\w+>)(.*)", text, re.DOTALL).groups()
    prompt, _, body = rest.partition("\n")
    if "\n" not in text:
        return pose(prompt, rng)
    if role.startswith("<critique"):
        return criticise(prompt, body.split("<review>")[0].strip().split("\n"))
    if role == "<refine>":
        return solve(prompt, [], rng, slip_share=0.0)
    return solve(prompt, [line for line in body.split("\n") if line], rng, SLIP_SHARE)


def pose(begun: str, rng: random.Random) -> str:
    """Goes on with a chain of three operations that is begun, one way or another."""
    num_left = 3 - len(OPERATIONS.findall(begun))
    return "".join(f"{rng.choice('+-')}{rng.randint(2, 9)}" for _ in range(num_left))


def solve(prompt: str, steps: list[str], rng: random.Random, slip_share: float) -> str:
    """The steps that are missing, each ended by a line break, then the answer line; it cannot do Countdown."""
    if " to " in prompt:
        return "#### 0\n"
    chain, _, choices = prompt.partition(" of ")
    value = int(steps[-1].split("=")[1]) if steps else int(re.match(r"\d+", chain)[0])
    lines = []
    for operator, operand in OPERATIONS.findall(chain)[len(steps) :]:
        result = apply(value, operator, int(operand)) + (rng.random() < slip_share)
        lines.append(f"{value}{operator}{operand}={result}\n")
        value = result
    return "".join(lines) + f"#### {letter_of(value, choices) if choices else value}\n"


def letter_of(value: int, choices: str) -> str:
    """The letter of the choice that holds the value; the first one when none does."""
    offered = choices.split(",")
    return "abcdefghij"[offered.index(str(value)) if str(value) in offered else 0]


def criticise(prompt: str, steps: list[str]) -> str:
    """A line per step and the verdict; the answer line counts as right."""
    wrong = []
    for index, step in enumerate(steps):
        match = re.match(r"(-?\d+)([+\-*])(\d+)=(-?\d+)", step)
        if match and apply(int(match[1]), match[2], int(match[3])) != int(match[4]):
            wrong.append(index)
    lines = [f"{index} {'wrong' if index in wrong else 'right'}" for index in range(len(steps))]
    return "\n".join([*lines, f"verdict {wrong[0] if wrong else -1}\n"])


def apply(a: int, operator: str, b: int) -> int:
    return {"+": a + b, "-": a - b, "*": a * b}[operator]


class ScriptedServices(RunServices):
    """The services of a run whose sessions answer from the script; `requests` are all that was asked."""

    def __init__(self, settings: Settings, write: WriteFn = write_reply, on_progress: ProgressFn | None = None) -> None:
        self.model = ScriptedModel(partial(self._script, write), words=("<right>", "<wrong>"))
        self.requests = self.model.requests
        self.opened: list[str | None] = []  # the model of every session, None for the policy
        self._store_path = settings.response_store_path
        super().__init__(settings, on_progress=on_progress, open_session=self._open)

    @asynccontextmanager
    async def _open(self, run_id: str, owner_pid: int, model: str | None) -> AsyncIterator[Session]:
        self.opened.append(model)
        store = ResponseStore(self._store_path)
        try:
            yield self.model.session(store)
        finally:
            store.close()

    def _script(self, write: WriteFn, request: GenerationRequest) -> list[str]:
        text = self.model.tokenizer.decode(request.prompt_token_ids)
        is_greedy = request.sampling.temperature == 0
        rngs = [random.Random(f"{request.seed}-{0 if is_greedy else index}") for index in range(request.sampling.n)]
        return [write(text, rng) for rng in rngs]
