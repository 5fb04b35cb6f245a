"""Does PROF remove flawed answers that are right by luck? The dial family, where gold step labels tell.

    python -m tests.benchmarks prof_dial --config demo.toml --checkpoint checkpoints/process_critic/VERSION
    python -m tests.benchmarks prof_dial --data FOLDER     (AgentProcessBench alone, without a model)

Held-out dial problems of m choices and a level, in three worlds with few, some and many flawed-but-right answers: the
starter has about 10 % of them at m = 10, level 1, temperature 0.7, 25 % at m = 4, level 2, temperature 1, and 40 to
45 % at m = 2, level 2, temperature 1 (which problems were drawn moves each by some points). 16 samples each, 8 removed,
in every seed of sampling. Samples that the engine failed to give, and those without a grade or gold steps, are counted
beside each world; more failures than engine.max_error_fraction end the benchmark. Critics: the trained one;
`perfect` (1 for a right step, 0 for a wrong one); `noisy a` is logistic(2 * gold - 1 + s * z) with a normal z of the
problem and the text up to the step (equal prefixes have equal scores), and s found by bisection, so that the AUROC of
single steps, up to the first wrong one, is a; `as verdicts` is 1 where the trained one's score is above 0.5, else 0.
Flawed share: of the right answers, those with a wrong step.

By lot is the expected value of `random_removal`, which removes as many right and wrong samples as PROF: in a group it
changes no share, so in groups where a right sample went it differs from no filter by weight alone. Intervals: 95 %,
bootstrap over problems, the seeds of a problem together.
"""

import argparse
import asyncio
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pyarrow as pa

from assets.resources import prompts_of
from critics.evaluation import counted_steps
from critics.fold import unit_hash
from critics.metrics import auroc
from critics.score import load_critic
from pipelines.catalogue import METHODS
from pipelines.config import Settings, load_settings
from pipelines.curation import Curation
from pipelines.errors import SourceError
from pipelines.grading import extract_answer, graders_of
from pipelines.inference.engine_service import stop_engine
from pipelines.inference.session import Session, generate_session
from pipelines.rollouts import check_error_rate, gold_steps, sample_rollouts
from pipelines.starter import families
from pipelines.step_labels.solution import LabelledSolution
from pipelines.tables import SCHEMAS
from pipelines.trees.fields import json_lines
from tests.benchmarks import judges, record

RUN_ID = "benchmark-prof-dial"
WORLDS = ("10:1:0.7", "4:2", "2:2")  # m:level, or m:level:temperature
FAILED, UNGRADED, NO_GOLD = "failed", "ungraded", "no_gold_steps"
UNSCORED = "steps_without_a_score"  # taken as 0 here, and counted
AUROCS = (0.85, 0.7)
AGGREGATIONS = ("mean", "min")
NUM_RESAMPLES = 1000
SHARES = ("none", "lot", "prof")
NORMAL = NormalDist()


@dataclass(frozen=True)
class Sample:
    """A graded sample with the truth about its steps."""

    rollout_id: str
    problem_id: str
    group_id: str  # the problem in one seed of sampling
    steps: tuple[str, ...]
    is_right: tuple[bool, ...]  # gold, per step
    outcome: float

    @property
    def is_flawed(self) -> bool:
        return not all(self.is_right)


