"""The driver: makes every cell of a plan that is not there yet, each of which appears at once or not at all.

    <out>/plan.json                              what the folder's results belong to
    <out>/cells/<arm>-seed<s>-night<n>.json      a finished cell; written last, by one rename
    <out>/policies/<arm>/seed-<s>/night-<n>/     its policy, with card
    <out>/runs/<arm>/seed-<s>/                   lake, published versions and critics of the arm
    <out>/pools/<arm or shared>/seed-<s>/        the rollouts that policies drew
    <out>/responses/                             every answer of every policy

A process that is killed loses the cell it was at; what that cell had already drawn, published or trained is found
again (pools and versions appear at once, a critic's training goes on, the response store replays answers). Every cell
opens one engine: its policy is measured there, and draws the pool of its next night.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pyarrow as pa

from assets.resources import prompts_of
from pipelines.config import Settings
from pipelines.datasets.manifest import RunInfo
from pipelines.errors import ConfigError, WorkspaceError
from pipelines.inference.engine_service import stop_engine
from pipelines.inference.session import Session, generate_session, model_folder
from pipelines.inference.tokens import model_digest
from pipelines.lake import Lake
from pipelines.problems import load_problems
from pipelines.records import ProgressFn, no_progress
from pipelines.starter.fine_tune import BUILDING, FineTuning, fine_tune
from reasonmill.proof.measure import measure
from reasonmill.proof.night import (
    critique_texts,
    draw_pool,
    flawed_share,
    has_pool,
    publish_sets,
    read_pool,
    select,
    texts_of,
)
from reasonmill.proof.plan import ARMS, BASE, FILTERED, RANDOM, Cell, Plan, cells, settings_of
from reasonmill.proof.policy_card import Origin, policy_card

OpenSession = Callable[[Settings, str, str], AbstractAsyncContextManager[Session]]
"""Opens a session for (settings, policy folder, run id)."""
DisplayFn = Callable[[Cell], AbstractContextManager[ProgressFn]]
Result = dict[str, object]


def open_engine(settings: Settings, model: str, run_id: str) -> AbstractAsyncContextManager[Session]:
    """A session with an engine that ends with this process."""
    return generate_session(settings, model=model, run_id=run_id, owner_pid=os.getpid())


@dataclass(frozen=True)
class Experiment:
    """One plan in one folder."""

    settings: Settings
    plan: Plan
    out: Path
    on_progress: ProgressFn = no_progress
    display: DisplayFn | None = None  # opened for every cell that is made; its progress replaces `on_progress`
    open_session: OpenSession = open_engine

    def settings_of(self, cell: Cell) -> Settings:
        """The plan's configuration with the folders of the cell's arm and seed."""
        chosen = settings_of(self.settings, self.plan, cell.seed, cell.arm)
        own = self.out / "runs" / cell.arm / f"seed-{cell.seed}"
        paths = chosen.paths.model_copy(
            update={
                "lake": str(own / "lake"), "datasets": str(own / "datasets"), "checkpoints": str(own / "critics"),
                "responses": str(self.out / "responses"), "state": str(self.out / "state"),
            }
        )  # fmt: skip
        publishing = chosen.publishing.model_copy(update={"name": f"{cell.arm}-seed{cell.seed}"})
        return chosen.model_copy(update={"paths": paths, "publishing": publishing})

    def pool_lake(self, cell: Cell) -> Lake:
        """Where the pool lies that the cell trains on; night 1's is drawn once per seed."""
        arm = "shared" if cell.night == 1 else cell.arm
        return Lake(self.out / "pools" / arm / f"seed-{cell.seed}")

    def policy(self, cell: Cell) -> Path:
        """The folder of the cell's policy."""
        if cell.arm == BASE:
            return model_folder(self.settings.policy.model)
        return self.out / "policies" / cell.arm / f"seed-{cell.seed}" / f"night-{cell.night}"

    def cell_file(self, cell: Cell) -> Path:
        return self.out / "cells" / f"{cell.name}.json"

    def result(self, cell: Cell) -> Result | None:
        """What a finished cell found; None where it is not finished."""
        file = self.cell_file(cell)
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None

    def results(self) -> dict[Cell, Result]:
        """All finished cells of the plan, in its order."""
        found = {cell: self.result(cell) for cell in cells(self.plan)}
        return {cell: result for cell, result in found.items() if result is not None}


async def run_experiment(experiment: Experiment, on_cell: Callable[[Cell, Result], None]) -> None:
    """Makes what is missing. `on_cell` hears of every cell that is made now.

    Raises ConfigError where the folder holds results of another plan or the plan names unknown arms, and
    PartitionBusyError where another process works in it.
    """
    with Lake(experiment.out).lease("prove"):
        check_plan(experiment)
        remove_unfinished(experiment)
        for cell in cells(experiment.plan):
            if experiment.result(cell) is None:
                with experiment.display(cell) if experiment.display else nullcontext(experiment.on_progress) as report:
                    result = await make_cell(replace(experiment, on_progress=report), cell)
                write_json(experiment.cell_file(cell), result)
                on_cell(cell, result)


def remove_unfinished(experiment: Experiment) -> None:
    """Removes the half-written policies of processes that were killed."""
    for folder in (experiment.out / "policies").glob(f"*/*/{BUILDING}*"):
        shutil.rmtree(folder, ignore_errors=True)


