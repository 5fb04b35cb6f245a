"""problems, rollouts -> new_problems: problems that the policy poses itself, tested before anybody trains on them.

Every configured method draws training problems as sources and asks for `num_variants` statements after each. Then
    read       the statement, by the starter family's rules or as words
    screened   against the split, against every known problem and the other candidates (sql/new_problems/screened.sql),
               and for word sequences that it shares with held-out problems or `publishing.benchmarks`
    graded     for answerability and faithfulness: exactly, or by grades of the policy (pipelines/posing)
    answered   by the family's verifier, or by the consensus of sampled solutions
A candidate that fails one of them goes no further and stays a row with the reason. What is kept are training problems
of later nights, where `[[problems.sources]]` has the kind `new_problems`.

Invariants: one row per request for a statement; held-out and evaluation problems are no sources, and no kept statement
is one of theirs; what is asked depends on the configured seed, the night, the source and the draw alone.
"""

import asyncio
import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.agents.ask import Reply, Room, Row, ask
from pipelines.audit.contamination import Benchmark, ContaminationParams, benchmark_of, overlaps, read_benchmark
from pipelines.config import CritiquesConfig, NewProblemsConfig, Settings
from pipelines.datasets.certificate import HELD_OUT, OVERLAP
from pipelines.grading import extract_answer as default_extract_answer
from pipelines.grading import grade as default_grade
from pipelines.lake import Lake
from pipelines.posing import exact, words
from pipelines.posing.exact import Statement
from pipelines.posing.methods import JUDGE, ChosenPosing, chosen_posings
from pipelines.problems import MADE, made_row
from pipelines.reasoning.prompts import PromptStyle
from pipelines.reasoning.propose import GenerationSession
from pipelines.reasoning.steps import ExtractFn, is_cut_off, split_steps
from pipelines.records import ProgressFn, no_progress, stable_digest
from pipelines.rollouts import check_error_rate
from pipelines.rows import rows_to_table
from pipelines.search.flight import run_in_flight
from pipelines.tables import RELATIONS, SCHEMAS
from pipelines.warehouse import Warehouse

STAGE = MADE
CANDIDATES_IN_FLIGHT = 256  # the session bounds the requests; this bounds the memory of waiting candidates
ROWS_PER_BATCH = 256
FAILED = "request_failed"
VERIFIER, CONSENSUS = "verifier", "consensus"


@dataclass(frozen=True)
class Candidate:
    """One request for a statement, and what has become of it."""

    method: str
    source: Row
    answer_margin: float | None
    draw: int
    reply: Reply  # the last one that the statement took
    statement: Statement | None = None  # None: none could be read
    reason: str | None = None  # why it goes no further; None: nothing speaks against it
    num_grades: int | None = None
    agreement: float | None = None
    num_solutions: int | None = None
    other_replies: tuple[Reply, ...] = ()  # to earlier pieces of the statement, then grades and solutions

    @property
    def is_exact(self) -> bool:
        """The rules of the source's family decide everything."""
        return exact.is_exact(self.source)


async def pose_problems(
    problems: pa.Table,
    rollouts: pa.Table,
    session: GenerationSession,
    prompts: PromptStyle,
    config: NewProblemsConfig,
    *,
    night: str,
    made_before: pa.Table | None = None,
    held_out_fraction: float = 0.2,
    benchmarks: Sequence[Benchmark] = (),
    extract_answer: ExtractFn = default_extract_answer,
    max_model_len: int | None = None,
    max_error_fraction: float = 0.02,
    on_progress: ProgressFn = no_progress,
) -> pa.Table:
    """The rows of `new_problems` of one night, method after method; `made_before` are kept ones of other nights.

    A policy whose style has no words poses problems of the starter families alone. Raises ErrorRateError when more than
    `max_error_fraction` of the requests had no reply, ConfigError where a method does not exist or lacks its role.
    """
    asking = CritiquesConfig(temperature=config.temperature, max_tokens=config.max_tokens, seed=config.seed)
    room = Room(session, prompts, asking, default_grade, extract_answer, night, max_model_len)
    tasks = [
        (chosen, source, margin, draw)
        for chosen in chosen_posings(config, prompts)
        for source, margin in choose_sources(problems, rollouts, chosen, night, config.seed, prompts.has_words)
        for draw in range(chosen.num_variants)
    ]
    posed: list[Candidate] = []
    num_graded = 0

    async def pose_one(task: tuple[ChosenPosing, Row, float | None, int]) -> Candidate:
        return await _pose(room, config, *task, held_out_fraction)

    def keep(one: Candidate) -> None:
        posed.append(one)
        on_progress(STAGE, len(posed), len(tasks), {})

    async def grade_one(one: Candidate) -> Candidate:
        nonlocal num_graded
        made = await _graded(room, config, one)
        num_graded += 1
        on_progress(f"{STAGE}: grades", num_graded, len(screened), {})
        return made

    await run_in_flight(pose_one, tasks, CANDIDATES_IN_FLIGHT, keep)
    screened = screen(posed, known_problems(problems, made_before), benchmarks)
    graded: list[Candidate] = []
    await run_in_flight(grade_one, screened, CANDIDATES_IN_FLIGHT, graded.append)
    replies = [reply for one in graded for reply in (one.reply, *one.other_replies)]
    check_error_rate(sum(reply.is_failed for reply in replies), len(replies), max_error_fraction, STAGE)
    return rows_to_table("new_problems", [row_of(one, night) for one in graded])


