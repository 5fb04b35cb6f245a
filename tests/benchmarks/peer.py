"""The same search with the same model by the MCTS of the published llm-reasoners package, and by ours.

Both sample `--candidates` steps per expansion at temperature 1 and go on from a selected leaf to a complete path in
each of `--simulations` simulations per problem; an unvisited step is worth exp(sum log p / length^1.25), a complete
path its grade, and a node the mean of what was backed up through it. Ours is `puct` with `expand_to_end` on the run's
engine, all trees at once, with the response store on; the peer selects by its UCT and asks transformers (float32, all
cores) for one expansion at a time, as it does by itself. Wall clock of the searches, without the start of the engine
and the loading of the model. Solved: a right answer is among the tree's complete paths.

The peer needs an environment of its own:

    python -m venv peer && peer/bin/pip install -r tests/benchmarks/peer_requirements.txt
    peer/bin/pip install --no-deps llm-reasoners==1.0.2       (its requirements are many and not needed for MCTS)
    python -m tests.benchmarks peer --peer-python peer/bin/python
"""

import argparse
import asyncio
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from assets.resources import prompts_of
from pipelines.config import RolloutsConfig, Settings, load_settings
from pipelines.grading import extract_answer, grade
from pipelines.inference.engine_service import ensure_engine, stop_engine
from pipelines.inference.session import Session, generate_session, model_folder
from pipelines.problem_rows import Rollouts
from pipelines.problems import load_problems
from pipelines.reasoning.prompts import PromptStyle
from pipelines.reasoning.propose import PRIOR_LENGTH_EXPONENT, make_encode_problem
from pipelines.rollouts import choose_problems, search_rollouts
from pipelines.search.recipes import RECIPES
from pipelines.search.types import Evaluation
from pipelines.search.types import Path as TreePath
from tests.benchmarks import record

