"""Finding versions, pins and rollbacks, and what a damaged or foreign folder is."""

import hashlib
import json
import os
import shutil
import time
from pathlib import Path

import pytest
from dataset_worlds import NIGHTS, make_settings, publish_night, publish_nights

from pipelines.datasets.diff import diff_versions
from pipelines.datasets.lineage import versions_with_model
from pipelines.datasets.pins import DamagedPinError, Pin, Target, parse_pin
from pipelines.datasets.published import manifest_digest, parse_manifest, read_version
from pipelines.datasets.rebuild import check_source
from pipelines.datasets.versions import DatasetStore, list_versions, split_spec
from pipelines.errors import DatasetWarning, PartitionBusyError, WorkspaceError
from pipelines.leases import hold_lease
from pipelines.redaction import redacted


def manifest_file(store: DatasetStore, version: str) -> Path:
    return Path(store.root, "tiny", version, "manifest.json")


def edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


# finding ------------------------------------------------------------------------------------------


def test_a_store_knows_its_datasets_and_near_names(tmp_path):
    store, _ = publish_nights(tmp_path, NIGHTS[:1])
    (Path(store.root) / "no_dataset").mkdir()
    assert store.names() == ["tiny"]
    for version in ("latest", "prod"):
        with pytest.raises(WorkspaceError, match="There is no dataset 'tinny' in .*; did you mean tiny"):
            store.resolve("tinny", version)
    with pytest.raises(WorkspaceError, match="'../tiny' cannot name a dataset"):
        store.resolve("../tiny")


def test_an_unknown_version_gets_the_near_ones_and_the_pins(tmp_path):
    store, made = publish_nights(tmp_path, NIGHTS[:1])
    store.pin("tiny", made[0], "prod")
    with pytest.raises(WorkspaceError, match=f"'prof' is not a version .*{made[0]}; did you mean prod"):
        store.resolve("tiny", "prof")


def test_a_name_and_a_version_are_split_at_the_sign():
    assert split_spec("tiny") == ("tiny", "latest")
    assert split_spec("tiny@prod") == ("tiny", "prod")
    for text in ("@prod", "tiny@", ""):
        with pytest.raises(WorkspaceError, match="names no version"):
            split_spec(text)


def test_user_names_passwords_and_tokens_of_urls_are_not_shown():
    text = redacted("https://user:pa55@host/x?token=abc&part=2#end and s3://bucket/a@b")
    assert text == "https://***@host/x?token=***&part=2#end and s3://bucket/a@b"
    with pytest.raises(WorkspaceError) as caught:
        DatasetStore("nosuch://user:pa55@host/x")
    assert "pa55" not in str(caught.value) and "***@host" in str(caught.value)


def test_credentials_in_a_url_of_the_configuration_do_not_reach_the_manifest(tmp_path):
    settings = make_settings(tmp_path, "memory://user:pa55@host/datasets")
    version = publish_night(settings, NIGHTS[0])
    assert "pa55" not in json.dumps(version.manifest) and "pa55" not in str(version.path)
    store = DatasetStore(settings.datasets_url)
    assert b"pa55" not in store.read_file(version, "README.md")
    assert store.resolve("tiny").version == version.version


# pins ---------------------------------------------------------------------------------------------


def test_a_pin_is_a_version_by_another_name_and_moves(tmp_path):
    store, made = publish_nights(tmp_path)
    store.pin("tiny", made[0], "prod")
    assert store.resolve("tiny", "prod").version == made[0]
    store.pin("tiny", "latest", "prod")
    assert store.resolve("tiny", "prod").version == made[2]
    assert [target.version for target in store.pins("tiny")["prod"].targets] == [made[0], made[2]]
    assert json.loads(Path(store.root, "tiny/pins/prod.json").read_text())["pin"] == "prod"
    assert store.unpin("tiny", "prod").version == made[2]
    assert store.pins("tiny") == {}
    with pytest.raises(WorkspaceError, match="no pin 'prod'; it has no pins"):
        store.unpin("tiny", "prod")


