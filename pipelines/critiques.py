"""rollouts -> critiques, critique_units, verdicts, refinements, critique_records.

With the method multi_critique every selected rollout goes through one round (`pipelines.agents.multi_critique`); rounds
run side by side and each is complete in itself, so there is no barrier between criticising, concluding and refining.
The other configured methods follow one after the other, on whole groups of samples.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.agents.ask import Room, Row
from pipelines.agents.methods import MULTI_CRITIQUE, ChosenMethod, chosen_methods, run_method
from pipelines.agents.multi_critique import Round, criticise_rollout
from pipelines.agents.records import Group
from pipelines.config import CritiquesConfig
from pipelines.grading import extract_answer as default_extract_answer
from pipelines.grading import grade as default_grade
from pipelines.reasoning.prompts import PromptStyle
from pipelines.reasoning.propose import GenerationSession
from pipelines.reasoning.steps import ExtractFn, GradeFn
from pipelines.records import ProgressFn, no_progress, stable_digest
from pipelines.rollouts import check_error_rate
from pipelines.rows import rows_to_table
from pipelines.search.flight import run_in_flight

STAGE = "critiques"
ROUNDS_IN_FLIGHT = 256  # the session bounds the requests; this bounds the memory of waiting rounds


@dataclass(frozen=True)
class Critiques:
    """The tables of this pipeline, in the schemas of `pipelines.tables`."""

    critiques: pa.Table  # one row per (rollout, agent)
    critique_units: pa.Table  # one row per flaw that an agent found
    verdicts: pa.Table  # one row per criticised rollout
    refinements: pa.Table  # one row per rollout whose verdict is wrong, more where every critique is followed
    critique_records: pa.Table  # one row per thing to learn from that another method made


async def criticise(
    problems: pa.Table,
    rollouts: pa.Table,
    session: GenerationSession,
    config: CritiquesConfig,
    prompts: PromptStyle,
    *,
    night: str,
    grade: GradeFn = default_grade,
    extract_answer: ExtractFn = default_extract_answer,
    max_model_len: int | None = None,
    max_error_fraction: float = 0.02,
    on_progress: ProgressFn = no_progress,
) -> Critiques:
    """Criticise independent samples, conclude and refine; `max_model_len` (tokens) shortens late replies.

    Raises ErrorRateError when more than `max_error_fraction` of the requests had no reply. A critique that cannot be
    read is a row with `error`, and does not count as a failed request. ConfigError where a configured method does not
    exist, its parameters are wrong or the prompt style lacks one of its roles.
    """
    experts = expert_solutions(rollouts)
    room = Room(session, prompts, config, grade, extract_answer, night, max_model_len, experts)
    others = chosen_methods(config, prompts)
    is_wanted = any(one.method == MULTI_CRITIQUE for one in config.methods)
    tasks = select_rollouts(problems, rollouts, config.num_rollouts) if is_wanted else []
    rounds = await _run(room, tasks, on_progress)
    records = await _run_others(room, others, problems, rollouts, on_progress)
    costs = [(one.num_failed, one.num_requests) for one in rounds]
    costs += [(int(row["num_failed"]), int(row["num_requests"])) for row in records]
    check_error_rate(sum(one[0] for one in costs), sum(one[1] for one in costs), max_error_fraction, STAGE)
    return Critiques(
        critiques=rows_to_table("critiques", [row for one in rounds for row in one.critiques]),
        critique_units=rows_to_table("critique_units", [row for one in rounds for row in one.units]),
        verdicts=rows_to_table("verdicts", [one.verdict for one in rounds]),
        refinements=rows_to_table("refinements", [row for one in rounds for row in one.refinements]),
        critique_records=rows_to_table("critique_records", records),
    )


def select_rollouts(problems: pa.Table, rollouts: pa.Table, num_rollouts: int) -> list[tuple[Row, Row]]:
    """(problem, rollout) rows to criticise: finished independent samples, at most `num_rollouts`.

    Which ones is decided by a hash of the rollout id, so the limit spreads over problems and not by row order.
    """
    chosen = sorted(_finished(rollouts), key=lambda row: stable_digest(row["rollout_id"]))[:num_rollouts]
    by_id = _problems_of(problems, chosen)
    return [(by_id[row["problem_id"]], row) for row in chosen]


def select_groups(problems: pa.Table, rollouts: pa.Table, num_rollouts: int) -> list[Group]:
    """Whole groups of finished independent samples, as many as fit into `num_rollouts`, chosen by a hash."""
    members: dict[str, list[Row]] = {}
    for row in _finished(rollouts):
        members.setdefault(str(row["problem_id"]), []).append(row)
    chosen: list[Row] = []
    for problem_id in sorted(members, key=stable_digest):
        if len(chosen) + len(members[problem_id]) > num_rollouts:
            break
        chosen += members[problem_id]
    by_id = _problems_of(problems, chosen)
    return [Group(row, tuple(sorted(members[key], key=lambda one: one["rollout_id"]))) for key, row in by_id.items()]


def expert_solutions(rollouts: pa.Table) -> dict[str, tuple[str, ...]]:
    """Problem id -> steps of the first right path, by rollout id, of tonight's search trees, all the policy's own."""
    is_right = pc.and_(pc.is_valid(rollouts["tree_id"]), pc.equal(rollouts["outcome_reward"], 1.0))
    own = pc.equal(pc.fill_null(rollouts["num_given_tokens"], 0), 0)
    found = rollouts.filter(pc.and_(pc.and_(pc.fill_null(is_right, False), own), pc.is_null(rollouts["error"])))
    rows = found.select(["rollout_id", "problem_id", "steps"]).sort_by([("rollout_id", "descending")]).to_pylist()
    return {row["problem_id"]: tuple(row["steps"]) for row in rows if row["steps"]}


def _finished(rollouts: pa.Table) -> list[Row]:
    columns = ["rollout_id", "problem_id", "steps", "answer", "outcome_reward"]
    is_finished = pc.and_(pc.is_valid(rollouts["group_id"]), pc.is_null(rollouts["error"]))
    return [row for row in rollouts.filter(is_finished).select(columns).to_pylist() if row["steps"]]


def _problems_of(problems: pa.Table, rollouts: Sequence[Row]) -> dict[str, Row]:
    """The rollouts' problems by id, in the order of the rollouts."""
    ids = list(dict.fromkeys(str(row["problem_id"]) for row in rollouts))
    found = problems.filter(pc.is_in(problems["problem_id"], pa.array(ids, pa.string()))).to_pylist()
    by_id = {row["problem_id"]: row for row in found}
    return {problem_id: by_id[problem_id] for problem_id in ids}


