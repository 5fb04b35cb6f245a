"""Critiques from search trees without a model (MMC): a good and a bad child of one node explain each other.

The query is `sql/critiques/tree_discrepancy.sql`. In the paper an annotator explains the difference; here the good step
is what should stand there, which is all that a line of a critique needs.
"""

import pyarrow as pa
from pydantic import Field

from pipelines.agents.rewards import over
from pipelines.config import Section
from pipelines.preference.mining import TREE_COLUMNS


class TreeDiscrepancyParams(Section):
    """Parameters of `tree_discrepancy`; the paper's abstract gives no numbers, these are ours."""

    min_good: float = Field(0.75, description="least value of the good child")
    max_bad: float = Field(0.25, description="largest value of the bad child")
    min_visits: int = Field(1, ge=1, description="visits of both children")


TREE_DISCREPANCY = over(
    "tree_nodes", "tree_discrepancy", TreeDiscrepancyParams, TREE_COLUMNS,
    pa.schema(
        [
            *((name, pa.string()) for name in ("problem_id", "tree_id", "prompt")),
            ("steps", pa.list_(pa.string())),
            ("critique", pa.string()),
            ("first_error_step", pa.int64()),
            ("gap", pa.float64()),
            ("good_id", pa.string()),
            ("bad_id", pa.string()),
        ]
    ),
    "table",
)  # fmt: skip
