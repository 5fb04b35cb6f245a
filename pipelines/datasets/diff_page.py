"""The diff of two versions -> one self-contained HTML page."""

from collections.abc import Sequence
from html import escape

from pipelines.datasets.diff import QUANTILES, Change, SetDiff, Shift, VersionDiff
from pipelines.datasets.page import page, table
from pipelines.trees.view import one_line

MAX_VALUE = 90  # characters of a value that are shown


def to_html(diff: VersionDiff) -> str:
    """The page."""
    title = f"{diff.old} → {diff.new}"
    body = [f"<h1>{escape(title)}</h1>", f"<p>{escape(headline(diff))}</p>"]
    body += [f"<p>{escape(one_line(sentence))}</p>" for sentence in diff.left_out]
    body += ["<h2>Rows</h2>", _wide(_rows(diff.sets))]
    for one in diff.sets:
        body += _set(one)
    for name, changes in (("Provenance", diff.provenance), ("Configuration", diff.configuration)):
        body += [f"<h2>{name}</h2>", _wide(_changes(changes)) if changes else "<p>No difference.</p>"]
    return page(title, "\n".join(body))


def headline(diff: VersionDiff) -> str:
    """The diff in a sentence."""
    added, removed, changed, same = (
        sum(getattr(one, f"num_{name}") for one in diff.sets) for name in ("added", "removed", "changed", "same")
    )
    return (
        f"{added:,} rows added, {removed:,} removed, {changed:,} changed, {same:,} the same; "
        f"{len(diff.configuration):,} settings differ."
    )


def shift_cells(shift: Shift) -> list[str]:
    """A shift in words: column, distance, what it was, what it is, nulls."""
    distance = "–" if shift.distance is None else f"{shift.distance:.3f}"
    if shift.old_shares:
        was, now = (
            ", ".join(f"{short(word)} {share:.1%}" for word, share in side)
            for side in (shift.old_shares, shift.new_shares)
        )
    else:
        was, now = (
            " / ".join(f"{value:.4g}" for value in side) or "–" for side in (shift.old_quantiles, shift.new_quantiles)
        )
    nulls = f"{shift.old_nulls:.1%} → {shift.new_nulls:.1%}" if shift.old_nulls or shift.new_nulls else ""
    return [shift.column, was, now, nulls, distance]


def change_cells(change: Change) -> list[str]:
    """A changed value: key, what it was, what it is."""
    return [change.key, *("not said" if one is None else short(one) for one in (change.old, change.new))]


def column_changes(one: SetDiff) -> list[tuple[str, list[str]]]:
    """(what became of columns, their names) of the columns that came, went or have another type."""
    retyped = [f"{name} ({was} -> {now})" for name, was, now in one.retyped_columns]
    found = (
        ("new columns", one.added_columns), ("columns that are gone", one.removed_columns),
        ("columns of another type", retyped),
    )  # fmt: skip
    return [(kind, [short(name) for name in names]) for kind, names in found if names]


def short(text: str) -> str:
    """On one line, at most MAX_VALUE characters."""
    line = one_line(text)
    return line if len(line) <= MAX_VALUE else f"{line[: MAX_VALUE - 1]}…"


def _rows(sets: Sequence[SetDiff]) -> str:
    header = ("set", "old", "new", "added", "removed", "changed", "same", "problems: old", "new", "both")
    numbers = ("old", "new", "added", "removed", "changed", "same", "old_problems", "new_problems", "shared_problems")
    return table(header, [[one.name, *(f"{getattr(one, f'num_{key}'):,}" for key in numbers)] for one in sets], 9)


def _set(one: SetDiff) -> list[str]:
    parts = [f"<h2>{escape(one.name)}</h2>"]
    examples = [(kind, keys) for kind in ("added", "removed", "changed") if (keys := getattr(one, kind))]
    for kind, keys in examples:
        shown = ", ".join(f"<code>{escape(short(key))}</code>" for key in keys)
        parts.append(f"<p>{kind}, such as {shown}</p>")
    if one.changed_columns:
        shown = ", ".join(f"<code>{escape(name)}</code> in {count:,}" for name, count in one.changed_columns)
        parts.append(f"<p>columns that changed: {shown}</p>")
    for kind, names in column_changes(one):
        parts.append(f"<p>{kind}: {', '.join(f'<code>{escape(name)}</code>' for name in names)}</p>")
    if one.shifts:
        levels = " / ".join(f"{100 * level:g} %" for level in QUANTILES)
        header = ("column", f"was ({levels}, or shares)", "is", "nulls", "distance")
        parts.append(_wide(table(header, [shift_cells(shift) for shift in one.shifts], 1)))
    return parts


def _changes(changes: Sequence[Change]) -> str:
    return table(("key", "was", "is"), [change_cells(one) for one in changes])


def _wide(inner: str) -> str:
    return f'<div class="wide">{inner}</div>'
