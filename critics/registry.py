"""Which critic is the current one: the table `critic_promotions`, one row per change.

A row names a whole set: the critic of all training problems, and the fold critics that were trained with it. They go
together, because only the fold critics may score problems that the full one has learned from. Rows are ordered by night
and number; number 0 is what the night's own trial decided, later numbers are decisions by hand after that night. The
rows are a stack: `promoted` puts a set on top, `rolled_back` takes off what lies above the set that it names, and the
top is the current one.

The checkpoints of every set that ever was current stay on disk, so that one can roll back to it.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import pyarrow as pa

from critics.errors import CriticError
from pipelines.lake import Lake, rows_to_table

TABLE = "critic_promotions"
PROMOTED, ROLLED_BACK, HELD = "promoted", "rolled_back", "held"
BY_HAND = "by_hand"
OWN = 0  # number of what the night's own trial decided


class PromotionError(CriticError):
    """There is no such critic to promote, or none to roll back to."""


@dataclass(frozen=True)
class Member:
    """One critic of a set. fold: problems of this fold it has not seen; None: it has seen every training problem."""

    fold: int | None
    critic_id: str
    path: str  # folder of the checkpoint, relative to the workspace
    digest: str  # of the weights


@dataclass(frozen=True)
class CriticSet:
    """Critics that were trained together on one night."""

    night: str
    members: tuple[Member, ...]

    @property
    def full(self) -> Member:
        """The critic of all training problems."""
        return next(member for member in self.members if member.fold is None)

    @property
    def folds(self) -> dict[int, Member]:
        """Fold -> the critic that has not seen it."""
        return {member.fold: member for member in self.members if member.fold is not None}

    @property
    def version(self) -> str:
        """A name for the set that changes with any of its weights."""
        digests = ",".join(sorted(f"{member.fold}:{member.digest}" for member in self.members))
        return hashlib.sha256(digests.encode()).hexdigest()[:16]


def trained_set(critics: pa.Table) -> CriticSet | None:
    """The set that a night's rows of `critics` describe; None without rows of a full critic and of folds."""
    rows = critics.to_pylist()
    members = tuple(Member(row["fold"], row["critic_id"], row["path"], row["digest"]) for row in rows)
    if not any(member.fold is None for member in members) or all(member.fold is None for member in members):
        return None
    return CriticSet(rows[0]["night"], members)


def current_set(lake: Lake, night: str) -> CriticSet | None:
    """The current critics as of a night, its own decisions included; None where none was promoted yet."""
    return _top(promotions(lake, until=night))


def current_before(lake: Lake, night: str) -> CriticSet | None:
    """The critics that were current when the night began; None where none was promoted yet."""
    return _top([row for row in promotions(lake, until=night) if row["night"] < night])


def promotions(lake: Lake, until: str | None = None) -> list[dict]:
    """Rows of `critic_promotions` in their order, up to a night."""
    nights = [night for night in lake.partitions(TABLE) if until is None or night <= until]
    rows = [row for night in nights for row in lake.read(TABLE, night).to_pylist()]
    return sorted(rows, key=lambda row: (row["night"], row["number"]))


def promoted_row(critics: CriticSet, night: str, number: int, reason: str, action: str = PROMOTED) -> dict:
    """A row of `critic_promotions`."""
    return {
        "number": number,
        "action": action,
        "reason": reason,
        "critic_night": critics.night,
        "critic_id": critics.full.critic_id,
        "members": json.dumps([asdict(member) for member in critics.members]),
        "decided_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "night": night,
    }


def rows_of_night(lake: Lake, night: str, own: Mapping | None) -> pa.Table:
    """The night's partition with its own decision replaced (None: there is none); those by hand stay."""
    by_hand = [row for row in promotions(lake) if row["night"] == night and row["number"] != OWN]
    return rows_to_table(TABLE, [*([own] if own else []), *by_hand])


