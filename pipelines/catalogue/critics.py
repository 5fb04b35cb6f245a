"""Methods by which critics are trained."""

from pipelines.catalogue.method import Method
from pipelines.config import CriticConfig

METHODS = (
    Method(
        name="monte_carlo_labels",
        paper="Math-Shepherd: Verify and Reinforce LLMs Step-by-step without Human Annotations",
        arxiv="2312.08935",
        summary="Labels a step by the share of right completions below it in the tree, and siblings by their gap.",
        reads=("problems", "search_nodes"),
        writes=("critics",),
        params=CriticConfig,
        function="critics.examples.examples_from_trees",
    ),
)