def test_a_pin_rolls_back_through_all_that_were_pinned_and_not_back_to_where_it_came_from(tmp_path):
    store, (a, b, c) = publish_nights(tmp_path)
    for version in (a, b, c):
        store.pin("tiny", version, "prod")
    assert [store.rollback("tiny", pin="prod").version for _ in range(2)] == [b, a]
    with pytest.raises(WorkspaceError, match=f"no target before {a}"):
        store.rollback("tiny", pin="prod")
    assert store.rollback("tiny", to=c, pin="prod").version == c
    assert store.rollback("tiny", pin="prod").version == b
    with pytest.raises(WorkspaceError, match="did you mean prod"):
        store.rollback("tiny", pin="prood")
    store.unpin("tiny", "prod")
    with pytest.raises(WorkspaceError, match="tiny has no pin 'prod'; it has no pins."):
        store.rollback("tiny", pin="prod")


@pytest.mark.parametrize("pin", ["latest", "tiny-2026", "../x", "", "a b", ".hidden"])
def test_a_pin_cannot_be_called_like_a_version_or_a_path(tmp_path, pin):
    store, made = publish_nights(tmp_path, NIGHTS[:1])
    with pytest.raises(WorkspaceError, match="rollback tiny --to VERSION" if pin == "latest" else "cannot name a pin"):
        store.pin("tiny", made[0], pin)


def test_latest_rolled_back_stays_there_until_something_newer_is_published(tmp_path):
    store, (a, b) = publish_nights(tmp_path, NIGHTS[:2])
    assert store.rollback("tiny").version == a
    assert store.resolve("tiny").version == a
    assert store.pins_in_effect("tiny") == {"latest": a}
    publish_nights(tmp_path, NIGHTS[1:2])  # the same content again: still the version that was rolled back from
    assert store.resolve("tiny").version == a
    _, (c,) = publish_nights(tmp_path, NIGHTS[2:])
    assert store.resolve("tiny").version == c
    assert store.pins_in_effect("tiny") == {}


def test_latest_rolls_back_step_by_step_to_a_named_version_and_is_undone(tmp_path):
    store, (a, b, c) = publish_nights(tmp_path)
    assert [store.rollback("tiny").version for _ in range(2)] == [b, a]
    with pytest.raises(WorkspaceError, match=f"{a} is the oldest version"):
        store.rollback("tiny")
    assert store.rollback("tiny", to=b).version == b
    store.unpin("tiny", "latest")
    assert store.resolve("tiny").version == c
    with pytest.raises(WorkspaceError, match="`latest` is not rolled back"):
        store.unpin("tiny", "latest")


def damage_pin(store: DatasetStore, pin: str, text: str = "{") -> None:
    file = Path(store.root, "tiny/pins", f"{pin}.json")
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", '{"targets": []}', '{"targets": ["a"]}', "[" * 100_000,
        '{"targets": [{"version": "../../etc", "set_at": "", "how": "pin"}]}',
        '{"targets": [{"version": "tiny-1", "set_at": "", "how": "pin", "newest_at": 1}]}',
    ],
)  # fmt: skip
def test_what_is_no_pin_is_an_error_with_both_ways_out(text):
    with pytest.raises(DamagedPinError, match="here is damaged .*pin tiny@VERSION prod.*unpin tiny prod"):
        parse_pin(text.encode(), "prod", "tiny", "here")


