"""Near duplicates of texts: MinHash signatures, LSH bands, exact Jaccard similarity of what they propose.

    J(A, B) = |A and B| / |A or B|                              of the sets of shingles
    min_j(A) = min over x in A of pi_j(x);   P(min_j(A) = min_j(B)) = J          (Broder 1997)

`num_bands` * `rows_per_band` seeded permutations; two texts are compared when a whole band of their signatures agrees,
which happens with probability 1 - (1 - J^rows)^bands: 0.998 at J = 0.8, 0.27 at J = 0.5 with the defaults. Proposed
pairs whose estimate is far below the threshold are dropped, and of the rest the exact similarity decides, so that
nothing is removed for an estimate.

Keep rule: texts are taken in the order of their ids; one is removed when it is as similar as the threshold to an
earlier one that was kept, and `duplicate_of` names the most similar of those (of equals the first). So every removed
text has a kept twin, and no chain of small steps removes a text without one.

Degenerate cases: equal texts (after normalisation) have J = 1 and the reason `exact_duplicate`; an empty text has
no shingle and the reason `no_text`; in a bucket of many texts each is compared with the first MAX_COMPARED of them.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from pipelines.config import Section
from pipelines.curation import DECISION, Column, Curation
from pipelines.duplicates.normal_text import normal_texts
from pipelines.duplicates.shingles import Bytes, chunks, distinct, mixed, shingles_of

MAX_COMPARED = 32  # of a bucket's texts, those by which the others are compared
SLACK = 0.15  # a pair whose estimate is below threshold - SLACK is not looked at exactly
PAIRS_AT_ONCE = 1 << 17
NUM_THREADS = os.cpu_count() or 1

WRITES = pa.schema(
    [*DECISION, ("duplicate_of", pa.string()), ("estimated_jaccard", pa.float64()), ("jaccard", pa.float64())]
)


class MinHashParams(Section):
    """Parameters of `minhash_duplicates`; the numbers are ours, chosen for recall since every pair is looked at."""

    threshold: float = Field(0.8, gt=0.0, le=1.0, description="Jaccard similarity from which a text is a duplicate")
    unit: Literal["words", "characters"] = Field("words", description="what a shingle is made of")
    shingle_size: int = Field(5, ge=1, le=64, description="words or characters of a shingle")
    num_bands: int = Field(20, ge=1, le=256, description="bands of the signature; any that agrees proposes a pair")
    rows_per_band: int = Field(6, ge=1, le=64, description="permutations per band")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of the permutations")


class StepParams(MinHashParams):
    """Parameters of `step_duplicates`: steps are short, so characters make the shingles."""

    unit: Literal["words", "characters"] = Field("characters", description="what a shingle is made of")


@dataclass(frozen=True)
class Found:
    """What became of distinct texts 0..n-1, which stand in the order of their ids."""

    twin: np.ndarray  # the kept text that one duplicates; -1: it is kept itself
    estimated: np.ndarray  # share of equal signature entries; NaN where kept
    jaccard: np.ndarray  # exact; NaN where kept


def run(table: pa.Table, params: MinHashParams) -> pa.Table:
    """The decision on every text, by position."""
    return decide(table["position"], table["text_id"], table["text"], table["group_id"], params)


def run_steps(table: pa.Table, params: StepParams) -> pa.Table:
    """One row per step of every rollout; the id of a step is `rollout_id:step`, with six digits."""
    steps = table.select(["rollout_id", "steps"]).combine_chunks()
    lists = steps["steps"].combine_chunks()
    rows = pc.list_parent_indices(lists)
    places = pa.array(_places_in(rows.to_numpy()), pa.int64())
    rollout_ids = steps["rollout_id"].combine_chunks().take(rows)
    numbers = pc.utf8_lpad(places.cast(pa.string()), width=6, padding="0")
    step_ids = pc.binary_join_element_wise(rollout_ids.cast(pa.string()), numbers, ":")
    positions = pa.array(np.arange(len(step_ids)), pa.int64())
    made = decide(positions, step_ids, pc.list_flatten(lists), pa.nulls(len(step_ids), pa.string()), params)
    columns = [rollout_ids, places, step_ids, *(made[name] for name in WRITES.names)]
    return pa.table(columns, names=STEP_WRITES.names).cast(STEP_WRITES)


def decide(
    positions: pa.ChunkedArray,
    ids: pa.ChunkedArray,
    texts: pa.ChunkedArray,
    groups: pa.ChunkedArray,
    params: MinHashParams,
) -> pa.Table:
    """Columns `position`, then WRITES. Texts of different groups (null is one group) are never compared."""
    normal = normal_texts(texts)
    order = _ordered(ids, positions, pc.greater(pc.binary_length(normal), 0))
    codes = _codes(groups)[order]
    there = normal.take(pa.array(order))
    first_of, distinct_texts = _distinct_texts(there, codes)
    found = near_duplicates(Bytes.of(there.take(pa.array(distinct_texts))), codes[distinct_texts], params)
    return _rows(positions, ids, order, first_of, distinct_texts, found)


def near_duplicates(texts: Bytes, groups: np.ndarray, params: MinHashParams) -> Found:
    """Which of distinct texts, in the order of their ids, are near duplicates of which."""
    num = len(texts)
    twin, estimated, jaccard = np.full(num, -1), np.full(num, np.nan), np.full(num, np.nan)
    signatures = signatures_of(texts, params)
    pairs = list(_similar_pairs(texts, signatures, groups, params))
    if pairs:
        one, other, guess, exact = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
        order = np.lexsort((one, -exact, other))
        is_kept = np.ones(num, bool)
        for at in order.tolist():
            later, earlier = other[at], one[at]
            if is_kept[later] and is_kept[earlier]:
                is_kept[later] = False
                twin[later], estimated[later], jaccard[later] = earlier, guess[at], exact[at]
    return Found(twin, estimated, jaccard)


def signatures_of(texts: Bytes, params: MinHashParams) -> np.ndarray:
    """(permutations, texts): the upper 32 bits of the least permuted shingle; permutations are a * x + b mod 2^64."""
    num_permutations = params.num_bands * params.rows_per_band
    rng = np.random.default_rng(params.seed)
    factors = rng.integers(0, 2**63, num_permutations, np.uint64) * np.uint64(2) + np.uint64(1)
    summands = rng.integers(0, 2**64 - 1, num_permutations, np.uint64, endpoint=True)
    signatures_HT = np.empty((num_permutations, len(texts)), np.uint32)

    def fill(bounds: tuple[int, int]) -> None:
        shingles = shingles_of(texts, *bounds, params.shingle_size, params.unit == "words")
        permuted = np.empty_like(shingles.hashes)
        for row, (factor, summand) in enumerate(zip(factors, summands, strict=True)):
            np.multiply(shingles.hashes, factor, out=permuted)
            np.add(permuted, summand, out=permuted)
            signatures_HT[row, slice(*bounds)] = np.minimum.reduceat(permuted, shingles.starts[:-1]) >> np.uint64(32)

    with ThreadPoolExecutor(NUM_THREADS) as threads:
        list(threads.map(fill, chunks(texts)))
    return signatures_HT


Pairs = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Earlier texts, later texts, estimated and exact similarity."""


