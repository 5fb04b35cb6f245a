"""Which language model finds the first wrong step of an agent's rollout? Twenty judges of AgentProcessBench.

    python -m tests.benchmarks judges --data FOLDER

FOLDER holds the folders agent-process-bench, llmbar, judgebench, mt-bench and pandalm-testset; on the last four the
consistency of recorded judges is measured (`judge_consistency`). The first has `<subset>_human_labels.jsonl.gz` and
`<subset>_judgements.jsonl.gz` of AgentProcessBench (RUCBM, MIT) for bfcl, hotpotqa and tau2. A step is wrong where
people said -1 (1 and 0, helpful and neutral, are not). A judge's own -1 is its verdict (score 0, neutral 0.5, helpful
1, threshold 0.25); a rollout that it did not judge counts as missed, as in ProcessBench, and is left out of the step
metrics. Votes: the share of the judges that read a step and did not call it wrong, with threshold 0.5, and with a
threshold that was tuned on the other two subsets. Intervals: 95 %, bootstrap over queries (five rollouts each); there
are few.
"""

import argparse
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from critics.evaluation import counted_steps
from critics.metrics import (
    auroc,
    brier,
    first_error_f1,
    first_error_interval,
    first_error_step,
    tune_threshold,
    within_group_auroc,
)
from pipelines.errors import SourceError
from pipelines.step_labels.solution import LabelledSolution
from pipelines.trees.fields import json_lines
from tests.benchmarks import copy_limit, judge_consistency, record

SUBSETS = ("bfcl", "hotpotqa", "tau2")
SCORE_OF = {1: 1.0, 0: 0.5, -1: 0.0}
VERDICT_THRESHOLD = 0.25  # below it lies only -1
UNREAD = -2  # predicted first error of a rollout without a judgement: equal to no label

Scores = Mapping[str, Sequence[float]]
"""Rollout id -> scores of its steps; rollouts that were not judged are absent."""


@dataclass(frozen=True)
class Result:
    """One judge on one subset."""

    judge: str
    subset: str
    num_rollouts: int
    num_wrong: int
    num_queries: int
    num_unread: int
    threshold: float
    f1: float
    low: float
    high: float
    acc_error: float
    acc_correct: float
    step_auroc: float | None  # None: nothing was read
    within_query_auroc: float | None
    brier: float | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, help="folder that holds the data sets")


def run(arguments: argparse.Namespace) -> None:
    """The tables; SystemExit says which files are missing."""
    try:
        results = measured(arguments.data and arguments.data / "agent-process-bench")
        rates, many = judge_consistency.measured(arguments.data), judge_consistency.time_of_many()
    except SourceError as error:
        raise SystemExit(str(error)) from error
    content = {
        "date": date.today().isoformat(),
        "results": [asdict(result) for result in results],
        "consistency": [asdict(rate) for rate in rates],
        "scale": asdict(many),
    }
    markdown = [*as_markdown(results), *judge_consistency.as_markdown(rates), "", *copy_limit.as_markdown([many])]
    record.save("judges", arguments.out, content, markdown)


def measured(data: Path | None) -> list[Result]:
    """All judges and votes on all subsets; SourceError says which files are missing."""
    check_files(data)
    rollouts = {subset: read_rollouts(data, subset) for subset in SUBSETS}
    judged = {subset: read_judgements(data, rollouts[subset], subset) for subset in SUBSETS}
    shares = {subset: vote_shares(rollouts[subset], judged[subset]) for subset in SUBSETS}
    results = []
    for subset in SUBSETS:
        for judge, scores in sorted(judged[subset].items()):
            results.append(result_of(judge, rollouts[subset], scores, VERDICT_THRESHOLD))
        results.append(result_of("majority of all", rollouts[subset], shares[subset], 0.5))
        others = [(one, shares[other][one.id]) for other in SUBSETS if other != subset for one in rollouts[other]]
        threshold = tune_threshold([scores for _, scores in others], [one.label for one, _ in others])
        results.append(result_of("vote share, tuned", rollouts[subset], shares[subset], threshold))
    return results


def check_files(data: Path | None) -> None:
    """Raises SourceError unless all files are there."""
    wanted = [f"{subset}_{kind}.jsonl.gz" for subset in SUBSETS for kind in ("human_labels", "judgements")]
    missing = wanted if data is None else [name for name in wanted if not (data / name).is_file()]
    if missing:
        where = "No folder is given" if data is None else f"{data} lacks files"
        raise SourceError(
            f"{where}: --data must name a folder with AgentProcessBench's labels and judgements, joined by subset; "
            f"missing are {', '.join(missing)}."
        )


def read_rollouts(data: Path, subset: str) -> list[LabelledSolution]:
    """Rollouts with the people's first wrong step; steps are the messages that were labelled, by their number."""
    rollouts = []
    for row, place in json_lines(data / f"{subset}_human_labels.jsonl.gz"):
        numbers = sorted(row["step_labels"], key=int)
        label = next((i for i, number in enumerate(numbers) if row["step_labels"][number] == -1), -1)
        query = row["record_id"].rpartition(":")[0]
        rollouts.append(LabelledSolution(row["record_id"], None, query, tuple(numbers), label, subset, place))
    return rollouts


