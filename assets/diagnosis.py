"""What Dagster would do tonight: definitions, schedule, daemon, and slots of the pools."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import dagster as dg
from dagster._core.scheduler.instigation import InstigatorStatus

from assets.definitions import build_definitions
from assets.guidance import current_guide
from assets.instance import home_instance
from assets.lost_runs import UNDER_WAY, is_lost
from assets.specs import ENGINE_POOL, TRAINER_POOL
from pipelines.config import Settings
from pipelines.diagnosis import ERROR, OK, WARNING, Finding
from pipelines.errors import ConfigError, ReasonmillError
from pipelines.lake import Lake

AFTER_ALL_NIGHTS = "9999-12-31"
HEARTBEAT_S = 300  # an older one is a daemon that has ended
FINISHED = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}


def diagnose_dagster(settings: Settings) -> list[Finding]:
    """Every finding of the graph and of the Dagster instance."""
    return [
        *definitions_findings(settings),
        *guide_findings(settings),
        *schedule_findings(settings),
        *instance_findings(settings),
    ]


def definitions_findings(settings: Settings) -> Iterator[Finding]:
    """Whether the graph of this configuration can be loaded at all."""
    try:
        dg.Definitions.validate_loadable(build_definitions(settings))
    except dg.DagsterError as error:
        yield Finding("graph", ERROR, str(error).splitlines()[0], "mend the configuration or the extension it names")
    else:
        yield Finding("graph", OK, "every asset, check and sensor loads")


def guide_findings(settings: Settings) -> Iterator[Finding]:
    """Whether the critics that guide tonight's search can be loaded; nothing where the search is not guided."""
    if not settings.rollouts.guided or settings.process_critic.kind == "generative":
        return
    try:
        guide = current_guide(settings, Lake(settings.lake_url), AFTER_ALL_NIGHTS)
    except ReasonmillError as error:
        yield Finding("guide", ERROR, str(error), "bring the folder back, or reasonmill critic rollback")
        return
    if guide is None:
        yield Finding("guide", OK, "no critic was promoted yet, so the search goes by graded completions")
    else:
        yield Finding("guide", OK, f"critics of {guide.night}, one per fold of {len(guide.scorers)}")


def schedule_findings(settings: Settings) -> Iterator[Finding]:
    """Whether nights are run, and when."""
    schedule = settings.schedule
    text = (
        f"{schedule.cron} {schedule.timezone}; there it is {datetime.now(ZoneInfo(schedule.timezone)):%Y-%m-%d %H:%M}"
    )
    if schedule.enabled:
        yield Finding("schedule", OK, f"on: {text}")
    else:
        yield Finding("schedule", WARNING, f"off: {text}", "set schedule.enabled = true for a night to run by itself")


def instance_findings(settings: Settings) -> Iterator[Finding]:
    """Daemon, runs and pools of the instance of DAGSTER_HOME."""
    try:
        found = home_instance()
    except ConfigError as error:
        yield Finding("daemon", ERROR, str(error), "mend DAGSTER_HOME")
        return
    if found is None:
        level = WARNING if settings.schedule.enabled else OK
        yield Finding("daemon", level, "DAGSTER_HOME is not set, so the Dagster instance cannot be asked",
                      "run it as `make ui` does: DAGSTER_HOME=$PWD/dagster_home reasonmill doctor")  # fmt: skip
        return
    with found as instance:
        yield from stopped_findings(instance, settings)
        yield daemon_finding(instance, is_needed=settings.schedule.enabled)
        yield from queue_findings(instance)
        for pool in (ENGINE_POOL, TRAINER_POOL):
            yield pool_finding(instance, pool)


def stopped_findings(instance: dg.DagsterInstance, settings: Settings) -> Iterator[Finding]:
    """The schedule and the sensors that the configuration wants and somebody has stopped in the UI or by command."""
    stopped = {
        state.instigator_name for state in instance.all_instigator_state() if state.status is InstigatorStatus.STOPPED
    }
    graph = build_definitions(settings).get_repository_def()
    wanted = [one for one in graph.schedule_defs if one.default_status is dg.DefaultScheduleStatus.RUNNING]
    wanted += [one for one in graph.sensor_defs if one.default_status is dg.DefaultSensorStatus.RUNNING]
    for one in wanted:
        if one.name not in stopped:
            continue
        is_schedule = isinstance(one, dg.ScheduleDefinition)
        yield Finding(
            f"{'schedule' if is_schedule else 'sensor'} {one.name}",
            ERROR if is_schedule else WARNING,
            "is stopped in this Dagster instance" + (", so no night begins by itself" if is_schedule else ""),
            "turn it on in the UI under Automation, or set schedule.enabled = false if that is meant"
            if is_schedule
            else "turn it on in the UI under Automation",
        )


def queue_findings(instance: dg.DagsterInstance) -> Iterator[Finding]:
    """Runs that nobody works on any more, and whether slots of runs that end are freed."""
    runs = instance.get_runs(dg.RunsFilter(statuses=UNDER_WAY))
    for run in runs:
        if is_lost(instance, run.run_id):
            yield Finding("runs", WARNING, f"the process of run {run.run_id} was killed",
                          "the next night, or the sensor lost_runs, ends it and frees what it holds")  # fmt: skip
    if not instance.run_monitoring_settings.get("free_slots_after_run_end_seconds"):
        yield Finding("runs", WARNING, "pools keep the slots of cancelled runs",
                      "set run_monitoring.free_slots_after_run_end_seconds as dagster_home does")  # fmt: skip


def daemon_finding(instance: dg.DagsterInstance, *, is_needed: bool) -> Finding:
    """Whether the scheduler of the instance is alive."""
    beats = [beat.timestamp for name, beat in instance.get_daemon_heartbeats().items() if name == "SCHEDULER"]
    if beats and time.time() - beats[0] < HEARTBEAT_S:
        return Finding("daemon", OK, f"alive at {datetime.fromtimestamp(beats[0], UTC):%Y-%m-%d %H:%M} UTC")
    last = f"last seen {datetime.fromtimestamp(beats[0], UTC):%Y-%m-%d %H:%M} UTC" if beats else "never seen"
    advice = "start it: make ui, or dagster-daemon run"
    return Finding("daemon", ERROR if is_needed else WARNING, f"the scheduler does not run ({last})", advice)


def pool_finding(instance: dg.DagsterInstance, pool: str) -> Finding:
    """How many steps a pool admits, and slots that runs hold which have ended."""
    name = f"pool {pool}"
    info = instance.event_log_storage.get_concurrency_info(pool)
    if info.limit is None:
        return Finding(name, WARNING, "has no limit, so two nights at once would start two engines on one machine",
                       "set concurrency.pools.default_limit: 1 in dagster.yaml, as the shipped one does")  # fmt: skip
    if info.limit < 1:
        return Finding(name, ERROR, "admits no step, so tonight would wait without end",
                       "give it a slot in the UI under Deployment, Concurrency")  # fmt: skip
    claimed = sorted({slot.run_id for slot in info.claimed_slots})
    runs = {run_id: instance.get_run_by_id(run_id) for run_id in claimed}
    ended = [run_id for run_id, run in runs.items() if run is None or run.status in FINISHED]
    if ended:
        return Finding(name, WARNING, f"run {ended[0]} has ended and holds a slot",
                       "the next night, or the sensor lost_runs, frees it")  # fmt: skip
    if claimed:
        return Finding(name, OK, f"held by run {claimed[0]}, which is under way")
    return Finding(name, OK, f"free, {info.limit} at a time")
