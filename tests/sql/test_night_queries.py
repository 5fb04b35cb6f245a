"""The queries behind the report of a night, on worlds that can be worked out by hand."""

import pytest

from pipelines.lake import rows_to_table
from pipelines.warehouse import Warehouse

N1, N2 = "2026-01-01", "2026-01-02"


def ask(name: str, world: dict[str, list[dict]], **params: object) -> list[dict]:
    with Warehouse.over({table: rows_to_table(table, rows) for table, rows in world.items()}) as warehouse:
        return warehouse.named(f"reports/{name}", **params).to_pylist()


def sample(rollout_id: str, reward: float | None, **changes: object) -> dict:
    row = {"rollout_id": rollout_id, "problem_id": "p1", "group_id": "g1", "outcome_reward": reward, "num_tokens": 10,
           "steps": ["a", "b"], "night": N1}  # fmt: skip
    return row | changes


def tree_path(rollout_id: str, reward: float | None, **changes: object) -> dict:
    return sample(rollout_id, reward, group_id=None, tree_id="t1", **changes)


def result(rollout_id: str, reason: str | None, method: str = "prof") -> dict:
    return {"rollout_id": rollout_id, "method": method, "kept": reason is None, "reason": reason, "group_id": "g1",
            "night": N1}  # fmt: skip


def flow_world() -> dict[str, list[dict]]:
    return {
        "rollouts": [
            sample("s1", 1.0), sample("s2", 1.0), sample("s3", 0.0), sample("s4", None), tree_path("w1", 1.0),
            sample("old", 1.0, night=N2),
        ],
        "consistency_results": [
            result("s1", None), result("s2", "low_consistency"), result("s3", None), result("s4", "failed"),
            result("w1", "not_in_group"), result("s1", "low_consistency", method="other"),
        ],
        "consistent_rollouts": [{"rollout_id": "s1", "method": "prof", "night": N1}],
        "refinements": [{"refinement_id": "f1", "rollout_id": "s3", "steps": ["c", "d"], "num_tokens": 7, "night": N1}],
        "sft": [
            {"rollout_id": "s1", "origin": "consistent_rollouts", "completion": "a\nb\n", "night": N1},
            {"rollout_id": "w1", "origin": "search", "completion": "a\nb\n", "night": N1},
            {"rollout_id": "s3", "origin": "refinements", "completion": "c\nd\n", "night": N1},
        ],
        "preference_pairs": [
            {"pair_id": "a", "chosen_id": "t1:3", "night": N1}, {"pair_id": "b", "chosen_id": "s2", "night": N1},
        ],
        "preference": [{"pair_id": "a", "night": N1}, {"pair_id": "b", "night": N1}],
        "rl_groups": [{"rollout_id": "s1", "completion_token_ids": [1, 2, 3], "night": N1}],
    }  # fmt: skip


def test_the_flow_follows_every_rollout_through_grade_and_filter_into_the_sets():
    links = {(row["place"], row["source"], row["target"]): row for row in ask("night_flow", flow_world(), night=N1)}
    counts = {key: row["num_rows"] for key, row in links.items()}
    assert counts == {
        (0, "problems", "samples"): 4, (0, "problems", "search"): 1,
        (1, "samples", "right"): 2, (1, "samples", "wrong"): 1, (1, "samples", "not_graded"): 1,
        (1, "search", "right"): 1,
        (2, "right", "kept"): 1, (2, "right", "low_consistency"): 1, (2, "right", "tree_paths"): 1,
        (2, "wrong", "kept"): 1, (2, "not_graded", "failed"): 1,
        (3, "kept", "sft"): 1, (3, "tree_paths", "sft"): 1, (3, "refinements", "sft"): 1,
        (3, "tree_paths", "preference"): 1, (3, "low_consistency", "preference"): 1, (3, "kept", "rl_groups"): 1,
    }  # fmt: skip
    assert links[0, "problems", "samples"]["num_tokens"] == 40
    assert links[3, "refinements", "sft"]["num_tokens"] == 7
    assert links[3, "kept", "rl_groups"]["num_tokens"] == 3
    assert links[3, "tree_paths", "preference"]["num_tokens"] is None


def evaluated(problem: str, rewards: list[float | None], night: str = N1) -> list[dict]:
    return [
        {"rollout_id": f"{problem}{index}{night}", "problem_id": problem, "outcome_reward": reward, "night": night,
         "policy_version": "v"}
        for index, reward in enumerate(rewards)
    ]  # fmt: skip


