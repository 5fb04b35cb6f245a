"""`reasonmill critic`: how good a critic's scores of steps are, or anybody's, and which critic is the current one."""

import json
import sys
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.errors import ReasonmillError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from critics.evaluation import Evaluation, Measures
    from pipelines.lake import Lake
    from pipelines.step_labels.solution import LabelledSolution

critic_app = typer.Typer(help="Critics and judges of steps.", no_args_is_help=True)

_HISTORY_NUMBERS = {"difference": "+.3f", "drift": ".2f"}  # column of the history -> how it is written

DataOption = Annotated[
    list[Path],
    typer.Option(
        "--data",
        metavar="FILE",
        help="labelled solutions: ProcessBench, PRMBench, MR-Ben, BIG-Bench Mistake, or our own "
        "(.jsonl, .gz, .parquet); several files are several subsets",
    ),
]
LayoutOption = Annotated[
    str | None, typer.Option(help="layout of the data, such as processbench; recognised by its fields if not given")
]

CandidatesOption = Annotated[
    list[Path],
    typer.Option("--data", metavar="FILE", help="solutions to criticise: RealCritic or MR-GSM8K (.jsonl, .gz)"),
]


class Format(StrEnum):
    """How the numbers are given."""

    table = "table"
    json = "json"


@critic_app.command()
def evaluate(
    data: DataOption,
    checkpoint: Annotated[
        Path | None, typer.Argument(metavar="[CHECKPOINT]", help="folder of a trained critic; or give --scores")
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="scores made elsewhere: json lines `id`, `scores` (0 to 1, high = right)"),
    ] = None,
    generative: Annotated[
        bool, typer.Option("--generative", help="the language model of [generative_critic] judges, on an engine")
    ] = False,
    threshold: Annotated[
        float | None,
        typer.Option(help="a step below it is called wrong, 0 to 1; tuned on gsm8k or the file if not given"),
    ] = None,
    output_format: Annotated[Format, typer.Option("--format", help="json: one object of fractions")] = Format.table,
    layout: LayoutOption = None,
    figures: Annotated[Path | None, typer.Option(metavar="DIR", help="write reliability, ROC and depth as PNG")] = None,
) -> None:
    """Judge scores of steps by first-error F1 (ProcessBench), AUROC and calibration."""
    from critics import evaluation
    from pipelines.step_labels.files import matched, read_labelled, read_scores

    if (checkpoint is not None) + (scores is not None) + generative != 1:
        raise ReasonmillError(
            "Give either a critic's folder, such as reasonmill critic evaluate CHECKPOINT --data FILE, or scores that "
            "were made elsewhere with --scores FILE, or --generative for the language model of [generative_critic]."
        )
    if threshold is not None:
        evaluation.check_threshold(threshold)
    solutions, left_out = read_labelled(data, layout)
    for (file, reason), num in left_out.items():
        _note(f"{file}: {num:,} left out, {reason}")
    if scores is not None:
        of_steps = matched(solutions, read_scores(scores), scores)
    elif generative:
        solutions, of_steps = _judged(solutions)
    else:
        solutions, of_steps = _scored(checkpoint, solutions)
    found = evaluation.evaluate(solutions, of_steps, threshold)
    if threshold is None and found.threshold.source == "fixed":
        _note(f"No threshold could be tuned, because a class is absent; {found.threshold.value} was taken.")
    if figures is not None:
        _draw(figures, solutions, of_steps, str(scores or checkpoint or "generative"))
    sys.stdout.write(f"{json.dumps(found.as_json())}\n" if output_format is Format.json else _rendered(found))


@critic_app.command()
def solutions(data: DataOption, layout: LayoutOption = None) -> None:
    """Print labelled solutions as json lines (id, problem, steps, label, subset), for judges elsewhere to score."""
    from pipelines.step_labels.files import read_labelled

    found, left_out = read_labelled(data, layout)
    for (file, reason), num in left_out.items():
        _note(f"{file}: {num:,} left out, {reason}")
    for one in found:
        row = {
            "id": one.id, "problem": one.problem, "problem_id": one.problem_id, "steps": one.steps,
            "label": one.label, "subset": one.subset,
        }  # fmt: skip
        known = {key: value for key, value in row.items() if value is not None}
        sys.stdout.write(json.dumps(known, ensure_ascii=False) + "\n")