def test_a_damaged_pin_is_named_and_stops_no_other_pin_and_not_latest(tmp_path, caplog):
    store, (a, b) = publish_nights(tmp_path, NIGHTS[:2], keep=10)
    store.pin("tiny", a, "stable")
    damage_pin(store, "prod")
    with pytest.raises(WorkspaceError, match=r"pins/prod.json is damaged .*pin tiny@VERSION prod.*unpin tiny prod"):
        store.resolve("tiny", "prod")
    assert [store.resolve("tiny", one).version for one in ("latest", "stable", a)] == [b, a, a]
    assert (list(store.pins("tiny")), list(store.pin_listing("tiny").damaged)) == (["stable"], ["prod"])
    assert store.rollback("tiny").version == a
    assert store.unpin("tiny", "latest").version == a
    assert store.unpin("tiny", "stable").version == a
    assert store.remove_old("tiny", keep=1, just_made=b) == []  # who knows what it pinned
    assert "pins/prod.json is damaged" in caplog.text
    with pytest.raises(WorkspaceError, match=f"{a} is not deleted: the pin 'prod' might point at it.*unpin tiny prod"):
        store.delete("tiny", a)
    assert [one.version for one in list_versions(store.root, "tiny")] == [a, b]


def test_a_damaged_pin_is_set_again_or_removed(tmp_path):
    store, (a, b) = publish_nights(tmp_path, NIGHTS[:2])
    damage_pin(store, "prod")
    assert [target.version for target in store.pin("tiny", a, "prod").targets] == [a]
    assert store.resolve("tiny", "prod").version == a
    damage_pin(store, "prod")
    assert store.unpin("tiny", "prod") is None
    assert store.pin_listing("tiny").damaged == {}
    assert store.delete("tiny", a) == a


def test_a_damaged_rollback_of_latest_is_named_and_both_ways_out_work(tmp_path):
    store, (a, b) = publish_nights(tmp_path, NIGHTS[:2])
    damage_pin(store, "latest")
    with pytest.raises(WorkspaceError, match=r"pins/latest.json is damaged.*rollback tiny --to VERSION.*--undo"):
        store.resolve("tiny")
    assert store.rollback("tiny", to=a).version == a
    damage_pin(store, "latest")
    assert store.unpin("tiny", "latest") is None
    assert store.resolve("tiny").version == b


def pin_of(*moves: str) -> Pin:
    """`A` pins A, `<A` rolls back to A."""
    return Pin("prod", tuple(Target(one.strip("<"), "", "rollback" if "<" in one else "pin") for one in moves))


@pytest.mark.parametrize(
    ("moves", "before"),
    [
        (["A"], None),
        (["A", "B"], "A"),
        (["A", "B", "B"], "A"),
        (["A", "B", "C", "<B"], "A"),
        (["A", "B", "<A"], None),
        (["A", "B", "<A", "C"], "A"),  # not B, which was rolled back from
        (["A", "B", "<Z"], "A"),  # Z took the place of B
        (["A", "B", "<Z", "C"], "Z"),
        (["A", "<Z"], None),
        (["A", "B", "C", "<B", "<A", "<C"], "B"),  # C again, as it was
        (["A", "B", "A", "C", "<A", "<B"], "A"),
        (["A", "B", "A", "C", "<A", "<B", "<A"], None),
    ],
)
def test_a_pin_goes_back_to_where_it_pointed_before_and_never_to_what_was_rolled_back_from(moves, before):
    assert pin_of(*moves).version_before() == before


# order --------------------------------------------------------------------------------------------


def test_a_version_made_again_for_an_older_night_is_never_the_latest(tmp_path):
    settings = make_settings(tmp_path, keep=2)
    a, c = (publish_night(settings, night).version for night in (NIGHTS[0], NIGHTS[2]))
    store = DatasetStore(settings.datasets_url)
    b = publish_night(settings, NIGHTS[1]).version  # a backfill; of a, b and c the two last nights are kept
    assert [one.version for one in store.listing("tiny").versions] == [b, c]
    assert store.resolve("tiny").version == c
    a = publish_night(settings, NIGHTS[0], num_rows=6).version  # of an older night than those kept, and just made
    assert [one.version for one in store.listing("tiny").versions] == [a, b, c]
    again = publish_night(settings, NIGHTS[2], num_rows=6).version
    assert store.resolve("tiny").version == again  # of one night the one made last
    assert [one.version for one in store.listing("tiny").versions] == [c, again]
    assert store.rollback("tiny").version == c