def test_pass_at_k_is_exact_over_subsets():
    # p: 1 of 4 right: pass@1 1/4, pass@2 1 - C(3,2)/C(4,2) = 1/2, pass@4 1; q: 0 of 4; r has only two graded samples
    world = {"evaluation_rollouts": [*evaluated("p", [1.0, 0.0, 0.0, 0.0]), *evaluated("q", [0.0] * 4),
                                     *evaluated("r", [1.0, 1.0, None])]}  # fmt: skip
    found = {row["k"]: (row["pass"], row["num_problems"]) for row in ask("pass_at_k", world)}
    assert found == {1: (pytest.approx(1.25 / 3), 3), 2: (pytest.approx(0.5), 3), 4: (0.5, 2)}
    numbers = {row["metric"]: row["value"] for row in ask("night_numbers", world, night=N1)}
    assert numbers == {"pass1": pytest.approx(1.25 / 3), "pass2": pytest.approx(0.5), "pass4": 0.5}


def test_problems_change_between_unsolved_mixed_and_solved_since_they_were_last_sampled():
    world = {
        "evaluation_rollouts": [*evaluated("p", [0.0, 0.0]), *evaluated("p", [1.0, 0.0], N2),
                                *evaluated("q", [1.0, 1.0]), *evaluated("q", [1.0, 0.0], N2),
                                *evaluated("new", [1.0], N2)],
        "rollouts": [sample("a", 1.0), sample("b", 1.0, night=N2), sample("c", None, night=N2),
                     tree_path("w", 0.0, night=N2)],
    }  # fmt: skip
    rows = [tuple(row.values()) for row in ask("pass_transitions", world, night=N2)]
    assert rows == [
        ("evaluation", "solved", "mixed", 1), ("evaluation", "unsolved", "mixed", 1),
        ("training", "solved", "solved", 1),
    ]  # fmt: skip
    assert ask("pass_transitions", world, night=N1) == []


def gold(rollout_id: str, labels: list[bool]) -> list[dict]:
    return [
        {"rollout_id": rollout_id, "step": step, "is_right": is_right, "night": N1}
        for step, is_right in enumerate(labels)
    ]


def scores(rollout_id: str, values: list[float | None]) -> list[dict]:
    return [
        {"rollout_id": rollout_id, "step": step, "score": value, "source": "critic", "scorer_version": "v", "night": N1}
        for step, value in enumerate(values)
    ]


def test_reliability_counts_steps_up_to_the_first_wrong_one():
    world = {
        "rollouts": [
            *({"rollout_id": name, "group_id": "g", "night": N1} for name in "ab"),
            {"rollout_id": "path", "tree_id": "t", "night": N1},
        ],
        "gold_steps": [*gold("a", [True, False, False]), *gold("b", [True, True]), *gold("path", [True])],
        "step_scores": [*scores("a", [0.95, 0.31, 0.05]), *scores("b", [1.0, None]), *scores("path", [0.5])],
    }
    rows = ask("step_reliability", world, night=N1)
    assert rows == [
        {"bin": 3, "num_steps": 1, "mean_score": 0.31, "share_right": 0.0},
        {"bin": 9, "num_steps": 2, "mean_score": pytest.approx(0.975), "share_right": 1.0},
    ]
    values = {(row["series"], row["depth"]): row["value"] for row in ask("value_depth", world, night=N1)}
    assert values == {("critic_right", 1): pytest.approx(0.975), ("critic_first_wrong", 2): 0.31}
    errors = [tuple(row.values()) for row in ask("first_error_depth", world, night=N1)]
    assert errors[-2:] == [("gold", 0, 3, 0), ("gold", 1, 2, 1)]


