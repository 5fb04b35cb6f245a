"""Methods that make, weigh and clean preference pairs."""

from pipelines.catalogue.method import Method
from pipelines.config import PairsConfig

METHODS = (
    Method(
        name="sibling_step_pairs",
        paper="Monte Carlo Tree Search Boosts Reasoning via Iterative Preference Learning (MCTS-DPO)",
        arxiv="2405.00451",
        summary="Pairs the best with a worse child of one node: same prefix, a gap of values.",
        reads=("problems", "search_nodes"),
        writes=("preference_pairs",),
        params=PairsConfig,
        function="pipelines.preference_pairs.build_pairs",
        query="preference_pairs/sibling_steps",
    ),
    Method(
        name="ppm_step_pairs",
        paper="rStar-Math: Small LLMs Can Master Math Reasoning with Self-Evolved Deep Thinking",
        arxiv="2501.04519",
        summary="Pairs siblings that led to right and to wrong answers, where their continuations agree.",
        reads=("problems", "search_nodes", "rollouts"),
        writes=("preference_pairs",),
        params=PairsConfig,
        function="pipelines.preference_pairs.build_pairs",
        query="preference_pairs/ppm_pairs",
    ),
    Method(
        name="rollout_pairs",
        paper="Direct Preference Optimization, on graded solutions (iterative reasoning preference optimisation)",
        arxiv="2404.19733",
        summary="Pairs a right with a wrong complete solution of one problem.",
        reads=("problems", "rollouts"),
        writes=("preference_pairs",),
        params=PairsConfig,
        function="pipelines.preference_pairs.build_pairs",
        query="preference_pairs/whole_rollouts",
    ),
)