def test_a_backfill_does_not_end_a_rollback_of_latest(tmp_path):
    store, (a, c) = publish_nights(tmp_path, [NIGHTS[0], NIGHTS[1]])
    assert store.rollback("tiny").version == a
    publish_nights(tmp_path, ["2026-11-02"])
    assert store.resolve("tiny").version == a
    assert store.pins_in_effect("tiny") == {"latest": a}
    _, (d,) = publish_nights(tmp_path, NIGHTS[2:])
    assert store.resolve("tiny").version == d


def test_a_rollback_from_before_the_order_by_nights_holds_until_something_is_published(tmp_path):
    store, (a, b) = publish_nights(tmp_path, NIGHTS[:2])
    newest_at = store.resolve("tiny").manifest["created_at"]
    target = {"version": a, "set_at": "", "how": "rollback", "newest_at": newest_at}
    damage_pin(store, "latest", json.dumps({"format": 1, "pin": "latest", "targets": [target]}))
    assert store.resolve("tiny").version == a
    _, (c,) = publish_nights(tmp_path, NIGHTS[2:])
    assert store.resolve("tiny").version == c


def test_without_a_number_to_keep_no_version_is_removed(tmp_path):
    store, made = publish_nights(tmp_path, [f"2026-11-{day:02}" for day in range(1, 13)])
    assert [one.version for one in store.listing("tiny").versions] == made


def test_only_one_process_changes_pins_at_a_time(tmp_path):
    store, made = publish_nights(tmp_path, NIGHTS[:1])
    with (
        hold_lease(store.filesystem, f"{store.root}/.leases/tiny.json", "test"),
        pytest.raises(PartitionBusyError, match="the pins of tiny is being written by process"),
    ):
        store.pin("tiny", made[0], "prod")
    assert store.pins("tiny") == {}


# disappearing -------------------------------------------------------------------------------------


def test_a_pinned_version_is_neither_deleted_nor_cleaned_away(tmp_path):
    store, (a, b) = publish_nights(tmp_path, NIGHTS[:2])
    store.pin("tiny", a, "prod")
    with pytest.raises(WorkspaceError, match="the pin 'prod' points at it.*unpin tiny prod"):
        store.delete("tiny", a)
    _, (c,) = publish_nights(tmp_path, NIGHTS[2:], keep=1)
    assert [one.version for one in list_versions(store.root, "tiny")] == [a, c]  # b was neither pinned nor newest
    store.unpin("tiny", "prod")
    assert store.delete("tiny", a) == a
    assert [one.version for one in list_versions(store.root, "tiny")] == [c]


def test_the_version_that_latest_was_rolled_back_to_is_not_deleted(tmp_path):
    store, (a, b) = publish_nights(tmp_path, NIGHTS[:2])
    store.rollback("tiny")
    with pytest.raises(WorkspaceError, match="the pin 'latest' points at it.*rollback tiny --undo"):
        store.delete("tiny", a)
    with pytest.raises(WorkspaceError, match="a name that moves"):
        store.delete("tiny", "latest")
    assert store.delete("tiny", b) == b  # the bad one may go
    assert store.resolve("tiny").version == a


def test_a_pin_whose_version_is_gone_says_so(tmp_path):
    store, (a, b) = publish_nights(tmp_path, NIGHTS[:2])
    store.pin("tiny", a, "prod")
    manifest_file(store, a).unlink()
    with pytest.raises(WorkspaceError, match=f"The pin 'prod' names {a}, which is gone"):
        store.resolve("tiny", "prod")


def test_what_killed_publishers_left_is_removed_after_a_day_and_not_before(tmp_path):
    store, _ = publish_nights(tmp_path, NIGHTS[:1])
    left, new = (Path(store.root, "tiny", f".building-{name}") for name in ("old", "new"))
    left.mkdir()
    new.mkdir()
    os.utime(left, (time.time() - 25 * 3600,) * 2)
    publish_nights(tmp_path, NIGHTS[1:2])
    assert (left.exists(), new.exists()) == (False, True)


