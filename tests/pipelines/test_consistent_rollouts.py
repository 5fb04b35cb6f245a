"""All configured methods on one batch, and the advantages of what is kept."""

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pydantic import Field

from pipelines.config import ConsistencyConfig, ConsistencyMethodConfig
from pipelines.config_models import Section
from pipelines.consistent_rollouts import filter_rollouts
from pipelines.curation import DECISION, Column, Curation
from pipelines.errors import ConfigError
from pipelines.lake import Lake
from pipelines.rows import rows_to_table
from pipelines.tables import SCHEMAS

NIGHT = "2026-11-03"
PROF = ConsistencyMethodConfig(name="prof", parameters={"num_removed": 1})


def rollouts() -> pa.Table:
    """Three right and one wrong rollout; r0 has the lowest scores of the right ones."""
    outcomes = {"r0": 1.0, "r1": 1.0, "r2": 1.0, "w": 0.0}
    return rows_to_table("rollouts", [
        {"rollout_id": name, "problem_id": "p", "group_id": "g", "steps": ["x", "y"], "outcome_reward": outcome}
        for name, outcome in outcomes.items()
    ])  # fmt: skip


def step_scores() -> pa.Table:
    return rows_to_table("step_scores", [
        {"rollout_id": name, "step": step, "source": "critic", "scorer_version": "v", "score": score, "night": NIGHT}
        for name, score in {"r0": 0.1, "r1": 0.8, "r2": 0.9, "w": 0.2}.items() for step in range(2)
    ])  # fmt: skip


def test_advantages_are_computed_on_the_kept_rollouts_only():
    # d + k = 3, 1.5 rounds to 2, at most k = 1: r0 goes; kept r1, r2, w with mean reward 2/3
    made = filter_rollouts(rollouts(), step_scores(), ConsistencyConfig(methods=(PROF,)), NIGHT)
    advantages = {row["rollout_id"]: row["group_advantage"] for row in made.consistent_rollouts.to_pylist()}
    assert advantages == pytest.approx({"r1": 1 / 3, "r2": 1 / 3, "w": -2 / 3})
    assert made.consistent_rollouts.schema == SCHEMAS["consistent_rollouts"]


def test_tables_may_stay_in_the_lake(tmp_path):
    def right_only(batch, scores):
        assert set(scores["scorer_version"].to_pylist()) == {"v"}
        is_right = [reward == 1.0 for reward in batch["outcome_reward"].to_pylist()]
        reason = [None if right else "wrong_answer" for right in is_right]
        return pa.table({"rollout_id": batch["rollout_id"], "kept": is_right, "reason": reason,
                         "score": pa.nulls(len(reason), pa.float64())})  # fmt: skip

    lake = Lake(tmp_path)
    lake.write("rollouts", rollouts(), partition=NIGHT)
    old = step_scores().set_column(3, "scorer_version", pa.array(["old"] * 8))
    old = old.set_column(old.column_names.index("night"), "night", pa.array(["2026-11-02"] * 8))
    lake.write("step_scores", pa.concat_tables([old, step_scores()]), partition=NIGHT)
    methods = (PROF, ConsistencyMethodConfig(name="right", filter="mine.py:right_only"))
    config, find = ConsistencyConfig(methods=methods, use=("prof", "right")), {"mine.py:right_only": right_only}.get
    asked = [lake.dataset(table, NIGHT) for table in ("rollouts", "step_scores")]
    from_files = filter_rollouts(*asked, config, NIGHT, load_filter=find)
    in_memory = filter_rollouts(rollouts(), step_scores(), config, NIGHT, load_filter=find)
    assert from_files == in_memory
    assert from_files.consistent_rollouts["rollout_id"].to_pylist() == ["r1", "r2"]
    nothing = [lake.dataset(table, "2026-11-04") for table in ("rollouts", "step_scores")]
    assert filter_rollouts(*nothing, ConsistencyConfig(methods=(PROF,)), NIGHT).consistency_results.num_rows == 0


