"""What the search itself costs, with an engine that answers at once.

1. Simulations per second of `puct` on one core (64 simulations per tree, 4 candidates, every child valued; CPU time
   of this process), and in the shape of llm-reasoners (a simulation expands until its path is complete), where that
   package may be measured in the same world: give `--peer-python` an interpreter that has it (see peer.py).
2. CPU time per visited node, from 10 to 10,000 trees that are alive at once and in trees of 10 to 10,000 nodes (the
   second half of each tree's growth). Visited: every node on the way from the root to the leaf that a simulation
   expands, and every child it adds.
3. Simulations per second of the whole driver (prompts, tokens, tables) with the response store on, with its answers
   replayed, and without it; wall clock, because the store's writer is a thread of its own.

Medians of `--repeats` runs, the variants in turn.

    python -m tests.benchmarks overhead --peer-python PATH
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from pipelines.config import RolloutsConfig
from pipelines.grading import extract_answer, grade
from pipelines.inference.replay import replaying
from pipelines.inference.response_store import ResponseStore
from pipelines.inference.scripted import CharTokenizer
from pipelines.inference.types import Completion, GenerationRequest, Sample, UsageStats
from pipelines.problem_rows import UNFINISHED
from pipelines.reasoning.prompts import load_prompts
from pipelines.rollouts import search_rollouts
from pipelines.rows import rows_to_table
from pipelines.search.recipes import RECIPES
from pipelines.search.search import SearchFunctions, search_tree
from pipelines.search.tree import Tree
from pipelines.search.types import Candidate, Evaluation, SearchParams
from pipelines.search.types import Path as TreePath
from tests.benchmarks import record

NUM_CANDIDATES = 4
NUM_VALUES = 101  # different values in the instant world
PEER_SCRIPT = Path(__file__).parent / "peer_reasoners.py"
PEER_WORLDS = ((64, 4, 4), (4096, 4, 6))  # simulations of one tree, candidates, depth


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--repeats", type=int, default=5, help="runs of which the median is taken")
    parser.add_argument("--peer-python", help="an interpreter with llm-reasoners, to measure it in the same world")


def run(arguments: argparse.Namespace) -> None:
    """All three parts; without --peer-python the peer's lines are left out."""
    repeats = arguments.repeats
    result = record.provenance() | {
        "simulations_per_s": simulations_per_s(repeats),
        "to_the_end": [to_the_end(*world, repeats, arguments.peer_python) for world in PEER_WORLDS],
        "us_per_visited_node_by_trees": [trees_alive(count, repeats) for count in (10, 100, 1000, 10_000)],
        "us_per_visited_node_by_nodes": [nodes_per_tree(count, repeats) for count in (100, 1000, 10_000)],
        "driver": driver(repeats),
    }
    record.save("overhead", arguments.out, result, as_markdown(result))


def instant_world(max_depth: int = 10**9, num_candidates: int = NUM_CANDIDATES) -> SearchFunctions:
    """Steps and values that cost next to nothing; a path at `max_depth` is complete."""

    def step(index: int, is_terminal: bool) -> Candidate:
        return Candidate(f"s{index}", (index,), -0.1 * (index + 1), 0.9 - 0.1 * index, is_terminal, "request")

    inner, last = ([step(index, is_end) for index in range(num_candidates)] for is_end in (False, True))
    evaluations = [Evaluation(index * 7919 % NUM_VALUES / NUM_VALUES, None, 1) for index in range(NUM_VALUES)]

    async def propose(path: TreePath, num_candidates: int) -> list[Candidate]:
        return last if len(path.steps) + 1 == max_depth else inner

    async def evaluate(path: TreePath) -> Evaluation:
        return evaluations[(len(path.steps) * 37 + path.steps[-1].token_ids[0] * 13) % NUM_VALUES]

    return RECIPES["puct"].functions(propose, evaluate)


def grow(trees: Sequence[Tree], num_simulations: int, functions: SearchFunctions, **shape: object) -> float:
    """Seconds of CPU for so many more simulations of every tree."""
    chosen = {"num_candidates": NUM_CANDIDATES, "max_depth": 10**9} | shape
    params = SearchParams(num_simulations=num_simulations, **chosen)

    async def work() -> float:
        started = time.process_time()
        for tree in trees:
            await search_tree(tree, functions, params)
        return time.process_time() - started

    return asyncio.run(work())


