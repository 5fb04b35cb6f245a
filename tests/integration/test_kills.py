"""Kill -9 of the whole run: what was answered is replayed, what was in flight is asked again, the tables are equal."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from pipelines.config import load_settings
from pipelines.inference.engine_service import stop_engine
from pipelines.inference.engine_supervisor import read_state
from pipelines.inference.response_store import ResponseStore
from tests.benchmarks import killed_run
from tests.benchmarks.resume import requests_asked, start

NUM_PROBLEMS = 12
NUM_PROBLEMS_OF_ENGINE, ANSWERS_PER_KILL = 60, 40
WAIT_S = 400  # a busy machine may need minutes for the start of an engine
POLL_S = 0.005
CONFIG = """
[policy]
model = "starter"
[engine]
device = "cpu"
max_num_seqs = 64
"""


def kill_when(process: subprocess.Popen, is_time: Callable[[], bool]) -> None:
    """Kill -9 as soon as it is time; the process must not have ended before."""
    deadline = time.monotonic() + WAIT_S
    while not is_time():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(POLL_S)
    process.kill()
    process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0])
def test_a_run_that_is_killed_three_times_gives_the_tables_of_an_undisturbed_one(tmp_path: Path, seed: int):
    undisturbed, resumed = tmp_path / "undisturbed", tmp_path / "resumed"
    undisturbed.mkdir()
    killed_run.main(undisturbed, NUM_PROBLEMS, None)
    whole = requests_asked(undisturbed)
    for count in sorted(random.Random(seed).sample(range(1, len(whole)), 3)):
        kill_when(start(resumed, NUM_PROBLEMS), lambda count=count: len(requests_asked(resumed)) >= count)

    killed_run.main(resumed, NUM_PROBLEMS, None)

    assert killed_run.read_tables(resumed) == killed_run.read_tables(undisturbed)
    asked = requests_asked(resumed)
    assert set(asked) == set(whole)
    assert len(whole) == len(set(whole)) <= len(asked) < 2 * len(whole)


@pytest.fixture
def owner() -> Iterator[subprocess.Popen]:
    """The process with whose end the engine ends, so that it outlives the runs that use it."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(900)"])
    yield process
    process.kill()
    process.wait()


def answers(store: Path) -> dict[str, bytes]:
    """request_id -> payload of every answer that is committed."""
    rows: dict[str, bytes] = {}
    for file in store.glob("*.sqlite"):
        connection = sqlite3.connect(file)
        rows |= dict(connection.execute("select request_id, payload from requests where status = 'answered'"))
        connection.close()
    return rows


@pytest.mark.vllm
@pytest.mark.slow
def test_three_kills_of_the_run_and_one_of_its_engine_repeat_no_request_that_was_answered(tmp_path: Path, owner):
    (tmp_path / "reasonmill.toml").write_text(CONFIG)
    settings = load_settings(tmp_path)
    store = settings.response_store_path
    watched = ResponseStore(store)
    num_answers, moments = 0, random.Random(0)

    def more_answers(count: int) -> bool:
        return watched.counts().num_answered >= num_answers + count

    try:
        for _ in range(3):
            before, is_time = answers(store), partial(more_answers, moments.randint(1, ANSWERS_PER_KILL))
            kill_when(start(tmp_path, NUM_PROBLEMS_OF_ENGINE, owner.pid), is_time)
            after = answers(store)
            assert before.items() <= after.items()
            num_answers = len(after)
        before = answers(store)
        assert len(before) >= 3
        run = start(tmp_path, NUM_PROBLEMS_OF_ENGINE, owner.pid)
        kill_engine_when(run, tmp_path, partial(more_answers, ANSWERS_PER_KILL))

        assert run.wait(WAIT_S) == 0  # it starts the engine anew and asks again only for what was in flight

        after, ended = answers(store), json.loads((tmp_path / "ended.json").read_text())
        assert before.items() <= after.items()
        asked = ended["num_requests"] - ended["num_from_store"] - ended["num_shared"]
        assert asked == len(after) - len(before) > ANSWERS_PER_KILL
    finally:
        watched.close()
        stop_engine(settings, killed_run.RUN_ID)


def kill_engine_when(run: subprocess.Popen, folder: Path, is_time: Callable[[], bool]) -> None:
    """Kill -9 every process of the engine as soon as it is time; the run must not have ended before."""
    (state_path,) = (folder / "state" / "engines").glob("*.json")
    deadline = time.monotonic() + WAIT_S
    while not is_time():
        assert run.poll() is None and time.monotonic() < deadline
        time.sleep(POLL_S)
    for member in read_state(state_path).members:
        os.kill(member.pid, signal.SIGKILL)
