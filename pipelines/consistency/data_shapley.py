"""Data Shapley (Ghorbani and Zou, arXiv 1904.02868): what a training row, or a group of rows, adds to a small proxy.

    phi_i = mean over orders pi of   V(rows before i in pi, and i) - V(rows before i in pi)

V(S) is the accuracy on the validation rows of a proxy trained on S: nearest class centroid, or logistic regression (one
class against the rest). As in the authors' released code, a set that lacks a class of the validation rows is worth as
much as no row at all, the share of the largest class among them; and an order is cut off (TMC) once more than
`patience` sets in a row are within `tolerance` of the worth of all rows: what follows then adds 0. Values of an order
always sum to V(where it ends) - V(nothing). A group's value is shared equally by its rows.

Stopping rule, ours: orders are drawn until the standard error of every value is at most `max_standard_error`, but at
least `min_orders` (so that players who rarely matter are not taken for sure after a few) and at most `max_orders`;
`is_converged` tells which it was. Where all orders are no more than `max_orders` (six players or fewer by default),
each is taken once: the values are exact and their error is 0.

Work: orders x players x one training of the proxy, so it is for hundreds of players, not for millions.

Degenerate cases: one player is worth V(all) - V(nothing); rows without features or a label, or with a feature that is
no number, are not valued and say why; equal distances go to the smaller class name.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from pipelines.config_models import Section
from pipelines.curation import DECISION, Column, Curation
from pipelines.errors import ReasonmillError
from pipelines.judges.logistic import fitted

WorthFn = Callable[[Sequence[int]], float]
"""V of a set of players, given as their indices."""
PredictFn = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""(features_NF, classes_N, queries_MF) -> the class of every query; classes are integers."""

READS = (
    Column("row_id", pa.string(), "the row", is_nullable=False),
    Column("features", pa.list_(pa.float64()), "what the proxy sees, equally many numbers per row; null = not known"),
    Column("label", pa.string(), "the class that the row teaches; null = not known"),
    Column("is_validation", pa.bool_(), "a row that V is measured on; null = no"),
    Column("group_id", pa.string(), "rows that are valued together; null = not valued", is_required=False,
           stand_in="row_id"),
)  # fmt: skip
WRITES = pa.schema(
    [*DECISION, ("standard_error", pa.float64()), ("num_orders", pa.int64()), ("is_converged", pa.bool_())]
)
PENALTY = 1.0
"""Of the coefficients of the logistic proxy; the intercept is held by it as well."""


class ShapleyParams(Section):
    """Proxy, truncation (the released code's), stopping rule (ours) and what goes."""

    proxy: Literal["nearest_centroid", "logistic"] = Field("nearest_centroid", description="the model that V trains")
    min_value: float = Field(0.0, ge=-1.0, le=1.0, description="rows with a lower value go")
    tolerance: float = Field(0.01, ge=0.0, lt=1.0, description="share of the worth of all that is near it; 0 = never")
    patience: int = Field(5, ge=0, le=10_000, description="an order ends after more near sets in a row than this")
    max_standard_error: float = Field(0.005, gt=0.0, le=1.0, description="of every value, where drawing stops")
    min_orders: int = Field(100, ge=2, le=1_000_000, description="orders drawn at least")
    max_orders: int = Field(1000, ge=2, le=1_000_000, description="orders drawn at most")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of the orders")

    @model_validator(mode="after")
    def _bounds_in_order(self) -> "ShapleyParams":
        if self.min_orders > self.max_orders:
            raise ValueError(f"min_orders is {self.min_orders}, which is above max_orders, {self.max_orders}")
        return self


@dataclass(frozen=True)
class Values:
    """The values of all players, their standard errors, and how they were reached."""

    value_P: np.ndarray
    error_P: np.ndarray
    num_orders: int
    is_converged: bool