def new_trees(count: int) -> list[Tree]:
    return [Tree(str(index), {}) for index in range(count)]


def simulations_per_s(repeats: int, num_trees: int = 200, num_simulations: int = 64) -> float:
    functions = instant_world()
    seconds = [grow(new_trees(num_trees), num_simulations, functions) for _ in range(repeats)]
    return num_trees * num_simulations / statistics.median(seconds)


def to_the_end(num_simulations: int, num_candidates: int, depth: int, repeats: int, peer_python: str | None) -> dict:
    """Simulations per second of trees of so many simulations, each of which expands until its path is complete."""
    num_trees = max(1, 4096 // num_simulations)
    functions = instant_world(depth, num_candidates)
    shape = {"max_depth": depth, "expand_to_end": True, "skip_exhausted": False, "num_candidates": num_candidates}
    ours, theirs = [], []
    for _ in range(repeats):
        ours.append(num_trees * num_simulations / grow(new_trees(num_trees), num_simulations, functions, **shape))
        if peer_python is not None:
            theirs.append(_peer_simulations_per_s(peer_python, num_trees, num_simulations, num_candidates, depth))
    world = {"num_simulations": num_simulations, "num_candidates": num_candidates, "depth": depth}
    return world | {"ours": statistics.median(ours), "llm_reasoners": statistics.median(theirs) if theirs else None}


def _peer_simulations_per_s(python: str, *world: int) -> float:
    asked = json.dumps(dict(zip(("num_trees", "num_simulations", "num_candidates", "depth"), world, strict=True)))
    run = subprocess.run([python, str(PEER_SCRIPT), "instant"], input=asked, capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(
            f"{python} cannot run llm-reasoners (see peer.py for how to install it):\n{run.stderr[-2000:]}"
        )
    return json.loads(run.stdout)["simulations_per_s"]


def trees_alive(num_trees: int, repeats: int, num_simulations: int = 16, num_turns: int = 4) -> dict:
    """All trees grow a little in turn, so that all are alive; few trees are measured many times over."""
    functions, times = instant_world(), max(1, 1000 // num_trees)

    def once() -> float:
        seconds, num_visited = 0.0, 0
        for _ in range(times):
            trees = new_trees(num_trees)
            for _ in range(num_turns):
                seconds += grow(trees, num_simulations // num_turns, functions)
            num_visited += sum(map(nodes_visited, trees))
        return seconds / num_visited

    return {"num_trees": num_trees, "us": 1e6 * statistics.median(once() for _ in range(repeats))}


def nodes_per_tree(num_nodes: int, repeats: int, num_simulations: int = 10_000) -> dict:
    """The second half of the growth of trees to this size, `num_simulations` simulations in all."""
    functions, half = instant_world(), max(1, num_nodes // NUM_CANDIDATES // 2)

    def once() -> float:
        trees = new_trees(max(1, num_simulations // half))
        grow(trees, half, functions)
        before = sum(map(nodes_visited, trees))
        return grow(trees, half, functions) / (sum(map(nodes_visited, trees)) - before)

    return {"num_nodes": 1 + 2 * half * NUM_CANDIDATES, "us": 1e6 * statistics.median(once() for _ in range(repeats))}


def nodes_visited(tree: Tree) -> int:
    """Nodes from the root to each expanded leaf, and the children added there."""
    return sum(depth + 1 + len(children) for depth, children in zip(tree.depth, tree.children, strict=True) if children)


class InstantModel:
    """A session that answers at once from ready-made samples, behind the store as every session is."""

    model_id = model_digest = "instant"
    steps = tuple(f"{index}+{index}={2 * index}\n" for index in range(10, 97))

    def __init__(self, store: ResponseStore | None) -> None:
        self.tokenizer = CharTokenizer()
        self.generate = replaying(self.answer, self.model_digest, store, UsageStats())
        self.step_samples = [self._sample(step, "stop") for step in self.steps]
        self.completed = [self._sample(f"{step}#### {index}\n", "stop") for index, step in enumerate(self.steps)]

    async def answer(self, request: GenerationRequest) -> Completion:
        pool = self.step_samples if request.purpose == "expand" else self.completed
        samples = tuple(pool[(request.seed + 7 * index) % len(pool)] for index in range(request.sampling.n))
        return Completion(request.request_id("instant"), samples, len(request.prompt_token_ids), 0, False)

    def _sample(self, text: str, finish_reason: str) -> Sample:
        token_ids = tuple(self.tokenizer.encode(text))
        return Sample(token_ids, text, tuple(-0.5 - 0.125 * (t % 7) for t in token_ids), finish_reason)


def driver(repeats: int, num_problems: int = 128, num_simulations: int = 8) -> dict:
    """Simulations per second of `search_rollouts`, by what the response store does."""
    rates: dict[str, list[float]] = {"without": [], "on": [], "replayed": []}
    for seed in range(repeats):
        rates["without"].append(_searched_per_s(None, num_problems, num_simulations, seed))
        with tempfile.TemporaryDirectory() as folder:
            ResponseStore(Path(folder) / "store").close()  # to make a store is no part of a search
            for kind in ("on", "replayed"):
                with ResponseStore(Path(folder) / "store") as store:
                    rates[kind].append(_searched_per_s(store, num_problems, num_simulations, seed))
    medians = {f"{kind}_per_s": statistics.median(values) for kind, values in rates.items()}
    return medians | {"on_to_without": medians["on_per_s"] / medians["without_per_s"]}


def _searched_per_s(store: ResponseStore | None, num_problems: int, num_simulations: int, seed: int) -> float:
    config = RolloutsConfig(num_simulations=num_simulations, num_candidates=NUM_CANDIDATES, max_depth=100, seed=seed)
    problem = {"family": "arithmetic", "difficulty": 1, "prompt": "2+3", "reference_answer": "5", "split": "train",
               "grader": "number", "is_evaluation": False, "source": "starter"}  # fmt: skip
    problems = rows_to_table("problems", [{"problem_id": f"p{index}"} | problem for index in range(num_problems)])
    session, prompts = InstantModel(store), load_prompts("starter")
    started = time.perf_counter()
    rollouts = asyncio.run(
        search_rollouts(problems, session, prompts, config, night="n", grade=grade, extract_answer=extract_answer)
    )
    if store is not None:
        store.flush()
    seconds = time.perf_counter() - started
    if rollouts.num_errors or set(rollouts.rollouts["error"].to_pylist()) != {UNFINISHED}:
        raise SystemExit("the instant world has answers or errors, and its simulations cannot be counted")
    return num_problems * num_simulations / seconds


def spread(points: Sequence[dict]) -> float:
    """Largest over smallest."""
    values = [point["us"] for point in points]
    return max(values) / min(values)


def as_markdown(result: dict) -> list[str]:
    by_trees, by_nodes = result["us_per_visited_node_by_trees"], result["us_per_visited_node_by_nodes"]
    in_driver, rate = result["driver"], f"{result['simulations_per_s']:,.0f}"
    shapes = [
        [w["num_simulations"], w["num_candidates"], w["depth"], _number(w["ours"]), _number(w["llm_reasoners"])]
        for w in result["to_the_end"]
    ]
    lines = record.heading(result)
    lines += [
        f"`puct`, {NUM_CANDIDATES} candidates, 64 simulations per tree: **{rate} simulations/s** of one core.",
        "",
    ]
    lines += record.table(["simulations in one tree", "candidates", "depth", "ours, per s", "llm-reasoners"], shapes)
    lines += ["", *record.table(["trees alive", "us per visited node"], _points(by_trees, "num_trees"))]
    lines += ["", *record.table(["nodes in a tree", "us per visited node"], _points(by_nodes, "num_nodes"))]
    lines += [
        "",
        f"Largest to smallest: {spread(by_trees):.2f} (trees alive), {spread(by_nodes):.2f} (nodes in a tree).",
    ]
    lines += [
        "",
        "The whole driver on a model that answers at once, simulations/s by what the response store does:",
        "",
    ]
    kinds = ("without", "on", "replayed")
    return lines + record.table(
        ["without", "on", "replayed", "on / without"],
        [[*(_number(in_driver[f"{kind}_per_s"]) for kind in kinds), f"{in_driver['on_to_without']:.2f}"]],
    )


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:,.0f}"


def _points(points: Sequence[dict], name: str) -> list[list[object]]:
    return [[f"{point[name]:,}", f"{point['us']:.2f}"] for point in points]
