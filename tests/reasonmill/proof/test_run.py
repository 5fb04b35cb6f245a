"""The driver on a scripted policy: what every cell leaves behind, and that a killed experiment goes on."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from scripted_proof import KILLED, PLAN, experiment

from pipelines.datasets.versions import resolve
from pipelines.errors import ConfigError, PartitionBusyError
from pipelines.inference.tokens import model_digest
from pipelines.lake import Lake
from reasonmill.proof.plan import BASE, FILTERED, RANDOM, REJECTION_SAMPLING, Cell, cells
from reasonmill.proof.policy_card import data_version_of
from reasonmill.proof.report import write_report
from reasonmill.proof.run import Experiment, check_plan, run_experiment, write_json

ROOT = Path(__file__).parents[3]


def finish(one: Experiment) -> list[str]:
    """Runs what is missing; the names of the cells that were made now."""
    made: list[str] = []
    asyncio.run(run_experiment(one, lambda cell, result: made.append(cell.name)))
    return made


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """An experiment that nothing interrupted: three arms, two nights."""
    one = experiment(tmp_path_factory.mktemp("whole") / "out")
    assert finish(one) == [cell.name for cell in cells(PLAN)]
    return one


@pytest.mark.slow
def test_all_arms_train_on_the_same_pool_on_the_first_night_and_on_their_own_afterwards(whole: Experiment) -> None:
    results = whole.results()
    first = [results[Cell(arm, 0, 1)] for arm in (FILTERED, REJECTION_SAMPLING, RANDOM)]
    assert len({result["num_pool_rollouts"] for result in first}) == 1
    assert sorted(path.name for path in (whole.out / "pools").iterdir()) == [
        "filtered", "random", "rejection_sampling", "shared",
    ]  # fmt: skip


@pytest.mark.slow
def test_random_has_as_many_rows_as_filtered_and_all_arms_read_the_same_tokens(whole: Experiment) -> None:
    results = whole.results()
    for night in (1, 2):
        of = {arm: results[Cell(arm, 0, night)] for arm in (FILTERED, REJECTION_SAMPLING, RANDOM)}
        assert of[RANDOM]["num_rows"] == of[FILTERED]["num_rows"] <= of[REJECTION_SAMPLING]["num_rows"]
        tokens = [result["training"]["num_tokens"] for result in of.values()]
        assert all(PLAN.num_training_tokens <= count < PLAN.num_training_tokens + 60 for count in tokens)


@pytest.mark.slow
def test_a_policy_names_the_version_that_it_was_trained_on_and_starts_from_the_night_before(whole: Experiment) -> None:
    for cell, result in whole.results().items():
        if cell.arm == BASE:
            continue
        folder = whole.policy(cell)
        settings = whole.settings_of(cell)
        version = resolve(settings.datasets_dir, settings.publishing.name, data_version_of(folder))
        assert version.version == result["version"]
        assert version.manifest["models"] == {"policy": model_digest(whole.policy(cell.before()))}
        assert sum(pq.read_metadata(file).num_rows for file in (version.path / "sft").iterdir()) == result["num_rows"]
        assert version.manifest["content_sha256"] in (folder / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("kill_at", [20, 39, 58])  # drawing the pool, training a critic, training a policy
def test_an_experiment_that_is_killed_goes_on_and_finds_the_same(
    whole: Experiment, tmp_path: Path, kill_at: int
) -> None:
    script = Path(__file__).with_name("scripted_proof.py")
    out = tmp_path / "out"
    threads = str(torch.get_num_threads())  # weights are the same for as many threads
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": threads}
    killed = subprocess.run([sys.executable, script, out, str(kill_at)], env=environment, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    one = experiment(out, KILLED)
    found = [cell.name for cell in one.results()]
    assert sorted([*found, *finish(one)]) == sorted(cell.name for cell in cells(KILLED))
    for cell, result in one.results().items():
        expected = whole.result(cell)
        for key in ("policy_digest", "content_sha256", "num_rows", "measurement"):
            assert result.get(key) == expected.get(key), (cell, key)
    assert list((one.out / "policies").rglob(".building-*")) == []


@pytest.mark.slow
def test_a_finished_experiment_makes_nothing_and_its_report_is_one_page(whole: Experiment) -> None:
    assert finish(whole) == []
    paths = write_report(whole.out, whole.plan, whole.results())
    page = paths["report.html"].read_text()
    families = set(whole.result(Cell(BASE, 0, 0))["measurement"]["families"])
    assert page.count("<svg") == 5 * (1 + len(families))  # five measures, over all families and in each
    assert "src=" not in page and "http" not in page
    cells_told = json.loads(paths["report.json"].read_text())["cells"]
    assert [cell["name"] for cell in cells_told] == [cell.name for cell in cells(PLAN)]


def test_a_folder_with_results_of_another_plan_is_refused_by_what_differs(tmp_path: Path) -> None:
    one = experiment(tmp_path / "out")
    check_plan(one)
    check_plan(replace(one, plan=replace(PLAN, num_seeds=4, num_nights=9)))  # may grow
    with pytest.raises(ConfigError, match=r"threshold is 0.0 there and 0.7 now"):
        check_plan(replace(one, plan=replace(PLAN, threshold=0.7)))


def test_arms_that_are_unknown_or_miss_their_measure_are_refused(tmp_path: Path) -> None:
    one = experiment(tmp_path / "out")
    with pytest.raises(ConfigError, match="no arm 'best'; the arms are filtered"):
        check_plan(replace(one, plan=replace(PLAN, arms=("best",))))
    with pytest.raises(ConfigError, match="needs that arm too"):
        check_plan(replace(one, plan=replace(PLAN, arms=(RANDOM,))))


def test_two_processes_do_not_work_in_one_folder(tmp_path: Path) -> None:
    one = experiment(tmp_path / "out")
    with Lake(one.out).lease("prove"), pytest.raises(PartitionBusyError):
        finish(one)


def test_a_json_file_is_there_whole_or_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "cells" / "a.json"
    write_json(file, {"n": 1})
    with pytest.raises(TypeError):
        write_json(file, {"n": object()})
    assert json.loads(file.read_text()) == {"n": 1}
