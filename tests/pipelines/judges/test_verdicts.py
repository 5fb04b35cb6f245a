"""Verdicts on pairs: aggregation over both orders, position, single scores, transitivity."""

import itertools
import math

import pyarrow as pa
import pytest

from pipelines.curation import Curation
from pipelines.judges import position_consistency, score_comparison, transitivity, trustjudge_pairs
from pipelines.judges.position_consistency import PositionParams
from pipelines.judges.score_comparison import ComparisonParams
from pipelines.judges.transitivity import TransitivityParams, subset_counts
from pipelines.judges.trustjudge_pairs import PairParams


def table(method: Curation, rows: list[dict]) -> pa.Table:
    schema = pa.schema([("position", pa.int64()), *((one.name, one.kind) for one in method.reads)])
    return pa.Table.from_pylist([{"position": i, **row} for i, row in enumerate(rows)], schema=schema)


# both orders ------------------------------------------------------------------------------------


def likely(*p: float | None) -> dict:
    names = ("p_first", "p_second", "p_tie", "p_first_swapped", "p_second_swapped", "p_tie_swapped")
    return dict(zip(names, p, strict=True))


def test_the_probabilities_of_both_orders_are_averaged_with_the_swapped_ones_turned_round():
    # the judge prefers what is shown first: .7 and .6; turned: first (.7 + .3) / 2, second (.2 + .6) / 2
    rows = [likely(0.7, 0.2, 0.1, 0.6, 0.3, 0.1), likely(0.2, 0.2, 0.6, 0.1, 0.1, 0.8)]
    found = trustjudge_pairs.run(table(trustjudge_pairs.CURATION, rows), PairParams()).to_pylist()
    assert [row["aggregated_verdict"] for row in found] == ["first", "tie"]
    assert [found[0][name] for name in ("mean_p_first", "mean_p_second", "mean_p_tie")] == pytest.approx(
        [0.5, 0.4, 0.1]
    )
    # half the gap of the sums is .1: a tie below tolerance .11, not at .1
    for tolerance, verdict in ((0.11, "tie"), (0.1, "first")):
        given = trustjudge_pairs.run(table(trustjudge_pairs.CURATION, rows[:1]), PairParams(tolerance=tolerance))
        assert given["aggregated_verdict"].to_pylist() == [verdict]


def test_equal_likelihoods_are_a_tie_and_a_label_that_is_missing_counts_as_none():
    rows = [likely(0.6, 0.4, None, 0.6, 0.4, None), likely(0.9, None, None, None, 0.9, None)]
    found = trustjudge_pairs.run(table(trustjudge_pairs.CURATION, rows), PairParams()).to_pylist()
    assert [(row["aggregated_verdict"], row["mean_p_tie"]) for row in found] == [("tie", 0.0), ("first", 0.0)]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (likely(None, None, None, 0.5, 0.4, 0.1), "no_label_probabilities"),
        (likely(0.5, 0.4, 0.1, None, None, None), "no_label_probabilities"),
        (likely(0.5, 0.6, 0.1, 0.5, 0.4, 0.1), "not_probabilities"),
        (likely(-0.5, 0.6, 0.1, 0.5, 0.4, 0.1), "not_probabilities"),
        (likely(math.nan, 0.6, 0.1, 0.5, 0.4, 0.1), "not_probabilities"),
    ],
)  # fmt: skip
def test_an_order_that_cannot_be_used_gives_a_reason_and_no_verdict(row, reason):
    found = trustjudge_pairs.run(table(trustjudge_pairs.CURATION, [row]), PairParams()).to_pylist()[0]
    assert (found["aggregated_verdict"], found["mean_p_first"], found["reason"]) == (None, None, reason)


def perplexed(verdict, logprobs, swapped, logprobs_swapped):
    return {"verdict": verdict, "logprobs": logprobs, "verdict_swapped": swapped, "logprobs_swapped": logprobs_swapped}


def test_the_verdict_of_the_order_with_the_lower_perplexity_counts():
    rows = [
        perplexed("first", [-math.log(2)], "first", [-math.log(3), -math.log(3)]),  # perplexities 2 and 3
        perplexed("first", [-math.log(3)], "first", [-math.log(2)]),
        perplexed("first", [-math.log(2)], "first", [-math.log(2)]),  # equal: a tie
        perplexed("first", [-math.log(2)], "second", [-math.log(2)]),  # equal, but both name the first
        perplexed("tie", [-0.1], "second", [-0.2]),
        perplexed("first", [], "first", [-0.1]),
        perplexed("first", [-0.1, None], "first", [-0.1]),
        perplexed(None, [-0.1], "first", [-0.1]),
        perplexed("A", [-0.1], "first", [-0.1]),
    ]
    params = PairParams(aggregation="perplexity")
    found = trustjudge_pairs.run(table(trustjudge_pairs.CURATION, rows), params).to_pylist()
    assert [row["aggregated_verdict"] for row in found] == [
        "first",
        "second",
        "tie",
        "first",
        "tie",
        None,
        None,
        None,
        None,
    ]
    assert [found[0]["perplexity"], found[0]["perplexity_swapped"]] == pytest.approx([2.0, 3.0])
    assert [row["reason"] for row in found[5:]] == ["no_log_probabilities"] * 2 + ["no_verdict"] * 2
    near = trustjudge_pairs.run(
        table(trustjudge_pairs.CURATION, rows[:1]), PairParams(aggregation="perplexity", tolerance=1.5)
    )
    assert near["aggregated_verdict"].to_pylist() == ["tie"]


