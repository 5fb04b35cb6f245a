"""`reasonmill estimate` on a scripted model: what it predicts is what the night then uses."""

import json

import pytest
from scripted_night import NIGHT, ScriptedServices, small_settings

from assets.run import materialize_night
from pipelines.config import Settings
from pipelines.errors import ReasonmillError
from pipelines.estimate import estimate as predict
from pipelines.lake import Lake
from pipelines.warehouse import Warehouse
from reasonmill.cli.estimate import costs_from_lake, costs_of_pilot, show
from reasonmill.cli.show import Format

pytestmark = pytest.mark.slow
SELECTION = "problems,rollouts,critiques"
STAGES = ["search", "samples", "critiques", "refinements"]


def used(settings: Settings) -> dict[str, tuple[int, int, int]]:
    """Stage -> requests, prompt tokens and completion tokens that the night has recorded."""
    with Warehouse(Lake(settings.lake_url)) as warehouse:
        rows = warehouse.named("rollouts/token_usage", night=NIGHT).to_pylist()
    names = ("num_requests", "prompt_tokens", "completion_tokens")
    return {stage: tuple(sum(row[name] for row in rows if row["stage"] == stage) for name in names) for stage in STAGES}


def predicted(made) -> tuple[float, float, float]:
    return tuple(round(one.mean) for one in (made.num_requests, made.prompt_tokens, made.completion_tokens))


def test_a_pilot_of_everything_predicts_the_night_exactly_and_the_night_asks_for_nothing_again(tmp_path):
    settings = small_settings(tmp_path, critiques={"num_rollouts": 6})
    services = ScriptedServices(settings)
    _, stages = costs_of_pilot(settings, NIGHT, 6, open_session=services._open_session)
    num_asked = len(services.requests)
    materialize_night(settings, NIGHT, selection=SELECTION, services=services)
    expected = {made.stage: predicted(made) for made in predict(stages)}
    assert {stage: expected[stage] for stage in STAGES} == used(settings)
    # the pilot's critiques are of its own choice of rollouts, which is the night's here: all six problems' samples
    assert len(services.requests) == num_asked


def test_requests_for_scores_are_predicted_too(tmp_path):
    """entropy_branching asks for the entropies of what it has sampled."""
    settings = small_settings(tmp_path, rollouts={"recipe": "entropy_branching"}, critiques={"num_rollouts": 0})
    services = ScriptedServices(settings)
    _, stages = costs_of_pilot(settings, NIGHT, 6, open_session=services._open_session)
    materialize_night(settings, NIGHT, selection="problems,rollouts", services=services)
    expected = {made.stage: predicted(made) for made in predict(stages)}
    assert expected["search"] == used(settings)["search"]


def test_a_pilot_measures_whole_trees_whatever_the_token_limit_leaves_of_them(tmp_path):
    made = []
    for limit in (None, 2500):
        settings = small_settings(
            tmp_path / str(limit), rollouts={"max_total_tokens": limit}, critiques={"num_rollouts": 0}
        )
        _, stages = costs_of_pilot(settings, NIGHT, 6, open_session=ScriptedServices(settings)._open_session)
        made.append({one.stage: predicted(one) for one in predict(stages)})
    assert made[0] == made[1]
    assert sum(made[0]["search"][1:]) > 2500


def test_a_small_pilot_is_replayed_by_the_night(tmp_path):
    settings = small_settings(tmp_path)
    services = ScriptedServices(settings)
    _, stages = costs_of_pilot(settings, NIGHT, 2, open_session=services._open_session)
    num_pilot = len(services.requests)
    assert [len(one.costs) for one in stages] == [2, 2, 2, 2]
    materialize_night(settings, NIGHT, selection="problems,rollouts", services=services)
    answered = {request.request_id("scripted") for request in services.requests[:num_pilot]}
    later = [request.request_id("scripted") for request in services.requests[num_pilot:]]
    assert num_pilot > 0
    assert not answered & set(later)


def test_the_last_night_predicts_an_equal_one_without_an_engine(tmp_path, capsys):
    settings = small_settings(tmp_path)
    materialize_night(settings, NIGHT, selection=SELECTION, services=ScriptedServices(settings))
    basis, stages = costs_from_lake(settings, NIGHT)
    assert {made.stage: predicted(made) for made in predict(stages)[:-1]} == used(settings)
    show(settings, basis, stages, None, Format.json)
    printed = json.loads(capsys.readouterr().out)
    assert [one["stage"] for one in printed["stages"]] == [*STAGES, "all"]
    assert printed["stages"][-1]["hours"] is None
    show(settings, basis, stages, 100.0, Format.table)
    text = capsys.readouterr().out
    assert "6 of 6 problems" in text
    assert "Hours at 100 completion tokens/s" in text


def test_without_a_recorded_night_there_is_a_clear_error(tmp_path):
    with pytest.raises(ReasonmillError, match="No night up to 2026-01-02 has recorded what it cost"):
        costs_from_lake(small_settings(tmp_path), NIGHT)


def test_a_night_without_problems_cannot_be_estimated(tmp_path):
    settings = small_settings(
        tmp_path, rollouts={"num_search_problems": 0, "num_sample_problems": 0}, critiques={"num_rollouts": 0}
    )
    with pytest.raises(ReasonmillError, match="nothing to estimate"):
        costs_of_pilot(settings, NIGHT, 2, open_session=ScriptedServices(settings)._open_session)
