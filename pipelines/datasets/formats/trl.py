"""TRL 1.16: the columns of its trainers.

Read in trl 1.16.0 (`trl/trainer/*.py`, `trl/data_utils.py`):
SFTTrainer     `prompt` + `completion` (loss on the completion alone, the end token is appended), `messages` (loss on
               all of it unless `assistant_only_loss`), or `input_ids` + `labels` as they are. `loss_type="dft"` weighs
               every token by its own probability under the policy that is being trained.
DPOTrainer     `prompt`, `chosen`, `rejected`. It reads no weight of a pair: `use_weighting` makes WPO's from the policy
               that is being trained. `weight` stands here for trainers that read one. It appends the end token to both
               sides, also where they are single steps that go on: choose by `method` where that is not wanted.
RewardTrainer  `chosen`, `rejected`, put behind `prompt` where there is one; a `margin` is subtracted in the loss,
               which is why only `trl_reward` has it.
KTOTrainer     `prompt`, `completion`, `label`; its configuration balances the classes (`desirable_weight`).
GRPOTrainer    `prompt`; every other column reaches the reward functions as a list under its name.
Stepwise supervision (`prompt`, `completions`, `labels`) has no trainer in trl 1.16: it is the format of its PRMTrainer
up to release 0.x, which puts each label on the last token of its step.
Prompts carry whatever the policy needs, so they are plain strings: the trainer must add no chat template.
"""

import pyarrow as pa

from pipelines.datasets.formats.contract import (
    MESSAGES,
    Format,
    UserTextFn,
    columns_of,
    made_of,
    needed,
    plain_user_text,
)
from pipelines.preference.unpaired import UNPAIRED, UnpairedParams

STRING = pa.string()
SFT = pa.schema(
    [needed("prompt", STRING), needed("completion", STRING), ("problem_id", STRING), ("rollout_id", STRING)]
)
CHAT = pa.schema([needed("messages", MESSAGES), ("problem_id", STRING), ("rollout_id", STRING)])
PAIR = (needed("prompt", STRING), needed("chosen", STRING), needed("rejected", STRING))
PAIR_IDS = (("problem_id", STRING), ("pair_id", STRING))
PREFERENCE = pa.schema([*PAIR, ("weight", pa.float64()), ("method", STRING), *PAIR_IDS])
REWARD = pa.schema([*PAIR, needed("margin", pa.float64()), *PAIR_IDS])
LABELLED = pa.schema([
    needed("prompt", STRING), needed("completion", STRING), needed("label", pa.bool_()), ("problem_id", STRING),
])  # fmt: skip
STEPWISE = pa.schema([
    needed("prompt", STRING), needed("completions", pa.list_(STRING)), needed("labels", pa.list_(pa.bool_())),
    ("soft_labels", pa.list_(pa.float64())), ("visit_counts", pa.list_(pa.int64())),
    ("problem_id", STRING), ("rollout_id", STRING),
])  # fmt: skip
PROMPTS = pa.schema([
    needed("prompt", STRING), needed("reference_answer", STRING), ("problem_id", STRING), ("family", STRING),
    ("difficulty", pa.int64()),
])  # fmt: skip


def _messages(table: pa.Table, user_text: UserTextFn = plain_user_text) -> pa.Table:
    pairs = zip(table["prompt"].to_pylist(), table["completion"].to_pylist(), strict=True)
    messages = [
        None if None in (prompt, completion)
        else [{"role": "user", "content": user_text(prompt)}, {"role": "assistant", "content": completion}]
        for prompt, completion in pairs
    ]  # fmt: skip
    ids = {name: table[name] for name in ("problem_id", "rollout_id")}
    return made_of(table, {"messages": messages, **ids}, CHAT)


def _unpaired(table: pa.Table) -> pa.Table:
    """Every text once; one that is chosen here and rejected there has no label and is dropped."""
    pairs = columns_of(table, PREFERENCE).select(["problem_id", "prompt", "chosen", "rejected"])
    return columns_of(UNPAIRED.run(pairs, UnpairedParams()), LABELLED)


FORMATS = (
    Format(
        "trl_sft", "A right solution behind its prompt, for supervised fine-tuning on the completion.", ("sft",), SFT,
        lambda table: columns_of(table, SFT), "trl 1.16.0 SFTTrainer",
    ),
    Format(
        "messages", "A right solution as the user's and the assistant's message.", ("sft",), CHAT, _messages,
        "trl 1.16.0 SFTTrainer; verl 0.9.1 MultiTurnSFTDataset", is_chat=True,
    ),
    Format(
        "trl_preference", "Two continuations of one prompt, the better first, with the weight of the pair's loss.",
        ("preference",), PREFERENCE, lambda table: columns_of(table, PREFERENCE), "trl 1.16.0 DPOTrainer",
    ),
    Format(
        "trl_reward", "Two continuations of one prompt with the margin that a reward model should keep.",
        ("preference",), REWARD, lambda table: columns_of(table, REWARD), "trl 1.16.0 RewardTrainer",
    ),
    Format(
        "trl_unpaired", "Single continuations, each labelled as wanted or not, none that is both.", ("preference",),
        LABELLED, _unpaired, "trl 1.16.0 KTOTrainer", is_by_row=False,
    ),
    Format(
        "stepwise", "A path with a label per step, up to its first wrong step.", ("stepwise",), STEPWISE,
        lambda table: columns_of(table, STEPWISE),
        "column contract of TRL's former PRMTrainer; trl 1.16.0 has no trainer for steps",
    ),
    Format(
        "trl_grpo", "Prompts with the reference answer that a reward function reads.", ("prompts",), PROMPTS,
        lambda table: columns_of(table, PROMPTS), "trl 1.16.0 GRPOTrainer",
    ),
)  # fmt: skip