@critic_app.command()
def candidates(data: CandidatesOption) -> None:
    """Print solutions to criticise and correct as json lines (id, problem, solution, subset), without the truth."""
    from pipelines.corrections.candidates import read_candidates

    found, left_out = read_candidates(data)
    for (file, reason), num in left_out.items():
        _note(f"{file}: {num:,} left out, {reason}")
    for one in found:
        row = {"id": one.id, "problem": one.problem, "solution": one.solution, "subset": one.subset}
        sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")


@critic_app.command()
def corrections(
    data: CandidatesOption,
    answers: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="json lines `id`, `answer` after correction (or null) and, if wanted, `verdict`"
        ),
    ],
    output_format: Annotated[Format, typer.Option("--format", help="json: one object of fractions")] = Format.table,
) -> None:
    """Judge a critic by what its corrections lead to (RealCritic): wrong to right, right to right, verdicts."""
    from dataclasses import asdict

    from pipelines.corrections.candidates import read_candidates
    from pipelines.corrections.measure import measure, read_corrections

    found, left_out = read_candidates(data)
    for (file, reason), num in left_out.items():
        _note(f"{file}: {num:,} left out, {reason}")
    measures = measure(found, read_corrections(answers, found))
    if output_format is Format.json:
        shown = {name: asdict(one) | one.rates for name, one in measures.items()}
        sys.stdout.write(f"{json.dumps(shown)}\n")
        return
    names = list(measures["all"].rates)
    width = max(map(len, measures))
    sys.stdout.write("  ".join([" " * width, "solutions", *names, "without answer", "undecided"]) + "\n")
    for subset, one in measures.items():
        rates = [_share(value).rjust(len(name)) for name, value in one.rates.items()]
        counts = [f"{one.num_without_answer:14,}", f"{one.num_undecided:9,}"]
        sys.stdout.write("  ".join([subset.ljust(width), f"{one.num_solutions:9,}", *rates, *counts]) + "\n")


@critic_app.command("train-cloud")
def train_cloud(
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="folder of the checkpoint; default: cloud_critic in paths.checkpoints"),
    ] = None,
) -> None:
    """Train a critic that writes a critique before it scores (CLoud), on the lake's graded and criticised rollouts."""
    from critics.cloud import cloud_examples
    from critics.cloud_train import train_cloud_critic
    from pipelines.config import load_settings
    from pipelines.inference.session import model_folder
    from pipelines.lake import Lake
    from pipelines.reasoning.prompts import load_prompts

    settings = load_settings()
    config, lake = settings.cloud_critic, Lake(settings.lake_url)
    prompts = load_prompts(settings.policy.prompt_style, settings.prompts_dir)
    tables = {name: lake.read(name) for name in ("problems", "rollouts", "critiques")}
    generations = {
        f"{name}/{part}": lake.generation(name, part) for name in tables for part in sorted(lake.partitions(name))
    }
    trained = train_cloud_critic(
        cloud_examples(*tables.values(), prompts, settings.critiques.agents[0]),
        config,
        prompts,
        model_folder(settings.policy.model if config.init == "policy" else config.init),
        out or settings.checkpoints_dir / "cloud_critic",
        on_metrics=lambda step, metrics: _note(_progress(step, metrics)),
        data_version=json.dumps(generations),
    )
    numbers = ", ".join(f"{name} {value:.4g}" for name, value in trained.metrics.items())
    sys.stdout.write(f"{trained.folder}\ncritic {trained.digest[:16]}: {numbers}\n")


