"""Each training set from tables small enough to work out by hand."""

from collections import Counter

import pyarrow as pa
import pytest

from pipelines.config import TrainingSetsConfig
from pipelines.reasoning.prompts import load_prompts
from pipelines.rows import rows_to_table
from pipelines.tables import SCHEMAS, TRAINING_SETS
from pipelines.training_sets import build_training_sets

NIGHT = "2026-11-03"
TABLES = (
    "problems", "rollouts", "search_nodes", "preference_pairs", "consistent_rollouts", "verdicts", "refinements",
    "step_scores",
)  # fmt: skip
EVERY_SOLUTION = TrainingSetsConfig(min_step_score=0.0)
PROBLEMS = [
    {"problem_id": "p", "family": "arithmetic", "difficulty": 1, "prompt": "1+2*3", "reference_answer": "9",
     "split": "train"},
    {"problem_id": "h", "family": "arithmetic", "prompt": "5+5", "reference_answer": "10", "split": "held_out"},
]  # fmt: skip


def build(config: TrainingSetsConfig | None = None, **rows: list[dict]) -> dict[str, list[dict]]:
    tables = [rows_to_table(name, {"problems": PROBLEMS, **rows}.get(name, [])) for name in TABLES]
    more = {name: rows_to_table(name, rows.get(name, [])) for name in ("replay", "critique_records")}
    sets = build_training_sets(*tables, load_prompts("starter"), config or EVERY_SOLUTION, NIGHT, **more)
    assert tuple(sets) == TRAINING_SETS
    assert all(table.schema == SCHEMAS[name] for name, table in sets.items())
    return {name: table.to_pylist() for name, table in sets.items()}


def make_rollout(rollout_id: str, *steps: str, problem: str = "p", reward: float | None = 1.0, **more):
    return {"rollout_id": rollout_id, "problem_id": problem, "steps": list(steps), "outcome_reward": reward} | more


def make_kept(rollout_id: str, problem: str = "p", reward: float = 1.0, group: str = "g", score: float = 0.0):
    return {
        "rollout_id": rollout_id,
        "problem_id": problem,
        "group_id": group,
        "outcome_reward": reward,
        "score": score,
    }


def make_replayed(rollout_id: str, *steps: str, problem: str = "p", pass_rate: float = 0.5):
    return {"rollout_id": rollout_id, "problem_id": problem, "steps": list(steps), "pass_rate_now": pass_rate}


def test_pairs_for_reward_models_do_not_reach_the_policys_own_set():
    row = {"problem_id": "p", "prompt": "1+2*3\n", "chosen": "a\n", "rejected": "b\n", "margin": 0.5}
    pairs = [row | {"pair_id": kind, "kind": kind, "chosen": f"{kind}\n"} for kind in ("rollout", "policy_shift")]
    assert [found["pair_id"] for found in build(preference_pairs=pairs)["preference"]] == ["rollout"]


# sft ------------------------------------------------------------------------------------------------


def test_old_rollouts_join_sft_up_to_their_share_those_of_hard_problems_first():
    problems = [PROBLEMS[0] | {"problem_id": name} for name in ("p", "q", "r", "s")] + PROBLEMS[1:]
    problems = [one | {"prompt": f"{one['problem_id']}+1"} for one in problems]
    world = {
        "problems": problems,
        "rollouts": [make_rollout(f"new{i}", f"#### {i}") for i in range(3)],
        "consistent_rollouts": [make_kept(f"new{i}") for i in range(3)],
        "replay": [
            make_replayed("easy", "#### 9", problem="q", pass_rate=0.75),
            make_replayed("hard", "#### 9", problem="r", pass_rate=0.0),
            make_replayed("middle", "#### 9", problem="s", pass_rate=0.5),
            make_replayed("known", "#### 1"),  # tonight's own text
            make_replayed("held", "#### 9", problem="h"),
        ],
    }

    def made(**config: object) -> list[tuple]:
        found = build(TrainingSetsConfig(min_step_score=0.0, **config), **world)["sft"]
        return [(row["rollout_id"], row["origin"]) for row in found]

    fresh = [(f"new{i}", "consistent_rollouts") for i in range(3)]
    assert sorted(made()) == fresh  # by default none
    assert sorted(made(replay_share=0.25)) == [("hard", "replay"), *fresh]  # 1 of 4
    assert sorted(made(replay_share=0.4)) == [("hard", "replay"), ("middle", "replay"), *fresh]  # 2 of 5
    assert len(made(replay_share=0.24)) == 3
    assert ("easy", "replay") in made(replay_share=0.9)


