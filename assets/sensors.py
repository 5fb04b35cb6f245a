"""Sensors: new policies, changed problem files, and nights that fail or are done."""

import hashlib
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from assets.alerts import POLICY_REJECTED, night_succeeded, reason_of, report_failure, run_command, tell
from assets.lost_runs import PARTITION_TAG, lost_runs
from assets.promotion import PROMOTABLE
from pipelines.config import FileSource, PluginSource, Settings
from pipelines.night_report.alerts import Alert, alert_names, clear_alert, read_alert
from pipelines.policies import Adoption, adopt

EVERY_S = 60
NIGHT_JOB, PROBLEMS_JOB = "night", "read_problems"
CRITIC_HELD, PROBLEMS_FAILED = "critic_held", "problems_failed"
BUSY = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


def problems_job() -> dg.JobDefinition:
    """Reads the problem files again; what is made from them follows with the next night."""
    return dg.define_asset_job(
        PROBLEMS_JOB, selection=["problems"], description="Reads the configured problem files again."
    )


def workspace_sensors(settings: Settings, whole_night: Collection[dg.AssetKey]) -> list[dg.SensorDefinition]:
    """Every sensor of a workspace; `whole_night`: the assets that make a night."""
    return [
        new_policy(settings),
        new_problem_files(settings),
        failed_night(settings, whole_night),
        done_night(settings, whole_night),
        lost_runs(),
    ]


def _status(is_on: bool) -> dg.DefaultSensorStatus:
    return dg.DefaultSensorStatus.RUNNING if is_on else dg.DefaultSensorStatus.STOPPED


# policies ---------------------------------------------------------------------------------------


