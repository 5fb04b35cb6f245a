"""Pairs of whole paths of one search tree: a right against a wrong one.

The rule is that of whole rollouts with the tree as the group: outcome decides the sides, the mean value of a path's
nodes decides who meets whom. Step values hold the path's own outcome, so margins are wider than a critic's.
"""

from pydantic import Field

from pipelines.preference.mining import TREE_COLUMNS, MinerParams, miner, requiring


class TreePathParams(MinerParams):
    """Pairs of whole paths."""

    separator: str = Field("\n", description="text that ends every step")
    min_margin: float = Field(0.2, ge=0.0, le=1.0, description="smallest gap of outcome plus mean value")


TREE_PATHS = requiring(
    miner("tree_path_pairs", "path", TreePathParams, TREE_COLUMNS, "whole_rollouts", "tree_nodes",
          {"responses": "tree_paths"}),
    "outcome_reward",
)  # fmt: skip
