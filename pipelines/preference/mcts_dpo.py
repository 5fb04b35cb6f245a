"""Pairs of MCTS-DPO (arXiv 2405.00451) in the form of its released code: one per depth of the chosen path.

The chosen path goes from the root to the best child, and from it on. Children of a node are ranked by
(pi, Q, r, N): pi = 1 for the most visited ones, else 0; Q = value; r = the evaluator's estimate less the parent's,
which among siblings ranks as the estimate does. The best one is chosen, and the paper's rejected one is, in its
released code, a *random* other one (`worse = "random"`; "worst" is what its script asks for). A step with one child is
one completion with it. Soft label of the conservative loss: with visits N_w and N_l,
alpha = min(1 - 1 / (1 + N_l / max(1, N_w)), 0.5), soft_label = 1 - alpha.

Filters: one candidate, or equal texts: no pair; `only_right`: the chosen path must end in a right answer; at most
eight pairs per problem. Children that were never visited are unknown and left out (`min_visits` 1), as they have no
value here; the paper's start with their parent's. Ties are decided by the smaller node.
"""

from typing import Literal

from pydantic import Field

from pipelines.preference.mining import TreeParams, requiring, step_miner


class MctsDpoParams(TreeParams):
    """Pairs along the chosen path."""

    worse: Literal["random", "worst"] = Field("random", description="which of the other children is rejected")
    only_right: bool = Field(True, description="the chosen path must end in a right answer")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of the random choice")


MCTS_DPO = requiring(step_miner("mcts_dpo_pairs", "step", MctsDpoParams, "mcts_dpo"), "outcome_reward")
