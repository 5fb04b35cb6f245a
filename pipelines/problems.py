"""Pipeline problems: the configured sources -> the table `problems`.

One row per distinct problem. Ids are hashes of the content unless the source names an id field, so reading a file
again, or in another order, gives the same ids. The split is a hash of the canonical text (the expression for
generated problems, the statement without case and spacing otherwise), never of the row. Any defect of a source
raises SourceError before anything is written: file, line, field, value, and what would be right.
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from pipelines.config import FileSource, MadeSource, PluginSource, Settings, SourceConfig, StarterSource
from pipelines.errors import SourceError
from pipelines.extensions import extension_names
from pipelines.grading.equivalence import parse_number
from pipelines.grading.registry import GRADERS
from pipelines.problem_files import RawProblem, read_jsonl, read_parquet, read_plugin
from pipelines.starter import families
from pipelines.tables import SCHEMAS

MADE = "new_problems"  # table of problems that the policy posed; before / and the night in `source`

Row = dict[str, str | int | bool | None]


def load_problems(settings: Settings, made: pa.Table | None = None) -> pa.Table:
    """All problems of the configured sources, in source order, each id once (schema `problems`).

    The starter families bring all frozen evaluation problems with them. Where only sources of the user's are
    configured, every held-out problem is one; the reports draw as many as they need. `made` are rows of `new_problems`
    for sources of that kind, which come last.
    """
    rows: dict[str, Row] = {}
    for source in settings.problems.sources:
        if not isinstance(source, MadeSource):
            for row in source_rows(source, settings):
                _add(rows, row)
    if any(isinstance(source, StarterSource) for source in settings.problems.sources):
        _add_evaluation(rows)
    else:
        for row in rows.values():
            row["is_evaluation"] = row["split"] == "held_out"
    for source in settings.problems.sources:
        if isinstance(source, MadeSource) and made is not None:
            _add_made(rows, source, made)
    return pa.Table.from_pylist(list(rows.values()), schema=SCHEMAS["problems"])


def split_of(canonical: str, held_out_fraction: float) -> str:
    """`held_out` for this share of all canonical texts, by hash; the same text always falls on the same side."""
    return "held_out" if _share(canonical) < held_out_fraction else "train"


def problem_id_of(family: str, prompt: str) -> str:
    """The id of a problem whose source names none."""
    return f"{family}-{_digest(f'{family}:{prompt}')[:12]}"


def canonical_text(prompt: str) -> str:
    """What decides the split of a problem in words: the statement without case and without runs of space."""
    return " ".join(prompt.casefold().split())


def source_rows(source: SourceConfig, settings: Settings) -> Iterator[Row]:
    """The problems of one source that is not made by earlier nights, one at a time; SourceError at the first defect."""
    if isinstance(source, StarterSource):
        return _starter_rows(source, settings.problems.seed)
    if isinstance(source, PluginSource):
        raw = read_plugin(settings, source)
    else:
        path = settings.in_workspace(source.path)
        raw = read_jsonl(path, source) if source.kind == "jsonl" else read_parquet(path, source)
    return _own_rows(raw, source, settings)


def _starter_rows(source: StarterSource, seed: int) -> Iterator[Row]:
    try:
        problems = families.generate(source.family, source.level, source.count, seed, source.dial_choices)
    except ValueError as error:
        raise SourceError(
            f"The starter source {source.family} of level {source.level} cannot be generated: {error}. "
            "Lower `count` or raise `level` in [[problems.sources]]."
        ) from error
    return (_starter_row(problem) for problem in problems)


def _starter_row(problem: families.StarterProblem) -> Row:
    return {
        "problem_id": problem.problem_id, "family": problem.family, "difficulty": problem.difficulty,
        "prompt": problem.prompt, "reference_answer": problem.reference_answer, "split": problem.split,
        "canonical": problem.canonical, "grader": problem.grader, "is_evaluation": problem.is_evaluation,
        "source": "starter", "source_line": None,
    }  # fmt: skip


def _own_rows(raw: Iterator[RawProblem], source: FileSource | PluginSource, settings: Settings) -> Iterator[Row]:
    known = {*GRADERS, *extension_names(settings, "graders")}
    if source.grader not in known:
        raise SourceError(
            f"The source {source.path} asks for the grader `{source.grader}`, which does not exist; "
            f"there are {', '.join(sorted(known))}."
        )
    family = source.name or Path(source.path).name.partition(".")[0]
    num_rows = 0
    for problem in raw:
        if source.limit is not None and num_rows >= source.limit:
            return
        num_rows += 1
        yield _own_row(problem, family, source, settings.problems.held_out_fraction)
    if num_rows == 0:
        raise SourceError(f"The source {source.path} holds no problems; at least one is needed.")


def _own_row(problem: RawProblem, family: str, source: FileSource | PluginSource, held_out_fraction: float) -> Row:
    canonical = canonical_text(problem.prompt)
    return {
        "problem_id": problem.problem_id or problem_id_of(family, problem.prompt),
        "family": family, "difficulty": problem.difficulty, "prompt": problem.prompt,
        "reference_answer": reference_answer(problem, source.grader),
        "split": split_of(canonical, held_out_fraction), "canonical": canonical, "grader": source.grader,
        "is_evaluation": False, "source": problem.source, "source_line": problem.line,
    }  # fmt: skip


def reference_answer(problem: RawProblem, grader: str) -> str:
    """The final answer: what follows the last `####` where there is one (GSM8K's layout), else the whole field.

    Raises SourceError when nothing is left, or when the grader `number` gets something that is no number.
    """
    answer = problem.answer.rpartition("####")[2].strip()
    if not answer:
        raise SourceError(f"{problem.where}: the answer {problem.answer[:80]!r} has nothing after `####`.")
    if grader != "number":
        return answer
    if parse_number(answer) is None:
        raise SourceError(
            f"{problem.where}: the answer {answer[:80]!r} is not a number, which the grader `number` needs; "
            "end the field with `#### <number>`, or set grader to exact or math for this source."
        )
    return answer.replace(",", "") if answer.replace(",", "").isdigit() else answer


def _add(rows: dict[str, Row], row: Row) -> None:
    """Keeps the first of equal problems; one id with two texts or answers is a contradiction."""
    first = rows.setdefault(row["problem_id"], row)
    for field in ("prompt", "reference_answer"):
        if first[field] != row[field]:
            raise SourceError(
                f"The id {row['problem_id']} stands for two problems: {_where(first)} has {field} "
                f"{str(first[field])[:80]!r}, {_where(row)} has {str(row[field])[:80]!r}. Give one of them another id, "
                "or remove the wrong one."
            )


def _add_made(rows: dict[str, Row], source: MadeSource, made: pa.Table) -> None:
    """Adds kept new problems, the oldest first, apart from those that another problem stands for by now.

    They were compared with the problems of their own night; sources may have changed since.
    """
    known = {(row["family"], row["canonical"]) for row in rows.values()}
    closed = {row["canonical"] for row in rows.values() if row["split"] != "train" or row["is_evaluation"]}
    for one in sorted(made.to_pylist(), key=lambda one: (one["night"], one["candidate_id"])):
        if not one["kept"] or (source.methods and one["method"] not in source.methods):
            continue
        key = (one["family"], one["canonical"])
        if key in known or one["canonical"] in closed or one["problem_id"] in rows:
            continue
        known.add(key)
        rows[one["problem_id"]] = made_row(one)


def made_row(one: Mapping[str, object]) -> Row:
    """The row of `problems` that a kept row of `new_problems` becomes."""
    same = ("problem_id", "family", "difficulty", "prompt", "reference_answer", "canonical", "grader")
    return {name: one[name] for name in same} | {
        "split": "train", "is_evaluation": False, "source": f"{MADE}/{one['night']}", "source_line": None,
    }  # fmt: skip


def _where(row: Row) -> str:
    return str(row["source"]) if row["source_line"] is None else f"{row['source']}, line {row['source_line']}"


def _add_evaluation(rows: dict[str, Row]) -> None:
    for problem in families.evaluation_problems():
        _add(rows, _starter_row(problem))


def _share(canonical: str) -> float:
    return int(_digest("split:" + canonical)[:16], 16) / 2**64


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
