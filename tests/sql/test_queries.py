"""Every query file against the declared schemas, every check against a clean world and one planted violation each."""

import re

import pytest

import sql as queries
from pipelines.lake import rows_to_table
from pipelines.tables import RELATIONS, SCHEMAS
from pipelines.warehouse import Warehouse

ALL = {**SCHEMAS, **RELATIONS}

World = dict[str, list[dict]]  # rows per table
CHECKS = [name for name in queries.names() if name.startswith("checks/")]
EXAMPLES = {  # values for named parameters; every other number is 1 and every other text is "x"
    "night": "n1", "separator": "\n", "aggregate": "mean", "origins": ["search"], "rank_right": True,
    "rank_wrong": True, "td_lambda": 0.5, "transitions": ["wait"], "balance": "equal",
    "keep_share": 0.5, "normalise": True, "signed": True, "threshold": 0.0, "target_size": 2, "sample_counts": [1],
    "thresholds": [0.0], "by_all": False, "negative_weight": 1.0, "gamma": 20.0, "rho": 1.5, "alpha": 0.5,
    "weight": 0.8, "eta": 1.0, "window": 300, "temperature": 0.1, "power": 0.5,
    "by_perplexity": False,
    "only_right": True,
    "by_uncertainty": True,
    "both_ways": True, "against_detours": True,
    "beta": 0.5, "only_dissatisfied": True, "only_rejected": True, "replay_share": 0.3,
    "stage": 2, "mode": "refine", "bonus": 0.2, "balance_weight": 1.0, "only_wrong": True, "leaks": ["x"],
    "balanced": True, "relative": True, "intrinsic_weight": 1.0, "outcome_weight": 1.0, "reward_right": True,
    "kinds": ["critique"], "by_majority": True, "share": 0.2, "min_good": 0.75, "max_bad": 0.25,
    "by_people": True, "by_generator": True, "respects_outcomes": True, "tolerance": 1.0,
    "low_share": 0.2, "high_share": 0.6, "strong_weight": 0.5,
}  # fmt: skip


def example(parameter: str) -> object:
    is_number = parameter.startswith(("num_", "min_", "max_")) or parameter.endswith(("_threshold", "_penalty"))
    return EXAMPLES.get(parameter, 1 if is_number else "x")


# headers and binding ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", queries.names())
def test_a_query_has_a_header_that_tells_the_truth(name):
    query = queries.read(name)
    header = queries.header_of(query.text)
    assert query.title, "the header starts with what the query yields"
    assert query.out
    assert set(query.tables) <= set(ALL), "in: names tables"
    assert set(re.findall(r"\$(\w+)", header.get("params", ""))) == set(query.params)
    body = "\n".join(line for line in query.text.splitlines() if not line.startswith("--"))
    used = {table for table in ALL if re.search(rf"\b(from|join)\s+{table}\b", body)}
    own = set(re.findall(r"\b(\w+) as (?:materialized )?\(", body))
    assert used - own == set(query.tables) - own


@pytest.mark.parametrize("name", queries.names())
def test_a_query_binds_against_empty_tables_of_the_declared_schemas(name):
    query = queries.read(name)
    with Warehouse.over({name: schema.empty_table() for name, schema in RELATIONS.items()}) as warehouse:
        plan = warehouse.query("explain " + query.text.lstrip(), **{key: example(key) for key in query.params})
        assert plan.num_rows > 0


def yielded_table(query: queries.Query) -> str | None:
    """The table a query yields: the first word of its header's first line or of its `out:`."""
    words = [re.match(r"\w*", text)[0] for text in (query.title, query.out)]
    return next((word for word in words if word in ALL), None)


@pytest.mark.parametrize("name", [name for name in queries.names() if yielded_table(queries.read(name))])
def test_a_query_that_names_the_table_it_yields_has_that_tables_columns_and_types(name):
    query = queries.read(name)
    schema = ALL[yielded_table(query)]
    with Warehouse.over({name: schema.empty_table() for name, schema in RELATIONS.items()}) as warehouse:
        rows = warehouse.named(name, **{key: example(key) for key in query.params})
    assert set(rows.column_names) <= set(schema.names)
    assert rows.schema.types == [schema.field(column).type for column in rows.column_names]


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_takes_no_parameters_and_names_table_row_night_and_what(name):
    with Warehouse.over({}) as warehouse:
        rows = warehouse.named(name)
    assert (rows.num_rows, rows.column_names) == (0, ["table_name", "row_id", "night", "what"])


def test_the_header_is_read_field_by_field():
    text = "-- First line,\n-- second.\n--\n-- in:  rollouts (one, batch),\n--      sft\n-- out: rows\nselect 1"
    header = queries.header_of(text)
    assert header == {"title": "First line, second.", "in": "rollouts (one, batch), sft", "out": "rows"}
    with pytest.raises(KeyError):
        queries.read("checks/../../pyproject")


# a clean world: one tree and one group of four samples for p1, a held-out problem p2 -------------