Scores = Sequence[Sequence[float]]
"""Scores of the steps of each sample."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--problems", type=int, default=150, help="held-out dial problems of each world")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of sampling")
    parser.add_argument("--samples", type=int, default=16, help="samples per problem (n)")
    parser.add_argument("--removed", type=int, default=8, help="removed per problem (k)")
    parser.add_argument(
        "--worlds", nargs="+", default=list(WORLDS), metavar="M:LEVEL[:T]", help="choices, level, temperature"
    )
    parser.add_argument("--checkpoint", type=Path, help="the trained critic; without it the dial family is left out")
    parser.add_argument("--data", type=Path, help="folder with agent-process-bench; without it that is left out")


def run(arguments: argparse.Namespace) -> None:
    """Measure what is asked for, save and show."""
    result: dict[str, object] = record.provenance() | {"n": arguments.samples, "k": arguments.removed}
    if arguments.checkpoint is None and arguments.data is None:
        raise SystemExit("Give --checkpoint (a folder of a trained critic), --data (a folder of data sets), or both.")
    if arguments.checkpoint is not None:
        settings = load_settings(arguments.config)
        try:
            result |= asyncio.run(_dials(settings, arguments))
        finally:
            stop_engine(settings, RUN_ID)
    if arguments.data is not None:
        try:
            result["agent_process_bench"] = agents_measured(arguments.data / "agent-process-bench")
        except SourceError as error:
            raise SystemExit(str(error)) from error
    record.save("prof_dial", arguments.out, result, as_markdown(result))


async def _dials(settings: Settings, arguments: argparse.Namespace) -> dict[str, object]:
    scorer = load_critic(arguments.checkpoint)
    prompts = prompts_of(settings)
    rows, worlds = [], []
    async with generate_session(settings, run_id=RUN_ID) as session:
        for m, level, heat in map(parsed_world, arguments.worlds):
            problems = dial_problems(arguments.problems, m, level)
            asked = {row["problem_id"]: prompts.verify_prompt(row) for row in problems.to_pylist()}
            samples, lost = [], Counter[str]()
            for seed in range(arguments.seeds):
                drawn = await _drawn(settings, session, problems, seed, arguments.samples, heat)
                one, gone = samples_of(problems, drawn, seed)
                samples, lost = samples + one, lost + gone
            num_drawn = len(samples) + lost.total()
            check_error_rate(lost[FAILED], num_drawn, settings.engine.max_error_fraction, f"m = {m}, level {level}")
            made = scorer.score([asked[one.problem_id] for one in samples], [one.steps for one in samples])
            if unscored := sum(one is None for of_steps in made for one in of_steps):
                lost[UNSCORED] = unscored
            trained = [[0.0 if one is None else one for one in of_steps] for of_steps in made]
            critics = {"trained": trained, "trained, as verdicts": verdicts(trained), **made_up_critics(samples)}
            worlds.append({"m": m, "level": level, "temperature": heat, **world(samples), "lost": dict(lost)})
            rows += [
                {"m": m, "level": level, **measured(name, samples, scores, aggregation, arguments.removed)}
                for name, scores in critics.items()
                for aggregation in (AGGREGATIONS if name == "trained" else AGGREGATIONS[:1])
            ]
            record.say(f"m = {m}, level {level}: done, {worlds[-1]}")
    return {"num_problems": arguments.problems, "num_seeds": arguments.seeds, "critic": scorer.version,
            "worlds": worlds, "rows": rows}  # fmt: skip


def dial_problems(count: int, m: int, level: int = families.DEFAULT_LEVEL) -> pa.Table:
    """Held-out dial problems, of other draws than the frozen ones."""
    found = families.generate("dial", level, count, seed=1, dial_choices=m, split="held_out")
    rows = [{**dict.fromkeys(SCHEMAS["problems"].names), **vars(problem), "source": "starter"} for problem in found]
    return pa.Table.from_pylist(rows, schema=SCHEMAS["problems"])


def parsed_world(text: str) -> tuple[int, int, float]:
    """(m, level, temperature of sampling) of a text such as 4:2 or 4:1:0.7; without a temperature it is 1."""
    found = re.fullmatch(r"(\d+):([1-4])(?::(\d+\.?\d*))?", text)
    if found is None or not 2 <= int(found[1]) <= 10:
        raise SystemExit(
            f"--worlds {text}: it must be M:LEVEL or M:LEVEL:TEMPERATURE, with 2 to 10 choices and a level from 1 to 4."
        )
    return int(found[1]), int(found[2]), float(found[3] or 1.0)


async def _drawn(
    settings: Settings, session: Session, problems: pa.Table, seed: int, n: int, temperature: float
) -> pa.Table:
    rollouts = settings.rollouts.model_copy(update={"seed": seed, "group_size": n, "temperature": temperature})
    drawn = await sample_rollouts(
        problems, session, prompts_of(settings), rollouts, night="prof-dial", grade=graders_of(settings),
        extract_answer=extract_answer, max_model_len=session.max_model_len or settings.policy.max_model_len,
    )  # fmt: skip
    return drawn.rollouts


def samples_of(problems: pa.Table, rollouts: pa.Table, seed: int) -> tuple[list[Sample], Counter[str]]:
    """(the samples with a grade and gold steps, how many others there are by reason)."""
    gold: dict[str, list[bool]] = {}
    for row in gold_steps(problems, rollouts).to_pylist():
        gold.setdefault(row["rollout_id"], []).append(row["is_right"])
    samples, lost = [], Counter[str]()
    for row in rollouts.to_pylist():
        reason = _reason(row, gold)
        if reason is None:
            samples.append(
                Sample(
                    f"{row['rollout_id']}-{seed}", row["problem_id"], f"{row['problem_id']}-{seed}",
                    tuple(row["steps"]), tuple(gold[row["rollout_id"]]), row["outcome_reward"],
                )
            )  # fmt: skip
        else:
            lost[reason] += 1
    return samples, lost


def _reason(row: Mapping[str, object], gold: Mapping[str, list[bool]]) -> str | None:
    """Why a rollout is no sample; None where it is one."""
    if row["error"] is not None:
        return FAILED
    if row["outcome_reward"] is None:
        return UNGRADED
    return None if row["rollout_id"] in gold else NO_GOLD


def verdicts(scores: Scores) -> list[list[float]]:
    """1 where a step is more likely right than wrong: what the critic says, without how sure it is of it."""
    return [[float(one > 0.5) for one in of_steps] for of_steps in scores]


def made_up_critics(samples: Sequence[Sample]) -> dict[str, list[list[float]]]:
    """The perfect critic, and it with noise up to each AUROC of single steps."""
    perfect = [[float(right) for right in one.is_right] for one in samples]
    draws = [normals(one) for one in samples]
    return {"perfect": perfect} | {f"noisy {goal}": with_auroc(goal, samples, draws) for goal in AUROCS}


def normals(sample: Sample) -> list[float]:
    """One normal draw per step, a function of the problem and the text up to the step."""
    texts = ["\n".join(sample.steps[: i + 1]) for i in range(len(sample.steps))]
    shares = [unit_hash(f"{sample.problem_id}\n{text}", "noise") for text in texts]
    return [NORMAL.inv_cdf(min(max(share, 1e-12), 1 - 1e-12)) for share in shares]


def with_auroc(goal: float, samples: Sequence[Sample], draws: Sequence[Sequence[float]]) -> list[list[float]]:
    """logistic(2 * gold - 1 + s * z) with the s at which the AUROC of single steps is `goal`, by bisection."""

    def scores(s: float) -> list[list[float]]:
        return [
            [1 / (1 + np.exp(-(2 * right - 1 + s * z))) for right, z in zip(one.is_right, of_steps, strict=True)]
            for one, of_steps in zip(samples, draws, strict=True)
        ]

    low, high = 0.0, 16.0
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if (step_auroc(samples, scores(middle)) or 0.0) > goal else (low, middle)
    return scores((low + high) / 2)


def step_auroc(samples: Sequence[Sample], scores: Scores) -> float | None:
    """AUROC of single steps, up to and including each sample's first wrong one."""
    solutions = [
        LabelledSolution(one.rollout_id, None, one.problem_id, one.steps, _first_error(one), "dial", "")
        for one in samples
    ]
    steps = counted_steps(solutions, list(scores))
    return auroc(steps.scores, steps.is_right)