def choose_sources(
    problems: pa.Table, rollouts: pa.Table, chosen: ChosenPosing, night: str, seed: int, has_words: bool
) -> list[tuple[Row, float | None]]:
    """(training problem, how certain the policy is of it) for a method, at most `num_sources`.

    Without words only problems of the starter families. A method for uncertain problems takes the most uncertain ones,
    the others draw by a hash of night, seed, method and id. Evaluation problems never come in.
    """
    is_closed = pc.or_(pc.not_equal(problems["split"], "train"), pc.fill_null(problems["is_evaluation"], False))
    usable = problems.filter(pc.invert(is_closed))
    ids = usable["problem_id"].to_pylist()
    margins: dict[str, float] = {}
    if chosen.method.is_for_uncertain:
        with Warehouse.over({"problems": problems, "rollouts": rollouts}) as warehouse:
            found = warehouse.named("new_problems/uncertain_problems", threshold=chosen.params.threshold).to_pylist()
        margins = {row["problem_id"]: row["answer_margin"] for row in found}
        places = {problem_id: place for place, problem_id in enumerate(margins)}
        order = sorted((index for index, one in enumerate(ids) if one in places), key=lambda index: places[ids[index]])
    else:
        digests = {one: stable_digest(seed, night, chosen.name, one) for one in ids}
        order = sorted(range(len(ids)), key=lambda index: (digests[ids[index]], ids[index]))
    rows = (row for row in _rows_at(usable, order) if has_words or exact.is_exact(row))
    return [(row, margins.get(row["problem_id"])) for row in itertools.islice(rows, chosen.num_sources)]


def _rows_at(table: pa.Table, indices: Sequence[int]) -> Iterator[Row]:
    """The rows at these places, in their order, few of them Python objects at a time."""
    for start in range(0, len(indices), ROWS_PER_BATCH):
        yield from table.take(pa.array(indices[start : start + ROWS_PER_BATCH], pa.int64())).to_pylist()


def known_problems(problems: pa.Table, made_before: pa.Table | None) -> pa.Table:
    """All problems, and new ones of other nights, whether or not anybody trains on them."""
    if made_before is None:
        return problems
    rows = [made_row(one) for one in made_before.to_pylist() if one["kept"]]
    return pa.concat_tables([problems, rows_to_table("problems", rows)])


def screen(posed: Sequence[Candidate], problems: pa.Table, benchmarks: Sequence[Benchmark] = ()) -> list[Candidate]:
    """The candidates, in their order; those that are not new, or a test's, with the reason.

    `benchmarks` are tested beside the held-out problems.
    """
    open_ones = [one.statement if one.reason is None else None for one in posed]
    rows = [
        {"position": position, "family": posed[position].source["family"], "canonical": one and one.canonical,
         "split": one and one.split}
        for position, one in enumerate(open_ones)
    ]  # fmt: skip
    table = pa.Table.from_pylist(rows, schema=RELATIONS["posed_problems"])
    with Warehouse.over({"posed_problems": table, "problems": problems}) as warehouse:
        reasons = warehouse.named("new_problems/screened")["reason"].to_pylist()
    is_shared = _shares_words([one.prompt if one else None for one in open_ones], problems, benchmarks)
    return [
        replace(one, reason=one.reason or reason or (OVERLAP if shared else None))
        for one, reason, shared in zip(posed, reasons, is_shared, strict=True)
    ]