def clean_world() -> World:
    sample = {"problem_id": "p1", "group_id": "g1", "recipe": "independent_samples", "num_tokens": 10,
              "num_prompt_tokens": 5, "finish_reason": "stop", "steps": ["a", "b"], "night": "n1"}  # fmt: skip
    result = {"problem_id": "p1", "group_id": "g1", "method": "prof", "night": "n1", "score": 0.5}
    keep = {key: result[key] for key in ("problem_id", "group_id", "method", "night")}
    node = {"tree_id": "t1", "problem_id": "p1", "night": "n1", "prior": 0.5, "value": 0.5, "visit_count": 2}
    judged = {"rollout_id": "s1", "problem_id": "p1", "night": "n1", "verdict": "right"}
    score = {"rollout_id": "s1", "source": "critic", "scorer_version": "v", "score": 1.0, "night": "n1"}
    extract = {"tree_id": "t1", "problem_id": "p1", "night": "n1"}
    return {
        "problems": [
            {"problem_id": "p1", "split": "train", "family": "arithmetic", "canonical": "1+1", "difficulty": 1,
             "is_evaluation": False},
            {"problem_id": "p2", "split": "held_out", "family": "arithmetic", "canonical": "2+2",
             "is_evaluation": True},
        ],
        "search_nodes": [
            node | {"node_id": 0, "depth": 0, "prior": None},
            node | {"node_id": 1, "parent_id": 0, "depth": 1},
            node | {"node_id": 2, "parent_id": 1, "depth": 2, "outcome_reward": 1.0, "token_ids": [1, 2, 3]},
            node | {"node_id": 3, "parent_id": 0, "depth": 1},
        ],
        "search_edges": [{"tree_id": "t1", "from_node": 0, "to_node": 1, "action": "a", "night": "n1"}],
        "rollouts": [
            sample | {"rollout_id": "s1", "outcome_reward": 1.0},
            sample | {"rollout_id": "s2", "outcome_reward": 1.0},
            sample | {"rollout_id": "s3", "outcome_reward": 1.0},
            sample | {"rollout_id": "s4", "outcome_reward": 0.0},
            sample | {"rollout_id": "s5", "num_tokens": None, "steps": None, "finish_reason": "error", "error": "lost"},
            {"rollout_id": "w1", "problem_id": "p1", "recipe": "puct", "tree_id": "t1", "leaf_node_id": 2,
             "num_tokens": 3, "finish_reason": "stop", "steps": ["a", "b"], "outcome_reward": 1.0, "night": "n1"},
        ],
        "gold_steps": [
            {"rollout_id": "s1", "step": 0, "is_right": True, "night": "n1"},
            {"rollout_id": "s1", "step": 1, "is_right": True, "night": "n1"},
            {"rollout_id": "s4", "step": 0, "is_right": True, "night": "n1"},
            {"rollout_id": "s4", "step": 1, "is_right": False, "night": "n1"},
        ],
        "step_scores": [score | {"step": 1}, score | {"step": 0}],
        "critiques": [judged | {"critique_id": "c1", "agent": "a", "first_error_step": -1}],
        "verdicts": [judged | {"confidence": 1.0}],
        "refinements": [{"refinement_id": "f1", "rollout_id": "s1", "problem_id": "p1", "critique_id": "c1",
                         "night": "n1"}],
        "preference_pairs": [{"pair_id": "a1", "problem_id": "p1", "kind": "step", "chosen": "x", "rejected": "y",
                              "chosen_id": "t1:1", "rejected_id": "t1:2", "margin": 0.25, "weight": 1.0,
                              "night": "n1"}],
        "consistency_results": [
            result | {"rollout_id": "s1", "kept": True},
            result | {"rollout_id": "s2", "kept": False, "reason": "low_consistency"},
            result | {"rollout_id": "s3", "kept": False, "reason": "low_consistency"},
            result | {"rollout_id": "s4", "kept": True},
            result | {"rollout_id": "s5", "kept": False, "reason": "failed", "score": None},
        ],
        "consistent_rollouts": [
            keep | {"rollout_id": "s1", "outcome_reward": 1.0, "group_advantage": 0.5},
            keep | {"rollout_id": "s4", "outcome_reward": 0.0, "group_advantage": -0.5},
        ],
        "sft": [{"problem_id": "p1", "rollout_id": "s1", "night": "n1"}],
        "preference": [{"problem_id": "p1", "pair_id": "a1", "night": "n1"}],
        "stepwise": [{"problem_id": "p1", "rollout_id": "w1", "night": "n1"}],
        "prompts": [{"problem_id": "p1", "night": "n1"}],
        "rl_groups": [
            {"group_id": "g1", "rollout_id": "s1", "problem_id": "p1", "advantage": 0.5, "night": "n1"},
            {"group_id": "g1", "rollout_id": "s4", "problem_id": "p1", "advantage": -0.5, "night": "n1"},
        ],
        "node_values": [
            extract | {"node_id": 1, "method": "monte_carlo", "value": 0.5, "low": 0.1, "high": 0.9, "num_right": 1,
                       "num_completions": 2},
            extract | {"node_id": 1, "method": "beta_quantiles", "value": 0.5, "quantiles": [0.3, 0.7]},
            extract | {"node_id": 2, "method": "rest_mcts", "value": 1.0, "step_reward": 0.5, "num_steps_left": 0},
        ],
        "first_errors": [extract | {"rollout_id": "w1", "step": 1, "node_id": 2, "last_good_node_id": 1,
                                    "num_right_before": 1, "confidence": 0.5}],
        "splices": [extract | {"splice_id": "x1", "rollout_id": "w1", "branch_node_id": 0, "wrong_node_ids": [1, 2],
                               "right_node_ids": [3], "wrong_steps": ["a", "b"], "right_steps": ["c"],
                               "transition": "wait", "value_gap": 0.5}],
        "reflections": [extract | {"reflection_id": "y1", "rollout_id": "w1", "splice_id": "x1", "attempt": ["a", "b"],
                                   "first_error_step": 0, "correction": ["c"], "branch_node_id": 0,
                                   "wrong_node_ids": [1], "right_node_ids": [3]}],
        "new_problems": [{"candidate_id": "n1", "source_problem_id": "p1", "prompt": "3+3", "canonical": "3+3",
                          "reference_answer": "6", "kept": True, "night": "n1"}],
        "critic_promotions": [{"number": number, "action": "promoted", "night": "n1"} for number in (0, 1)],
        "critic_trials": [{"critic_id": "c", "is_promotable": True, "reason": "first_critic", "night": "n1"}],
        "evaluation_rollouts": [{"rollout_id": "e1", "problem_id": "p2", "night": night} for night in ("n1", "n2")],
        "token_scores": [scored_tokens("s1", "m1", -1.0), scored_tokens("s4", "m1", -2.0, step_ends=[4, 8])],
    }  # fmt: skip


