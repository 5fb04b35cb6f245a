"""What writing a critique first does for a critic (CLoud), on the rollouts of a lake.

Two critics learn from the graded rollouts of some problems alone (never from gold step labels): one writes a critique
before it scores, the other is the same reward model without any (`cloud_critic.num_critiques = 0`), in as many steps of
the joint loss. Both, and the policy's own verdict on each step, untrained, are judged on samples of problems that
neither has seen: pairs of a right and a wrong whole rollout of one problem, and the gold steps of the starter's
generator. A critic's score of a step is that of the solution up to it. Thresholds are tuned on the judged solutions,
in all rows alike.

    python -m tests.benchmarks cloud --lake FOLDER
"""

import argparse
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from assets.resources import prompts_of
from critics.cloud import CloudExample, cloud_examples, load_cloud_critic, pairs_of
from critics.cloud_train import train_cloud_critic
from critics.evaluation import Measures, evaluate
from critics.metrics import pair_accuracy
from critics.model import initial_critic, load_encoder
from critics.score import padded_outputs
from pipelines.config import CloudCriticConfig, Settings, load_settings
from pipelines.inference.session import model_folder
from pipelines.lake import Lake
from pipelines.records import stable_seed
from pipelines.step_labels.solution import LabelledSolution
from pipelines.trees.fields import Place
from tests.benchmarks import record

CONFIG = CloudCriticConfig(sft_steps=20, steps=50, eval_every=25, validation_fraction=0.2, max_tokens=64)
WITHOUT = CONFIG.model_copy(update={"num_critiques": 0})
CRITICS = {"critique, then score": CONFIG, "the same without critiques": WITHOUT}
OWN = "the policy's own verdict, untrained"

