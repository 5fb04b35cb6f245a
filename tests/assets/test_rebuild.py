"""A published version made again in an empty place: the same bytes, and no model to ask."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from scripted_night import NIGHT, ScriptedServices

from assets.rebuild import SELECTION, rebuild_version
from assets.run import materialize_night
from pipelines.config import Settings
from pipelines.datasets.published import PublishedVersion, read_version
from pipelines.datasets.rebuild import (
    bring_critics,
    bring_earlier,
    check_source,
    compare,
    other_models,
    rebuild_settings,
)
from pipelines.errors import ModelFolderError, WorkspaceError
from pipelines.inference.replay_only import FailedBeforeError, NotInStoreError, from_store, replay_session
from pipelines.inference.response_store import ResponseStore
from pipelines.inference.scripted import SCRIPTED_DIGEST, CharTokenizer, ScriptedModel
from pipelines.inference.session import Session
from pipelines.inference.types import GenerationRequest, Sampling, UsageStats
from pipelines.lake import Lake
from pipelines.rows import rows_to_table

NEXT_NIGHT = "2026-01-03"


def session_from(path: Path):
    """An OpenSession whose sessions have nothing but a store."""

    @asynccontextmanager
    async def open_session(run_id: str, owner_pid: int, model: str | None) -> AsyncIterator[Session]:
        stats = UsageStats()
        with ResponseStore(path) as store:
            answer = from_store(SCRIPTED_DIGEST, store, stats)
            yield Session(answer, answer, CharTokenizer(), "scripted", SCRIPTED_DIGEST, None, stats, "scripted")

    return open_session


def version_of(night) -> PublishedVersion:
    return read_version(night.summary.dataset_path)


@pytest.mark.slow
def test_every_shard_is_made_again_byte_for_byte_without_a_model_call(night, tmp_path):
    """The critics are trained again too; nothing of the first lake or of its checkpoints is there."""
    workspace = tmp_path / "clone"
    workspace.mkdir()
    settings = night.settings.model_copy(update={"root": workspace})
    store = night.settings.response_store_path
    made = rebuild_version(
        version_of(night), settings, tmp_path / "again", store=store, open_session=session_from(store)
    )
    assert [file.path for file in made.files if not file.is_same] == []
    assert made.version.version == version_of(night).version
    assert other_models(version_of(night).manifest, made.version.manifest) == []  # trained to the same weights
    assert (made.num_model_calls, made.is_same) == (0, True) and made.num_from_store > 0
    left = {path.name for path in (tmp_path / "again").iterdir()}
    assert left <= {made.version.manifest["name"], ".leases"}


@pytest.mark.slow
def test_a_store_without_an_answer_stops_the_rebuild_and_leaves_nothing_behind(night, tmp_path):
    empty = tmp_path / "empty"
    ResponseStore(empty).close()
    settings = night.settings.model_copy(update={"root": tmp_path})
    with pytest.raises(NotInStoreError, match="has no answer to the request"):
        rebuild_version(version_of(night), settings, tmp_path / "again", open_session=session_from(empty))
    assert [path.name for path in (tmp_path / "again").iterdir() if path.name != ".leases"] == []


def test_a_request_that_failed_once_fails_again_and_the_store_stays_as_it_was(tmp_path):
    request = GenerationRequest((1, 2), Sampling(), 0, "sample")
    with ResponseStore(tmp_path / "store") as store:
        store.put_failure(request.request_id("d"), ValueError("too long"))
        store.flush()
        with pytest.raises(FailedBeforeError, match="too long"):
            asyncio.run(from_store("d", store, UsageStats())(request))
        assert store.failure(request.request_id("d")).num_attempts == 1


def test_an_answer_is_handed_out_as_it_was_first_given(tmp_path):
    request = GenerationRequest((1, 2), Sampling(n=2), 0, "sample")
    with ResponseStore(tmp_path / "store") as store:
        first = asyncio.run(ScriptedModel(lambda request: ["a", "b"]).session(store).generate(request))
        stats = UsageStats()
        assert asyncio.run(from_store(SCRIPTED_DIGEST, store, stats)(request)) == replace(first, from_store=True)
        assert (stats.num_requests, stats.num_from_store, stats.completion_tokens) == (1, 1, 0)


def test_another_policy_in_the_same_place_is_refused(tmp_path):
    async def open_session() -> None:
        async with replay_session(Settings(root=tmp_path), None, "0" * 64, "vllm"):
            raise AssertionError

    with pytest.raises(ModelFolderError, match="the data was made with 000000000000"):
        asyncio.run(open_session())


def manifest_of(night: str = NIGHT, **more) -> dict:
    return {"version": "v", "night": night, "code_digest": "0" * 64, "configuration": {}, "models": {},
            "engine": ""} | more  # fmt: skip


def test_other_code_is_said_and_a_configuration_that_no_longer_fits_is_an_error(tmp_path):
    assert "other code may make other rows" in check_source(manifest_of())
    with pytest.raises(WorkspaceError, match="is not one of this code"):
        rebuild_settings(
            manifest_of(configuration={"nothing": 1}), Settings(root=tmp_path), tmp_path, tmp_path / "work", None
        )


def test_earlier_nights_are_linked_and_one_that_is_gone_is_named(tmp_path):
    source, target = Lake(tmp_path / "lake"), Lake(tmp_path / "work")
    for night in ("2026-01-01", NIGHT):
        source.write("critics", rows_to_table("critics", [{"critic_id": "c", "night": night}]), partition=night)
    generation = source.generation("critics", "2026-01-01")
    needed = manifest_of(earlier_generations={"critics/2026-01-01": generation})
    assert bring_earlier(needed, source, target) == 1
    assert target.partitions("critics") == ["2026-01-01"]
    shutil.rmtree(tmp_path / "lake" / "critics" / "2026-01-01")
    with pytest.raises(WorkspaceError, match="was made from critics/2026-01-01"):
        bring_earlier(needed, source, Lake(tmp_path / "other"))


def test_exactly_the_named_generations_are_brought_where_a_manifest_names_them_all(tmp_path):
    """A night that was filled in later, and another filter's rows of an earlier night, stay where they are."""
    source, target = Lake(tmp_path / "lake"), Lake(tmp_path / "work")
    for table, night in (("rollouts", "2025-12-30"), ("rollouts", "2025-12-31"), ("critic_promotions", "2025-12-30")):
        source.write(table, rows_to_table(table, [{"night": night}]), partition=night)
    then = {"rollouts/2025-12-31": source.generation("rollouts", "2025-12-31")}
    two = rows_to_table("rollouts", [{"night": "2025-12-31"}] * 2)
    source.write("rollouts", two, partition="2025-12-31")  # the one before stays on disk
    named = manifest_of(earlier_generations=then, earlier_is_complete=True)
    assert bring_earlier(named, source, target) == 1
    assert target.partitions("rollouts") == ["2025-12-31"] and target.partitions("critic_promotions") == []
    assert target.read("rollouts").num_rows == 1
    nothing = manifest_of(earlier_generations={}, earlier_is_complete=True)
    assert bring_earlier(nothing, source, Lake(tmp_path / "other")) == 0
    before = manifest_of(earlier_generations={})  # of an earlier Reasonmill: every night before
    assert bring_earlier(before, source, Lake(tmp_path / "whole")) == 3
    source.write("rollouts", two, partition="2025-12-31")
    with pytest.raises(WorkspaceError, match="was made from rollouts/2025-12-31"):
        bring_earlier(named, source, Lake(tmp_path / "gone"))


