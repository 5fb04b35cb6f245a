"""Pairs from a tree small enough to draw, and from groups of whole rollouts."""

import math
from functools import partial

import pyarrow as pa
import pytest

from pipelines.config import PairMethodConfig, PairsConfig, Settings, parse_settings
from pipelines.errors import ConfigError, ReasonmillError
from pipelines.extensions import load_extension
from pipelines.lake import Lake
from pipelines.preference.methods import steps_of, tables_of
from pipelines.preference.mutual_taught import night_before_update
from pipelines.preference_pairs import MadePairs, PairTables, build_pairs, make_pairs, pair_numbers
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


def test_an_answer_that_was_opened_again_is_worth_nothing_of_what_came_after():
    """The wrong answer 6 was followed by a trigger and by the right answer 5: that does not make 6 better than 8."""
    nodes = [make_node(0, None, "", 0.5), make_node(1, 0, "#### 6", 1.0), make_node(2, 0, "#### 8", 0.0)]
    trigger = make_node(3, 1, "Wait.", 1.0) | {"action": "reflect"}
    assert [pair["chosen"] for pair in step_pairs(nodes)] == ["#### 6\n"]
    assert step_pairs([*nodes, trigger, make_node(4, 3, "#### 5", 1.0)]) == []


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


# the list of methods ------------------------------------------------------------------------------


def methods(*entries: tuple[str, dict] | str) -> PairsConfig:
    listed = [(entry, {}) if isinstance(entry, str) else entry for entry in entries]
    return PairsConfig(methods=tuple(PairMethodConfig(method=name, parameters=more) for name, more in listed))


GROUP = [make_rollout("r", 1.0, "right"), make_rollout("w1", 0.0, "wrong one"), make_rollout("w2", 0.0, "no")]


def made_from(config: PairsConfig, **tables: list[dict]) -> MadePairs:
    given = {"search_nodes": TREE, "rollouts": GROUP} | tables
    rows = {name: rows_to_table(name, listed) for name, listed in given.items()}
    return make_pairs(PairTables(problems=PROBLEMS, **rows), config, NIGHT)


def test_what_is_configured_by_default_are_sibling_steps_and_whole_rollouts():
    made = made_from(PairsConfig())
    assert made.num_mined == {"sibling_step_pairs": 2, "rollout_pairs": 2}
    assert made.pairs["method"].to_pylist() == ["sibling_step_pairs"] * 2 + ["rollout_pairs"] * 2


def test_every_row_has_both_scores_and_the_policies_that_wrote_its_sides():
    rollouts = [row | {"policy_version": "v7"} for row in GROUP]
    rollouts.append(end_row(3, 1.0) | {"policy_version": "v8"})
    rows = made_from(PairsConfig(), rollouts=rollouts).pairs.to_pylist()
    for row in rows:
        assert row["margin"] == pytest.approx(row["chosen_score"] - row["rejected_score"])
        assert row["weight"] == 1.0
        policy = "v8" if row["kind"] == "step" else "v7"
        assert (row["chosen_policy"], row["rejected_policy"]) == (policy, policy)


def test_filters_run_in_order_over_the_pairs_of_all_miners_and_their_removals_are_counted():
    """The text "right" is longer than "no" and shorter than the two others: one of the longer two goes."""
    contrary = make_rollout("w3", 0.0, "wrong too")
    made = made_from(methods("rollout_pairs", "length_balance"), rollouts=[*GROUP, contrary])
    assert made.num_mined == {"rollout_pairs": 3}
    assert made.num_removed == {"length_balance_length_imbalance": 1}
    assert made.pairs.num_rows == 2


def results_of(made: MadePairs) -> list[dict]:
    """The table pair_results, whose kept rows are the rows of preference_pairs."""
    assert made.results.schema == SCHEMAS["pair_results"]
    rows = made.results.to_pylist()
    kept = [row for row in rows if row["kept"]]
    assert [row["pair_id"] for row in kept] == made.pairs["pair_id"].to_pylist()
    assert all(row["filter"] is row["reason"] is row["score"] is None for row in kept)
    assert all(row["filter"] and row["reason"] for row in rows if not row["kept"])
    return rows


