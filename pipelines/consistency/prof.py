"""PROF, the process consistency filter ("Beyond Correctness", arXiv 2509.03403), over whole columns at once.

In every group of samples of one problem `num_removed` are removed: from the larger one of the right and the wrong ones
first, so that the kept ones are as balanced as possible, and within each those whose step scores contradict their
outcome most (right answers with low step scores, wrong answers with high ones).

    centre  = mean of all step scores of the input, ungraded samples included
    c       = 2 * (mean step score - centre), or the other aggregation as it is;  0 without steps
    score   = c * (2 * outcome - 1) - length_penalty * [num_steps < min_steps or num_steps > max_steps]
    k       = min(num_removed, n),  d = n_right - n_wrong
    k_right = min(k, round_half_even((d + k) / 2));  where positive: min(k_right, n_right), else 0
    k_wrong = min(k - k_right, n_wrong)

With the balance "ratio" k_right = round_half_even(k * n_right / n); with "joint" the k samples with the lowest scores
go, right or wrong. A side that is not ranked loses the same number by lot. Worked example for 8 rollouts, 4 removed:
with 6 right and 2 wrong, d = 4, the 4 right ones with the lowest scores go and 2 + 2 stay; with 1 right and 7 wrong, 4
wrong ones go and 1 + 3 stay.

Invariants: step scores come from one scorer, never from Monte Carlo values; the number of kept rollouts of a group is
max(n - k, 0); of equal scores the smaller rollout id is removed first; advantages are computed afterwards, on the kept
rollouts only. Scores are rounded to nine digits, so that neither the order of rows nor that in which a sum was taken
decides anything. Degenerate cases: a group all right (or all wrong) loses k of its only side; samples without an
outcome of 0 or 1, without step scores, or with one that is no number take no part in any group's counts.

`random_removal` is the baseline of every consistency filter: as many right and wrong rollouts go, but by lot. What a
filter gains over it is what its scores know; what it gains over no filter is only balance. `prof_ratio` and
`prof_joint` are the variants that the paper found worse: the first keeps the proportion of right to wrong, the second
ranks both together (their rounding and order are deduced, the paper's notes give none).

Here stands NumPy and not a query because it is the one filter whose speed is promised: a sort of one integer per sample
is faster than a query with DuckDB's heaps per group (`python -m tests.benchmarks prof_scale`).
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, Field

from pipelines.config_models import Section
from pipelines.consistency.samples import GROUP_ID, OUTCOME_REWARD, PROBLEM_ID, ROLLOUT_ID, STEP_VALUES
from pipelines.curation import DECISION, Curation
from pipelines.warehouse import Warehouse

RANKED_SIDES = {"both": (True, True), "correct_only": (True, False), "incorrect_only": (False, True)}
"""mode -> are (right, wrong) rollouts ranked by consistency; a side that is not loses the same number by lot."""

FOLDS = {"min": np.minimum, "sum": np.add, "product": np.multiply}
REASONS = [
    "not_in_group", "ungraded", "no_step_scores", "broken_step_scores", "low_consistency", "inconsistent",
    "balance_random",
]  # fmt: skip
KEPT = -1  # in place of a number of REASONS
NO_GROUP = -1
PIECE = 65_536  # samples scored at a time: what comes between stays in the processor's cache


class ProfVariantParams(Section):
    """What all variants share, with the values of the released scripts."""

    num_removed: int = Field(4, ge=0, le=4096, description="rollouts removed per group (k of the paper)")
    aggregation: Literal["mean", "min", "sum", "product", "last"] = Field(
        "mean", description="how step scores become one number"
    )
    length_penalty: float = Field(10.0, ge=0.0, le=1000.0, description="penalty for unusual step counts (lambda)")
    min_steps: int = Field(2, ge=0, description="fewer steps are penalised")
    max_steps: int = Field(30, ge=1, description="more steps are penalised")


class ProfParams(ProfVariantParams):
    """The parameters of PROF with the values of its released scripts."""

    mode: Literal["both", "correct_only", "incorrect_only"] = Field("both", description="which groups are ranked")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of the lot by which a side that is not ranked is thinned")


class RandomRemovalParams(Section):
    """Parameters of the baseline."""

    num_removed: int = Field(4, ge=0, le=4096, description="rollouts removed per group, as many as PROF would")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of the lot")


def _prof(rows: pa.Table, params: ProfParams) -> pa.Table:
    ranked = RANKED_SIDES[params.mode]
    return _decide(rows, params, ranked, "equal", f"prof-{params.seed}")


def _random_removal(rows: pa.Table, params: RandomRemovalParams) -> pa.Table:
    as_prof = ProfVariantParams(num_removed=params.num_removed)
    return _decide(rows, as_prof, (False, False), "equal", f"random_removal-{params.seed}")


def _prof_ratio(rows: pa.Table, params: ProfVariantParams) -> pa.Table:
    return _decide(rows, params, (True, True), "ratio", "")


def _prof_joint(rows: pa.Table, params: ProfVariantParams) -> pa.Table:
    return _decide(rows, params, (True, True), "joint", "")


def _decide(
    rows: pa.Table,
    params: ProfVariantParams,
    ranked_sides: tuple[bool, bool],
    balance: Literal["equal", "ratio", "joint"],
    salt: str,
) -> pa.Table:
    """`position, kept, reason, score` of every row, in the order of the rows."""
    with ThreadPoolExecutor() as pool:
        numbering = pool.submit(_group_numbers, rows["group_id"])
        steps = _measured(rows["step_values"], params.aggregation, pool)
        groups, num_groups = numbering.result()
        outcomes = np.concatenate([np.zeros(0), *map(_floats, rows["outcome_reward"].chunks)])
        centre = _centre(steps, groups != NO_GROUP)
        pieces = [slice(first, first + PIECE) for first in range(0, len(outcomes), PIECE)]
        scored = pool.map(lambda piece: _scores(steps, outcomes, centre, params, piece), pieces)
        scores = np.concatenate([np.zeros(0), *scored])
    reasons = _exclusions(steps, groups, outcomes)
    is_judged = reasons == KEPT
    members = np.flatnonzero(is_judged)
    is_wrong = outcomes[members] == 0.0
    is_ranked = np.where(is_wrong, ranked_sides[1], ranked_sides[0])
    sides = 2 * groups[members] + (is_wrong if balance != "joint" else 0)
    order_numbers = _order_numbers(scores[members], limit=2**62 // max(2 * num_groups, 1))
    if not is_ranked.all():
        order_numbers = np.where(is_ranked, order_numbers, _lots(rows, salt)[members])
    places = _places(sides, order_numbers, rows["rollout_id"], rows["position"].to_numpy(), members)
    is_removed = places < _budgets(groups[members], is_wrong, num_groups, params.num_removed, balance)[sides]
    why = "low_consistency" if balance == "equal" else "inconsistent"
    reasons[members[is_removed]] = np.where(is_ranked, REASONS.index(why), REASONS.index("balance_random"))[is_removed]
    is_kept = reasons == KEPT
    return pa.table(
        {
            "position": rows["position"],
            "kept": is_kept,
            "reason": pa.DictionaryArray.from_arrays(pa.array(reasons, mask=is_kept), REASONS).cast(pa.string()),
            "score": pa.array(scores, mask=~is_judged),
        }
    )


@dataclass(frozen=True)
class _Steps:
    """Step scores of every sample."""

    counts: np.ndarray  # number of steps; 0 without step scores
    totals: np.ndarray  # sum; no number where a step score is none
    aggregates: np.ndarray  # the aggregation; 0 without steps
    is_missing: np.ndarray  # the list is null


def _measured(lists: pa.ChunkedArray, aggregation: str, pool: ThreadPoolExecutor) -> _Steps:
    chunks = lists.chunks or [pa.array([], lists.type)]
    parts = pool.map(lambda chunk: _measured_chunk(chunk, aggregation), chunks)
    return _Steps(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _measured_chunk(lists: pa.ListArray, aggregation: str) -> tuple[np.ndarray, ...]:
    """The fields of `_Steps`."""
    counts = lists.value_lengths().fill_null(0).to_numpy()
    values = _floats(lists.flatten())
    has_steps = counts > 0
    starts = (np.cumsum(counts) - counts)[has_steps]
    totals, aggregates = np.zeros(len(lists)), np.zeros(len(lists))
    with np.errstate(invalid="ignore", over="ignore"):
        totals[has_steps] = np.add.reduceat(values, starts)
        if aggregation == "mean":
            np.divide(totals, counts, out=aggregates, where=has_steps)
        elif aggregation == "last":
            aggregates[has_steps] = values[starts + counts[has_steps] - 1]
        else:
            aggregates[has_steps] = FOLDS[aggregation].reduceat(values, starts)
    return counts, totals, aggregates, lists.is_null().to_numpy(zero_copy_only=False)


def _floats(values: pa.Array) -> np.ndarray:
    """Numbers, NaN for null."""
    return values.to_numpy(zero_copy_only=False)


def _group_numbers(ids: pa.ChunkedArray) -> tuple[np.ndarray, int]:
    """(number of every row's group, or NO_GROUP; how many groups there are).

    Rows of a group mostly follow each other, so that only the first id of every run has to be looked up.
    """
    runs = [pc.run_end_encode(chunk) for chunk in ids.chunks]
    firsts = pa.chunked_array([run.values for run in runs], pa.string()).cast(pa.large_string()).combine_chunks()
    found = firsts.dictionary_encode()
    numbers = found.indices.fill_null(NO_GROUP).to_numpy().astype(np.int64)
    lengths = [np.diff(run.run_ends.to_numpy(), prepend=0) for run in runs]
    return np.repeat(numbers, np.concatenate([np.zeros(0, np.int64), *lengths])), len(found.dictionary)


def _exclusions(steps: _Steps, groups: np.ndarray, outcomes: np.ndarray) -> np.ndarray:
    """Why a sample takes no part, as a number of REASONS, or KEPT; the first reason that holds."""
    reasons = np.full(len(groups), KEPT, np.int8)
    for reason, holds in (
        ("broken_step_scores", ~np.isfinite(steps.totals)),
        ("no_step_scores", steps.is_missing),
        ("ungraded", (outcomes != 0.0) & (outcomes != 1.0)),
        ("not_in_group", groups == NO_GROUP),
    ):
        reasons[holds] = REASONS.index(reason)
    return reasons


def _centre(steps: _Steps, is_in_group: np.ndarray) -> float:
    """The mean of all step scores; 0 where there is none."""
    is_counted = is_in_group & np.isfinite(steps.totals)
    num_steps = steps.counts.sum(where=is_counted)
    return float(steps.totals.sum(where=is_counted) / num_steps) if num_steps else 0.0


def _scores(steps: _Steps, outcomes: np.ndarray, centre: float, params: ProfVariantParams, piece: slice) -> np.ndarray:
    """The consistency scores of a piece of the samples; of samples that take no part they mean nothing."""
    counts, consistency = steps.counts[piece], steps.aggregates[piece]
    is_unusual = (counts < params.min_steps) | (counts > params.max_steps)
    with np.errstate(invalid="ignore", over="ignore"):
        if params.aggregation == "mean":
            consistency = np.where(counts > 0, 2 * (consistency - centre), 0.0)
        return _to_nine_digits(consistency * (2 * outcomes[piece] - 1) - params.length_penalty * is_unusual)


def _to_nine_digits(numbers: np.ndarray) -> np.ndarray:
    """Rounded, halves away from zero; never -0. Numbers too large to have nine digits stay as they are."""
    billionths = numbers * 1e9
    rounded = np.trunc(billionths + np.copysign(0.5, billionths)) / 1e9
    return np.where(np.abs(billionths) < 2**52, rounded, numbers) + 0.0


def _budgets(groups: np.ndarray, is_wrong: np.ndarray, num_groups: int, num_removed: int, balance: str) -> np.ndarray:
    """How many samples of every side are removed: right of group 0, wrong of group 0, right of group 1, ..."""
    num_all, num_wrong = (np.bincount(chosen, minlength=num_groups) for chosen in (groups, groups[is_wrong]))
    num_right = num_all - num_wrong
    k = np.minimum(num_removed, num_all)
    if balance == "joint":
        k_right = k
    elif balance == "ratio":
        k_right = np.rint(k * num_right / np.maximum(num_all, 1)).astype(np.int64)
    else:
        k_right = np.rint((num_right - num_wrong + k) / 2).astype(np.int64)
        k_right = np.maximum(np.minimum(np.minimum(k, k_right), num_right), 0)
    return np.stack([k_right, np.minimum(k - k_right, num_wrong)], axis=1).ravel()


def _order_numbers(scores: np.ndarray, limit: int) -> np.ndarray:
    """Integers from 0 to below `limit` that sort as the scores do: billionths, which they are rounded to, or ranks."""
    if len(scores) and np.ptp(scores) * 1e9 < min(limit - 2, 2**52):
        billionths = np.rint(scores * 1e9)
        return (billionths - billionths.min()).astype(np.int64)
    return np.unique(scores, return_inverse=True)[1]


def _lots(rows: pa.Table, salt: str) -> np.ndarray:
    """The rank of every row's lot."""
    with Warehouse.over({"samples": rows}) as warehouse:
        by_position = warehouse.named("consistent_rollouts/lots", salt=salt)["lot"].to_numpy()
    lots = np.empty_like(by_position)
    lots[np.argsort(rows["position"].to_numpy(), kind="stable")] = by_position
    return np.unique(lots, return_inverse=True)[1]


def _places(
    sides: np.ndarray, order_numbers: np.ndarray, ids: pa.ChunkedArray, positions: np.ndarray, members: np.ndarray
) -> np.ndarray:
    """Each member's place in its side, from 0: by order number, of equal ones by rollout id, then by position.

    Side and order number are one integer, so that one sort does it; ids are looked at only where those are equal.
    """
    keys = sides * (order_numbers.max(initial=0) + 1) + order_numbers
    order = np.argsort(keys, kind="stable")  # merges runs, of which rows that come group by group have many
    is_as_before = np.diff(keys[order], prepend=-1) == 0
    tied = np.flatnonzero(is_as_before | np.append(is_as_before[1:], False))
    if len(tied):
        rows = order[tied]
        ties = {"key": keys[rows], "id": ids.take(pa.array(members[rows])), "position": positions[members[rows]]}
        order[tied] = rows[pc.sort_indices(pa.table(ties), [(name, "ascending") for name in ties]).to_numpy()]
    sizes = np.bincount(sides)
    firsts = np.cumsum(sizes) - sizes
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order)) - firsts[sides[order]]
    return places


def _curation(params: type[BaseModel], run: Callable[[pa.Table, BaseModel], pa.Table]) -> Curation:
    reads = (PROBLEM_ID, ROLLOUT_ID, OUTCOME_REWARD, STEP_VALUES, GROUP_ID)
    return Curation(params=params, reads=reads, writes=DECISION, grain="rows", run=run)


PROF = _curation(ProfParams, _prof)
RANDOM_REMOVAL = _curation(RandomRemovalParams, _random_removal)
PROF_RATIO = _curation(ProfVariantParams, _prof_ratio)
PROF_JOINT = _curation(ProfVariantParams, _prof_joint)
