"""The whole graph on a real vLLM server under Dagster's multiprocess executor, as the nightly schedule runs it."""

import json
import os
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from assets.versions import PROJECT_ROOT
from pipelines.config import Settings, load_settings
from pipelines.inference.engine_supervisor import read_state
from pipelines.lake import Lake
from pipelines.tables import BY_PEOPLE, SCHEMAS, TRAINING_SETS
from pipelines.warehouse import Warehouse

CONFIG = """
[[problems.sources]]
kind = "starter"
family = "arithmetic"
level = 1
count = 60

[rollouts]
num_search_problems = 16
num_sample_problems = 16
num_simulations = 8

[critiques]
num_rollouts = 12

[process_critic]
steps = 10
batch_size = 16
eval_every = 5

[reports]
num_problems = 8
n_values = [4]
num_samples = 4
num_simulations = 2
num_bootstrap = 100
"""
TIMEOUT_S = 900
ENGINE_END_S = 60


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which `dagster job execute` has run tonight's job."""
    root = tmp_path_factory.mktemp("workspace")
    (root / "reasonmill.toml").write_text(CONFIG)
    home = root / "dagster_home"
    home.mkdir()
    shutil.copy(PROJECT_ROOT / "dagster_home" / "dagster.yaml", home)
    tags = json.dumps({"dagster/partition": datetime.now(UTC).date().isoformat()})
    command = ["-m", "dagster", "job", "execute", "-m", "assets.definitions", "-j", "night", "--tags", tags]
    run = subprocess.run(
        [sys.executable, *command],
        cwd=PROJECT_ROOT,
        env=os.environ | {"REASONMILL_CONFIG": str(root / "reasonmill.toml"), "DAGSTER_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert run.returncode == 0, (run.stdout + run.stderr)[-6000:]
    return root


@pytest.fixture(scope="module")
def settings(workspace: Path) -> Settings:
    return load_settings(workspace / "reasonmill.toml")


pytestmark = [pytest.mark.vllm, pytest.mark.slow]


def test_every_table_was_made_and_the_search_found_right_answers(settings):
    lake = Lake(settings.lake_url)
    assert [table for table in SCHEMAS if not lake.partitions(table)] == list(BY_PEOPLE)
    assert lake.read("search_nodes").num_rows > 16
    with Warehouse(lake) as warehouse:
        rewards = warehouse.query("select recipe, max(outcome_reward) as best from rollouts group by recipe")
    assert {row["recipe"]: row["best"] for row in rewards.to_pylist()} == {"puct": 1.0, "independent_samples": 1.0}


def test_one_engine_served_every_stage_and_is_gone(settings):
    states = sorted((settings.state_dir / "engines").glob("*.json"))
    assert len(list((settings.state_dir / "engines").glob("*.log"))) == 1
    deadline = time.monotonic() + ENGINE_END_S
    while any(state.supervisor.is_alive() for path in states if (state := read_state(path))):
        assert time.monotonic() < deadline, "the engine outlived its run"
        time.sleep(0.5)


def test_the_reports_measure_every_strategy(settings):
    rows = Lake(settings.lake_url).read("policy_report").to_pylist()
    assert {row["strategy"] for row in rows} >= {"greedy", "pass_at_1", "best_of_4_critic", "puct_critic", "oracle_4"}
    assert {row["num_problems"] for row in rows} == {8}


def test_the_published_sets_load_with_datasets_in_a_fresh_process(settings, tmp_path):
    versions = list((settings.datasets_dir / "reasoning").glob("reasoning-*"))
    assert len(versions) == 1
    manifest = json.loads((versions[0] / "manifest.json").read_text())
    code = (
        "import sys; from datasets import load_dataset\n"
        "for name in sys.argv[2:]: print(name, load_dataset(sys.argv[1], name, split='train').num_rows)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code, str(versions[0]), *manifest["sets"]],
        env=os.environ | {"HF_DATASETS_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    counts = dict(line.split() for line in loaded.stdout.splitlines())
    assert counts == {name: str(entry["num_rows"]) for name, entry in manifest["sets"].items()}
    assert set(counts) <= set(TRAINING_SETS) and {"prompts", "rl_groups"} <= set(counts)
