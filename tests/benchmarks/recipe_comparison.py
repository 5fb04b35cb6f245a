"""Which way of searching pays? Every recipe with the same trained critic, at the same number of tokens per problem.

For each seed: search training problems (no critic), train a process critic on the trees, then answer frozen held-out
problems by every recipe, stopped at each of several token budgets. All tokens count: prompts (of every request, cached
or not), completions, and what the critic reads. Baselines are best of n for many n; between two n they are
interpolated at the tokens that the recipe used, problem by problem, so that differences are paired.

    python -m tests.benchmarks recipes --problems 300 --seeds 3 --budgets 400 800 1600

Where a smaller budget asks what a larger one has asked, the response store answers, so the largest budget runs first.
"""

import asyncio
import json
import math
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.evaluation import evaluation_problems
from assets.resources import prompts_of
from critics.score import load_critic, score_rollouts
from pipelines.config import ReportsConfig, RolloutsConfig, Settings, TokenScoresConfig
from pipelines.grading import extract_answer, graders_of
from pipelines.inference.engine_service import stop_engine
from pipelines.inference.session import Session, generate_session
from pipelines.problems import load_problems
from pipelines.reasoning.evaluate import AGGREGATES, ScoreStepsFn, critic_evaluator
from pipelines.reasoning.prompts import PromptStyle
from pipelines.reasoning.solve import CRITIC_GUIDED, solve_with_critic
from pipelines.rollouts import sample_rollouts
from pipelines.search.recipes import RECIPES, Recipe
from pipelines.self_verdicts import judge_own_steps
from pipelines.strategies import (
    StrategyResult,
    best_of_n_certainty,
    best_of_n_critic,
    best_of_n_logprob,
    best_of_n_mean_logprob,
    borda_certainty,
    greedy,
    guided_search,
    interval,
    majority,
    oracle,
    pass_at_1,
    weighted_majority,
)
from pipelines.token_scores import score_rollouts as score_tokens
from tests.benchmarks.critic_comparison import train_critic

RUN_ID = "benchmark-recipes"
GROUP_SIZES = (1, 2, 4, 8, 16, 32, 64)
BASELINES = ("greedy", "majority", "log-probability")
REFERENCES = (*BASELINES, "best of n by critic", "oracle")
VOTE_SIZES = (4, 8, 16)  # of the votes by what the policy says of its samples: every step is read once and again
FURTHER_VOTES = (
    "mean log-probability", "weighted majority by critic", "best of n by self-certainty", "Borda by self-certainty",
    "best of n by self-PRM", "weighted majority by self-PRM",
)  # fmt: skip
SAMPLED = (*REFERENCES, *FURTHER_VOTES, "pass@1")  # ways whose budget is a number of samples
MANY_SIMULATIONS = 10_000  # the token budget ends the search


@dataclass(frozen=True)
class Point:
    """One way of answering at one budget, for one seed; arrays are indexed by problem."""

    way: str
    budget: int  # tokens per problem asked for; for groups of samples their size
    is_right: np.ndarray
    tokens: np.ndarray


def recipes_compared() -> list[Recipe]:
    """Every built-in recipe that can answer the starter's problems, which have no corpus to look things up in; PUCT
    also as the reports use it, down to a complete path each time.
    """
    unfit = {"grades", "retrieval"}
    searching = [one for one in RECIPES.values() if not one.merge_samples and unfit.isdisjoint(one.needs)]
    return [CRITIC_GUIDED, *searching]


async def run_benchmark(settings: Settings, num_problems: int, num_seeds: int, budgets: Sequence[int]) -> dict:
    """All seeds; the result is plain JSON data."""
    config = settings.reports.model_copy(
        update={"num_problems": num_problems, "n_values": (max(GROUP_SIZES),), "num_samples": 1}
    )
    settings = settings.model_copy(update={"reports": config})
    problems = load_problems(settings)
    chosen = evaluation_problems(problems, config)
    by_seed: list[list[Point]] = []
    started = time.monotonic()
    async with generate_session(settings, run_id=RUN_ID) as session:
        for seed in range(num_seeds):
            folder = await train_critic(settings, session, problems, seed)
            by_seed.append(await _measure(settings, session, chosen, config, folder / "trained", budgets, seed))
    return {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        "minutes": (time.monotonic() - started) / 60,
        "policy_digest": session.model_digest,
        "num_problems": chosen.num_rows,
        "num_seeds": num_seeds,
        "num_candidates": config.num_candidates,
        "budgets": list(budgets),
        "points": _points(by_seed),
        "differences": _differences(by_seed, set(budgets)),
    }