def test_chosen_longer_is_a_share_of_the_pairs_of_unequal_length_and_ties_stand_beside_it():
    pairs = [("abc", "a", 0.5), ("a", "abc", 0.25), ("ab", "cd", 0.25), ("abcd", "a", 1.0)]
    world = {"preference_pairs": [
        {"pair_id": str(index), "kind": "step", "chosen": chosen, "rejected": rejected, "margin": margin, "night": N1}
        for index, (chosen, rejected, margin) in enumerate(pairs)
    ]}  # fmt: skip
    (row,) = ask("pair_lengths", world, night=N1)
    assert (row["num_pairs"], row["share_longer"], row["margin_p50"]) == (4, pytest.approx(2 / 3), 0.375)
    assert row["share_ties"] == 1 / 4
    assert (row["chosen_chars"], row["rejected_chars"]) == (2.5, 1.5)
    buckets = [(bucket["margin_from"], bucket["num_pairs"]) for bucket in ask("night_pair_margins", world, night=N1)]
    assert buckets == [(0.2, 2), (0.5, 1), (1.0, 1)]


def critique(agent: str, rollout: str, verdict: str | None, steps: list[str] | None) -> dict:
    return {"critique_id": agent + rollout, "rollout_id": rollout, "agent": agent, "verdict": verdict,
            "step_verdicts": steps, "error": None if verdict else "unreadable", "night": N1}  # fmt: skip


def test_kappa_is_agreement_beyond_chance():
    # a says right, right, wrong, wrong; b right, wrong, wrong, wrong: 3 of 4 agree, by chance .5 * .25 + .5 * .75 = .5
    said = {"a": ["right", "right", "wrong", "wrong"], "b": ["right", "wrong", "wrong", "wrong"]}
    world = {"critiques": [
        *(critique(agent, f"r{index}", verdict, ["right", verdict])
          for agent, verdicts in said.items() for index, verdict in enumerate(verdicts)),
        critique("a", "r9", None, None),
    ]}  # fmt: skip
    (row,) = ask("judge_agreement", world, night=N1)
    assert (row["num_rollouts"], row["verdict_agreement"], row["kappa"]) == (4, 0.75, pytest.approx(0.5))
    assert (row["num_steps"], row["step_agreement"]) == (8, 7 / 8)
    numbers = {row["metric"]: row["value"] for row in ask("night_numbers", world, night=N1)}
    assert numbers == {"judge_right_share": 3 / 8, "parse_error_rate": pytest.approx(1 / 9)}


def test_the_bias_of_judges_is_against_the_grades_of_what_they_criticised():
    # a says right of a right and of a wrong one, b wrong of the right one; the ungraded and the unread do not count
    world = {
        "rollouts": [sample("s1", 1.0), sample("s2", 0.0), sample("s3", None), sample("s4", 1.0)],
        "critiques": [critique("a", "s1", "right", []), critique("a", "s2", "right", []),
                      critique("b", "s1", "wrong", []), critique("a", "s3", "right", []),
                      critique("b", "s4", None, None)],
    }  # fmt: skip
    numbers = {row["metric"]: row["value"] for row in ask("night_numbers", world, night=N1)}
    assert (numbers["judge_bias"], numbers["judge_right_share"]) == (pytest.approx(2 / 3 - 2 / 3), 3 / 4)
    world["critiques"].pop()
    world["rollouts"][0]["outcome_reward"] = 0.0
    numbers = {row["metric"]: row["value"] for row in ask("night_numbers", world, night=N1)}
    assert numbers["judge_bias"] == pytest.approx(2 / 3)


def test_agents_that_always_agree_by_chance_have_no_kappa():
    world = {"critiques": [critique(agent, "r", "right", ["right"]) for agent in ("a", "b")]}
    (row,) = ask("judge_agreement", world, night=N1)
    assert (row["verdict_agreement"], row["kappa"]) == (1.0, None)