def test_a_removed_pair_is_a_row_with_the_filter_and_the_reason():
    contrary = make_rollout("w3", 0.0, "wrong too")
    rows = results_of(made_from(methods("rollout_pairs", "length_balance"), rollouts=[*GROUP, contrary]))
    (gone,) = [row for row in rows if not row["kept"]]
    assert len(rows) == 3 and (gone["filter"], gone["reason"]) == ("length_balance", "length_imbalance")
    # "right" is 4 characters shorter than "wrong one" and "wrong too", of which the one with the smaller margin goes
    assert (gone["chosen_id"], gone["score"]) == ("r", -4.0) and gone["rejected_id"] in ("w1", "w3")


def test_a_pair_found_twice_is_a_row_twice_and_kept_once():
    twice = (PairMethodConfig(method="rollout_pairs"), PairMethodConfig(method="rollout_pairs", name="again"))
    rows = results_of(made_from(PairsConfig(methods=twice)))
    assert [(row["method"], row["filter"], row["reason"]) for row in rows] == [
        ("rollout_pairs", None, None), ("rollout_pairs", None, None),
        ("again", "distinct", "duplicate"), ("again", "distinct", "duplicate"),
    ]  # fmt: skip
    assert {row["pair_id"] for row in rows[:2]} == {row["pair_id"] for row in rows[2:]}


def test_no_pair_has_no_result():
    assert results_of(made_from(PairsConfig(), search_nodes=[], rollouts=[])) == []


def test_an_ensemble_of_scorers_turns_round_a_pair_that_it_contradicts():
    scores = [
        {"rollout_id": name, "step": 0, "source": source, "scorer_version": "v", "score": score, "night": NIGHT}
        for name, of_both in {"r": (0.2, 0.1), "w1": (0.9, 0.8), "w2": (0.0, 0.0)}.items()
        for source, score in zip(("critic", "judge"), of_both, strict=True)
    ]
    config = methods(("rollout_pairs", {"min_margin": 0.0}), ("preference_strength", {"low_share": 0.5}))
    made = made_from(config, step_scores=scores)
    rows = made.pairs.to_pylist()
    assert len(results_of(made)) == len(rows)  # a pair that was turned round has the id that it has now
    assert {(row["chosen_id"], row["rejected_id"]): row["margin"] for row in rows} == pytest.approx(
        {("w1", "r"): 0.7, ("r", "w2"): 1.2}
    )


def test_the_members_of_one_ensemble_critic_vote_and_its_pooled_score_does_not():
    """Gaps r - w1 of the members, mean over two steps of r: 0.2 - 0.9 and 0.4 - 0.5, so mu = -0.4, sigma = 0.3."""
    members = {("r", 0): [0.1, 0.4], ("r", 1): [0.3, 0.4], ("w1", 0): [0.9, 0.5]}
    scores = [
        {"rollout_id": name, "step": step, "source": "critic", "scorer_version": "v", "score": 0.99,
         "member_scores": of_members, "night": NIGHT}
        for (name, step), of_members in members.items()
    ]  # fmt: skip
    config = methods("rollout_pairs", ("preference_strength", {"mode": "margin"}))
    rows = made_from(config, step_scores=scores).pairs.to_pylist()
    assert {row["rejected_id"]: row["margin"] for row in rows} == pytest.approx({"w1": -0.4, "w2": 1.0})


