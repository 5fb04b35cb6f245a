"""Two versions of a dataset: which rows came, went and changed, how the distributions moved, and what else differs.

Rows are matched by their key columns (`KEYS`); a key that occurs more than once is matched in order. A row changed when
any column but `night` has another value. Values are compared by DuckDB's 64-bit hashes, so that a million rows of
token lists need seconds and little memory.

A numeric column has shifted by the Kolmogorov-Smirnov distance, the largest gap between the two distribution functions,

    D = max over x of |F_old(x) - F_new(x)|, in [0, 1],

a column of words by the total variation distance, half the sum of |p_old(w) - p_new(w)| over all words, in [0, 1]. Both
are 0 for equal distributions and leave nulls out, whose shares stand beside them; where one side has no value at all
the distance is null.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import sql as queries
from pipelines.datasets.files import arrow_rows, check_files, located
from pipelines.datasets.published import PULLED_SETS, PublishedVersion
from pipelines.datasets.versions import DatasetStore
from pipelines.warehouse import Warehouse

KEYS = {
    "sft": ("rollout_id", "origin"),
    "preference": ("pair_id",),
    "stepwise": ("rollout_id",),
    "prompts": ("problem_id",),
    "rl_groups": ("rollout_id",),
}
ID_COLUMNS = ("pair_id", "rollout_id", "critique_id", "problem_id")  # the key of any other set: the first it has
IGNORED = ("night",)
KINDS = "prompts"  # the set that knows family and difficulty of the others' problems
QUANTILES = (0.05, 0.5, 0.95)
MAX_EXAMPLES = 5
MAX_WORDS = 8  # of a column of words that are shown
MIXING = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Shift:
    """How one column's distribution moved; quantiles of numbers, shares of words."""

    column: str
    distance: float | None  # Kolmogorov-Smirnov for numbers, total variation for words; None: a side has no value
    old_nulls: float  # share of the rows
    new_nulls: float
    old_quantiles: tuple[float, ...] = ()  # at QUANTILES; empty for words, and without any value
    new_quantiles: tuple[float, ...] = ()
    old_shares: tuple[tuple[str, float], ...] = ()  # of the commonest words of both, by the newer version
    new_shares: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class SetDiff:
    """One set in two versions; a version without the set has 0 rows."""

    name: str
    num_old: int
    num_new: int
    num_added: int
    num_removed: int
    num_changed: int
    num_same: int
    num_old_problems: int
    num_new_problems: int
    num_shared_problems: int
    changed_columns: tuple[tuple[str, int], ...]  # column -> rows that it changed in, most first
    added_columns: tuple[str, ...]  # columns that only the newer version has
    removed_columns: tuple[str, ...]
    added: tuple[str, ...]  # keys of the first few rows
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    shifts: tuple[Shift, ...]  # largest first
    retyped_columns: tuple[tuple[str, str, str], ...] = ()  # column, the type it had, the type it has

    @property
    def has_other_columns(self) -> bool:
        """Whether columns came, went or have another type, whatever the rows say."""
        return bool(self.added_columns or self.removed_columns or self.retyped_columns)


@dataclass(frozen=True)
class Change:
    """One value that differs between the manifests; None where a version does not say it."""

    key: str
    old: str | None
    new: str | None


@dataclass(frozen=True)
class VersionDiff:
    """Everything that differs between two versions."""

    old: str
    new: str
    sets: tuple[SetDiff, ...]
    provenance: tuple[Change, ...]  # code, engine, models, stack, filters, contamination
    configuration: tuple[Change, ...]
    left_out: tuple[str, ...] = ()  # sentences: what is not compared, because a folder was pulled without it

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def diff_versions(
    old: PublishedVersion, new: PublishedVersion, sets: Sequence[str] = (), store: DatasetStore | None = None
) -> VersionDiff:
    """What differs; `sets`: only these (none named: all that either version has, and that were pulled).

    WorkspaceError where a file is not the one that was published: its rows would be told as changes; also where a named
    set was not pulled.
    """
    there = [*old.manifest["sets"], *(name for name in new.manifest["sets"] if name not in old.manifest["sets"])]
    lacking = {name for version in (old, new) for name in _not_pulled(version)}
    chosen = [name for name in there if (name in sets if sets else name not in lacking)]
    return VersionDiff(
        old.version,
        new.version,
        tuple(_diff_set(name, old, new, store, knows_kinds=KINDS not in lacking) for name in chosen),
        tuple(_changes(_provenance(old.manifest), _provenance(new.manifest))),
        tuple(_changes(_flat(_settings(old.manifest)), _flat(_settings(new.manifest)))),
        tuple(dict.fromkeys(sentence for one in (old, new) for sentence in _left_out(one, chosen, sets))),
    )


def _not_pulled(version: PublishedVersion) -> list[str]:
    """The sets of the version that its folder does not have."""
    pulled = version.manifest.get(PULLED_SETS)
    return [] if pulled is None else [name for name in version.manifest["sets"] if name not in pulled]