def _first_error(sample: Sample) -> int:
    return next((i for i, right in enumerate(sample.is_right) if not right), -1)


def world(samples: Sequence[Sample]) -> dict[str, float | int]:
    """What the samples of one world are, before any filter."""
    right = [one for one in samples if one.outcome == 1.0]
    return {
        "num_samples": len(samples),
        "num_groups": len({one.group_id for one in samples}),
        "right_share": len(right) / len(samples),
        "flawed_share": float(np.mean([one.is_flawed for one in right])),
    }


def measured(
    critic: str, samples: Sequence[Sample], scores: Scores, aggregation: str, num_removed: int
) -> dict[str, object]:
    """Flawed shares of the kept right answers without a filter, by lot and by PROF, and where PROF did harm."""
    is_kept = prof_keeps(samples, scores, aggregation, num_removed)
    groups = group_counts(samples, is_kept)
    is_touched = np.array([group.num_kept < group.num_right for group in groups])
    problems = np.unique([group.problem_id for group in groups], return_inverse=True)[1]
    return {
        "critic": critic,
        "aggregation": aggregation,
        "step_auroc": step_auroc(samples, scores),
        "num_groups": len(groups),
        "num_touched": int(is_touched.sum()),
        "touched": shares_with_intervals(groups, problems, is_touched),
        "all": shares_with_intervals(groups, problems, np.ones(len(groups), dtype=bool)),
        "harm": harm(group for group, touched in zip(groups, is_touched, strict=True) if touched),
    }


@dataclass(frozen=True)
class GroupCounts:
    """The right samples of one group, and those of them that PROF kept."""

    problem_id: str
    num_right: int
    num_flawed: int
    num_kept: int
    num_flawed_kept: int

    @property
    def flawed_share(self) -> float:
        return self.num_flawed / self.num_right if self.num_right else 0.0

    @property
    def kept_flawed_share(self) -> float:
        return self.num_flawed_kept / self.num_kept if self.num_kept else 0.0