def test_agents_that_judged_steps_are_members_of_the_ensemble():
    """Agent a calls one of two steps of r right and none of w1: gap 0.5; b the other way round, -1. mu = -0.25."""
    verdicts = {("r", "a"): ["right", "wrong"], ("w1", "a"): ["wrong"], ("r", "b"): ["wrong"], ("w1", "b"): ["right"]}
    critiques = [
        {"critique_id": f"{name}{agent}", "rollout_id": name, "agent": agent, "step_verdicts": steps}
        for (name, agent), steps in verdicts.items()
    ]
    config = methods("rollout_pairs", ("preference_strength", {"mode": "margin"}))
    rows = made_from(config, critiques=critiques).pairs.to_pylist()
    assert {row["rejected_id"]: row["margin"] for row in rows} == {"w1": -0.25, "w2": 1.0}


def test_the_density_ratio_is_that_of_the_two_named_models():
    tokens = [
        {"rollout_id": name, "model_id": model, "sum_logprob": logprob, "night": NIGHT}
        for name, of_both in {"r": (-1.0, -5.0), "w1": (-2.0, -1.0)}.items()
        for model, logprob in zip(("tiny", "base"), of_both, strict=True)
    ]
    rollouts = [row | {"policy_id": "tiny"} for row in GROUP]
    config = PairsConfig(methods=(PairMethodConfig(method="density_ratio_pairs"),), weak_model="base")
    (pair,) = made_from(config, rollouts=rollouts, token_scores=tokens).pairs.to_pylist()
    assert (pair["chosen_id"], pair["rejected_id"], pair["margin"]) == ("r", "w1", 5.0)
    with pytest.raises(ReasonmillError, match='weak_model = "starter", but token_scores of this night hold base, tiny'):
        made_from(methods("density_ratio_pairs"), rollouts=rollouts, token_scores=tokens)


def test_pairs_weigh_by_the_likelihoods_that_are_stored():
    tokens = [
        {"rollout_id": name, "model_id": model, "token_logprobs": [logprob], "night": NIGHT}
        for name, logprob in {"r": -1.0, "w1": -2.0}.items()
        for model, logprob in (("tiny", logprob), ("other", -9.0))
    ]
    rollouts = [row | {"policy_id": "tiny"} for row in GROUP]
    config = methods("rollout_pairs", ("likelihood_weights", {"alignment": "none"}))
    rows = made_from(config, rollouts=rollouts, token_scores=tokens).pairs.to_pylist()
    weights = {row["rejected_id"]: row["weight"] for row in rows}
    assert weights == pytest.approx({"w1": math.exp(-3), "w2": 1.0})


def test_critiques_and_refinements_become_pairs():
    critique = {"rollout_id": "w1", "problem_id": "p"}
    critiques = [critique | {"critique_id": name, "text": f"see {name}"} for name in ("c1", "c2")]
    refinements = [
        critique
        | {"refinement_id": f"f{name}", "critique_id": name, "steps": [f"new {name}"], "outcome_reward": reward}
        for name, reward in (("c1", 1.0), ("c2", 0.0))
    ]
    config = methods("refinement_pairs", "marv_critique_pairs")
    rows = made_from(config, critiques=critiques, refinements=refinements).pairs.to_pylist()
    assert [(row["kind"], row["chosen"], row["rejected"]) for row in rows] == [
        ("refinement", "new c1\n", "wrong one\n"), ("critique", "see c1", "see c2"),
    ]  # fmt: skip
    assert rows[1]["prompt"] == "1+2*3\nwrong one\n"


def test_a_pair_that_two_methods_find_is_one_pair_of_the_first():
    graded = [end_row(3, 1.0), end_row(4, 0.0)]
    made = made_from(methods("mcts_dpo_pairs", "sibling_step_pairs"), rollouts=graded)
    assert made.num_mined == {"mcts_dpo_pairs": 2, "sibling_step_pairs": 2}
    assert made.pairs["method"].to_pylist() == ["mcts_dpo_pairs"] * 2


