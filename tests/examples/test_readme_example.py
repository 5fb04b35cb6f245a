"""The worked example of README: a filter of the user's own, named in a workspace's configuration."""

from pathlib import Path

from pipelines.config import load_settings
from pipelines.consistent_rollouts import filter_rollouts
from pipelines.extensions import load_extension
from pipelines.lake import rows_to_table

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "own_filter"


def rollout(rollout_id, reward):
    return {
        "rollout_id": rollout_id, "problem_id": "p", "group_id": "g", "recipe": "independent_samples",
        "steps": ["1+1=2", "#### 2"], "outcome_reward": reward,
    }  # fmt: skip


def scores(rollout_id, *values):
    shared = {"rollout_id": rollout_id, "source": "critic", "scorer_version": "v", "night": "2026-01-01"}
    return [{**shared, "step": step, "score": value} for step, value in enumerate(values)]


def test_the_example_keeps_right_rollouts_without_a_doubtful_step():
    settings = load_settings(EXAMPLE / "reasonmill.toml")
    rollouts = rows_to_table("rollouts", [rollout("sure", 1.0), rollout("lucky", 1.0), rollout("wrong", 0.0)])
    step_scores = rows_to_table(
        "step_scores", scores("sure", 0.9, 0.8) + scores("lucky", 0.2, 0.9) + scores("wrong", 0.9, 0.9)
    )
    filtered = filter_rollouts(
        rollouts, step_scores, settings.consistency, "2026-01-01",
        load_filter=lambda name: load_extension(settings, "filters", name),
    )  # fmt: skip
    rows = filtered.consistency_results.to_pylist()
    reasons = {row["rollout_id"]: row["reason"] for row in rows if row["method"] == "convincing"}
    assert reasons == {"sure": None, "lucky": "doubtful_step", "wrong": "wrong_answer"}
    assert filtered.consistent_rollouts["rollout_id"].to_pylist() == ["sure"]


def test_readme_shows_the_example_as_it_is():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert (EXAMPLE / "my_filters.py").read_text(encoding="utf-8").strip() in readme
