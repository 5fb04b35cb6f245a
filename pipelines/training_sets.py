"""All tables -> sft, preference, stepwise, prompts, rl_groups: training sets in the trainers' own columns.

Invariants
- Only problems of the split `train` reach any set, and gold steps are never read.
- `prompt` is exactly the text that the policy was asked with: for the chat style the user message inside the model's
  chat template, opened for the assistant, so that a trainer adds nothing. In `preference` the shared prefix follows it.
- Steps end with the style's separator, so prompt + completion tokenises as the policy wrote it.
- Rows are ordered and distinct, so the same tables give the same sets, byte for byte.
"""

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.config import TrainingSetsConfig
from pipelines.reasoning.prompts import PromptStyle
from pipelines.search.extraction import step_nodes
from pipelines.tables import SCHEMAS, TRAINING_SETS
from pipelines.warehouse import Rows, Warehouse

NODE_COLUMNS = ["tree_id", "node_id", "parent_id", "depth", "node_kind", "step_text", "value", "visit_count"]


def build_training_sets(
    problems: pa.Table,
    rollouts: Rows,
    search_nodes: pa.Table,
    pairs: pa.Table,
    consistent_rollouts: Rows,
    verdicts: pa.Table,
    refinements: pa.Table,
    step_scores: Rows,
    prompts: PromptStyle,
    config: TrainingSetsConfig,
    night: str,
    chat_text: Callable[[str], str] | None = None,
    *,
    replay: pa.Table | None = None,
    critique_records: pa.Table | None = None,
) -> dict[str, pa.Table]:
    """Every training set of one night by name (the names of TRAINING_SETS); a set may have no rows.

    `step_scores` are of one scorer. `chat_text` puts a user message into the policy's chat template; None where the
    style is not chat. `replay`: rollouts of nights before, of which `replay_share` takes; None: none.
    `critique_records` hold explanations that may be imitated; None: there are none.
    """
    as_asked = chat_text or (lambda text: text)
    train = problems.filter(pc.equal(problems["split"], "train"))
    solve_prompts = [as_asked(prompts.solve_prompt(row)) for row in train.to_pylist()]
    tables = {
        "problems": _with_prompts(train, solve_prompts),
        "rollouts": rollouts,
        "search_nodes": step_nodes(search_nodes.select(NODE_COLUMNS)),
        "preference_pairs": _with_solve_prompts(pairs, train, solve_prompts, prompts.step_separator),
        "consistent_rollouts": consistent_rollouts,
        "verdicts": verdicts,
        "refinements": refinements,
        "step_scores": step_scores,
        "replay": SCHEMAS["replay"].empty_table() if replay is None else replay,
        "critique_records": SCHEMAS["critique_records"].empty_table() if critique_records is None else critique_records,
    }
    separator = prompts.step_separator
    params: dict[str, dict[str, object]] = {
        "sft": {
            "origins": list(config.sft_from), "max_per_problem": config.max_sft_per_problem, "separator": separator,
            "min_step_score": config.min_step_score, "replay_share": config.replay_share,
            "by_difficulty": config.sft_per_problem == "difficulty",
        },
        "preference": {},
        "stepwise": {"step_threshold": config.step_threshold, "min_visits": config.min_step_visits},
        "prompts": {},
        "rl_groups": {"normalise": config.normalise_advantages},
    }  # fmt: skip
    with Warehouse.over(tables) as warehouse:
        return {
            name: warehouse.named(f"training_sets/{name}", night=night, **params[name]).cast(SCHEMAS[name])
            for name in TRAINING_SETS
        }


def _with_solve_prompts(pairs: pa.Table, train: pa.Table, solve_prompts: list[str], separator: str) -> pa.Table:
    """Pairs of the training problems whose prompt is the policy's prompt and the shared prefix.

    In `preference_pairs` a prompt is the statement, a separator and the prefix.
    """
    statements = dict(zip(train["problem_id"].to_pylist(), train["prompt"].to_pylist(), strict=True))
    solve = dict(zip(train["problem_id"].to_pylist(), solve_prompts, strict=True))
    own = pairs.filter(pc.is_in(pairs["problem_id"], pa.array(list(statements), pa.string())))
    texts = [
        solve[problem_id] + prompt[len(statements[problem_id]) + len(separator) :]
        for problem_id, prompt in zip(own["problem_id"].to_pylist(), own["prompt"].to_pylist(), strict=True)
    ]
    return _with_prompts(own, texts)


def _with_prompts(table: pa.Table, prompts: list[str]) -> pa.Table:
    return table.set_column(table.schema.get_field_index("prompt"), "prompt", pa.array(prompts, pa.string()))