def test_a_filter_sees_a_pair_that_two_methods_found_once():
    """Two right-against-wrong pairs, each found twice: one chosen text is the longer one, one the shorter."""
    twice = (PairMethodConfig(method="rollout_pairs"), PairMethodConfig(method="rollout_pairs", name="again"),
             PairMethodConfig(method="length_balance"))  # fmt: skip
    made = made_from(PairsConfig(methods=twice))
    assert made.num_mined == {"rollout_pairs": 2, "again": 2}
    assert (made.num_removed, made.pairs["method"].to_pylist()) == ({}, ["rollout_pairs"] * 2)


def test_the_same_method_can_run_twice_under_two_names():
    entries = [PairMethodConfig(method="rso", name=f"rso_{beta}", parameters={"beta": beta}) for beta in (0.1, 0.9)]
    config = PairsConfig(methods=tuple(entries))
    scores = [
        {
            "rollout_id": row["rollout_id"],
            "step": 0,
            "source": "critic",
            "scorer_version": "v",
            "score": score,
            "night": NIGHT,
        }
        for row, score in zip(GROUP, (0.9, 0.5, 0.1), strict=True)
    ]
    made = made_from(config, step_scores=scores)
    assert set(made.num_mined) == {"rso_0.1", "rso_0.9"}


def test_coverage_and_the_share_of_pairs_of_tonights_policy_are_reported():
    rollouts = [row | {"policy_version": "v"} for row in GROUP] + [make_rollout("x", 1.0, "y") | {"problem_id": "q"}]
    tables = PairTables(PROBLEMS, NO_NODES, rows_to_table("rollouts", rollouts))
    made = make_pairs(tables, PairsConfig(), NIGHT)
    assert pair_numbers(made, tables) == {
        "num_step_pairs": 0, "num_rollout_pairs": 2, "num_mined_rollout_pairs": 2, "coverage": 0.5,
        "on_policy_share": 1.0, "chosen_longer_share": 0.5,
    }  # fmt: skip
    nothing = PairTables(PROBLEMS, NO_NODES, NO_ROLLOUTS)
    assert pair_numbers(make_pairs(nothing, PairsConfig(), NIGHT), nothing) == {
        "num_step_pairs": 0, "num_rollout_pairs": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (methods("sibling_steps"), r'methods\[0\].method = "sibling_steps" .* did you mean sibling_step_pairs'),
        (methods(("rso", {"betta": 1.0})), r'"rso" has no parameter "betta" .*did you mean beta'),
        (
            methods(("rso", {"beta": 0.0})),
            r"methods\[0\].parameters.beta = 0.0 is not possible; allowed is a number above",
        ),
        (methods(("rso", {"beta": "1"})), r"parameters.beta = '1' is not possible"),
        (methods("rso", "rso"), r'the name "rso" 2 times'),
        (methods("length_balance"), r'begins with "length_balance", which works on pairs'),
        (methods("rso", "length_balance", "dno_pairs"), r'"dno_pairs", which makes pairs, behind a weight or filter'),
        (methods("unpaired"), r'"unpaired" is no method over pairs'),
    ],
)
def test_a_list_that_cannot_work_is_refused_with_what_would_be_right(config, message):
    with pytest.raises(ConfigError, match=message):
        steps_of(config)


OWN = """
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from pipelines.curation import DECISION, Column, Curation
from pipelines.preference.mining import PAIRS


class Params(BaseModel):
    most_chars: int = 20


def shortest_first(rows, params):
    right = [row for row in rows.sort_by("response_id").to_pylist() if len(row["response"]) <= params.most_chars]
    one, other = right[0], right[-1]
    pair = {"problem_id": one["problem_id"], "kind": "rollout", "method": "", "prompt": one["prompt"],
            "chosen": one["response"], "rejected": other["response"], "weight": 1.0,
            "chosen_id": one["response_id"], "rejected_id": other["response_id"]}
    return pa.Table.from_pylist([pair], schema=PAIRS)


def nothing_long(rows, params):
    kept = pc.less_equal(pc.utf8_length(rows["chosen"]), params.most_chars)
    reason = pc.if_else(kept, None, "too_long")
    return pa.table({"position": rows["position"], "kept": kept, "reason": reason,
                     "score": pa.nulls(rows.num_rows, pa.float64())})


TEXT = pa.string()
READS = (Column("response_id", TEXT, ""), Column("response", TEXT, ""))
SHORTEST = Curation(Params, READS, PAIRS, "table", shortest_first)
SHORT = Curation(Params, (Column("chosen", TEXT, ""),), DECISION, "rows", nothing_long)
OTHER = Curation(Params, (Column("nonsense", TEXT, ""),), DECISION, "rows", nothing_long)
WORD = "no method"


def function(rows, params):
    return rows
"""


