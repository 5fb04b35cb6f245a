"""B-STaR: selection, the query effect of the paper, and the search over configurations."""

import pytest
from curation_worlds import group, reasons, run_method
from pydantic import ValidationError

from pipelines.consistency.b_star import BStarSearchParams

# scores: lowest / 5 + outcome
ROWS = group("p", 1, 1, 0, 1, None, 1, 1, step_values=[[0.5, 0.9], [0.0, 1.0], [0.9], [], [0.5], None, [float("nan")]])


def test_a_sample_scores_a_fifth_of_its_lowest_step_plus_its_outcome():
    made = run_method("b_star", ROWS, threshold=0.5)
    assert [row["score"] for row in made] == pytest.approx([1.1, 1.0, 0.18, 1.0, None, None, None])
    assert reasons(made) == [
        None, None, "below_threshold", None, "ungraded", "no_step_scores", "broken_step_scores",
    ]  # fmt: skip


def test_a_score_at_the_threshold_is_not_above_it():
    assert reasons(run_method("b_star", ROWS[:2], threshold=1.0)) == [None, "below_threshold"]


def test_the_best_of_a_problem_fill_its_cap_and_ties_go_to_the_smaller_id():
    made = run_method("b_star", ROWS, threshold=0.5, max_per_problem=2)
    assert reasons(made)[:4] == [None, None, "below_threshold", "over_cap"]  # p1 and p3 score 1, p1 comes first


def test_the_cap_rises_until_the_target_is_reached():
    rows = [*group("p", 1, 1, 1, step_values=[[0.3], [0.2], [0.1]]), *group("q", 1, step_values=[[0.5]])]
    assert reasons(run_method("b_star", rows, target_size=2)) == [None, "over_cap", "over_cap", None]
    assert reasons(run_method("b_star", rows, target_size=3)) == [None, None, "over_cap", None]  # 3 at cap 2
    assert reasons(run_method("b_star", rows, target_size=99)) == [None] * 4  # never: the highest cap


def pool(name: str, *outcomes: float, low: float = 0.0, temperature: float = 1.0) -> list[dict]:
    return group(name, *outcomes, step_values=[[low]] * len(outcomes), temperature=[temperature] * len(outcomes))


def search(rows: list[dict], **parameters: object) -> list[dict]:
    grid = {"min_threshold": -1.0, "max_threshold": -1.0, "sample_counts": (64,)}
    return run_method("b_star_search", rows, **grid | parameters)


@pytest.mark.parametrize(
    ("num_right", "num_wrong", "effect"),
    [(2, 2, 2 / 8 * 2 / 4), (8, 2, 1.0 * 8 / 10), (16, 0, 1.0), (8, 0, 1.0), (0, 4, 0.0)],
)
def test_the_query_effect_wants_enough_right_answers_and_few_others(num_right, num_wrong, effect):
    (row,) = search(pool("p", *[1] * num_right, *[0] * num_wrong))
    assert row["query_effect"] == pytest.approx(effect)
    assert (row["num_selected"], row["num_right"]) == (num_right + num_wrong, num_right)


def test_a_problem_without_a_selected_sample_counts_only_in_the_mean_over_all():
    # p: scores 1 1 .18; q: .18. At 0: p 2/2 * 2/3, q 0. At .5: p 1, q nothing selected
    rows = [*pool("p", 1, 1), group("p2", 0)[0] | {"problem_id": "p", "step_values": [0.9], "temperature": 1.0}]
    rows += pool("q", 0, low=0.9)
    made = search(rows, min_threshold=0.0, max_threshold=0.5, threshold_step=0.5, num_wanted=2)
    assert [(row["threshold"], row["num_problems"], row["num_selected_problems"]) for row in made] == [
        (0.0, 2, 2), (0.5, 2, 1),
    ]  # fmt: skip
    assert [row["query_effect"] for row in made] == pytest.approx([1 / 3, 1.0])
    assert [row["query_effect_all"] for row in made] == pytest.approx([1 / 3, 0.5])
    assert [row["is_best"] for row in made] == [False, True]


def test_the_best_configuration_is_over_temperatures_and_numbers_of_samples():
    hot = [row | {"rollout_id": f"hot{index}"} for index, row in enumerate(pool("p", 1, 1, 1, 1, temperature=1.5))]
    rows = [*pool("p", 1, 1, 0, 0), *hot]
    made = search(rows, sample_counts=(1, 4), num_wanted=4)
    effects = {(row["temperature"], row["num_samples"]): row["query_effect"] for row in made}
    assert effects[1.0, 4] == pytest.approx(2 / 4 * 2 / 4)
    assert (effects[1.5, 1], effects[1.5, 4]) == (0.25, 1.0)
    assert [(row["temperature"], row["num_samples"]) for row in made if row["is_best"]] == [(1.5, 4)]


def test_the_grid_of_the_paper_has_201_thresholds():
    thresholds = BStarSearchParams().thresholds
    assert (len(thresholds), thresholds[0], thresholds[100], thresholds[-1]) == (201, -1.0, 0.0, 1.0)
    with pytest.raises(ValidationError, match="is above max_threshold"):
        BStarSearchParams(min_threshold=1.0, max_threshold=0.0)


def test_an_empty_pool_has_no_configuration():
    assert search([]) == []
    assert run_method("b_star", []) == []
