"""Pairs of critiques that refinements validate (MARV of MultiCritique, arXiv 2410.15287), and of refinements.

Of two critiques of one answer the meta-critique's judgment says which is better; the pair is kept where the mean score
of the refinements that were made with it agrees. The paper makes 32 refinements per critique with four other models
and scores them with a reward model. Where nobody judged the critiques, the refinements alone decide.

A refinement is paired with the answer that it started from, where it is graded higher.
"""

from pydantic import Field

from pipelines.preference.mining import MinerParams, columns, miner

CRITIQUE = {
    "rollout_id": "the criticised answer",
    "problem_id": "the problem",
    "critique_id": "the critique, once per table",
    "prompt": "what the critic was asked; null: nothing",
    "critique": "the critique's text",
    "quality": "the meta-critique's judgment, larger is better; null: none",
    "refinement_scores": "scores of all refinements made with it; null: none",
    "policy": "who wrote it; null: not known",
}
REFINEMENT = {
    "problem_id": "the problem",
    "prompt": "what was asked; null: nothing",
    "original_id": "the answer",
    "original": "its text",
    "original_reward": "its grade or score",
    "refinement_id": "the refinement",
    "refinement": "its text",
    "refinement_reward": "its grade or score",
    "policy": "who wrote both; null: not known",
}


class CritiquePairParams(MinerParams):
    """Pairs of critiques."""

    min_refinements: int = Field(1, ge=1, description="scored refinements of both critiques; the paper has 32")


class RefinementPairParams(MinerParams):
    """Pairs of refinements and originals."""

    both_ways: bool = Field(False, description="also reject refinements that made a right answer wrong")


CRITIQUE_PAIRS = miner(
    "marv_critique_pairs", "critique", CritiquePairParams,
    columns("critique_outcomes", CRITIQUE,
            ("rollout_id", "problem_id", "critique_id", "critique", "refinement_scores")),
    "critique_pairs", "critique_outcomes",
)  # fmt: skip
REFINEMENT_PAIRS = miner(
    "refinement_pairs", "refinement", RefinementPairParams,
    columns("refined_responses", REFINEMENT,
            tuple(name for name in REFINEMENT if name not in ("prompt", "policy"))),
    "refinement_pairs", "refined_responses",
)  # fmt: skip
