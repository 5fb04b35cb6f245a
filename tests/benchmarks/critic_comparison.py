"""Does a critic trained on search trees beat greedy, majority and the policy's own log-probability?

For each seed: search training problems (no critic), train a process critic on the trees, then answer the frozen
held-out problems, none of which policy or critic has seen. Samples for every n come from the same pool. Differences
are paired over problems: the reported interval is a bootstrap over problems of the mean over seeds.

    python -m tests.benchmarks critic --problems 1000 --seeds 3 --out results.json
"""

import asyncio
import json
import os
import platform
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa

from assets.evaluation import evaluation_problems, measure, strategies
from assets.resources import prompts_of
from critics.examples import examples_from_trees
from critics.score import load_critic, score_rollouts
from critics.train import train_process_critic
from pipelines.config import ReportsConfig, Settings
from pipelines.grading import extract_answer, graders_of
from pipelines.inference.engine_service import stop_engine
from pipelines.inference.session import Session, generate_session, model_folder
from pipelines.problems import load_problems
from pipelines.rollouts import choose_problems, search_rollouts
from pipelines.strategies import StrategyResult, best_of_n_critic, interval

BASELINES = ("greedy", "majority_8", "best_of_8_logprob")
CHALLENGERS = ("best_of_8_critic", "puct_critic")
RUN_ID = "benchmark-critic"


async def run_benchmark(settings: Settings, num_problems: int, num_seeds: int, n_values: Sequence[int]) -> dict:
    """All seeds; the result is plain JSON data."""
    config = settings.reports.model_copy(
        update={"num_problems": num_problems, "n_values": tuple(n_values), "num_samples": 1}
    )
    settings = settings.model_copy(update={"reports": config})
    problems = load_problems(settings)
    by_seed: list[list[StrategyResult]] = []
    timings = []
    async with generate_session(settings, run_id=RUN_ID) as session:
        for seed in range(num_seeds):
            started = time.monotonic()
            critic_folder = await train_critic(settings, session, problems, seed)
            trained = time.monotonic()
            by_seed.append(await _measure(settings, session, problems, config, critic_folder))
            timings.append({"search_and_train_s": trained - started, "evaluate_s": time.monotonic() - trained})
            _say(f"seed {seed}: " + ", ".join(f"{r.strategy} {r.accuracy:.3f}" for r in by_seed[-1]))
    return {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        "policy_digest": session.model_digest,
        "num_problems": len(by_seed[0][0].problem_ids),
        "num_seeds": num_seeds,
        "timings": timings,
        "strategies": [_summary([results[i] for results in by_seed]) for i in range(len(by_seed[0]))],
        "differences": _differences(by_seed),
    }


async def train_critic(settings: Settings, session: Session, problems: pa.Table, seed: int) -> Path:
    """Trees of this seed's training problems and a critic that learned from them."""
    rollouts = settings.rollouts.model_copy(update={"seed": seed})
    prompts, night = prompts_of(settings), f"benchmark-{seed}"
    chosen = choose_problems(problems, rollouts.num_search_problems, night=night, seed=seed)
    trees = await search_rollouts(
        chosen, session, prompts, rollouts, night=night, grade=graders_of(settings), extract_answer=extract_answer,
        max_model_len=session.max_model_len,
    )  # fmt: skip
    examples = examples_from_trees(chosen, trees.search_nodes, prompts.verify_prompt)
    config = settings.process_critic.model_copy(update={"seed": seed})
    folder = settings.checkpoints_dir / "benchmark" / f"seed-{seed}"
    init = model_folder(settings.policy.model)
    critic = train_process_critic(examples, config, init, folder / "trained", data_version=night)
    unmoved = config.model_copy(update={"steps": 1, "learning_rate": 1e-12})  # the policy's own verdicts, as a critic
    train_process_critic(examples, unmoved, init, folder / "untrained", data_version=night)
    _say(
        f"seed {seed}: {examples.num_nodes} labelled steps, {examples.num_pairs} sibling pairs, {dict(critic.metrics)}"
    )
    return folder


