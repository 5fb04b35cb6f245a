"""Contradictions and cycles among pairs: no reward can agree with a over b, b over c and c over a.

Texts of one problem and prompt are the nodes, pairs the wins between them. A pair is on a cycle of length L where its
rejected text leads back to its chosen one over L - 1 wins.
"""

import pyarrow as pa
from pydantic import Field

from pipelines.curation import DECISION
from pipelines.preference.mining import PairParams, pair_columns, pair_judge


class ContradictionParams(PairParams):
    """Contradictions."""


class CycleParams(PairParams):
    """Cycles."""

    max_length: int = Field(3, ge=2, le=64, description="wins of the longest cycle looked for; 2 are contradictions")


CONTRADICTIONS = pair_judge(ContradictionParams, pair_columns(), "contradictions", pa.schema(list(DECISION)))
CYCLES = pair_judge(CycleParams, pair_columns(), "intransitive_pairs", pa.schema(list(DECISION)))