def read_judgements(data: Path, rollouts: Sequence[LabelledSolution], subset: str) -> dict[str, dict[str, list[float]]]:
    """judge -> rollout id -> scores; without the rollouts in which a judge left a step open."""
    steps = {rollout.id: rollout.steps for rollout in rollouts}
    judged: dict[str, dict[str, list[float]]] = {}
    for row, _ in json_lines(data / f"{subset}_judgements.jsonl.gz"):
        of_judge = judged.setdefault(row["judge"], {})
        verdicts = [row["step_labels"].get(number) for number in steps[row["record_id"]]]
        if None not in verdicts:
            of_judge[row["record_id"]] = [SCORE_OF[verdict] for verdict in verdicts]
    return judged


def vote_shares(rollouts: Sequence[LabelledSolution], judged: Mapping[str, Scores]) -> dict[str, list[float]]:
    """Share of the judges of each step that did not call it wrong."""
    shares = {}
    for rollout in rollouts:
        votes = [scores[rollout.id] for scores in judged.values() if rollout.id in scores]
        shares[rollout.id] = [statistics.mean(score > 0 for score in of_step) for of_step in zip(*votes, strict=True)]
    return shares


def result_of(judge: str, rollouts: Sequence[LabelledSolution], scores: Scores, threshold: float) -> Result:
    """The measures of one set of scores; unread rollouts are missed ones."""
    true = [rollout.label for rollout in rollouts]
    groups = [rollout.group for rollout in rollouts]
    predicted = [first_error_step(scores[one.id], threshold) if one.id in scores else UNREAD for one in rollouts]
    low, high = first_error_interval(predicted, true, groups)
    read = [rollout for rollout in rollouts if rollout.id in scores]
    steps = counted_steps(read, [scores[rollout.id] for rollout in read])
    return Result(
        judge=judge,
        subset=rollouts[0].subset,
        num_rollouts=len(rollouts),
        num_wrong=sum(label >= 0 for label in true),
        num_queries=len(set(groups)),
        num_unread=len(rollouts) - len(read),
        threshold=threshold,
        low=low,
        high=high,
        step_auroc=auroc(steps.scores, steps.is_right),
        within_query_auroc=within_group_auroc(steps.scores, steps.is_right, steps.groups)[0],
        brier=brier(steps.scores, steps.is_right),
        **first_error_f1(predicted, true),
    )


def as_markdown(results: Sequence[Result]) -> list[str]:
    """First-error F1 with intervals, best mean first, then what it is made of."""
    by_judge: dict[str, dict[str, Result]] = {}
    for result in results:
        by_judge.setdefault(result.judge, {})[result.subset] = result
    means = {judge: statistics.mean(one.f1 for one in of_judge.values()) for judge, of_judge in by_judge.items()}
    ranked = sorted(by_judge, key=lambda judge: (-means[judge], judge))
    sizes = {result.subset: result for result in results}
    described = "; ".join(
        f"{name} {one.num_rollouts} rollouts of {one.num_queries} queries, {one.num_wrong} with a wrong step"
        for name, one in sizes.items()
    )
    lines = [
        f"AgentProcessBench (one half of it): {described}.",
        "First-error F1 against people's labels, 95 % by bootstrap over queries: the intervals are wide, so neighbours",
        "in the table are not told apart. A judge's own -1 is its verdict; votes are of all judges, and the threshold",
        "of the tuned share comes from the other two subsets.",
        "",
        f"| judge | {' | '.join(f'{name} F1 | 95 %' for name in SUBSETS)} | mean F1 |",
        f"|---|{'---|' * (2 * len(SUBSETS) + 1)}",
    ]
    for judge in ranked:
        cells = [f"{one.f1:.3f} | {one.low:.3f} to {one.high:.3f}" for one in map(by_judge[judge].get, SUBSETS)]
        lines.append(f"| {judge} | {' | '.join(cells)} | {means[judge]:.3f} |")
    lines += [
        "",
        "Found: share of the wrong rollouts whose first wrong step was found; accepted: share of the right ones in",
        "which none was called wrong; AUROC of single steps up to the first wrong one; unread: counted as missed.",
        "",
        f"| judge | {' | '.join(f'{name} found / accepted | AUROC | unread' for name in SUBSETS)} |",
        f"|---|{'---|' * (3 * len(SUBSETS))}",
    ]
    for judge in ranked:
        cells = [
            f"{one.acc_error:.2f} / {one.acc_correct:.2f} | {_shown(one.step_auroc)} | {one.num_unread}"
            for one in map(by_judge[judge].get, SUBSETS)
        ]
        lines.append(f"| {judge} | {' | '.join(cells)} |")
    return lines


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