@critic_app.command("list")
def list_critics(
    output_format: Annotated[Format, typer.Option("--format", help="json: one list of objects")] = Format.table,
) -> None:
    """Print which critic became the current one when and why, and which was held; the last column marks it."""
    from critics.registry import history
    from pipelines.config import load_settings
    from pipelines.lake import Lake

    rows = history(Lake(load_settings().lake_url))
    if output_format is Format.json:
        sys.stdout.write(f"{json.dumps(rows)}\n")
    elif rows:
        sys.stdout.write(_history_table(rows))
    else:
        _note("No critic was tried yet; `reasonmill run` trains and tries one every night.")


@critic_app.command()
def promote(
    night: Annotated[str, typer.Argument(help="night whose critics become the current ones, as YYYY-MM-DD")],
) -> None:
    """Make the critics of a night current, whatever their trial said."""
    from critics.registry import promote as promote_critics

    _changed_by_hand(lambda lake: promote_critics(lake, night))


@critic_app.command()
def rollback() -> None:
    """Make the critics current again that were so before the current ones."""
    from critics.registry import rollback as roll_back_critics

    _changed_by_hand(roll_back_critics)


def _changed_by_hand(change: "Callable[[Lake], Mapping[str, object]]") -> None:
    """Changes the current critic and tells Dagster of it, where DAGSTER_HOME is set."""
    from assets.current_critic import report_change
    from critics.registry import current_set
    from pipelines.config import load_settings
    from pipelines.lake import Lake

    lake = Lake(load_settings().lake_url)
    row = change(lake)
    sys.stdout.write(f"{row['action']}: {row['critic_id']} is the current critic after the night {row['night']}.\n")
    if report_change(current_set(lake, row["night"]), row["night"]):
        _note(f"Dagster shows what was scored by other critics on {row['night']} as stale.")
    else:
        _note("DAGSTER_HOME is not set, so Dagster was not told and shows nothing as stale.")


def _history_table(rows: "list[Mapping[str, object]]") -> str:
    import io

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("night", "what", "why", "critic", "difference", "95 %", "drift", "", box=None, pad_edge=False)
    for row in rows:
        bounds = f"{row['low']:+.3f} to {row['high']:+.3f}" if row["low"] is not None else ""
        numbers = ["" if row[name] is None else f"{row[name]:{form}}" for name, form in _HISTORY_NUMBERS.items()]
        cells = [row["night"], row["action"], row["reason"], row["critic_id"], numbers[0], bounds, numbers[1]]
        table.add_row(*(Text(str(cell)) for cell in cells), "current" if row["is_current"] else "")
    text = io.StringIO()
    Console(file=text, force_terminal=sys.stdout.isatty(), width=None if sys.stdout.isatty() else 140).print(table)
    return text.getvalue()


def _scored(
    checkpoint: Path, solutions: "list[LabelledSolution]"
) -> "tuple[list[LabelledSolution], list[list[float]]]":
    """The solutions that a trained critic can score, and its scores; prompts are those of the configured style."""
    from critics.cloud import is_cloud_critic, load_cloud_critic
    from critics.score import load_critic, score_solutions
    from pipelines.config import load_settings
    from pipelines.reasoning.prompts import load_prompts

    settings = load_settings()
    prompts = load_prompts(settings.policy.prompt_style, settings.prompts_dir)
    if is_cloud_critic(checkpoint):
        scorer = load_cloud_critic(checkpoint, settings.cloud_critic, prompts, settings.critiques.agents[0])
    else:
        scorer = load_critic(checkpoint)
    left: Counter[str]
    solutions, of_steps, left = score_solutions(solutions, scorer, prompts.verify_prompt)
    for reason, num in left.items():
        _note(f"critic {scorer.version}: {num:,} left out, {reason}")
    return solutions, of_steps


