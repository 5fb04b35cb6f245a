"""Pulling: checked, resumable, whole or not at all; what was edited is named and nothing is lost."""

import json
import multiprocessing
import os
import resource
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from dataset_worlds import NIGHTS, files_beside, publish_nights, sft_rows

from pipelines.datasets.published import read_version, set_entry, with_digest
from pipelines.datasets.pull import card_of_sets, pull_version
from pipelines.datasets.versions import DatasetStore
from pipelines.errors import WorkspaceError

SHARDS = [f"sft/train-0000{i}-of-00003.parquet" for i in range(3)]
FILES = ["prompts/train-00000-of-00001.parquet", *SHARDS]


@pytest.fixture
def world(tmp_path: Path) -> tuple[DatasetStore, str, Path]:
    """(store with one version, the version, its folder)."""
    store, (version,) = publish_nights(tmp_path, NIGHTS[:1])
    return store, version, Path(store.root, "tiny", version)


@pytest.fixture
def num_files(world: tuple[DatasetStore, str, Path]) -> int:
    """Files of that version besides card and manifest: four of its sets, and pictures of the card."""
    return 4 + files_beside(read_version(world[2]))


def damage(file: Path) -> None:
    """Another byte in the middle, the size as it was."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))


def rows_of(folder: Path) -> list[dict]:
    return [row for name in SHARDS for row in pq.read_table(folder / name).to_pylist()]


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_pulled_version_is_the_published_one_under_its_own_name(world, num_files, tmp_path):
    store, version, folder = world
    seen = []
    pulled = pull_version(store, "tiny", to=tmp_path / "to", on_progress=lambda *numbers: seen.append(numbers[:2]))
    assert pulled.path == tmp_path / "to" / version
    assert (pulled.num_copied, pulled.num_kept, pulled.warnings) == (num_files, 0, ())
    assert files_in(pulled.path) == files_in(folder)
    assert {"README.md", "manifest.json", *FILES} <= set(files_in(folder))
    assert all((pulled.path / name).read_bytes() == (folder / name).read_bytes() for name in files_in(folder))
    assert rows_of(pulled.path) == sft_rows(NIGHTS[0])
    assert [path.name for path in (tmp_path / "to").iterdir()] == [version]
    assert seen == [(done, num_files) for done in range(num_files + 1)]


def test_pulling_again_copies_nothing(world, num_files, tmp_path):
    store, _, _ = world
    first = pull_version(store, "tiny", to=tmp_path / "to")
    again = pull_version(store, "tiny", to=tmp_path / "to")
    assert (again.path, again.num_copied, again.num_kept, again.num_bytes_copied) == (first.path, 0, num_files, 0)


def test_a_damaged_file_is_named_with_both_checksums_and_the_next_pull_goes_on_from_there(world, num_files, tmp_path):
    store, version, folder = world
    right = (folder / SHARDS[2]).read_bytes()
    expected = json.loads((folder / "manifest.json").read_text())["sets"]["sft"]["files"][2]["sha256"]
    damage(folder / SHARDS[2])
    with pytest.raises(
        WorkspaceError, match=rf"{SHARDS[2]} is damaged: SHA-256 {expected} .*[0-9a-f]{{64}}.* was found"
    ):
        pull_version(store, "tiny", to=tmp_path / "to")
    assert [path.name for path in (tmp_path / "to").iterdir()] == [f".pulling-{version}"]
    (folder / SHARDS[2]).write_bytes(right)
    pulled = pull_version(store, "tiny", to=tmp_path / "to")
    assert pulled.num_copied + pulled.num_kept == num_files
    assert pulled.num_kept >= 1  # files are copied side by side, so which of them the failure stopped may differ
    assert rows_of(pulled.path) == sft_rows(NIGHTS[0])


def test_a_folder_that_cannot_be_pulled_into_is_named_before_anything_is_copied(world, tmp_path):
    store, version, _ = world
    (tmp_path / "file").write_text("mine")
    for to in (tmp_path / "file", tmp_path / "file/to"):
        with pytest.raises(WorkspaceError, match="file.* cannot be made: a file is in its place.*Nothing was copied"):
            pull_version(store, "tiny", to=to)
    with pytest.raises(WorkspaceError, match="cannot be made: File name too long.*Nothing was copied"):
        pull_version(store, "tiny", to=tmp_path / ("x" * 300))
    with pytest.raises(WorkspaceError, match=r"udcff.udcfe' is not UTF-8 text.*Nothing was copied"):
        pull_version(store, "tiny", to=tmp_path / os.fsdecode(b"\xff\xfe"))
    assert (tmp_path / "file").read_text() == "mine"
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / f".pulling-{version}").write_text("in the way")
    with pytest.raises(WorkspaceError, match=f".pulling-{version} could not be written: .*Nothing was copied"):
        pull_version(store, "tiny", to=tmp_path / "to")


def test_a_half_written_file_of_an_interrupted_pull_is_copied_again(world, num_files, tmp_path):
    store, version, folder = world
    partial = tmp_path / "to" / f".pulling-{version}" / "sft"
    partial.mkdir(parents=True)
    (partial / Path(SHARDS[0]).name).write_bytes((folder / SHARDS[0]).read_bytes())
    (partial / Path(SHARDS[1]).name).write_bytes((folder / SHARDS[1]).read_bytes()[:100])
    pulled = pull_version(store, "tiny", to=tmp_path / "to")
    assert (pulled.num_copied, pulled.num_kept) == (num_files - 1, 1)
    assert files_in(pulled.path) == files_in(folder)


def test_a_file_missing_from_the_store_is_named(world, tmp_path):
    store, _, folder = world
    (folder / SHARDS[1]).unlink()
    with pytest.raises(WorkspaceError, match=rf"{SHARDS[1]} cannot be read: it is in the manifest but not there"):
        pull_version(store, "tiny", to=tmp_path / "to")


def test_one_set_is_pulled_alone_and_others_are_added_later(world, num_files, tmp_path):
    store, _, folder = world
    pulled = pull_version(store, "tiny", to=tmp_path / "to", sets=["prompts"])
    assert [name for name in files_in(pulled.path) if name.endswith(".parquet")] == [FILES[0]]
    version = read_version(pulled.path)
    assert set_entry(version, "prompts")["num_rows"] == 1
    with pytest.raises(WorkspaceError, match="pulled with the sets prompts only; pull .* again with --set sft"):
        set_entry(version, "sft")
    assert "config_name: sft" not in (pulled.path / "README.md").read_text()
    more = pull_version(store, "tiny", to=tmp_path / "to", sets=["sft"])
    assert (more.num_copied, more.num_kept) == (3, num_files - 3)
    assert all((pulled.path / name).read_bytes() == (folder / name).read_bytes() for name in files_in(folder))
    with pytest.raises(WorkspaceError, match="no set 'sfd'; did you mean sft"):
        pull_version(store, "tiny", to=tmp_path / "to", sets=["sfd"])


def test_a_file_changed_after_the_pull_is_an_error_and_keeps_its_change(world, tmp_path):
    store, _, _ = world
    path = pull_version(store, "tiny", to=tmp_path / "to").path
    damage(path / SHARDS[0])
    changed = (path / SHARDS[0]).read_bytes()
    with pytest.raises(WorkspaceError, match=f"{SHARDS[0]} was changed after it was pulled.*Nothing was changed"):
        pull_version(store, "tiny", to=tmp_path / "to")
    assert (path / SHARDS[0]).read_bytes() == changed


def test_a_card_edited_by_hand_is_a_warning_that_says_the_data_are_untouched(world, tmp_path):
    store, version, folder = world
    (folder / "README.md").write_text((folder / "README.md").read_text() + "\nNot for children.\n")
    pulled = pull_version(store, "tiny", to=tmp_path / "to")
    (warning,) = pulled.warnings
    assert warning.startswith(f"README.md of {version} was edited after publication")
    assert "data are untouched" in warning
    assert (pulled.path / "README.md").read_text().endswith("Not for children.\n")
    (folder / "README.md").unlink()
    assert "is missing" in pull_version(store, "tiny", to=tmp_path / "other").warnings[0]


def test_a_manifest_that_names_a_file_outside_writes_nothing(world, tmp_path):
    store, version, folder = world
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] = [{"path": "../../../escaped", "num_bytes": 1, "sha256": "0" * 64}]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(WorkspaceError, match="'../../../escaped', which is no path inside"):
        pull_version(store, "tiny", version, to=tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_a_folder_in_the_way_is_explained(world, tmp_path):
    store, version, _ = world
    (tmp_path / "to" / version).mkdir(parents=True)
    with pytest.raises(WorkspaceError, match=f"{version} is not a dataset version"):
        pull_version(store, "tiny", to=tmp_path / "to")
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceError, match="file cannot be made: a file is in its place"):
        pull_version(store, "tiny", to=tmp_path / "file")


def test_a_full_disk_is_explained_and_the_next_pull_goes_on(world, tmp_path):
    store, version, _ = world
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
    try:
        with pytest.raises(WorkspaceError, match=f"could not be written: File too large.*kept in .*.pulling-{version}"):
            pull_version(store, "tiny", to=tmp_path / "to")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in (tmp_path / "to").iterdir()] == [f".pulling-{version}"]
    assert rows_of(pull_version(store, "tiny", to=tmp_path / "to").path) == sft_rows(NIGHTS[0])


def test_processes_that_pull_at_once_get_the_same_folder_and_copy_it_once(world, num_files, tmp_path):
    store, _, _ = world
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()

    def rank() -> None:
        pulled = pull_version(store, "tiny", to=tmp_path / "to")
        results.put((str(pulled.path), pulled.num_copied))

    ranks = [context.Process(target=rank) for _ in range(3)]
    for one in ranks:
        one.start()
    found = [results.get() for _ in ranks]
    for one in ranks:
        one.join()
    assert sorted(num_copied for _, num_copied in found) == [0, 0, num_files]
    assert len({path for path, _ in found}) == 1


def test_a_card_keeps_only_the_configs_of_the_sets_that_were_pulled():
    card = "---\nconfigs:\n- config_name: a\n  data_files: x\n{}license: other\n---\n# T\n- b\n"
    b = "- config_name: b\n  data_files: y\n"
    assert card_of_sets(card.format(b), {"a": None}) == card.format("")
    assert card_of_sets(card.format(b), {"b": None}) == f"---\nconfigs:\n{b}license: other\n---\n# T\n- b\n"
    assert card_of_sets("# no front matter\n", {"b": None}) == "# no front matter\n"


def test_a_card_that_was_edited_in_the_pulled_folder_is_an_error_and_stays(world, tmp_path):
    store, version, _ = world
    card = tmp_path / "to" / version / "README.md"
    for sets in (["sft"], [], []):
        pull_version(store, "tiny", to=tmp_path / "to", sets=sets)  # cards that nobody edited are replaced
    card.write_text("my notes")
    with pytest.raises(WorkspaceError, match=r"README.md was changed after it was pulled: SHA-256 .* was expected"):
        pull_version(store, "tiny", to=tmp_path / "to")
    assert card.read_text() == "my notes"
    card.unlink()
    pull_version(store, "tiny", to=tmp_path / "to")
    assert version in card.read_text()


def test_a_card_that_was_edited_where_it_was_published_can_be_pulled_again(world, tmp_path):
    store, _, folder = world
    (folder / "README.md").write_text("theirs")
    for _ in range(2):
        pulled = pull_version(store, "tiny", to=tmp_path / "to")
        assert len(pulled.warnings) == 1 and (pulled.path / "README.md").read_text() == "theirs"


def test_a_manifest_whose_row_counts_are_not_those_of_the_footers_is_refused(world, tmp_path):
    """Its own digest is right: somebody wrote it so."""
    store, _, folder = world
    manifest = json.loads((folder / "manifest.json").read_text())
    entry = manifest["sets"]["sft"]
    entry["files"][1]["num_rows"] += 1
    entry["num_rows"] += 1
    manifest["num_rows"] += 1
    (folder / "manifest.json").write_text(json.dumps(with_digest(manifest)))
    with pytest.raises(WorkspaceError, match=f"counts 3 rows in the file {SHARDS[1]}, but its Parquet footers 2"):
        pull_version(store, "tiny", to=tmp_path / "to")
    with pytest.raises(WorkspaceError, match="there is no such folder"):
        read_version(tmp_path / "to" / folder.name)


def test_a_partly_pulled_folder_has_a_manifest_that_is_whole_in_itself(world, tmp_path):
    store, _, _ = world
    folder = pull_version(store, "tiny", to=tmp_path / "to", sets=["sft"]).path
    assert read_version(folder).manifest["pulled_sets"] == ["sft"]
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"engine": "another"}))
    with pytest.raises(WorkspaceError, match="says manifest_sha256"):
        read_version(folder)
