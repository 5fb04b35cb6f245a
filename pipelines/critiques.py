"""rollouts -> critiques, verdicts, refinements.

Every selected rollout goes through one round (`pipelines.agents.rounds`); rounds run side by side and each is
complete in itself, so there is no barrier between criticising, concluding and refining.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.agents.rounds import Room, Round, Row, criticise_rollout
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
    """The three tables of this pipeline, in the schemas of `pipelines.tables`."""

    critiques: pa.Table  # one row per (rollout, agent)
    verdicts: pa.Table  # one row per criticised rollout
    refinements: pa.Table  # one row per rollout whose verdict is wrong


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
    read is a row with `error`, and does not count as a failed request.
    """
    room = Room(session, prompts, config, grade, extract_answer, night, max_model_len)
    tasks = select_rollouts(problems, rollouts, config.num_rollouts)
    rounds = await _run(room, tasks, on_progress)
    num_failed, num_requests = sum(one.num_failed for one in rounds), sum(one.num_requests for one in rounds)
    check_error_rate(num_failed, num_requests, max_error_fraction, STAGE)
    return Critiques(
        critiques=rows_to_table("critiques", [row for one in rounds for row in one.critiques]),
        verdicts=rows_to_table("verdicts", [one.verdict for one in rounds]),
        refinements=rows_to_table("refinements", [one.refinement for one in rounds if one.refinement]),
    )


def select_rollouts(problems: pa.Table, rollouts: pa.Table, num_rollouts: int) -> list[tuple[Row, Row]]:
    """(problem, rollout) rows to criticise: finished independent samples, at most `num_rollouts`.

    Which ones is decided by a hash of the rollout id, so the limit spreads over problems and not by row order.
    """
    columns = ["rollout_id", "problem_id", "steps"]
    is_finished = pc.and_(pc.is_valid(rollouts["group_id"]), pc.is_null(rollouts["error"]))
    finished = [row for row in rollouts.filter(is_finished).select(columns).to_pylist() if row["steps"]]
    chosen = sorted(finished, key=lambda row: stable_digest(row["rollout_id"]))[:num_rollouts]
    wanted = pa.array({row["problem_id"] for row in chosen}, pa.string())
    by_id = {row["problem_id"]: row for row in problems.filter(pc.is_in(problems["problem_id"], wanted)).to_pylist()}
    return [(by_id[row["problem_id"]], row) for row in chosen]


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
