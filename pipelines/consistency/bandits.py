"""Where to draw the next problems from: DUMP's upper confidence bound and SEC's running value of every category.

DUMP (arXiv 2504.09710) looks at the latest 300 absolute advantages of a source, SEC (2505.14970) lets old batches fade.
With rewards of 0 and 1 that are not normalised, E|A| = 2 p (1 - p). Formulas stand in the queries.
"""

import pyarrow as pa
from pydantic import Field

from pipelines.config_models import Section
from pipelines.consistency.samples import by_query
from pipelines.curation import Column, Curation

ARM = Column("arm", pa.string(), "source, category or difficulty of the problem; null = in none")
ADVANTAGE = Column("advantage", pa.float64(), "the sample's advantage; null = none")


class DUMPParams(Section):
    """The values of the released code."""

    window: int = Field(300, ge=1, description="latest samples of a source that count")
    temperature: float = Field(0.1, gt=0.0, le=100.0, description="of the softmax over sources")


class SECParams(Section):
    """The values of a re-implementation; the paper tunes them."""

    alpha: float = Field(0.1, gt=0.0, le=1.0, description="weight of the latest batch")
    temperature: float = Field(1.0, gt=0.0, le=100.0, description="of the softmax over categories")


DUMP = Curation(
    params=DUMPParams,
    reads=(ARM, ADVANTAGE),
    writes=pa.schema(
        [
            ("arm", pa.string()),
            ("num_samples", pa.int64()),
            ("mean_advantage", pa.float64()),
            ("score", pa.float64()),
            ("weight", pa.float64()),
        ]
    ),
    grain="table",
    run=by_query("consistent_rollouts/dump", "arm_samples"),
)
SEC = Curation(
    params=SECParams,
    reads=(ARM, ADVANTAGE, Column("batch", pa.int64(), "number of the training batch, in order; null = in none")),
    writes=pa.schema(
        [
            ("arm", pa.string()),
            ("num_samples", pa.int64()),
            ("num_batches", pa.int64()),
            ("learning_value", pa.float64()),
            ("weight", pa.float64()),
        ]
    ),
    grain="table",
    run=by_query("consistent_rollouts/sec", "arm_samples"),
)
