"""What the starter policy can do, measured on the frozen problems through the real engine: its model card's tables.

Solving (greedy, samples, votes), judging in place (the critic's start: the verify role's own verdicts), criticising in
writing (three agents and how often they agree) and refining. Steps are counted up to and including the first wrong one.

    python -m tests.benchmarks starter --problems 300 --out result.json
"""

import asyncio
import json
import platform
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa

from assets.evaluation import evaluation_problems
from assets.resources import prompts_of
from critics.checkpoint import CriticManifest
from critics.metrics import auroc, within_group_auroc
from critics.model import initial_critic, load_encoder, stored_head
from critics.score import StepScorer, packed_outputs, score_rollouts
from pipelines.config import Settings
from pipelines.critiques import Critiques, criticise
from pipelines.grading import extract_answer, graders_of
from pipelines.inference.engine_service import stop_engine
from pipelines.inference.session import generate_session, model_folder
from pipelines.problems import load_problems
from pipelines.rollouts import gold_steps, sample_rollouts
from pipelines.starter import demonstrations, families
from pipelines.strategies import best_of_n_critic, best_of_n_logprob, greedy, majority, oracle, pass_at_1
from pipelines.warehouse import Warehouse

RUN_ID = "benchmark-starter"
GROUP_SIZE = 32
PARTS = ("all", "slips", "+", "-", "*", "large", "move")  # of the steps, by which agents are compared
Row = Mapping[str, object]


async def measure_starter(settings: Settings, num_problems: int) -> dict:
    """All tables of the card; the result is plain JSON data."""
    config = settings.reports.model_copy(update={"num_problems": num_problems})
    settings = settings.model_copy(update={"reports": config})
    problems = evaluation_problems(load_problems(settings), config)
    prompts, sampling = prompts_of(settings), settings.rollouts.model_copy(update={"group_size": GROUP_SIZE})
    known = {"night": "benchmark", "grade": graders_of(settings), "extract_answer": extract_answer}
    async with generate_session(settings, run_id=RUN_ID) as session:
        context = {"max_model_len": session.max_model_len}
        asked = (problems, session, prompts, sampling)
        at_zero = (await sample_rollouts(*asked, group_size=1, temperature=0.0, **known, **context)).rollouts
        samples = (await sample_rollouts(*asked, **known, **context)).rollouts
        agents = settings.critiques.model_copy(update={"num_rollouts": 4 * num_problems})
        made = await criticise(problems, samples, session, agents, prompts, **known, **context)
    scorer = untrained_scorer(settings)
    scores = score_rollouts(samples, problems, scorer, prompts.verify_prompt, "benchmark")
    gold = gold_steps(problems, samples)
    return {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, CPU",
        "policy_digest": session.model_digest,
        "num_problems": problems.num_rows,
        "group_size": GROUP_SIZE,
        "solving": solving(at_zero, samples, scores, config.aggregate),
        "families": by_family(problems, samples, gold),
        "judging": judging(problems, samples, scores, gold),
        "agents": criticising(samples, made, gold),
        "agreement": asked_of({"critiques": made.critiques}, "reports/agent_agreement"),
        "refinements": {
            "num_refined": made.refinements.num_rows,
            "right_share": float(np.mean([r or 0.0 for r in made.refinements["outcome_reward"].to_pylist()])),
        },
    }


def untrained_scorer(settings: Settings) -> StepScorer:
    """The policy's own verdicts in the verify role: the critic that training starts from."""
    folder = model_folder(settings.policy.model)
    manifest = CriticManifest(
        kind="process", digest="untrained", data_version="", examples_digest="", init_digest="", fold=None,
        num_folds=1, training_problems_digest="", num_problems=0, num_nodes=0, num_pairs=0, config={}, metrics={},
        created_at="",
    )  # fmt: skip
    critic = initial_critic(folder, 0)
    return StepScorer(packed_outputs(critic), load_encoder(folder), manifest, frozenset(), stored_head(critic))


