"""Semantic duplicates: texts whose given embeddings point the same way (SemDeDup, arXiv 2303.09540, without clusters).

    cos(a, b) = a.b / (|a| |b|) >= threshold

Rows are taken in the order of their ids; one is removed when it is as similar as the threshold to an earlier one that
was kept, and `duplicate_of` names the most similar of those (of equals the first). The paper compares within k-means
clusters, and keeps the member farthest from the centroid; here every row meets every kept one, which is exact and costs
rows * kept rows * dimensions, and the first by id is kept, as in the other methods of this folder.

Degenerate cases: a vector that is null, empty, zero, not finite, or of another length than most is `broken_embedding`.
"""

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from pipelines.config import Section
from pipelines.curation import DECISION, Column, Curation

BLOCK_ROWS = 1024
ROUNDING = 1e-6  # cosines are taken in 32-bit numbers
WRITES = pa.schema([*DECISION, ("duplicate_of", pa.string())])


class SemanticParams(Section):
    """Parameters of `semantic_duplicates`."""

    threshold: float = Field(0.95, gt=0.0, le=1.0, description="cosine from which a row is a duplicate; 1 - epsilon")


def run(table: pa.Table, params: SemanticParams) -> pa.Table:
    """The decision on every row, by position."""
    rows = table.take(pc.sort_indices(table, [("text_id", "ascending"), ("position", "ascending")]))
    vectors, usable = _unit_vectors(rows["embedding"].to_pylist())
    twins, cosines = kept_first(vectors, params.threshold)
    reasons = np.full(rows.num_rows, "broken_embedding", object)
    reasons[usable] = np.where(twins >= 0, "semantic_duplicate", None)
    score = np.full(rows.num_rows, np.nan)
    score[usable] = cosines
    originals = np.full(rows.num_rows, -1)
    originals[usable] = np.where(twins >= 0, usable[twins] if len(usable) else -1, -1)
    reason = pa.array(reasons, pa.string())
    duplicate_of = rows["text_id"].take(pa.array(originals, pa.int64(), mask=originals < 0))
    columns = [rows["position"], pc.is_null(reason), reason, pa.array(score, mask=np.isnan(score)), duplicate_of]
    made = pa.table(columns, names=["position", *WRITES.names]).cast(pa.schema([("position", pa.int64()), *WRITES]))
    return made.take(pc.sort_indices(made["position"]))


def kept_first(vectors_ND: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """(the earlier kept row that each duplicates or -1, its cosine or NaN) of unit vectors in order."""
    num = len(vectors_ND)
    twins, cosines = np.full(num, -1), np.full(num, np.nan)
    kept: list[int] = []
    for first in range(0, num, BLOCK_ROWS):
        block_BD = vectors_ND[first : first + BLOCK_ROWS]
        best, nearest = np.full(len(block_BD), -np.inf), np.full(len(block_BD), -1)
        for start in range(0, len(kept), BLOCK_ROWS):
            some = np.array(kept[start : start + BLOCK_ROWS])
            products_BK = block_BD @ vectors_ND[some].T
            at = products_BK.argmax(axis=1)
            value = products_BK[np.arange(len(at)), at]
            is_better = value > best + ROUNDING
            best, nearest = np.where(is_better, value, best), np.where(is_better, some[at], nearest)
        inside_BB = block_BD @ block_BD.T
        own: list[int] = []
        for row in range(len(block_BD)):
            if own:
                value = inside_BB[row, own]
                at = int(value.argmax())
                if value[at] > best[row] + ROUNDING:
                    best[row], nearest[row] = value[at], first + own[at]
            if best[row] >= threshold - ROUNDING:
                twins[first + row], cosines[first + row] = nearest[row], min(float(best[row]), 1.0)
            else:
                own.append(row)
        kept += [first + row for row in own]
    return twins, cosines


def _unit_vectors(embeddings: list[list[float] | None]) -> tuple[np.ndarray, np.ndarray]:
    """(unit vectors of the usable rows, those rows)."""
    lengths = Counter(len(one) for one in embeddings if one)
    size = max(lengths, key=lambda length: (lengths[length], length), default=0)
    candidates = [i for i, one in enumerate(embeddings) if one and len(one) == size and None not in one]
    vectors_ND = np.array([embeddings[i] for i in candidates], float).reshape(len(candidates), size)
    norms = np.linalg.norm(vectors_ND, axis=1)
    is_usable = np.isfinite(norms) & (norms > 0)
    unit_ND = (vectors_ND[is_usable] / norms[is_usable, None]).astype(np.float32)
    return unit_ND, np.array(candidates, int)[is_usable]


CURATION = Curation(
    params=SemanticParams,
    reads=(
        Column("text_id", pa.string(), "id; of duplicates the first id in text order is kept"),
        Column("embedding", pa.list_(pa.float64()), "its vector by one model of your choice, all of one length"),
    ),
    writes=WRITES,
    grain="rows",
    run=run,
)