def scored_tokens(rollout_id: str, model: str, logprob: float, **changes: object) -> dict:
    """Ten tokens of equal log-probability; entropies 0.5 on the first four and 1 on the others."""
    row = {"rollout_id": rollout_id, "model_id": model, "model_digest": model, "token_logprobs": [logprob] * 10,
           "token_entropies": [0.5] * 4 + [1.0] * 6, "sum_logprob": 10 * logprob, "num_tokens": 10,
           "self_certainty": 0.5, "step_ends": [4, 10], "night": "n1"}  # fmt: skip
    return row | changes


def ask(name: str, world: World) -> list[dict]:
    with Warehouse.over({table: rows_to_table(table, rows) for table, rows in world.items()}) as warehouse:
        return warehouse.named(name).to_pylist()


@pytest.mark.parametrize("name", CHECKS)
def test_a_clean_world_offends_no_check(name):
    assert ask(name, clean_world()) == []


HELD_OUT = "no_held_out_problem_in_training_sets"
EXTRACTS = "tree_extracts_name_nodes"
COMPLETE = "consistency_results_are_complete"
SCORES = "token_scores_fit_rollouts"
# what is planted: (check, table, row or None for a new one, changes, what must be reported) --------
VIOLATIONS = [
    ("unique_keys", "problems", None, {"problem_id": "p1", "split": "train"}, "problems p1: the key occurs 2 times"),
    ("unique_keys", "search_nodes", None, {"tree_id": "t1", "node_id": 2}, "search_nodes t1:2: the key occurs 2 times"),
    ("unique_keys", "consistency_results", 1, {"rollout_id": "s1"},
     "consistency_results s1 prof: the key occurs 2 times"),
    ("unique_keys", "critic_promotions", 1, {"number": 0}, "critic_promotions n1:0: the key occurs 2 times"),
    ("unique_keys", "new_problems", None, {"candidate_id": "n1", "source_problem_id": "p1", "reason": "repeated",
                                           "kept": False}, "new_problems n1: the key occurs 2 times"),
    ("new_problems_are_sound", "new_problems", 0, {"source_problem_id": "p9"},
     "new_problems n1: source p9 does not exist"),
    ("new_problems_are_sound", "new_problems", 0, {"source_problem_id": "p2"},
     "new_problems n1: source p2 is held out"),
    ("new_problems_are_sound", "new_problems", 0, {"reason": "repeated"},
     "new_problems n1: kept true beside reason repeated"),
    ("new_problems_are_sound", "new_problems", 0, {"prompt": None}, "new_problems n1: kept without a statement"),
    ("new_problems_are_sound", "new_problems", 0, {"reference_answer": None},
     "new_problems n1: kept without an answer"),
    ("new_problems_are_sound", "new_problems", 0, {"canonical": "2+2"}, "new_problems n1: kept, but held out: 2+2"),
    ("search_nodes_form_trees", "search_nodes", 2, {"parent_id": 7}, "t1:2: parent 7 is not older than the node"),
    ("search_nodes_form_trees", "search_nodes", 1, {"node_id": 9}, "t1:2: parent 1 does not exist"),
    ("search_nodes_form_trees", "search_nodes", 2, {"depth": 5}, "t1:2: depth 5 below a parent at depth 1"),
    ("search_nodes_form_trees", "search_nodes", 2, {"parent_id": None},
     "t1:2: the node has no parent and is not node 0"),
    ("search_nodes_form_trees", "search_nodes", 0, {"parent_id": 0}, "t1:0: the root has parent 0"),
    ("search_nodes_form_trees", "search_nodes", 0, {"tree_id": "t2", "node_id": 3}, "t2: the tree has no node 0"),
    ("search_edges_join_nodes", "search_edges", 0, {"to_node": 8}, "t1:0>8: to_node is not a node of this tree"),
    ("problems_exist", "search_nodes", 2, {"problem_id": "p9"}, "search_nodes t1: problem p9 does not exist"),
    ("problems_exist", "rollouts", 0, {"problem_id": None}, "rollouts s1: problem null does not exist"),
    ("problems_exist", "preference_pairs", 0, {"problem_id": "p9"}, "preference_pairs a1: problem p9 does not exist"),
    ("rollouts_end_in_trees", "rollouts", 5, {"leaf_node_id": 8}, "w1: leaf 8 does not exist"),
    ("rollouts_end_in_trees", "rollouts", 5, {"problem_id": "p2"}, "w1: the leaf belongs to problem p1"),
    ("rollouts_end_in_trees", "rollouts", 0, {"tree_id": "t1"}, "s1: a sample that names a tree"),
    ("rollouts_end_in_trees", "rollouts", 0, {"group_id": None}, "s1: a sample without a group"),
    ("step_rows_have_steps", "step_scores", 0, {"step": 2}, "step_scores s1:2: the rollout has 2 steps"),
    ("step_rows_have_steps", "gold_steps", 0, {"rollout_id": "s9"}, "gold_steps s9:0: the rollout does not exist"),
    ("step_rows_have_steps", "step_scores", 1, {"step": 1}, "step_scores s1 critic v: 1 of 2 steps have a row"),
    ("step_rows_have_steps", "gold_steps", 3, {"step": 0}, "gold_steps s4: 1 of 2 steps have a row"),
    ("groups_are_complete", "rollouts", 0, {"group_id": "g2"}, "rollouts g2: has 1 rows, others of the night have 4"),
    ("pairs_exist", "preference_pairs", 0, {"rejected_id": "t1:7"},
     "preference_pairs a1: rejected t1:7 does not exist"),
    ("pairs_exist", "preference_pairs", 0, {"kind": "ppm_step", "rejected_id": "t1:7"},
     "preference_pairs a1: rejected t1:7 does not exist"),
    ("pairs_exist", "preference_pairs", 0, {"kind": "rollout", "rejected_id": "s2"},
     "preference_pairs a1: chosen t1:1 does not exist"),
    ("pairs_exist", "preference", 0, {"pair_id": "a9"}, "preference a9: pair a9 does not exist"),
    ("rollouts_exist", "critiques", 0, {"rollout_id": "s9"}, "critiques c1: rollout s9 does not exist"),
    ("rollouts_exist", "verdicts", 0, {"rollout_id": "s9"}, "verdicts s9: rollout s9 does not exist"),
    ("rollouts_exist", "critique_units", None, {"unit_id": "u1", "critique_id": "c9", "rollout_id": "s1", "step": 0},
     "critique_units u1: critique c9 does not exist"),
    ("rollouts_exist", "critique_records", None, {"record_id": "d1", "rollout_id": "s9"},
     "critique_records d1: rollout s9 does not exist"),
    ("rollouts_exist", "refinements", 0, {"critique_id": "c9"}, "refinements f1: critique c9 does not exist"),
    ("rollouts_exist", "consistency_results", 0, {"rollout_id": "s9"},
     "consistency_results s9 prof: rollout s9 does not exist"),
    ("finished_rollouts_are_graded", "rollouts", 0, {"outcome_reward": None}, "s1: finished but not graded"),
    ("finished_rollouts_are_graded", "rollouts", 0, {"outcome_reward": 0.5}, "s1: reward 0.5 is neither 0 nor 1"),
    ("finished_rollouts_are_graded", "rollouts", 4, {"outcome_reward": 1.0}, "s5: failed, but has reward 1.0"),
    ("values_in_range", "problems", 0, {"split": "test"}, "problems p1: split test"),
    ("values_in_range", "search_nodes", 1, {"node_kind": "thought"}, "search_nodes t1:1: node_kind thought"),
    ("values_in_range", "rollouts", 0, {"num_given_tokens": 11}, "rollouts s1: 11 given of 10 tokens"),
    ("values_in_range", "rollouts", 0, {"num_given_tokens": 2, "sum_logprob": -1.0},
     "rollouts s1: log-probabilities beside 2 given tokens"),
    ("values_in_range", "step_scores", 0, {"score": 1.5}, "step_scores s1:1: score 1.5"),
    ("values_in_range", "step_scores", 0, {"score": float("nan")}, "step_scores s1:1: score nan"),
    ("values_in_range", "step_scores", 0, {"disagreement": 0.5}, "step_scores s1:1: disagreement 0.5"),
    ("values_in_range", "step_scores", 0, {"member_scores": [0.5, 1.5]},
     "step_scores s1:1: member_scores outside 0 to 1"),
    ("values_in_range", "critiques", 0, {"verdict": None}, "critiques c1: verdict null"),
    ("values_in_range", "critiques", 0, {"error": "no verdict"}, "critiques c1: verdict right beside an error"),
    ("values_in_range", "preference_pairs", 0, {"rejected": "x"},
     "preference_pairs a1: chosen and rejected are the same"),
    ("values_in_range", "preference_pairs", 0, {"margin": -0.5}, "preference_pairs a1: margin -0.5"),
    ("values_in_range", "preference_pairs", 0, {"soft_label": 0.4}, "preference_pairs a1: soft_label 0.4"),
    ("values_in_range", "preference_pairs", 0, {"weight": None}, "preference_pairs a1: weight null"),
    ("values_in_range", "consistency_results", 1, {"reason": None},
     "consistency_results s2 prof: removed without a reason"),
    (HELD_OUT, "sft", 0, {"problem_id": "p2"}, "sft p2: 1 training rows of a held-out problem"),
    (HELD_OUT, "prompts", 0, {"problem_id": "p2"}, "prompts p2: 1 training rows of a held-out problem"),
    (HELD_OUT, "problems", 0, {"canonical": "2+2"}, "prompts p1: 1 training rows of a held-out problem"),
    (COMPLETE, "consistency_results", 4, {"method": "prof2"}, "consistency_results s5 prof: the rollout has no result"),
    (COMPLETE, "consistent_rollouts", 1, {"rollout_id": "s2"},
     "consistent_rollouts s4 prof: kept by the filter, but missing here"),
    (COMPLETE, "consistent_rollouts", 1, {"rollout_id": "s2"}, "consistent_rollouts s2 prof: not kept by the filter"),
    ("advantages_sum_to_zero", "consistent_rollouts", 0, {"group_advantage": 0.25},
     "consistent_rollouts g1 prof: the advantages sum to -0.25"),
    ("advantages_sum_to_zero", "rl_groups", 0, {"advantage": None}, "rl_groups g1: 1 rows have no advantage"),
    ("advantages_sum_to_zero", "rl_groups", 0, {"advantage": float("nan")}, "rl_groups g1: the advantages sum to nan"),
    (HELD_OUT, "splices", 0, {"problem_id": "p2"}, "splices p2: 1 training rows of a held-out problem"),
    (HELD_OUT, "node_values", 0, {"problem_id": "p2"}, "node_values p2: 1 training rows of a held-out problem"),
    ("problems_exist", "first_errors", 0, {"problem_id": "p9"}, "first_errors w1: problem p9 does not exist"),
    ("rollouts_exist", "splices", 0, {"rollout_id": "s9"}, "splices x1: rollout s9 does not exist"),
    ("unique_keys", "node_values", 1, {"method": "monte_carlo"},
     "node_values t1:1 monte_carlo: the key occurs 2 times"),
    (EXTRACTS, "node_values", 0, {"node_id": 9}, "node_values t1:9 monte_carlo: node 9 does not exist"),
    (EXTRACTS, "reflections", 0, {"wrong_node_ids": [2]}, "reflections y1: node 2 does not follow node 0"),
    (EXTRACTS, "reflections", 0, {"right_node_ids": [9]}, "reflections y1: node 9 does not exist"),
    (EXTRACTS, "first_errors", 0, {"last_good_node_id": 0}, "first_errors w1: node 2 does not follow node 0"),
    (EXTRACTS, "splices", 0, {"branch_node_id": 1}, "splices x1: node 3 does not follow node 1"),
    (EXTRACTS, "splices", 0, {"wrong_node_ids": [1, 3]}, "splices x1: node 3 does not follow node 1"),
    (EXTRACTS, "splices", 0, {"right_node_ids": [8]}, "splices x1: node 8 does not exist"),
    (EXTRACTS, "splices", 0, {"right_steps": ["c", "d"]}, "splices x1: steps and nodes differ in number"),
    ("values_in_range", "node_values", 0, {"value": None}, "node_values t1:1 monte_carlo: value null"),
    ("values_in_range", "node_values", 2, {"value": 1.5}, "node_values t1:2 rest_mcts: value 1.5"),
    ("values_in_range", "node_values", 0, {"low": 0.6}, "node_values t1:1 monte_carlo: 0.5 is outside 0.6 to 0.9"),
    ("values_in_range", "node_values", 0, {"num_right": 3}, "node_values t1:1 monte_carlo: 3 right of 2"),
    ("values_in_range", "node_values", 1, {"quantiles": [0.7, 0.3]},
     "node_values t1:1 beta_quantiles: quantiles that do not rise in [0, 1]"),
    ("values_in_range", "node_values", 2, {"step_reward": -1.5}, "node_values t1:2 rest_mcts: step_reward -1.5"),
    ("values_in_range", "first_errors", 0, {"confidence": 1.5}, "first_errors w1: confidence 1.5"),
    ("values_in_range", "first_errors", 0, {"num_right_before": 0},
     "first_errors w1: nothing was right before the step"),
    ("values_in_range", "splices", 0, {"value_gap": -2.0}, "splices x1: value_gap -2.0"),
    ("values_in_range", "splices", 0, {"right_steps": []}, "splices x1: no steps to splice"),
    ("values_in_range", "reflections", 0, {"first_error_step": 2}, "reflections y1: first_error_step 2"),
    ("values_in_range", "reflections", 0, {"first_error_step": 1},
     "reflections y1: the correction changes a step before the first error"),
    ("rollouts_exist", "token_scores", 0, {"rollout_id": "s9"}, "token_scores s9 m1: rollout s9 does not exist"),
    ("unique_keys", "token_scores", 1, {"rollout_id": "s1"}, "token_scores s1 m1: the key occurs 2 times"),
    (SCORES, "token_scores", 0, {"error": "lost"}, "s1 m1: numbers beside an error"),
    (SCORES, "token_scores", 0, {"token_logprobs": [-1.0] * 9}, "s1 m1: 9 log-probabilities of 10 tokens"),
    (SCORES, "token_scores", 0, {"token_logprobs": None}, "s1 m1: 0 log-probabilities of 10 tokens"),
    (SCORES, "token_scores", 0, {"token_entropies": [0.5] * 11}, "s1 m1: 11 entropies of 10 tokens"),
    (SCORES, "token_scores", 0, {"token_logprobs": [-1.0] * 9 + [0.1]},
     "s1 m1: log-probabilities above 0 or not finite"),
    (SCORES, "token_scores", 0, {"token_logprobs": [-1.0] * 9 + [None]},
     "s1 m1: log-probabilities above 0 or not finite"),
    (SCORES, "token_scores", 0, {"token_entropies": [0.5] * 9 + [float("nan")]},
     "s1 m1: entropies below 0 or not finite"),
    (SCORES, "token_scores", 0, {"sum_logprob": -9.0}, "s1 m1: the sum is -9.0"),
    (SCORES, "token_scores", 0, {"sum_logprob": None}, "s1 m1: the sum is null"),
    (SCORES, "token_scores", 0, {"self_certainty": -0.5}, "s1 m1: self_certainty -0.5"),
    (SCORES, "rollouts", 0, {"num_tokens": 11}, "s1 m1: 10 tokens, the rollout has 11"),
    (SCORES, "token_scores", 0, {"step_ends": [4]}, "s1 m1: 1 step ends of 2 steps"),
    (SCORES, "token_scores", 0, {"step_ends": [4, 11]}, "s1 m1: 2 step ends of 2 steps"),
    ("work_was_done", "rollouts", 0, {"num_tokens": 0}, "rollouts s1: no error, but 0 tokens"),
    ("work_was_done", "rollouts", 0, {"num_tokens": None}, "rollouts s1: no error, but 0 tokens"),
    ("work_was_done", "search_nodes", 0, {"visit_count": 0}, "search_nodes t1: no simulation passed through the root"),
]  # fmt: skip


