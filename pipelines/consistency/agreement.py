"""What agrees with what: samples with each other, paraphrases with originals, judges with judges, rewards with facts.

Self-consistency (arXiv 2203.11171) as a filter, Co-Reward's cross labels (2508.00410), SCIR's agreeing pairs
(2502.08922; its penalty's exact form is deduced) and the accuracy of a reward model on Contrast Instructions
(2309.16155). Formulas, ties and degenerate cases stand in the queries.
"""

import pyarrow as pa
from pydantic import Field

from pipelines.config_models import Section
from pipelines.consistency.samples import ANSWER, GROUP_ID, NUMBERS, PROBLEM_ID, ROLLOUT_ID, by_query
from pipelines.curation import DECISION, Column, Curation


class SelfConsistencyParams(Section):
    """How large the majority must be."""

    min_share: float = Field(0.5, ge=0.0, le=1.0, description="share of the group that must give the majority's answer")


class NoParams(Section):
    """The method has none."""


class SCIRParams(Section):
    """The penalty."""

    eta: float = Field(1.0, ge=0.0, le=100.0, description="weight of the judges' own entropy in the score (deduced)")


SELF_CONSISTENCY = Curation(
    params=SelfConsistencyParams,
    reads=(PROBLEM_ID, ROLLOUT_ID, ANSWER, GROUP_ID),
    writes=DECISION,
    grain="rows",
    run=by_query("consistent_rollouts/self_consistency"),
)
CO_REWARD = Curation(
    params=NoParams,
    reads=(
        Column(
            "problem_id", pa.string(), "the problem that was paraphrased; the same on both sides", is_nullable=False
        ),
        Column("is_paraphrase", pa.bool_(), "the sample answers the paraphrase", is_nullable=False),
        ANSWER,
    ),
    writes=pa.schema([("cross_label", pa.string()), ("label_share", pa.float64()), ("cross_reward", pa.float64())]),
    grain="rows",
    run=by_query("consistent_rollouts/co_reward", "paraphrased_rollouts"),
)
SCIR = Curation(
    params=SCIRParams,
    reads=(
        Column("preferences", NUMBERS, "per judge the probability, 0 to 1, that the first answer is the better one"),
    ),
    writes=DECISION,
    grain="rows",
    run=by_query("consistent_rollouts/scir", "judge_preferences"),
)
CONTRAST_INSTRUCTIONS = Curation(
    params=NoParams,
    reads=(
        Column("pair_id", pa.string(), "two similar instructions with their responses", is_nullable=False),
        Column("instruction", pa.int64(), "1 or 2", is_nullable=False),
        Column("response", pa.int64(), "1 or 2: the instruction that it belongs to", is_nullable=False),
        Column("score", pa.float64(), "the reward model's; null = none"),
    ),
    writes=pa.schema(
        [
            ("metric", pa.string()),
            ("num_comparisons", pa.int64()),
            ("num_ties", pa.int64()),
            ("accuracy", pa.float64()),
        ]
    ),
    grain="table",
    run=by_query("consistent_rollouts/contrast_instructions", "contrast_scores"),
)
