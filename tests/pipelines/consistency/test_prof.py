"""PROF: the worked examples of the paper's code, an independent reference, and the properties of every filter."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.config import ConsistencyConfig, ConsistencyMethodConfig
from pipelines.consistency.prof import PROF, ProfParams
from pipelines.consistency.scorer import required_scorer_version
from pipelines.consistent_rollouts import filter_rollouts
from pipelines.errors import ConfigError, ReasonmillError
from pipelines.rows import rows_to_table

NIGHT = "2026-11-03"


def method(filter: str = "prof", **parameters) -> ConsistencyMethodConfig:
    return ConsistencyMethodConfig(name="prof", filter=filter, parameters=parameters)


def prof(
    rollouts: pa.Table,
    scores: pa.Table,
    config: ConsistencyMethodConfig,
    night: str = NIGHT,
    source: str = "critic",
    scorer_version: str = "latest",
) -> pa.Table:
    section = ConsistencyConfig(methods=(config,), use=config.name, source=source, scorer_version=scorer_version)
    return filter_rollouts(rollouts, scores, section, night).consistency_results


def make_rollout(
    rollout_id: str, outcome: float | None, num_steps: int, group: str | None = "g", error: str | None = None
):
    return {
        "rollout_id": rollout_id, "problem_id": f"p-{group}", "group_id": group, "outcome_reward": outcome,
        "steps": [f"step {i}" for i in range(num_steps)], "error": error, "night": NIGHT,
    }  # fmt: skip


def make_scores(rollout_id: str, scores: list[float], version: str = "v1", source: str = "critic"):
    return [
        {"rollout_id": rollout_id, "step": i, "source": source, "scorer_version": version, "score": s, "night": NIGHT}
        for i, s in enumerate(scores)
    ]


def tables(group: dict[str, tuple[float, list[float]]]) -> tuple[pa.Table, pa.Table]:
    """rollout id -> (outcome, step scores), all in one group."""
    rollouts = [make_rollout(name, outcome, len(scores)) for name, (outcome, scores) in group.items()]
    scores = [row for name, (_, values) in group.items() for row in make_scores(name, values)]
    return rows_to_table("rollouts", rollouts), rows_to_table("step_scores", scores)


def reasons(results: pa.Table) -> dict[str, str | None]:
    return {row["rollout_id"]: row["reason"] for row in results.to_pylist()}


def kept(results: pa.Table) -> set[str]:
    return {row["rollout_id"] for row in results.to_pylist() if row["kept"]}


def test_right_rollouts_with_low_scores_and_wrong_ones_with_high_scores_go():
    rollouts, scores = tables({
        "r1": (1.0, [0.9, 0.9]), "r2": (1.0, [0.2, 0.4]), "w1": (0.0, [0.8, 0.6]), "w2": (0.0, [0.1, 0.1]),
    })  # fmt: skip
    results = prof(rollouts, scores, method(num_removed=2), night=NIGHT)
    assert reasons(results) == {"r1": None, "r2": "low_consistency", "w1": "low_consistency", "w2": None}
    # vbar = (1.8 + 0.6 + 1.4 + 0.2) / 8 = 0.5; c = 2 * (mean - vbar) * (2o - 1)
    score = {row["rollout_id"]: row["score"] for row in results.to_pylist()}
    assert score == pytest.approx({"r1": 0.8, "r2": -0.4, "w1": -0.4, "w2": 0.8})


@pytest.mark.parametrize(
    ("num_right", "num_wrong", "kept_right", "kept_wrong"),
    [(6, 2, 2, 2), (5, 3, 2, 2), (1, 7, 1, 3), (3, 5, 2, 2), (8, 0, 4, 0), (0, 8, 0, 4), (4, 4, 2, 2), (7, 1, 3, 1)],
)
def test_counts_are_those_of_the_worked_examples(num_right, num_wrong, kept_right, kept_wrong):
    group = {f"r{i}": (1.0, [0.5, i / 10]) for i in range(num_right)}
    group |= {f"w{i}": (0.0, [0.5, i / 10]) for i in range(num_wrong)}
    results = prof(*tables(group), method(num_removed=4), night=NIGHT)
    assert sum(name.startswith("r") for name in kept(results)) == kept_right
    assert sum(name.startswith("w") for name in kept(results)) == kept_wrong


def test_halves_are_rounded_to_even():
    # d + k = 1 -> 0.5 -> 0 right ones go; d + k = 3 -> 1.5 -> 2 right ones go
    one = prof(*tables({"r": (1.0, [0.1, 0.1]), "w": (0.0, [0.9, 0.9])}), method(num_removed=1), night=NIGHT)
    assert reasons(one) == {"r": None, "w": "low_consistency"}
    group = {f"r{i}": (1.0, [0.1, i / 10]) for i in range(3)} | {"w": (0.0, [0.9, 0.9])}
    assert kept(prof(*tables(group), method(num_removed=1), night=NIGHT)) == {"r1", "r2", "w"}
    two = {f"r{i}": (1.0, [0.1, i / 10]) for i in range(2)} | {"w": (0.0, [0.9, 0.9])}
    assert kept(prof(*tables(two), method(num_removed=2), night=NIGHT)) == {"w"}


def test_a_group_smaller_than_the_number_to_remove_vanishes():
    results = prof(*tables({"r": (1.0, [0.1, 0.1]), "w": (0.0, [0.9, 0.9])}), method(num_removed=4), night=NIGHT)
    assert kept(results) == set()


def test_unusual_step_counts_go_first_on_both_sides():
    rollouts, scores = tables({
        "r1": (1.0, [0.9]), "r2": (1.0, [0.2, 0.2]), "w1": (0.0, [0.1] * 4), "w2": (0.0, [0.9, 0.9]),
    })  # fmt: skip
    results = prof(rollouts, scores, method(num_removed=2, max_steps=3), night=NIGHT)
    assert reasons(results) == {"r1": "low_consistency", "r2": None, "w1": "low_consistency", "w2": None}
    without = prof(rollouts, scores, method(num_removed=2, max_steps=3, length_penalty=0.0), night=NIGHT)
    assert kept(without) == {"r1", "w1"}


def test_a_rollout_without_steps_scores_zero_before_the_penalty():
    rollouts, scores = tables({"r1": (1.0, []), "r2": (1.0, [0.5, 0.5]), "w1": (0.0, [0.5, 0.5])})
    results = prof(rollouts, scores, method(num_removed=0, length_penalty=10.0), night=NIGHT)
    assert {row["rollout_id"]: row["score"] for row in results.to_pylist()} == {"r1": -10.0, "r2": 0.0, "w1": 0.0}


@pytest.mark.parametrize(
    ("aggregate", "removed"), [("mean", "r1"), ("min", "r2"), ("sum", "r1"), ("product", "r3"), ("last", "r1")]
)
def test_the_aggregate_decides_which_right_rollout_is_least_consistent(aggregate, removed):
    rollouts, scores = tables({
        "r1": (1.0, [0.5, 0.5]), "r2": (1.0, [0.1, 1.0, 1.0]), "r3": (1.0, [0.51] * 8), "w": (0.0, [1.0] * 8),
    })  # fmt: skip
    results = prof(rollouts, scores, method(num_removed=1, aggregation=aggregate), night=NIGHT)
    assert kept(results) == {"r1", "r2", "r3", "w"} - {removed}


def test_what_is_outside_the_groups_is_rejected_with_its_reason_and_counts_for_nothing():
    rollouts = rows_to_table("rollouts", [
        make_rollout("r1", 1.0, 2), make_rollout("w1", 0.0, 2),
        make_rollout("failed", None, 0, error="ServerError: 500"), make_rollout("ungraded", None, 2),
        make_rollout("shaped", 0.5, 2), make_rollout("unscored", 1.0, 2), make_rollout("partly", 1.0, 2),
        make_rollout("tree", 1.0, 2, group=None),
    ])  # fmt: skip
    scored = {"r1": [0.9, 0.9], "w1": [0.1, 0.1], "ungraded": [1.0, 1.0], "shaped": [1.0, 1.0], "partly": [1.0]}
    scores = rows_to_table("step_scores", [row for name, values in scored.items() for row in make_scores(name, values)])
    results = prof(rollouts, scores, method(num_removed=0), night=NIGHT)
    assert reasons(results) == {
        "r1": None, "w1": None, "failed": "failed", "ungraded": "ungraded", "shaped": "ungraded",
        "unscored": "no_step_scores", "partly": "step_count_mismatch", "tree": "not_in_group",
    }  # fmt: skip
    score = {row["rollout_id"]: row["score"] for row in results.to_pylist()}
    # the centre is (1.8 + 0.2 + 2 + 2) / 8 = 0.75: ungraded rollouts count there, the others do not
    assert score["r1"] == pytest.approx(0.3) and score["unscored"] is None


def test_only_scores_of_the_configured_source_and_version_are_used():
    rollouts, scores = tables({"r1": (1.0, [0.9, 0.9]), "r2": (1.0, [0.1, 0.1])})
    misleading = [
        row
        for name, value in (("r1", 0.0), ("r2", 1.0))
        for changes in ({"source": "monte_carlo"}, {"version": "v0"})
        for row in make_scores(name, [value, value], **changes)
    ]
    both = pa.concat_tables([scores, rows_to_table("step_scores", misleading)])
    assert kept(prof(rollouts, both, method(num_removed=1), night=NIGHT, scorer_version="v1")) == {"r1"}
    assert kept(prof(rollouts, both, method(num_removed=1), night=NIGHT, scorer_version="v0")) == {"r2"}
    with pytest.raises(ConfigError, match="2 scorer versions"):
        prof(rollouts, both, method(num_removed=1), night=NIGHT)


def test_latest_is_the_version_of_the_latest_night():
    rollouts, scores = tables({"r1": (1.0, [0.9, 0.9]), "r2": (1.0, [0.1, 0.1])})
    old = [row | {"night": "2026-11-02"} for row in make_scores("r1", [0.0, 0.0], version="v0")]
    both = pa.concat_tables([scores, rows_to_table("step_scores", old)])
    assert kept(prof(rollouts, both, method(num_removed=1), night=NIGHT)) == {"r1"}


def test_monte_carlo_values_and_missing_scores_are_refused():
    rollouts, scores = tables({"r1": (1.0, [0.9, 0.9])})
    with pytest.raises(ConfigError, match="monte_carlo"):
        required_scorer_version(scores, "monte_carlo")
    with pytest.raises(ReasonmillError, match='source "judge".*critic/v1'):
        prof(rollouts, scores, method(), night=NIGHT, source="judge")


def test_correct_only_ranks_the_right_and_draws_the_wrong():
    group = {f"r{i}": (1.0, [i / 10] * 2) for i in range(4)} | {f"w{i}": (0.0, [i / 10] * 2) for i in range(4)}
    results = prof(*tables(group), method(num_removed=4, mode="correct_only"), night=NIGHT)
    assert {name: why for name, why in reasons(results).items() if name.startswith("r")} == {
        "r0": "low_consistency", "r1": "low_consistency", "r2": None, "r3": None,
    }  # fmt: skip
    assert (
        sorted(why for name, why in reasons(results).items() if name.startswith("w") and why) == ["balance_random"] * 2
    )
    results = prof(*tables(group), method(num_removed=4, mode="incorrect_only"), night=NIGHT)
    assert {name for name in kept(results) if name.startswith("w")} == {"w0", "w1"}
    assert (
        sorted(why for name, why in reasons(results).items() if name.startswith("r") and why) == ["balance_random"] * 2
    )


def test_ties_do_not_depend_on_the_order_of_the_rows():
    rollouts, scores = tables({f"r{i}": (1.0, [0.5, 0.5]) for i in range(8)})
    backwards = rollouts.take(list(range(7, -1, -1)))
    assert prof(rollouts, scores, method(), night=NIGHT).equals(prof(backwards, scores, method(), night=NIGHT))


def samples(*rows: tuple[str, str, float, list[float]]) -> pa.Table:
    """(group, rollout id, outcome, step scores) in the columns that PROF reads, in two chunks."""
    groups, ids, outcomes, scores = map(list, zip(*rows, strict=True))
    columns = {
        "position": range(len(rows)), "problem_id": groups, "rollout_id": ids, "outcome_reward": outcomes,
        "step_values": pa.array(scores, pa.list_(pa.float64())), "group_id": groups,
    }  # fmt: skip
    table = pa.table(columns)
    return pa.concat_tables([table.slice(0, 3), table.slice(3)])


@pytest.mark.parametrize("mode", ["both", "correct_only", "incorrect_only"])
def test_rows_of_a_group_need_neither_follow_each_other_nor_come_by_position(mode):
    rows = samples(
        ("g", "a", 1.0, [0.5, 0.5]), ("h", "b", 1.0, [0.25, 0.5]), ("g", "c", 0.0, [0.75, 0.5]),
        ("h", "d", 1.0, [0.5, 0.25]), ("g", "e", 1.0, [0.0, 0.5]), ("h", "f", 0.0, [0.0, 0.0]),
        ("g", "g", 0.0, [0.0, 0.0]), ("h", "h", 0.0, [1.0, 1.0]),
    )  # fmt: skip
    params = ProfParams(num_removed=2, mode=mode)
    made = PROF.run(rows, params)
    # either group has two right and two wrong, so one of each goes; b and d are equal, and b is the smaller id
    assert [made["kept"][i].as_py() for i in (0, 4)] == [True, False] or mode == "incorrect_only"
    assert [made["kept"][i].as_py() for i in (1, 3)] == [False, True] or mode == "incorrect_only"
    assert [made["kept"][i].as_py() for i in (2, 6, 5, 7)] == [False, True, True, False] or mode == "correct_only"
    mixed = PROF.run(rows.take([5, 0, 7, 2, 1, 6, 3, 4]), params)
    assert mixed.sort_by("position").combine_chunks().equals(made.combine_chunks())


def test_scores_too_large_to_count_in_billionths_are_ranked_all_the_same():
    rows = samples(("g", "a", 1.0, [3e8]), ("g", "b", 1.0, [1e8]), ("g", "c", 1.0, [2e8]), ("g", "d", 1.0, [-1e15]))
    made = PROF.run(rows, ProfParams(num_removed=2, aggregation="sum", min_steps=1))
    assert made["kept"].to_pylist() == [True, False, True, False]
    assert made["score"].to_pylist() == [3e8, 1e8, 2e8, -1e15]


def test_the_variant_that_keeps_the_ratio_removes_in_proportion():
    # 6 right, 2 wrong, k = 4: 4 * 6 / 8 = 3 right ones and 1 wrong one go, so that 3 : 1 stays
    group = {f"r{i}": (1.0, [0.5, i / 10]) for i in range(6)} | {f"w{i}": (0.0, [0.5, i / 10]) for i in range(2)}
    results = prof(*tables(group), method("prof_ratio", num_removed=4))
    assert kept(results) == {"r3", "r4", "r5", "w0"}
    assert set(reasons(results).values()) == {None, "inconsistent"}


def test_the_variant_that_ranks_all_together_takes_the_lowest_scores_of_both_sides():
    # centre = (0.9 + 0.8 + 0.2 + 0.7) / 4 = 0.65; scores 0.5, 0.3, 0.9 (= -2 * -0.45), -0.1 (= -2 * 0.05)
    group = {"r1": (1.0, [0.9] * 2), "r2": (1.0, [0.8] * 2), "w1": (0.0, [0.2] * 2), "w2": (0.0, [0.7] * 2)}
    results = prof(*tables(group), method("prof_joint", num_removed=2))
    assert kept(results) == {"r1", "w1"}
    assert {row["rollout_id"]: row["score"] for row in results.to_pylist()} == pytest.approx(
        {"r1": 0.5, "r2": 0.3, "w1": 0.9, "w2": -0.1}
    )


# an independent reference, written from the pseudo-code of the published implementation ---------------


def reference_prof(groups: dict, num_removed: int, penalty: float, min_steps: int, max_steps: int) -> set[str]:
    """groups: group -> {rollout id: (outcome, scores)}; the kept ids (PROF-Both, mean)."""
    every = [score for group in groups.values() for _, scores in group.values() for score in scores]
    vbar = sum(every) / len(every) if every else 0.0
    survivors = set()
    for group in groups.values():
        crit = {}
        for name, (outcome, scores) in group.items():
            consistency = sum(2 * (v - vbar) * (2 * outcome - 1) for v in scores) / len(scores) if scores else 0.0
            outlier = len(scores) < min_steps or len(scores) > max_steps
            crit[name] = round(consistency - penalty * outlier, 9)
        order = sorted(group, key=lambda name: (crit[name], name))
        right = [name for name in order if group[name][0] == 1]
        wrong = [name for name in order if group[name][0] == 0]
        k = min(num_removed, len(group))
        k_right = min(k, round((len(right) - len(wrong) + k) / 2))
        if k_right > 0:
            k_right = min(k_right, len(right))
            k_wrong = min(k - k_right, len(wrong))
        else:
            k_right, k_wrong = 0, min(k, len(wrong))
        survivors |= set(right[k_right:]) | set(wrong[k_wrong:])
    return survivors


SCORES = st.lists(st.integers(0, 16).map(lambda n: n / 16), min_size=0, max_size=6)
GROUPS = st.lists(
    st.lists(st.tuples(st.sampled_from([0.0, 1.0]), SCORES), min_size=1, max_size=9), min_size=1, max_size=4
)
METHODS = st.builds(
    dict, num_removed=st.integers(0, 10), length_penalty=st.sampled_from([0.0, 0.5, 10.0]),
    min_steps=st.integers(0, 3), max_steps=st.integers(3, 6),
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(GROUPS, METHODS)
def test_prof_keeps_what_the_reference_keeps_and_every_rollout_is_kept_or_rejected(groups, parameters):
    named = {f"g{g}": {f"{g}-{i}": rollout for i, rollout in enumerate(group)} for g, group in enumerate(groups)}
    rows = [make_rollout(n, o, len(s), group=g) for g, group in named.items() for n, (o, s) in group.items()]
    scored = [row for group in named.values() for n, (_, s) in group.items() for row in make_scores(n, s)]
    scored += make_scores("another batch", [0.5])
    rollouts, scores = rows_to_table("rollouts", rows), rows_to_table("step_scores", scored)
    num_removed = parameters["num_removed"]
    bounds = parameters["min_steps"], parameters["max_steps"]
    expected = reference_prof(named, num_removed, parameters["length_penalty"], *bounds)
    results = prof(rollouts, scores, method(**parameters), night=NIGHT)
    assert kept(results) == expected
    assert sorted(results["rollout_id"].to_pylist()) == sorted(row["rollout_id"] for row in rows)
    assert all((row["reason"] is None) == row["kept"] for row in results.to_pylist())
    by_lot = prof(rollouts, scores, method("random_removal", num_removed=num_removed), night=NIGHT)
    outcome = {row["rollout_id"]: (row["group_id"], row["outcome_reward"]) for row in rows}
    assert sorted(outcome[name] for name in kept(by_lot)) == sorted(outcome[name] for name in expected)