def group_counts(samples: Sequence[Sample], is_kept: Sequence[bool]) -> list[GroupCounts]:
    """One per group with a right sample."""
    found: dict[str, list[tuple[bool, bool]]] = {}
    problem_of = {one.group_id: one.problem_id for one in samples}
    for one, kept in zip(samples, is_kept, strict=True):
        if one.outcome == 1.0:
            found.setdefault(one.group_id, []).append((one.is_flawed, kept))
    return [
        GroupCounts(
            problem_of[group], len(rows), sum(flawed for flawed, _ in rows), sum(kept for _, kept in rows),
            sum(flawed and kept for flawed, kept in rows),
        )
        for group, rows in found.items()
    ]  # fmt: skip


def prof_keeps(samples: Sequence[Sample], scores: Scores, aggregation: str, num_removed: int) -> list[bool]:
    """What the catalogue's method says of every sample."""
    method: Curation | None = METHODS["prof"].curation
    rows = pa.table(
        {
            "position": pa.array(range(len(samples)), pa.int64()),
            "problem_id": [one.problem_id for one in samples],
            "rollout_id": [one.rollout_id for one in samples],
            "outcome_reward": pa.array([one.outcome for one in samples], pa.float64()),
            "step_values": pa.array([list(of_steps) for of_steps in scores], pa.list_(pa.float64())),
            "group_id": [one.group_id for one in samples],
        }
    )
    params = method.params(num_removed=num_removed, aggregation=aggregation)
    return method.run(rows, params)["kept"].to_pylist()


def shares_with_intervals(
    groups: Sequence[GroupCounts], problems: np.ndarray, is_chosen: np.ndarray
) -> dict[str, tuple[float, float, float]]:
    """none, lot, prof, and how far PROF is below each of the others, as value, low, high; of the chosen groups."""
    counts = np.zeros((problems.max() + 1 if len(problems) else 1, 6))
    for group, problem in zip(
        (g for g, c in zip(groups, is_chosen, strict=True) if c), problems[is_chosen], strict=True
    ):
        counts[problem] += (group.num_flawed, group.num_right, group.num_kept * group.flawed_share, group.num_kept,
                            group.num_flawed_kept, group.num_kept)  # fmt: skip
    draws = np.random.default_rng(0).integers(0, len(counts), (NUM_RESAMPLES, len(counts)))
    point, resampled = _shares(counts.sum(axis=0)), [_shares(counts[draw].sum(axis=0)) for draw in draws]
    low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
    names = (*SHARES, "fall", "fall_from_lot")
    return {name: (float(point[i]), float(low[i]), float(high[i])) for i, name in enumerate(names)}


def _shares(sums: np.ndarray) -> np.ndarray:
    none, lot, prof = (sums[2 * i] / sums[2 * i + 1] if sums[2 * i + 1] else 0.0 for i in range(3))
    return np.array([none, lot, prof, 1 - prof / none if none else 0.0, 1 - prof / lot if lot else 0.0])


def harm(touched: Sequence[GroupCounts]) -> dict[str, int | float]:
    """Groups in which the share of flawed answers rose, and what became of the right answers without a flaw."""
    groups = list(touched)
    mixed = [group for group in groups if 0 < group.num_flawed < group.num_right]
    worse = [group for group in mixed if group.kept_flawed_share > group.flawed_share]
    clean = sum(group.num_right - group.num_flawed for group in groups)
    clean_kept = sum(group.num_kept - group.num_flawed_kept for group in groups)
    flawed = sum(group.num_flawed for group in groups)
    lost = [group for group in groups if group.num_kept == group.num_flawed_kept and group.num_flawed < group.num_right]
    return {
        "num_mixed": len(mixed),
        "num_worse": len(worse),
        "num_only_flawed_left": sum(group.num_kept > 0 for group in lost),
        "num_without_flaw": sum(group.num_flawed == 0 for group in groups),
        "clean_removed": 1 - clean_kept / clean if clean else 0.0,
        "flawed_removed": 1 - sum(group.num_flawed_kept for group in groups) / flawed if flawed else 0.0,
    }


# -- AgentProcessBench -----------------------------------------------------------------------------------------------