def test_the_widest_disagreement_comes_first_and_three_opinions_before_two():
    node = {"tree_id": "t1", "problem_id": "p1", "night": N1}
    world = {
        "problems": [{"problem_id": "p1", "prompt": "1+1"}],
        "rollouts": [sample("s1", 0.0), sample("s2", 1.0, steps=["c", "d"])],
        "step_scores": [*scores("s1", [0.9, 0.8]), *scores("s2", [1.0, 1.0])],
        "critiques": [critique("a", "s1", "wrong", ["right", "wrong"]),
                      critique("b", "s1", "right", ["right", "wrong"]),
                      critique("a", "s2", "wrong", ["wrong", "wrong"])],
        "search_nodes": [node | {"node_id": 0, "step_text": ""},
                         node | {"node_id": 1, "parent_id": 0, "step_text": "a"},
                         node | {"node_id": 2, "parent_id": 1, "step_text": "b"}],
        "node_values": [
            node | {"node_id": 1, "method": "monte_carlo", "value": 0.2, "num_right": 1, "num_completions": 5},
            node | {"node_id": 2, "method": "monte_carlo", "value": 0.0, "num_right": 0, "num_completions": 3},
        ],
    }  # fmt: skip
    rows = ask("disagreements", world, night=N1, num_rows=10, min_completions=4)
    shown = [(row["rollout_id"], row["step"], row["num_opinions"]) for row in rows]
    # s1: step 0 has all three (critic .9, judges 1, Monte Carlo .2); step 1 lacks completions. s2: critic 1, judge 0
    assert shown == [("s1", 0, 3), ("s2", 0, 2)]
    assert rows[0]["spread"] == pytest.approx(0.8)
    assert (rows[0]["monte_carlo"], rows[0]["num_completions"], rows[0]["tree_id"]) == (0.2, 5, "t1")
    assert (rows[0]["prompt"], rows[0]["step_text"], rows[1]["monte_carlo"]) == ("1+1", "a", None)
    assert len(ask("disagreements", world, night=N1, num_rows=1, min_completions=4)) == 1


def test_the_ledger_tells_tokens_of_rows_from_those_beside_them():
    usage = {"problem_id": "p1", "num_requests": 3, "prompt_tokens": 20, "critic_tokens": 0, "night": N1}
    world = {
        "token_usage": [usage | {"stage": "samples", "completion_tokens": 25},
                        usage | {"stage": "search", "completion_tokens": 100, "critic_tokens": 5}],
        "rollouts": [sample("s1", 1.0), sample("s2", None, error="lost", num_tokens=5), tree_path("w1", 1.0)],
        "critiques": [critique("a", "s1", "right", []) | {"num_tokens": 8, "num_prompt_tokens": 4}],
    }  # fmt: skip
    rows = {row["purpose"]: row for row in ask("token_ledger", world, night=N1)}
    assert set(rows) == {"samples", "search", "critiques"}
    columns = ("completion_tokens", "row_tokens", "error_tokens")
    assert [tuple(rows[name][column] for column in columns) for name in rows] == [
        (25, 10, 5), (100, 10, 0), (8, 8, 0),
    ]  # fmt: skip
    numbers = {row["metric"]: row["value"] for row in ask("night_numbers", world, night=N1)}
    assert "tokens_per_kept_row" not in numbers  # nothing was kept: not known, and not 0


def test_the_ledger_closes_against_what_the_engine_did_stage_by_stage():
    """Samples were replayed in part; the report's search tells no requests; pairs were judged and leave no tokens."""
    usage = {"problem_id": "p1", "critic_tokens": 0, "night": N1}
    asked = {"num_requests": 4, "prompt_tokens": 20, "completion_tokens": 60}
    report = {"num_problems": 2, "night": N1}
    world = {
        "token_usage": [usage | {"stage": "samples"} | asked],
        "rollouts": [sample("s1", 1.0, num_prompt_tokens=5), sample("s2", 0.0, num_prompt_tokens=5)],
        "step_scores": [{"rollout_id": "s1", "step": step, "source": "critic", "night": N1} for step in (0, 1)],
        "evaluation_rollouts": [sample("e1", 1.0, num_prompt_tokens=5), sample("e2", 0.0, num_prompt_tokens=5)],
        "policy_report": [
            report | {"strategy": "greedy", "prompt_tokens": 5.0, "completion_tokens": 7.5},
            report | {"strategy": "best_of_2_critic", "prompt_tokens": 5.0, "completion_tokens": 1.0},
            report | {"strategy": "puct_critic", "prompt_tokens": 30.0, "completion_tokens": 50.0}
            | {"critic_tokens": 9.0},
        ],
        "stage_usage": [
            {"stage": "rollouts", "num_requests": 4, "prompt_tokens": 15, "completion_tokens": 40, "night": N1},
            {"stage": "reports", "num_requests": 20, "prompt_tokens": 75, "completion_tokens": 135, "night": N1},
            {"stage": "pair_judgments", "num_requests": 6, "prompt_tokens": 90, "completion_tokens": 0, "night": N1},
            {"stage": "problems", "seconds": 1.0, "night": N1},
        ],
    }  # fmt: skip
    rows = ask("token_ledger", world, night=N1)
    names = ("stage", "purpose", "num_requests", "prompt_tokens", "completion_tokens", "critic_tokens")
    assert [tuple(row[name] for name in names) for row in rows] == [
        ("rollouts", "samples", 4, 20, 60, 0), ("rollouts", "less what was replayed", None, -5, -20, None),
        ("reports", "evaluation, greedy", 2, 10, 15, 0), ("reports", "evaluation, samples", 1, 5, 20, 30),
        ("reports", "evaluation, search", 17, 60, 100, 18),
        ("step_scores", "step scores", None, None, None, 15),
        ("pair_judgments", "pair_judgments", 6, 90, 0, None),
    ]  # fmt: skip
    for name in ("prompt_tokens", "completion_tokens"):
        assert sum(row[name] or 0 for row in rows) == sum(row.get(name, 0) for row in world["stage_usage"])