def load_own(folder):
    (folder / "my_pairs.py").write_text(OWN)
    return partial(load_extension, Settings(root=folder), "filters")


def test_methods_of_the_users_own_make_and_judge_pairs(tmp_path):
    rollouts = rows_to_table("rollouts", [make_rollout("a", 1.0, "1"), make_rollout("b", 0.0, "1", "2")])
    tables = PairTables(PROBLEMS, NO_NODES, rollouts)
    load = load_own(tmp_path)
    made = make_pairs(tables, methods("my_pairs.py:SHORTEST"), NIGHT, load=load)
    (pair,) = made.pairs.to_pylist()
    assert (pair["method"], pair["chosen_id"], pair["rejected_id"], pair["margin"]) == ("SHORTEST", "a", "b", None)
    assert made.num_mined == {"SHORTEST": 1}
    judged = make_pairs(
        tables, methods("my_pairs.py:SHORTEST", ("my_pairs.py:SHORT", {"most_chars": 1})), NIGHT, load=load
    )
    assert (judged.pairs.num_rows, judged.num_removed) == (0, {"SHORT_too_long": 1})  # "1" and the end of its line
    usual = ("problems", "search_nodes", "rollouts", "step_scores")
    assert tables_of(methods("my_pairs.py:SHORTEST"), load) == usual


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("my_pairs.py:WORD", r"methods\[0\].method: .*is a str"),
        ("my_pairs.py:function", r"methods\[0\].method = 'my_pairs.py:function' is a function; a .*Curation"),
        ("my_pairs.py:OTHER", r"neither makes nor judges pairs.* It requires nonsense"),
        ("my_pairs.py:NONE", r"methods\[0\].method: .*has no `NONE`"),
        ("roolout_pairs", r"no method over pairs; did you mean rollout_pairs"),
        ("my_pairs.py:SHORT", r'begins with "my_pairs.py:SHORT", which works on pairs'),
    ],
)
def test_a_method_of_the_users_own_that_cannot_work_is_explained(tmp_path, reference, message):
    with pytest.raises(ConfigError, match=message):
        steps_of(methods(reference), load=load_own(tmp_path))


def test_methods_are_configured_as_tables_of_the_toml_file(tmp_path):
    text = """
        [[preference_pairs.methods]]
        method = "rso"
        parameters = { beta = 1, pairing = "tournament" }
        [[preference_pairs.methods]]
        method = "length_balance"
        name = "even"
    """
    rso, even = steps_of(parse_settings(text, tmp_path / "reasonmill.toml").preference_pairs)
    assert (rso.params.beta, rso.params.pairing, rso.params.max_pairs_per_problem) == (1.0, "tournament", 8)
    assert (even.name, even.params.max_share) == ("even", 0.5)
    with pytest.raises(ConfigError, match=r"unknown key `preference_pairs.methods\[0\].parameter`. Did you mean"):
        parse_settings('[[preference_pairs.methods]]\nmethod = "rso"\nparameter = {}\n', tmp_path / "reasonmill.toml")


