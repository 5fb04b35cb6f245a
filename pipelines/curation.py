"""What a curation method is: columns in, columns out, parameters with the paper's defaults, one pure function.

Filters, weights, pair miners and aggregations of judgments are all `Curation`s. The same object runs over the lake's
tables inside a pipeline and over anybody's Parquet or json lines (`reasonmill apply`), so the formula stands in one
place, in its own file, and is found through the catalogue.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
from pydantic import BaseModel

DECISION = pa.schema([("kept", pa.bool_()), ("reason", pa.string()), ("score", pa.float64())])
"""What a filter adds: `reason` is a snake_case word where `kept` is false and null where it is true; `score` is the
number that decided, null where there is none."""


@dataclass(frozen=True)
class Column:
    """One column that a method reads."""

    name: str
    kind: pa.DataType
    meaning: str  # unit and range, and what null stands for
    is_required: bool = True
    is_nullable: bool = True  # false: a null is refused, with its row
    stand_in: str | None = None  # a column that is read in its place where it is absent, such as problem_id


@dataclass(frozen=True)
class Curation:
    """How a method runs on a table.

    `run(table, params)` gets the columns of `reads` in their kinds (a missing optional one is its stand-in, or all
    null) and an int64 column `position` that counts the rows of the input from 0. It never changes what it is given,
    depends on no order but `position`, and draws only from hashes of ids and `params.seed`.
    """

    params: type[BaseModel]  # frozen, extra keys forbidden, the paper's defaults
    reads: tuple[Column, ...]
    writes: pa.Schema  # columns of the result, besides `position`
    grain: Literal["rows", "table"]  # rows: one result row per input row, by `position`; table: rows of their own
    run: Callable[[pa.Table, BaseModel], pa.Table]