# bad input ----------------------------------------------------------------------------------------


def test_a_folder_that_is_no_version_is_refused_by_name(tmp_path):
    (tmp_path / "rows").mkdir()
    with pytest.raises(WorkspaceError, match="rows is not a dataset version: it has no manifest.json"):
        read_version(tmp_path / "rows")
    with pytest.raises(WorkspaceError, match="there is no such folder"):
        read_version(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"content_sha256": "0" * 64}, "its sets give .* edited or cut"),
        ({"content_sha256": 7}, "`content_sha256` is 7"),
        ({"version": "../x"}, "`version` is '../x'"),
        ({"created_at": None}, "`created_at` is None"),
        ({"sets": {}}, "`sets` is not an object"),
        ({"sets": {"sft": {"columns": {}, "files": [], "num_rows": 0}}}, "'sft' lacks `columns` or `files`"),
        ({"sets": {"../sft": {}}}, "'../sft' cannot name a set"),
        ({"files": [{"path": "README.md", "num_bytes": 1, "sha256": "0" * 64}]}, "the file 'README.md'"),
        ({"filters": None}, "`filters` is null, not an object"),
        ({"seeds": None}, "`seeds` is null, not an object"),
        ({"configuration": None}, "`configuration` is null, not an object"),
        ({"configuration": {"policy": {"model": 1}}}, "`configuration.policy.model` is 1, not a text"),
        ({"models": None}, "`models` is null, not an object"),
        ({"contamination": 5}, "`contamination` is 5, not an object"),
        ({"contamination": {"by_words": [1]}}, "a test of `contamination.by_words` is 1"),
        ({"pulled_sets": "sft"}, '`pulled_sets` is "sft", not a list'),
        ({"num_rows": 7}, "`num_rows` is 7, but its sets have 6"),
        ({"night": None}, "`night` is null, not a text"),
        ({"seeds": {"rollouts.seed": 1}}, "says manifest_sha256 [0-9a-f]{64}, but its text gives .* edited or cut"),
        ({"models": {"policy": "another"}}, "says manifest_sha256"),
        ({"manifest_sha256": None}, "says manifest_sha256 None"),
    ],
)
def test_a_manifest_that_was_tampered_with_is_refused_with_the_field(tmp_path, change, reason):
    store, made = publish_nights(tmp_path, NIGHTS[:1])
    edit(manifest_file(store, made[0]), **change)
    with pytest.raises(WorkspaceError, match=f"manifest.json cannot be used: .*{reason}"):
        read_version(Path(store.root, "tiny", made[0]))


def test_a_digest_that_was_cut_out_is_missed_and_manifests_of_the_format_before_it_are_read(tmp_path):
    store, made = publish_nights(tmp_path, NIGHTS[:1])
    file = manifest_file(store, made[0])
    manifest = json.loads(file.read_text())
    assert manifest["manifest_sha256"] == manifest_digest(manifest)
    del manifest["manifest_sha256"]
    file.write_text(json.dumps(manifest))
    with pytest.raises(WorkspaceError, match="lacks `manifest_sha256`"):
        store.resolve("tiny")
    old = ("version", "name", "content_sha256", "created_at", "sets")
    file.write_text(json.dumps({"format": 1} | {key: manifest[key] for key in old}))
    assert store.resolve("tiny").version == made[0]
    assert [one.name for one in diff_versions(store.resolve("tiny"), store.resolve("tiny")).sets] == ["sft", "prompts"]
    assert versions_with_model(store, "tiny", "d") == []
    with pytest.raises(WorkspaceError, match="does not say `code_digest`.*an earlier Reasonmill"):
        check_source(store.resolve("tiny").manifest)


