"""The entropy probe for contamination in reinforcement learning (Self-Critique, RL-Data-Contamination).

A model answers greedily, and once more after it was asked for a different line of reasoning; E1 and E2 are the
entropies of its tokens in the two answers:

    score = cos(pad0(E1), pad0(E2)) * min(L1, L2) / max(L1, L2),      in [0, 1]; higher: more likely contaminated

A model that was trained on the problem is stuck on one path, so that both answers look alike. The score ranks problems
of one model; it is no probability and has no threshold of its own.

Degenerate cases: an empty sequence is `no_entropies`; a negative or infinite entropy, or none, `broken_entropies`;
where all entropies of an answer are 0 there is no angle: `zero_entropies`.
"""

import math
from collections.abc import Sequence

import pyarrow as pa

from pipelines.config import Section
from pipelines.curation import Column, Curation

FLOATS = pa.list_(pa.float64())
WRITES = pa.schema([("score", pa.float64()), ("reason", pa.string())])


class ProbeParams(Section):
    """`entropy_probe` has no parameters."""


def probe(first: Sequence[float] | None, second: Sequence[float] | None) -> tuple[float | None, str | None]:
    """(score, why there is none) of the entropies of two answers."""
    if not first or not second:
        return None, "no_entropies"
    if any(value is None or not 0.0 <= value < math.inf for value in (*first, *second)):
        return None, "broken_entropies"
    norms = math.hypot(*first) * math.hypot(*second)
    if norms == 0.0:
        return None, "zero_entropies"
    cosine = math.fsum(one * other for one, other in zip(first, second, strict=False)) / norms
    return min(cosine, 1.0) * min(len(first), len(second)) / max(len(first), len(second)), None


def run(table: pa.Table, params: ProbeParams) -> pa.Table:
    """The score of every problem, by position."""
    pairs = zip(table["first_entropies"].to_pylist(), table["second_entropies"].to_pylist(), strict=True)
    found = [probe(first, second) for first, second in pairs]
    arrays = [pa.array([one[column] for one in found], field.type) for column, field in enumerate(WRITES)]
    return pa.table([table["position"], *arrays], names=["position", *WRITES.names])


CURATION = Curation(
    params=ProbeParams,
    reads=(
        Column("first_entropies", FLOATS, "entropy of every token of the greedy answer, at least 0"),
        Column("second_entropies", FLOATS, "the same for the answer that was to reason differently"),
    ),
    writes=WRITES,
    grain="rows",
    run=run,
)