def test_what_no_table_of_a_stage_tells_is_done_elsewhere_in_it():
    stage = {"stage": "critiques", "num_requests": 5, "prompt_tokens": 14, "completion_tokens": 8, "night": N1}
    told = critique("a", "s1", "right", []) | {"num_tokens": 8, "num_prompt_tokens": 4}
    rows = ask("token_ledger", {"critiques": [told], "stage_usage": [stage]}, night=N1)
    assert [(row["purpose"], row["num_requests"], row["prompt_tokens"], row["completion_tokens"]) for row in rows] == [
        ("critiques", 1, 4, 8), ("elsewhere in the stage", 4, 10, 0),
    ]  # fmt: skip


def test_tokens_per_kept_row_counts_search_samples_critiques_and_refinements():
    usage = {"problem_id": "p1", "stage": "search", "completion_tokens": 60, "night": N1}
    world = {
        "token_usage": [usage], "critiques": [critique("a", "s1", "right", []) | {"num_tokens": 30}],
        "refinements": [{"refinement_id": "f", "num_tokens": 10, "night": N1}],
        "sft": [{"rollout_id": "s1", "night": N1}], "stepwise": [{"rollout_id": "w1", "night": N1}] * 3,
        "prompts": [{"problem_id": "p1", "night": N1}],
    }  # fmt: skip
    numbers = {row["metric"]: row["value"] for row in ask("night_numbers", world, night=N1)}
    assert (numbers["tokens_per_kept_row"], numbers["num_kept_rows"]) == (25.0, 4.0)  # prompts are not generated


def test_shares_of_engine_cache_and_store_come_from_the_stages():
    stage = {"night": N1}
    world = {"stage_usage": [
        stage | {"stage": "rollouts", "seconds": 30.0, "num_requests": 8, "num_from_store": 2, "prompt_tokens": 100,
                 "cached_tokens": 40, "engine_seconds": 10.0},
        stage | {"stage": "critic", "seconds": 10.0},
        stage | {"stage": "reports", "seconds": None, "num_requests": 2, "num_from_store": 2, "prompt_tokens": 0,
                 "engine_seconds": 0.0},
    ]}  # fmt: skip
    numbers = {row["metric"]: row["value"] for row in ask("night_numbers", world, night=N1)}
    assert numbers == {"engine_busy_share": 0.25, "prefix_hit_share": 0.4, "store_hit_share": 0.4}
    world["stage_usage"][2]["engine_seconds"] = None  # recorded before this was measured
    assert "engine_busy_share" not in {row["metric"] for row in ask("night_numbers", world, night=N1)}


def test_yields_leave_out_what_filters_do_not_judge():
    world = {"consistency_results": [
        result("s1", None), result("s2", "low_consistency"), result("s3", None), result("s4", "failed"),
        result("w1", "not_in_group"),
    ]}  # fmt: skip
    numbers = {row["metric"]: row["value"] for row in ask("night_numbers", world, night=N1)}
    assert numbers == {"yield_prof": pytest.approx(2 / 3)}


def test_distinct_solutions_are_counted_within_problems():
    # p1: two of three differ; p2: one of one
    world = {"rollouts": [sample("a", 1.0), sample("b", 1.0), sample("c", 0.0, steps=["z"]),
                          sample("d", 1.0, problem_id="p2"), tree_path("w", 1.0)]}  # fmt: skip
    numbers = {row["metric"]: row["value"] for row in ask("night_numbers", world, night=N1)}
    assert numbers["distinct_solution_share"] == pytest.approx((2 / 3 + 1) / 2)
    assert (numbers["length_p50"], numbers["ungraded_share"], numbers["right_share"]) == (10.0, 0.0, 0.75)
    shares = {row["num_solutions"]: row["share_of_problems"] for row in ask("exploration", world, night=N1)}
    assert shares == {1: 1.0, 2: 0.0, 4: 0.0, 8: 0.0}


