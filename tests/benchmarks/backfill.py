"""A backfill of nights as the UI starts it, with real processes that are killed, against the same nights undisturbed.

    python -m tests.benchmarks backfill
    python -m tests.benchmarks backfill --nights 2 --select search_nodes,search_edges,rollouts,token_usage,gold_steps

The webserver, the daemon and the code server run from `assets.definitions` with a DAGSTER_HOME of their own, and the
model is a scripted server. The backfill is asked for as the page of the assets does it, by GraphQL.

1. While the first night holds the engine, its run is killed (kill -9): the next night has to get the engine.
2. While that one holds it, everything but the webserver is killed: daemon, code server and run. They are started
   again, and a second backfill asks for all nights: one of them has to get the engine, and all have to end well.
3. Every row of every night has to be that of `reasonmill nights run` in a workspace where nobody was killed, made from
   the same server.

The daemon looks at backfills every 30 seconds and at once when it starts; so both are asked for while it is not there.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg

from assets.lost_runs import PARTITION_TAG
from assets.specs import ENGINE_POOL
from pipelines.config import load_settings
from pipelines.lake import Lake
from pipelines.tables import SCHEMAS
from tests.assets.scripted_night import random_model
from tests.benchmarks import record
from tests.benchmarks.killed_night import ATTEMPT, COSTS

ROOT = Path(__file__).parents[2]
NIGHTS = ("2026-01-02", "2026-01-03", "2026-01-04")
BIN = Path(sys.executable).parent
WAIT_S = 600.0  # for anything at all: a busy machine may need minutes
NIGHT_S = 1200.0  # for a whole night, a process per step
BACKFILL_TAG = "dagster/backfill"
ANSWER_S = 0.05  # of the scripted server, so that a stage lasts
CONFIG = """
[engine]
mode = "url"
url = "{url}"
[problems]
sources = [{{kind = "starter", family = "arithmetic", level = 1, count = 40}}]
[rollouts]
num_search_problems = 6
num_sample_problems = 6
num_simulations = 16
num_candidates = 4
num_evaluations = 2
group_size = 8
[critiques]
num_rollouts = 8
[process_critic]
steps = 4
batch_size = 16
eval_every = 2
init = "model"
[reports]
num_problems = 4
n_values = [4]
num_samples = 4
num_simulations = 2
num_bootstrap = 100
[token_scores]
num_rollouts = 4
[tree_extracts]
min_completions = 1
min_value_gap = -1.0
min_right_value = 0.0
[preference_pairs]
min_margin = 0.0
"""
LAUNCH = """
mutation($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }
"""
ASSETS = "{ assetNodes { assetKey { path } isMaterializable } }"
FASTER = {"poll_interval_seconds: 30": "poll_interval_seconds: 2",
          "free_slots_after_run_end_seconds: 30": "free_slots_after_run_end_seconds: 2"}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--nights", type=int, choices=(2, 3), default=3, help="how many")
    parser.add_argument("--select", help="assets only, such as rollouts; default: the whole graph")


def run(arguments: argparse.Namespace) -> None:
    """The backfill with its kills; SystemExit where a row was lost, doubled or changed."""
    with tempfile.TemporaryDirectory() as folder:
        result = record.provenance() | measure(Path(folder), NIGHTS[: arguments.nights], arguments.select)
    record.save("backfill", arguments.out, result, as_markdown(result))
    if result["complaint"]:
        raise SystemExit(result["complaint"])


def measure(folder: Path, nights: Sequence[str], select: str | None) -> dict[str, object]:
    """Nights with kills against nights without; `complaint` is "" where the rows are the same."""
    with scripted_server() as url:
        whole, killed = workspace(folder / "whole", url), workspace(folder / "killed", url)
        started = time.monotonic()
        undisturbed(whole, nights, select)
        undisturbed_s = time.monotonic() - started
        if select is not None:
            undisturbed(killed, nights[:1], "problems")
        with deployed(killed, folder / "home") as dagster:
            seconds = backfill_with_kills(dagster, nights, select)
    wanted, made = rows_of(whole, nights), rows_of(killed, nights)
    wrong = [name for name, rows in wanted.items() if made[name] != rows]
    return {
        "nights": len(nights),
        "num_rows": sum(map(len, wanted.values())),
        "undisturbed_s": undisturbed_s,
        **seconds,
        "complaint": "; ".join(f"{name}: {len(made[name])} rows, {len(wanted[name])} wanted" for name in wrong),
    }


def backfill_with_kills(dagster: "Dagster", nights: Sequence[str], select: str | None) -> dict[str, float]:
    """The first two parts of the head of this file; seconds from each kill until the next night has the engine."""
    started = time.monotonic()
    launch(dagster, nights, select)
    dagster.start("daemon")
    first = wait(dagster, lambda: engine_of(dagster, but=()))
    os.kill(worker_of(dagster, first), signal.SIGKILL)
    killed_at = time.monotonic()
    second = wait(dagster, lambda: engine_of(dagster, but=(first,)))
    run_s = time.monotonic() - killed_at
    worker = worker_of(dagster, second)
    for name in ("daemon", "code"):
        dagster.kill(name)
    os.kill(worker, signal.SIGKILL)
    killed_at = time.monotonic()
    dagster.start("code")
    again = wait(dagster, lambda: launched(dagster, nights, select))
    dagster.start("daemon")
    wait(dagster, lambda: engine_of(dagster, but=(first, second)))
    all_s = time.monotonic() - killed_at
    wait(dagster, lambda: are_done(dagster, again, nights), len(nights) * NIGHT_S)
    statuses = {run_id: dagster.instance.get_run_by_id(run_id).status for run_id in (first, second)}
    if set(statuses.values()) != {dg.DagsterRunStatus.FAILURE}:
        raise SystemExit(f"The killed runs ended as {statuses}: {dagster.last_words()}")
    return {"after_run_s": run_s, "after_all_s": all_s, "backfill_s": time.monotonic() - started}


# what is asked of Dagster -----------------------------------------------------------------------------


@dataclass
class Dagster:
    """Webserver, daemon and code server of one DAGSTER_HOME, each a process group."""

    home: Path
    environment: dict[str, str]
    commands: dict[str, list[str]]
    address: str
    instance: dg.DagsterInstance
    processes: dict[str, subprocess.Popen] = field(default_factory=dict)

    def start(self, name: str) -> None:
        """Starts one of the processes."""
        with open(self.home / f"{name}.log", "ab") as log:
            self.processes[name] = subprocess.Popen(
                self.commands[name], cwd=ROOT, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self, name: str) -> None:
        """Kill -9 of one of the processes and of what belongs to it."""
        os.killpg(self.processes[name].pid, signal.SIGKILL)
        self.processes[name].wait()

    def ask(self, query: str, **variables: object) -> dict:
        """The data of a GraphQL answer; SystemExit where it is an error."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.address}/graphql", body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
        if answer.get("errors"):
            raise SystemExit(str(answer["errors"]))
        return answer["data"]

    def last_words(self) -> str:
        """The ends of what the processes wrote."""
        return "\n".join(path.read_text()[-1500:] for path in sorted(self.home.glob("*.log")))


