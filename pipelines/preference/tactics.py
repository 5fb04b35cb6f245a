"""Pairs of tactics at the same goals: one that a found proof goes through, and one that failed there.

BFS-Prover (arXiv 2502.03438; from notes on the paper) trains with DPO on (tactic of a proof > tactic that gives a Lean
error at the same state). The critic of InternLM2.5-StepProver (arXiv 2410.15700) pairs the child on a proof with its
siblings that are on none: `against_detours`. Only a Lean error is a failure: what timed out or crashed was cut off.

Degenerate cases: a theorem without a proof gives no pair; at goals without a failed tactic there is none.
"""

from pydantic import Field

from pipelines.preference.mining import MinerParams, columns, miner

TACTIC = {
    "problem_id": "the theorem",
    "tactic_id": "the attempt, once per table",
    "state": "the goals before the tactic, as the prover prints them; null: not known, so nothing is paired",
    "tactic": "the tactic's text",
    "result": "state | finished | error | given_up | timeout | crash; null: not known",
    "is_on_proof": "whether a found and checked proof goes through it; null: no",
    "policy": "who wrote it; null: not known",
}


class TacticParams(MinerParams):
    """Pairs of tactics."""

    against_detours: bool = Field(
        False, description="also reject tactics that led on, but to no proof that was found; their margin is not known"
    )


TACTIC_PAIRS = miner(
    "tactic_pairs", "tactic", TacticParams,
    columns("tactics", TACTIC, ("problem_id", "tactic_id", "state", "tactic", "result", "is_on_proof")),
    "tactic_pairs", "tactics",
)  # fmt: skip
