"""OpenRLHF 0.11.2: the keys of its three dataset classes.

Read in openrlhf 0.11.2 (`openrlhf/datasets/{sft,reward,prompts}_dataset.py`, `openrlhf/cli/train_*.py`). Texts are
strings that need no template, so leave `--data.apply_chat_template` off and set
`--data.input_template "{}"` for supervised fine-tuning (its default puts "User: ... Assistant: " round the prompt).
SFTDataset     `--data.input_key input --data.output_key output`
RewardDataset  `--data.prompt_key prompt` with `chosen`, `rejected`; reward models subtract the column `margin`, which
               DPO leaves alone.
PromptDataset  `--data.input_key input --data.label_key label`; `datasource` is shown to the reward function.
All but the last strip the line ends of a text and put a space before the end token: tokens of the end of a solution
are then not exactly the policy's.
"""

import pyarrow as pa

from pipelines.datasets.formats.contract import Format, columns_of, made_of, needed
from pipelines.datasets.formats.trl import REWARD

STRING = pa.string()
SFT = pa.schema([needed("input", STRING), needed("output", STRING), ("problem_id", STRING), ("rollout_id", STRING)])
PROMPTS = pa.schema(
    [needed("input", STRING), needed("label", STRING), needed("datasource", STRING), ("problem_id", STRING)]
)


def _sft(table: pa.Table) -> pa.Table:
    columns = {"input": table["prompt"], "output": table["completion"]}
    return made_of(table, columns | {name: table[name] for name in ("problem_id", "rollout_id")}, SFT)


def _prompts(table: pa.Table) -> pa.Table:
    columns = {
        "input": table["prompt"],
        "label": table["reference_answer"],
        "datasource": table["family"].fill_null("problems"),
        "problem_id": table["problem_id"],
    }
    return made_of(table, columns, PROMPTS)


FORMATS = (
    Format(
        "openrlhf_sft", "A right solution behind its prompt.", ("sft",), SFT, _sft, "openrlhf 0.11.2 SFTDataset",
    ),
    Format(
        "openrlhf_preference", "Two continuations of one prompt with their margin, for reward models and DPO.",
        ("preference",), REWARD, lambda table: columns_of(table, REWARD), "openrlhf 0.11.2 RewardDataset",
    ),
    Format(
        "openrlhf_prompts", "Prompts with the answer that the reward function compares with.", ("prompts",), PROMPTS,
        _prompts, "openrlhf 0.11.2 PromptDataset",
    ),
)  # fmt: skip
