"""Bias probes of a judge: the same items with and without a perturbation that should change nothing.

The four of the Reasoning-based Bias Detector (RBD, arXiv 2505.17100) are position (the answers change places),
verbosity (one answer is made longer), bandwagon (the prompt claims what most people prefer) and sentiment (an answer's
tone is changed); any other name works too. Who perturbs is up to the caller; the measures stand
in `sql/judges/bias.sql`.
"""

import pyarrow as pa

from pipelines.config import Section
from pipelines.curation import Column, Curation
from pipelines.warehouse import Warehouse


class BiasParams(Section):
    """`judge_bias` has no parameters."""


WRITES = pa.schema(
    [
        ("judge", pa.string()),
        ("bias", pa.string()),
        *((name, pa.int64()) for name in ("num_items", "num_unreadable", "num_single")),
        *((name, pa.float64()) for name in ("consistency", "low", "high")),
        ("num_gold", pa.int64()),
        *((name, pa.float64()) for name in ("accuracy_plain", "accuracy_perturbed", "accuracy_drop")),
        ("num_pushable", pa.int64()),
        ("pushed", pa.float64()),
    ]
)


def run(table: pa.Table, params: BiasParams) -> pa.Table:
    """One row per judge and bias."""
    with Warehouse.over({"bias_probes": table}) as warehouse:
        return warehouse.named("judges/bias").cast(WRITES)


CURATION = Curation(
    params=BiasParams,
    reads=(
        Column("judge", pa.string(), "who judged; null: there is one judge", False),
        Column("bias", pa.string(), "position, verbosity, bandwagon, sentiment, or a name of your own"),
        Column("item_id", pa.string(), "what was judged plain and perturbed"),
        Column("is_perturbed", pa.bool_(), "whether this is the perturbed judgment; null: the row has no part"),
        Column("verdict", pa.string(), "the answer it names, whatever its place; null: cannot be read"),
        Column("gold", pa.string(), "the right verdict; null: unknown", False),
        Column("pushed_to", pa.string(), "the verdict that the perturbation suggests; null: none", False),
    ),
    writes=WRITES,
    grain="table",
    run=run,
)
