"""Which critic is the current one after a real night, and what a critic that is held leaves behind."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest
from scripted_night import NIGHT, ScriptedServices, small_settings

from assets.critics import member_scorer
from assets.current_critic import report_change
from assets.definitions import build_definitions
from assets.run import materialize_night
from critics.calibrated import FILE, Calibration
from critics.calibration import Temperature
from critics.errors import CheckpointError
from critics.registry import current_set, history, promoted_paths, promotions, rollback
from pipelines.config import PromotionConfig, Settings
from pipelines.lake import Lake

pytestmark = pytest.mark.slow
NEXT_NIGHT = "2026-01-03"
MADE = (
    "rollouts,process_critic,policy_report,step_scores,consistency_results,preference_pairs,sft,published_version,"
    "critic_trials,critic_promotions"
)
FILTERED = {
    "step_scores", "consistency_results", "consistent_rollouts", "preference_pairs", "pair_results",
    "sft", "preference", "stepwise", "prompts", "rl_groups",
}  # fmt: skip


@pytest.fixture
def workspace(night, tmp_path, monkeypatch):
    """A copy of the first night, and of the Dagster instance that recorded it."""
    shutil.copytree(night.settings.root, tmp_path / "workspace")
    shutil.copytree(night.home, tmp_path / "home")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    return night.settings.model_copy(update={"root": tmp_path / "workspace"})


def run(settings: Settings, night: str, selection: str | None = None):
    return materialize_night(settings, night, selection=selection, services=ScriptedServices(settings))


def stale(settings: Settings, night: str) -> set[str]:
    graph = build_definitions(settings).resolve_asset_graph()
    with dg.DagsterInstance.get() as instance:
        resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
        partitioned = {key for key in graph.materializable_asset_keys if graph.get(key).is_partitioned}
        return {key.to_user_string() for key in partitioned if resolver.get_status(key, night) == StaleStatus.STALE}


def test_the_first_night_promotes_without_comparison(night):
    trial = night.lake.read("critic_trials", NIGHT).to_pylist()[0]
    assert (trial["reason"], trial["current_id"], trial["is_promotable"]) == ("first_critic", None, True)
    assert trial["num_unguided_problems"] > 0 and trial["unguided_difference"] is None
    assert [row["reason"] for row in promotions(night.lake)] == ["first_critic"]
    full = night.lake.read("critics", NIGHT).to_pylist()[-1]
    assert current_set(night.lake, NIGHT).full.critic_id == full["critic_id"]


def test_the_trial_comes_last_so_that_nothing_is_stopped_with_it(night):
    assert list(night.summary.seconds_per_stage)[-3:] == ["critic_trials", "night_report", "critic_promotions"]


def test_the_critic_was_tried_on_problems_that_it_has_not_learned_from(night):
    problems = {row["problem_id"]: row for row in night.lake.read("problems").to_pylist()}
    samples = night.lake.read("evaluation_rollouts", NIGHT)["problem_id"].to_pylist()
    assert samples and all(problems[name]["is_evaluation"] for name in samples)
    current = current_set(night.lake, NIGHT)
    for member in current.members:
        assert not member_scorer(night.settings, member).training_problems & set(samples)


def test_a_better_or_equal_critic_takes_over_and_what_the_old_one_filtered_is_stale(workspace):
    settings = workspace.model_copy(update={"promotion": PromotionConfig(max_drift=1000.0)})
    lake = Lake(settings.lake_url)
    run(settings, NEXT_NIGHT, MADE)
    trial = lake.read("critic_trials", NEXT_NIGHT).to_pylist()[0]
    assert trial["current_id"] == current_set(lake, NIGHT).full.critic_id
    assert trial["num_drift_steps"] > 0
    assert current_set(lake, NEXT_NIGHT).night == NEXT_NIGHT
    lineage = lake.manifest("step_scores", NEXT_NIGHT).lineage
    assert f"critics/{NIGHT}" in lineage
    assert lineage[f"critic_promotions/{NIGHT}"] == lake.generation("critic_promotions", NIGHT)
    assert f"critic_promotions/{NEXT_NIGHT}" not in lineage
    assert stale(settings, NEXT_NIGHT) == FILTERED
    run(settings, NEXT_NIGHT, "step_scores,consistency_results,preference_pairs,sft,published_version")
    lineage = lake.manifest("step_scores", NEXT_NIGHT).lineage
    assert f"critics/{NEXT_NIGHT}" in lineage and f"critic_promotions/{NEXT_NIGHT}" in lineage
    assert stale(settings, NEXT_NIGHT) == set()
    row = rollback(lake)
    assert report_change(current_set(lake, row["night"]), row["night"])
    assert stale(settings, NEXT_NIGHT) == FILTERED


def test_a_critic_that_drifts_is_held_by_a_blocking_check_that_says_why_and_the_night_is_done(workspace):
    settings = workspace.model_copy(update={"promotion": PromotionConfig(max_drift=1e-9)})
    lake = Lake(settings.lake_url)
    summary = run(settings, NEXT_NIGHT, f"{MADE},night_report")
    assert summary.success and summary.dataset_path is not None
    assert len(summary.errors) == 1 and "reason drift" in summary.errors[0]
    assert current_set(lake, NEXT_NIGHT).night == NIGHT
    assert lake.partitions("critic_promotions") == [NIGHT]
    assert lake.read("night_log", NEXT_NIGHT)["verdict"].to_pylist() == ["hold"]
    page = Path(summary.report_path).read_text()
    assert ", limit 1e-09)" in page
    assert 'class="verdict hold"' in page and "critic_promotions.promotable" in page
    assert [(entry["action"], entry["reason"]) for entry in history(lake)] == [
        ("promoted", "first_critic"), ("held", "drift"),
    ]  # fmt: skip
    with dg.DagsterInstance.get() as instance:
        check = dg.AssetCheckKey(dg.AssetKey("critic_promotions"), "promotable")
        record = instance.event_log_storage.get_asset_check_execution_history(check, limit=1)[0]
        evaluation = record.event.dagster_event.event_specific_data
    assert (evaluation.passed, evaluation.blocking) == (False, True)
    assert evaluation.metadata["reason"].value == "drift"
    assert evaluation.metadata["drift"].value > evaluation.metadata["max_drift"].value
    assert stale(settings, NEXT_NIGHT) == set()


def test_the_checkpoints_of_the_current_critic_stay_when_its_night_is_trained_again(workspace):
    changed = workspace.process_critic.model_copy(update={"learning_rate": 1e-3})
    settings = workspace.model_copy(update={"process_critic": changed})
    lake = Lake(settings.lake_url)
    run(settings, NIGHT, "process_critic")
    paths = [settings.in_workspace(path) for path in promoted_paths(lake)]
    assert all((path / "model.safetensors").is_file() for path in paths)
    assert lake.read("critics", NIGHT)["path"][0].as_py() not in promoted_paths(lake)


def test_a_registered_checkpoint_with_other_weights_is_refused(workspace):
    settings, lake = workspace, Lake(workspace.lake_url)
    member, other = current_set(lake, NIGHT).members[:2]
    shutil.rmtree(settings.in_workspace(member.path))
    shutil.copytree(settings.in_workspace(other.path), settings.in_workspace(member.path))
    with pytest.raises(CheckpointError, match="was registered with"):
        member_scorer(settings, member)


def test_calibrated_scores_are_written_where_they_are_asked_for(workspace):
    changed = workspace.process_critic.model_copy(update={"calibration": "temperature"})
    settings, lake = workspace.model_copy(update={"process_critic": changed}), Lake(workspace.lake_url)
    with pytest.raises(CheckpointError, match="train with process_critic.validation_fraction above 0"):
        run(settings, NIGHT, "step_scores")  # none of the six problems was held out
    for member in current_set(lake, NIGHT).members:
        halved = Calibration(member.digest, 2.0, (0.0, 1.0), (0.0, 1.0), 1, 1, 0.0, None, None)
        (settings.in_workspace(member.path) / FILE).write_text(json.dumps(asdict(halved)))
    before = lake.read("step_scores", NIGHT)
    run(settings, NIGHT, "step_scores")
    after = lake.read("step_scores", NIGHT)
    assert after["score"].to_pylist() == pytest.approx(Temperature(2.0)(before["score"].to_pylist()))
    assert after["scorer_version"][0] != before["scorer_version"][0]


def test_changing_the_promotion_changes_the_trial_alone(tmp_path):
    names = [
        {spec.key.to_user_string(): spec.code_version for spec in build_definitions(settings).resolve_all_asset_specs()}
        for settings in (small_settings(tmp_path), small_settings(tmp_path, promotion={"margin": 0.1}))
    ]
    assert {key for key in names[0] if names[0][key] != names[1][key]} == {
        "critic_trials", "critic_promotions", "stage_usage", "night_metrics", "night_log", "night_report",
    }  # fmt: skip