def test_every_method_judges_every_rollout_and_the_one_in_use_is_taken():
    methods = (PROF, ConsistencyMethodConfig(name="lot", filter="random_removal", parameters={"num_removed": 3}))
    config = ConsistencyConfig(methods=methods, use="lot")
    made = filter_rollouts(rollouts(), step_scores(), config, NIGHT)
    assert made.consistency_results.num_rows == 8
    assert set(made.consistent_rollouts["method"].to_pylist()) == {"lot"}
    assert made.consistent_rollouts.num_rows == 1


def test_a_filter_of_the_users_is_loaded_by_its_reference():
    def only_wrong(batch, scores):
        is_wrong = [reward == 0.0 for reward in batch["outcome_reward"].to_pylist()]
        reason = [None if wrong else "right_answer" for wrong in is_wrong]
        return pa.table({"rollout_id": batch["rollout_id"], "kept": is_wrong, "reason": reason,
                         "score": pa.nulls(len(reason), pa.float64())})  # fmt: skip

    config = ConsistencyConfig(methods=(ConsistencyMethodConfig(name="mine", filter="mine.py:only_wrong"),), use="mine")
    made = filter_rollouts(rollouts(), step_scores(), config, NIGHT, load_filter={"mine.py:only_wrong": only_wrong}.get)
    assert made.consistent_rollouts["rollout_id"].to_pylist() == ["w"]
    with pytest.raises(ConfigError, match="not built in"):
        filter_rollouts(rollouts(), step_scores(), config, NIGHT)


def keep(*names: str):
    """A filter of the user's that keeps these ids."""

    def filter(batch, scores):
        kept = [name in names for name in batch["rollout_id"].to_pylist()]
        reason = [None if one else "not_chosen" for one in kept]
        return pa.table({"rollout_id": batch["rollout_id"], "kept": kept, "reason": reason, "score": [1.0] * len(kept)})

    return filter


def test_in_a_list_each_filter_sees_only_what_the_one_before_it_kept():
    mine = ConsistencyMethodConfig(name="mine", filter="mine.py:keep")
    config = ConsistencyConfig(methods=(PROF, mine), use=("mine", "prof"))
    made = filter_rollouts(rollouts(), step_scores(), config, NIGHT, load_filter=lambda name: keep("r1", "r2", "w"))
    # alone PROF removes r0; without r0 it sees 2 right and 1 wrong: d + k = 2, one right one goes, r1 (0.8 < 0.9)
    by_method = {
        method: {
            row["rollout_id"]: row["reason"] for row in made.consistency_results.to_pylist() if row["method"] == method
        }
        for method in ("prof", "mine", "mine+prof")
    }
    assert by_method == {
        "prof": {"r0": "low_consistency", "r1": None, "r2": None, "w": None},
        "mine": {"r0": "not_chosen", "r1": None, "r2": None, "w": None},
        "mine+prof": {"r0": "not_chosen", "r1": "low_consistency", "r2": None, "w": None},
    }
    assert made.consistency_results.num_rows == 12
    scores = {row["rollout_id"]: row["score"] for row in made.consistency_results.to_pylist()[8:]}
    assert scores["r0"] is None  # PROF never saw it
    # the centre of what PROF saw is (0.8 + 0.9 + 0.2) / 3
    assert scores["r2"] == pytest.approx(2 * (0.9 - 1.9 / 3))
    advantages = {row["rollout_id"]: row["group_advantage"] for row in made.consistent_rollouts.to_pylist()}
    assert advantages == {"r2": 0.5, "w": -0.5}
    assert set(made.consistent_rollouts["method"].to_pylist()) == {"mine+prof"}


def test_a_method_over_texts_filters_the_solutions_of_a_group():
    rows = rollouts().to_pylist()
    rows[1] |= {"steps": ["x", "z"]}
    texts = ConsistencyMethodConfig(name="exact_duplicates")
    config = ConsistencyConfig(methods=(texts,), use="exact_duplicates")
    made = filter_rollouts(rows_to_table("rollouts", rows), step_scores(), config, NIGHT)
    assert made.consistent_rollouts["rollout_id"].to_pylist() == ["r0", "r1"]  # r2 and w say what r0 says