# single scores ----------------------------------------------------------------------------------


def test_a_pairwise_verdict_conflicts_where_the_scores_say_something_else():
    rows = [
        {"score_first": 4.0, "score_second": 3.0, "verdict": "first", "verdict_swapped": "second"},
        {"score_first": 4.0, "score_second": 3.0, "verdict": "first", "verdict_swapped": "first"},  # orders differ: tie
        {"score_first": 4.0, "score_second": 4.0, "verdict": "first", "verdict_swapped": "first"},
        {"score_first": 3.0, "score_second": 4.0, "verdict": "first", "verdict_swapped": "second"},
        {"score_first": None, "score_second": 4.0, "verdict": "first", "verdict_swapped": "second"},
        {"score_first": math.nan, "score_second": 4.0, "verdict": "first", "verdict_swapped": "second"},
        {"score_first": 3.0, "score_second": 4.0, "verdict": "first", "verdict_swapped": None},
    ]
    found = score_comparison.run(table(score_comparison.CURATION, rows), ComparisonParams()).to_pylist()
    conflict = "score_comparison_conflict"
    assert [row["reason"] for row in found] == [
        None, conflict, None, conflict, "no_score", "no_score", "no_verdict",
    ]  # fmt: skip
    assert [(row["pairwise"], row["expected"], row["score"]) for row in found[:2]] == [
        ("first", "first", 1.0), ("tie", "first", 1.0),
    ]  # fmt: skip
    assert [row["kept"] for row in found] == [row["reason"] is None for row in found]
    # with tolerance 1.5 a difference of 1 is none
    found = score_comparison.run(table(score_comparison.CURATION, rows), ComparisonParams(tolerance=1.5)).to_pylist()
    assert [row["reason"] for row in found[:4]] == [conflict, None, None, conflict]


# position ---------------------------------------------------------------------------------------


def verdict(pair: str, first: str, second: str, said: str | None, judge: str | None = "j") -> dict:
    return {"judge": judge, "pair_id": pair, "first_id": first, "second_id": second, "verdict": said}


def test_a_judge_is_consistent_when_it_names_the_same_answer_in_both_orders():
    rows = [
        verdict("p1", "a", "b", "first"), verdict("p1", "b", "a", "second"),  # a twice
        verdict("p2", "a", "b", "tie"), verdict("p2", "b", "a", "tie"),
        verdict("p3", "a", "b", "first"), verdict("p3", "b", "a", "first"),
        verdict("p4", "a", "b", "second"), verdict("p4", "b", "a", "second"),
        verdict("p5", "a", "b", "first"), verdict("p5", "b", "a", "tie"),
        verdict("p6", "a", "b", "first"),
        verdict("p7", "a", "b", "first"), verdict("p7", "b", "a", None),
        verdict("p8", "a", "b", "first"), verdict("p8", "a", "b", "second"),  # a repeated order: the first row counts
        verdict("p9", "a", "a", "first"),
    ]  # fmt: skip
    found = position_consistency.run(table(position_consistency.CURATION, rows), PositionParams()).to_pylist()
    assert found == [
        {"judge": "j", "num_pairs": 5, "num_consistent": 2, "num_first_twice": 1, "num_second_twice": 1,
         "num_half_ties": 1, "num_one_order": 2, "num_unreadable": 1, "inconsistency": pytest.approx(0.6)},
    ]  # fmt: skip


def test_judges_are_counted_apart_and_one_without_pairs_has_no_rate():
    rows = [verdict("p", "a", "b", "first", judge) for judge in (None, "x")] + [verdict("p", "b", "a", "first", None)]
    found = position_consistency.run(table(position_consistency.CURATION, rows), PositionParams()).to_pylist()
    assert [(row["judge"], row["num_pairs"], row["inconsistency"]) for row in found] == [(None, 1, 1.0), ("x", 0, None)]
    empty = position_consistency.run(table(position_consistency.CURATION, []), PositionParams())
    assert (empty.num_rows, empty.schema) == (0, position_consistency.CURATION.writes)