async def _measure(
    settings: Settings,
    session: Session,
    problems: pa.Table,
    config: ReportsConfig,
    critic_folder: Path,
    budgets: Sequence[int],
    seed: int,
) -> list[Point]:
    prompts, scorer = prompts_of(settings), load_critic(critic_folder)
    sampling = settings.rollouts.model_copy(
        update={"num_candidates": config.num_candidates, "num_simulations": MANY_SIMULATIONS, "seed": seed}
    )
    known = {"night": "evaluation", "grade": graders_of(settings), "extract_answer": extract_answer}
    known["max_model_len"] = session.max_model_len
    asked = (problems, session, prompts, sampling)
    at_zero = await sample_rollouts(*asked, group_size=1, temperature=0.0, **known)
    sampled = (await sample_rollouts(*asked, group_size=max(GROUP_SIZES), **known)).rollouts
    scores = score_rollouts(sampled, problems, scorer, prompts.verify_prompt, "evaluation")
    points = [_point("greedy", 1, greedy(at_zero.rollouts)), _point("pass@1", 1, pass_at_1(sampled))]
    for n in GROUP_SIZES:
        points += [
            _point("majority", n, majority(sampled, n)),
            _point("log-probability", n, best_of_n_logprob(sampled, n)),
            _point("best of n by critic", n, best_of_n_critic(sampled, scores, n, config.aggregate)),
            _point("oracle", n, oracle(sampled, n)),
            _point("mean log-probability", n, best_of_n_mean_logprob(sampled, n)),
            _point("weighted majority by critic", n, weighted_majority(sampled, scores, n, config.aggregate)),
        ]
    points += await policy_votes(session, problems, first_samples(sampled, max(VOTE_SIZES)), prompts, config.aggregate)
    score = _remembered(scorer.score)
    for recipe in recipes_compared():
        for budget in sorted(budgets, reverse=True):
            points.append(await _searched(settings, session, problems, sampling, score, recipe, budget, known))
            _say(f"seed {seed}: {recipe.name} at {budget}: {_shown(points[-1])}")
    return points


async def policy_votes(
    session: Session, problems: pa.Table, samples: pa.Table, prompts: PromptStyle, aggregate: str
) -> list[Point]:
    """The votes by self-certainty and by the policy's verdicts on its own steps, over groups of VOTE_SIZES."""
    every_sample = TokenScoresConfig(num_rollouts=samples.num_rows)
    certainties = await score_tokens(samples, session, every_sample, night="evaluation")
    verdicts = await judge_own_steps(problems, samples, session, prompts, night="evaluation")
    judged = {"scorer": "self_prm", "tokens_read": verdicts.tokens_read}
    return [
        point
        for n in VOTE_SIZES
        for point in (
            _point("best of n by self-certainty", n, best_of_n_certainty(samples, certainties, n)),
            _point("Borda by self-certainty", n, borda_certainty(samples, certainties, n)),
            _point(
                "best of n by self-PRM", n,
                best_of_n_critic(samples, verdicts.step_scores, n, aggregate, **judged),
            ),
            _point(
                "weighted majority by self-PRM", n,
                weighted_majority(samples, verdicts.step_scores, n, aggregate, **judged),
            ),
        )
    ]  # fmt: skip


def first_samples(samples: pa.Table, num: int) -> pa.Table:
    """The first samples of every problem by rollout id, a hash: a group of its own for what is dear."""
    by_problem: dict[str, list[str]] = {}
    for row in samples.select(["problem_id", "rollout_id"]).to_pylist():
        by_problem.setdefault(row["problem_id"], []).append(row["rollout_id"])
    chosen = [rollout_id for ids in by_problem.values() for rollout_id in sorted(ids)[:num]]
    return samples.filter(pc.is_in(samples["rollout_id"], pa.array(chosen)))


async def _searched(
    settings: Settings,
    session: Session,
    problems: pa.Table,
    sampling: RolloutsConfig,
    score: ScoreStepsFn,
    recipe: Recipe,
    budget: int,
    known: Mapping[str, object],
) -> Point:
    prompts = prompts_of(settings)
    evaluate = critic_evaluator(
        score, prompts, aggregate=AGGREGATES[settings.reports.aggregate],
        count_tokens=lambda text: len(session.tokenizer.encode(text)),
    )  # fmt: skip
    solutions = await solve_with_critic(
        problems, session, prompts, sampling, evaluate=evaluate, recipe=recipe, token_budget=budget, **known
    )
    errors = [solution.error for solution in solutions if solution.error]
    if errors:
        raise RuntimeError(f"{recipe.name}: {len(errors)} of {len(solutions)} problems failed, first: {errors[0]}")
    return _point(recipe.name, budget, guided_search(solutions, recipe.name))


