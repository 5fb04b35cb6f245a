"""Old rollouts that come back: right, kept, trusted, of problems that are not solved surely, each text once."""

from pathlib import Path

import pytest

from pipelines.config import ReplayConfig
from pipelines.lake import Lake, rows_to_table
from pipelines.replay import READ, build_replay, earlier_generations
from pipelines.tables import SCHEMAS
from pipelines.warehouse import Warehouse

NIGHTS = ("2026-11-01", "2026-11-02", "2026-11-05")  # the last one is tonight
TONIGHT = NIGHTS[-1]


def sample(rollout_id: str, night: int, text: str, problem: str = "p", reward: float = 1.0, **more: object) -> dict:
    row = {
        "rollout_id": rollout_id,
        "problem_id": problem,
        "group_id": "g",
        "steps": text.split(),
        "night": NIGHTS[night],
    }
    return row | {"outcome_reward": reward, "policy_version": f"d{night}"} | more


def world(rollouts: list[dict], scores: dict[str, list[float | None]], kept: list[str] | None = None) -> dict:
    nights = {row["rollout_id"]: row["night"] for row in rollouts}
    return {
        "rollouts": rollouts,
        "consistent_rollouts": [
            {"rollout_id": name, "outcome_reward": 1.0, "method": "prof", "night": nights[name]}
            for name in (nights if kept is None else kept)
        ],
        "step_scores": [
            {"rollout_id": name, "step": step, "source": "critic", "score": score, "night": nights[name]}
            for name, some in scores.items()
            for step, score in enumerate(some)
        ],
    }


def replayed(rows: dict, **config: object) -> list[dict]:
    with Warehouse.over({name: rows_to_table(name, some) for name, some in rows.items()}) as warehouse:
        table = build_replay(warehouse, ReplayConfig(**config), TONIGHT)
    assert table.schema == SCHEMAS["replay"]
    return table.to_pylist()


def names(rows: dict, **config: object) -> list[str]:
    return [row["rollout_id"] for row in replayed(rows, **config)]


HALF = [sample("t1", 2, "x y"), sample("t2", 2, "x z", reward=0.0)]  # tonight half of the samples of p are right


def test_a_good_old_rollout_comes_back_with_where_it_came_from():
    rows = world([*HALF, sample("a", 1, "a b")], {"a": [0.75, 0.625]})
    assert replayed(rows) == [
        {"rollout_id": "a", "problem_id": "p", "steps": ["a", "b"], "policy_version": "d1", "score": 0.625,
         "source_night": NIGHTS[1], "num_nights_old": 1, "pass_rate_now": 0.5, "night": TONIGHT}
    ]  # fmt: skip


def test_what_is_wrong_doubted_unscored_given_or_not_kept_stays_away():
    old = [
        sample("wrong", 1, "a", reward=0.0), sample("doubted", 1, "b c"), sample("half_scored", 1, "d e"),
        sample("unscored", 1, "f"), sample("given", 1, "g", num_given_tokens=3), sample("not_kept", 1, "h"),
        sample("failed", 1, "i", error="lost"), sample("good", 1, "j"),
    ]  # fmt: skip
    scores = {name: [0.9] for name in ("wrong", "given", "not_kept", "failed", "good")}
    scores |= {"doubted": [0.9, 0.5], "half_scored": [0.9, None]}
    kept = [row["rollout_id"] for row in old if row["rollout_id"] != "not_kept"]
    assert names(world([*HALF, *old], scores, kept)) == ["good"]
    without_critic = names(world([*HALF, *old], scores, kept), min_step_score=0.0, max_per_problem=9)
    assert sorted(without_critic) == ["doubted", "good", "half_scored", "unscored"]


def test_staleness_counts_nights_in_the_lake_and_is_bounded():
    rows = world([*HALF, sample("a", 0, "a"), sample("b", 1, "b")], {"a": [0.9], "b": [0.8]})
    assert [(row["rollout_id"], row["num_nights_old"]) for row in replayed(rows)] == [("a", 2), ("b", 1)]
    assert names(rows, max_age_nights=1) == ["b"]
    assert names(rows, max_per_problem=1) == ["a"]  # the better lowest step


def test_equal_texts_are_one_and_what_tonight_found_itself_is_not_replayed():
    old = [sample("first", 0, "a"), sample("again", 1, "a"), sample("found", 1, "x y"), sample("same", 1, "a")]
    assert names(world([*HALF, *old], {row["rollout_id"]: [0.9] * len(row["steps"]) for row in old})) == ["again"]


def test_problems_that_are_solved_surely_need_no_replay():
    solved = [sample("s1", 2, "x", "q"), sample("s2", 0, "y", "q", reward=0.0), sample("s3", 1, "z", "q")]
    rows = world([*HALF, *solved], {"s3": [0.9]}, kept=["s3"])
    assert names(rows) == [] and names(rows, max_pass_rate=1.0) == ["s3"]
    unseen = [sample("u1", 1, "a", "u"), sample("u2", 1, "b", "u", reward=0.0)]  # tonight did not sample it
    assert names(world([*HALF, *unseen], {"u1": [0.9]}, kept=["u1"])) == ["u1"]


def test_the_first_night_has_nothing_to_replay():
    assert replayed(world(HALF, {"t1": [0.9, 0.9]})) == []
    assert replayed({name: [] for name in READ}) == []


@pytest.mark.parametrize(("max_age_nights", "seen"), [(7, NIGHTS[:2]), (1, NIGHTS[1:2])])
def test_lineage_names_the_generations_of_the_nights_that_were_looked_at(tmp_path: Path, max_age_nights, seen):
    lake = Lake(tmp_path)
    for night in NIGHTS:
        lake.write("rollouts", rows_to_table("rollouts", [{"rollout_id": "r", "night": night}]), partition=night)
    found = earlier_generations(lake, ReplayConfig(max_age_nights=max_age_nights), TONIGHT)
    assert found == {f"rollouts/{night}": lake.generation("rollouts", night) for night in seen}


def test_a_night_without_rows_is_none_that_replay_looks_at(tmp_path: Path):
    lake = Lake(tmp_path)
    for night, rows in ((NIGHTS[0], [{"rollout_id": "r", "night": NIGHTS[0]}]), (NIGHTS[1], [])):
        lake.write("rollouts", rows_to_table("rollouts", rows), partition=night)
    found = earlier_generations(lake, ReplayConfig(max_age_nights=1), TONIGHT)
    assert list(found) == [f"rollouts/{NIGHTS[0]}"]
