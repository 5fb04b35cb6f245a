"""verl 0.9.1: the Parquet rows of its reinforcement learning.

Read in verl 0.9.1 (`verl/utils/dataset/rl_dataset.py`, class RLHFDataset; `verl/workers/reward_manager/naive.py`):
`prompt` is a list of messages, to which the agent loop applies the tokenizer's chat template. `data_source` chooses the
reward function; names that verl does not know need `custom_reward_function.path`, called as
`compute_score(data_source, solution_str, ground_truth, extra_info)`. `reward_model.ground_truth` has one type over the
file. `extra_info.index` tells prompts apart: here a number made of the problem's id, so it stays when rows are added
(rows that train judging, of which a problem may have several, add their text).
Its MultiTurnSFTDataset reads the column `messages` of the format `messages`.
"""

import pyarrow as pa

from pipelines.datasets.formats.contract import MESSAGES, Format, UserTextFn, made_of, needed, plain_user_text
from pipelines.records import stable_digest

STRING = pa.string()
JUDGING = "judge_"  # how the family of such rows starts
INDEX_DIGITS = 15  # hexadecimal: below 2**60, so that the number is a signed 64-bit one
RL = pa.schema([
    needed("data_source", STRING),
    needed("prompt", MESSAGES),
    needed("ability", STRING),
    needed("reward_model", pa.struct([("style", STRING), ("ground_truth", STRING)])),
    needed("extra_info", pa.struct([("index", pa.int64()), ("problem_id", STRING), ("difficulty", pa.int64())])),
    ("problem_id", STRING),
])  # fmt: skip


def _rl(table: pa.Table, user_text: UserTextFn = plain_user_text) -> pa.Table:
    rows = table.select(["prompt", "reference_answer", "problem_id", "family", "difficulty"]).to_pylist()
    columns = {
        "data_source": [f"reasonmill/{row['family'] or 'problems'}" for row in rows],
        "prompt": [row["prompt"] and [{"role": "user", "content": user_text(row["prompt"])}] for row in rows],
        "ability": [row["family"] or "problems" for row in rows],
        "reward_model": [
            None if row["reference_answer"] is None else {"style": "rule", "ground_truth": row["reference_answer"]}
            for row in rows
        ],
        "extra_info": [
            {
                "index": int(stable_digest(*_parts(row), length=INDEX_DIGITS), 16),
                "problem_id": row["problem_id"],
                "difficulty": row["difficulty"],
            }
            for row in rows
        ],
        "problem_id": table["problem_id"],
    }
    return made_of(table, columns, RL)


def _parts(row: dict[str, str | None]) -> tuple[str | None, ...]:
    is_judging = (row["family"] or "").startswith(JUDGING)
    return (row["problem_id"], row["prompt"]) if is_judging else (row["problem_id"],)


FORMATS = (
    Format(
        "verl_rl", "Prompts as messages with the ground truth of a rule-based reward.", ("prompts",), RL, _rl,
        "verl 0.9.1 RLHFDataset", is_chat=True,
    ),
)  # fmt: skip