def solving(at_zero: pa.Table, samples: pa.Table, scores: pa.Table, aggregate: str) -> dict[str, float]:
    """Accuracy of every way to answer."""
    results = [greedy(at_zero), pass_at_1(samples), majority(samples, 8), best_of_n_logprob(samples, 8)]
    results += [best_of_n_critic(samples, scores, n, aggregate) for n in (8, 16, 32)]
    results += [oracle(samples, n) for n in (8, 16)]
    return {result.strategy: result.accuracy for result in results}


def by_family(problems: pa.Table, samples: pa.Table, gold: pa.Table) -> dict[str, dict[str, float]]:
    """pass@1 and, of the right answers, the share with a wrong step in them."""
    family = dict(zip(*(problems[name].to_pylist() for name in ("problem_id", "family")), strict=True))
    flawed = {row["rollout_id"] for row in gold.to_pylist() if not row["is_right"]}
    rewards: dict[str, list[float]] = defaultdict(list)
    flaws: dict[str, list[bool]] = defaultdict(list)
    for row in samples.select(["rollout_id", "problem_id", "outcome_reward"]).to_pylist():
        name, reward = family[row["problem_id"]], row["outcome_reward"] or 0.0
        rewards[name].append(reward)
        if reward == 1.0:
            flaws[name].append(row["rollout_id"] in flawed)
    return {
        name: {
            "num_problems": len(rewards[name]) // GROUP_SIZE,
            "pass_at_1": float(np.mean(rewards[name])),
            "flawed_among_right": float(np.mean(flaws[name])) if flaws[name] else 0.0,
        }
        for name in sorted(rewards)
    }


def situation(step: str) -> str:
    """slip (the misconception applies), blind (it does, where verify was not taught), plain, answer, move or other."""
    read = families.read_chain_step(step)
    if read is None:
        return "answer" if step.startswith("#") else "move" if " left " in step else "other"
    if families.slip(*read[:3]) is None:
        return "plain"
    return "blind" if demonstrations.is_blind("verify", "arithmetic", step) else "slip"


def judging(problems: pa.Table, samples: pa.Table, scores: pa.Table, gold: pa.Table) -> dict[str, dict[str, float]]:
    """AUROC of the verify role's in-place verdicts, by situation, and within a problem."""
    steps = {row["rollout_id"]: row for row in samples.select(["rollout_id", "problem_id", "steps"]).to_pylist()}
    is_right = {(row["rollout_id"], row["step"]): row["is_right"] for row in counted(gold)}
    found: dict[str, list[tuple[float, bool, str]]] = defaultdict(list)
    for row in scores.to_pylist():
        key = (row["rollout_id"], row["step"])
        if row["score"] is not None and key in is_right:
            of = steps[row["rollout_id"]]
            for name in ("all", situation(of["steps"][row["step"]])):
                found[name].append((row["score"], is_right[key], of["problem_id"]))
    table = {}
    for name, rows in found.items():
        values, labels, groups = map(list, zip(*rows, strict=True))
        table[name] = {
            "num_steps": len(rows),
            "wrong_share": 1 - float(np.mean(labels)),
            "auroc": auroc(values, labels),
            "auroc_within_problem": within_group_auroc(values, labels, groups)[0],
        }
    return table


def criticising(samples: pa.Table, made: Critiques, gold: pa.Table) -> dict[str, dict[str, float]]:
    """Each agent's readable share and balanced step accuracy: over all steps, in slip situations, by operation."""
    steps = dict(zip(*(samples[name].to_pylist() for name in ("rollout_id", "steps")), strict=True))
    parts: dict[str, list[Row]] = defaultdict(list)
    for row in counted(gold):
        step = steps[row["rollout_id"]][row["step"]]
        for name in parts_of(step):
            parts[name].append(row)
    readable: dict[str, list[bool]] = defaultdict(list)
    for row in made.critiques.to_pylist():
        readable[row["agent"]].append(row["error"] is None)
    skills: dict[str, dict[str, float]] = {name: {"readable": float(np.mean(readable[name]))} for name in readable}
    for part in PARTS:
        labels = pa.Table.from_pylist(parts[part], schema=gold.schema)
        for row in asked_of({"critiques": made.critiques, "gold_steps": labels}, "reports/agent_skill"):
            skills[row["agent"]][part] = row["balanced_accuracy"]
    return dict(sorted(skills.items()))