def _remembered(score: ScoreStepsFn) -> ScoreStepsFn:
    """A critic that does not compute twice what a larger budget has asked already; the tokens still count."""
    known: dict[tuple[str, tuple[str, ...]], list[float]] = {}

    def score_new(prompts: Sequence[str], steps: Sequence[Sequence[str]]) -> list[list[float]]:
        keys = [(prompt, tuple(path)) for prompt, path in zip(prompts, steps, strict=True)]
        new = list(dict.fromkeys(key for key in keys if key not in known))
        if new:
            scores = score([prompt for prompt, _ in new], [path for _, path in new])
            known.update(zip(new, scores, strict=True))
        return [known[key] for key in keys]

    return score_new


def _point(way: str, budget: int, result: StrategyResult) -> Point:
    tokens = result.prompt_tokens + result.completion_tokens + result.critic_tokens
    return Point(way, budget, result.is_right, tokens)


def _mean_over_seeds(by_seed: Sequence[Sequence[Point]]) -> list[Point]:
    """Per problem the mean over seeds; every seed has the same ways at the same budgets in the same order."""
    return [
        replace(
            same[0],
            is_right=np.mean([one.is_right for one in same], axis=0),
            tokens=np.mean([one.tokens for one in same], axis=0),
        )
        for same in zip(*by_seed, strict=True)
    ]


def _points(by_seed: Sequence[Sequence[Point]]) -> list[dict]:
    rows = []
    for index, point in enumerate(_mean_over_seeds(by_seed)):
        low, high = interval(point.is_right)
        rows.append(
            {
                "way": point.way,
                "budget": point.budget,
                "accuracy": float(point.is_right.mean()),
                "low": low,
                "high": high,
                "by_seed": [float(points[index].is_right.mean()) for points in by_seed],
                "tokens": float(point.tokens.mean()),
            }
        )
    return rows


def _differences(by_seed: Sequence[Sequence[Point]], budgets: set[int]) -> list[dict]:
    """Every recipe against every baseline at the recipe's own mean number of tokens."""
    means = _mean_over_seeds(by_seed)
    rows = []
    for point in means:
        if point.budget not in budgets or point.way in SAMPLED:
            continue
        for baseline in REFERENCES[:-1]:
            same_way = [one for one in means if one.way == baseline]
            difference = point.is_right - at_tokens(same_way, float(point.tokens.mean()))
            low, high = interval(difference)
            rows.append(
                {
                    "way": point.way,
                    "budget": point.budget,
                    "against": baseline,
                    "difference": float(difference.mean()),
                    "low": low,
                    "high": high,
                }
            )
    return rows


def at_tokens(points: Sequence[Point], tokens: float) -> np.ndarray:
    """Per problem, what a way reaches at a mean number of tokens: linear in log tokens between two of its points,
    constant outside them.
    """
    ordered = sorted(points, key=lambda point: point.tokens.mean())
    spent = [math.log(point.tokens.mean()) for point in ordered]
    above = int(np.searchsorted(spent, math.log(tokens)))
    if above == 0 or above == len(ordered):
        return ordered[min(above, len(ordered) - 1)].is_right
    weight = (math.log(tokens) - spent[above - 1]) / (spent[above] - spent[above - 1])
    return (1 - weight) * ordered[above - 1].is_right + weight * ordered[above].is_right


def as_markdown(result: dict, command: str) -> str:
    """The tables of a result, with what is needed to read them."""
    setting = (
        f"{result['num_problems']} frozen held-out problems, {result['num_seeds']} seeds (training trees, critic and "
        f"samples differ), {result['date']}, {result['machine']}, {result['minutes']:.0f} minutes: `{command}`."
    )
    legend = (
        "`tokens` are means per problem and count everything: prompts of all requests, completions, and what the "
        "critic reads. Recipes are stopped at the budget: the request under way is paid for, and a search that ends by "
        f"itself spends less. They propose {result['num_candidates']} steps per expansion. Differences are paired, "
        "against the baseline at the tokens that the recipe used; greedy has one point only."
    )
    lines = [
        *(setting, "", legend, ""),
        "| way | budget | tokens | accuracy | 95 % | by seed |",
        "|---|---|---|---|---|---|",
    ]
    for row in result["points"]:
        budget = f"n = {row['budget']}" if row["way"] in SAMPLED else str(row["budget"])
        seeds = " ".join(f"{value:.3f}" for value in row["by_seed"])
        lines.append(
            f"| {row['way']} | {budget} | {row['tokens']:.0f} | {row['accuracy']:.3f} "
            f"| {row['low']:.3f} to {row['high']:.3f} | {seeds} |"
        )
    lines += ["", f"| recipe | budget | {' | '.join(REFERENCES[:-1])} |", "|---|---|" + "---|" * len(REFERENCES[:-1])]
    by_recipe: dict[tuple[str, int], list[str]] = {}
    for row in result["differences"]:
        cell = f"{row['difference']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})"
        by_recipe.setdefault((row["way"], row["budget"]), []).append(cell)
    lines += [f"| {way} | {budget} | {' | '.join(cells)} |" for (way, budget), cells in by_recipe.items()]
    return "\n".join(lines) + "\n"


