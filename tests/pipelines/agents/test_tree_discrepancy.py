"""Critiques out of search trees, on a tree worked out by hand."""

import math

from curation_worlds import run_method

from pipelines.agents.parse import Judgement, parse_critique


def node(node_id: int, parent_id: int | None, text: str | None, value: float | None, visits: int = 1) -> dict:
    return {"tree_id": "t", "node_id": node_id, "parent_id": parent_id, "step_text": text, "value": value,
            "visit_count": visits, "problem_id": "p", "prompt": "2+3-1" if parent_id is None else None}  # fmt: skip


TREE = [
    node(0, None, None, 0.5),
    node(1, 0, "2+3=5", 1.0), node(2, 0, "2+3=6", 0.0), node(3, 0, "2+3=7", None, 0),
    node(4, 1, "5-1=4", 1.0), node(5, 1, "5-1=3", 0.5), node(6, 1, "5-1=2", 0.25),
    node(7, 2, "6-1=5", 0.0), node(8, 2, "6-1=4", math.nan),
]  # fmt: skip


def test_a_bad_child_is_criticised_with_its_good_sibling():
    made = run_method("tree_discrepancy", TREE)
    assert [(row["steps"], row["critique"], row["gap"]) for row in made] == [
        (["2+3=6"], "0 wrong 2+3=5\nverdict 0\n", 1.0),
        (["2+3=5", "5-1=2"], "0 right\n1 wrong 5-1=4\nverdict 1\n", 0.75),
    ]
    assert [(row["good_id"], row["bad_id"]) for row in made] == [("t:1", "t:2"), ("t:4", "t:6")]
    assert [row["prompt"] for row in made] == ["2+3-1", "2+3-1"]


def test_what_it_writes_is_a_critique_that_agents_could_have_written():
    for row in run_method("tree_discrepancy", TREE):
        judged = parse_critique(row["critique"], len(row["steps"]))
        assert isinstance(judged, Judgement) and judged.first_error_step == row["first_error_step"]


def test_bounds_and_ties():
    assert [row["bad_id"] for row in run_method("tree_discrepancy", TREE, max_bad=0.0)] == ["t:2"]
    assert run_method("tree_discrepancy", TREE, min_visits=2) == []
    assert run_method("tree_discrepancy", []) == []
    equal = [node(0, None, None, 0.5), node(1, 0, "a", 0.5), node(2, 0, "b", 0.5)]
    assert run_method("tree_discrepancy", equal, min_good=0.0, max_bad=1.0) == []