def new_policy(settings: Settings) -> dg.SensorDefinition:
    """Makes the newest usable checkpoint the policy of the next night; never while a night runs."""

    @dg.sensor(
        name="new_policy",
        minimum_interval_seconds=EVERY_S,
        default_status=_status(settings.schedule.policy_folder is not None),
        job_name=NIGHT_JOB,
        description="Takes the newest usable checkpoint of schedule.policy_folder for the next night.",
    )
    def sense(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        if settings.schedule.policy_folder is None:
            return dg.SkipReason("schedule.policy_folder names no folder.")
        if is_busy(context.instance):
            return dg.SkipReason("A run is under way; its policy stays as it is.")
        return dg.SkipReason(told(settings, adopt(settings)))

    return sense


def is_busy(instance: dg.DagsterInstance) -> bool:
    """Whether a run is under way that a new policy must not reach."""
    return instance.get_runs_count(dg.RunsFilter(statuses=BUSY)) > 0


def told(settings: Settings, adoption: Adoption) -> str:
    """Alerts of checkpoints that cannot be used, once each, until they are mended or gone; what is in force."""
    for one in adoption.rejected:
        name = f"policy-{one.folder.name}"
        known = read_alert(settings.state_dir, name)
        if known is None or known.reason != one.reason:
            moment = datetime.now(UTC).isoformat(timespec="seconds")
            tell(settings, Alert("", POLICY_REJECTED, one.reason, "", moment), name)
    bad = {f"policy-{one.folder.name}" for one in adoption.rejected}
    for name in set(alert_names(settings.state_dir, "policy-")) - bad:
        clear_alert(settings.state_dir, name)
    reasons = "".join(f" Not used: {one.reason}" for one in adoption.rejected)
    if adoption.folder is None:
        return f"The configured policy is in force: {settings.policy.model}.{reasons}"
    word = "The next night uses" if adoption.is_new else "In force is"
    return f"{word} {adoption.folder}.{reasons}"


# problems ---------------------------------------------------------------------------------------


def problem_files(settings: Settings) -> list[Path]:
    """Files of the configured sources: data, and the code of plugins."""
    files = [source.path for source in settings.problems.sources if isinstance(source, FileSource)]
    plugins = [source.path for source in settings.problems.sources if isinstance(source, PluginSource)]
    files += [path.rpartition(":")[0] for path in plugins if ".py:" in path]
    return sorted({settings.in_workspace(path) for path in files})


def stamp_of(files: list[Path]) -> str:
    """Digest of names, sizes and times of files; one that is missing counts as such."""
    digest = hashlib.sha256()
    for file in files:
        state = file.stat() if file.is_file() else None
        known = "missing" if state is None else f"{state.st_size} {state.st_mtime_ns}"
        digest.update(f"{file} {known}\n".encode())
    return digest.hexdigest()[:16]


def new_problem_files(settings: Settings) -> dg.SensorDefinition:
    """Reads the problems again when one of their files has changed."""
    files = problem_files(settings)

    @dg.sensor(
        name="new_problem_files",
        job_name=PROBLEMS_JOB,
        minimum_interval_seconds=EVERY_S,
        default_status=_status(settings.schedule.enabled and bool(files)),
        description="Reads the problems again when a configured file has changed.",
    )
    def sense(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        stamp = stamp_of(files)
        if context.cursor is None:  # the first look: what is there is what the last night read
            return dg.SensorResult(cursor=stamp, skip_reason=dg.SkipReason(f"Watching {len(files)} files."))
        if stamp == context.cursor:
            return dg.SkipReason(f"None of {len(files)} files has changed.")
        if is_busy(context.instance):  # the cursor stays, so the next look finds the change again
            return dg.SkipReason("A run is under way; the problems are read when it has ended.")
        return dg.SensorResult(cursor=stamp, run_requests=[dg.RunRequest(run_key=stamp)])

    return sense


# nights -----------------------------------------------------------------------------------------


def failed_night(settings: Settings, whole_night: Collection[dg.AssetKey]) -> dg.SensorDefinition:
    """Tells of a night that failed, with the reason; a critic that is held is told as such, and is no failure."""

    @dg.run_failure_sensor(
        name="failed_night",
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=EVERY_S,
        description="Writes an alert for a night, or a reading of the problem files, that failed, runs "
        "schedule.alert_command, and writes the night's page.",
    )
    def sense(context: dg.RunFailureSensorContext) -> None:
        run_id, night = context.dagster_run.run_id, context.dagster_run.tags.get(PARTITION_TAG)
        reason = reason_of(context.instance, run_id, context.failure_event.message or "the run failed")
        moment = datetime.now(UTC).isoformat(timespec="seconds")
        if night is None:
            is_reading = context.dagster_run.job_name == PROBLEMS_JOB
            alert = Alert("", PROBLEMS_FAILED, reason, run_id, moment)
            problems = [tell(settings, alert, PROBLEMS_FAILED)] if is_reading else []
        elif is_only_held(context.instance, run_id):
            problems = [run_command(settings, Alert(night, CRITIC_HELD, reason, run_id, moment))]
            if is_whole(context.dagster_run, whole_night):
                night_succeeded(settings, night)
        else:
            problems = report_failure(settings, night, reason, run_id)
        for problem in filter(None, problems):
            context.log.warning(problem)

    return sense


def is_only_held(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether the one check that blocked a run is that of the critic's promotion, and nothing else failed."""
    failures = instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    evaluations = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    blocked = {
        found.check_name
        for found in (record.dagster_event.event_specific_data for record in evaluations)
        if not found.passed and found.blocking and found.severity is dg.AssetCheckSeverity.ERROR
    }
    return blocked == {PROMOTABLE} and len(failures) == 1


def done_night(settings: Settings, whole_night: Collection[dg.AssetKey]) -> dg.SensorDefinition:
    """Takes the alert of a night away once it is done.

    A run of the job makes the whole night, and so does any run that was asked for every asset of it, such as one of a
    backfill in the UI.
    """

    @dg.run_status_sensor(
        name="done_night",
        run_status=dg.DagsterRunStatus.SUCCESS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=EVERY_S,
        description="Takes the alert of a night away once a run of the whole night has succeeded.",
    )
    def sense(context: dg.RunStatusSensorContext) -> None:
        run = context.dagster_run
        night = run.tags.get(PARTITION_TAG)
        is_done = night is not None and is_whole(run, whole_night)
        if is_done:
            night_succeeded(settings, night)
        if is_done or run.job_name == PROBLEMS_JOB:
            clear_alert(settings.state_dir, PROBLEMS_FAILED)

    return sense


def is_whole(run: dg.DagsterRun, whole_night: Collection[dg.AssetKey]) -> bool:
    """Whether a run was asked for the whole night: by the job, or by every asset of it."""
    asked = run.asset_selection
    return run.job_name == NIGHT_JOB if asked is None else asked >= frozenset(whole_night)
