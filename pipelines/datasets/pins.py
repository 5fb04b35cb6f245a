"""Pins: names that point at versions, as small JSON files `pins/<name>.json` beside the versions.

A pin keeps every target that it had. `rollback` takes it to where it pointed before the current target was set, and
writes that as one more entry, so nothing is forgotten: after pin A, pin B, pin C, rollback, rollback it points at A.
What was rolled back from is never gone back to: after pin A, pin B, rollback, pin C, rollback it points at A, and so it
does after pin A, pin B, rollback to Z, rollback.

`latest` is the newest version (of the last night, see `versions`) and needs no file. A rollback of `latest` is a file
of that name that also says which version was the newest then: it holds until a newer one is published, or until it is
undone.

Every pin is read by itself: a damaged file makes that pin unusable, and since it could name any version, none is
removed until it is set again or removed.
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

    `newest_at`, `newest_night`: for `latest`, when the newest version of that moment was created, and its night; "" for
    named pins. Rollbacks of before versions were ordered by night have no `newest_night`.
    """

    version: str
    set_at: str
    how: Literal["pin", "rollback"]
    newest_at: str = ""
    newest_night: str = ""


class DamagedPinError(WorkspaceError):
    """The file of a pin cannot be used."""


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
        """The version that it pointed at before the current one was set; None where that is the first."""
        place, last = None, {}
        for target in self.targets:
            place = last[target.version] = _place_after(place, target, last.get(target.version))
        return place.before.version if place.before else None

    def to_json(self) -> bytes:
        return json.dumps({"format": 1, "pin": self.name, "targets": [asdict(one) for one in self.targets]}).encode()


@dataclass(frozen=True)
class _Place:
    """A target and what a rollback from it goes to; None where there is nothing before it."""

    version: str
    before: "_Place | None"


def _place_after(place: _Place | None, target: Target, earlier: _Place | None) -> _Place:
    """Where a pin is once it moved from `place` to `target`; `earlier`: where it was when it last pointed there."""
    if place is None:
        return _Place(target.version, None)
    if target.version == place.version:
        return place
    if target.how == "pin":
        return _Place(target.version, place)
    if place.before is not None and place.before.version == target.version:
        return place.before
    return earlier or _Place(target.version, place.before)


def parse_pin(data: bytes, name: str, dataset: str, where: str) -> Pin:
    """The pin in these bytes; DamagedPinError, with what to do, where they are none."""
    try:
        found = json.loads(data)
        targets = tuple(_target(entry) for entry in found["targets"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise damaged_pin(name, dataset, where, repr(error)) from error
    if not targets:
        raise damaged_pin(name, dataset, where, "it has no target")
    return Pin(name, targets)


def damaged_pin(name: str, dataset: str, where: str, reason: str) -> DamagedPinError:
    """The error that names the file of a pin, what is wrong with it, and both ways out."""
    again, away = f"pin {dataset}@VERSION {name}", f"unpin {dataset} {name}"
    if name == LATEST:
        again, away = f"rollback {dataset} --to VERSION", f"rollback {dataset} --undo"
    return DamagedPinError(
        f"The pin {where} is damaged ({reason}). `reasonmill datasets {again}` sets it again,"
        f" `reasonmill datasets {away}` removes it."
    )


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
    target = Target(
        entry["version"], entry["set_at"], entry["how"], entry.get("newest_at", ""), entry.get("newest_night", "")
    )
    if any(not isinstance(value, str) for value in asdict(target).values()):
        raise ValueError(f"{entry!r} has a value that is no text")
    if not NAME.fullmatch(target.version):
        raise ValueError(f"{target.version!r} is no version")
    return target
