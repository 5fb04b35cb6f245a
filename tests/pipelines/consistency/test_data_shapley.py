import numpy as np
import pytest
from curation_worlds import reasons, run_method

from pipelines.consistency.data_shapley import ShapleyParams, logistic, nearest_centroid, shapley
from pipelines.errors import ReasonmillError


def gloves(players):
    """One left glove (player 0) and two right ones: a pair is worth 1."""
    return float(0 in players and len({1, 2} & set(players)) > 0)


def row(name: str, features: list | None, label: str | None, is_validation: bool | None = False, **more: str) -> dict:
    return {"row_id": name, "features": features, "label": label, "is_validation": is_validation} | more


TESTS = [row(f"v{x}", [x], label, True) for x, label in ((0.0, "a"), (0.2, "a"), (0.8, "b"), (1.0, "b"))]
GAME = [row("A", [0.0], "a"), row("B", [1.0], "b"), row("X", [-0.6], "b")]
"""Worth of nothing, and of any set without A and a row of b: 1/2. A and B: 1. A and X: centroids 0 and -0.6, all four
are called a: 1/2. All: centroids 0 and 0.2, the boundary is at 0.1, so that 0.2 is called b: 3/4. By order:
ABX: 0, 1/2, -1/4. AXB: 0, 0, 1/4 (of B). BAX: A 1/2, X -1/4. BXA: A 1/4. XAB: B 1/4. XBA: A 1/4."""
TWO_MORE = [row("C", [0.1], "a"), row("D", [0.9], "b")]


def test_three_gloves_are_worth_what_the_hand_says():
    # the left glove misses its pair only when it comes first, 2 of 6 orders (then the next right one gets it)
    exact = shapley(3, gloves, ShapleyParams())
    assert exact.value_P == pytest.approx([4 / 6, 1 / 6, 1 / 6])
    assert (exact.num_orders, exact.is_converged, exact.error_P.tolist()) == (6, True, [0.0, 0.0, 0.0])


def test_drawn_orders_come_as_near_as_their_standard_error_says():
    drawn = shapley(3, gloves, ShapleyParams(max_orders=5, min_orders=5))
    assert (drawn.num_orders, drawn.is_converged) == (5, False)
    many = ShapleyParams(max_standard_error=0.01, max_orders=100_000)
    more = [0, 0, 0, 0, 0, 0, 0]  # players who add nothing: with ten, not all orders can be looked at
    drawn = shapley(3 + len(more), gloves, many)
    assert drawn.is_converged and drawn.num_orders < 100_000
    assert drawn.error_P.max() <= 0.01
    assert drawn.value_P == pytest.approx([4 / 6, 1 / 6, 1 / 6, *more], abs=0.04)
    assert drawn.value_P.sum() == pytest.approx(1.0)


def test_rows_are_worth_what_they_add_to_the_proxy():
    made = run_method("data_shapley", [*TESTS, *GAME])
    assert [one["score"] for one in made[4:]] == [pytest.approx(1 / 6), pytest.approx(1 / 6), pytest.approx(-1 / 12)]
    assert reasons(made) == [*["validation_row"] * 4, None, None, "low_value"]
    assert made[0]["score"] is None
    assert (made[4]["num_orders"], made[4]["standard_error"], made[4]["is_converged"]) == (6, 0.0, True)
    assert sum(one["score"] for one in made[4:]) == pytest.approx(3 / 4 - 1 / 2)


def test_the_order_of_rows_changes_nothing_and_neither_does_a_second_run():
    rows = [*TESTS, *GAME, *TWO_MORE]
    drawn = {"max_orders": 20, "min_orders": 20}
    made = run_method("data_shapley", rows, **drawn)
    assert made == run_method("data_shapley", rows[::-1], **drawn)[::-1]
    assert made != run_method("data_shapley", rows, **drawn, seed=1)


def test_a_group_is_one_player_and_its_rows_share_its_value():
    # A against {B, X}: nothing without both, so that each side is worth half of 3/4 - 1/2
    rows = [one | {"group_id": "b" if one["label"] == "b" else "a"} for one in (*TESTS, *GAME)]
    scores = [one["score"] for one in run_method("data_shapley", rows)[4:]]
    assert scores == [pytest.approx(1 / 8), pytest.approx(1 / 16), pytest.approx(1 / 16)]
    alone = run_method("data_shapley", [*TESTS, *(one | {"group_id": "all"} for one in GAME)])
    assert [one["score"] for one in alone[4:]] == [pytest.approx(1 / 12)] * 3


def test_an_order_ends_where_the_worth_of_all_is_near_for_long_enough():
    asked = []

    def counted(players):
        asked.append(len(players))
        return float(len(players) > 0)  # the first player brings everything

    params = ShapleyParams(patience=2, min_orders=2, max_orders=2)
    found = shapley(20, counted, params)
    assert max(asked[1:]) == 3  # the third set in a row is near
    assert found.value_P.sum() == pytest.approx(1.0)
    asked.clear()
    shapley(20, counted, params.model_copy(update={"tolerance": 0.0}))
    assert max(asked[1:]) == 20


def test_both_proxies_tell_what_is_apart_and_ties_go_to_the_smaller_class():
    features, classes = np.array([[0.0], [1.0], [4.0], [5.0], [9.0]]), np.array([0, 0, 1, 1, 2])
    queries = np.array([[0.4], [4.4], [8.8]])
    assert nearest_centroid(features, classes, queries).tolist() == [0, 1, 2]
    assert nearest_centroid(features, classes, np.array([[2.5]])).tolist() == [0]
    two = np.array([[-1.0], [-2.0], [1.0], [2.0]])
    assert logistic(two, np.array([3, 3, 5, 5]), np.array([[-0.5], [0.5], [0.0]])).tolist() == [3, 5, 3]


def test_what_cannot_be_valued_says_why_and_worthless_sets_are_worth_nothing():
    rows = [*TESTS, row("n", None, "a"), row("e", [], "a"), row("f", [float("nan")], "a"), row("g", [0.0], None),
            row("h", [0.0], "a") | {"group_id": None}, row("only_a", [0.0], "a")]  # fmt: skip
    made = run_method("data_shapley", [one | {"group_id": one.get("group_id", one["row_id"])} for one in rows])
    assert reasons(made)[4:] == ["no_features", "no_features", "broken_features", "no_label", "not_in_group", None]
    assert made[-1]["score"] == 0.0  # class b is missing, so that nothing was learned
    assert run_method("data_shapley", []) == []


def test_no_validation_row_or_an_uneven_one_is_an_error_that_says_where():
    with pytest.raises(ReasonmillError, match="No row has `is_validation` true"):
        run_method("data_shapley", GAME)
    with pytest.raises(ReasonmillError, match="row 6, Z: `features` has 2 numbers, but 1 in row 1"):
        run_method("data_shapley", [*TESTS, GAME[0], row("Z", [1.0, 2.0], "b")])
    with pytest.raises(ValueError, match="min_orders is 9, which is above max_orders, 3"):
        ShapleyParams(min_orders=9, max_orders=3)