def test_old_rollouts_take_no_place_from_those_of_tonight():
    world = {
        "rollouts": [make_rollout(f"new{i}", f"#### {i}") for i in range(3)],
        "consistent_rollouts": [make_kept(f"new{i}") for i in range(3)],
        "replay": [make_replayed("old", "#### 9"), make_replayed("older", "#### 8")],
    }
    config = TrainingSetsConfig(min_step_score=0.0, replay_share=0.9, max_sft_per_problem=4)
    origins = [row["origin"] for row in build(config, **world)["sft"]]
    assert sorted(origins) == ["consistent_rollouts"] * 3 + ["replay"]
    alone = build(config, replay=world["replay"])
    assert alone["sft"] == []  # a share of nothing


def test_sft_takes_kept_explanations_where_it_is_told_to_and_records_of_no_other_method():
    record = {"method": "expo", "problem_id": "p", "response": "1+2=3\n3*3=9\n#### 9\n", "kept": True, "reward": 0.5}
    records = [
        record | {"record_id": "a"},
        record | {"record_id": "b", "method": "egsr", "response": "#### 9\n", "reward": 0.75},
        record | {"record_id": "c", "response": "3*3=9\n#### 9\n", "kept": False, "reason": "no_gain"},
        record | {"record_id": "d", "method": "self_play", "response": "2*3=6\n#### 9\n"},
        record | {"record_id": "e", "problem_id": "h", "response": "#### 10\n"},
    ]
    config = TrainingSetsConfig(sft_from=("explanations",))
    assert build(config, critique_records=records)["sft"] == [
        {"prompt": "<solve>1+2*3\n", "completion": text, "problem_id": "p", "rollout_id": None,
         "origin": "explanations", "night": NIGHT}
        for text in ("#### 9\n", "1+2=3\n3*3=9\n#### 9\n")
    ]  # fmt: skip
    assert build(critique_records=records)["sft"] == []  # not by default


def test_sft_takes_right_consistent_rollouts_with_the_exact_policy_prompt():
    sets = build(
        rollouts=[make_rollout("a", "1+2=3", "#### 9", group_id="g"), make_rollout("b", "#### 9", group_id="g"),
                  make_rollout("w", "#### 8", group_id="g", reward=0.0)],
        consistent_rollouts=[make_kept("a"), make_kept("w", reward=0.0)],
    )  # fmt: skip
    assert sets["sft"] == [
        {"prompt": "<solve>1+2*3\n", "completion": "1+2=3\n#### 9\n", "problem_id": "p", "rollout_id": "a",
         "origin": "consistent_rollouts", "night": NIGHT}
    ]  # fmt: skip


def test_sft_takes_right_refinements_and_tree_rollouts_and_drops_equal_texts():
    made = {
        "rollouts": [
            make_rollout("a", "x", group_id="g"), make_rollout("t", "x", tree_id="t", step_values=[1.0]),
            make_rollout("u", "y", tree_id="t", step_values=[0.5]), make_rollout("w", "z", tree_id="t", reward=0.0),
        ],
        "consistent_rollouts": [make_kept("a")],
        "refinements": [
            {"refinement_id": "f1", "rollout_id": "w", "problem_id": "p", "steps": ["r"], "outcome_reward": 1.0},
            {"refinement_id": "f2", "rollout_id": "w", "problem_id": "p", "steps": ["s"], "outcome_reward": 0.0},
        ],
    }  # fmt: skip
    assert [(row["completion"], row["origin"]) for row in build(**made)["sft"]] == [
        ("x\n", "consistent_rollouts"), ("r\n", "refinements"), ("y\n", "search"),
    ]  # fmt: skip
    only = TrainingSetsConfig(sft_from=("refinements",))
    assert [row["completion"] for row in build(only, **made)["sft"]] == ["r\n"]