def agents_measured(data: Path) -> list[dict[str, object]]:
    """Per subset and judge, 5 rollouts a query, 2 removed; steps by the judge, truth by people."""
    judges.check_files(data)
    rows = []
    for subset in judges.SUBSETS:
        rollouts = judges.read_rollouts(data, subset)
        outcomes = {row["record_id"]: float(row["final_label"] == 1)
                    for row, _ in json_lines(data / f"{subset}_human_labels.jsonl.gz")}  # fmt: skip
        for judge, scores in sorted(judges.read_judgements(data, rollouts, subset).items()):
            read = [one for one in rollouts if one.id in scores]
            samples = [agent_sample(one, outcomes[one.id]) for one in read]
            row = measured(judge, samples, [scores[one.id] for one in read], "mean", 2)
            rows.append({"subset": subset, "num_rollouts": len(samples), **row})
    return rows


def agent_sample(rollout: LabelledSolution, outcome: float) -> Sample:
    """A rollout with people's labels; steps after the first wrong one count as wrong, which no measure here reads."""
    right = rollout.label if rollout.label >= 0 else len(rollout.steps)
    is_right = (True,) * right + (False,) * (len(rollout.steps) - right)
    return Sample(rollout.id, rollout.group, rollout.group, rollout.steps, is_right, outcome)


# -- the tables ------------------------------------------------------------------------------------------------------


def as_markdown(result: Mapping[str, object]) -> list[str]:
    """The tables of a result."""
    lines = record.heading(result)
    if "rows" in result:
        lines += _dial_tables(result)
    if "agent_process_bench" in result:
        lines += _agent_tables(result["agent_process_bench"])
    return lines


def _dial_tables(result: Mapping[str, object]) -> list[str]:
    worlds = [
        [one["m"], one["level"], one["temperature"], f"{one['num_samples']:,}", f"{one['num_groups']:,}",
         f"{one['right_share']:.1%}", f"{one['flawed_share']:.1%}",
         ", ".join(f"{num:,} {name}" for name, num in one["lost"].items()) or "-"]
        for one in result["worlds"]
    ]  # fmt: skip
    scopes = {"touched": "groups in which PROF removed a right sample", "all": "all groups"}
    setting = (
        f"{result['num_problems']} held-out dial problems of each world, n = {result['n']}, k = {result['k']}, "
        f"{result['num_seeds']} seeds of sampling; trained critic {result['critic']}."
    )
    lines = [
        setting,
        "",
        *record.table(
            ["m", "level", "temperature", "samples", "groups", "right", "flawed of right", "left out"], worlds
        ),
    ]
    for scope, title in scopes.items():
        header = ["m", "level", "critic", "pooled by", "step AUROC", "groups", "no filter", "by lot", "PROF",
                  "falls by", "from lot by"]  # fmt: skip
        rows = [
            [row["m"], row["level"], row["critic"], row["aggregation"], f"{row['step_auroc']:.3f}",
             row["num_touched" if scope == "touched" else "num_groups"],
             *(_interval(row[scope][name]) for name in (*SHARES, "fall", "fall_from_lot"))]
            for row in result["rows"]
        ]  # fmt: skip
        lines += ["", f"Flawed share of the kept right answers, {title}:", "", *record.table(header, rows)]
    return [*lines, "", "Harm, in groups in which PROF removed a right sample:", "", *_harm_table(result["rows"])]


def _agent_tables(rows: Sequence[Mapping[str, object]]) -> list[str]:
    header = ["subset", "judge", "rollouts", "groups touched", "no filter", "PROF", "falls by"]
    cells = [
        [row["subset"], row["critic"], row["num_rollouts"], row["num_touched"],
         *(_interval(row["touched"][name]) for name in ("none", "prof", "fall"))]
        for row in rows
    ]  # fmt: skip
    return [
        "",
        "AgentProcessBench, 5 rollouts a query, 2 removed, a judge's step labels as scores, truth by people; the",
        "flawed share of the kept right rollouts in queries where PROF removed a right one. There are few of them: the",
        "intervals (bootstrap over queries) are what to read, and subsets are not pooled.",
        "",
        *record.table(header, cells),
    ]


def _harm_table(rows: Sequence[Mapping[str, object]]) -> list[str]:
    header = ["m", "level", "critic", "pooled by", "groups with both kinds", "share rose in", "only flawed left in",
              "groups without a flaw", "unflawed right removed", "flawed right removed"]  # fmt: skip
    cells = []
    for row in rows:
        one = row["harm"]
        cells.append([row["m"], row["level"], row["critic"], row["aggregation"], one["num_mixed"], one["num_worse"],
                      one["num_only_flawed_left"], one["num_without_flaw"], f"{one['clean_removed']:.1%}",
                      f"{one['flawed_removed']:.1%}"])  # fmt: skip
    return record.table(header, cells)


def _interval(numbers: Sequence[float]) -> str:
    value, low, high = numbers
    return f"{value:.1%} ({low:.1%} to {high:.1%})"
