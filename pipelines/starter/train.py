"""Train the starter policy: one seeded command, two rounds, at most an hour on two cores.

    round 1   all roles from the generator's demonstrations; what the critique roles judge is made of slips and
              random mistakes.
    round 2   the solver is sampled, its own rollouts are labelled by the generator's rules (for starter training
              only), and become most of what the critique roles judge: a critic that has only seen made-up mistakes
              is helpless before those its policy really makes.

Held-out problems never enter. `python -m pipelines.starter.train --out FOLDER`.
"""

import argparse
import copy
import json
import math
import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from pipelines.starter import demonstrations as demos
from pipelines.starter import families
from pipelines.starter.tokenizer import EOS, MARKS, PAD, TOKEN_IDS, VOCABULARY, WORDS, decode, encode

MAX_LENGTH = 384
DRILL_SHARE = 0.35  # of the chain problems have one or two operations: short sequences teach the facts cheaply
LEVEL_WEIGHTS = {1: 0.2, 2: 0.5, 3: 0.18, 4: 0.12}
FAMILY_WEIGHTS = {"arithmetic": 0.54, "dial": 0.30, "countdown": 0.16}
ROLE_WEIGHTS = {"solve": 0.28, "verify": 0.34, "critique": 0.30, "refine": 0.08}


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights."""

    seed: int = 0
    hidden_size: int = 128
    num_layers: int = 6
    num_heads: int = 4
    intermediate_size: int = 256
    learning_rate: float = 7e-3
    second_learning_rate: float = 4e-3
    batch_tokens: int = 2048
    first_steps: int = 4400
    second_steps: int = 5800
    num_own_rollouts: int = 12000
    own_share: float = 0.7  # of what the critique roles judge in round 2

    def model(self) -> LlamaForCausalLM:
        torch.manual_seed(self.seed)
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(VOCABULARY),
                hidden_size=self.hidden_size,
                intermediate_size=self.intermediate_size,
                num_hidden_layers=self.num_layers,
                num_attention_heads=self.num_heads,
                num_key_value_heads=self.num_heads,
                max_position_embeddings=MAX_LENGTH,
                tie_word_embeddings=True,
                rms_norm_eps=1e-5,
                pad_token_id=PAD,
                bos_token_id=None,
                eos_token_id=EOS,
            )
        )


# -- data ----------------------------------------------------------------------------------------------------------


def draw_problem(rng: random.Random) -> families.StarterProblem:
    """One training problem, families and levels by their weights."""
    while True:
        family = rng.choices(list(FAMILY_WEIGHTS), weights=list(FAMILY_WEIGHTS.values()))[0]
        level = rng.choices(list(LEVEL_WEIGHTS), weights=list(LEVEL_WEIGHTS.values()))[0]
        choices = rng.choice((2, 4, 4, 4, 10))
        if family != "countdown" and rng.random() < DRILL_SHARE:
            problem = families.chain_problem(family, 1, families.random_chain(rng, rng.randint(1, 2)), choices)
        else:
            problem = families.draw(family, level, rng, choices)
        if problem.split == "train":
            return problem


def draw_example(rng: random.Random, own: list[demos.Candidate], own_share: float) -> demos.Example:
    """One sequence of a random role; `own` are labelled rollouts of the solver itself (empty in round 1)."""
    role = rng.choices(list(ROLE_WEIGHTS), weights=list(ROLE_WEIGHTS.values()))[0]
    if role != "solve" and own and rng.random() < own_share:
        candidate = rng.choice(own)
    else:
        problem = draw_problem(rng)
        if role == "solve":
            return demos.solve_example(problem.family, problem.prompt, rng)
        candidate = demos.judge(problem.family, problem.prompt, demos.corrupted(problem.family, problem.prompt, rng))
    if role == "verify":
        return demos.verify_example(candidate, rng)
    if role == "critique":
        return demos.critique_example(rng.choice(list(demos.OVERLOOKED)), candidate, rng)
    return demos.refine_example(candidate, rng)


def batches(
    rng: random.Random, batch_tokens: int, own: list[demos.Candidate], own_share: float
) -> Iterator[dict[str, torch.Tensor]]:
    """Endless right-padded batches of about `batch_tokens`; sequences of like length share a batch."""
    while True:
        pool = sorted((draw_example(rng, own, own_share) for _ in range(2000)), key=lambda e: len(e.token_ids))
        packed: list[list[demos.Example]] = [[]]
        for example in pool:
            if (len(packed[-1]) + 1) * len(example.token_ids) > batch_tokens:
                packed.append([])
            packed[-1].append(example)
        rng.shuffle(packed)
        for group in packed:
            yield _pad(group)


def _pad(group: list[demos.Example]) -> dict[str, torch.Tensor]:
    width = max(len(example.token_ids) for example in group)

    def rows(values: str, fill: float, dtype: torch.dtype) -> torch.Tensor:
        return torch.tensor([getattr(e, values) + [fill] * (width - len(e.token_ids)) for e in group], dtype=dtype)

    return {
        "ids_BT": rows("token_ids", PAD, torch.long),
        "targets_BT": rows("targets", demos.IGNORE, torch.long),
        "weights_BT": rows("weights", 0.0, torch.float32),
    }


# -- training ------------------------------------------------------------------------------------------------------


def loss_of(model: LlamaForCausalLM, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Weighted cross-entropy over the positions that have a target (targets are not shifted)."""
    hidden_BTD = model.model(input_ids=batch["ids_BT"]).last_hidden_state
    used_BT = batch["targets_BT"] != demos.IGNORE
    logits_ND = model.lm_head(hidden_BTD[used_BT])
    losses_N = F.cross_entropy(logits_ND, batch["targets_BT"][used_BT], reduction="none")
    weights_N = batch["weights_BT"][used_BT]
    return (losses_N * weights_N).sum() / weights_N.sum()