def draw(result: dict, file: Path) -> None:
    """Accuracy against all tokens, one curve per way; the names stand at the right, ordered by their last points."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    ways = list(dict.fromkeys(row["way"] for row in result["points"] if row["way"] not in SAMPLED))
    colours = {way: plt.get_cmap("turbo")(0.05 + 0.9 * index / max(1, len(ways) - 1)) for index, way in enumerate(ways)}
    colours |= dict.fromkeys(BASELINES, "0.4") | {"best of n by critic": "black", "oracle": "black"}
    figure, axes = plt.subplots(figsize=(11, 8))
    ends = {}
    for way, colour in colours.items():
        rows = sorted((row for row in result["points"] if row["way"] == way), key=lambda row: row["tokens"])
        axes.errorbar(
            [row["tokens"] for row in rows],
            [row["accuracy"] for row in rows],
            yerr=[[row["accuracy"] - row["low"] for row in rows], [row["high"] - row["accuracy"] for row in rows]],
            fmt="--o" if way in REFERENCES else "-o", markersize=3, linewidth=1.3, elinewidth=0.4, capsize=1.5,
            color=colour,
        )  # fmt: skip
        ends[way] = (rows[-1]["tokens"], rows[-1]["accuracy"])
    right = 1.25 * max(tokens for tokens, _ in ends.values())
    for way, height in spread({way: end[1] for way, end in ends.items()}, 0.028).items():
        axes.annotate(
            way, xy=ends[way], xytext=(right, height), fontsize=8, va="center", color=colours[way],
            arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": colours[way], "shrinkA": 0, "shrinkB": 2},
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlim(40, 4.5 * right)
    axes.set_xlabel("tokens per problem: prompts, completions and critic")
    axes.set_ylabel("accuracy")
    axes.set_title(f"{result['num_problems']} frozen held-out problems, {result['num_seeds']} seeds, 95 % intervals")
    axes.grid(alpha=0.25)
    figure.tight_layout()
    figure.savefig(file, dpi=130)
    plt.close(figure)


def spread(heights: Mapping[str, float], gap: float) -> dict[str, float]:
    """Places for labels, each as near to its height as leaves `gap` between any two; in the order of the heights."""
    placed: list[list[tuple[str, float]]] = []  # groups of labels that touch, from below
    for name, height in sorted(heights.items(), key=lambda item: item[1]):
        placed.append([(name, height)])
        while len(placed) > 1 and _bottom(placed[-1], gap) < _bottom(placed[-2], gap) + gap * len(placed[-2]):
            placed[-2:] = [placed[-2] + placed[-1]]
    return {name: _bottom(group, gap) + gap * place for group in placed for place, (name, _) in enumerate(group)}


def _bottom(group: Sequence[tuple[str, float]], gap: float) -> float:
    """Where a group's lowest label stands when the group is centred on its heights."""
    return sum(height for _, height in group) / len(group) - gap * (len(group) - 1) / 2


def main(settings: Settings, num_problems: int, num_seeds: int, budgets: Sequence[int], out: Path) -> None:
    """Run, write `out` (JSON), the tables (.md) and the figure (.png) beside it."""
    try:
        result = asyncio.run(run_benchmark(settings, num_problems, num_seeds, budgets))
    finally:
        stop_engine(settings, RUN_ID)
    command = (
        f"python -m tests.benchmarks recipes --problems {num_problems} --seeds {num_seeds} "
        f"--budgets {' '.join(map(str, budgets))}"
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    out.with_suffix(".md").write_text(as_markdown(result, command))
    draw(result, out.with_suffix(".png"))
    _say(as_markdown(result, command))


def _shown(point: Point) -> str:
    return f"{point.is_right.mean():.3f} with {point.tokens.mean():.0f} tokens"


def _say(text: str) -> None:
    print(text, flush=True)