async def _measure(
    settings: Settings, session: Session, problems: pa.Table, config: ReportsConfig, critic_folder: Path
) -> list[StrategyResult]:
    """Every strategy of the report, and the untrained critic (the policy's own verdicts) beside the trained one."""
    chosen = evaluation_problems(problems, config)
    measured = await measure(session, settings, config, chosen, load_critic(critic_folder / "trained"), lambda *_: None)
    verify_prompt = prompts_of(settings).verify_prompt
    untrained = load_critic(critic_folder / "untrained")
    scores = score_rollouts(measured.samples, chosen, untrained, verify_prompt, "evaluation")
    own = [best_of_n_critic(measured.samples, scores, n, config.aggregate) for n in config.n_values]
    return strategies(measured, config) + [replace(result, strategy=f"{result.strategy}_untrained") for result in own]


def _summary(results: Sequence[StrategyResult]) -> dict:
    is_right = np.mean([result.is_right for result in results], axis=0)
    low, high = interval(is_right)
    return {
        "strategy": results[0].strategy,
        "accuracy": float(is_right.mean()),
        "low": low,
        "high": high,
        "by_seed": [result.accuracy for result in results],
        "prompt_tokens": float(np.mean([result.prompt_tokens.mean() for result in results])),
        "completion_tokens": float(np.mean([result.completion_tokens.mean() for result in results])),
        "critic_tokens": float(np.mean([result.critic_tokens.mean() for result in results])),
    }


def _differences(by_seed: Sequence[Sequence[StrategyResult]]) -> list[dict]:
    """Every challenger against every baseline, and best of n by critic against the next smaller n."""
    named = [{result.strategy: result.is_right for result in results} for results in by_seed]
    sizes = sorted(int(found[1]) for name in named[0] if (found := re.fullmatch(r"best_of_(\d+)_critic", name)))
    pairs = [(strategy, baseline) for strategy in CHALLENGERS for baseline in BASELINES]
    pairs += [(f"best_of_{b}_critic", f"best_of_{a}_critic") for a, b in zip(sizes, sizes[1:], strict=False)]
    rows = []
    for strategy, baseline in pairs:
        difference = np.mean([results[strategy] - results[baseline] for results in named], axis=0)
        low, high = interval(difference)
        mean = float(difference.mean())
        rows.append({"strategy": strategy, "baseline": baseline, "difference": mean, "low": low, "high": high})
    return rows


def as_markdown(result: dict) -> str:
    """The tables of a result, with what is needed to read them."""
    setting = f"{result['num_problems']} frozen held-out problems, {result['num_seeds']} seeds"
    lines = [
        f"{setting} (training problems, trees and critic differ), {result['date']}, {result['machine']}.",
        "Tokens are means per problem. `untrained` is the policy's critique role before any tree was seen.",
        "",
        "| strategy | accuracy | 95 % | by seed | prompt | completion | critic |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in result["strategies"]:
        seeds = " ".join(f"{value:.3f}" for value in row["by_seed"])
        lines.append(
            f"| {row['strategy']} | {row['accuracy']:.3f} | {row['low']:.3f} to {row['high']:.3f} | {seeds} "
            f"| {row['prompt_tokens']:.0f} | {row['completion_tokens']:.0f} | {row['critic_tokens']:.0f} |"
        )
    lines += ["", "| strategy | against | difference | 95 % |", "|---|---|---|---|"]
    for row in result["differences"]:
        bounds = f"{row['low']:+.3f} to {row['high']:+.3f}"
        lines.append(f"| {row['strategy']} | {row['baseline']} | {row['difference']:+.3f} | {bounds} |")
    return "\n".join(lines) + "\n"


def main(settings: Settings, num_problems: int, num_seeds: int, n_values: Sequence[int], out: Path) -> None:
    """Run, write `out` (JSON) and the tables beside it (.md)."""
    try:
        result = asyncio.run(run_benchmark(settings, num_problems, num_seeds, n_values))
    finally:
        stop_engine(settings, RUN_ID)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    out.with_suffix(".md").write_text(as_markdown(result))
    _say(as_markdown(result))


def _say(text: str) -> None:
    print(text, flush=True)