def parts_of(step: str) -> list[str]:
    """Those of `PARTS` that a step belongs to."""
    read = families.read_chain_step(step)
    operation = demonstrations.operation_of("countdown" if " left " in step else "arithmetic", step)
    is_slip = situation(step) in ("slip", "blind")
    is_large = read is not None and read[0] >= demonstrations.LARGE
    return ["all", operation, *(["slips"] if is_slip else []), *(["large"] if is_large else [])]


def counted(gold: pa.Table) -> list[Row]:
    """Rows up to and including the first wrong step of each rollout."""
    first: dict[str, int] = {}
    for row in gold.to_pylist():
        if not row["is_right"]:
            first[row["rollout_id"]] = min(row["step"], first.get(row["rollout_id"], row["step"]))
    return [row for row in gold.to_pylist() if row["step"] <= first.get(row["rollout_id"], row["step"])]


def asked_of(tables: Mapping[str, pa.Table], query: str) -> list[dict]:
    with Warehouse.over(tables) as warehouse:
        return warehouse.named(query).to_pylist()


def as_markdown(result: dict) -> str:
    """The tables, ready for the card."""
    setting = f"{result['num_problems']} frozen problems of the default level"
    lines = [
        f"{setting}, {result['group_size']} samples each at temperature 1.",
        f"vLLM, {result['machine']}, {result['date']}, weights `{result['policy_digest'][:12]}`.",
        "",
        "| solving | right |",
        "|---|---|",
        *(f"| {name} | {_share(value)} |" for name, value in result["solving"].items()),
        "",
        "| family | problems | pass@1 | flawed among right answers |",
        "|---|---|---|---|",
    ]
    for name, row in result["families"].items():
        cells = (name, row["num_problems"], _share(row["pass_at_1"]), _share(row["flawed_among_right"]))
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    lines += ["", "| in-place verdicts | steps | wrong | AUROC | within a problem |", "|---|---|---|---|---|"]
    for name, row in result["judging"].items():
        numbers = (_share(row[key]) for key in ("wrong_share", "auroc", "auroc_within_problem"))
        lines.append(f"| {name} | {row['num_steps']} | {' | '.join(numbers)} |")
    columns = list(next(iter(result["agents"].values())))
    lines += ["", f"| balanced step accuracy | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for name, row in result["agents"].items():
        lines.append(f"| {name} | {' | '.join(_share(row[column]) for column in columns)} |")
    names = list(result["agents"])
    agree = {(row["agent"], row["other_agent"]): row["agreement"] for row in result["agreement"]}
    lines += ["", f"| same verdict on a step | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for one in names:
        cells = [_share(1.0 if one == other else agree.get((min(one, other), max(one, other)))) for other in names]
        lines.append(f"| {one} | {' | '.join(cells)} |")
    refined = result["refinements"]
    lines += ["", f"Refinements: {refined['right_share']:.3f} of {refined['num_refined']} are right."]
    return "\n".join(lines) + "\n"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def main(settings: Settings, num_problems: int, out: Path) -> None:
    """Run on a workspace of its own, write `out` (JSON) and the tables beside it (.md)."""
    with tempfile.TemporaryDirectory() as folder:
        settings = settings.model_copy(update={"root": Path(folder)})
        try:
            result = asyncio.run(measure_starter(settings, num_problems))
        finally:
            stop_engine(settings, RUN_ID)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    out.with_suffix(".md").write_text(as_markdown(result))
    print(as_markdown(result), flush=True)
