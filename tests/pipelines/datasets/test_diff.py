"""Two versions of tiny sets whose differences are counted by hand."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipelines.config import PublishingConfig, Settings
from pipelines.datasets.diff import SetDiff, VersionDiff, diff_versions, ks_distance
from pipelines.datasets.diff_page import headline, to_html
from pipelines.datasets.manifest import RunInfo
from pipelines.datasets.published import PULLED_SETS, PublishedVersion
from pipelines.errors import WorkspaceError
from pipelines.lake import Lake
from pipelines.publishing import publish
from pipelines.rows import rows_to_table

OLD = {
    "preference": [
        {"pair_id": "a", "problem_id": "p", "prompt": "x", "chosen": "1", "rejected": "22", "margin": 1.0},
        {"pair_id": "b", "problem_id": "p", "prompt": "x", "chosen": "1", "rejected": "22", "margin": 2.0},
        {"pair_id": "c", "problem_id": "q", "prompt": "x", "chosen": "1", "rejected": "22", "margin": 3.0},
    ],
    "sft": [
        {"rollout_id": "r", "origin": "refinements", "problem_id": "p", "completion": "1"},
        {"rollout_id": "r", "origin": "refinements", "problem_id": "p", "completion": "2"},
    ],
}
NEW = {
    "preference": [
        {"pair_id": "c", "problem_id": "q", "prompt": "x", "chosen": "1", "rejected": "22", "margin": 3.0},
        {"pair_id": "b", "problem_id": "p", "prompt": "x", "chosen": "<b>", "rejected": "22", "margin": None},
        {"pair_id": "<i>d", "problem_id": "s", "prompt": "x", "chosen": "1", "rejected": "22", "margin": 4.0},
    ],
    "sft": [{"rollout_id": "r", "origin": "refinements", "problem_id": "p", "completion": "1"}],
    "prompts": [{"prompt": "x", "problem_id": "p", "family": "arithmetic", "difficulty": 1}],
}


def published(root: Path, night: str, sets: dict[str, list[dict]], temperature: float = 1.0) -> PublishedVersion:
    rollouts = {"temperature": temperature}
    settings = Settings(root=root, publishing=PublishingConfig(name="tiny"), rollouts=rollouts)
    lake = Lake(settings.lake_url)
    for name, rows in sets.items():
        lake.write(name, rows_to_table(name, [row | {"night": night} for row in rows]), partition=night)
    return publish(settings, lake, night, list(sets), RunInfo(code_digest="c", models={"policy": f"d-{night}"}))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> VersionDiff:
    root = tmp_path_factory.mktemp("workspace")
    return diff_versions(published(root, "2026-11-03", OLD), published(root, "2026-11-04", NEW, temperature=0.5))


def of(found: VersionDiff, name: str) -> SetDiff:
    return next(one for one in found.sets if one.name == name)


def test_rows_are_added_removed_changed_or_the_same_by_their_key(found):
    pairs = of(found, "preference")
    assert (pairs.num_added, pairs.num_removed, pairs.num_changed, pairs.num_same) == (1, 1, 1, 1)
    assert (pairs.added, pairs.removed, pairs.changed) == (("<i>d",), ("a",), ("b",))
    assert pairs.changed_columns == (("chosen", 1), ("margin", 1))
    assert (pairs.num_old_problems, pairs.num_new_problems, pairs.num_shared_problems) == (2, 3, 2)


def test_a_night_that_differs_alone_changes_no_row_and_repeated_keys_are_matched_in_order(found):
    sft = of(found, "sft")
    assert (sft.num_added, sft.num_removed, sft.num_changed, sft.num_same) == (0, 1, 0, 1)
    assert sft.removed == ("r refinements",)


def test_a_set_that_only_one_version_has_came_or_went_as_a_whole(found):
    prompts = of(found, "prompts")
    assert (prompts.num_old, prompts.num_new, prompts.num_added, prompts.shifts) == (0, 1, 1, ())


def test_numbers_shift_by_the_largest_gap_of_their_distributions_and_nulls_are_told_apart(found):
    """Margins 1, 2, 3 against 3, 4: at 2 the old function has reached 2/3 and the new one 0."""
    margin = next(one for one in of(found, "preference").shifts if one.column == "margin")
    assert margin.distance == pytest.approx(2 / 3)
    assert (margin.old_nulls, margin.new_nulls) == (0.0, pytest.approx(1 / 3))
    assert margin.old_quantiles[1] == 2.0 and margin.new_quantiles[1] == 3.5


def test_words_shift_by_half_the_sum_of_the_gaps_of_their_shares(tmp_path):
    rows = [{"rollout_id": f"r{i}", "origin": "search", "problem_id": "p"} for i in range(4)]
    new = [row | {"origin": "refinements" if i == 0 else "search"} for i, row in enumerate(rows)]
    before, after = (published(tmp_path, f"2026-11-0{i}", {"sft": one}) for i, one in ((3, rows), (4, new)))
    origin = next(one for one in of(diff_versions(before, after), "sft").shifts if one.column == "origin")
    assert origin.distance == 0.25
    assert origin.new_shares == (("search", 0.75), ("refinements", 0.25))


@pytest.mark.parametrize(
    ("old", "new", "distance"),
    [([1, 2, 3], [1, 2, 3], 0.0), ([1, 1], [2, 2], 1.0), ([1, 2], [2, 3], 0.5), ([], [1], None), ([1], [], None)],
)
def test_the_distance_of_two_samples(old, new, distance):
    assert ks_distance(np.array(old, float), np.array(new, float)) == distance


def test_models_and_settings_that_differ_are_named_and_paths_are_not(found):
    assert [(one.key, one.old, one.new) for one in found.configuration] == [("rollouts.temperature", "1.0", "0.5")]
    assert ("models.policy", "d-2026-11-03", "d-2026-11-04") in [
        (one.key, one.old, one.new) for one in found.provenance
    ]


def test_the_same_version_has_no_difference(tmp_path):
    version = published(tmp_path, "2026-11-03", OLD)
    same = diff_versions(version, version)
    assert headline(same) == "0 rows added, 0 removed, 0 changed, 5 the same; 0 settings differ."
    assert same.provenance == () and {shift.distance for one in same.sets for shift in one.shifts} == {0.0}


def test_only_the_chosen_sets_are_compared(tmp_path):
    version = published(tmp_path, "2026-11-03", OLD)
    assert [one.name for one in diff_versions(version, version, ["sft"]).sets] == ["sft"]


def test_a_column_that_came_is_named_and_changes_no_row(tmp_path):
    version = published(tmp_path, "2026-11-03", {"sft": OLD["sft"]})
    file = version.path / version.manifest["sets"]["sft"]["files"][0]["path"]
    other = tmp_path / "other" / "sft"
    other.mkdir(parents=True)
    rows = pa.parquet.read_table(file).append_column("weight", pa.array([1.0, 2.0]))
    pa.parquet.write_table(rows, other / file.name)
    manifest = json.loads(json.dumps(version.manifest))
    manifest["sets"]["sft"]["files"][0]["sha256"] = hashlib.sha256((other / file.name).read_bytes()).hexdigest()
    found = diff_versions(version, PublishedVersion(other.parent, "other", manifest))
    assert of(found, "sft").added_columns == ("weight",) and of(found, "sft").num_same == 2


def test_a_column_of_another_type_is_named_with_both_types(tmp_path):
    version = published(tmp_path, "2026-11-03", {"sft": OLD["sft"]})
    manifest = json.loads(json.dumps(version.manifest))
    manifest["sets"]["sft"]["columns"]["completion"] = "large_string"
    found = diff_versions(version, PublishedVersion(version.path, "other", manifest))
    assert of(found, "sft").retyped_columns == (("completion", "string", "large_string"),)
    assert "columns of another type: <code>completion (string -&gt; large_string)</code>" in to_html(found)


def pulled(version: PublishedVersion, folder: Path, *sets: str) -> PublishedVersion:
    """A folder that has only these sets of a version."""
    for name in sets:
        shutil.copytree(version.path / name, folder / name)
    return PublishedVersion(folder, version.version, dict(version.manifest) | {PULLED_SETS: list(sets)})


def test_a_folder_that_lacks_prompts_is_compared_without_families_and_difficulties_and_that_is_said(tmp_path):
    whole = published(tmp_path, "2026-11-03", NEW)
    part = pulled(whole, tmp_path / "part", "sft")
    for pair in ((part, whole), (whole, part)):
        found = diff_versions(*pair, ["sft"])
        assert (of(found, "sft").num_same, of(found, "sft").num_added) == (1, 0)
        assert {"family", "difficulty"}.isdisjoint(shift.column for shift in of(found, "sft").shifts)
        (sentence,) = found.left_out
        assert sentence.startswith(f"{part.path} was pulled without prompts") and "difficulties" in sentence
        assert sentence in to_html(found) and sentence in found.to_json()["left_out"]
    (all_there,) = [diff_versions(whole, whole, ["sft"])]
    assert all_there.left_out == () and "family" in {shift.column for shift in of(all_there, "sft").shifts}


def test_without_names_the_sets_that_were_not_pulled_are_left_out_and_with_names_they_are_an_error(tmp_path):
    whole = published(tmp_path, "2026-11-03", NEW)
    part = pulled(whole, tmp_path / "part", "sft", "prompts")
    found = diff_versions(part, whole)
    assert [one.name for one in found.sets] == ["sft", "prompts"]
    assert found.left_out == (f"{part.path} was pulled without preference: not compared.",)
    with pytest.raises(WorkspaceError, match="pull .* again with --set preference"):
        diff_versions(part, whole, ["preference"])


def test_what_data_say_is_escaped_on_the_page(found):
    html = to_html(found)
    assert "&lt;i&gt;d" in html and "<i>d" not in html
    assert "rollouts.temperature" in html


def test_a_damaged_or_missing_shard_is_named_with_both_checksums(tmp_path):
    version = published(tmp_path, "2026-11-03", {"sft": OLD["sft"]})
    (file,) = version.manifest["sets"]["sft"]["files"]
    shard = version.path / file["path"]
    data = shard.read_bytes()
    shard.write_bytes(data[:20] + bytes([data[20] ^ 1]) + data[21:])
    with pytest.raises(
        WorkspaceError, match=f"is damaged: SHA-256 {file['sha256']} .* was found. Pull the version again"
    ):
        diff_versions(version, version)
    shard.unlink()
    with pytest.raises(WorkspaceError, match="cannot be read: No such file.*Pull the version again"):
        diff_versions(version, version)