Scores = list[list[float]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lake", type=Path, required=True, help="a lake with gold_steps of the starter's problems")
    parser.add_argument("--share", type=float, default=0.25, help="share of the problems that are learned from")
    parser.add_argument("--solutions", type=int, default=400, help="judged samples, at most")
    parser.add_argument("--seed", type=int, default=0)


def run(arguments: argparse.Namespace) -> None:
    """Both critics and the policy's verdict on one split of the problems."""
    settings, lake = load_settings(arguments.config), Lake(arguments.lake)
    agent, prompts = settings.critiques.agents[0], prompts_of(settings)
    tables = [lake.read(name) for name in ("problems", "rollouts", "critiques")]
    examples = cloud_examples(*tables, prompts, agent)
    is_learned = {
        one.problem_id: stable_seed("cloud benchmark", arguments.seed, one.problem_id) < arguments.share * 2**31
        for one in examples
    }
    learned = [one for one in examples if is_learned[one.problem_id]]
    solutions, outcomes = judged_solutions(lake, is_learned, arguments.solutions, arguments.seed)
    folder = model_folder(settings.policy.model)
    rows = {OWN: row(solutions, outcomes, own_verdicts(settings, folder, solutions), 0.0, None)}
    for name, config in CRITICS.items():
        config = config.model_copy(update={"seed": arguments.seed})
        scores, seconds, metrics = trained_scores(settings, config, learned, folder, solutions)
        rows[name] = row(solutions, outcomes, scores, seconds, metrics)
        record.say(f"{name}: {rows[name]}")
    result = record.provenance() | {
        "num_learned": len(learned), "num_learned_problems": sum(is_learned.values()), "num_solutions": len(solutions),
        "num_problems": len({one.problem_id for one in solutions}), "steps": [CONFIG.sft_steps, CONFIG.steps],
        "rows": rows,
    }  # fmt: skip
    record.save("cloud", arguments.out, result, as_markdown(result))


def judged_solutions(
    lake: Lake, is_learned: dict[str, bool], num: int, seed: int
) -> tuple[list[LabelledSolution], list[float]]:
    """Graded samples of problems that nobody learned from, with gold steps, and their grades."""
    gold: dict[str, dict[int, bool]] = {}
    for step in lake.read("gold_steps").to_pylist():
        gold.setdefault(step["rollout_id"], {})[step["step"]] = step["is_right"]
    problems = {problem["problem_id"]: problem for problem in lake.read("problems").to_pylist()}
    found = [
        rollout
        for rollout in sorted(lake.read("rollouts").to_pylist(), key=lambda rollout: rollout["rollout_id"])
        if rollout["group_id"] and rollout["steps"] and rollout["outcome_reward"] is not None
        and is_learned.get(rollout["problem_id"]) is False
        and len(gold.get(rollout["rollout_id"], ())) == len(rollout["steps"])
    ]  # fmt: skip
    chosen = random.Random(seed).sample(found, min(num, len(found)))
    solutions = []
    for line, rollout in enumerate(chosen):
        wrong = [step for step, is_right in sorted(gold[rollout["rollout_id"]].items()) if not is_right]
        problem = problems[rollout["problem_id"]]
        solutions.append(
            LabelledSolution(
                id=rollout["rollout_id"],
                problem=problem["prompt"],
                problem_id=rollout["problem_id"],
                steps=tuple(rollout["steps"]),
                label=wrong[0] if wrong else -1,
                subset=problem["family"],
                place=Place("gold_steps", line),
            )
        )
    return solutions, [rollout["outcome_reward"] for rollout in chosen]


def trained_scores(
    settings: Settings,
    config: CloudCriticConfig,
    examples: Sequence[CloudExample],
    folder: Path,
    solutions: Sequence[LabelledSolution],
) -> tuple[Scores, float, dict[str, float]]:
    """(scores, CPU seconds of training, its metrics)."""
    agent, prompts = settings.critiques.agents[0], prompts_of(settings)
    with tempfile.TemporaryDirectory() as out:
        started = time.process_time()
        trained = train_cloud_critic(examples, config, prompts, folder, Path(out) / "critic")
        seconds = time.process_time() - started
        scorer = load_cloud_critic(trained.folder, config, prompts, agent)
        asked = [prompts.verify_prompt({"prompt": one.problem}) for one in solutions]
        return scorer.score(asked, [one.steps for one in solutions]), seconds, dict(trained.metrics)


@torch.no_grad()
def own_verdicts(settings: Settings, folder: Path, solutions: Sequence[LabelledSolution]) -> Scores:
    """P(<right>) / (P(<right>) + P(<wrong>)) of the policy behind each step."""
    encoder, prompts = load_encoder(folder), prompts_of(settings)
    encoded = [encoder.encode(prompts.verify_prompt({"prompt": one.problem}), one.steps) for one in solutions]
    ids, ends = zip(*encoded, strict=True)
    return [torch.sigmoid(logits[:, 0]).tolist() for logits in padded_outputs(initial_critic(folder, 0))(ids, ends)]


def row(
    solutions: Sequence[LabelledSolution],
    outcomes: Sequence[float],
    scores: Scores,
    seconds: float,
    metrics: dict[str, float] | None,
) -> dict:
    """What is known of one judge; plain data. A whole rollout's score is that of its last step."""
    last = [of_steps[-1] for of_steps in scores]
    lowest = [min(of_steps) for of_steps in scores]
    pairs = pairs_of([one.problem_id for one in solutions], outcomes)
    weights = [weight for _, _, weight in pairs]

    def accuracy(of_rollout: Sequence[float]) -> float | None:
        return pair_accuracy([of_rollout[r] for r, _, _ in pairs], [of_rollout[w] for _, w, _ in pairs], weights)

    measures: Measures = evaluate(solutions, scores).overall
    return {
        "pair_accuracy_last": accuracy(last), "pair_accuracy_min": accuracy(lowest), "num_pairs": len(pairs),
        "f1": measures.f1, "f1_interval": measures.f1_interval, "step_auroc": measures.step_auroc,
        "within_problem_auroc": measures.within_problem_auroc, "training_cpu_s": seconds, "training": metrics,
    }  # fmt: skip


def as_markdown(result: dict) -> list[str]:
    """The numbers as a table."""
    rows = [
        [
            name, *(_number(one[key]) for key in ("pair_accuracy_last", "pair_accuracy_min", "within_problem_auroc")),
            _number(one["f1"]), " to ".join(_number(bound) for bound in one["f1_interval"] or ()),
            f"{one['training_cpu_s']:.0f}", _kept(one["training"]),
        ]
        for name, one in result["rows"].items()
    ]  # fmt: skip
    header = ["judge", "pairs, last step", "pairs, lowest step", "steps within problem", "first-error F1", "95 %"]
    num_pairs = next(iter(result["rows"].values()))["num_pairs"]
    setting = (
        f"Learned from {result['num_learned']} graded rollouts of {result['num_learned_problems']} problems "
        f"({result['steps'][0]} steps on critiques, {result['steps'][1]} of the joint loss); judged on "
        f"{result['num_solutions']} samples of {result['num_problems']} others, {num_pairs} pairs of a right and a "
        "wrong one of a problem, each problem counted once. CPU seconds are of training; kept is the step of the joint "
        "loss with the lowest loss on held-out problems: at 0 nothing was learned in so few steps."
    )
    return [*record.heading(result), setting, "", *record.table([*header, "CPU s", "kept"], rows)]


def _kept(training: dict[str, float] | None) -> str:
    return "–" if training is None else f"{training['best_step']:.0f} of {training['last_step']:.0f}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
