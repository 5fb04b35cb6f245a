"""Pairs as single labelled texts (KTO and its kin), or the rejected ones alone (dispreference-only, D2O).

A text that is chosen in one pair and rejected in another has no label and is dropped. KTO wants the classes balanced:
n_true w_true / (n_false w_false) within [1, 4/3]. D2O (arXiv 2403.03419) trains away from rejected texts with samples
of the policy's own on the other side, which the trainer draws.
"""

import pyarrow as pa
from pydantic import BaseModel, Field

from pipelines.curation import Curation
from pipelines.preference.mining import PairParams, answered, pair_columns


class UnpairedParams(PairParams):
    """Unpaired texts."""

    only_rejected: bool = Field(False, description="rejected texts alone, for dispreference-only training")


def _run(table: pa.Table, params: BaseModel) -> pa.Table:
    return answered("unpaired", {"known_pairs": table}, params)


UNPAIRED = Curation(
    params=UnpairedParams,
    reads=pair_columns(),
    writes=pa.schema([
        ("problem_id", pa.string()), ("prompt", pa.string()), ("completion", pa.string()), ("label", pa.bool_()),
        ("weight", pa.float64()),
    ]),
    grain="table",
    run=_run,
)  # fmt: skip