def test_sets_are_compared_by_what_a_trainer_reads():
    row = {"prompt": "p", "night": N1}
    world = {"sft": [row | {"completion": "a"}, row | {"completion": "b"}, row | {"completion": "b", "night": N2},
                     row | {"completion": "c", "night": N2}]}  # fmt: skip
    (found,) = ask("set_changes", world, night=N2, previous=N1)
    assert found == {"set_name": "sft", "num_rows": 2, "num_before": 2, "num_added": 1, "num_removed": 1}
    (first,) = ask("set_changes", world, night=N1, previous=None)
    assert first == {"set_name": "sft", "num_rows": 2, "num_before": None, "num_added": None, "num_removed": None}


def test_only_right_answers_are_audited():
    world = {
        "rollouts": [sample("a", 1.0), sample("b", 1.0), sample("c", 0.0), sample("d", 1.0), tree_path("w", 1.0)],
        "step_scores": [*scores("a", [0.9, 0.7]), *scores("b", [0.2, 0.6])],
        "gold_steps": [*gold("a", [True, True]), *gold("b", [False, True])],
    }
    rows = [tuple(row.values()) for row in ask("audit_labels", world, night=N1, by_people=True, by_generator=True)]
    assert rows == [("a", 0.7, 1.0, False), ("b", 0.2, 0.0, False), ("d", None, None, False)]


def review(rollout_id: str, first_error_step: int, reviewer: str = "ann", **more: object) -> dict:
    row = {"rollout_id": rollout_id, "first_error_step": first_error_step, "reviewer": reviewer, "night": N1}
    return row | {"review_id": f"{rollout_id}-{reviewer}", "reviewed_on": "2026-01-05", "import_number": 1} | more


def test_people_correct_the_generator_in_the_audit_by_their_last_word_and_their_majority():
    world = {
        "rollouts": [sample(name, 1.0) for name in "abcde"],
        "gold_steps": [*gold("a", [True]), *gold("b", [True]), *gold("c", [True])],
        "human_labels": [
            review("a", 0), review("d", -1, reviewed_on="2026-01-04"),
            review("b", 0), review("b", -1, "bob"),  # one against one: nothing is known, so the generator's word stays
            review("d", 0), review("d", -1, "bob"), review("d", 0, "eve"),
        ],
    }  # fmt: skip

    def labels(**of: bool) -> list:
        return [(row["gold_label"], row["is_reviewed"]) for row in ask("audit_labels", world, night=N1, **of)]

    both = labels(by_people=True, by_generator=True)
    assert both == [(0.0, True), (1.0, False), (1.0, False), (0.0, True), (None, False)]
    people = labels(by_people=True, by_generator=False)
    assert people == [(0.0, True), (None, False), (None, False), (0.0, True), (None, False)]
    assert [row[0] for row in labels(by_people=False, by_generator=True)] == [1.0, 1.0, 1.0, None, None]


def test_kept_and_rejected_examples_take_every_reason_in_turn():
    names = [f"r{index}" for index in range(8)]
    reasons = [None, None, None, "low", "low", "low", "random", "not_in_group"]
    world = {
        "problems": [{"problem_id": "p1", "prompt": "1+1"}],
        "rollouts": [sample(name, 1.0) for name in names],
        "consistency_results": [result(name, reason) for name, reason in zip(names, reasons, strict=True)],
        "consistent_rollouts": [{"rollout_id": "r0", "method": "prof", "night": N1}],
    }
    rows = ask("kept_and_rejected", world, night=N1, num_examples=2)
    assert [row["reason"] for row in rows] == ["kept", "kept", "low", "random"]
    assert rows[0]["solution"] == "a / b"


def test_the_log_of_critics_joins_the_trial_where_there_was_one():
    report = {"slice": "all", "night": N1}
    world = {
        "critic_report": [report | {"metric": "step_auroc", "value": 0.9},
                          report | {"metric": "step_calibration_error", "value": 0.1},
                          report | {"metric": "step_auroc", "slice": "depth=1", "value": 0.1}],
    }  # fmt: skip
    (row,) = ask("critic_drift", world)
    assert (row["step_auroc"], row["calibration_error"], row["rollout_auroc"], row["drift"]) == (0.9, 0.1, None, None)
    assert (row["auroc_frozen"], row["auroc_unguided"]) == (None, None)


