"""A curation method on a table of the user's own: Parquet or json lines in, its decisions or its own rows out.

The input is read once for the columns that the method declares (`pipelines.curation`). A method of grain "rows" has
every row read a second time and written in the same order with the added columns behind its own; then only what the
method looks at, and what it adds, is held in memory. (Lines are held whole where they are to become Parquet.) A method
of grain "table" has its own rows written.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.apply.parameters import params_from_texts
from pipelines.apply.source import LINES, PARQUET, is_lines, read_columns
from pipelines.apply.target import write_added, write_own
from pipelines.catalogue import METHODS
from pipelines.curation import DECISION, Curation
from pipelines.errors import ApplyError

__all__ = ["Applied", "ApplyError", "applicable_methods", "apply_curation", "apply_method"]

OWN = ".py:"
"""What the reference to a method of the user's own contains: my_methods.py:SHORTEST."""

LoadCurationFn = Callable[[str], object]
"""What stands behind such a reference."""


@dataclass(frozen=True)
class Applied:
    """What an application did."""

    num_rows: int  # of the input
    num_written: int  # of the output
    num_kept: int | None  # None where the method decides about no rows
    reasons: Mapping[str, int]  # reason -> rows; rows that were kept have none
    columns: tuple[str, ...]  # that the method added, or that its own rows have


def applicable_methods() -> dict[str, Curation]:
    """The methods of the catalogue that run on a table, by name."""
    return {name: METHODS[name].curation for name in sorted(METHODS) if METHODS[name].curation is not None}


def apply_method(
    name: str, source: Path, target: Path, settings: Mapping[str, str], load: LoadCurationFn | None = None
) -> Applied:
    """Run the method `name` over a file and write the rows with what it adds, or its own rows, to another.

    `settings` are `key=value` texts as a command line has them; `load` finds methods of the user's own. Raises
    ApplyError, and LakeError where the output cannot be written; then there is no output.
    """
    curation = load(name) if load is not None and OWN in name else _named(name)
    if not isinstance(curation, Curation):
        raise ApplyError(f"{name} is a {type(curation).__name__}; a pipelines.curation.Curation is needed there.")
    return apply_curation(name, curation, source, target, settings)


def apply_curation(name: str, curation: Curation, source: Path, target: Path, settings: Mapping[str, str]) -> Applied:
    """`apply_method` of a curation that need not stand in the catalogue; `name` is for messages."""
    params = params_from_texts(name, curation.params, settings)
    _check_paths(source, target)
    with _kept_pages():
        rows = read_columns(source, curation)
        result = run_curation(name, curation, rows, params)
        if curation.grain == "rows":
            write_added(source, target, result, rows.drop_columns("position"))
        else:
            write_own(target, result)
    reasons: dict[str, int] = {}
    num_kept = None
    if set(DECISION.names) <= set(result.column_names) and curation.grain == "rows":
        counted = pc.value_counts(result["reason"].combine_chunks().drop_null()).to_pylist()
        reasons = {one["values"]: one["counts"] for one in counted}
        num_kept = result.num_rows - sum(reasons.values())
    return Applied(rows.num_rows, result.num_rows, num_kept, dict(sorted(reasons.items())), tuple(result.column_names))


@contextmanager
def _kept_pages() -> Iterator[None]:
    """Arrow with the allocator that keeps what it has freed, where it was built with it.

    The default one gives large blocks back to the system and faults their pages in again: a third of PROF's processor
    time on a million rows.
    """
    before = pa.default_memory_pool()
    if "jemalloc" in pa.supported_memory_backends():
        pa.set_memory_pool(pa.jemalloc_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)


def run_curation(name: str, curation: Curation, rows: pa.Table, params: object) -> pa.Table:
    """The columns of `curation.writes`, for grain "rows" one row per row by position; ApplyError where they are not."""
    result = curation.run(rows, params)
    missing = [column for column in curation.writes.names if column not in result.column_names]
    if missing:
        raise ApplyError(f"{name} made no column `{missing[0]}`, though it declares it.")
    if curation.grain == "rows":
        result = result if _is_in_order(result, rows) else result.sort_by("position")
        if not _is_in_order(result, rows):
            raise ApplyError(
                f"{name} made {result.num_rows} rows for {rows.num_rows}; it has to make exactly one for each."
            )
    return result.select(curation.writes.names).cast(curation.writes)


def _is_in_order(result: pa.Table, rows: pa.Table) -> bool:
    return result["position"].equals(rows["position"])


def _named(name: str) -> Curation:
    applicable = applicable_methods()
    if name in applicable:
        return applicable[name]
    near = difflib.get_close_matches(name, applicable, n=3, cutoff=0.3) or sorted(applicable)
    raise ApplyError(f"No method `{name}` can be applied to a file; there is {', '.join(near)}.")


def _check_paths(source: Path, target: Path) -> None:
    for path in (source, target):
        if not (is_lines(path) or path.name.endswith(PARQUET)):
            raise ApplyError(f"{path} must end in {', '.join((*PARQUET, *LINES))}, which tells its format.")
    if not source.is_file():
        raise ApplyError(f"The input {source} is not there, or is no file.")
    if target.exists() and target.samefile(source):
        raise ApplyError(f"The output {target} is the input; give another file, so that nothing is lost.")