@pytest.mark.parametrize(
    ("key", "generation"),
    [("rollouts/../x", "00000001-20260101T000000-00000000"), ("rollouts/2025-12-31", "../.."), ("no/1", "1"),
     ("rollouts/2025-12-31", 3)],
)  # fmt: skip
def test_a_manifest_cannot_name_anything_but_a_generation_of_a_table(tmp_path, key, generation):
    (tmp_path / "lake").mkdir()
    (tmp_path / "manifest.json").write_text("{}")
    named = manifest_of(earlier_generations={key: generation}, earlier_is_complete=True)
    with pytest.raises(WorkspaceError, match="was made from"):
        bring_earlier(named, Lake(tmp_path / "lake"), Lake(tmp_path / "work"))


def test_the_commit_of_then_is_named_as_far_as_it_is_known():
    commit = "a" * 40
    known = check_source(manifest_of(code_commit=commit, code_has_changes=False))
    assert f"Check out {commit}, or go on" in known
    changed = check_source(manifest_of(code_commit=commit, code_has_changes=True))
    assert f"Check out {commit}, whose source had local changes then" in changed
    assert "the commit of then, which was not recorded" in check_source(manifest_of())


def test_critics_are_kept_only_where_they_are_those_of_the_version(tmp_path):
    source, target = Lake(tmp_path / "lake"), Lake(tmp_path / "work")
    source.write("critics", rows_to_table("critics", [{"digest": "d1", "night": NIGHT}]), partition=NIGHT)
    bring_critics(manifest_of(models={"process_critic": "d1"}), source, target)
    assert target.read("critics", NIGHT)["digest"].to_pylist() == ["d1"]
    with pytest.raises(WorkspaceError, match="was made with the critic d2"):
        bring_critics(manifest_of(models={"process_critic": "d2"}), source, target)


