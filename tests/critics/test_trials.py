import json

import pytest

from critics.trials import Difference, Scored, drift_of, judged, paired_difference, problem_rankings, trial
from pipelines.config import PromotionConfig
from pipelines.rows import rows_to_table
from pipelines.tables import SCHEMAS
from tests.critics.conftest import table

CONFIG = PromotionConfig(num_bootstrap=200)
NOTHING = Difference(None, None, None, None, None, 0)


def make_rollouts(num_problems: int, **fields):
    """Per problem two right and two wrong rollouts of one step each."""
    rows = []
    for problem in range(num_problems):
        for name, outcome in (("r0", 1.0), ("r1", 1.0), ("w0", 0.0), ("w1", 0.0)):
            row = {"rollout_id": f"{problem}-{name}", "problem_id": f"p{problem}", "outcome_reward": outcome}
            rows.append(row | {"steps": ["a"], "group_id": f"g{problem}", "is_guided": False} | fields)
    return table("rollouts", rows)


def make_scores(rollouts, right: float, wrong: float, version: str = "v"):
    rows = [
        {"rollout_id": row["rollout_id"], "step": 0, "scorer_version": version,
         "score": right if row["outcome_reward"] else wrong}
        for row in rollouts.to_pylist()
    ]  # fmt: skip
    return table("step_scores", rows)


def ran(evaluation: Scored, of_tonight: Scored, config: PromotionConfig = CONFIG, **known):
    return trial(evaluation, of_tonight, config, "min", **{"has_current": True, "is_same": False} | known)


def scored(rollouts, tonight: tuple[float, float], current: tuple[float, float] | None):
    return Scored(rollouts, make_scores(rollouts, *tonight), make_scores(rollouts, *current) if current else None)


def test_a_ranking_is_the_auroc_within_each_problem_of_two_outcomes():
    # p0: right .9 and .5 against wrong .5: a win and a tie; p1 has only right ones
    rows = [("a", "p0", 1.0), ("b", "p0", 1.0), ("c", "p0", 0.0), ("d", "p1", 1.0), ("e", "p0", None)]
    rollouts = table(
        "rollouts", [dict(zip(("rollout_id", "problem_id", "outcome_reward"), r, strict=True)) for r in rows]
    )
    scores = {"a": 0.9, "b": 0.5, "c": 0.5, "d": 0.1, "e": 0.0}
    assert problem_rankings(rollouts, scores) == {"p0": 0.75}
    assert problem_rankings(rollouts, {"a": 0.9}) == {}


def test_the_paired_difference_by_hand():
    # p: +.5, q: +.5, r only in one: always .5, so the interval is a point
    found = paired_difference({"p": 1.0, "q": 0.75, "r": 0.0}, {"p": 0.5, "q": 0.25}, num_resamples=100, seed=0)
    assert found == Difference(0.875, 0.375, 0.5, 0.5, 0.5, 2)
    assert paired_difference({"p": 1.0}, {"q": 1.0}, num_resamples=100, seed=0) == NOTHING


def test_a_difference_is_worse_only_if_its_whole_interval_lies_below_the_margin():
    worse = Difference(0.5, 0.6, -0.1, -0.15, -0.05, 40)
    assert worse.is_worse(0.0)
    assert not worse.is_worse(0.05)
    assert not Difference(0.5, 0.6, -0.1, -0.3, 0.01, 4).is_worse(0.0)
    assert not NOTHING.is_worse(0.0)


def test_a_critic_that_ranks_worse_on_the_frozen_problems_is_held():
    rollouts = make_rollouts(6)
    found = ran(scored(rollouts, (0.4, 0.6), (0.6, 0.4)), scored(rollouts, (0.6, 0.4), (0.6, 0.4)))
    assert (found.is_promotable, found.reason) == (False, "worse_on_evaluation")
    assert found.evaluation == Difference(0.0, 1.0, -1.0, -1.0, -1.0, 6)


def test_a_critic_that_ranks_worse_on_unguided_trees_is_held_and_guided_ones_do_not_count():
    evaluation = scored(make_rollouts(6), (0.6, 0.4), (0.6, 0.4))
    for is_guided, reason in ((False, "worse_on_unguided"), (True, "not_worse")):
        trees = make_rollouts(6, tree_id="t", group_id=None, is_guided=is_guided)
        found = ran(evaluation, scored(trees, (0.4, 0.6), (0.6, 0.4)))
        assert found.reason == reason
    assert found.unguided.num_problems == 0


def test_a_critic_that_spreads_its_scores_otherwise_is_held():
    rollouts = make_rollouts(6)
    both = (scored(rollouts, (0.9, 0.8), (0.6, 0.4)), scored(rollouts, (0.9, 0.8), (0.6, 0.4)))
    found = ran(*both)
    assert (found.reason, found.num_drift_steps) == ("drift", 24)
    assert found.drift == pytest.approx(drift_of(both[1])[0])
    assert ran(*both, CONFIG.model_copy(update={"max_drift": 1000.0})).is_promotable


def test_steps_that_one_of_them_could_not_score_do_not_drift():
    rollouts = make_rollouts(2)
    tonight = make_scores(rollouts, 0.6, 0.4).slice(0, 3)
    assert drift_of(Scored(rollouts, tonight, make_scores(rollouts, 0.6, 0.4)))[1] == 3
    assert drift_of(Scored(rollouts, tonight, None)) == (None, 0)


def test_the_first_critic_and_the_same_one_again_are_promotable():
    rollouts = make_rollouts(3)
    first = ran(scored(rollouts, (0.6, 0.4), None), scored(rollouts, (0.6, 0.4), None), has_current=False)
    assert (first.is_promotable, first.reason, first.evaluation.tonight) == (True, "first_critic", 1.0)
    same = ran(scored(rollouts, (0.6, 0.4), (0.6, 0.4)), scored(rollouts, (0.6, 0.4), (0.6, 0.4)), is_same=True)
    assert (same.is_promotable, same.reason, same.drift) == (True, "unchanged", 0.0)


def test_where_there_is_nothing_to_compare_on_the_reason_says_so():
    nothing = make_rollouts(0)
    found = ran(scored(nothing, (0.6, 0.4), (0.6, 0.4)), scored(nothing, (0.6, 0.4), (0.6, 0.4)))
    assert (found.is_promotable, found.reason, found.drift) == (True, "not_comparable", None)


def test_the_first_reason_is_given():
    worse = Difference(0.0, 1.0, -1.0, -1.0, -1.0, 9)
    assert judged(worse, worse, 99.0, CONFIG) == "worse_on_evaluation"
    assert judged(NOTHING, worse, 99.0, CONFIG) == "worse_on_unguided"
    assert judged(NOTHING, NOTHING, 99.0, CONFIG) == "drift"
    assert judged(Difference(1.0, 1.0, 0.0, -1.0, 0.5, 9), NOTHING, None, CONFIG) == "not_worse"


def test_a_trial_is_a_row_of_its_table():
    rollouts = make_rollouts(3)
    found = ran(scored(rollouts, (0.6, 0.4), (0.6, 0.4)), scored(rollouts, (0.6, 0.4), (0.6, 0.4)))
    row = rows_to_table("critic_trials", [found.row("new", "old", "n1")])
    assert row.schema == SCHEMAS["critic_trials"]
    metrics = json.loads(row["metrics"][0].as_py())
    assert metrics["evaluation"] == {"tonight": 1.0, "current": 1.0}
    assert metrics["limits"] == {"margin": CONFIG.margin, "max_drift": CONFIG.max_drift}
