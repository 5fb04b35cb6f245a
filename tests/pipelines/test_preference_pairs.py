"""Pairs from a tree small enough to draw, and from groups of whole rollouts."""

import pyarrow as pa
import pytest

from pipelines.config import PairMethodConfig, PairsConfig
from pipelines.preference_pairs import build_pairs
from pipelines.rows import rows_to_table
from pipelines.tables import SCHEMAS

NIGHT = "2026-11-03"
PROBLEMS = rows_to_table("problems", [{"problem_id": "p", "prompt": "1+2*3", "split": "train"}])
NO_NODES = SCHEMAS["search_nodes"].empty_table()
NO_ROLLOUTS = SCHEMAS["rollouts"].empty_table()


def make_node(node_id: int, parent_id: int | None, text: str, value: float | None, visits: int = 3, tree: str = "t"):
    return {
        "tree_id": tree, "node_id": node_id, "parent_id": parent_id, "problem_id": "p", "step_text": text,
        "value": value, "visit_count": visits, "night": NIGHT,
    }  # fmt: skip


#   0 -- 1 "1+2=3" 0.9 -- 3 "3*3=9" 1.0
#     |                `- 4 "3*3=6" 0.0
#     `- 2 "1+2=4" 0.3
TREE = [
    make_node(0, None, "", 0.6), make_node(1, 0, "1+2=3", 0.9), make_node(2, 0, "1+2=4", 0.3),
    make_node(3, 1, "3*3=9", 1.0), make_node(4, 1, "3*3=6", 0.0),
]  # fmt: skip


def step_pairs(nodes: list[dict], **config) -> list[dict]:
    table = build_pairs(PROBLEMS, rows_to_table("search_nodes", nodes), NO_ROLLOUTS, None, PairsConfig(**config), NIGHT)
    assert table.schema == SCHEMAS["preference_pairs"]
    return sorted(table.to_pylist(), key=lambda row: -row["margin"])


def make_rollout(rollout_id: str, outcome: float | None, *steps: str, error: str | None = None):
    return {"rollout_id": rollout_id, "problem_id": "p", "group_id": "g", "steps": list(steps),
            "outcome_reward": outcome, "error": error}  # fmt: skip


def rollout_pairs(rollouts: list[dict], scores: dict[str, float] | None = None, **config) -> list[dict]:
    step_scores = None if scores is None else rows_to_table("step_scores", [
        {"rollout_id": name, "step": 0, "source": "critic", "scorer_version": "v", "score": score, "night": NIGHT}
        for name, score in scores.items()
    ])  # fmt: skip
    table = rows_to_table("rollouts", rollouts)
    return build_pairs(PROBLEMS, NO_NODES, table, step_scores, PairsConfig(**config), NIGHT).to_pylist()


def test_siblings_with_a_gap_of_values_become_pairs_with_the_shared_prefix_in_the_prompt():
    deep, shallow = step_pairs(TREE)
    assert (deep["prompt"], deep["chosen"], deep["rejected"]) == ("1+2*3\n1+2=3\n", "3*3=9\n", "3*3=6\n")
    assert (deep["margin"], deep["chosen_id"], deep["rejected_id"]) == (1.0, "t:3", "t:4")
    assert (shallow["prompt"], shallow["chosen"], shallow["rejected"]) == ("1+2*3\n", "1+2=3\n", "1+2=4\n")
    assert shallow["margin"] == pytest.approx(0.6)
    assert {deep["kind"], shallow["kind"]} == {"step"}


def test_a_gap_below_the_margin_gives_no_pair():
    assert len(step_pairs(TREE, min_margin=0.6)) == 2
    assert [row["margin"] for row in step_pairs(TREE, min_margin=0.61)] == [1.0]


def test_siblings_without_enough_visits_or_without_a_value_are_unknown_and_not_bad():
    rarely = [*TREE[:2], make_node(2, 0, "1+2=4", 0.3, visits=1), make_node(5, 0, "1+2=5", None, visits=0)]
    assert step_pairs(rarely, min_visits=2) == []


def test_the_limit_prefers_one_pair_per_node():
    wide = [*TREE, make_node(5, 1, "3*3=7", 0.1), make_node(6, 1, "3*3=8", 0.2)]
    texts = {(row["chosen"], row["rejected"]) for row in step_pairs(wide, max_pairs_per_problem=2)}
    assert texts == {("3*3=9\n", "3*3=6\n"), ("1+2=3\n", "1+2=4\n")}


def test_the_same_pair_in_two_trees_is_one_pair_with_the_same_id():
    twice = TREE + [node | {"tree_id": "u"} for node in TREE]
    assert [row["pair_id"] for row in step_pairs(twice)] == [row["pair_id"] for row in step_pairs(TREE)]