def fit(
    model: LlamaForCausalLM,
    stream: Iterator[dict[str, torch.Tensor]],
    num_steps: int,
    peak: float,
    report: Callable[[int, dict[str, float]], None],
) -> None:
    """Muon for the matrices and AdamW for the rest, 3 % warm-up, cosine to 1 % of `peak`."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    optimizers = [
        torch.optim.Muon(matrices, lr=peak, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=peak, betas=(0.9, 0.98), weight_decay=0.01),
    ]
    model.train()
    started, running = time.monotonic(), 0.0
    for step in range(num_steps):
        warm = min(1.0, (step + 1) / (0.03 * num_steps))
        rate = peak * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / num_steps)))
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group["lr"] = rate
        loss = loss_of(model, next(stream))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        running = loss.item() if step == 0 else 0.98 * running + 0.02 * loss.item()
        if step % 100 == 99:
            elapsed = time.monotonic() - started
            report(step + 1, {"loss": running, "left_s": elapsed / (step + 1) * (num_steps - step - 1)})


@torch.no_grad()
def sample_rollouts(
    model: LlamaForCausalLM, problems: list[families.StarterProblem], temperature: float = 1.0, batch_size: int = 400
) -> list[list[str]]:
    """One solution (lines) per problem; temperature 0 is greedy."""
    model.eval()
    order = sorted(range(len(problems)), key=lambda i: len(problems[i].prompt))
    solutions: list[list[str]] = [[] for _ in problems]
    for at in range(0, len(order), batch_size):
        rows = order[at : at + batch_size]
        prompts = [encode(f"<solve>{problems[i].prompt}\n") for i in rows]
        width = max(map(len, prompts))
        ids_BT = torch.tensor([[PAD] * (width - len(p)) + p for p in prompts])
        chosen = (
            {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature > 0 else {"do_sample": False}
        )
        out_BT = model.generate(
            input_ids=ids_BT, attention_mask=(ids_BT != PAD).long(), max_new_tokens=110, pad_token_id=PAD, **chosen
        )
        for row, ids in zip(rows, out_BT[:, width:].tolist(), strict=True):
            text = decode(ids[: ids.index(EOS)] if EOS in ids else ids)
            solutions[row] = [line for line in text.split("\n") if line]
    return solutions


def own_candidates(model: LlamaForCausalLM, count: int, seed: int) -> list[demos.Candidate]:
    """The solver's own rollouts on training problems, labelled by the generator's rules."""
    rng = random.Random(seed)
    problems = [draw_problem(rng) for _ in range(count)]
    torch.manual_seed(seed)
    rollouts = sample_rollouts(model, problems)
    return [demos.judge(p.family, p.prompt, steps) for p, steps in zip(problems, rollouts, strict=True) if steps]


def train(recipe: Recipe, out: Path, say: Callable[[str], None] = print) -> LlamaForCausalLM:
    """Both rounds; writes the model folder (bf16 safetensors, tokenizer, recipe) to `out`."""
    started = time.monotonic()
    model = recipe.model()
    say(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters")
    first = batches(random.Random(recipe.seed), recipe.batch_tokens, [], 0.0)
    fit(model, first, recipe.first_steps, recipe.learning_rate, lambda s, m: say(f"round 1 step {s} {_show(m)}"))
    write(model, out)
    own = own_candidates(model, recipe.num_own_rollouts, recipe.seed + 1)
    right = sum(all(c.is_right) for c in own)
    say(f"sampled {len(own)} of the solver's own rollouts, {right / len(own):.3f} without error")
    second = batches(random.Random(recipe.seed + 2), recipe.batch_tokens, own, recipe.own_share)
    fit(
        model,
        second,
        recipe.second_steps,
        recipe.second_learning_rate,
        lambda s, m: say(f"round 2 step {s} {_show(m)}"),
    )
    write(model, out)
    (out / "recipe.json").write_text(json.dumps(recipe.__dict__, indent=1) + "\n")
    say(f"done in {(time.monotonic() - started) / 60:.1f} min")
    return model


def write(model: LlamaForCausalLM, out: Path) -> None:
    """bf16 safetensors, config, generation config and tokenizer."""
    out.mkdir(parents=True, exist_ok=True)
    copy.deepcopy(model).to(torch.bfloat16).save_pretrained(out)
    save_tokenizer(out, MAX_LENGTH)


def save_tokenizer(folder: Path, max_length: int) -> None:
    """Write tokenizer.json and tokenizer_config.json into `folder`."""
    tokenizer = Tokenizer(models.WordLevel(TOKEN_IDS, unk_token="<unk>"))
    words = "|".join([re.escape(word) for word in WORDS] + [r"\n", "."])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(words), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens(list(MARKS))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        pad_token="<pad>",
        eos_token="<eos>",
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
    ).save_pretrained(folder)


def _show(metrics: dict[str, float]) -> str:
    return " ".join(f"{name} {value:.4g}" for name, value in metrics.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the trained model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies both rounds' steps (for a quick trial)")
    arguments = parser.parse_args()
    base = Recipe(seed=arguments.seed)
    recipe = Recipe(
        seed=base.seed,
        first_steps=max(1, round(base.first_steps * arguments.scale)),
        second_steps=max(1, round(base.second_steps * arguments.scale)),
        num_own_rollouts=max(200, round(base.num_own_rollouts * arguments.scale)),
    )
    train(recipe, arguments.out)


if __name__ == "__main__":
    main()