def _judged(solutions: "list[LabelledSolution]") -> "tuple[list[LabelledSolution], list[list[float]]]":
    """The same by the configured language model, on an engine that is stopped afterwards."""
    import os
    import uuid
    from functools import partial

    from critics.generative import generative_scorer, judge_model
    from critics.score import score_solutions
    from pipelines.config import load_settings
    from pipelines.inference.engine_service import stop_engine
    from pipelines.inference.session import generate_session
    from pipelines.reasoning.prompts import load_prompts

    settings, run_id = load_settings(), f"critic-evaluate-{uuid.uuid4().hex[:12]}"
    open_session = partial(
        generate_session, settings, model=judge_model(settings), run_id=run_id, owner_pid=os.getpid()
    )
    scorer = generative_scorer(settings, open_session)
    prompts = load_prompts(settings.policy.prompt_style, settings.prompts_dir)
    try:
        solutions, of_steps, left = score_solutions(solutions, scorer, prompts.verify_prompt)
    finally:
        stop_engine(settings, run_id)
    for reason, num in left.items():
        _note(f"critic {scorer.version}: {num:,} left out, {reason}")
    return solutions, of_steps


def _draw(folder: Path, solutions: "list[LabelledSolution]", of_steps: list, name: str) -> None:
    from critics.evaluation import counted_steps
    from critics.figures import write_figures

    title = f"{Path(name).name}: {len(solutions):,} solutions"
    for path in write_figures(folder, counted_steps(solutions, of_steps), title):
        _note(f"Wrote {path}")


def _progress(step: int, metrics: "Mapping[str, float]") -> str:
    shown = ", ".join(f"{name} {value:.3f}" for name, value in metrics.items() if name not in ("num_steps",))
    return f"step {step} of {metrics['num_steps']:.0f}: {shown}"


def _note(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _rendered(found: "Evaluation") -> str:
    import io

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows = {**found.by_subset, "all": found.overall}
    first = Table("first error", box=None, pad_edge=False)
    steps = Table("steps", box=None, pad_edge=False)
    for name in ("items", "wrong", "F1", "95 %", "acc error", "acc correct"):
        first.add_column(name, justify="right")
    for name in ("steps", "AUROC", "in problem", "pairs", "ties", "ECE", "T", "isotonic", "Brier"):
        steps.add_column(name, justify="right")
    for name, measures in rows.items():
        first.add_row(Text(name), *_first_error_cells(measures))
        steps.add_row(Text(name), *_step_cells(measures))
    text = io.StringIO()
    console = Console(file=text, force_terminal=sys.stdout.isatty(), width=None if sys.stdout.isatty() else 120)
    for part in (first, "", steps, "", Text("\n".join(_legend(found)))):
        console.print(part)
    return text.getvalue()


def _first_error_cells(measures: "Measures") -> list[str]:
    low_high = measures.f1_interval
    interval = "–" if low_high is None else f"{low_high[0]:.3f} to {low_high[1]:.3f}"
    accuracies = [_share(value) for value in (measures.acc_error, measures.acc_correct)]
    return [f"{measures.num_items:,}", f"{measures.num_wrong:,}", _share(measures.f1), interval, *accuracies]


def _step_cells(measures: "Measures") -> list[str]:
    ranking = [_share(value) for value in (measures.step_auroc, measures.within_problem_auroc, measures.pairs.accuracy)]
    errors = (measures.ece, measures.ece_temperature, measures.ece_isotonic, measures.brier)
    return [f"{measures.num_steps:,}", *ranking, f"{measures.pairs.num_ties:,}", *[_share(error) for error in errors]]


def _legend(found: "Evaluation") -> list[str]:
    tuned = {
        "fixed": "fixed",
        "gsm8k": "tuned on the items of subset gsm8k",
        "file": "tuned on these very items, which flatters the F1",
    }
    lines = [f"Threshold {found.threshold.value:.4g}, {tuned[found.threshold.source]}."]
    if found.mean_f1 is not None and len(found.by_subset) > 1:
        lines.append(f"Mean F1 of the {len(found.by_subset)} subsets: {found.mean_f1:.3f}.")
    pairs = found.overall.pairs
    lines.append(
        f"In problem: mean AUROC of the {found.overall.num_mixed_problems:,} problems with right and wrong steps; "
        f"pairs: {pairs.num_pairs:,} of such steps, ties count half."
    )
    return [*lines, "T, isotonic: ECE after a map that was fitted on the other half of the problems."]


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
