"""Consistency of recorded judges, through the methods of the catalogue: position, single scores, circles.

Reads llmbar, judgebench, mt-bench and pandalm-testset (gzipped json lines, one folder each). Left out of the position
table are judges that score each answer alone (LLMBar's Rating, JudgeBench's reward models), which cannot depend on the
order. LLMBar's Swap_CoT counts with its last answer. Intervals: 95 %, bootstrap over questions.
"""

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipelines.curation import Curation
from pipelines.errors import SourceError
from pipelines.judges import position_consistency, score_comparison, transitivity
from pipelines.judges.position_consistency import PositionParams
from pipelines.judges.score_comparison import ComparisonParams
from pipelines.judges.transitivity import TransitivityParams, subset_counts
from pipelines.trees.fields import json_lines
from tests.benchmarks.copy_limit import Timed, timed

FILES = (
    "llmbar/judgments.jsonl.gz",
    "judgebench/judgments.jsonl.gz",
    "judgebench/pairs.jsonl.gz",
    "mt-bench/pair_judgments_gpt4.jsonl.gz",
    "pandalm-testset/testset.jsonl.gz",
)
NUM_RESAMPLES = 1000
SEPARATOR = "\x1f"  # between judge and question, so that one call of a method counts both

Row = Mapping[str, object]


@dataclass(frozen=True)
class Rate:
    """A share of a judge's pairs or subsets, with its interval over questions."""

    data: str
    judge: str
    measure: str  # position | score_comparison | circles_3 | equalities_3 | bad_3 | ...
    num_questions: int
    num_items: int  # pairs, or subsets of answers
    num_bad: int
    rate: float
    low: float
    high: float
    num_left_out: int  # could not be read, or one order only
    note: str = ""


def measured(folder: Path | None) -> list[Rate]:
    """All rates; SourceError says which files are missing."""
    check_files(folder)
    rates = []
    for data, read in READERS.items():
        rates += position_rates(data, list(read(folder)))
    rates += score_rates("llmbar", rated_pairs(folder))
    return rates + circle_rates("pandalm-testset", list(pandalm_verdicts(folder)))


def check_files(folder: Path | None) -> None:
    """Raises SourceError unless all files are there."""
    missing = [name for name in FILES if folder is None or not (folder / name).is_file()]
    if missing:
        where = "No folder is given" if folder is None else f"{folder} lacks files"
        what = f"--data must name a folder that holds the data sets; missing are {', '.join(missing)}"
        raise SourceError(f"{where}: {what}.")


# readers: what was shown first, and the verdict in those terms ------------------------------------


def verdict(judge: str, question: str, pair: str, shown: tuple[str, str], winner: object) -> Row:
    """A row of `judge_position_consistency`; `winner` is one of the two ids, "tie", or anything else: unreadable."""
    said = {shown[0]: "first", shown[1]: "second", "tie": "tie"}.get(str(winner))
    return {
        "judge": judge + SEPARATOR + question,
        "pair_id": pair,
        "first_id": shown[0],
        "second_id": shown[1],
        "verdict": said,
    }


def llmbar_verdicts(folder: Path) -> Iterable[Row]:
    for row, _ in json_lines(folder / FILES[0]):
        if row["strategy"] == "Rating":
            continue
        judge, question = f"{row['evaluator']} {row['strategy']}", f"{row['subset']}:{row['index']}"
        orders = row["results"][-1]
        yield verdict(judge, question, question, ("1", "2"), orders["swap = False"]["winner"])
        yield verdict(judge, question, question, ("2", "1"), orders["swap = True"]["winner"])


def judgebench_verdicts(folder: Path) -> Iterable[Row]:
    questions = {row["pair_id"]: row["question"] for row, _ in json_lines(folder / FILES[2])}
    for row, _ in json_lines(folder / FILES[1]):
        if row["judge_name"] == "reward_model":
            continue
        pair = row["pair_id"]
        for shown, one in zip((("A", "B"), ("B", "A")), row["judgments"], strict=True):
            decision = (one or {}).get("decision")
            winner = {"A>B": shown[0], "B>A": shown[1], "A=B": "tie"}.get(str(decision))
            yield verdict(row["judge_model"], questions[pair], pair, shown, winner)


def mt_bench_verdicts(folder: Path) -> Iterable[Row]:
    for row, _ in json_lines(folder / FILES[3]):
        question = str(row["question_id"])
        pair = f"{question}:{row['turn']}"
        yield verdict(row["judge"][0], question, pair, ("model_1", "model_2"), row["g1_winner"])
        yield verdict(row["judge"][0], question, pair, ("model_2", "model_1"), row["g2_winner"])