def launch(dagster: Dagster, nights: Sequence[str], select: str | None) -> str:
    """Asks for a backfill as the UI does; its id."""
    keys = [node["assetKey"] for node in dagster.ask(ASSETS)["assetNodes"] if node["isMaterializable"]]
    if select is not None:
        keys = [key for key in keys if key["path"][0] in select.split(",")]
    params = {"assetSelection": keys, "partitionNames": list(nights), "fromFailure": False, "tags": []}
    return dagster.ask(LAUNCH, params=params)["launchPartitionBackfill"]["backfillId"]


def launched(dagster: Dagster, nights: Sequence[str], select: str | None) -> str | None:
    """The id of a new backfill; None while the webserver has not found the code server."""
    return launch(dagster, nights, select) if is_up(dagster) else None


def are_done(dagster: Dagster, backfill_id: str, nights: Sequence[str]) -> bool:
    """Whether a run of every night of a backfill succeeded; SystemExit where one failed."""
    runs = dagster.instance.get_runs(dg.RunsFilter(tags={BACKFILL_TAG: backfill_id}))
    failed = [run.run_id for run in runs if run.is_finished and not run.is_success]
    if failed:
        raise SystemExit(f"The run {failed[0]} of the second backfill failed: {dagster.last_words()}")
    return {run.tags.get(PARTITION_TAG) for run in runs if run.is_success} >= set(nights)


def engine_of(dagster: Dagster, but: Sequence[str]) -> str | None:
    """The run that holds the engine, unless it is one of some others."""
    storage = dagster.instance.event_log_storage
    if ENGINE_POOL not in storage.get_concurrency_keys():
        return None
    slots = storage.get_concurrency_info(ENGINE_POOL).claimed_slots
    return next((slot.run_id for slot in slots if slot.run_id not in but), None)