def check_plan(experiment: Experiment) -> None:
    """Writes plan.json, or compares it: ConfigError where the folder's results were made by another plan."""
    unknown = [arm for arm in experiment.plan.arms if arm not in ARMS]
    if unknown:
        raise ConfigError(f"There is no arm {unknown[0]!r}; the arms are {', '.join(ARMS)}.")
    if RANDOM in experiment.plan.arms and FILTERED not in experiment.plan.arms:
        raise ConfigError("The arm `random` is as large as `filtered`, so it needs that arm too.")
    file, mine = experiment.out / "plan.json", asdict(experiment.plan)
    mine |= {"arms": list(experiment.plan.arms), "policy_digest": model_digest(experiment.policy(Cell(BASE, 0, 0)))}
    if file.is_file():
        there = json.loads(file.read_text(encoding="utf-8"))
        may_grow = ("num_seeds", "num_nights", "arms", "num_bootstrap")
        other = [key for key in sorted({*there, *mine} - set(may_grow)) if there.get(key) != mine.get(key)]
        if other:
            raise ConfigError(
                f"{experiment.out} holds results of another plan: {other[0]} is {there.get(other[0])} there and "
                f"{mine.get(other[0])} now. Give another folder with --out, or the same options as before."
            )
    write_json(file, mine)


async def make_cell(experiment: Experiment, cell: Cell) -> Result:
    """The policy of a cell (trained, but for the untrained one), its measurement and its next night's pool."""
    started = time.monotonic()
    settings = experiment.settings_of(cell)
    problems = load_problems(settings)
    trained = {} if cell.arm == BASE else train_policy(experiment, cell, settings)
    ready = time.monotonic()
    policy, run_id = experiment.policy(cell), f"prove-{cell.name}"
    following = Cell(cell.arm, cell.seed, cell.night + 1)
    try:
        async with experiment.open_session(settings, str(policy), run_id) as session:
            measured = await measure(session, settings, experiment.plan, problems, experiment.on_progress)
            measured_at = time.monotonic()
            if following.night <= experiment.plan.num_nights:
                await draw_missing_pool(experiment, following, session, settings, problems)
            engine = session.engine
    finally:
        stop_engine(settings, run_id)
    return {
        "cell": asdict(cell), "policy": str(policy.relative_to(experiment.out) if cell.arm != BASE else policy.name),
        "policy_digest": model_digest(policy), "engine": engine, **trained, "measurement": measured.to_json(),
        "seconds": {
            "train": ready - started, "measure": measured_at - ready, "pool": time.monotonic() - measured_at,
        },
    }  # fmt: skip


async def draw_missing_pool(
    experiment: Experiment, cell: Cell, session: Session, settings: Settings, problems: pa.Table
) -> None:
    """The pool of a cell, by the policy of the cell before it, unless it is there."""
    lake = experiment.pool_lake(cell)
    if not has_pool(lake, cell.label):
        await draw_pool(session, settings, problems, lake, cell.label, experiment.on_progress)


def train_policy(experiment: Experiment, cell: Cell, settings: Settings) -> Result:
    """Selects, publishes and trains tonight's policy of an arm; what that took, as plain data."""
    base, base_digest = experiment.policy(cell.before()), model_digest(experiment.policy(cell.before()))
    lake, plan = Lake(settings.lake_url), experiment.plan
    if not has_pool(experiment.pool_lake(cell), cell.label):
        raise WorkspaceError(
            f"The pool of {cell.name} is not in {experiment.pool_lake(cell).root}. Remove "
            f"{experiment.cell_file(cell.before())}, so that its policy draws it again."
        )
    pool = read_pool(experiment.pool_lake(cell), cell.label)
    size = _rows_of_filtered(experiment, cell)
    sets = select(pool, settings, plan, cell, base, lake, size, experiment.on_progress)
    version = publish_sets(settings, lake, cell, sets, RunInfo(models={"policy": base_digest}, run_id=cell.name))
    rows = texts_of(version)
    config = FineTuning(
        num_tokens=plan.num_training_tokens, learning_rate=plan.learning_rate, keep_weight=plan.keep_weight,
        seed=cell.seed,
    )  # fmt: skip
    origin = Origin(cell.name, base.name, base_digest, version, len(rows))
    made = fine_tune(
        base, rows, experiment.policy(cell), config, kept_texts=critique_texts(pool, prompts_of(settings)),
        card=policy_card(origin, config),
        on_metrics=lambda step, metrics: experiment.on_progress(
            "policy", int(min(metrics["num_tokens"], config.num_tokens)), config.num_tokens, metrics
        ),
    )  # fmt: skip
    return {
        "version": version.version,
        "content_sha256": version.manifest["content_sha256"],
        "num_pool_rollouts": pool.rollouts.num_rows,
        "num_rows": len(rows),
        "flawed_row_share": flawed_share(pool, lake.read("sft", cell.label)),
        "training": {key: value for key, value in asdict(replace(made, folder=Path())).items() if key != "folder"},
    }


def _rows_of_filtered(experiment: Experiment, cell: Cell) -> int | None:
    """Rows of the filtered arm's `sft` of the same seed and night; None for the other arms."""
    if cell.arm != RANDOM:
        return None
    filtered = experiment.result(Cell(FILTERED, cell.seed, cell.night))
    if filtered is None:
        raise WorkspaceError(f"{Cell(FILTERED, cell.seed, cell.night).name} is not finished; it comes first.")
    return int(filtered["num_rows"])


def write_json(path: Path, data: Mapping[str, object]) -> None:
    """Replaces a file by one rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        json.dump(data, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