async def _run_others(
    room: Room, methods: Sequence[ChosenMethod], problems: pa.Table, rollouts: pa.Table, on_progress: ProgressFn
) -> list[Row]:
    """The records of all methods, one method after the other."""
    rows: list[Row] = []
    for num_done, chosen in enumerate(methods, start=1):
        groups = select_groups(problems, rollouts, chosen.num_rollouts)
        rows += await run_method(room, chosen, groups)
        on_progress(f"{STAGE}: {chosen.name}", num_done, len(methods), {"num_records": float(len(rows))})
    return rows


async def _run(room: Room, tasks: Sequence[tuple[Row, Row]], on_progress: ProgressFn) -> list[Round]:
    """All rounds in the order of `tasks`, at most ROUNDS_IN_FLIGHT at a time."""
    rounds: list[Round] = []
    num_tokens = num_failed = num_done = 0
    started = time.monotonic()

    async def work(task: tuple[Row, Row]) -> Round:
        nonlocal num_tokens, num_failed, num_done
        one = await criticise_rollout(room, *task)
        num_tokens, num_failed, num_done = num_tokens + one.num_tokens, num_failed + one.num_failed, num_done + 1
        rate = num_tokens / max(time.monotonic() - started, 1e-9)
        on_progress(STAGE, num_done, len(tasks), {"tokens_per_s": rate, "num_errors": float(num_failed)})
        return one

    await run_in_flight(work, tasks, ROUNDS_IN_FLIGHT, rounds.append)
    return rounds