def test_frozen_problems_and_unguided_trees_are_ranked_by_one_measure_and_pooled_steps_by_another():
    metrics = '{"evaluation": {"tonight": 0.75, "current": 0.5}, "unguided": {"tonight": 0.875, "current": null}}'
    world = {
        "critic_report": [{"slice": "all", "metric": "step_auroc", "value": 0.9, "night": N1}],
        "critic_trials": [{"critic_id": "c", "metrics": metrics, "drift": 0.25, "night": N1}],
    }
    numbers = {row["metric"]: row["value"] for row in ask("night_numbers", world, night=N1)}
    assert numbers == {
        "critic_auroc_frozen": 0.75, "critic_auroc_unguided": 0.875, "critic_step_auroc_frozen": 0.9,
    }  # fmt: skip
    recorded = [("critic_auroc_frozen", 0.9), ("pass1", 0.5)]  # as before the name meant this
    world["night_metrics"] = [{"metric": name, "value": value, "night": N1} for name, value in recorded]
    over_nights = {row["metric"]: row["value"] for row in ask("metrics_over_nights", world)}
    assert over_nights == {"critic_auroc_frozen": 0.75, "pass1": 0.5}
    (row,) = ask("critic_drift", world)
    assert (row["auroc_frozen"], row["auroc_unguided"], row["step_auroc"], row["drift"]) == (0.75, 0.875, 0.9, 0.25)


# history ----------------------------------------------------------------------------------------


def history_world() -> dict[str, list[dict]]:
    """p: solved, solved, then mixed; q: unsolved, then solved. Policies v1, v1, v2."""
    nights = ("2026-01-01", "2026-01-02", "2026-01-03")
    rewards = {"p": [(1.0, 1.0), (1.0, 1.0), (1.0, 0.0)], "q": [(0.0, 0.0), None, (1.0, 1.0)]}
    rollouts = [
        sample(f"{problem}{index}-{night}", reward, problem_id=problem, night=night, steps=["a", str(index)],
               policy_version="v2" if night == nights[2] else "v1")
        for problem, by_night in rewards.items()
        for night, pair in zip(nights, by_night, strict=True) if pair
        for index, reward in enumerate(pair)
    ]  # fmt: skip
    keep = ("rollout_id", "problem_id", "night")
    kept = [{name: row[name] for name in keep} | {"score": 0.5} for row in rollouts]
    groups = [{name: row[name] for name in (*keep, "policy_version")} for row in rollouts]
    return {"rollouts": rollouts, "consistent_rollouts": kept, "rl_groups": groups}


def test_the_history_of_a_problem_counts_nights_on_which_it_was_solved_in_a_row():
    rows = ask("difficulty_history", history_world())
    shown = [(row["problem_id"], row["state"], row["state_before"], row["nights_solved"]) for row in rows]
    assert shown == [
        ("p", "solved", None, 1), ("p", "solved", "solved", 2), ("p", "mixed", "solved", 0),
        ("q", "unsolved", None, 0), ("q", "solved", "unsolved", 1),
    ]  # fmt: skip


def test_rows_of_an_older_policy_are_stale_by_the_policies_that_came_since():
    rows = ask("staleness", history_world() | {"step_scores": scores("x", [0.5])})
    assert [(row["night"], row["num_rows"], row["policies_since"], row["is_on_policy"]) for row in rows] == [
        ("2026-01-01", 4, 1, False), ("2026-01-02", 2, 1, False), ("2026-01-03", 4, 0, True),
    ]  # fmt: skip
    assert [row["scorer_version"] for row in rows] == ["v", None, None]


def test_what_was_solved_once_and_is_not_surely_solved_now_is_replayed_without_repeats():
    # q is solved now; p's solutions of both old nights have the same steps, so the later night's stand for them
    rows = ask("replay", history_world())
    assert [(row["rollout_id"], row["pass_rate_now"]) for row in rows] == [
        ("p0-2026-01-02", 0.5), ("p1-2026-01-02", 0.5),
    ]  # fmt: skip
    assert ask("replay", {}) == []