def row_of(one: Candidate, night: str) -> Row:
    """The row of a candidate that has gone as far as it can."""
    statement, replies = one.statement, (one.reply, *one.other_replies)
    is_answered = statement is not None and statement.reference_answer is not None
    answered_by = (VERIFIER if one.is_exact else CONSENSUS) if is_answered else None
    return {
        "candidate_id": stable_digest("posed", night, one.method, one.source["problem_id"], one.draw),
        "method": one.method,
        "source_problem_id": one.source["problem_id"],
        "answer_margin": one.answer_margin,
        "family": one.source["family"],
        "grader": one.source["grader"],
        **{
            name: getattr(statement, name, None)
            for name in (
                "problem_id", "difficulty", "prompt", "canonical", "reference_answer", "answerability", "faithfulness",
            )
        },
        "answered_by": answered_by,
        "num_grades": 0 if statement is not None and one.is_exact else one.num_grades,
        "agreement": one.agreement,
        "num_solutions": one.num_solutions,
        "kept": one.reason is None,
        "reason": one.reason,
        "request_id": one.reply.request_id,
        "request_ids": [reply.request_id for reply in one.other_replies if reply.request_id],
        "num_requests": len(replies),
        "num_failed": sum(reply.is_failed for reply in replies),
        "num_tokens": sum(reply.num_tokens or 0 for reply in replies),
        "num_prompt_tokens": sum(reply.num_prompt_tokens for reply in replies),
        "error": next((reply.error for reply in replies if reply.error), None),
        "night": night,
    }  # fmt: skip


def made_problems(lake: Lake, except_night: str | None) -> tuple[pa.Table, dict[str, str]]:
    """Rows of `new_problems` of all nights but one, and the lineage of what was read.

    The night that is being made is left out, so that a night that is run again finds the problems that it found before.
    """
    manifests = [one for one in lake.manifests(MADE) if one.partition != except_night]
    tables = [lake.read(MADE, one.partition) for one in manifests]
    rows = pa.concat_tables(tables) if tables else SCHEMAS[MADE].empty_table()
    return rows, {f"{MADE}/{one.partition}": one.generation for one in manifests}


def benchmarks_of(settings: Settings) -> list[Benchmark]:
    """The test items that versions are tested against; SourceError where `publishing.benchmarks` cannot be read."""
    publishing = settings.publishing
    files = tuple(str(settings.in_workspace(path)) for path in publishing.benchmarks)
    if not files:
        return []
    return [read_benchmark(ContaminationParams(benchmark=files, field=publishing.benchmark_field))]


async def _pose(
    room: Room,
    config: NewProblemsConfig,
    chosen: ChosenPosing,
    source: Row,
    margin: float | None,
    draw: int,
    held_out_fraction: float,
) -> Candidate:
    """One statement, asked for and read."""
    form = exact.Form((exact.Part("", ""),))
    if not room.prompts.has_words:
        form = exact.form_of(str(source["family"]), str(source["prompt"]), chosen.params.begun_share)
    text, replies = "", []
    for number, part in enumerate(form.parts):
        text += part.given
        if not part.written and part.given:
            continue
        prompt = room.prompts.role(chosen.method.role, prompt=source["prompt"], start=text)
        about = ("pose", room.night, chosen.name, source["problem_id"], draw, number)
        regex = part.written if config.structured and part.written else None
        reply = await ask(room, prompt, about, str(source["problem_id"]), purpose="pose", regex=regex)
        replies.append(reply)
        if reply.text is None or reply.is_truncated:
            break
        text += words.first_line(reply.text)
    one = Candidate(chosen.name, source, margin, draw, replies[-1], other_replies=tuple(replies[:-1]))
    if one.reply.text is None:
        return replace(one, reason=FAILED)
    if one.reply.is_truncated:
        return replace(one, reason="cut_off")
    text += form.ending
    statement = exact.read(source, text) if one.is_exact else words.read(source, text, held_out_fraction)
    return replace(one, statement=statement, reason=None if statement else "unreadable")


