"""How long does a changed filter take to a new published version? One night of made-up rollouts in a lake.

    python -m tests.benchmarks changed_filter --rows 100000 1000000

A first version is published with PROF removing 4 of every 8 rollouts. Then the filter is changed (2 are removed), and
in a process of its own the chain of the assets is gone again: read the night, `filter_rollouts`, write both tables,
`build_training_sets`, write the sets, `publish`. Seconds of every stage and the process's peak memory; rollouts have 4
to 12 steps, two tokens each, and one row of step_scores per step.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa

from assets.resources import prompts_of
from assets.training_sets import LARGE
from pipelines.config import ConsistencyConfig, ConsistencyMethodConfig, PathsConfig, Settings
from pipelines.consistent_rollouts import filter_rollouts
from pipelines.lake import Lake
from pipelines.publishing import publish
from pipelines.tables import SCHEMAS, TRAINING_SETS
from pipelines.training_sets import build_training_sets
from tests.benchmarks import record

NIGHT = "2026-01-01"
FIRST, CHANGED = 4, 2  # rollouts removed per group of 8
CHUNK = 200_000  # rollouts made at a time
UPSTREAM = ("problems", "rollouts", "search_nodes", "preference_pairs")
LATER = ("verdicts", "refinements", "step_scores")
PROBLEMS = """
    select concat('p', i) as problem_id, 'made' as family, 1 as difficulty, concat('problem ', i) as prompt,
        '1' as reference_answer, 'train' as split, concat('c', i) as canonical, 'exact' as grader,
        false as is_evaluation, 'made' as source
    from range($first // 8, $last // 8) as one(i)
"""
ROLLOUTS = """
    select concat('r', i) as rollout_id, concat('p', i // 8) as problem_id, concat('g', i // 8) as group_id,
        'independent_samples' as recipe, 'policy' as policy_id, 'v1' as policy_version, $night as night, i as seed,
        [concat('step ', s, ' of ', i) for s in range(4 + (hash(i) % 9)::bigint)] as steps, '1' as answer,
        (hash(i, 1) % 2)::double as outcome_reward, 2 * (4 + (hash(i) % 9)::bigint) as num_tokens,
        [1, 2, 3]::bigint[] as prompt_token_ids,
        [s for s in range(2 * (4 + (hash(i) % 9)::bigint))]::bigint[] as completion_token_ids,
        [-0.5 for s in range(2 * (4 + (hash(i) % 9)::bigint))]::double[] as token_logprobs, 0 as num_given_tokens,
        -1.0 as sum_logprob, 'stop' as finish_reason
    from range($first, $last) as one(i)
"""
SCORES = """
    select concat('r', i) as rollout_id, s as step, 'critic' as source, 'v1' as scorer_version,
        hash(i, s, 2) % 1001 / 1000 as score, $night as night
    from (select i, unnest(range(4 + (hash(i) % 9)::bigint)) as s from range($first, $last) as one(i))
"""
QUERIES = {"problems": PROBLEMS, "rollouts": ROLLOUTS, "step_scores": SCORES}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000], help="rollouts, in groups of 8")
    parser.add_argument("--child", nargs=2, metavar=("FOLDER", "REMOVED"), help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> None:
    """Every size in a folder of its own; save and show."""
    if arguments.child is not None:
        folder, removed = arguments.child
        record.say(json.dumps(published(Path(folder), int(removed))))
        return
    sizes = [measured(rows) for rows in arguments.rows]
    result = record.provenance() | {"sizes": sizes}
    record.save("changed_filter", arguments.out, result, [*record.heading(result), *as_markdown(sizes)])


def measured(num_rows: int) -> dict[str, object]:
    """Both versions of one size; the seconds are those of the second."""
    with tempfile.TemporaryDirectory() as folder:
        make(Lake(settings_in(Path(folder)).lake_url), num_rows)
        first, second = (_child(folder, removed) for removed in (FIRST, CHANGED))
    record.say(f"{num_rows:,}: {second}")
    return {"num_rows": num_rows, "is_new_version": first["version"] != second["version"], **second}


def settings_in(folder: Path) -> Settings:
    """A workspace in a folder."""
    return Settings(root=folder, paths=PathsConfig())


def make(lake: Lake, num_rows: int) -> None:
    """The tables of a night whose rollouts are scored and not yet filtered."""
    for table in (*UPSTREAM, *LATER):
        partition = "all" if table == "problems" else NIGHT
        query = QUERIES.get(table)
        lake.write(
            table, _batches(table, query, num_rows) if query else SCHEMAS[table].empty_table(), partition=partition
        )


def _batches(table: str, query: str, num_rows: int) -> Iterator[pa.RecordBatch]:
    schema = SCHEMAS[table]
    with duckdb.connect() as connection:
        for first in range(0, num_rows, CHUNK):
            params = {"first": first, "last": min(first + CHUNK, num_rows), "night": NIGHT}
            params = {name: value for name, value in params.items() if f"${name}" in query}
            made = connection.sql(query, params=params).to_arrow_table()
            columns = [
                made[field.name].cast(field.type)
                if field.name in made.column_names
                else pa.nulls(made.num_rows, field.type)
                for field in schema
            ]
            yield from pa.table(columns, schema=schema).to_batches()


def published(folder: Path, num_removed: int) -> dict[str, object]:
    """From the lake's night to a version, stage by stage."""
    settings = settings_in(folder)
    lake, seconds = Lake(settings.lake_url), {}
    config = ConsistencyConfig(
        methods=(ConsistencyMethodConfig(name="prof", parameters={"num_removed": num_removed}),), use=("prof",)
    )
    clock = time.perf_counter()

    def stage(name: str) -> None:
        nonlocal clock
        seconds[name], clock = round(time.perf_counter() - clock, 2), time.perf_counter()

    tables = {
        name: (lake.dataset if name in LARGE else lake.read)(name, "all" if name == "problems" else NIGHT)
        for name in (*UPSTREAM, *LATER)
    }
    stage("read")
    made = filter_rollouts(tables["rollouts"], tables["step_scores"], config, NIGHT)
    stage("filter")
    for name, rows in vars(made).items():
        lake.write(name, rows, partition=NIGHT)
    num_kept = made.consistent_rollouts.num_rows
    del made
    stage("write results")
    inputs = [tables[name] for name in UPSTREAM]
    later = [tables[name] for name in LATER]
    sets = build_training_sets(
        *inputs, lake.dataset("consistent_rollouts", NIGHT), *later, prompts_of(settings), settings.training_sets, NIGHT
    )
    for name, rows in sets.items():
        lake.write(name, rows, partition=NIGHT)
    num_published = {name: rows.num_rows for name, rows in sets.items() if rows.num_rows}
    del sets
    stage("training sets")
    version = publish(settings, lake, NIGHT, TRAINING_SETS)
    stage("publish")
    return {
        "version": version.version,
        "num_kept": num_kept,
        "num_published": num_published,
        "seconds": seconds,
        "total_s": round(sum(seconds.values()), 2),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }


def _child(folder: str, removed: int) -> dict[str, object]:
    command = [sys.executable, "-m", "tests.benchmarks", "changed_filter", "--child", folder, str(removed)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def as_markdown(sizes: list[dict]) -> list[str]:
    """One line per size."""
    stages = list(sizes[0]["seconds"])
    rows = [
        [f"{one['num_rows']:,}", f"{one['num_kept']:,}", *(f"{one['seconds'][name]:.1f}" for name in stages),
         f"{one['total_s']:.1f}", f"{one['num_rows'] / one['total_s']:,.0f}", one["peak_gib"], one["is_new_version"]]
        for one in sizes
    ]  # fmt: skip
    header = [
        "rollouts",
        "kept",
        *(f"{name}, s" for name in stages),
        "in all, s",
        "rollouts/s",
        "peak GiB",
        "new version",
    ]
    return record.table(header, rows)
