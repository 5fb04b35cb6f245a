"""Publishing: one immutable folder per content, and `datasets` reads exactly what was published."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.config import PublishingConfig, Settings
from pipelines.datasets.manifest import RunInfo, source_digest
from pipelines.datasets.versions import list_versions, resolve
from pipelines.errors import LakeError, WorkspaceError
from pipelines.lake import Lake
from pipelines.publishing import publish
from pipelines.rows import rows_to_table
from pipelines.tables import SCHEMAS, TRAINING_SETS

NIGHT = "2026-11-03"
ROWS = {
    "sft": [{"prompt": "<solve>1+2\n", "completion": "1+2=3\n#### 3\n", "problem_id": "p", "rollout_id": "r",
             "origin": "search"}],
    "preference": [{"prompt": "<solve>1+2\n", "chosen": "1+2=3\n", "rejected": "1+2=4\n", "margin": 0.5,
                    "problem_id": "p", "pair_id": "x"}],
    "stepwise": [{"prompt": "<solve>1+2\n", "completions": ["1+2=3", "#### 4"], "labels": [True, False],
                  "soft_labels": [0.5, 0.0], "visit_counts": [4, 2], "problem_id": "p", "rollout_id": "r"}],
    "prompts": [{"prompt": "<solve>1+2\n", "reference_answer": "3", "problem_id": "p", "family": "arithmetic",
                 "difficulty": None}],
    "rl_groups": [{"group_id": "g", "rollout_id": "r", "problem_id": "p", "prompt_token_ids": [1],
                   "completion_token_ids": [2, 3], "behaviour_logprobs": [-0.5, -0.25], "policy_version": "d",
                   "reward": 1.0, "advantage": 0.5, "loss_weight": 1.0}],
}  # fmt: skip
LOAD = """
import json, sys
from datasets import load_dataset
found = {name: load_dataset(sys.argv[1], name, split="train") for name in sys.argv[2:]}
print(json.dumps({name: {"rows": rows.to_list(), "features": str(rows.features)} for name, rows in found.items()}))
"""


def make_workspace(tmp_path: Path, **publishing) -> tuple[Settings, Lake]:
    settings = Settings(root=tmp_path / "workspace", publishing=PublishingConfig(name="tiny", **publishing))
    return settings, Lake(settings.lake_url)


def write_sets(lake: Lake, night: str = NIGHT, **changes: list[dict]) -> None:
    for name, rows in (ROWS | changes).items():
        lake.write(name, rows_to_table(name, [row | {"night": night} for row in rows]), partition=night)


def load(path: Path, names: list[str], cache: Path) -> dict:
    """The rows as `datasets` gives them to a fresh process that has no network."""
    environment = os.environ | {"HF_DATASETS_CACHE": str(cache), "HF_HOME": str(cache), "HF_HUB_OFFLINE": "1",
                                "HF_DATASETS_OFFLINE": "1"}  # fmt: skip
    command = [sys.executable, "-c", LOAD, str(path), *names]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def files_of(folder: Path) -> dict[str, tuple[int, int]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.stat().st_ino) for path in files}


@pytest.mark.slow
def test_every_set_loads_with_datasets_in_a_fresh_process(tmp_path):
    settings, lake = make_workspace(tmp_path)
    write_sets(lake)
    version = publish(settings, lake, NIGHT)
    loaded = load(version.path, list(TRAINING_SETS), tmp_path / "cache")
    nulls = {name: dict.fromkeys(SCHEMAS[name].names) for name in ROWS}  # what the rows do not say
    expected = {name: [nulls[name] | row | {"night": NIGHT} for row in rows] for name, rows in ROWS.items()}
    assert {name: found["rows"] for name, found in loaded.items()} == expected
    assert "'labels': List(Value('bool'))" in loaded["stepwise"]["features"]


@pytest.mark.slow
def test_a_second_version_is_not_served_from_the_cache_of_the_first(tmp_path):
    settings, lake = make_workspace(tmp_path)
    write_sets(lake)
    first = publish(settings, lake, NIGHT)
    write_sets(lake, sft=[ROWS["sft"][0] | {"completion": "1+2=3\n#### 9\n"}])  # as many rows, as many bytes
    second = publish(settings, lake, NIGHT)
    cache = tmp_path / "cache"
    assert load(first.path, ["sft"], cache)["sft"]["rows"][0]["completion"] == "1+2=3\n#### 3\n"
    assert load(second.path, ["sft"], cache)["sft"]["rows"][0]["completion"] == "1+2=3\n#### 9\n"
    assert load(first.path, ["sft"], cache)["sft"]["rows"][0]["completion"] == "1+2=3\n#### 3\n"


def test_the_manifest_says_what_is_there_and_where_it_came_from(tmp_path):
    settings, lake = make_workspace(tmp_path)
    write_sets(lake)
    info = RunInfo(code_digest="c0de", engine="vllm 1.2", models={"policy": "abc"}, run_id="run-1")
    version = publish(settings, lake, NIGHT, run_info=info)
    manifest = version.manifest
    assert version.version.startswith(f"tiny-{NIGHT}-{manifest['content_sha256'][:12]}")
    assert version.path == settings.datasets_dir / "tiny" / version.version
    assert {name: entry["num_rows"] for name, entry in manifest["sets"].items()} == dict.fromkeys(TRAINING_SETS, 1)
    assert manifest["upstream_generations"]["sft"] == lake.generation("sft", NIGHT)
    assert (manifest["code_digest"], manifest["engine"], manifest["models"]) == ("c0de", "vllm 1.2", {"policy": "abc"})
    assert manifest["configuration"]["publishing"]["name"] == "tiny"
    for entry in manifest["sets"].values():
        for file in entry["files"]:
            assert pq.read_metadata(version.path / file["path"]).num_rows == file["num_rows"]
    assert str(tmp_path) not in json.dumps(manifest)


def test_publishing_the_same_content_again_gives_the_same_version_and_writes_nothing(tmp_path):
    settings, lake = make_workspace(tmp_path)
    write_sets(lake)
    first = publish(settings, lake, NIGHT)
    before = files_of(first.path)
    write_sets(lake)  # a new generation of the same rows
    assert publish(settings, lake, NIGHT) == first
    assert files_of(first.path) == before
    assert [path.name for path in first.path.parent.iterdir()] == [first.version]


def test_sets_without_rows_are_left_out_and_nothing_at_all_is_an_error(tmp_path):
    settings, lake = make_workspace(tmp_path)
    write_sets(lake, sft=[], rl_groups=[])
    version = publish(settings, lake, NIGHT)
    assert sorted(version.manifest["sets"]) == ["preference", "prompts", "stepwise"]
    assert not (version.path / "sft").exists()
    with pytest.raises(WorkspaceError, match="nothing to publish for 2026-11-04"):
        publish(settings, lake, "2026-11-04")
    assert [one.version for one in list_versions(settings.datasets_dir, "tiny")] == [version.version]


def test_large_sets_are_cut_into_shards(tmp_path):
    settings, lake = make_workspace(tmp_path, max_shard_rows=2)
    write_sets(lake, sft=[ROWS["sft"][0] | {"rollout_id": str(i)} for i in range(5)])
    version = publish(settings, lake, NIGHT, ["sft"])
    names = [file["path"] for file in version.manifest["sets"]["sft"]["files"]]
    assert names == [f"sft/train-0000{i}-of-00003.parquet" for i in range(3)]
    rows = pa.concat_tables([pq.read_table(version.path / name) for name in names])
    assert rows["rollout_id"].to_pylist() == list("01234")


def test_versions_are_listed_oldest_first_and_found_by_name_digest_or_latest(tmp_path):
    settings, lake = make_workspace(tmp_path)
    made = []
    for night in ("2026-11-03", "2026-11-04"):
        write_sets(lake, night)
        made.append(publish(settings, lake, night))
    folder = settings.datasets_dir
    assert list_versions(folder, "tiny") == made
    assert resolve(folder, "tiny") == made[1]
    assert resolve(folder, "tiny", made[0].version) == made[0]
    assert resolve(folder, "tiny", "tiny-2026-11-04") == made[1]
    assert resolve(folder, "tiny", str(made[0].manifest["content_sha256"])[:8]) == made[0]
    with pytest.raises(WorkspaceError, match="fits 2 versions"):
        resolve(folder, "tiny", "tiny-2026")
    with pytest.raises(WorkspaceError, match="There is no dataset 'other'.*there are: tiny"):
        resolve(folder, "other")


def test_only_the_newest_versions_are_kept(tmp_path):
    settings, lake = make_workspace(tmp_path, keep=2)
    nights = ["2026-11-03", "2026-11-04", "2026-11-05"]
    for night in nights:
        write_sets(lake, night)
        publish(settings, lake, night)
    assert [one.manifest["night"] for one in list_versions(settings.datasets_dir, "tiny")] == nights[1:]
    assert len(list((settings.datasets_dir / "tiny").iterdir())) == 2


def test_a_folder_without_a_manifest_is_no_version(tmp_path):
    settings, lake = make_workspace(tmp_path)
    write_sets(lake)
    version = publish(settings, lake, NIGHT)
    (version.path / "manifest.json").unlink()
    assert list_versions(settings.datasets_dir, "tiny") == []


def test_a_disk_that_takes_no_more_leaves_no_version_behind(tmp_path):
    settings, lake = make_workspace(tmp_path)
    write_sets(lake)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
    try:
        with pytest.raises(LakeError, match="could not be written"):
            publish(settings, lake, NIGHT)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((settings.datasets_dir / "tiny").iterdir()) == []


def test_a_datasets_folder_that_cannot_be_made_is_explained(tmp_path):
    settings, lake = make_workspace(tmp_path)
    write_sets(lake)
    settings.datasets_dir.parent.mkdir(parents=True, exist_ok=True)
    settings.datasets_dir.write_text("in the way")
    with pytest.raises(WorkspaceError, match="datasets"):
        publish(settings, lake, NIGHT)


def test_the_source_digest_is_stable():
    assert source_digest() == source_digest()
    assert len(source_digest()) == 64
