"""Which columns a column comes from, for Dagster's column lineage.

Ids go from table to table under one name, so a column that carries one comes from the same column of the tables that it
was made from; what is computed is declared in `COMPUTED`. A column of neither kind has no lineage: none is guessed.
"""

from collections.abc import Mapping, Sequence

import dagster as dg

from pipelines.tables import SCHEMAS

Columns = tuple[tuple[str, str], ...]  # (table, column)

SAME = {
    "problem_id", "rollout_id", "group_id", "tree_id", "node_id", "critique_id", "pair_id", "critic_id", "family",
    "difficulty", "reference_answer",
}  # fmt: skip
"""Columns that mean the same wherever they stand."""

COMPUTED: Mapping[str, Mapping[str, Columns]] = {
    "step_scores": {
        "score": (("rollouts", "steps"), ("critics", "path")),
        "scorer_version": (("critics", "digest"),),
    },
    "token_scores": {
        "token_logprobs": (("rollouts", "prompt_token_ids"), ("rollouts", "completion_token_ids")),
        "token_entropies": (("rollouts", "prompt_token_ids"), ("rollouts", "completion_token_ids")),
    },
    "critiques": {"verdict": (("rollouts", "steps"),), "step_verdicts": (("rollouts", "steps"),)},
    "verdicts": {"verdict": (("critiques", "verdict"),), "confidence": (("critiques", "verdict"),)},
    "refinements": {"steps": (("rollouts", "steps"), ("critiques", "text"))},
    "new_problems": {  # an answer and an id of their own, in spite of the names
        "source_problem_id": (("problems", "problem_id"),),
        "answer_margin": (("rollouts", "answer"),),
        "problem_id": (),
        "reference_answer": (),
    },
    "node_values": {"value": (("search_nodes", "outcome_reward"), ("search_nodes", "raw_value"))},
    "first_errors": {"step": (("search_nodes", "value"), ("rollouts", "outcome_reward"))},
    "consistency_results": {
        "kept": (("rollouts", "outcome_reward"), ("step_scores", "score")),
        "reason": (("rollouts", "outcome_reward"), ("step_scores", "score")),
        "score": (("step_scores", "score"),),
    },
    "consistent_rollouts": {
        "outcome_reward": (("rollouts", "outcome_reward"),),
        "group_advantage": (("rollouts", "outcome_reward"), ("consistency_results", "kept")),
        "score": (("consistency_results", "score"),),
    },
    "preference_pairs": {
        "prompt": (("problems", "prompt"), ("search_nodes", "step_text")),
        "chosen": (("search_nodes", "step_text"), ("rollouts", "steps")),
        "rejected": (("search_nodes", "step_text"), ("rollouts", "steps")),
        "chosen_score": (("search_nodes", "value"), ("rollouts", "outcome_reward"), ("step_scores", "score")),
        "rejected_score": (("search_nodes", "value"), ("rollouts", "outcome_reward"), ("step_scores", "score")),
        "margin": (("search_nodes", "value"), ("rollouts", "outcome_reward"), ("step_scores", "score")),
        "chosen_policy": (("rollouts", "policy_version"),),
        "rejected_policy": (("rollouts", "policy_version"),),
    },
    "pair_judgments": {"verdict": (("preference_pairs", "chosen"), ("preference_pairs", "rejected"))},
    "sft": {
        "prompt": (("problems", "prompt"),),
        "completion": (
            ("rollouts", "steps"),
            ("refinements", "steps"),
            ("consistent_rollouts", "score"),
            ("replay", "steps"),
        ),
    },
    "replay": {"steps": (("rollouts", "steps"),), "policy_version": (("rollouts", "policy_version"),)},
    "preference": {
        name: (("preference_pairs", name),)
        for name in (
            "prompt",
            "chosen",
            "rejected",
            "margin",
            "chosen_score",
            "rejected_score",
            "soft_label",
            "weight",
            "method",
        )  # fmt: skip
    },
    "stepwise": {
        "prompt": (("problems", "prompt"),),
        "completions": (("rollouts", "steps"),),
        "labels": (("search_nodes", "value"),),
        "soft_labels": (("search_nodes", "value"),),
        "visit_counts": (("search_nodes", "visit_count"),),
    },
    "prompts": {"prompt": (("problems", "prompt"),)},
    "rl_groups": {
        "prompt_token_ids": (("rollouts", "prompt_token_ids"),),
        "completion_token_ids": (("rollouts", "completion_token_ids"),),
        "behaviour_logprobs": (("rollouts", "token_logprobs"),),
        "policy_version": (("rollouts", "policy_version"),),
        "reward": (("consistent_rollouts", "outcome_reward"),),
        "advantage": (("consistent_rollouts", "group_advantage"),),
    },
}
ASSETS = {"critics": "process_critic"}  # table -> asset, where they are not named alike


def column_lineage(table: str, upstream: Sequence[str]) -> dg.TableColumnLineage | None:
    """The lineage of a table's columns; None where no column is known to come from anywhere.

    upstream: the tables that the rows were made from; a declared source counts whether or not it is among them, because
    some are read by way of others.
    """
    found: dict[str, list[dg.TableColumnDep]] = {}
    for column in SCHEMAS[table].names:
        same = [(name, column) for name in upstream if column in SAME and column in SCHEMAS[name].names]
        sources = COMPUTED.get(table, {}).get(column, tuple(same))
        if sources:
            found[column] = [
                dg.TableColumnDep(asset_key=dg.AssetKey(ASSETS.get(name, name)), column_name=source)
                for name, source in sources
            ]
    return dg.TableColumnLineage(found) if found else None