@pytest.mark.parametrize(("check", "table", "row", "changes", "expected"), VIOLATIONS)
def test_a_planted_violation_is_found(check, table, row, changes, expected):
    world = clean_world()
    if row is None:
        world.setdefault(table, []).append(changes)
    else:
        world[table][row] |= changes
    found = [f"{row['table_name']} {row['row_id']}: {row['what']}" for row in ask(f"checks/{check}", world)]
    assert any(text.endswith(expected) for text in found), found


def test_every_check_has_a_planted_violation():
    assert {f"checks/{case[0]}" for case in VIOLATIONS} | {"checks/prof_keeps_groups_balanced"} == set(CHECKS)


def group_world(num_right: int, num_wrong: int, kept_right: int, kept_wrong: int) -> World:
    rewards = [1.0] * num_right + [0.0] * num_wrong
    kept = [i < kept_right for i in range(num_right)] + [i < kept_wrong for i in range(num_wrong)]
    rollouts = [{"rollout_id": f"r{i}", "outcome_reward": reward} for i, reward in enumerate(rewards)]
    results = [
        {"rollout_id": f"r{i}", "group_id": "g", "method": "prof", "kept": keep, "score": 0.0, "night": "n1",
         "reason": None if keep else "low_consistency"}
        for i, keep in enumerate(kept)
    ]  # fmt: skip
    return {"rollouts": rollouts, "consistency_results": results}


