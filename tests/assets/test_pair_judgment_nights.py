"""The step that judges tonight's pairs: with a policy that can, with one that cannot, and where none are wanted."""

import pytest
from scripted_night import NIGHT, ScriptedServices, small_settings

from assets.run import materialize_night
from pipelines.config import Settings
from pipelines.inference.scripted import ScriptedModel
from pipelines.lake import Lake
from pipelines.rows import rows_to_table

pytestmark = pytest.mark.slow
PAIR = {"pair_id": "x", "problem_id": "p", "kind": "rollout", "prompt": "1+1\n", "chosen": "1+1=2", "rejected": "1+1=3"}


def judged(settings: Settings, services: ScriptedServices) -> tuple[Lake, bool]:
    lake = Lake(settings.lake_url)
    lake.write("problems", rows_to_table("problems", [{"problem_id": "p", "prompt": "1+1"}]))
    lake.write("preference_pairs", rows_to_table("preference_pairs", [PAIR | {"night": NIGHT}]), partition=NIGHT)
    summary = materialize_night(settings, NIGHT, selection="pair_judgments", services=services)
    return lake, summary.success


def test_the_policy_judges_pairs_in_both_orders(tmp_path):
    settings = small_settings(tmp_path)
    services = ScriptedServices(settings)
    lake, is_good = judged(settings, services)
    rows = lake.read("pair_judgments", NIGHT).to_pylist()
    assert is_good and services.opened == [None]
    assert [(row["pair_id"], row["shown_first"], row["night"]) for row in rows] == [
        ("x", "chosen", NIGHT), ("x", "rejected", NIGHT),
    ]  # fmt: skip
    assert all(row["p_first"] + row["p_second"] + row["p_tie"] == pytest.approx(1.0) for row in rows)


def test_a_policy_that_can_judge_no_pair_ends_no_night(tmp_path):
    settings = small_settings(tmp_path)
    services = ScriptedServices(settings)
    services.model = ScriptedModel(lambda request: [])  # one token per character: no verdict is a token
    lake, is_good = judged(settings, services)
    assert is_good and lake.partitions("pair_judgments") == [NIGHT]
    assert lake.read("pair_judgments", NIGHT).num_rows == 0


def test_where_no_pair_is_wanted_no_engine_is_asked(tmp_path):
    settings = small_settings(tmp_path, pair_judgments={"num_pairs": 0})
    services = ScriptedServices(settings)
    lake, is_good = judged(settings, services)
    assert is_good and services.opened == [] and lake.partitions("pair_judgments") == [NIGHT]