RUN_ID = "benchmark-peer"
PEER_SCRIPT = Path(__file__).parent / "peer_reasoners.py"
IMPORTS = "import reasoners, torch, transformers; from reasoners.algorithm import MCTS"
TO_THE_END = replace(
    RECIPES["puct"], name="to_the_end", evaluate_children=False, skip_exhausted=False, expand_to_end=True
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--peer-python", help="an interpreter with llm-reasoners, torch and transformers")
    parser.add_argument("--problems", type=int, default=128, help="training problems of the arithmetic family")
    parser.add_argument("--simulations", type=int, default=8, help="per problem")
    parser.add_argument("--candidates", type=int, default=4, help="steps sampled per expansion")
    parser.add_argument("--repeats", type=int, default=3, help="turns of ours and the peer's")


def run(arguments: argparse.Namespace) -> None:
    """SystemExit where the peer cannot be run."""
    check_peer(arguments.peer_python)
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(arguments.config)
        paths = settings.paths.model_copy(update={"responses": f"{folder}/responses", "state": f"{folder}/state"})
        settings = settings.model_copy(update={"paths": paths})
        config = RolloutsConfig(
            recipe=TO_THE_END.name, num_simulations=arguments.simulations, num_candidates=arguments.candidates
        )
        turns = [take_turn(settings, config, arguments, turn) for turn in range(arguments.repeats)]
    result = record.provenance() | {
        "num_problems": arguments.problems,
        "num_simulations": arguments.simulations,
        "num_candidates": arguments.candidates,
        "ratio": statistics.median(theirs["seconds"] / ours["seconds"] for ours, theirs in turns),
        "ours": _median([ours for ours, _ in turns]),
        "llm_reasoners": _median([theirs for _, theirs in turns]),
        "turns": turns,
    }
    record.save("peer", arguments.out, result, as_markdown(result))


def check_peer(python: str | None) -> None:
    """SystemExit that says what is missing."""
    if python is None or shutil.which(python) is None:
        raise SystemExit(
            f"--peer-python is {python}; give an interpreter that has llm-reasoners (python -m tests.benchmarks peer "
            "--help says how to make one)."
        )
    found = subprocess.run([python, "-c", IMPORTS], capture_output=True, text=True)
    if found.returncode:
        raise SystemExit(
            f"{python} cannot run the peer: {(found.stderr.strip() or 'no reason given').splitlines()[-1]}"
        )


def take_turn(settings: Settings, config: RolloutsConfig, arguments: argparse.Namespace, turn: int) -> tuple:
    """Ours, then the peer's, on the same problems; the engine is gone while the peer works."""
    all_problems = load_problems(settings)
    arithmetic = all_problems.filter(pc.equal(all_problems["family"], "arithmetic"))
    problems = choose_problems(arithmetic, arguments.problems, night=f"turn-{turn}", seed=0)
    try:
        ensure_engine(settings, model_folder(settings.policy.model), run_id=RUN_ID)
        ours, asked = asyncio.run(search_ours(settings, config, problems, turn))
    finally:
        stop_engine(settings, RUN_ID)
    theirs = search_theirs(arguments.peer_python, asked, problems)
    record.say(f"turn {turn}: ours {ours}, llm-reasoners {theirs}")
    return ours, theirs


async def value_of_prior(path: TreePath) -> Evaluation:
    """What an incomplete path is worth: the prior of its last step."""
    return Evaluation(path.steps[-1].prior)


async def search_ours(settings: Settings, config: RolloutsConfig, problems: pa.Table, turn: int) -> tuple[dict, dict]:
    """Our numbers, and what the peer is asked for the same search."""
    prompts = prompts_of(settings)
    async with generate_session(settings, run_id=RUN_ID) as session:
        search = _search(session, prompts, config)
        await search(problems.slice(0, 1), "the first one pays for what is done once")
        num_tokens, num_requests = session.stats.completion_tokens, session.stats.num_requests
        started = time.perf_counter()
        made = await search(problems, f"turn-{turn}")
        seconds = time.perf_counter() - started
        encode = make_encode_problem(prompts, session.tokenizer)
        asked = {
            "model": str(model_folder(settings.policy.model)),
            "problems": [
                {"prompt_token_ids": list(encode(row)), "reference_answer": row["reference_answer"]}
                for row in problems.to_pylist()
            ],
            "eos_ids": sorted(session.tokenizer.eos_ids),
            "separator": prompts.step_separator,
            "answer_mark": "####",
            "prior_length_exponent": PRIOR_LENGTH_EXPONENT,
            "max_model_len": session.max_model_len,
            "step_max_tokens": config.step_max_tokens,
            "max_depth": config.max_depth,
            "num_candidates": config.num_candidates,
            "num_simulations": config.num_simulations,
            "seed": turn,
        }
        numbers = {
            "seconds": seconds,
            "num_expansions": session.stats.num_requests - num_requests,
            "num_tokens": session.stats.completion_tokens - num_tokens,
            "solve_rate": _solve_rate(made.rollouts, problems.num_rows),
        }
    return numbers, asked


Search = Callable[[pa.Table, str], Awaitable[Rollouts]]


def _search(session: Session, prompts: PromptStyle, config: RolloutsConfig) -> Search:
    async def search(problems: pa.Table, night: str) -> Rollouts:
        return await search_rollouts(
            problems, session, prompts, config, night=night, grade=grade, extract_answer=extract_answer,
            evaluate=value_of_prior, evaluator_version="prior", recipes={TO_THE_END.name: TO_THE_END},
            max_model_len=session.max_model_len,
        )  # fmt: skip

    return search


def _solve_rate(rollouts: pa.Table, num_problems: int) -> float:
    right = rollouts.filter(pc.equal(rollouts["outcome_reward"], 1.0))
    return pc.count_distinct(right["problem_id"]).as_py() / num_problems


def search_theirs(python: str, asked: dict, problems: pa.Table) -> dict:
    """The peer's numbers."""
    done = subprocess.run([python, str(PEER_SCRIPT), "search"], input=json.dumps(asked), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{python} could not search:\n{done.stderr[-2000:]}")
    made = json.loads(done.stdout)
    num_solved = sum(_is_solved(row, paths) for row, paths in zip(problems.to_pylist(), made["paths"], strict=True))
    return {name: made[name] for name in ("seconds", "num_expansions", "num_tokens")} | {
        "solve_rate": num_solved / problems.num_rows
    }


def _is_solved(problem: dict, paths: list[list[str]]) -> bool:
    grader = problem["grader"]
    return any(grade(grader, problem, extract_answer(grader, "\n".join(steps)), steps) == 1.0 for steps in paths)


def _median(runs: list[dict]) -> dict:
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def as_markdown(result: dict) -> list[str]:
    rows = []
    for name in ("ours", "llm_reasoners"):
        one = result[name]
        rows.append([
            name, f"{one['seconds']:.1f}", f"{one['num_expansions']:,.0f}",
            f"{one['num_expansions'] / one['seconds']:.0f}", f"{one['num_tokens'] / one['seconds']:,.0f}",
            f"{one['solve_rate']:.3f}",
        ])  # fmt: skip
    header = ["", "seconds", "expansions", "expansions/s", "tokens/s", "solved"]
    asked = f"{result['num_problems']} problems, {result['num_simulations']} simulations each, "
    asked += f"{result['num_candidates']} candidates; medians of {len(result['turns'])} turns."
    lines = [*record.heading(result), asked, "", *record.table(header, rows), ""]
    return [*lines, f"Wall clock, llm-reasoners / ours: **{result['ratio']:.2f}**."]