@pytest.mark.parametrize(
    "counts",
    # n = 8, k = 4 of the paper's rule: (right, wrong, kept right, kept wrong)
    [(6, 2, 2, 2), (5, 3, 2, 2), (1, 7, 1, 3), (3, 5, 2, 2), (8, 0, 4, 0), (0, 8, 0, 4), (5, 2, 2, 1), (2, 5, 2, 1)],
)
def test_groups_that_the_rule_of_prof_leaves_are_balanced(counts):
    assert ask("checks/prof_keeps_groups_balanced", group_world(*counts)) == []


@pytest.mark.parametrize("counts", [(6, 2, 3, 1), (5, 3, 1, 3), (1, 7, 0, 4), (5, 2, 3, 0)])
def test_groups_that_could_be_more_balanced_are_found(counts):
    right, wrong, kept_right, kept_wrong = counts
    assert ask("checks/prof_keeps_groups_balanced", group_world(*counts)) == [{
        "table_name": "consistency_results", "row_id": "g prof", "night": "n1",
        "what": f"of {right} right and {wrong} wrong, {kept_right} and {kept_wrong} were kept",
    }]  # fmt: skip


def test_rollouts_that_took_no_part_in_the_ranking_do_not_count_for_the_balance():
    world = group_world(6, 2, 2, 2)
    world["rollouts"].append({"rollout_id": "unscored", "outcome_reward": 0.0})
    world["consistency_results"].append({"rollout_id": "unscored", "group_id": "g", "method": "prof", "kept": False,
                                         "reason": "no_step_scores", "night": "n1"})  # fmt: skip
    assert ask("checks/prof_keeps_groups_balanced", world) == []