def shapley(num_players: int, worth: WorthFn, params: ShapleyParams) -> Values:
    """Shapley values of a game, exact where all orders fit into `max_orders`, else by drawn ones."""
    orders, is_exact = _orders(num_players, params)
    full = worth(range(num_players))
    total_P, squares_P = np.zeros(num_players), np.zeros(num_players)
    error_P = np.zeros(num_players)
    num_orders = 0
    for order in orders:
        marginal_P = _marginals(order, worth, full, params)
        num_orders += 1
        total_P += marginal_P
        squares_P += marginal_P**2
        if not is_exact and num_orders >= params.min_orders:
            error_P = _standard_error(total_P, squares_P, num_orders)
            if error_P.max() <= params.max_standard_error:
                break
    return Values(total_P / num_orders, error_P, num_orders, bool((error_P <= params.max_standard_error).all()))


def _orders(num_players: int, params: ShapleyParams) -> tuple[Iterator[Sequence[int]], bool]:
    """(the orders to look at, whether they are all there are)."""
    if num_players < 13 and math.factorial(num_players) <= params.max_orders:
        return itertools.permutations(range(num_players)), True
    draws = np.random.default_rng(params.seed)
    return (draws.permutation(num_players) for _ in range(params.max_orders)), False


def _marginals(order: Sequence[int], worth: WorthFn, full: float, params: ShapleyParams) -> np.ndarray:
    """What each player adds in this order; 0 behind the place where the order is cut off."""
    marginal_P = np.zeros(len(order))
    before, num_near = worth(()), 0
    for place, player in enumerate(order):
        after = worth(order[: place + 1])
        marginal_P[player] = after - before
        before = after
        num_near = num_near + 1 if abs(after - full) < params.tolerance * abs(full) else 0
        if num_near > params.patience:
            break
    return marginal_P


def _standard_error(total_P: np.ndarray, squares_P: np.ndarray, num_orders: int) -> np.ndarray:
    variance_P = (squares_P - total_P**2 / num_orders) / (num_orders - 1)
    return np.sqrt(np.maximum(variance_P, 0.0) / num_orders)


# The proxy ----------------------------------------------------------------------------------------


def nearest_centroid(features_NF: np.ndarray, classes_N: np.ndarray, queries_MF: np.ndarray) -> np.ndarray:
    """The class whose mean features are nearest."""
    known_C = np.unique(classes_N)
    centroids_CF = np.stack([features_NF[classes_N == one].mean(axis=0) for one in known_C])
    gaps_MC = ((queries_MF[:, None, :] - centroids_CF[None]) ** 2).sum(axis=2)
    return known_C[gaps_MC.round(12).argmin(axis=1)]


def logistic(features_NF: np.ndarray, classes_N: np.ndarray, queries_MF: np.ndarray) -> np.ndarray:
    """The class whose regression against all others is surest."""
    known_C = np.unique(classes_N)
    rows_NF, asked_MF = (np.column_stack([one, np.ones(len(one))]) for one in (features_NF, queries_MF))
    origin_F, weights_N = np.zeros(rows_NF.shape[1]), np.ones(len(rows_NF))
    fits_CF = [fitted(rows_NF, (classes_N == one).astype(float), weights_N, origin_F, PENALTY) for one in known_C]
    return known_C[(asked_MF @ np.stack(fits_CF).T).round(9).argmax(axis=1)]


PROXIES: dict[str, PredictFn] = {"nearest_centroid": nearest_centroid, "logistic": logistic}


def accuracy_of(
    predict: PredictFn,
    features_NF: np.ndarray,
    classes_N: np.ndarray,
    players: Sequence[np.ndarray],
    queries_MF: np.ndarray,
    truth_M: np.ndarray,
) -> WorthFn:
    """V; `players` are the row numbers of each."""
    needed, counts = np.unique(truth_M, return_counts=True)
    of_nothing = float(counts.max() / len(truth_M))

    def worth(chosen: Sequence[int]) -> float:
        rows = np.concatenate([players[player] for player in chosen]) if len(chosen) else np.zeros(0, dtype=int)
        if not np.isin(needed, classes_N[rows]).all():
            return of_nothing
        return float((predict(features_NF[rows], classes_N[rows], queries_MF) == truth_M).mean())

    return worth