def test_siblings_of_equal_text_or_value_give_no_pair():
    same = [TREE[0], make_node(1, 0, "1+2=3", 0.9), make_node(2, 0, "1+2=3", 0.1), make_node(3, 0, "1+2=4", 0.9)]
    assert step_pairs(same, min_margin=0.0) == []


def test_right_and_wrong_rollouts_of_a_group_become_pairs():
    made = rollout_pairs([make_rollout("r", 1.0, "1+2=3", "#### 9"), make_rollout("w", 0.0, "1+2=4", "#### 12")])
    (pair,) = made
    assert (pair["prompt"], pair["chosen"], pair["rejected"]) == ("1+2*3\n", "1+2=3\n#### 9\n", "1+2=4\n#### 12\n")
    assert (pair["kind"], pair["margin"], pair["chosen_id"], pair["rejected_id"]) == ("rollout", 1.0, "r", "w")


def test_the_best_right_rollout_meets_the_worst_wrong_one():
    rollouts = [make_rollout(name, float(name.startswith("r")), name) for name in ("r1", "r2", "w1", "w2")]
    made = rollout_pairs(rollouts, {"r1": 0.9, "r2": 0.5, "w1": 0.4, "w2": 0.1})
    margins = {(row["chosen_id"], row["rejected_id"]): row["margin"] for row in made}
    assert margins == pytest.approx({("r1", "w2"): 1.8, ("r2", "w1"): 1.1})


def test_every_rollout_of_the_longer_side_meets_one_of_the_shorter():
    rollouts = [make_rollout("r", 1.0, "r")] + [make_rollout(f"w{i}", 0.0, f"w{i}") for i in range(3)]
    met = {(row["chosen_id"], row["rejected_id"]) for row in rollout_pairs(rollouts)}
    assert met == {("r", "w0"), ("r", "w1"), ("r", "w2")}
    assert len(rollout_pairs(rollouts, max_pairs_per_problem=2)) == 2


def test_failed_ungraded_and_repeated_rollouts_give_no_pair():
    rollouts = [
        make_rollout("r", 1.0, "x"), make_rollout("r again", 1.0, "x"), make_rollout("w", 0.0, "y"),
        make_rollout("ungraded", None, "z"), make_rollout("failed", None, error="ServerError: 500"),
    ]  # fmt: skip
    assert len(rollout_pairs(rollouts)) == 1


def test_a_pair_that_the_critic_contradicts_fails_the_margin():
    rollouts = [make_rollout("r", 1.0, "x"), make_rollout("w", 0.0, "y")]
    assert rollout_pairs(rollouts, {"r": 0.05, "w": 0.95}, min_margin=0.2) == []


def test_no_tables_make_no_pairs():
    assert build_pairs(PROBLEMS, NO_NODES, NO_ROLLOUTS, None, PairsConfig(), NIGHT).equals(
        pa.concat_tables([SCHEMAS["preference_pairs"].empty_table()])
    )


# pairs for a process preference model -------------------------------------------------------------


#   0 -- 1 "a" 0.75 -- 4 "r1" 1.0 right
#     |           `- 5 "w1" 0.5 -- 6 "r2" 1.0 right, 7 "w2" 0.0 wrong
#     |- 2 "b" 0.25 -- 8 "w3" 0.0 wrong, 9 "r3" 0.5 right
#     `- 3 "c" 0.0 -- 10 "w4" 0.0 wrong
MIXED = [
    make_node(0, None, "", 0.5), make_node(1, 0, "a", 0.75), make_node(2, 0, "b", 0.25), make_node(3, 0, "c", 0.0),
    make_node(4, 1, "r1", 1.0), make_node(5, 1, "w1", 0.5), make_node(6, 5, "r2", 1.0), make_node(7, 5, "w2", 0.0),
    make_node(8, 2, "w3", 0.0), make_node(9, 2, "r3", 0.5), make_node(10, 3, "w4", 0.0),
]  # fmt: skip
ENDS = {4: 1.0, 6: 1.0, 7: 0.0, 8: 0.0, 9: 1.0, 10: 0.0}


def end_row(leaf: int, outcome: float | None, finish_reason: str = "stop", error: str | None = None) -> dict:
    return {"rollout_id": f"r{leaf}", "problem_id": "p", "tree_id": "t", "leaf_node_id": leaf, "steps": ["x"],
            "outcome_reward": outcome, "finish_reason": finish_reason, "error": error}  # fmt: skip


def ppm_config(min_edit_distance: int = 1, **config) -> PairsConfig:
    method = PairMethodConfig(method="ppm_step_pairs", parameters={"min_edit_distance": min_edit_distance})
    return PairsConfig(**({"min_margin": 0.0, "methods": (method,)} | config))