def test_sft_takes_the_best_of_each_origin_and_suspected_ones_last():
    made = {
        "rollouts": [make_rollout(name, name, group_id="g") for name in ("a", "b", "c")],
        "consistent_rollouts": [make_kept("a", score=0.9), make_kept("b", score=0.5), make_kept("c", score=0.1)],
        "verdicts": [{"rollout_id": "a", "verdict": "wrong"}, {"rollout_id": "b", "verdict": "right"}],
    }
    kept = build(TrainingSetsConfig(max_sft_per_problem=2, min_step_score=0.0), **made)["sft"]
    assert {row["completion"] for row in kept} == {"b\n", "c\n"}


def test_hard_problems_give_more_solutions_by_difficulty_and_solved_ones_one():
    problems = [PROBLEMS[0] | {"problem_id": name, "prompt": f"{name}+1"} for name in ("easy", "hard", "half", "tree")]
    right = {"easy": 8, "hard": 2, "half": 4}
    samples = [
        make_rollout(f"{name}{i}", f"#### {i}", problem=name, group_id=name, reward=float(i < count))
        for name, count in right.items()
        for i in range(8)
    ]
    failed = make_rollout("failed", "#### 9", problem="easy", group_id="easy", reward=0.0, error="timeout")
    ungraded = make_rollout("ungraded", "#### 9", problem="easy", group_id="easy", reward=None)
    paths = [
        make_rollout(f"{name}-path{i}", f"#### 1{i}", problem=name, tree_id="t", step_values=[1.0])
        for name in ("hard", "tree")
        for i in range(5)
    ]
    kept = [make_kept(one["rollout_id"], problem=one["problem_id"]) for one in samples if one["outcome_reward"]]
    world = {"problems": problems, "rollouts": [*samples, failed, ungraded, *paths], "consistent_rollouts": kept}

    def counts(**config: object) -> dict[str, int]:
        found = build(TrainingSetsConfig(min_step_score=0.0, max_sft_per_problem=4, **config), **world)["sft"]
        return Counter(row["problem_id"] for row in found)

    assert counts() == {"easy": 4, "hard": 4, "half": 4, "tree": 4}
    assert counts(sft_per_problem="difficulty") == {"easy": 1, "hard": 3, "half": 2, "tree": 4}  # 4 * 6/8, 4 * 4/8


def test_sft_leaves_out_samples_and_tree_paths_with_a_step_that_the_critic_doubts():
    made = {
        "rollouts": [
            make_rollout("high", "x", "y", group_id="g"), make_rollout("low", "x", "z", group_id="g"),
            make_rollout("path", "u", tree_id="t", step_values=[0.5]), make_rollout("edge", "v", tree_id="t"),
            make_rollout("partly", "u", "w", tree_id="t"), make_rollout("never", "r", tree_id="t"),
        ],
        "consistent_rollouts": [make_kept("high"), make_kept("low")],
        "step_scores": [
            {"rollout_id": name, "step": step, "score": score}
            for name, scores in {"high": [0.9, 0.6], "low": [0.9, 0.4], "path": [0.8], "edge": [0.5],
                                 "partly": [0.9, None]}.items()
            for step, score in enumerate(scores)
        ],
        "refinements": [
            {"refinement_id": "f", "rollout_id": "low", "problem_id": "p", "steps": ["s"], "outcome_reward": 1.0},
        ],
    }  # fmt: skip
    trusted = build(TrainingSetsConfig(min_step_score=0.5, max_sft_per_problem=9), **made)["sft"]
    assert {row["rollout_id"] for row in trusted if row["origin"] != "refinements"} == {"high", "path"}
    assert [row["completion"] for row in trusted if row["origin"] == "refinements"] == ["s\n"]
    assert len(build(TrainingSetsConfig(min_step_score=0.0, max_sft_per_problem=9), **made)["sft"]) == 7


# preference -----------------------------------------------------------------------------------------


def make_pair(pair_id: str, chosen: str, rejected: str, prompt: str = "1+2*3\n", problem: str = "p"):
    return {
        "pair_id": pair_id,
        "problem_id": problem,
        "prompt": prompt,
        "chosen": chosen,
        "rejected": rejected,
        "margin": 1.0,
    }