def _left_out(version: PublishedVersion, chosen: Sequence[str], named: Sequence[str]) -> Iterator[str]:
    """What is not compared, because this folder was pulled without it."""
    lacking = _not_pulled(version)
    if lacking and not named:
        yield f"{version.path} was pulled without {', '.join(lacking)}: not compared."
    if KINDS in lacking and any(name != KINDS for name in chosen):
        yield (
            f"{version.path} was pulled without {KINDS}, which know families and difficulties: those of the other sets "
            f"are not compared. Pull {version.version} again with --set {KINDS} to compare them too."
        )


# rows ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Rows:
    """One set of one version, hashed."""

    hashes: Mapping[str, np.ndarray]  # column -> a hash per row
    keys: np.ndarray
    key_columns: tuple[str, ...]
    measures: pa.Table
    num_rows: int


def _diff_set(
    name: str, old: PublishedVersion, new: PublishedVersion, store: DatasetStore | None, *, knows_kinds: bool
) -> SetDiff:
    before, after = (_read(name, version, store, knows_kinds=knows_kinds) for version in (old, new))
    old_at, new_at = _matched(before.keys, after.keys)
    is_both = (old_at >= 0) & (new_at >= 0)
    both_old, both_new = old_at[is_both], new_at[is_both]
    common = [column for column in after.hashes if column in before.hashes and column not in IGNORED]
    differs = {column: before.hashes[column][both_old] != after.hashes[column][both_new] for column in common}
    is_changed = np.logical_or.reduce(list(differs.values())) if differs else np.zeros(len(both_old), bool)
    counts = [(column, int(where.sum())) for column, where in differs.items() if where.any()]
    added, removed = np.sort(new_at[old_at < 0]), np.sort(old_at[new_at < 0])
    problems = [set(rows.hashes.get("problem_id", np.empty(0, np.uint64)).tolist()) for rows in (before, after)]
    is_in_both = before.num_rows and after.num_rows
    return SetDiff(
        name=name,
        num_old=before.num_rows,
        num_new=after.num_rows,
        num_added=len(added),
        num_removed=len(removed),
        num_changed=int(is_changed.sum()),
        num_same=int((~is_changed).sum()),
        num_old_problems=len(problems[0]),
        num_new_problems=len(problems[1]),
        num_shared_problems=len(problems[0] & problems[1]),
        changed_columns=tuple(sorted(counts, key=lambda one: (-one[1], one[0]))),
        added_columns=tuple(one for one in after.hashes if one not in before.hashes) if is_in_both else (),
        removed_columns=tuple(one for one in before.hashes if one not in after.hashes) if is_in_both else (),
        added=_examples(new, name, after, added, store),
        removed=_examples(old, name, before, removed, store),
        changed=_examples(new, name, after, np.sort(both_new[is_changed]), store),
        shifts=tuple(_shifts(before.measures, after.measures)) if is_in_both else (),
        retyped_columns=tuple(_retyped(_types(name, old), _types(name, new))) if is_in_both else (),
    )


def _types(name: str, version: PublishedVersion) -> Mapping[str, str]:
    """Column -> Arrow type of a set, as the manifest has them."""
    return version.manifest["sets"].get(name, {}).get("columns", {})


