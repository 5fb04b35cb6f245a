"""A night whose steps are scored, and whose search is guided, by a language model."""

import pytest
from scripted_night import NIGHT, ScriptedServices, small_settings

from assets.run import materialize_night
from pipelines.config import GenerativeCriticConfig
from pipelines.lake import Lake


@pytest.mark.slow
def test_a_language_model_scores_guides_and_is_reported_and_the_critic_is_trained_all_the_same(tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    settings = small_settings(tmp_path / "workspace")
    settings = settings.model_copy(
        update={
            "process_critic": settings.process_critic.model_copy(update={"kind": "generative"}),
            "generative_critic": GenerativeCriticConfig(num_rationales=2),
            "consistency": settings.consistency.model_copy(update={"source": "judge"}),
            "rollouts": settings.rollouts.model_copy(update={"guided": True}),
        }
    )
    summary = materialize_night(settings, NIGHT, services=ScriptedServices(settings))
    assert summary.success
    lake = Lake(settings.lake_url)
    scores = lake.read("step_scores", NIGHT).to_pylist()
    (version,) = {row["scorer_version"] for row in scores}
    assert {row["source"] for row in scores} == {"judge"} and version.startswith("generative-scripted-")
    assert {row["score"] for row in scores} == {0.5}  # the script finds both verdicts equally likely
    assert set(lake.read("critic_report", NIGHT)["critic_id"].to_pylist()) == {version}
    assert {row["fold"] for row in lake.read("critics", NIGHT).to_pylist()} == {None, 0, 1}
    assert any(lake.read("search_nodes", NIGHT)["is_guided"].to_pylist())
