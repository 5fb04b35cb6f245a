"""What stages took, as Dagster recorded it."""

import dagster as dg
import pytest

from assets.night_report import Stage, stage_usage, stages_of, with_earlier
from pipelines.lake import rows_to_table

NIGHT = "2026-01-02"
DAYS = dg.DailyPartitionsDefinition("2026-01-01")


@dg.multi_asset(
    name="rollouts",
    specs=[dg.AssetSpec("rollouts", partitions_def=DAYS), dg.AssetSpec("gold", partitions_def=DAYS)],
    partitions_def=DAYS,
)
def rollouts():
    yield dg.MaterializeResult(
        asset_key="rollouts", metadata={"num_requests": 5, "num_from_store": 2, "engine": "e 1", "num_rows": 9}
    )
    yield dg.MaterializeResult(asset_key="gold")


@dg.asset(partitions_def=DAYS)
def critic():
    return dg.MaterializeResult(metadata={"loss": 0.5})


def test_a_stage_is_told_by_the_latest_run_that_made_its_night():
    stages = stages_of([rollouts, critic])
    with dg.DagsterInstance.ephemeral() as instance:
        assert stage_usage(instance, stages, NIGHT).num_rows == 0
        for _ in range(2):
            result = dg.materialize([rollouts], partition_key=NIGHT, instance=instance)
        dg.materialize([critic], partition_key=NIGHT, instance=instance)
        rows = {row["stage"]: row for row in stage_usage(instance, stages, NIGHT).to_pylist()}
        assert stage_usage(instance, stages, "2026-01-03").num_rows == 0
    assert set(rows) == {"rollouts", "critic"}
    asked = rows["rollouts"]
    assert (asked["num_requests"], asked["num_from_store"], asked["engine"]) == (5, 2, "e 1")
    assert asked["completion_tokens"] is None  # the stage did not say
    assert asked["run_id"] == result.run_id and asked["seconds"] > 0
    assert rows["critic"]["num_requests"] is None


def test_what_another_instance_recorded_stays_and_a_stage_that_ran_again_replaces_its_row():
    def row(stage: str, seconds: float, at: str) -> dict:
        return {"stage": stage, "seconds": seconds, "ended_at": at, "night": NIGHT}

    earlier = rows_to_table("stage_usage", [row("rollouts", 1.0, "t1"), row("critic", 2.0, "t2")])
    found = rows_to_table("stage_usage", [row("rollouts", 3.0, "t3")])
    merged = with_earlier(found, earlier).to_pylist()
    assert [(one["stage"], one["seconds"]) for one in merged] == [("critic", 2.0), ("rollouts", 3.0)]
    assert with_earlier(found, earlier.slice(0, 0)) == found
    assert with_earlier(found.slice(0, 0), earlier) == earlier


@pytest.mark.parametrize("name", ["rollouts", "critic"])
def test_stages_are_the_steps_of_the_job(name):
    found = {stage.name: stage for stage in stages_of([rollouts, critic])}
    assert isinstance(found[name], Stage)
