"""A user's own filter: `function(rollouts, step_scores) -> table(rollout_id, kept, reason, score)`, checked.

The function gets graded rollouts of groups: failed, not graded and tree rollouts are rejected before it, and in a list
of filters also what the ones before it did not keep. Invariants: every rollout gets exactly one row; what is not kept
has a snake_case reason and what is kept has none. The function sees the step scores of the configured scorer only.
"""

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import WorkspaceError

FilterFn = Callable[[pa.Table, pa.Table], pa.Table]
COLUMNS = {"rollout_id": pa.string(), "kept": pa.bool_(), "reason": pa.string(), "score": pa.float64()}
REASON = r"^[a-z][a-z0-9_]*$"


def run_own_filter(function: FilterFn, rollouts: pa.Table, scores: pa.Table, method: str) -> pa.Table:
    """`kept, reason, score` in the order of `rollouts`. Raises WorkspaceError when the filter fails or is wrong."""
    try:
        answer = function(rollouts, scores)
    except Exception as error:  # capture point: the user's own code may raise anything
        raise WorkspaceError(f"The filter of method {method!r} failed with {type(error).__name__}: {error}") from error
    checked = _checked(answer, rollouts, method)
    return checked.take(pc.index_in(rollouts["rollout_id"], checked["rollout_id"])).drop_columns("rollout_id")


def _checked(answer: object, rollouts: pa.Table, method: str) -> pa.Table:
    """`answer` with exact types, or WorkspaceError that names what is wrong with which row."""
    if not isinstance(answer, pa.Table):
        raise _complaint(method, f"returned a {type(answer).__name__}; a pyarrow.Table is needed")
    missing = [name for name in COLUMNS if name not in answer.column_names]
    if missing:
        raise _complaint(method, f"returned no column {missing[0]!r}; needed are {', '.join(COLUMNS)}")
    try:
        table = answer.select(list(COLUMNS)).cast(pa.schema(COLUMNS))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        raise _complaint(method, f"returned a column of a wrong type: {error}") from error
    if sorted(table["rollout_id"].to_pylist(), key=str) != sorted(rollouts["rollout_id"].to_pylist()):
        raise _complaint(
            method, f"returned {table.num_rows} rows for {rollouts.num_rows} rollouts; each rollout needs exactly one"
        )
    if table["kept"].null_count:
        raise _complaint(method, "left `kept` null; it must be true or false")
    is_named = pc.fill_null(pc.match_substring_regex(table["reason"], REASON), False)
    wrong = table.filter(_wrong_reason(table, is_named))
    if wrong.num_rows:
        row = wrong.slice(0, 1).to_pylist()[0]
        raise _complaint(
            method,
            f"gave rollout {row['rollout_id']} kept = {row['kept']} with reason {row['reason']!r}; a kept rollout has "
            "no reason and a rejected one has a snake_case word",
        )
    return table


def _wrong_reason(table: pa.Table, is_named: pa.ChunkedArray) -> pa.ChunkedArray:
    is_kept = table["kept"]
    return pc.or_(pc.and_(is_kept, pc.is_valid(table["reason"])), pc.and_(pc.invert(is_kept), pc.invert(is_named)))


def _complaint(method: str, what: str) -> WorkspaceError:
    return WorkspaceError(f"The filter of method {method!r} {what}.")