def test_preference_prompts_are_the_policy_prompt_and_the_shared_prefix():
    (row,) = build(preference_pairs=[make_pair("1", "3*3=9\n", "3*3=6\n", prompt="1+2*3\n1+2=3\n")])["preference"]
    assert (row["prompt"], row["chosen"], row["rejected"]) == ("<solve>1+2*3\n1+2=3\n", "3*3=9\n", "3*3=6\n")


def test_pairs_found_both_ways_round_are_dropped():
    pairs = [make_pair("1", "a", "b"), make_pair("2", "b", "a"), make_pair("3", "a", "c")]
    assert [row["pair_id"] for row in build(preference_pairs=pairs)["preference"]] == ["3"]


# stepwise -------------------------------------------------------------------------------------------


def make_node(node_id: int, parent_id: int | None, depth: int, text: str, value: float | None, visits: int = 4):
    return {"tree_id": "t", "node_id": node_id, "parent_id": parent_id, "problem_id": "p", "depth": depth,
            "step_text": text, "value": value, "visit_count": visits}  # fmt: skip


NODES = [
    make_node(0, None, 0, "", 0.5), make_node(1, 0, 1, "good", 0.75, visits=8), make_node(2, 1, 2, "bad", 0.0),
    make_node(3, 2, 3, "after", 0.0), make_node(4, 2, 3, "other", 0.0), make_node(5, 1, 2, "right", 1.0, visits=3),
]  # fmt: skip


def leaf(rollout_id: str, node_id: int, reward: float):
    return make_rollout(rollout_id, "unused", reward=reward, tree_id="t", leaf_node_id=node_id)


def test_stepwise_paths_end_with_their_first_wrong_step_and_are_distinct():
    rows = build(search_nodes=NODES, rollouts=[leaf("a", 3, 0.0), leaf("b", 4, 0.0), leaf("c", 5, 1.0)])["stepwise"]
    assert [(row["completions"], row["labels"], row["soft_labels"], row["visit_counts"]) for row in rows] == [
        (["good", "bad"], [True, False], [0.75, 0.0], [8, 4]),
        (["good", "right"], [True, True], [0.75, 1.0], [8, 3]),
    ]
    assert {row["prompt"] for row in rows} == {"<solve>1+2*3\n"}


def test_stepwise_paths_end_before_the_first_node_with_few_visits_or_no_value():
    rollouts = [leaf("c", 5, 1.0)]
    (row,) = build(TrainingSetsConfig(min_step_visits=4), search_nodes=NODES, rollouts=rollouts)["stepwise"]
    assert row["completions"] == ["good"]
    unknown = [*NODES[:5], make_node(5, 1, 2, "right", None)]
    assert build(search_nodes=unknown, rollouts=rollouts)["stepwise"][0]["completions"] == ["good"]
    assert build(TrainingSetsConfig(min_step_visits=9), search_nodes=NODES, rollouts=rollouts)["stepwise"] == []


def test_a_step_is_right_when_its_value_is_above_the_threshold():
    config = TrainingSetsConfig(step_threshold=0.75)
    (row,) = build(config, search_nodes=NODES, rollouts=[leaf("c", 5, 1.0)])["stepwise"]
    assert (row["completions"], row["labels"]) == (["good"], [False])


# prompts and rl_groups ------------------------------------------------------------------------------


def test_prompts_are_those_of_the_training_problems():
    assert build()["prompts"] == [
        {"prompt": "<solve>1+2*3\n", "reference_answer": "9", "problem_id": "p", "family": "arithmetic",
         "difficulty": 1, "night": NIGHT}
    ]  # fmt: skip


def make_sample(rollout_id: str, reward: float, group: str, problem: str = "p", tokens: int = 2):
    return make_rollout(
        rollout_id, "x", problem=problem, reward=reward, group_id=group, policy_version="digest",
        prompt_token_ids=[7], completion_token_ids=[1, 2], token_logprobs=[-0.5] * tokens,
    )  # fmt: skip


