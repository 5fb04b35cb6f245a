"""Two scripted nights: what the policy poses on the first are training problems of the second."""

import pytest
from scripted_night import NIGHT, POSING, ScriptedServices, small_settings

from assets.run import materialize_night
from pipelines.config import Settings
from pipelines.lake import Lake

pytestmark = pytest.mark.slow
NEXT_NIGHT = "2026-01-03"
STARTER = {"kind": "starter", "family": "arithmetic", "level": 1, "count": 40}
SOURCES = {"problems": {"sources": [STARTER, {"kind": "new_problems"}]}}


def run(settings: Settings, selection: str, night: str = NIGHT) -> tuple[Lake, list[str | None]]:
    services = ScriptedServices(settings)
    materialize_night(settings, night, selection=selection, services=services)
    return Lake(settings.lake_url), services.opened


def test_what_is_posed_on_a_night_is_trained_on_from_the_next_one(tmp_path):
    settings = small_settings(tmp_path, **SOURCES)
    lake, _ = run(settings, "problems,rollouts,new_problems")
    made = lake.read("new_problems", NIGHT).to_pylist()
    kept = {row["problem_id"] for row in made if row["kept"]}
    assert {row["method"] for row in made} == set(POSING) and kept
    problems = {row["problem_id"]: row for row in lake.read("problems").to_pylist()}
    assert not kept & set(problems)
    run(settings, "problems")  # the same night again finds what it found before
    assert not kept & set(lake.read("problems")["problem_id"].to_pylist())
    run(settings, "problems,rollouts", NEXT_NIGHT)
    after = {row["problem_id"]: row for row in lake.read("problems").to_pylist()}
    assert set(after) == set(problems) | kept
    assert {after[name]["source"] for name in kept} == {f"new_problems/{NIGHT}"}
    lineage = lake.manifest("problems").lineage
    assert lineage == {f"new_problems/{NIGHT}": lake.generation("new_problems", NIGHT)}


def test_without_a_method_no_engine_is_asked_and_the_table_is_empty(tmp_path):
    settings = small_settings(tmp_path, new_problems={"methods": []})
    lake, _ = run(settings, "problems,rollouts")
    lake, opened = run(settings, "new_problems")
    assert opened == [] and lake.read("new_problems", NIGHT).num_rows == 0
    assert lake.partitions("new_problems") == [NIGHT]