# transitivity -----------------------------------------------------------------------------------

SIGNS = {">": "first", "<": "second", "=": "tie"}


def compared(question: str, first: str, second: str, sign: str) -> dict:
    return {"judge": "j", "question_id": question, "first_id": first, "second_id": second, "verdict": SIGNS[sign]}


def weak_orders() -> set[tuple[str, str, str]]:
    def sign(one: int, other: int) -> str:
        return ">" if one > other else "<" if one < other else "="

    ranks = itertools.product(range(3), repeat=3)
    return {(sign(a, b), sign(b, c), sign(a, c)) for a, b, c in ranks}


def test_the_27_relations_of_a_triple_are_orders_circles_or_broken_equalities():
    relations = list(itertools.product("><=", repeat=3))
    rows = [
        row
        for ab, bc, ac in relations
        for row in (
            compared(ab + bc + ac, "a", "b", ab),
            compared(ab + bc + ac, "c", "b", {">": "<", "<": ">", "=": "="}[bc]),  # shown the other way round
            compared(ab + bc + ac, "a", "c", ac),
        )
    ]
    counts = subset_counts(table(transitivity.CURATION, rows), TransitivityParams()).to_pylist()
    kinds = {row["question_id"]: (row["num_circle"], row["num_equal"]) for row in counts}
    assert len(kinds) == 27
    assert {name for name, kind in kinds.items() if kind == (0, 0)} == {"".join(signs) for signs in weak_orders()}
    assert {name for name, kind in kinds.items() if kind == (1, 0)} == {">><", "<<>"}
    assert all(kinds[name] == (0, 1) for name in ("==>", ">==", ">>="))  # the paper's examples


def test_a_subset_is_bad_when_one_of_its_triples_is():
    # a > b > c > a, and all three beat d, which beats e, as they do: one circle among five answers
    beats = ["ab", "bc", "ca", "ad", "bd", "cd", "ae", "be", "ce", "de"]
    rows = [compared("q", pair[0], pair[1], ">") for pair in beats]
    found = transitivity.run(table(transitivity.CURATION, rows), TransitivityParams()).to_pylist()
    # 10 triples, 1 bad; 5 fours, those with abc: 2; 1 five
    assert [(row["subset_size"], row["num_subsets"], row["num_circle"], row["num_equal"]) for row in found] == [
        (3, 10, 1, 0), (4, 5, 2, 0), (5, 1, 1, 0),
    ]  # fmt: skip
    assert [row["rate"] for row in found] == pytest.approx([0.1, 0.4, 1.0])
    up_to_three = transitivity.run(table(transitivity.CURATION, rows), TransitivityParams(max_subset=3))
    assert up_to_three["subset_size"].to_pylist() == [3]
    assert found == transitivity.run(table(transitivity.CURATION, rows[::-1]), TransitivityParams()).to_pylist()


def brute_force(relation: dict[tuple[int, int], str], size: int) -> tuple[int, int]:
    fine = weak_orders()
    bad = total = 0
    for subset in itertools.combinations(range(7), size):
        if all(pair in relation for pair in itertools.combinations(subset, 2)):
            total += 1
            bad += any(
                (relation[a, b], relation[b, c], relation[a, c]) not in fine
                for a, b, c in itertools.combinations(subset, 3)
            )
    return total, bad


def test_the_counts_are_those_of_looking_at_every_subset():
    relation = {
        (i, j): "><="[(i * 5 + j * j * 3 + i * j) % 3]
        for i, j in itertools.combinations(range(7), 2)
        if (i, j) != (2, 4)  # one pair was never judged
    }
    rows = [compared("q", str(i), str(j), sign) for (i, j), sign in relation.items()]
    found = transitivity.run(table(transitivity.CURATION, rows), TransitivityParams()).to_pylist()
    assert [(row["num_subsets"], row["num_bad"]) for row in found] == [brute_force(relation, k) for k in (3, 4, 5)]


def test_rows_that_disagree_on_a_pair_make_it_a_tie_and_unread_verdicts_no_relation():
    rows = [compared("q", "a", "b", ">"), compared("q", "b", "a", ">"), compared("q", "b", "c", "="),
            compared("q", "a", "c", ">")]  # fmt: skip
    found = transitivity.run(table(transitivity.CURATION, rows), TransitivityParams()).to_pylist()
    assert [(row["num_subsets"], row["num_equal"]) for row in found] == [(1, 1)]  # a = b = c, but a > c
    unread = transitivity.run(
        table(transitivity.CURATION, [*rows[:3], {**rows[3], "verdict": "garbage"}]), TransitivityParams()
    )
    assert (unread.num_rows, unread.schema) == (0, transitivity.CURATION.writes)