def _similar_pairs(
    texts: Bytes, signatures_HT: np.ndarray, groups: np.ndarray, params: MinHashParams
) -> Iterator[Pairs]:
    """Pairs at or above the threshold, each once."""
    keys = [_candidates(signatures_HT, groups, band, params.rows_per_band) for band in range(params.num_bands)]
    candidates = np.unique(np.concatenate(keys))
    for first in range(0, len(candidates), PAIRS_AT_ONCE):
        part = candidates[first : first + PAIRS_AT_ONCE]
        one, other = (part >> np.uint64(32)).astype(np.int64), (part & np.uint64(0xFFFFFFFF)).astype(np.int64)
        guess = _agreement(signatures_HT, one, other)
        is_near = guess >= params.threshold - SLACK
        one, other, guess = one[is_near], other[is_near], guess[is_near]
        exact = exact_jaccard(texts, one, other, params) if len(one) else np.zeros(0)
        is_near = exact >= params.threshold - 1e-12
        yield one[is_near], other[is_near], guess[is_near], exact[is_near]


def _candidates(signatures_HT: np.ndarray, groups: np.ndarray, band: int, rows: int) -> np.ndarray:
    """Keys earlier * 2^32 + later of the texts that share a bucket of this band."""
    keys = mixed(groups.astype(np.uint64) + np.uint64(1))
    for row in signatures_HT[band * rows : (band + 1) * rows]:
        keys = mixed(keys * np.uint64(31) + row)
    order = np.argsort(keys, kind="stable")  # within a bucket by text, which is by id
    is_first = np.ones(len(order), bool)
    is_first[1:] = keys[order][1:] != keys[order][:-1]
    heads = np.maximum.accumulate(np.where(is_first, np.arange(len(order)), 0))
    places = np.arange(len(order)) - heads
    found = []
    for back in range(min(MAX_COMPARED, int(places.max(initial=0)))):
        later = np.flatnonzero(places > back)
        one, other = order[heads[later] + back].astype(np.uint64), order[later].astype(np.uint64)
        found.append((one << np.uint64(32)) | other)
    return np.concatenate(found) if found else np.zeros(0, np.uint64)


