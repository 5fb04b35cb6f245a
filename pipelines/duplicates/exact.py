"""Exact duplicates of texts: equal as they are, or after normalisation.

Of equal texts of one group the first by id is kept (`sql/duplicates/exact.sql`); the normalisation is
`normal_text.DUPLICATES_RULE`.
"""

import pyarrow as pa
from pydantic import Field

from pipelines.config import Section
from pipelines.curation import DECISION, Curation
from pipelines.duplicates.minhash import READS
from pipelines.duplicates.normal_text import normal_texts
from pipelines.warehouse import Warehouse

WRITES = pa.schema([*DECISION, ("duplicate_of", pa.string())])


class ExactParams(Section):
    """Parameters of `exact_duplicates`."""

    normalise: bool = Field(True, description="whether case, white space and forms of one character are no difference")


def run(table: pa.Table, params: ExactParams) -> pa.Table:
    """The decision on every text, by position."""
    texts = normal_texts(table["text"]) if params.normalise else table["text"]
    rows = table.select(["position", "text_id", "group_id"]).append_column("text", texts.cast(pa.large_string()))
    with Warehouse.over({"texts": rows}) as warehouse:
        return warehouse.named("duplicates/exact").cast(pa.schema([("position", pa.int64()), *WRITES]))


CURATION = Curation(params=ExactParams, reads=READS, writes=WRITES, grain="rows", run=run)
