"""Judges as trainees: pairs of judgments, rationales worth keeping, rollouts and preference pairs as judge prompts.

Pure queries over anybody's tables; they stand in `sql/critiques/`. Judgments without a verdict, items without a label
and sides that are missing make no row, or a row with a reason. Lots are hashes of ids and the seed.

Methods that METHODS knows in outline only (Direct Judgement Preference Optimization, Self-rationalization, SPARK,
LLaVA-Critic-R1 and R1-Reward, Critic-RM) are built from their papers' descriptions as we remember them, and their
prompts are ours.
"""

from typing import Literal

import pyarrow as pa
from pydantic import BaseModel, Field

from pipelines.agents.rewards import columns, over
from pipelines.config import Section
from pipelines.curation import DECISION, Column, Curation
from pipelines.preference.mining import answer_columns, pair_columns

JUDGMENT = {
    "item_id": "what was judged; judgments of different items never meet",
    "judgment_id": "the judgment, once per table",
    "prompt": "what the judge was asked; null: nothing stands before its words",
    "critique": "the judge's reasoning; null: none",
    "verdict": "its conclusion; null: it could not be read",
    "label": "the right conclusion, in the same words; null: not known",
    "score": "its score; null: none",
    "label_score": "the right score; null: not known",
    "response": "what was judged; null: not given",
    "deduced_response": "what a weaker model thinks was judged, told the critique alone; null: not asked",
}
PAIR = pa.schema([(name, pa.string()) for name in ("chosen", "rejected", "chosen_id", "rejected_id")])


class JudgmentPairParams(Section):
    """Parameters of Direct Judgement Preference Optimization."""

    kinds: tuple[Literal["critique", "verdict", "deduction"], ...] = Field(
        ("critique", "verdict", "deduction"), min_length=1, description="the kinds of pairs"
    )
    max_pairs_per_item: int = Field(8, ge=1, description="pairs of the kind critique, by lot")


class SelfRationalizationParams(Section):
    """Parameters of Self-rationalization."""

    by_majority: bool = Field(False, description="the judge's most frequent score stands for the label")
    min_gap: float = Field(1.0, gt=0.0, le=1e6, description="how far a rejected rationale's score is off")
    max_pairs_per_item: int = Field(8, ge=1, description="the widest gaps are kept")


class KeptRationaleParams(Section):
    """Parameters of keeping rationales."""

    leaks: tuple[str, ...] = Field(
        ("reference", "given answer", "ground truth"), description="texts that give away what the judge was shown"
    )
    balanced: bool = Field(True, description="equally many of each label")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of the lot")


class RecycledRolloutParams(Section):
    """Parameters of SPARK's recycling."""

    kinds: tuple[Literal["pointwise", "pairwise", "reflection"], ...] = Field(
        ("pointwise", "pairwise", "reflection"), min_length=1, description="the kinds of judge prompts"
    )
    max_per_problem: int = Field(4, ge=1, description="prompts of a kind per problem, by lot")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of the lots")


class PreferencePromptParams(Section):
    """Parameters of verifiable preference prompts."""

    seed: int = Field(0, ge=0, lt=2**31, description="seed of the order of the two sides")


class JudgeShareParams(Section):
    """Parameters of mixing judge rows into an RL set."""

    share: float = Field(0.2, ge=0.0, lt=1.0, description="judge rows among the kept rows, at most")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of the lot")


def _strings(*names: str) -> list[tuple[str, pa.DataType]]:
    return [(name, pa.string()) for name in names]


def _judgments(
    query: str,
    params: type[BaseModel],
    writes: pa.Schema,
    required: tuple[str, ...],
    optional: tuple[str, ...],
    grain: str,
) -> Curation:
    meanings = {name: text for name, text in JUDGMENT.items() if name in (*required, *optional)}
    return over("judgments", query, params, columns("judgments", meanings, required), writes, grain)


JUDGMENT_PAIRS = _judgments(
    "judgment_pairs", JudgmentPairParams, pa.schema([*_strings("item_id", "kind", "prompt"), *PAIR]),
    ("item_id", "judgment_id", "verdict", "label"), ("prompt", "critique", "response", "deduced_response"), "table",
)  # fmt: skip
SELF_RATIONALIZATION = _judgments(
    "self_rationalization", SelfRationalizationParams,
    pa.schema([*_strings("item_id", "prompt", "chosen", "rejected"), ("margin", pa.float64()),
               *_strings("chosen_id", "rejected_id")]),
    ("item_id", "judgment_id", "critique", "score"), ("prompt", "label_score"), "table",
)  # fmt: skip
KEPT_RATIONALES = _judgments(
    "kept_rationales", KeptRationaleParams, DECISION, ("judgment_id", "verdict", "label"), ("critique",), "rows"
)
RECYCLED_ROLLOUTS = over(
    "responses", "recycled_rollouts", RecycledRolloutParams, answer_columns("outcome_reward"),
    pa.schema(_strings("problem_id", "kind", "prompt", "first", "second", "label", "first_id", "second_id")), "table",
)  # fmt: skip
PREFERENCE_PROMPTS = over(
    "known_pairs", "preference_prompts", PreferencePromptParams, pair_columns(),
    pa.schema(_strings("first", "second", "reference_answer", "reason")),
)  # fmt: skip
JUDGE_SHARE = over(
    "mixed_rows", "judge_share", JudgeShareParams,
    (
        Column("row_id", pa.string(), "the row, once per table", is_nullable=False),
        Column("is_judge", pa.bool_(), "a row that trains judging; null: no"),
    ),
    DECISION,
)  # fmt: skip
