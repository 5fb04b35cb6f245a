"""What went wrong with a night, as a small file that lies in the workspace until the night succeeds."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from pipelines.errors import ReasonmillError
from pipelines.redaction import redacted

FOLDER = "alerts"


@dataclass(frozen=True)
class Alert:
    """One failure: `reason` is a sentence for people, `run_id` Dagster's, `at` ISO 8601 UTC, `kind` a stable word."""

    night: str
    kind: str  # night_failed | policy_rejected | problems_failed
    reason: str
    run_id: str
    at: str


def alert_path(state_dir: Path, name: str) -> Path:
    """Where the alert of a night, or of something else with a name, lies."""
    return state_dir / FOLDER / f"{name}.json"


def write_alert(state_dir: Path, alert: Alert, name: str | None = None) -> Path:
    """Writes an alert in one move, credentials left out; `name` where it is not of a night."""
    path = alert_path(state_dir, name or alert.night)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(redacted(json.dumps(asdict(alert), indent=1)), encoding="utf-8")
    os.replace(part, path)
    return path


def read_alert(state_dir: Path, name: str) -> Alert | None:
    """The alert of a night; None where there is none."""
    path = alert_path(state_dir, name)
    try:
        return Alert(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise ReasonmillError(f"The alert {path} cannot be read ({error}); delete it.") from error


def list_alerts(state_dir: Path) -> list[Alert]:
    """All alerts, by name."""
    return [alert for name in alert_names(state_dir) if (alert := read_alert(state_dir, name)) is not None]


def alert_names(state_dir: Path, beginning: str = "") -> list[str]:
    """Names of alerts, those that begin so."""
    return sorted(path.stem for path in (state_dir / FOLDER).glob(f"{beginning}*.json"))


def clear_alert(state_dir: Path, name: str) -> None:
    """Takes an alert away, where there is one: what it tells of has been mended."""
    alert_path(state_dir, name).unlink(missing_ok=True)