def test_rl_groups_weigh_groups_alike_and_give_no_weight_where_there_is_nothing_to_learn():
    rewards = {"g1": [1.0, 0.0], "g2": [1.0, 1.0, 0.0, 0.0], "g3": [1.0, 1.0]}
    samples = [(f"{g}-{i}", reward, g) for g, all_of in rewards.items() for i, reward in enumerate(all_of)]
    made = {
        "rollouts": [make_sample(*sample) for sample in samples],
        "consistent_rollouts": [make_kept(name, reward=reward, group=g) for name, reward, g in samples],
    }
    rows = build(TrainingSetsConfig(normalise_advantages=False), **made)["rl_groups"]
    assert {row["group_id"]: row["loss_weight"] for row in rows} == {"g1": 1.5, "g2": 0.75, "g3": 0.0}
    assert [row["advantage"] for row in rows] == [0.5, -0.5, 0.5, 0.5, -0.5, -0.5, 0.0, 0.0]
    assert rows[0] == {
        "group_id": "g1", "rollout_id": "g1-0", "problem_id": "p", "prompt_token_ids": [7],
        "completion_token_ids": [1, 2], "behaviour_logprobs": [-0.5, -0.5], "policy_version": "digest",
        "reward": 1.0, "advantage": 0.5, "loss_weight": 1.5, "night": NIGHT,
    }  # fmt: skip
    normalised = build(**made)["rl_groups"]
    # g1: standard deviation of (1, 0) with n - 1 is 0.7071
    assert [row["advantage"] for row in normalised[:2]] == pytest.approx([0.70711, -0.70711], abs=1e-5)


def test_rollouts_without_complete_log_probabilities_cannot_be_trained_on():
    made = {"rollouts": [make_sample("a", 1.0, "g"), make_sample("b", 0.0, "g", tokens=1)],
            "consistent_rollouts": [make_kept("a"), make_kept("b", reward=0.0)]}  # fmt: skip
    assert [(row["rollout_id"], row["loss_weight"]) for row in build(**made)["rl_groups"]] == [("a", 0.0)]


def test_no_held_out_problem_reaches_any_set():
    sets = build(
        rollouts=[make_sample("s", 1.0, "g", problem="h"), leaf("t", 5, 1.0) | {"problem_id": "h", "steps": ["x"]}],
        search_nodes=[node | {"problem_id": "h"} for node in NODES],
        preference_pairs=[make_pair("1", "a", "b", prompt="5+5\n", problem="h")],
        consistent_rollouts=[make_kept("s", problem="h")],
        refinements=[{"refinement_id": "f", "problem_id": "h", "steps": ["r"], "outcome_reward": 1.0}],
    )
    assert {name for name, rows in sets.items() if rows} == {"prompts"}
    assert [row["problem_id"] for row in sets["prompts"]] == ["p"]


def test_the_order_of_the_input_rows_does_not_matter():
    rollouts = [make_rollout(f"r{i}", f"step {i}", group_id="g") for i in range(9)]
    kept = [make_kept(f"r{i}") for i in range(9)]
    forwards = build(rollouts=rollouts, consistent_rollouts=kept)
    assert build(rollouts=rollouts[::-1], consistent_rollouts=kept[::-1]) == forwards
    assert len(forwards["sft"]) == 4


def test_other_styles_work_too():
    tables = [rows_to_table("problems", PROBLEMS), *(SCHEMAS[name].empty_table() for name in TABLES[1:])]
    for style in ("plain", "chat"):
        prompts: pa.Table = build_training_sets(*tables, load_prompts(style), TrainingSetsConfig(), NIGHT)["prompts"]
        assert prompts["prompt"].to_pylist() == [load_prompts(style).solve_prompt(PROBLEMS[0])]


def test_chat_prompts_are_the_whole_text_that_the_policy_was_asked_with():
    tables = [rows_to_table(name, PROBLEMS if name == "problems" else []) for name in TABLES]
    sets = build_training_sets(
        *tables, load_prompts("starter"), TrainingSetsConfig(), NIGHT, chat_text=lambda text: f"[user]{text}[assistant]"
    )
    assert sets["prompts"]["prompt"].to_pylist() == ["[user]<solve>1+2*3\n[assistant]"]