def promote(lake: Lake, critic_night: str) -> dict:
    """Makes the critics of a night current, whatever their trial said; returns the new row.

    Raises PromotionError where that night trained none, or they are the current ones.
    """
    chosen = trained_set(lake.read("critics", critic_night))
    if chosen is None:
        nights = ", ".join(lake.partitions("critics")) or "none"
        raise PromotionError(f"The night {critic_night!r} has no critics; nights that have: {nights}.")
    current = _top(promotions(lake))
    if current is not None and current.version == chosen.version:
        raise PromotionError(f"The critics of {critic_night} ({chosen.full.critic_id}) are the current ones already.")
    return _append(lake, chosen, PROMOTED, at_least=critic_night)


def rollback(lake: Lake) -> dict:
    """Makes the critics current that were so before the current ones; returns the new row."""
    stack = _stack(promotions(lake))
    if len(stack) < 2:
        held = f"{stack[-1].full.critic_id} is the first one" if stack else "none was ever promoted"
        raise PromotionError(f"There is no earlier critic to roll back to: {held}.")
    return _append(lake, stack[-2], ROLLED_BACK)


def history(lake: Lake) -> list[dict]:
    """One object per change of the current critic and per critic that was held, in their order.

    Fields: night, action (promoted, rolled_back, held), reason, critic_id, difference, low, high (of the trial on the
    frozen evaluation problems), drift; null where there was no trial or nothing to compare. `is_current`: the top.
    """
    changes, trials = promotions(lake), lake.read("critic_trials").to_pylist()
    of_trial = {(row["night"], row["critic_id"]): row for row in trials}
    entries = [
        _entry(row, row["action"], of_trial.get((row["night"], row["critic_id"])) if row["number"] == OWN else None)
        for row in changes
    ]
    entries += [_entry(row, HELD, row) for row in trials if not row["is_promotable"]]
    entries.sort(key=lambda entry: (entry["night"], entry.pop("number")))
    last = max((i for i, entry in enumerate(entries) if entry["action"] != HELD), default=-1)
    for index, entry in enumerate(entries):
        entry["is_current"] = index == last
    return entries


def _entry(row: Mapping, action: str, trial: Mapping | None) -> dict:
    found = trial or {}
    numbers = {name: found.get(f"evaluation_{name}") for name in ("difference", "low", "high")}
    known = {name: row[name] for name in ("night", "reason", "critic_id")}
    return {**known, "number": row.get("number", OWN), "action": action, **numbers, "drift": found.get("drift")}


def promoted_paths(lake: Lake) -> set[str]:
    """Folders (relative to the workspace) of every critic that ever was current."""
    return {member.path for row in promotions(lake) for member in _set_of(row).members}


def _append(lake: Lake, critics: CriticSet, action: str, at_least: str = "") -> dict:
    """Decisions by hand stand behind all others: in the newest partition."""
    night = max([*lake.partitions(TABLE), at_least])
    with lake.lease(f"{TABLE}/{night}"):
        rows = [row for row in promotions(lake) if row["night"] == night]
        number = max([OWN, *(row["number"] for row in rows)]) + 1
        row = promoted_row(critics, night, number, BY_HAND, action)
        lake.write(TABLE, rows_to_table(TABLE, [*rows, row]), partition=night, lineage=_lineage(lake, night))
    return row


def _lineage(lake: Lake, night: str) -> Mapping[str, str]:
    manifest = lake.manifest(TABLE, night)
    return manifest.lineage if manifest else {}


def _top(rows: Iterable[Mapping]) -> CriticSet | None:
    stack = _stack(rows)
    return stack[-1] if stack else None


def _stack(rows: Iterable[Mapping]) -> list[CriticSet]:
    stack: list[CriticSet] = []
    for row in rows:
        if row["action"] == PROMOTED:
            stack.append(_set_of(row))
            continue
        restored = _set_of(row)
        while stack and stack[-1].version != restored.version:
            stack.pop()
        stack = stack or [restored]
    return stack


def _set_of(row: Mapping) -> CriticSet:
    return CriticSet(row["critic_night"], tuple(Member(**member) for member in json.loads(row["members"])))
