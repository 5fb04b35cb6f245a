"""Publishing a version again puts right what is damaged of it, and writes nothing where nothing is."""

import json
from pathlib import Path

import pytest
from dataset_worlds import NIGHTS, make_settings, publish_night, publish_nights, sft_rows

from pipelines.config import Settings
from pipelines.datasets.published import PublishedVersion, read_version, with_digest
from pipelines.datasets.pull import pull_version
from pipelines.datasets.versions import DatasetStore, list_versions
from pipelines.errors import WorkspaceError
from reasonmill import client

SHARD = "sft/train-00001-of-00003.parquet"


@pytest.fixture
def world(tmp_path: Path) -> tuple[Settings, DatasetStore, PublishedVersion]:
    """A workspace with one version, in shards of two rows."""
    settings = make_settings(tmp_path, max_shard_rows=2)
    return settings, DatasetStore(settings.datasets_url), publish_night(settings, NIGHTS[0])


def damage(file: Path) -> None:
    """Another byte in the middle, the size as it was."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def inodes_of(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_ino for path in folder.rglob("*") if path.is_file()}


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-10])


@pytest.mark.parametrize("harm", [damage, cut, Path.unlink])
def test_a_damaged_shard_is_replaced_by_the_same_bytes_and_nothing_else_is_touched(world, tmp_path, harm, caplog):
    settings, store, version = world
    store.pin("tiny", version.version, "prod")
    before, inodes = bytes_of(version.path), inodes_of(version.path)
    harm(version.path / SHARD)
    with pytest.raises(WorkspaceError, match=SHARD):
        pull_version(store, "tiny", to=tmp_path / "to")
    assert publish_night(settings, NIGHTS[0]) == version
    assert f"{version.version} was damaged and has been put right ({SHARD})" in caplog.text
    assert bytes_of(version.path) == before
    after = inodes_of(version.path)
    assert {path for path in after if after[path] != inodes[path]} <= {SHARD}
    pulled = pull_version(store, "tiny", "prod", tmp_path / "to")
    assert client.open(pulled.path, "sft").to_table().to_pylist() == sft_rows(NIGHTS[0])
    assert {path.name for path in version.path.parent.iterdir()} == {version.version, "pins"}


def cut_manifest(file: Path) -> None:
    file.write_text("{")


def edit_manifest(file: Path) -> None:
    file.write_text(file.read_text().replace(NIGHTS[0], NIGHTS[1]))


def forge_rows(file: Path) -> None:
    """Numbers that add up, and a digest that fits them: only the Parquet files know better."""
    manifest = json.loads(file.read_text())
    manifest["sets"]["sft"]["files"][0]["num_rows"] += 1
    manifest["sets"]["sft"]["num_rows"] += 1
    manifest["num_rows"] += 1
    file.write_text(json.dumps(with_digest(manifest)))


@pytest.mark.parametrize("harm", [cut_manifest, edit_manifest, forge_rows])
def test_a_damaged_manifest_is_made_again_beside_the_shards_that_are_right(world, tmp_path, harm, caplog):
    settings, store, version = world
    inodes = inodes_of(version.path)
    harm(version.path / "manifest.json")
    damage(version.path / SHARD)
    again = publish_night(settings, NIGHTS[0])
    assert "was damaged and has been put right" in caplog.text and "manifest.json: it " in caplog.text
    assert again.manifest["sets"] == version.manifest["sets"]
    assert read_version(version.path) == again
    after = inodes_of(version.path)
    changed = {path for path in after if after[path] != inodes[path]}
    assert changed <= {SHARD, "README.md", "manifest.json"}
    pulled = pull_version(store, "tiny", to=tmp_path / "to")
    assert (pulled.version, pulled.warnings) == (version.version, ())


def test_a_lost_card_or_picture_is_made_again(world, tmp_path):
    settings, store, version = world
    for name in ("README.md", "figures/overview.png"):
        (version.path / name).unlink()
        publish_night(settings, NIGHTS[0])
        assert (version.path / name).is_file()
    assert pull_version(store, "tiny", to=tmp_path / "to").warnings == ()


def test_a_whole_version_is_returned_without_writing_and_so_is_one_whose_card_was_edited(world, caplog):
    settings, _, version = world
    (version.path / "README.md").write_text("mine")
    before, inodes = bytes_of(version.path), inodes_of(version.path)
    assert publish_night(settings, NIGHTS[0]) == version
    assert (bytes_of(version.path), inodes_of(version.path)) == (before, inodes)
    assert caplog.text == ""


def test_a_damaged_manifest_of_another_version_stops_no_publication(world):
    settings, store, version = world
    (version.path / "manifest.json").write_text("{")
    second = publish_night(settings, NIGHTS[1])
    assert list(store.listing("tiny").damaged) == [version.version]
    assert store.resolve("tiny", second.version) == second
    publish_night(settings, NIGHTS[0])
    assert [one.version for one in list_versions(store.root, "tiny")] == [version.version, second.version]


def test_a_repair_that_fails_midway_leaves_the_manifest_for_last_and_the_next_one_finishes(world, tmp_path):
    settings, store, version = world
    (version.path / "manifest.json").write_text("{")
    damage(version.path / SHARD)
    (version.path / "README.md").unlink()
    (version.path / "README.md/in the way").mkdir(parents=True)
    with pytest.raises(WorkspaceError, match="cannot be read or written"):
        publish_night(settings, NIGHTS[0])
    assert list(store.listing("tiny").damaged) == [version.version]
    (version.path / "README.md/in the way").rmdir()
    (version.path / "README.md").rmdir()
    publish_night(settings, NIGHTS[0])
    assert pull_version(store, "tiny", to=tmp_path / "to").version == version.version


def test_a_folder_that_holds_another_version_is_not_overwritten(world):
    settings, _, version = world
    other = publish_night(settings, NIGHTS[1])
    manifest = (other.path / "manifest.json").read_bytes()
    (version.path / "manifest.json").write_bytes(manifest)
    with pytest.raises(WorkspaceError, match=f"holds the version {other.version}"):
        publish_night(settings, NIGHTS[0])
    assert (version.path / "manifest.json").read_bytes() == manifest


def test_a_damaged_version_on_an_object_store_is_put_right(tmp_path):
    url = f"memory://{tmp_path.name}/datasets"
    store, (version,) = publish_nights(tmp_path, NIGHTS[:1], url)
    folder = f"{store.folder('tiny')}/{version}"
    right = store.filesystem.cat_file(f"{folder}/{SHARD}")
    store.filesystem.pipe_file(f"{folder}/{SHARD}", right[:-1] + b"x")
    publish_nights(tmp_path, NIGHTS[:1], url)
    assert store.filesystem.cat_file(f"{folder}/{SHARD}") == right
    store.filesystem.pipe_file(f"{folder}/manifest.json", b"{")
    store.filesystem.rm_file(f"{folder}/{SHARD}")
    publish_nights(tmp_path, NIGHTS[:1], url)
    assert pull_version(store, "tiny", to=tmp_path / "to").version == version