@pytest.mark.slow
def test_kept_critics_make_the_same_shards(night, tmp_path):
    store = night.settings.response_store_path
    made = rebuild_version(
        version_of(night), night.settings, tmp_path / "again", keeps_critics=True, open_session=session_from(store)
    )
    assert made.is_same and "process_critic" not in made.seconds_per_stage


@pytest.mark.slow
def test_a_guided_night_is_made_again_with_the_critics_that_were_current_then(night, tmp_path):
    """Since then nobody is current any more: searched without a guide, other trees would ask what no store has."""
    shutil.copytree(night.settings.root, tmp_path / "workspace")
    rollouts = night.settings.rollouts.model_copy(update={"guided": True})
    settings = night.settings.model_copy(update={"root": tmp_path / "workspace", "rollouts": rollouts})
    summary = materialize_night(settings, NEXT_NIGHT, selection=SELECTION, services=ScriptedServices(settings))
    version = read_version(summary.dataset_path)
    assert version.manifest["earlier_is_complete"]
    assert {f"critics/{NIGHT}", f"critic_promotions/{NIGHT}"} <= set(version.manifest["earlier_generations"])
    Lake(settings.lake_url).write("critic_promotions", rows_to_table("critic_promotions", []), partition=NIGHT)
    store = settings.response_store_path
    made = rebuild_version(version, settings, tmp_path / "again", store=store, open_session=session_from(store))
    assert (made.num_model_calls, made.is_same) == (0, True)


def test_a_shard_that_was_not_made_or_came_out_otherwise_is_told(tmp_path):
    def manifest(**files: str) -> dict:
        return {"sets": {"sft": {"files": [{"path": path, "sha256": digest} for path, digest in files.items()]}}}

    checks = compare(manifest(a="1", b="2", c="3"), PublishedVersion(tmp_path, "v", manifest(a="1", b="9")))
    assert [(check.path, check.is_same, check.found_sha256) for check in checks] == [
        ("a", True, "1"), ("b", False, "9"), ("c", False, None),
    ]  # fmt: skip


def test_labels_that_people_added_later_are_not_brought_to_a_rebuild(tmp_path):
    source, target = Lake(tmp_path / "lake"), Lake(tmp_path / "work")
    first = {"review_id": "a", "import_number": 1, "night": NIGHT}
    source.write("human_labels", rows_to_table("human_labels", [first]), partition=NIGHT)
    generation = source.generation("human_labels", NIGHT)
    later = first | {"review_id": "b", "import_number": 2}
    source.write("human_labels", rows_to_table("human_labels", [first, later]), partition=NIGHT)
    bring_earlier(manifest_of(earlier_generations={f"human_labels/{NIGHT}": generation}), source, target)
    assert target.read("human_labels")["review_id"].to_pylist() == ["a"]
    gone = manifest_of(earlier_generations={"human_labels/2026-01-01": generation})
    with pytest.raises(WorkspaceError, match="of which .* has nothing"):
        bring_earlier(gone, source, target)
    assert bring_earlier(manifest_of(), source, Lake(tmp_path / "other")) == 0  # made without them


def test_a_model_of_other_weights_is_named():
    (sentence,) = other_models(
        {"models": {"policy": "a" * 64, "process_critic": "b" * 64}}, {"models": {"policy": "a" * 64}}
    )
    assert sentence.startswith("process_critic has the weights None, not bbbbbbbbbbbb")
    assert other_models({}, {"models": {"policy": "a"}}) == []
