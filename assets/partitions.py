"""The nightly partitions: one per calendar day, `YYYY-MM-DD`, the value of every table's `night` column."""

import dagster as dg

from pipelines.config import ScheduleConfig


def nightly_partitions(schedule: ScheduleConfig) -> dg.DailyPartitionsDefinition:
    """Days from `first_night` to today, today included: a night is materialisable on its own day."""
    return dg.DailyPartitionsDefinition(
        start_date=schedule.first_night.isoformat(), timezone=schedule.timezone, end_offset=1
    )


def last_night() -> dg.TimeWindowPartitionMapping:
    """Maps a night to the night before it, where there is one."""
    return dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1, allow_nonexistent_upstream_partitions=True)


def last_night_and_tonight() -> dg.TimeWindowPartitionMapping:
    """Maps a night to the night before it, where there is one, and itself."""
    return dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=0, allow_nonexistent_upstream_partitions=True)


def night_of_run(context: dg.AssetExecutionContext) -> str | None:
    """The night that a run makes, also for an asset without partitions; None where it makes none."""
    return context.run.tags.get("dagster/partition")