READERS: dict[str, Callable[[Path], Iterable[Row]]] = {
    "llmbar": llmbar_verdicts,
    "judgebench": judgebench_verdicts,
    "mt-bench": mt_bench_verdicts,
}


def rated_pairs(folder: Path) -> list[Row]:
    """LLMBar's single ratings beside the verdicts of the same evaluator (Vanilla) in both orders."""
    vanilla, rated = {}, {}
    for row, _ in json_lines(folder / FILES[0]):
        key = (row["evaluator"], row["subset"], row["index"])
        if row["strategy"] == "Vanilla":
            vanilla[key] = row["results"][-1]
        elif row["strategy"] == "Rating":
            rated[key] = row["results"][-1]
    return [
        {
            "judge": key[0],
            "score_first": _number(of_key["score_1"][0]),
            "score_second": _number(of_key["score_2"][0]),
            "verdict": {"1": "first", "2": "second"}.get(vanilla[key]["swap = False"]["winner"]),
            "verdict_swapped": {"2": "first", "1": "second"}.get(vanilla[key]["swap = True"]["winner"]),
        }
        for key, of_key in sorted(rated.items())
        if key in vanilla
    ]


def _number(text: str | None) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


def pandalm_verdicts(folder: Path) -> Iterable[Row]:
    judges = {"annotator1": "person 1", "annotator2": "person 2", "annotator3": "person 3",
              "gpt_result": "GPT-3.5-turbo", "pandalm_result": "PandaLM-7B"}  # fmt: skip
    said = {"0": "tie", "1": "first", "2": "second", "Tie": "tie"}
    for row, _ in json_lines(folder / FILES[4]):
        first, _, second = row["cmp_key"].partition("_")
        for field, judge in judges.items():
            yield {
                "judge": judge,
                "question_id": f"{row['instruction']}{SEPARATOR}{row['input']}",
                "first_id": first,
                "second_id": second,
                "verdict": said.get(str(row[field])),
            }


# rates -------------------------------------------------------------------------------------------


def position_rates(data: str, rows: Sequence[Row]) -> list[Rate]:
    """Position inconsistency of every judge of one data set, the pairs counted by question."""
    found = position_consistency.run(as_table(position_consistency.CURATION, rows), PositionParams()).to_pylist()
    rates = []
    for judge in sorted({row["judge"].split(SEPARATOR)[0] for row in found}):
        own = [row for row in found if row["judge"].split(SEPARATOR)[0] == judge]
        bad = [row["num_pairs"] - row["num_consistent"] for row in own]
        left_out = sum(row["num_one_order"] + row["num_unreadable"] for row in own)
        firsts, seconds, ties = (
            sum(row[name] for row in own) for name in ("num_first_twice", "num_second_twice", "num_half_ties")
        )
        note = f"first twice {firsts}, second twice {seconds}, one tie {ties}"
        rates.append(rate(data, judge, "position", [row["num_pairs"] for row in own], bad, left_out, note))
    return rates


def score_rates(data: str, rows: Sequence[Row]) -> list[Rate]:
    """Score-comparison inconsistency; every row is a question of its own."""
    rates = []
    for judge in sorted({row["judge"] for row in rows}):
        own = [row for row in rows if row["judge"] == judge]
        found = score_comparison.run(as_table(score_comparison.CURATION, own), ComparisonParams())
        reasons = [one for one in found["reason"].to_pylist() if one in (None, "score_comparison_conflict")]
        bad = [int(one is not None) for one in reasons]
        rates.append(rate(data, judge, "score_comparison", [1] * len(bad), bad, len(own) - len(bad)))
    return rates


def circle_rates(data: str, rows: Sequence[Row]) -> list[Rate]:
    """Circles and broken equalities of every judge, the subsets counted by question."""
    found = subset_counts(as_table(transitivity.CURATION, rows), TransitivityParams()).to_pylist()
    unread = {judge: sum(row["judge"] == judge and row["verdict"] is None for row in rows) for judge in
              {row["judge"] for row in rows}}  # fmt: skip
    rates = []
    for judge, size in sorted({(row["judge"], row["subset_size"]) for row in found}):
        own = [row for row in found if (row["judge"], row["subset_size"]) == (judge, size)]
        totals = [row["num_subsets"] for row in own]
        for measure, column in {"circles": "num_circle", "equalities": "num_equal", "bad": "num_bad"}.items():
            bad = [row[column] for row in own]
            rates.append(rate(data, judge, f"{measure}_{size}", totals, bad, unread[judge]))
    return rates