def _agreement(signatures_HT: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    equal = np.zeros(len(one), np.int64)
    for row in signatures_HT:
        equal += row[one] == row[other]
    return equal / len(signatures_HT)


def exact_jaccard(texts: Bytes, one: np.ndarray, other: np.ndarray, params: MinHashParams) -> np.ndarray:
    """Jaccard similarity of the sets of shingles of pairs of texts."""
    named, inverse = np.unique(np.concatenate([one, other]), return_inverse=True)
    chosen = texts.take(named)
    sets = distinct(shingles_of(chosen, 0, len(chosen), params.shingle_size, params.unit == "words"))
    sizes = np.diff(sets.starts)
    left, right = inverse[: len(one)], inverse[len(one) :]
    members = np.concatenate([_gathered(sets.hashes, sets.starts, side) for side in (left, right)])
    owners = np.concatenate([np.repeat(np.arange(len(one)), sizes[side]) for side in (left, right)])
    order = np.lexsort((members, owners))
    members, owners = members[order], owners[order]
    is_shared = (members[1:] == members[:-1]) & (owners[1:] == owners[:-1])
    shared = np.bincount(owners[1:][is_shared], minlength=len(one))
    return shared / (sizes[left] + sizes[right] - shared)


def _gathered(hashes: np.ndarray, starts: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    counts = np.diff(starts)[chosen]
    ends = np.cumsum(counts)
    return hashes[np.arange(ends[-1]) + np.repeat(starts[chosen] - (ends - counts), counts)]


def _ordered(ids: pa.ChunkedArray, positions: pa.ChunkedArray, has_text: pa.Array) -> np.ndarray:
    """Rows with a text, by id, equal ids by position."""
    rows = pa.table({"id": ids, "position": positions, "row": np.arange(len(ids))})
    rows = rows.filter(pc.fill_null(has_text, False))
    return rows.take(pc.sort_indices(rows, [("id", "ascending"), ("position", "ascending")]))["row"].to_numpy()


def _codes(groups: pa.ChunkedArray) -> np.ndarray:
    encoded = pa.chunked_array([groups]) if isinstance(groups, pa.Array) else groups
    indices = encoded.combine_chunks().dictionary_encode(null_encoding="encode").indices
    return indices.to_numpy(zero_copy_only=False).astype(np.int64)


def _distinct_texts(texts: pa.LargeStringArray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(number of the distinct text of each, first text of each number), in the order of first occurrence."""
    if not len(texts):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    text_codes = texts.dictionary_encode().indices.to_numpy().astype(np.int64)
    both = text_codes * (int(codes.max()) + 1) + codes
    _, firsts, inverse = np.unique(both, return_index=True, return_inverse=True)
    ranks = np.argsort(np.argsort(firsts))
    return ranks[inverse], np.sort(firsts)


def _places_in(rows: np.ndarray) -> np.ndarray:
    """Place of each item in its row, from 0; `rows` rises."""
    starts = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]]) if len(rows) else np.zeros(0, np.int64)
    return np.arange(len(rows)) - np.repeat(starts, np.diff(np.r_[starts, len(rows)]))


def _rows(
    positions: pa.ChunkedArray, ids: pa.ChunkedArray, order: np.ndarray, first_of: np.ndarray,
    distinct_texts: np.ndarray, found: Found,
) -> pa.Table:  # fmt: skip
    """The decisions by position. `order`: rows with a text by id; `first_of`: their distinct text."""
    num = len(positions)
    is_first = np.zeros(len(order), bool)
    is_first[distinct_texts] = True
    twin_of_text = found.twin[first_of] if len(first_of) else np.zeros(0, np.int64)
    is_near = twin_of_text >= 0
    original = np.where(is_near, twin_of_text, first_of)  # the distinct text that stands for each
    reason = np.full(num, "no_text", object)
    reason[order] = np.where(is_near, "near_duplicate", np.where(is_first, None, "exact_duplicate"))
    duplicate_of = np.full(num, -1)
    duplicate_of[order] = np.where(is_near | ~is_first, order[distinct_texts[original]], -1) if len(order) else -1
    estimated, jaccard = np.full(num, np.nan), np.full(num, np.nan)
    equal = np.where(is_first, np.nan, 1.0)
    if len(order):
        estimated[order] = np.where(is_near, found.estimated[first_of], equal)
        jaccard[order] = np.where(is_near, found.jaccard[first_of], equal)
    reasons = pa.array(reason, pa.string())
    twins = pa.array(duplicate_of, pa.int64(), mask=duplicate_of < 0)
    numbers = [pa.array(values, pa.float64(), mask=np.isnan(values)) for values in (jaccard, estimated, jaccard)]
    columns = [positions, pc.is_null(reasons), reasons, numbers[0], ids.take(twins).cast(pa.string()), *numbers[1:]]
    rows = pa.table(columns, names=["position", *WRITES.names]).cast(pa.schema([("position", pa.int64()), *WRITES]))
    return rows.take(pc.sort_indices(rows["position"]))


STEP_WRITES = pa.schema([("rollout_id", pa.string()), ("step", pa.int64()), ("step_id", pa.string()), *WRITES])

READS = (
    Column("text_id", pa.string(), "id; of duplicates the first id in text order is kept"),
    Column("text", pa.string(), "the text; null or empty: reason no_text"),
    Column("group_id", pa.string(), "texts are compared within their group only; null is a group too", False),
)
CURATION = Curation(params=MinHashParams, reads=READS, writes=WRITES, grain="rows", run=run)
STEP_CURATION = Curation(
    params=StepParams,
    reads=(
        Column("rollout_id", pa.string(), "id of the rollout"),
        Column("steps", pa.list_(pa.string()), "texts of its steps; null: none"),
    ),
    writes=STEP_WRITES,
    grain="table",
    run=run_steps,
)
