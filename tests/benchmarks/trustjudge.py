"""TrustJudge before and after, on a starter judge with real log-probabilities from the engine.

    python -m tests.benchmarks trustjudge --config demo.toml

The judge is the starter's verify role, which says <right> or <wrong> in place after a step, and reads a rollout alone
(2 is right, 1 is wrong) or two in one context (`pipelines/judges/pair_reader.py`).

Before: the likeliest grade; the likeliest label in both orders, a tie where they differ. After: `trustjudge_scores` and
`trustjudge_pairs` (likelihood). The tolerance says below which difference scores count as equal. Rates are
those of the catalogue's methods; intervals: 95 %, bootstrap over problems.
"""

import argparse
import asyncio
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import pyarrow.compute as pc

from assets.resources import prompts_of
from pipelines.config import Settings, load_settings
from pipelines.inference.engine_service import stop_engine
from pipelines.inference.session import generate_session
from pipelines.judges import position_consistency, score_comparison, transitivity, trustjudge_pairs, trustjudge_scores
from pipelines.judges.pair_reader import LABELS, TURNED, PairReader, Reading, labels, likeliest
from pipelines.lake import Lake
from pipelines.reasoning.prompts import PromptStyle
from tests.benchmarks import record
from tests.benchmarks.judge_consistency import Rate, as_table, rate

RUN_ID = "benchmark-trustjudge"
JUDGE = "verify role"
GRADES = {"right": "2", "wrong": "1"}
TOLERANCES = (0.0, 0.5)


@dataclass(frozen=True)
class Judged:
    """A rollout, read alone."""

    rollout_id: str
    problem_id: str
    is_flawless: bool  # gold
    reading: Reading


@dataclass(frozen=True)
class Pair:
    """Two rollouts of a problem, read in both orders."""

    first: Judged
    second: Judged
    p_second: float  # of the second, read after the first
    p_first_swapped: float  # of the first, read after the second

    @property
    def given(self) -> dict[str, float]:
        return labels(self.first.reading.p, self.p_second)

    @property
    def swapped(self) -> dict[str, float]:
        """In the swapped order, `first` is the one shown first there."""
        return labels(self.second.reading.p, self.p_first_swapped)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--problems", type=int, default=60, help="problems of the lake with four different rollouts")


def run(arguments: argparse.Namespace) -> None:
    """Judge, count, save and show."""
    settings = load_settings(arguments.config)
    try:
        pairs = asyncio.run(_judge(settings, arguments.problems))
    finally:
        stop_engine(settings, RUN_ID)
    rates = measured(pairs)
    result = record.provenance() | {"num_pairs": len(pairs), "rates": [asdict(one) for one in rates]}
    record.save("trustjudge", arguments.out, result, [*record.heading(result), *as_markdown(rates)])


async def _judge(settings: Settings, num_problems: int) -> list[Pair]:
    prompts = prompts_of(settings)
    groups, asked = _rollouts(settings, prompts, num_problems)
    async with generate_session(settings, run_id=RUN_ID) as session:
        reader = PairReader(session, prompts.step_separator)
        rows = list(itertools.chain(*groups))
        readings = await asyncio.gather(*(reader.alone(asked[row["problem_id"]], row["steps"]) for row in rows))
        singles = [
            Judged(row["rollout_id"], row["problem_id"], row["is_flawless"], reading)
            for row, reading in zip(rows, readings, strict=True)
        ]
        by_problem: dict[str, list[Judged]] = {}
        for one in singles:
            by_problem.setdefault(one.problem_id, []).append(one)
        combined = [pair for group in by_problem.values() for pair in itertools.combinations(group, 2)]
        return list(
            await asyncio.gather(*(_pair(reader, asked[one.problem_id], one, other) for one, other in combined))
        )


async def _pair(reader: PairReader, prompt: str, one: Judged, other: Judged) -> Pair:
    """The telling step of each, read after the whole of the other."""
    p_second = await reader.after(prompt, one.reading, other.reading)
    return Pair(one, other, p_second, await reader.after(prompt, other.reading, one.reading))


