"""The log of nights: one row per night saying what made it, and what differs between two of them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

SAME_EVERYWHERE = ("root", "paths")  # sections that change no row
MAX_CHARS = 80
CAUSES = (
    ("model", "policy_version"), ("critic that guided", "guide_night"), ("engine", "engine"), ("code", "code_digest"),
)  # fmt: skip
"""What a change is called, and the column that shows it."""


@dataclass(frozen=True)
class Change:
    """Something that is not as it was the night before; None: it was not there."""

    what: str
    before: str | None
    after: str | None


def changes_of(row: Mapping[str, object], before: Mapping[str, object] | None) -> list[Change]:
    """What differs between two rows of night_log: model, critic, engine, code and every key of the configuration."""
    if before is None:
        return []
    found = [
        Change(what, _short(before[column]), _short(row[column]))
        for what, column in CAUSES
        if row[column] != before[column]
    ]
    old, new = (json.loads(one["config"] or "{}") for one in (before, row))
    keys = [key for key in sorted({*old, *new}) if key.partition(".")[0] not in SAME_EVERYWHERE]
    return found + [
        Change(f"configuration {key}", _value(old, key), _value(new, key))
        for key in keys
        if old.get(key) != new.get(key)
    ]


def flat_config(section: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Dotted key -> value of a nested configuration; lists stay whole."""
    flat: dict[str, object] = {}
    for name, value in section.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            flat |= flat_config(value, f"{key}.")
        else:
            flat[key] = value
    return flat


def _short(value: object) -> str | None:
    return None if value is None else str(value)[:12]


def _value(config: Mapping[str, object], key: str) -> str | None:
    if key not in config:
        return None
    text = json.dumps(config[key])
    return text if len(text) <= MAX_CHARS else text[: MAX_CHARS - 1] + "…"