def test_a_night_whose_kept_rollouts_were_all_lost_is_found():
    world = clean_world()
    world["consistent_rollouts"] = []
    assert [row["row_id"] for row in ask("checks/consistency_results_are_complete", world)] == ["s1 prof", "s4 prof"]


# reports ----------------------------------------------------------------------------------------


def test_error_depth_counts_steps_up_to_the_first_wrong_one():
    assert ask("reports/error_depth", clean_world()) == [
        {"family": "arithmetic", "step": 0, "num_right_so_far": 2, "num_first_errors": 0, "error_share": 0.0},
        {"family": "arithmetic", "step": 1, "num_right_so_far": 2, "num_first_errors": 1, "error_share": 0.5},
    ]


def test_agents_are_judged_by_gold_up_to_the_first_wrong_step_and_compared_with_each_other():
    def critique(agent: str, rollout: str, verdicts: list[str] | None) -> dict:
        error = None if verdicts else "unreadable"
        return {"rollout_id": rollout, "agent": agent, "step_verdicts": verdicts, "error": error}

    gold = {"r1": [True, False, False], "r2": [True, True]}
    world = {
        "gold_steps": [
            {"rollout_id": rollout, "step": step, "is_right": is_right}
            for rollout, labels in gold.items()
            for step, is_right in enumerate(labels)
        ],
        "critiques": [
            critique("a", "r1", ["right", "wrong", "right"]),  # the last one comes after the first wrong step
            critique("a", "r2", ["right", "wrong"]),
            critique("b", "r1", ["right", "right", "right"]),
            critique("b", "r2", None),
        ],
    }
    rows = ask("reports/agent_skill", world)
    columns = ("agent", "num_steps", "right_called_right", "wrong_called_wrong")
    assert [tuple(row[column] for column in columns) for row in rows] == [("a", 4, 2 / 3, 1.0), ("b", 2, 1.0, 0.0)]
    assert [row["balanced_accuracy"] for row in rows] == pytest.approx([5 / 6, 0.5])
    assert ask("reports/agent_agreement", world) == [
        {"agent": "a", "other_agent": "b", "num_steps": 3, "agreement": pytest.approx(2 / 3)}
    ]