def _retyped(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    for column, kind in new.items():
        if old.get(column, kind) != kind:
            yield column, old[column], kind


def _read(name: str, version: PublishedVersion, store: DatasetStore | None, *, knows_kinds: bool) -> _Rows:
    if name not in version.manifest["sets"]:
        return _Rows({}, np.empty(0, np.uint64), (), pa.table({}), 0)
    check_files(version, name, store)
    filesystem, paths = located(version, name, store)
    files = {"set_rows": paths, name: paths}
    if knows_kinds and KINDS in version.manifest["sets"]:
        files[KINDS] = located(version, KINDS, store)[1]
    if filesystem is not None:
        files = {one: [filesystem.unstrip_protocol(path) for path in paths] for one, paths in files.items()}
    with Warehouse.over_files(files, filesystem) as warehouse:
        table = warehouse.named("datasets/hashed_rows")
        query = f"datasets/measures_{name}"
        measures = warehouse.named(query) if query in queries.names() else pa.table({})
    hashes = {column: table[column].to_numpy() for column in table.column_names}
    key_columns = _key_columns(name, table.column_names)
    return _Rows(hashes, _mixed([hashes[column] for column in key_columns]), key_columns, measures, table.num_rows)


def _key_columns(name: str, columns: Sequence[str]) -> tuple[str, ...]:
    """The set's key, else the first id that it has, else all columns: then nothing changes, rows come and go."""
    declared = KEYS.get(name, ())
    if declared and set(declared) <= set(columns):
        return declared
    ids = [one for one in ID_COLUMNS if one in columns]
    return (ids[0],) if ids else tuple(one for one in columns if one not in IGNORED)


def _mixed(columns: Sequence[np.ndarray]) -> np.ndarray:
    """One 64-bit hash per row of several."""
    mixed = columns[0].copy()
    for column in columns[1:]:
        mixed = (mixed * MIXING) ^ column
    return mixed


def _matched(old: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions of every key in the old and in the new rows; -1 where it is not there."""
    tables = {
        name: pa.table({"position": np.arange(len(keys)), "row_key": keys.view(np.int64)})
        for name, keys in (("old_keys", old), ("new_keys", new))
    }
    with Warehouse.over(tables) as warehouse:
        found = warehouse.named("datasets/matched_rows")
    return tuple(pc.fill_null(found[column], -1).to_numpy() for column in ("old_position", "new_position"))


def _examples(
    version: PublishedVersion, name: str, rows: _Rows, places: np.ndarray, store: DatasetStore | None
) -> tuple[str, ...]:
    """Keys of the rows at the first few places."""
    if not len(places):
        return ()
    columns = list(rows.key_columns[: len(KEYS.get(name, ())) or 1])
    found = arrow_rows(version, name, store).take(places[:MAX_EXAMPLES], columns=columns).to_pylist()
    return tuple(" ".join(str(row[column]) for column in columns) for row in found)


# distributions ---------------------------------------------------------------------------------------


def _shifts(old: pa.Table, new: pa.Table) -> list[Shift]:
    found = [_shift(column, old[column], new[column]) for column in new.column_names]
    known = [one for one in found if one.old_nulls < 1.0 or one.new_nulls < 1.0]
    return sorted(known, key=lambda one: (-(one.distance or 0.0), one.column))


def _shift(column: str, old: pa.ChunkedArray, new: pa.ChunkedArray) -> Shift:
    nulls = (old.null_count / len(old), new.null_count / len(new))
    if pa.types.is_string(new.type) or pa.types.is_large_string(new.type):
        shares = _shares(old), _shares(new)
        words = sorted({**shares[0], **shares[1]}, key=lambda word: (-shares[1].get(word, 0.0), word))
        gap = sum(abs(shares[0].get(word, 0.0) - shares[1].get(word, 0.0)) for word in words) / 2
        shown = [tuple((word, side.get(word, 0.0)) for word in words[:MAX_WORDS]) for side in shares]
        return Shift(column, gap if all(shares) else None, *nulls, old_shares=shown[0], new_shares=shown[1])
    values = _values(old), _values(new)
    quantiles = [tuple(np.quantile(side, QUANTILES).tolist()) if len(side) else () for side in values]
    return Shift(column, ks_distance(*values), *nulls, *quantiles)


def _shares(column: pa.ChunkedArray) -> dict[str, float]:
    counts = pc.value_counts(column.drop_null())
    total = len(column) - column.null_count
    return {row["values"]: row["counts"] / total for row in counts.to_pylist()}


def _values(column: pa.ChunkedArray) -> np.ndarray:
    """The numbers, sorted, without nulls and what is no finite number."""
    values = column.drop_null().cast(pa.float64()).to_numpy()
    return np.sort(values[np.isfinite(values)])


def ks_distance(old: np.ndarray, new: np.ndarray) -> float | None:
    """Kolmogorov-Smirnov distance of two sorted samples; None where one is empty."""
    if not len(old) or not len(new):
        return None
    places = np.concatenate([old, new])
    gaps = np.searchsorted(old, places, "right") / len(old) - np.searchsorted(new, places, "right") / len(new)
    return float(np.abs(gaps).max())


# manifests -------------------------------------------------------------------------------------------


def _settings(manifest: Mapping[str, object]) -> dict[str, object]:
    """The configuration without paths, which say where and not what."""
    return {key: value for key, value in manifest.get("configuration", {}).items() if key != "paths"}


def _provenance(manifest: Mapping[str, object]) -> dict[str, str]:
    """What else made the data, in flat names; versions of before these were written say less."""
    names = ("night", "code_digest", "code_commit", "code_has_changes", "engine", "models", "stack", "filters")
    found = {name: manifest[name] for name in names if manifest.get(name) is not None}
    critic = manifest.get("critic") or {}
    contamination = manifest.get("contamination") or {}
    return _flat({**found, "critics_of": critic.get("critics_of"), "held_out_rows": contamination.get("by_problem")})


def _flat(value: object, path: str = "") -> dict[str, str]:
    """Leaves by their dotted names, as JSON; lists are leaves."""
    if isinstance(value, Mapping):
        start = f"{path}." if path else ""
        return {name: text for key, one in value.items() for name, text in _flat(one, f"{start}{key}").items()}
    return {} if value is None and not path else {path: value if isinstance(value, str) else json.dumps(value)}


def _changes(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Change]:
    for key in dict.fromkeys([*old, *new]):
        if old.get(key) != new.get(key):
            yield Change(key, old.get(key), new.get(key))