def _rollouts(
    settings: Settings, prompts: PromptStyle, num_problems: int
) -> tuple[list[list[dict[str, object]]], dict[str, str]]:
    """Four different samples of each of the first problems that have so many, with gold; and the judge's prompts."""
    lake = Lake(settings.lake_url)
    problems = {row["problem_id"]: row for row in lake.read("problems").to_pylist()}
    flawless: dict[str, bool] = {}
    for row in lake.read("gold_steps", columns=["rollout_id", "is_right"]).to_pylist():
        flawless[row["rollout_id"]] = flawless.get(row["rollout_id"], True) and row["is_right"]
    table = lake.read("rollouts", columns=["rollout_id", "problem_id", "steps", "outcome_reward", "recipe"])
    groups: dict[str, dict[tuple[str, ...], dict[str, object]]] = {}
    rows = table.filter(pc.equal(table["recipe"], "independent_samples")).sort_by("rollout_id").to_pylist()
    for row in rows:
        if row["steps"] and row["rollout_id"] in flawless:
            is_flawless = flawless[row["rollout_id"]] and row["outcome_reward"] == 1.0
            groups.setdefault(row["problem_id"], {}).setdefault(tuple(row["steps"]), row | {"is_flawless": is_flawless})
    chosen = [list(groups[name].values())[:4] for name in sorted(groups) if len(groups[name]) >= 4][:num_problems]
    asked = {group[0]["problem_id"]: prompts.verify_prompt(problems[group[0]["problem_id"]]) for group in chosen}
    return chosen, asked


# -- before and after ------------------------------------------------------------------------------------------------


def measured(pairs: Sequence[Pair]) -> list[Rate]:
    """Inconsistency of positions, of scores against verdicts, of triples; and the share of pairs judged wrongly."""
    before = [both_orders(pair) for pair in pairs]
    after = aggregated(pairs)
    grades = scores(pairs)
    rates = [position_rate(pairs)]
    for name, verdicts in (("before", before), ("after", after)):
        which = "top_score" if name == "before" else "score"
        for tolerance in TOLERANCES[:1] if name == "before" else TOLERANCES:
            rates.append(comparison_rate(f"{name}, tolerance {tolerance}", pairs, verdicts, grades, which, tolerance))
    for name, verdicts in (("before", before), ("after", after)):
        rates += triple_rates(name, pairs, verdicts)
    for name, verdicts in (("before", before), ("after", after)):
        rates.append(error_rate(name, pairs, verdicts))
    return rates


def both_orders(pair: Pair) -> str:
    """The likeliest label where both orders agree, else a tie."""
    turned = TURNED[likeliest(pair.swapped)]
    return turned if turned == likeliest(pair.given) else "tie"


def aggregated(pairs: Sequence[Pair]) -> list[str]:
    """TrustJudge's verdicts by likelihood."""
    rows = [
        {f"p_{label}": pair.given[label] for label in LABELS}
        | {f"p_{label}_swapped": pair.swapped[label] for label in LABELS}
        for pair in pairs
    ]
    found = trustjudge_pairs.run(as_table(trustjudge_pairs.CURATION, rows), trustjudge_pairs.PairParams())
    return found["aggregated_verdict"].to_pylist()


def scores(pairs: Sequence[Pair]) -> dict[str, dict[str, float]]:
    """Rollout -> top_score (before) and score (after)."""
    rollouts = {one.rollout_id: one for pair in pairs for one in (pair.first, pair.second)}
    tops = [[[], list(GRADES.values()), []] for _ in rollouts]
    rows = [
        {"tokens": ["[", GRADES["right"], "]"], "top_tokens": top, "top_logprobs": [[], list(one.reading.logprobs), []]}
        for one, top in zip(rollouts.values(), tops, strict=True)
    ]
    params = trustjudge_scores.ScoreParams(min_score=1, max_score=2)
    found = trustjudge_scores.run(as_table(trustjudge_scores.CURATION, rows), params).to_pylist()
    return {
        name: {"top_score": one["top_score"], "score": one["score"]} for name, one in zip(rollouts, found, strict=True)
    }