def as_table(method: Curation, rows: Sequence[Row]) -> pa.Table:
    """Rows as a method reads them."""
    schema = pa.schema([("position", pa.int64()), *((one.name, one.kind) for one in method.reads)])
    return pa.Table.from_pylist([{"position": index, **row} for index, row in enumerate(rows)], schema=schema)


def rate(
    data: str, judge: str, measure: str, totals: Sequence[int], bad: Sequence[int], left_out: int, note: str = ""
) -> Rate:
    """The pooled share with its bootstrap interval over questions; questions without an item have no part.

    Where no item is bad every resample says 0; then the interval ends where n good questions would be seen with
    probability 2.5 %:  1 - 0.025^(1/n).
    """
    counts_Q2 = np.array([(n, b) for n, b in zip(totals, bad, strict=True) if n], dtype=float).reshape(-1, 2)
    num = len(counts_Q2)
    draws_RQ = np.random.default_rng(0).integers(0, num, (NUM_RESAMPLES, num))
    sums_R2 = counts_Q2[draws_RQ].sum(axis=1)
    low, high = np.percentile(sums_R2[:, 1] / sums_R2[:, 0], [2.5, 97.5])
    total, num_bad = counts_Q2.sum(axis=0)
    high = high if num_bad else 1 - 0.025 ** (1 / num)
    return Rate(data, judge, measure, num, int(total), int(num_bad), num_bad / total, low, high, left_out, note)


def many_comparisons(num_questions: int) -> pa.Table:
    """Five answers to every question, each pair judged once by a stable lot: ten triples per question."""
    rng = np.random.default_rng(0)
    firsts, seconds = np.triu_indices(5, 1)
    num = num_questions * len(firsts)
    names = np.array(list("abcde"))
    return pa.table(
        {
            "position": pa.array(np.arange(num)),
            "judge": pa.nulls(num, pa.string()),
            "question_id": pa.array(np.repeat(np.arange(num_questions), len(firsts))).cast(pa.string()),
            "first_id": pa.array(np.tile(names[firsts], num_questions)),
            "second_id": pa.array(np.tile(names[seconds], num_questions)),
            "verdict": pa.array(np.array(["first", "second", "tie"])[rng.integers(0, 3, num)]),
        }
    )


def time_of_many(num_questions: int = 10_000) -> Timed:
    """The transitivity count over `num_questions` * 10 triples, with subsets of four and five."""
    with tempfile.TemporaryDirectory() as folder:
        comparisons = many_comparisons(num_questions)
        what = f"judge_transitivity, {num_questions * 10:,} triples"
        return timed(what, comparisons, lambda table: transitivity.run(table, TransitivityParams()), Path(folder))


def as_markdown(rates: Sequence[Rate]) -> list[str]:
    """Position, then single scores, then circles."""
    lines = ["", "Position inconsistency: share of pairs that are judged otherwise when the answers change places.", ""]
    lines += _header("data | judge | inconsistent | 95 % | pairs | how | left out")
    position = sorted((one for one in rates if one.measure == "position"), key=lambda one: (one.data, one.rate))
    lines += [
        f"| {one.data} | {one.judge} | {one.rate:.3f} | {one.low:.3f} to {one.high:.3f} | {one.num_items} | {one.note} "
        f"| {one.num_left_out} |"
        for one in position
    ]
    lines += ["", "Score-comparison inconsistency: Vanilla verdicts in both orders against single ratings.", ""]
    lines += _header("data | judge | conflicts | 95 % | pairs | left out")
    lines += [
        f"| {one.data} | {one.judge} | {one.rate:.3f} | {one.low:.3f} to {one.high:.3f} | {one.num_items} "
        f"| {one.num_left_out} |"
        for one in rates
        if one.measure == "score_comparison"
    ]
    lines += ["", "Subsets of answers with a circle (a > b > c > a), with a broken equality, with either.", ""]
    lines += ["The verdicts are of one order each. Where none is bad the interval is that of no bad question.", ""]
    lines += _header("data | judge | size | subsets | questions | circles | 95 % | equalities | 95 % | either | 95 %")
    by_key = {(one.judge, one.measure): one for one in rates if one.data == "pandalm-testset"}
    for judge, measure in sorted(key for key in by_key if key[1].startswith("bad_")):
        size = measure.removeprefix("bad_")
        three = [by_key[judge, f"{kind}_{size}"] for kind in ("circles", "equalities", "bad")]
        cells = " | ".join(f"{one.rate:.3f} | {one.low:.3f} to {one.high:.3f}" for one in three)
        lines.append(
            f"| {three[0].data} | {judge} | {size} | {three[0].num_items} | {three[0].num_questions} | {cells} |"
        )
    return lines


def _header(names: str) -> list[str]:
    return [f"| {names} |", f"|{'---|' * len(names.split('|'))}"]
