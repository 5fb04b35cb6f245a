"""Failed nights are told: an alert file in the workspace, the user's own command, and the night's page."""

import json
import subprocess
from dataclasses import asdict
from datetime import UTC, datetime

import dagster as dg

from pipelines.config import Settings
from pipelines.errors import ReasonmillError
from pipelines.lake import Lake
from pipelines.night_report.alerts import Alert, clear_alert, write_alert
from pipelines.night_report.write import write_report
from pipelines.redaction import redacted

COMMAND_TIMEOUT_S = 60
CRASHED = "Run execution process for"  # how the code server begins to tell of a run whose process died
NIGHT_FAILED, POLICY_REJECTED = "night_failed", "policy_rejected"


def tell(settings: Settings, alert: Alert, name: str | None = None) -> str | None:
    """Writes an alert and runs the configured command with it; what went wrong with the command, None where nothing."""
    write_alert(settings.state_dir, alert, name)
    return run_command(settings, alert)


def run_command(settings: Settings, alert: Alert) -> str | None:
    """Runs `schedule.alert_command` with the alert as JSON on its standard input; a failure is told, never raised."""
    if not settings.schedule.alert_command:
        return None
    try:
        done = subprocess.run(
            settings.schedule.alert_command,
            input=redacted(json.dumps(asdict(alert))),
            cwd=settings.root,
            timeout=COMMAND_TIMEOUT_S,
            capture_output=True,
            text=True,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return redacted(f"schedule.alert_command could not be run: {error}")
    if done.returncode == 0:
        return None
    return redacted(f"schedule.alert_command ended with {done.returncode}: {done.stderr.strip()[-500:]}")


def night_alert(night: str, reason: str, run_id: str) -> Alert:
    """The alert of a night that failed now."""
    return Alert(night, NIGHT_FAILED, redacted(reason), run_id, datetime.now(UTC).isoformat(timespec="seconds"))


def reason_of(instance: dg.DagsterInstance, run_id: str, fallback: str) -> str:
    """Why a run failed: the first step that failed and the error at its root, or how its process died.

    fallback: what Dagster says of the run, where neither is known.
    """
    for record in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        error = record.dagster_event.step_failure_data.error
        while error is not None and error.cause is not None:
            error = error.cause
        if error is not None:
            return f"{record.step_key}: {error.message.strip().splitlines()[0]}"
    for record in instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        if record.dagster_event.message.startswith(CRASHED):
            return record.dagster_event.message.strip().splitlines()[0]
    return fallback


def report_failure(settings: Settings, night: str, reason: str, run_id: str) -> list[str]:
    """Tells of a night that failed, and writes what there is of its page; what did not work of that."""
    problems = [tell(settings, night_alert(night, reason, run_id))]
    try:
        lake = Lake(settings.lake_url)
        if lake.manifest("rollouts", night) is not None:
            write_report(settings, lake, night)
    except ReasonmillError as error:
        problems.append(redacted(str(error)))
    return [problem for problem in problems if problem is not None]


def night_succeeded(settings: Settings, night: str) -> None:
    """Takes the alert of a night away that is done now."""
    clear_alert(settings.state_dir, night)
