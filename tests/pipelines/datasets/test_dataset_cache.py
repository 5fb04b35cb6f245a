"""The cache of `datasets` serves old rows where versions share a path; a user who goes through us is not hit.

Each trap is first shown to be one, in fresh processes with `load_dataset` on folders as anybody would make them; where
a later `datasets` has no such trap any more, that half fails and our cure may go.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from dataset_worlds import NIGHTS, publish_nights

from pipelines.datasets.pull import pull_version
from pipelines.lake import write_parquet

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]
PLAIN = "from datasets import load_dataset; rows = load_dataset({path!r}, 'sft', split='train')"
OURS = "from reasonmill import client; rows = client.load({path!r}, 'sft', source={source!r})"
CARD = "---\nconfigs:\n- config_name: sft\n  data_files:\n  - split: train\n    path: sft/train-*.parquet\n---\n"


@pytest.fixture
def cache(tmp_path: Path) -> dict[str, str]:
    """The environment of the fresh processes: one cache, no network."""
    places = {"HF_HOME": str(tmp_path / "cache"), "HF_DATASETS_CACHE": str(tmp_path / "cache")}
    return {**os.environ, **places, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "PYTHONPATH": str(ROOT)}


def first_completion(code: str, environment: dict[str, str], path: Path | str, source: str | None = None) -> str:
    """What a fresh process gets as the first row's completion."""
    program = f"{code.format(path=str(path), source=source)}; import json; print(json.dumps(rows[0]['completion']))"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def hand_made(folder: Path, completion: str) -> Path:
    """A folder with a card and one row, without what our cards have against the cache."""
    (folder / "sft").mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text(CARD)
    write_parquet(folder / "sft/train-00000-of-00001.parquet", pa.table({"completion": [completion]}))
    return folder


def test_rows_rewritten_in_place_are_the_new_ones_through_us(cache, tmp_path):
    folder = hand_made(tmp_path / "v1", "old")
    assert first_completion(PLAIN, cache, folder) == "old"
    hand_made(folder, "new")
    assert first_completion(PLAIN, cache, folder) == "old"  # the trap
    store, (version, later) = publish_nights(tmp_path, NIGHTS[:2])
    pulled = pull_version(store, "tiny", version, to=tmp_path / "to").path
    assert first_completion(OURS, cache, pulled) == f"a0 {NIGHTS[0]}"
    shard, other = "sft/train-00000-of-00003.parquet", store.resolve("tiny", later).path
    assert (pulled / shard).stat().st_size == Path(other, shard).stat().st_size  # one of another size is refused
    shutil.copyfile(Path(other, shard), pulled / shard)
    assert first_completion(OURS, cache, pulled) == f"a0 {NIGHTS[1]}"
    shutil.rmtree(pulled)
    again = pull_version(store, "tiny", version, to=tmp_path / "to").path
    assert first_completion(OURS, cache, again) == f"a0 {NIGHTS[0]}"


def test_latest_that_moved_on_gives_the_new_rows_through_us(cache, tmp_path):
    link = tmp_path / "latest"
    link.symlink_to(hand_made(tmp_path / "one", "old"))
    assert first_completion(PLAIN, cache, link) == "old"
    link.unlink()
    link.symlink_to(hand_made(tmp_path / "two", "new"))
    assert first_completion(PLAIN, cache, link) == "old"  # the trap
    store, _ = publish_nights(tmp_path, NIGHTS[:1])
    assert first_completion(OURS, cache, "tiny", store.root) == f"a0 {NIGHTS[0]}"
    publish_nights(tmp_path, NIGHTS[1:2])
    assert first_completion(OURS, cache, "tiny@latest", store.root) == f"a0 {NIGHTS[1]}"
    pulled = pull_version(store, "tiny", to=tmp_path / "to").path
    assert first_completion(PLAIN, cache, pulled) == f"a0 {NIGHTS[1]}"  # the folder that we resolved to is unique
    store.rollback("tiny")
    assert first_completion(OURS, cache, "tiny", store.root) == f"a0 {NIGHTS[0]}"


def test_folders_of_the_same_last_name_keep_their_rows_through_us(cache, tmp_path):
    for place, completion in (("A", "of A"), ("B", "of B")):
        hand_made(tmp_path / place / "v1", completion)
    assert first_completion(PLAIN, cache, tmp_path / "A/v1") == "of A"
    assert first_completion(PLAIN, cache, tmp_path / "B/v1") == "of A"  # the trap
    stores = [publish_nights(tmp_path / place, (night,))[0] for place, night in zip("CD", NIGHTS, strict=False)]
    paths = [pull_version(store, "tiny", to=tmp_path / "same").path for store in stores]
    assert [first_completion(PLAIN, cache, path) for path in paths] == [f"a0 {night}" for night in NIGHTS[:2]]
    renamed = []
    for path, place in zip(paths, ("E", "F"), strict=True):
        (tmp_path / place).mkdir()
        renamed.append(path.rename(tmp_path / place / "v1"))
    assert [first_completion(OURS, cache, path) for path in renamed] == [f"a0 {night}" for night in NIGHTS[:2]]