def ppm_pairs(nodes: list[dict], ends: list[dict] | None = None, **config) -> dict[tuple[str, str], float]:
    """(chosen, rejected) -> margin."""
    rows = [end_row(leaf, outcome) for leaf, outcome in ENDS.items()] if ends is None else ends
    table = build_pairs(
        PROBLEMS, rows_to_table("search_nodes", nodes), rows_to_table("rollouts", rows), None,
        ppm_config(**config), NIGHT,
    )  # fmt: skip
    assert table.schema == SCHEMAS["preference_pairs"]
    rows = [row for row in table.to_pylist() if row["kind"] == "ppm_step"]
    return {(row["chosen"].strip(), row["rejected"].strip()): row["margin"] for row in rows}


def test_steps_that_led_to_right_answers_meet_siblings_that_led_to_wrong_ones():
    """Below the root a and b have right ends, a, b and c wrong ones: c and b are the two lowest. a against b and c, b
    against c: from b on the best continuation has mean (0.25 + 0.5) / 2, from c on the worst 0.
    """
    made = ppm_pairs(MIXED)
    assert made == {
        ("a", "b"): 0.5, ("a", "c"): 0.75, ("b", "c"): 0.25, ("r1", "w1"): 0.5, ("r2", "w2"): 1.0, ("r3", "w3"): 0.5,
    }  # fmt: skip


def test_the_prompt_holds_the_shared_prefix_and_the_sides_name_nodes():
    rows = rows_to_table("rollouts", [end_row(leaf, outcome) for leaf, outcome in ENDS.items()])
    config = ppm_config(min_margin=0.9)
    table = build_pairs(PROBLEMS, rows_to_table("search_nodes", MIXED), rows, None, config, NIGHT)
    (pair,) = [row for row in table.to_pylist() if row["kind"] == "ppm_step"]
    assert (pair["prompt"], pair["chosen"], pair["rejected"]) == ("1+2*3\na\nw1\n", "r2\n", "w2\n")
    assert (pair["chosen_id"], pair["rejected_id"], pair["margin"]) == ("t:6", "t:7", 1.0)


def test_process_preference_pairs_are_made_only_where_they_are_asked_for():
    assert ppm_pairs(MIXED, methods=PairsConfig().methods) == {}


def test_a_step_without_outcomes_on_its_side_gives_no_pair():
    """Without the right end 9 the step b is on the wrong side alone; r3 has no end left."""
    ends = [end_row(leaf, outcome) for leaf, outcome in ENDS.items() if leaf != 9]
    made = ppm_pairs(MIXED, ends)
    assert ("b", "c") not in made
    assert ("r3", "w3") not in made
    assert ("a", "b") in made


@pytest.mark.parametrize(
    "spoilt", [end_row(9, 1.0, "length"), end_row(9, 1.0, "error", "ServerError"), end_row(9, None)]
)
def test_ends_that_were_cut_off_failed_or_not_graded_are_no_outcomes(spoilt):
    ends = [end_row(leaf, outcome) for leaf, outcome in ENDS.items() if leaf != 9]
    assert ("b", "c") not in ppm_pairs(MIXED, [*ends, spoilt])


def test_a_pair_whose_continuations_say_the_opposite_is_dropped():
    """1 has 0.6 and goes on with 0, 2 has 0.5 and goes on with 1: means 0.3 and 0.75."""
    nodes = [
        make_node(0, None, "", 0.5), make_node(1, 0, "a", 0.6), make_node(2, 0, "b", 0.5),
        make_node(3, 1, "r", 0.0), make_node(4, 2, "w", 1.0),
    ]  # fmt: skip
    ends = [end_row(3, 1.0), end_row(4, 0.0)]
    assert ppm_pairs(nodes, ends) == {}
    nodes[3] = make_node(3, 1, "r", 1.0)
    assert ppm_pairs(nodes, ends) == {("a", "b"): pytest.approx(0.1)}


@pytest.mark.parametrize(("num_right", "num_wrong", "expected"), [(3, 3, 4), (1, 6, 4), (6, 1, 4), (1, 1, 1)])
def test_two_meet_two_or_four_meet_one(num_right, num_wrong, expected):
    nodes, ends = [make_node(0, None, "", 0.5)], []
    for index in range(num_right + num_wrong):
        is_right = index < num_right
        nodes.append(make_node(index + 1, 0, f"s{index}", 1.0 - index / 100 if is_right else index / 100))
        ends.append(end_row(index + 1, float(is_right)))
    assert len(ppm_pairs(nodes, ends)) == expected


def test_process_preference_pairs_keep_the_margin_the_visits_the_distance_and_the_limit():
    assert set(ppm_pairs(MIXED, min_margin=0.75)) == {("a", "c"), ("r2", "w2")}
    assert ppm_pairs(MIXED, min_visits=4) == {}
    assert ppm_pairs(MIXED, min_edit_distance=3) == {}
    assert len(ppm_pairs(MIXED, max_pairs_per_problem=4)) == 4
    assert set(ppm_pairs(MIXED, max_pairs_per_problem=1)) == {("r2", "w2")}