def worker_of(dagster: Dagster, run_id: str) -> int:
    """The process that works on a run."""
    events = dagster.instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
    pids = [event.dagster_event.engine_event_data.metadata.get("pid") for event in events]
    return int([pid for pid in pids if pid is not None][-1].value)


def wait(dagster: Dagster, found: Callable[[], str | bool | None], seconds: float = WAIT_S) -> str:
    """What `found` gives as soon as it gives something; SystemExit with the processes' last words after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (one := found()):
        if time.monotonic() > deadline:
            raise SystemExit(f"Nothing happened for {seconds:.0f} s: {dagster.last_words()}")
        time.sleep(0.2)
    return one


# processes and folders --------------------------------------------------------------------------------


@contextmanager
def scripted_server() -> Iterator[str]:
    """A scripted model behind an address."""
    command = [sys.executable, "-m", "tests.benchmarks.scripted_server", str(ANSWER_S)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as server:
        yield server.stdout.readline().strip()
        server.stdin.close()


def workspace(folder: Path, url: str) -> Path:
    """A small workspace whose model is behind an address."""
    folder.mkdir()
    random_model(folder / "model")
    (folder / "reasonmill.toml").write_text(CONFIG.format(url=url))
    return folder


def undisturbed(folder: Path, nights: Sequence[str], select: str | None) -> None:
    """The nights by the command line, in one process and without a DAGSTER_HOME."""
    environment = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    command = ["nights", "run", "--from", nights[0], "--to", nights[-1]]
    command += ["--select", ",".join(dict.fromkeys(["problems", *select.split(",")]))] if select else []
    full = [sys.executable, "-m", "reasonmill.cli.main", "--config", str(folder), *command]
    done = subprocess.run(full, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-1500:]}")


@contextmanager
def deployed(folder: Path, home: Path) -> Iterator[Dagster]:
    """Dagster's processes over a workspace, as `make ui` starts them; the shipped instance, but quicker to look."""
    home.mkdir()
    text = (ROOT / "dagster_home" / "dagster.yaml").read_text()
    for slow, fast in FASTER.items():
        text = text.replace(slow, fast)
    (home / "dagster.yaml").write_text(text)
    code, web = free_port(), free_port()
    locations = home / "workspace.yaml"
    locations.write_text(f"load_from: [{{grpc_server: {{host: 127.0.0.1, port: {code}, location_name: reasonmill}}}}]")
    here = ["--host", "127.0.0.1", "--port"]
    commands = {
        "code": ["dagster", "code-server", "start", "-m", "assets.definitions", *here, str(code)],
        "web": ["dagster-webserver", "-w", str(locations), *here, str(web)],
        "daemon": ["dagster-daemon", "run", "-w", str(locations)],
    }
    environment = os.environ | {"DAGSTER_HOME": str(home), "REASONMILL_CONFIG": str(folder)}
    environment["DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR"] = "1"  # as in the Makefile
    with dg.DagsterInstance.from_config(str(home)) as instance:  # made before three processes make it at once
        dagster = Dagster(
            home, environment, {name: [str(BIN / words[0]), *words[1:]] for name, words in commands.items()},
            f"http://127.0.0.1:{web}", instance,
        )  # fmt: skip
        try:
            for name in ("code", "web"):
                dagster.start(name)
            wait(dagster, lambda: is_up(dagster))
            yield dagster
        finally:
            for name, process in dagster.processes.items():
                if process.poll() is None:
                    dagster.kill(name)


def is_up(dagster: Dagster) -> bool:
    """Whether the webserver answers and knows the assets."""
    try:
        return bool(dagster.ask(ASSETS)["assetNodes"])
    except OSError:
        return False


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def rows_of(folder: Path, nights: Sequence[str]) -> dict[str, list[dict]]:
    """Every row of every night of every table; what names an attempt is left out."""
    lake = Lake(load_settings(folder).lake_url)
    return {
        f"{table}/{night}": lake.read(
            table, night, columns=[name for name in SCHEMAS[table].names if name not in ATTEMPT]
        ).to_pylist()
        for table in sorted(set(SCHEMAS) - COSTS)
        for night in nights
    }


def as_markdown(result: dict) -> list[str]:
    """The table of a result."""
    header = ["nights", "rows", "undisturbed, one process, s", "both backfills, s", "from a killed run to the next, s",
              "from killed daemon, code server and run, s", "harm"]  # fmt: skip
    seconds = [f"{result[name]:.0f}" for name in ("undisturbed_s", "backfill_s", "after_run_s", "after_all_s")]
    row = [result["nights"], result["num_rows"], *seconds, result["complaint"] or "none"]
    return [*record.heading(result), *record.table(header, [row])]
