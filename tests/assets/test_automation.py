"""The nightly schedule and its partitions."""

from datetime import UTC, date, datetime

import dagster as dg

from assets.automation import night_job, night_of, night_schedule
from assets.partitions import nightly_partitions
from pipelines.config import ScheduleConfig


def test_a_night_is_the_local_calendar_day():
    moment = datetime(2026, 11, 20, 23, 30, tzinfo=UTC)
    assert night_of(moment, "UTC") == "2026-11-20"
    assert night_of(moment, "Europe/Berlin") == "2026-11-21"


def test_today_is_a_partition_and_tomorrow_is_not():
    keys = nightly_partitions(ScheduleConfig(first_night=date(2026, 1, 1))).get_partition_keys(
        current_time=datetime(2026, 1, 3, 12, tzinfo=UTC)
    )
    assert keys == ["2026-01-01", "2026-01-02", "2026-01-03"]


def test_the_schedule_is_stopped_unless_the_configuration_enables_it():
    partitions = nightly_partitions(ScheduleConfig())
    stopped = night_schedule(ScheduleConfig(), night_job(partitions).name)
    running = night_schedule(ScheduleConfig(enabled=True), night_job(partitions).name)
    assert stopped.default_status == dg.DefaultScheduleStatus.STOPPED
    assert running.default_status == dg.DefaultScheduleStatus.RUNNING


def test_at_two_in_the_morning_the_schedule_asks_for_the_partition_of_that_day():
    schedule = night_schedule(ScheduleConfig(), "night")
    context = dg.build_schedule_context(scheduled_execution_time=datetime(2026, 11, 21, 2, tzinfo=UTC))
    request = schedule(context)
    assert request.partition_key == "2026-11-21"
    assert schedule.cron_schedule == "0 2 * * *"