def _shares_words(statements: Sequence[str | None], problems: pa.Table, benchmarks: Sequence[Benchmark]) -> list[bool]:
    """Which statements share word sequences with a held-out problem or a test item; short ones cannot be tested."""
    closed = problems.filter(pc.or_(pc.not_equal(problems["split"], "train"), problems["is_evaluation"]))
    items = list(zip(closed["prompt"].to_pylist(), closed["problem_id"].to_pylist(), strict=True))
    digest = hashlib.sha256(json.dumps(items).encode()).hexdigest()
    params = ContaminationParams(benchmark=(HELD_OUT,))
    tests = [benchmark_of(HELD_OUT, digest, items, params), *benchmarks]
    positions = pa.array(range(len(statements)), pa.int64())
    table = pa.table({"position": positions, "text": pa.array(statements, pa.string())})
    found = [overlaps(table, test, params)["reason"].to_pylist() for test in tests]
    return [OVERLAP in reasons for reasons in zip(*found, strict=True)]


async def _graded(room: Room, config: NewProblemsConfig, one: Candidate) -> Candidate:
    """A candidate with its grades and answer, and the reason where they do not suffice."""
    if one.reason is not None or one.statement is None:
        return one
    if not one.is_exact:
        one = await _judged(room, config, one)
        if one.reason is not None:
            return one
    if one.statement.answerability < config.min_answerability:
        return replace(one, reason="unanswerable")
    if one.statement.faithfulness < config.min_faithfulness:
        return replace(one, reason="unfaithful")
    return one if one.is_exact else await _solved(room, config, one)


async def _judged(room: Room, config: NewProblemsConfig, one: Candidate) -> Candidate:
    """A candidate in words with the policy's grades."""
    prompt = room.prompts.role(JUDGE, prompt=one.source["prompt"], new_problem=one.statement.prompt)
    regex = words.GRADE_REGEX if config.structured else None
    about = ("grade", room.night, one.statement.problem_id, one.source["problem_id"])
    replies = await asyncio.gather(
        *(
            ask(room, prompt, (*about, draw), str(one.source["problem_id"]), purpose="grade", regex=regex)
            for draw in range(config.num_grades)
        )
    )
    grades = [grade for grade in (words.read_grade(reply.text or "") for reply in replies) if grade is not None]
    one = replace(one, num_grades=len(grades), other_replies=(*one.other_replies, *replies))
    if not grades:
        return replace(one, reason=_without_answers(replies) or "unreadable_grades")
    statement = replace(
        one.statement,
        answerability=sum(grade.is_answerable for grade in grades) / len(grades),
        faithfulness=sum(grade.is_faithful for grade in grades) / len(grades),
    )
    return replace(one, statement=statement)


async def _solved(room: Room, config: NewProblemsConfig, one: Candidate) -> Candidate:
    """A candidate in words with the answer that most solutions give."""
    prompt = room.prompts.solve_prompt({"prompt": one.statement.prompt})
    about = ("solve", room.night, one.statement.problem_id)
    replies = await asyncio.gather(
        *(
            ask(room, prompt, (*about, draw), str(one.source["problem_id"]), purpose="sample")
            for draw in range(config.num_solutions)
        )
    )
    answer, agreement = words.consensus([_answer(room, one, reply) for reply in replies])
    is_agreed = agreement >= config.min_agreement
    reason = None if is_agreed else _without_answers(replies) or "no_consensus"
    return replace(
        one,
        statement=replace(one.statement, reference_answer=answer if is_agreed else None),
        agreement=agreement,
        num_solutions=len(replies),
        reason=reason,
        other_replies=(*one.other_replies, *replies),
    )


def _without_answers(replies: Sequence[Reply]) -> str | None:
    """The reason of a candidate none of whose requests had a reply."""
    return FAILED if all(reply.text is None for reply in replies) else None


def _answer(room: Room, one: Candidate, reply: Reply) -> str | None:
    """The final answer of a sampled solution; None where it was cut off or has none."""
    if reply.text is None:
        return None
    separator = room.prompts.step_separator
    if is_cut_off(reply.text, "length" if reply.is_truncated else "stop", separator):
        return None
    return room.extract_answer(str(one.source["grader"]), "\n".join(split_steps(reply.text, separator)))