# On a table ---------------------------------------------------------------------------------------


def run(table: pa.Table, params: ShapleyParams) -> pa.Table:
    """`position, kept, reason, score` of every row, with the value as its score, and how sure it is."""
    rows = table.sort_by("position").to_pylist()
    reasons = [_unusable(row) for row in rows]
    usable = [(i, row) for i, row in enumerate(rows) if reasons[i] is None]
    tests = [row for row, reason in zip(rows, reasons, strict=True) if reason == "validation_row"]
    found: dict[int, dict[str, object]] = {}
    if usable:
        found = _valued(usable, tests, params)
    made = [
        {"position": row["position"], "kept": reason is None, "reason": reason} | found.get(i, {})
        for i, (row, reason) in enumerate(zip(rows, reasons, strict=True))
    ]
    return pa.Table.from_pylist(made, schema=pa.schema([("position", pa.int64()), *WRITES]))


def _unusable(row: dict) -> str | None:
    if row["features"] is None or not row["features"]:
        return "no_features"
    if any(value is None or not math.isfinite(value) for value in row["features"]):
        return "broken_features"
    if row["label"] is None:
        return "no_label"
    if row["is_validation"]:
        return "validation_row"
    return "not_in_group" if row["group_id"] is None else None


def _valued(
    usable: Sequence[tuple[int, dict]], tests: Sequence[dict], params: ShapleyParams
) -> dict[int, dict[str, object]]:
    """Row number -> what is said of it. The order of rows decides nothing: players stand by their ids."""
    _refuse_uneven([row for _, row in usable], tests)
    classes = {name: i for i, name in enumerate(sorted({row["label"] for _, row in usable} | _labels(tests)))}
    groups: dict[str, list[int]] = {}
    for place, (_, row) in sorted(enumerate(usable), key=lambda one: (one[1][1]["group_id"], one[1][1]["row_id"])):
        groups.setdefault(row["group_id"], []).append(place)
    worth = accuracy_of(
        PROXIES[params.proxy],
        np.array([row["features"] for _, row in usable]),
        np.array([classes[row["label"]] for _, row in usable]),
        [np.array(places) for places in groups.values()],
        np.array([row["features"] for row in tests]),
        np.array([classes[row["label"]] for row in tests]),
    )
    values = shapley(len(groups), worth, params)
    found = {}
    for player, places in enumerate(groups.values()):
        score = round(float(values.value_P[player]) / len(places), 12) + 0.0
        said = {"kept": score >= params.min_value, "reason": None if score >= params.min_value else "low_value",
                "score": score, "standard_error": float(values.error_P[player]) / len(places),
                "num_orders": values.num_orders, "is_converged": values.is_converged}  # fmt: skip
        found |= {usable[place][0]: said for place in places}
    return found


def _labels(rows: Sequence[dict]) -> set[str]:
    return {row["label"] for row in rows}


def _refuse_uneven(usable: Sequence[dict], tests: Sequence[dict]) -> None:
    if not tests:
        raise ReasonmillError(
            "No row has `is_validation` true with features and a label; the worth of rows is measured on such rows, so "
            "mark some that are not trained on."
        )
    width = len(tests[0]["features"])
    for row in (*usable, *tests):
        if len(row["features"]) != width:
            raise ReasonmillError(
                f"row {row['position'] + 1}, {row['row_id']}: `features` has {len(row['features'])} numbers, but "
                f"{width} in row {tests[0]['position'] + 1}; the proxy needs equally many in every row."
            )


DATA_SHAPLEY = Curation(params=ShapleyParams, reads=READS, writes=WRITES, grain="rows", run=run)
