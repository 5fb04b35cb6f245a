"""Rows with tokens: the groups of reinforcement learning, and masks and weights of single tokens.

`rl_groups` leaves as it is: it is this project's own contract, which plain PyTorch and TRL's GRPOTrainer with
completions of ours read (`examples/`).

Masks. `token_weights` has `input_ids` and `labels`, -100 on the prompt, which trl 1.16.0's SFTTrainer takes as they
are; `spliced_sft` (Agent-R, arXiv 2501.11425) masks text: prompt, shared steps and wrong steps are the `prompt`, the
thought that turns round and the right steps are the `completion`, on which alone the loss is.

Weights. DFT (arXiv 2508.05629) and the first term of ASFT weigh a token by its probability: `token_weights` has that of
the policy that wrote it, w_t = exp(behaviour log-probability), 0 on the prompt, by the query of the method
`token_weights`. trl's `loss_type="dft"` recomputes it from the policy that is being trained and reads no column.
"""

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.datasets.formats.contract import Format, columns_of, made_of, needed
from pipelines.preference.likelihoods import TOKEN_WEIGHTS, TokenWeightParams
from pipelines.reasoning.prompts import PromptStyle
from pipelines.tables import SCHEMAS

STRING, INTS, FLOATS = pa.string(), pa.list_(pa.int64()), pa.list_(pa.float64())
MASKED = -100  # the label that no loss counts
TEXTS = pa.schema(
    [needed("prompt", STRING), needed("completion", STRING), ("problem_id", STRING), ("splice_id", STRING)]
)
TOKENS = pa.schema([
    needed("input_ids", INTS), needed("labels", INTS), needed("token_weights", FLOATS),
    ("problem_id", STRING), ("rollout_id", STRING),
])  # fmt: skip


def _token_weights(table: pa.Table) -> pa.Table:
    """Right rollouts, each token with its weight; nothing of a wrong one is imitated."""
    right = table.filter(pc.equal(table["reward"], 1.0))
    samples = pa.table({
        "position": pa.array(range(right.num_rows), pa.int64()), "token_logprobs": right["behaviour_logprobs"],
    })  # fmt: skip
    weights = TOKEN_WEIGHTS.run(samples, TokenWeightParams())["token_weights"].to_pylist()
    prompts, completions = right["prompt_token_ids"].to_pylist(), right["completion_token_ids"].to_pylist()
    rows = list(zip(prompts, completions, weights, strict=True))
    columns = {
        "input_ids": [prompt + completion for prompt, completion, _ in rows],
        "labels": [[MASKED] * len(prompt) + completion for prompt, completion, _ in rows],
        "token_weights": [None if own is None else [0.0] * len(prompt) + own for prompt, _, own in rows],
        "problem_id": right["problem_id"],
        "rollout_id": right["rollout_id"],
    }
    return made_of(right, columns, TOKENS)


def _spliced(table: pa.Table) -> pa.Table:
    """`prompt` of the splices must be the policy's own, which `export` puts there."""
    end = PromptStyle.step_separator
    rows = table.select(["prompt", "prefix_steps", "wrong_steps", "transition", "right_steps"]).to_pylist()
    columns = {
        "prompt": [
            row["prompt"] and row["prompt"] + "".join(step + end for step in row["prefix_steps"] + row["wrong_steps"])
            for row in rows
        ],
        "completion": ["".join(step + end for step in [row["transition"], *row["right_steps"]]) for row in rows],
        "problem_id": table["problem_id"],
        "splice_id": table["splice_id"],
    }
    return made_of(table, columns, TEXTS)


FORMATS = (
    Format(
        "rl_groups", "Kept rollouts in groups: tokens, behaviour log-probabilities, advantage and weight of the loss.",
        ("rl_groups",), SCHEMAS["rl_groups"], lambda table: columns_of(table, SCHEMAS["rl_groups"]),
        "column contract of this project; read by examples/train_rl_groups.py and by trl 1.16.0 GRPOTrainer",
    ),
    Format(
        "token_weights", "Right rollouts as tokens with labels and the probability of every token as its weight.",
        ("rl_groups",), TOKENS, _token_weights,
        "trl 1.16.0 SFTTrainer (input_ids, labels); token_weights: column contract of this project",
    ),
    Format(
        "spliced_sft", "A wrong path, masked, then the thought that turns round and the right path.", ("splices",),
        TEXTS, _spliced, "trl 1.16.0 SFTTrainer",
    ),
)  # fmt: skip
