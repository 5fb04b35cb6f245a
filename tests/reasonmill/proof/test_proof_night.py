"""What the arms select of a pool, on three rollouts of one problem and one of another."""

from pathlib import Path

import pytest

from pipelines.lake import Lake
from pipelines.reasoning.prompts import load_prompts
from pipelines.rows import rows_to_table
from pipelines.tables import SCHEMAS
from reasonmill.proof.measure import evaluation_problems, first_samples
from reasonmill.proof.night import Pool, critique_texts, flawed_share, has_pool, read_pool, right_answers
from reasonmill.proof.plan import RANDOM, Cell

CELL = Cell(RANDOM, 0, 1)


def blank(table: str, **values: object) -> dict:
    return dict.fromkeys(SCHEMAS[table].names) | values


def problem(problem_id: str, split: str = "train") -> dict:
    return blank(
        "problems", problem_id=problem_id, prompt="2+3", split=split, source="starter", family="arithmetic",
        reference_answer="5", grader="number", canonical="2+3", is_evaluation=False,
    )  # fmt: skip


def rollout(rollout_id: str, problem_id: str, steps: list[str], reward: float | None, **values: object) -> dict:
    return blank("rollouts", rollout_id=rollout_id, problem_id=problem_id, steps=steps, outcome_reward=reward, **values)


def pool() -> Pool:
    rollouts = [
        rollout("a", "p", ["2+3=5", "#### 5"], 1.0, group_id="g"),
        rollout("b", "p", ["2+3=5", "#### 5"], 1.0, group_id="g"),
        rollout("c", "p", ["2+3=6", "#### 6"], 0.0, group_id="g"),
        rollout("d", "p", ["2+3=6", "#### 5"], 1.0, tree_id="t"),
        rollout("e", "held", ["2+3=5", "#### 5"], 1.0, group_id="h"),
        rollout("f", "p", [], None, group_id="g", error="RequestError: no"),
    ]
    gold = [
        blank("gold_steps", rollout_id=one, step=0, is_right=one != "d") for one in ("a", "b", "d")
    ]  # fmt: skip
    tables = {
        "problems": [problem("p"), problem("held", "held_out")], "rollouts": rollouts, "search_nodes": [],
        "gold_steps": gold,
    }  # fmt: skip
    return Pool(**{name: rows_to_table(name, rows) for name, rows in tables.items()})


def test_rejection_sampling_takes_every_right_answer_of_a_training_problem_as_often_as_it_was_given() -> None:
    rows = right_answers(pool(), load_prompts("starter"), CELL, None).to_pylist()
    assert [(row["rollout_id"], row["origin"]) for row in rows] == [
        ("a", "independent_samples"), ("b", "independent_samples"), ("d", "search"),
    ]  # fmt: skip
    assert rows[0]["prompt"] == "<solve>2+3\n"
    assert rows[0]["completion"] == "2+3=5\n#### 5\n"


def test_random_takes_one_right_answer_of_a_problem_by_a_lot_that_the_seed_decides() -> None:
    prompts = load_prompts("starter")
    drawn = {
        seed: right_answers(pool(), prompts, Cell(RANDOM, seed, 1), 5)["rollout_id"].to_pylist() for seed in range(12)
    }
    assert {tuple(rows) for rows in drawn.values()} == {("a",), ("b",), ("d",)}  # `held` is no training problem
    assert right_answers(pool(), prompts, Cell(RANDOM, 3, 1), 5)["rollout_id"].to_pylist() == drawn[3]
    assert right_answers(pool(), prompts, CELL, 0).num_rows == 0


def test_the_policy_is_held_on_its_critiques_of_right_and_of_wrong_samples() -> None:
    texts = critique_texts(pool(), load_prompts("starter"))
    assert texts == [("<verify>2+3\n", "2+3=5\n#### 5\n"), ("<verify>2+3\n", "2+3=6\n#### 6\n")]


def test_the_share_of_flawed_rows_counts_those_whose_labels_are_known() -> None:
    sft = right_answers(pool(), load_prompts("starter"), CELL, None)
    assert flawed_share(pool(), sft) == pytest.approx(1 / 3)
    assert flawed_share(pool(), sft.slice(0, 0)) is None


def test_a_pool_is_there_once_its_rollouts_are(tmp_path: Path) -> None:
    lake, made = Lake(tmp_path), pool()
    for table in ("search_nodes", "gold_steps"):
        lake.write(table, getattr(made, table), partition="night-1")
    lake.write("problems", made.problems)
    assert not has_pool(lake, "night-1")
    lake.write("rollouts", made.rollouts, partition="night-1")
    assert has_pool(lake, "night-1")
    assert read_pool(lake, "night-1").rollouts.num_rows == made.rollouts.num_rows


def test_every_family_gives_as_many_frozen_problems_as_far_as_it_has_them() -> None:
    rows = [
        problem(f"{family}-{index}", "held_out") | {"family": family, "is_evaluation": index < 4}
        for family, count in (("arithmetic", 6), ("dial", 2)) for index in range(count)
    ]  # fmt: skip
    problems = rows_to_table("problems", rows)
    chosen = evaluation_problems(problems, 3)
    assert chosen["family"].to_pylist() == ["arithmetic"] * 3 + ["dial"] * 2
    assert all(chosen["is_evaluation"].to_pylist())
    assert evaluation_problems(problems.take([5, 4, 3, 2, 1, 0, 7, 6]), 3)["problem_id"].equals(chosen["problem_id"])


def test_the_first_sample_of_so_many_problems_is_judged() -> None:
    samples = rows_to_table("rollouts", [rollout(f"{p}-{i}", p, ["x"], 1.0) for p in "abcd" for i in range(3)])
    judged = first_samples(samples, 3)
    assert len(set(judged["problem_id"].to_pylist())) == judged.num_rows == 3
    assert all(rollout_id.endswith("-0") for rollout_id in judged["rollout_id"].to_pylist())
    assert first_samples(samples, 9).num_rows == 4
