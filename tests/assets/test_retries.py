"""A stage whose engine fails is tried again; any other failure is not."""

from contextlib import asynccontextmanager

import dagster as dg
import pytest

from assets.resources import RunServices
from assets.specs import freshness
from pipelines.config import ScheduleConfig, Settings
from pipelines.errors import EngineError, ReasonmillError
from pipelines.inference.response_store import ResponseStore
from pipelines.inference.scripted import ScriptedModel


class Flaky(RunServices):
    """Sessions of a scripted model whose first openings fail."""

    def __init__(self, settings: Settings, failures: list[Exception]) -> None:
        self.failures = failures
        self.num_opened = 0
        super().__init__(settings, open_session=self._open)

    @asynccontextmanager
    async def _open(self, run_id: str, owner_pid: int, model: str | None):
        self.num_opened += 1
        if self.failures:
            raise self.failures.pop(0)
        store = ResponseStore(self._settings.response_store_path)
        try:
            yield ScriptedModel(lambda request: ["x"]).session(store)
        finally:
            store.close()


async def nothing(session, on_progress):
    return "done"


def run(root, failures: list[Exception], retries: int) -> Flaky:
    schedule = {"retries": retries, "retry_delay_s": 0.0}
    services = Flaky(Settings.model_validate({"root": root, "schedule": schedule}), failures)

    @dg.asset
    def stage(context: dg.AssetExecutionContext, services: dg.ResourceParam[RunServices]):
        services.generate(context, nothing)

    dg.materialize([stage], resources={"services": services}, instance=dg.DagsterInstance.ephemeral())
    return services


def test_an_engine_that_fails_twice_is_asked_a_third_time(tmp_path):
    failures = [EngineError("it died"), EngineError("it died again")]
    assert run(tmp_path, failures, retries=2).num_opened == 3


def test_when_every_try_fails_the_reason_of_the_last_one_is_raised(tmp_path):
    with pytest.raises(EngineError, match="again"):
        run(tmp_path, [EngineError("it died"), EngineError("it died again")], retries=1)


def test_what_is_not_the_engines_fault_is_not_tried_again(tmp_path):
    failures = [ReasonmillError("a wrong configuration")]
    with pytest.raises(ReasonmillError, match="wrong configuration"):
        run(tmp_path, failures, retries=5)
    assert failures == []


def test_what_a_night_delivers_gets_old_only_where_nights_run_by_themselves():
    assert freshness(ScheduleConfig()) is None
    policy = freshness(ScheduleConfig(enabled=True, fresh_within_hours=30))
    assert policy.fail_window.to_timedelta().total_seconds() == 30 * 3600