def position_rate(pairs: Sequence[Pair]) -> Rate:
    """How often the likeliest label changes with the order; TrustJudge's verdict has no order."""
    rows = []
    for pair in pairs:
        key = {"judge": pair.first.problem_id, "pair_id": f"{pair.first.rollout_id}:{pair.second.rollout_id}"}
        shown = (pair.first.rollout_id, pair.second.rollout_id)
        for (first, second), said in ((shown, pair.given), (shown[::-1], pair.swapped)):
            rows.append(key | {"first_id": first, "second_id": second, "verdict": likeliest(said)})
    table = as_table(position_consistency.CURATION, rows)
    found = position_consistency.run(table, position_consistency.PositionParams()).to_pylist()
    bad = [row["num_pairs"] - row["num_consistent"] for row in found]
    return rate("starter", JUDGE, "position, before", [row["num_pairs"] for row in found], bad, 0)


def comparison_rate(
    name: str,
    pairs: Sequence[Pair],
    verdicts: Sequence[str],
    grades: Mapping[str, Mapping[str, float]],
    which: str,
    tolerance: float,
) -> Rate:
    """Pairs whose verdict contradicts the difference of the single scores."""
    rows = [
        {"score_first": grades[pair.first.rollout_id][which], "score_second": grades[pair.second.rollout_id][which],
         "verdict": said, "verdict_swapped": TURNED[said]}
        for pair, said in zip(pairs, verdicts, strict=True)
    ]  # fmt: skip
    params = score_comparison.ComparisonParams(tolerance=tolerance)
    reasons = score_comparison.run(as_table(score_comparison.CURATION, rows), params)["reason"].to_pylist()
    return _by_problem(f"score comparison, {name}", pairs, [reason is not None for reason in reasons])


def triple_rates(name: str, pairs: Sequence[Pair], verdicts: Sequence[str]) -> list[Rate]:
    """Triples with a circle, and with a circle or a broken equality."""
    rows = [
        {"judge": None, "question_id": pair.first.problem_id, "first_id": pair.first.rollout_id,
         "second_id": pair.second.rollout_id, "verdict": said}
        for pair, said in zip(pairs, verdicts, strict=True)
    ]  # fmt: skip
    table, params = as_table(transitivity.CURATION, rows), transitivity.TransitivityParams(max_subset=3)
    found = transitivity.subset_counts(table, params).to_pylist()
    totals = [row["num_subsets"] for row in found]
    return [
        rate("starter", JUDGE, f"{measure}, {name}", totals, [row[column] for row in found], 0)
        for measure, column in (("circles of 3", "num_circle"), ("circles or broken equalities of 3", "num_bad"))
    ]


def error_rate(name: str, pairs: Sequence[Pair], verdicts: Sequence[str]) -> Rate:
    """Of the pairs with one flawless rollout: where the verdict is not that one, ties included."""
    told = [
        (pair, said != ("first" if pair.first.is_flawless else "second"))
        for pair, said in zip(pairs, verdicts, strict=True)
        if pair.first.is_flawless != pair.second.is_flawless
    ]
    return _by_problem(f"flawless one not chosen, {name}", [pair for pair, _ in told], [bad for _, bad in told])


def _by_problem(measure: str, pairs: Sequence[Pair], bad: Sequence[bool]) -> Rate:
    counts: dict[str, list[int]] = {}
    for pair, one in zip(pairs, bad, strict=True):
        of_problem = counts.setdefault(pair.first.problem_id, [0, 0])
        of_problem[0] += 1
        of_problem[1] += one
    return rate("starter", JUDGE, measure, [n for n, _ in counts.values()], [b for _, b in counts.values()], 0)


def as_markdown(rates: Sequence[Rate]) -> list[str]:
    """One line per measure."""
    rows = [
        [one.measure, f"{one.rate:.3f} ({one.low:.3f} to {one.high:.3f})", f"{one.num_bad:,} of {one.num_items:,}",
         one.num_questions]
        for one in rates
    ]  # fmt: skip
    return record.table(["measure", "rate", "count", "problems"], rows)
