"""A night's search and samples as a process of its own that may be killed at any moment and run again.

    python -m tests.benchmarks.killed_run FOLDER NUM_PROBLEMS            a scripted model that takes a few ms
    python -m tests.benchmarks.killed_run FOLDER NUM_PROBLEMS OWNER_PID  the engine configured in FOLDER/reasonmill.toml

Lake and response store lie in FOLDER. `asked` there gets one line per request that reaches the scripted model, as it
is asked; `ended.json` is written when the tables are, and says what the session counted.
"""

import asyncio
import json
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import pyarrow as pa

from pipelines.config import ProblemsConfig, RolloutsConfig, Settings, StarterSource, load_settings
from pipelines.grading import extract_answer, grade
from pipelines.inference.replay import replaying
from pipelines.inference.response_store import ResponseStore
from pipelines.inference.scripted import SCRIPTED_DIGEST, ScriptedModel
from pipelines.inference.session import Session, generate_session
from pipelines.inference.types import Completion, GenerationRequest
from pipelines.lake import Lake
from pipelines.problem_rows import TABLES
from pipelines.problems import load_problems
from pipelines.reasoning.prompts import load_prompts
from pipelines.rollouts import check_error_rate, sample_rollouts, search_rollouts

NIGHT = "2026-01-01"
RUN_ID = "killed-run"
NUM_STEPS = 5
DELAYS_S = (0.002, 0.008)  # shortest and longest time for an answer of the scripted model
CONFIG = RolloutsConfig(num_simulations=10, num_candidates=4, num_evaluations=2, group_size=4, trees_in_flight=8)


def write(text: str, rng: random.Random) -> str:
    """Five steps with a random digit each, and their sum as the answer."""
    digits = [int(line[-1]) for line in text.split("\n") if line.startswith("step")]
    digits += [rng.randrange(6) for _ in range(NUM_STEPS - len(digits))]
    steps = "".join(f"step {index}={digit}\n" for index, digit in enumerate(digits))
    already = sum(line.startswith("step") for line in text.split("\n"))
    return "".join(steps.splitlines(keepends=True)[already:]) + f"#### {sum(digits)}\n"


@asynccontextmanager
async def scripted_session(folder: Path) -> AsyncIterator[Session]:
    """A model that answers by prompt and seed alone, and takes a random few milliseconds for it."""

    def script(request: GenerationRequest) -> list[str]:
        text = model.tokenizer.decode(request.prompt_token_ids)
        return [write(text, random.Random(f"{request.seed}-{index}")) for index in range(request.sampling.n)]

    async def ask(request: GenerationRequest) -> Completion:
        os.write(asked, f"{request.request_id(SCRIPTED_DIGEST)}\n".encode())
        await asyncio.sleep(random.uniform(*DELAYS_S))
        return await model(request)

    model = ScriptedModel(script)
    asked = os.open(folder / "asked", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with ResponseStore(folder / "responses") as store:
        session = model.session()
        yield replace(session, generate=replaying(ask, SCRIPTED_DIGEST, store, session.stats))
    os.close(asked)


def problems_of(num_problems: int) -> pa.Table:
    """Arithmetic problems; the scripted model does not read them."""
    source = StarterSource(family="arithmetic", level=1, count=num_problems)
    return load_problems(Settings(problems=ProblemsConfig(sources=(source,)))).slice(0, num_problems)


async def make_tables(folder: Path, num_problems: int, open_session: Callable[[], object]) -> None:
    """Search and samples of the same problems, written to the lake as a night."""
    started = time.monotonic()
    problems, prompts, lake = problems_of(num_problems), load_prompts("starter"), Lake(folder / "lake")
    known = {"night": NIGHT, "grade": grade, "extract_answer": extract_answer}
    async with open_session() as session:
        known["max_model_len"] = session.max_model_len
        searched = await search_rollouts(problems, session, prompts, CONFIG, **known)
        sampled = await sample_rollouts(problems, session, prompts, CONFIG, **known)
    check_error_rate(searched.num_errors + sampled.num_errors, 2 * num_problems, 0.0)
    for table in TABLES:
        lake.write(table, pa.concat_tables([getattr(made, table) for made in (searched, sampled)]), partition=NIGHT)
    numbers = asdict(session.stats) | {"seconds": time.monotonic() - started}
    (folder / "ended.json").write_text(json.dumps(numbers))


def read_tables(folder: Path) -> dict[str, list[dict]]:
    """Every row that a run has written."""
    lake = Lake(folder / "lake")
    return {table: lake.read(table, NIGHT).to_pylist() for table in TABLES}


def main(folder: Path, num_problems: int, owner_pid: int | None) -> None:
    if owner_pid is None:
        open_session = partial(scripted_session, folder)
    else:
        settings = load_settings(folder)
        open_session = partial(generate_session, settings, run_id=RUN_ID, owner_pid=owner_pid)
    asyncio.run(make_tables(folder, num_problems, open_session))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else None)
