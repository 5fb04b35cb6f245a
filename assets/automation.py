"""The job `night` and its schedule."""

from datetime import datetime
from zoneinfo import ZoneInfo

import dagster as dg

from pipelines.config import ScheduleConfig

# Few, long steps: the engine and the critic's training may overlap, more steps would only share the same cores.
MAX_CONCURRENT_STEPS = 2


def step_processes() -> dg.ExecutorDefinition:
    """Each step in a process of its own: the executor of every run, also of those that the UI starts without a job."""
    return dg.multiprocess_executor.configured(
        {
            "max_concurrent": MAX_CONCURRENT_STEPS,
            # one process imports the code, every step is a fork of it: seconds saved per step
            "start_method": {"forkserver": {"preload_modules": ["assets.definitions"]}},
        }
    )


def night_job(partitions: dg.PartitionsDefinition):
    """Every asset and check for one night, each step in its own process."""
    return dg.define_asset_job(
        "night",
        selection=dg.AssetSelection.all(),
        partitions_def=partitions,
        executor_def=step_processes(),
        description="The whole graph for one night: problems in, datasets, a critic and reports out.",
    )


def night_schedule(schedule: ScheduleConfig, job_name: str) -> dg.ScheduleDefinition:
    """Runs the partition of the day on which the schedule fires; stopped unless the configuration enables it."""
    status = dg.DefaultScheduleStatus.RUNNING if schedule.enabled else dg.DefaultScheduleStatus.STOPPED

    @dg.schedule(
        name="every_night",
        job_name=job_name,
        cron_schedule=schedule.cron,
        execution_timezone=schedule.timezone,
        default_status=status,
        description="Materialises tonight's partition of the whole graph.",
    )
    def every_night(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        night = night_of(context.scheduled_execution_time, schedule.timezone)
        return dg.RunRequest(run_key=night, partition_key=night)

    return every_night


def night_of(moment: datetime, timezone: str) -> str:
    """The partition (local calendar day) of a moment."""
    return moment.astimezone(ZoneInfo(timezone)).date().isoformat()