def test_token_entropy_compares_the_first_wrong_step_with_the_right_ones_before_it():
    # s1: two right steps of 4 and 6 tokens; s4: a right one of 4 and the first wrong one of tokens 5 to 8
    world = clean_world()
    world["token_scores"].append(scored_tokens("s2", "m1", -1.0, token_entropies=None, self_certainty=None))
    rows = ask("reports/token_entropy", world)
    columns = ("family", "model_id", "kind", "num_steps", "num_tokens", "mean_entropy", "mean_peak_entropy")
    assert [tuple(row[column] for column in columns) for row in rows] == [
        ("arithmetic", "m1", "right", 3, 14, 10 / 14, pytest.approx(2 / 3)),
        ("arithmetic", "m1", "first_wrong", 1, 4, 1.0, 1.0),
    ]  # fmt: skip
    assert [row["mean_logprob"] for row in rows] == [pytest.approx(-18 / 14), -2.0]


def test_steps_after_the_first_wrong_one_say_nothing_of_entropy():
    world = clean_world()
    world["gold_steps"][2] |= {"is_right": False}  # of s4, whose second step is wrong too
    rows = {row["kind"]: row for row in ask("reports/token_entropy", world)}
    assert (rows["first_wrong"]["num_steps"], rows["first_wrong"]["mean_entropy"]) == (1, 0.5)


def test_the_density_ratio_is_compared_within_a_problem():
    # log-ratio m2 over m1: right s1 10 * (-0.5 + 1) = 5, wrong s4 10 * (-2.2 + 2) = -2
    world = clean_world()
    world["token_scores"] += [scored_tokens("s1", "m2", -0.5), scored_tokens("s4", "m2", -2.2)]
    rows = {row["strong_model"]: row for row in ask("reports/density_ratio", world)}
    assert set(rows) == {"m1", "m2"}
    strong = rows["m2"]
    assert (strong["num_rollouts"], strong["num_pairs"], strong["right_has_larger_sum"]) == (2, 1, 1.0)
    assert (strong["mean_log_ratio_right"], strong["mean_log_ratio_wrong"]) == (5.0, pytest.approx(-2.0))
    assert rows["m1"]["right_has_larger_mean"] == 0.0