def test_numbers_of_rows_that_do_not_add_up_are_refused(tmp_path):
    store, made = publish_nights(tmp_path, NIGHTS[:1])
    manifest = json.loads(manifest_file(store, made[0]).read_text())
    manifest["sets"]["sft"]["num_rows"] = 6
    with pytest.raises(WorkspaceError, match="the set 'sft' has num_rows 6, but its files 5"):
        parse_manifest(json.dumps(manifest).encode(), "here")
    manifest["sets"]["sft"]["tokens"] = {"num_prompt_tokens": "1", "num_completion_tokens": 0}
    with pytest.raises(WorkspaceError, match="`num_prompt_tokens` of the set 'sft' is \"1\", not a whole number"):
        parse_manifest(json.dumps(manifest).encode(), "here")


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "sft/.hidden", "a\\b", "C:/x", "", "a//b", "a\n"])
def test_a_file_that_leaves_the_folder_is_refused(path):
    sets = {"sft": {"columns": {}, "num_rows": 1, "files": [{"path": path, "num_bytes": 1, "sha256": "0" * 64}]}}
    parts = json.dumps([["sft", {}, ["0" * 64]]])
    manifest = {
        "version": "tiny-1",
        "created_at": "",
        "content_sha256": hashlib.sha256(parts.encode()).hexdigest(),
        "sets": sets,
    }
    with pytest.raises(WorkspaceError, match="which is no path inside the version's folder; refused"):
        parse_manifest(json.dumps(manifest).encode(), "here")


def test_a_damaged_version_is_named_while_the_others_stay_readable(tmp_path):
    store, (a, b, c) = publish_nights(tmp_path)
    manifest_file(store, b).write_text("{")
    found = store.listing("tiny")
    assert [one.version for one in found.versions] == [a, c]
    assert list(found.damaged) == [b]
    assert store.resolve("tiny", c).version == c
    with pytest.raises(WorkspaceError, match=f"newest cannot be told.*not JSON.*delete tiny@{b}"):
        store.resolve("tiny")  # the damaged one may be the newest
    with pytest.raises(WorkspaceError, match="not JSON"):
        list_versions(store.root, "tiny")
    assert store.delete("tiny", b) == b
    assert store.resolve("tiny").version == c


def test_a_version_that_was_copied_or_renamed_in_the_store_is_not_listed_as_another(tmp_path):
    store, made = publish_nights(tmp_path, NIGHTS[:1])
    folder = Path(store.root, "tiny")
    shutil.copytree(folder / made[0], folder / "tiny-mine")
    assert "was renamed or copied" in store.listing("tiny").misplaced["tiny-mine"]
    assert [one.version for one in list_versions(store.root, "tiny")] == made
    with pytest.warns(DatasetWarning, match="tiny-mine holds the version"):
        assert store.resolve("tiny").version == made[0]
    with pytest.raises(WorkspaceError, match="tiny-mine holds the version"):
        store.resolve("tiny", "tiny-mine")
    assert store.delete("tiny", "tiny-mine") == "tiny-mine"
    (folder / made[0]).rename(folder / "tiny-other")
    with pytest.warns(DatasetWarning), pytest.raises(WorkspaceError, match="There is no version of the dataset 'tiny'"):
        store.resolve("tiny")


# publishing: the same rows, the same bytes --------------------------------------------------------


def test_how_the_lake_has_cut_its_files_does_not_change_the_version(tmp_path):
    settings, other = make_settings(tmp_path / "one"), make_settings(tmp_path / "two")
    version = publish_night(settings, NIGHTS[0], num_rows=3000)
    from dataset_worlds import sft_rows

    from pipelines.lake import Lake
    from pipelines.publishing import publish
    from pipelines.rows import rows_to_table

    lake = Lake(other.lake_url)
    rows = rows_to_table("sft", sft_rows(NIGHTS[0], 3000))
    with lake.writer("sft", partition=NIGHTS[0], row_group_bytes=10_000) as writer:
        for start in range(0, 3000, 700):
            writer.add(rows.slice(start, 700))
        writer.commit()
    lake.write("prompts", Lake(settings.lake_url).read("prompts"), partition=NIGHTS[0])
    assert publish(other, lake, NIGHTS[0], ["sft", "prompts"]).version == version.version