def test_the_limit_and_the_margin_of_the_section_hold_where_a_method_sets_none():
    config = PairsConfig(
        methods=(PairMethodConfig(method="rollout_pairs"), PairMethodConfig(method="sibling_step_pairs",
                 parameters={"min_margin": 0.5}), PairMethodConfig(method="mcts_dpo_pairs")),
        min_margin=0.1, max_pairs_per_problem=3,
    )  # fmt: skip
    rollouts, siblings, path = (step.params for step in steps_of(config, "|"))
    assert (rollouts.min_margin, rollouts.max_pairs_per_problem) == (0.1, 3)
    assert (siblings.min_margin, siblings.separator, path.max_pairs_per_problem) == (0.5, "|", 3)


def test_the_tables_that_are_read_follow_from_the_methods():
    usual = ("problems", "search_nodes", "rollouts", "step_scores")
    assert tables_of(PairsConfig()) == usual
    assert tables_of(methods("refinement_pairs")) == (*usual, "refinements")
    assert tables_of(methods("density_ratio_pairs", "likelihood_weights")) == (*usual, "critiques", "token_scores")


# a policy's answers before and after an update ----------------------------------------------------------


def shifted(policy: str, night: str, scores: dict[str, float], version: str = "v") -> tuple[list[dict], list[dict]]:
    """(rollouts, step scores) of samples of one policy, each of one step."""
    rollouts = [make_rollout(name, 1.0, f"step {name}") | {"policy_version": policy, "night": night} for name in scores]
    found = [
        {"rollout_id": name, "step": 0, "source": "critic", "scorer_version": version, "score": score, "night": night}
        for name, score in scores.items()
    ]
    return rollouts, found


def test_samples_of_the_policy_before_are_rejected_where_one_scorer_saw_both():
    new, new_scores = shifted("d2", NIGHT, {"n1": 0.75, "n2": 0.5})
    old, old_scores = shifted("d1", "2026-11-02", {"o1": 0.5, "o2": 0.25})
    config = PairsConfig(methods=(PairMethodConfig(method="mutual_taught"),))

    def made(scores: list[dict], rollouts: list[dict]) -> MadePairs:
        tables = PairTables(
            PROBLEMS, NO_NODES, rows_to_table("rollouts", new), rows_to_table("step_scores", new_scores),
            earlier_rollouts=rows_to_table("rollouts", rollouts), earlier_scores=rows_to_table("step_scores", scores),
        )  # fmt: skip
        return make_pairs(tables, config, NIGHT)

    pairs = made(old_scores, old).pairs.to_pylist()
    assert [(row["chosen_id"], row["rejected_id"], row["margin"]) for row in pairs] == [
        ("n1", "o1", 0.25), ("n2", "o2", 0.25),
    ]  # fmt: skip
    assert {(row["kind"], row["method"], row["chosen_policy"], row["rejected_policy"]) for row in pairs} == {
        ("policy_shift", "mutual_taught", "d2", "d1")
    }
    assert pairs[0]["prompt"] == "1+2*3\n" and pairs[0]["chosen"] == "step n1\n"
    other = [row | {"scorer_version": "another"} for row in old_scores]
    assert made(other, old).pairs.num_rows == 0  # scores of two scorers are not compared
    assert made([], []).num_mined == {}  # no policy before


def test_the_night_before_an_update_is_the_latest_one_of_other_policies(tmp_path):
    lake = Lake(tmp_path)
    for night, policy in (("2026-11-01", "d0"), ("2026-11-02", "d1"), (NIGHT, "d2")):
        lake.write("rollouts", rows_to_table("rollouts", shifted(policy, night, {night: 0.5})[0]), partition=night)
    tonight = lake.read("rollouts", NIGHT)
    assert night_before_update(lake, tonight, NIGHT) == "2026-11-02"
    assert night_before_update(lake, lake.read("rollouts", "2026-11-01"), "2026-11-01") is None
    again = rows_to_table("rollouts", shifted("d1", NIGHT, {"n": 0.5})[0])
    assert night_before_update(lake, again, NIGHT) == "2026-11-01"  # the night before was this policy's own