def test_what_a_filter_never_sees_has_its_reason():
    rows = rollouts().to_pylist()
    rows[1] |= {"error": "ServerError: 500", "outcome_reward": None}
    rows[2] |= {"outcome_reward": None}
    rows[3] |= {"group_id": None}
    mine = ConsistencyConfig(methods=(ConsistencyMethodConfig(name="mine", filter="mine.py:keep"),), use="mine")
    made = filter_rollouts(
        rows_to_table("rollouts", rows), step_scores(), mine, NIGHT, load_filter=lambda name: keep("r0")
    )
    reasons = {row["rollout_id"]: row["reason"] for row in made.consistency_results.to_pylist()}
    assert reasons == {"r0": None, "r1": "failed", "r2": "ungraded", "w": "not_in_group"}


def test_a_curation_of_the_users_has_parameters_of_its_own():
    class Params(Section):
        most: int = Field(1, ge=0, description="most tokens")

    def short(rows, params):
        kept = pc.less_equal(rows["num_tokens"], params.most)
        reason = pc.if_else(kept, pa.scalar(None, pa.string()), "too_long")
        return pa.table([rows["position"], kept, reason, pa.nulls(rows.num_rows, pa.float64())],
                        names=["position", *DECISION.names])  # fmt: skip

    curation = Curation(Params, (Column("num_tokens", pa.int64(), "tokens"),), DECISION, "rows", short)
    rows = [row | {"num_tokens": count} for row, count in zip(rollouts().to_pylist(), (1, 2, 3, 4), strict=True)]
    method = ConsistencyMethodConfig(name="short", filter="mine.py:SHORT", parameters={"most": 2})
    config = ConsistencyConfig(methods=(method,), use="short")
    no_scores = SCHEMAS["step_scores"].empty_table()  # it reads none
    made = filter_rollouts(rows_to_table("rollouts", rows), no_scores, config, NIGHT, load_filter=lambda name: curation)
    assert made.consistent_rollouts["rollout_id"].to_pylist() == ["r0", "r1"]
    reads_more = Curation(Params, (Column("mood", pa.string(), "mood"),), DECISION, "rows", short)
    with pytest.raises(ConfigError, match='mine.py:SHORT cannot filter rollouts. It must have grain "rows"'):
        filter_rollouts(rollouts(), no_scores, config, NIGHT, load_filter=lambda name: reads_more)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ({"parameters": {"num_remove": 1}}, 'has no parameter "num_remove" .*It has num_removed'),
        ({"parameters": {"num_removed": -1}}, "num_removed = -1 .*num_removed is an integer from 0 to 4096"),
        ({"filter": "prov"}, 'the filter "prov", which is not built in; there is prof'),
        ({"filter": "puct"}, 'the filter "puct", which is not built in'),
    ],
)
def test_a_wrong_filter_or_parameter_is_named_before_anything_runs(method, message):
    config = ConsistencyConfig(methods=(ConsistencyMethodConfig(name="prof", **method),))
    with pytest.raises(ConfigError, match=message):
        filter_rollouts(SCHEMAS["rollouts"].empty_table(), SCHEMAS["step_scores"].empty_table(), config, NIGHT)


def test_a_list_names_methods_that_are_there_once():
    with pytest.raises(ValueError, match='use = "prov" is not the name of a method'):
        ConsistencyConfig(use=("prof", "prov"))
    with pytest.raises(ValueError, match="names a method twice"):
        ConsistencyConfig(use=("prof", "prof"))
    assert ConsistencyConfig(use="prof").used_method == "prof"


def test_no_rollouts_make_empty_tables():
    empty = SCHEMAS["rollouts"].empty_table()
    made = filter_rollouts(empty, SCHEMAS["step_scores"].empty_table(), ConsistencyConfig(), NIGHT)
    assert (made.consistency_results.num_rows, made.consistent_rollouts.num_rows) == (0, 0)
