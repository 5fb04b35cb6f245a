"""Pins: names that point at versions, as small JSON files `pins/<name>.json` beside the versions.

A pin keeps every target that it had. `rollback` takes it to the target that was pinned before the current one, and
writes that as one more entry, so nothing is forgotten: after pin A, pin B, pin C, rollback, rollback it points at A.

`latest` is the newest version and needs no file. A rollback of `latest` is a file of that name that also says which
version was the newest then: it holds until a newer one is published, or until it is undone.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from pipelines.datasets.published import NAME
from pipelines.errors import WorkspaceError

LATEST = "latest"


@dataclass(frozen=True)
class Target:
    """Where a pin pointed from `set_at` on (ISO 8601 UTC).

    `newest_at`: for `latest`, when the newest version of that moment was created; "" for named pins.
    """

    version: str
    set_at: str
    how: Literal["pin", "rollback"]
    newest_at: str = ""


@dataclass(frozen=True)
class Pin:
    """A pin with all its targets, oldest first; the last is the current one."""

    name: str
    targets: tuple[Target, ...]

    @property
    def version(self) -> str:
        """The version that it points at."""
        return self.targets[-1].version

    def moved(self, target: Target) -> "Pin":
        """The pin with one more target."""
        return Pin(self.name, (*self.targets, target))

    def version_before(self) -> str | None:
        """The version pinned before the current one; None where that is the first."""
        chosen = [target.version for target in self.targets if target.how == "pin"]
        last = max((index for index, version in enumerate(chosen) if version == self.version), default=len(chosen))
        before = [version for version in chosen[:last] if version != self.version]
        return before[-1] if before else None

    def to_json(self) -> bytes:
        return json.dumps({"format": 1, "pin": self.name, "targets": [asdict(one) for one in self.targets]}).encode()


def parse_pin(data: bytes, name: str, where: str) -> Pin:
    """The pin in these bytes; WorkspaceError where they are none."""
    try:
        found = json.loads(data)
        targets = tuple(_target(entry) for entry in found["targets"])
    except (ValueError, KeyError, TypeError) as error:
        raise WorkspaceError(f"The pin {where} is damaged ({error!r}); set it again or remove it.") from error
    if not targets:
        raise WorkspaceError(f"The pin {where} has no target; set it again or remove it.")
    return Pin(name, targets)


def check_pin_name(pin: str, dataset: str) -> None:
    """WorkspaceError where a pin cannot have this name."""
    if pin == LATEST:
        raise WorkspaceError(
            f"`latest` is the newest version by itself; `reasonmill datasets rollback {dataset} --to VERSION` points it"
            " at an earlier one."
        )
    if not NAME.fullmatch(pin) or pin.startswith(f"{dataset}-"):
        raise WorkspaceError(
            f"{pin!r} cannot name a pin: use letters, digits, '.', '_' and '-', and no name that starts as the versions"
            f" do ({dataset}-)."
        )


def _target(entry: Mapping[str, str]) -> Target:
    target = Target(entry["version"], entry["set_at"], entry["how"], entry.get("newest_at", ""))
    if not isinstance(target.version, str) or not NAME.fullmatch(target.version):
        raise ValueError(f"{target.version!r} is no version")
    return target