def test_one_scoring_model_has_no_density_ratio():
    assert ask("reports/density_ratio", clean_world()) == []


def test_kept_token_cost_divides_all_generated_tokens_by_the_kept_ones():
    assert ask("reports/kept_token_cost", clean_world()) == [{
        "night": "n1", "method": "prof", "num_rollouts": 5, "num_kept": 2, "num_prompt_tokens": 25,
        "num_generated_tokens": 40, "num_kept_tokens": 20, "generated_per_kept_token": 2.0,
    }]  # fmt: skip


def test_filter_yields_give_every_reason_its_share():
    rows = ask("reports/filter_yields", clean_world())
    assert [(row["reason"], row["num_rollouts"], row["share"]) for row in rows] == [
        ("kept", 2, 0.4), ("low_consistency", 2, 0.4), ("failed", 1, 0.2),
    ]  # fmt: skip


def test_pass_rate_is_over_graded_rollouts_and_solved_share_over_problems():
    rows = ask("reports/pass_rate", clean_world())
    columns = ("recipe", "num_rollouts", "num_graded", "pass_rate", "solved_share")
    assert [tuple(row[column] for column in columns) for row in rows] == [
        ("independent_samples", 5, 4, 0.75, 1.0), ("puct", 1, 1, 1.0, 1.0),
    ]  # fmt: skip


def test_pair_margins_fall_into_buckets_of_a_tenth():
    pairs = [{"pair_id": f"{m}", "problem_id": "p", "kind": "step", "margin": m} for m in (0.25, 0.3, 0.39)]
    rows = ask("reports/pair_margins", {"preference_pairs": pairs})
    assert [(row["margin_from"], row["margin_to"], row["num_pairs"]) for row in rows] == [(0.2, 0.3, 1), (0.3, 0.4, 2)]


def test_best_of_n_stands_between_the_baselines_and_the_oracle():
    metrics = {
        "greedy": 0.5, "pass_at_8": 0.9, "majority_of_8": 0.6, "best_of_8_policy_logprob": 0.55, "best_of_8_min": 0.75,
        "selected_score_8_min": 0.8, "pass_at_1": 0.5, "best_of_1_min": 0.5, "within_problem_auroc_min": 0.7,
    }  # fmt: skip
    report = [
        {"critic_id": "c", "metric": metric, "slice": "all", "value": value, "num": 9, "night": "n1"}
        for metric, value in metrics.items()
    ]
    one, eight = ask("reports/best_of_n", {"critic_report": report})
    assert (one["n"], one["num_problems"], one["best_by_min"], one["gap_closed"]) == (1, 9, 0.5, None)
    assert (eight["greedy"], eight["majority"], eight["oracle"], eight["selected_score"]) == (0.5, 0.6, 0.9, 0.8)
    assert eight["gap_closed"] == pytest.approx(0.5)  # from .6, the best baseline, to .75 of .9
    assert eight["best_by_product"] is None


def test_the_table_summary_counts_rows_errors_and_tokens():
    rows = {row["table_name"]: row for row in ask("reports/table_summary", clean_world())}
    assert (rows["rollouts"]["num_rows"], rows["rollouts"]["num_errors"], rows["rollouts"]["num_tokens"]) == (6, 1, 43)
    assert rows["search_nodes"]["num_tokens"] == 3
    assert rows["problems"]["num_rows"] == 2


def test_labelled_steps_are_independent_samples_with_a_label_for_every_step():
    problem = {"problem_id": "p", "prompt": "1+1+1", "family": "arithmetic"}
    shared = {"problem_id": "p", "recipe": "independent_samples", "steps": ["1+1=2", "2+1=4"]}
    rollouts = [
        {**shared, "rollout_id": "wrong"}, {**shared, "rollout_id": "right"}, {**shared, "rollout_id": "half"},
        {**shared, "rollout_id": "tree", "recipe": "puct"}, {"rollout_id": "failed", "problem_id": "p"},
    ]  # fmt: skip
    labels = {"wrong": [True, False], "right": [True, True], "half": [True], "tree": [True, True]}
    gold = [
        {"rollout_id": name, "step": step, "is_right": is_right}
        for name, of_steps in labels.items()
        for step, is_right in enumerate(of_steps)
    ]
    world = {"problems": [problem], "rollouts": rollouts, "gold_steps": gold}
    tables = {name: rows_to_table(name, rows) for name, rows in world.items()}
    with Warehouse.over(tables) as warehouse:
        rows = warehouse.named("reports/labelled_steps").to_pylist()
    assert [(row["id"], row["label"], row["subset"]) for row in rows] == [
        ("right", -1, "arithmetic"), ("wrong", 1, "arithmetic"),
    ]  # fmt: skip
    assert rows[0].keys() == {"id", "problem", "problem_id", "steps", "label", "subset"}
