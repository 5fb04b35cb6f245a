"""A user's own filter: what it sees, and what its answer must be."""

import pyarrow as pa
import pytest

from pipelines.consistency.own_filter import run_own_filter
from pipelines.errors import WorkspaceError
from pipelines.rows import rows_to_table

NIGHT = "2026-11-03"
ROLLOUTS = rows_to_table("rollouts", [
    {"rollout_id": "a", "problem_id": "p", "group_id": "g", "steps": ["x"], "outcome_reward": 1.0},
    {"rollout_id": "b", "problem_id": "p", "group_id": "g", "steps": ["x", "y"], "outcome_reward": 0.0},
])  # fmt: skip
SCORES = rows_to_table("step_scores", [
    {"rollout_id": "a", "step": 0, "source": "critic", "scorer_version": "v1", "score": 0.5, "night": NIGHT},
])  # fmt: skip


def answer(**columns) -> pa.Table:
    return pa.table({"rollout_id": ["a", "b"], "kept": [True, False], "reason": [None, "too_long"],
                     "score": [0.1, None]} | columns)  # fmt: skip


def run(function):
    return run_own_filter(function, ROLLOUTS, SCORES, "mine")


def test_the_answer_comes_in_the_order_of_the_rollouts():
    decisions = run(lambda rollouts, step_scores: answer().take([1, 0]))
    assert decisions.to_pylist() == [
        {"kept": True, "reason": None, "score": 0.1}, {"kept": False, "reason": "too_long", "score": None},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (None, "NoneType"),
        (answer().drop_columns("reason"), "no column 'reason'"),
        (answer().slice(0, 1), "1 rows for 2 rollouts"),
        (answer(rollout_id=["a", "a"]), "exactly one"),
        (answer(kept=["yes", "no"]), "wrong type"),
        (answer(kept=[True, None]), "null"),
        (answer(reason=[None, None]), "rollout b kept = False with reason None"),
        (answer(reason=[None, "Too long!"]), "snake_case"),
        (answer(reason=["why", "too_long"]), "rollout a kept = True"),
    ],
)
def test_a_bad_answer_is_explained(given, complaint):
    with pytest.raises(WorkspaceError, match=complaint):
        run(lambda rollouts, step_scores: given)


def test_an_exception_of_the_filter_is_explained():
    def fail(rollouts, step_scores):
        raise KeyError("no_such_column")

    with pytest.raises(WorkspaceError, match="mine.*KeyError.*no_such_column"):
        run(fail)
