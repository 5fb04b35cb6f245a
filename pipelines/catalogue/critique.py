"""Methods by which agents criticise, judge and refine."""

from pipelines.catalogue.method import Method
from pipelines.config import CritiquesConfig

METHODS = (
    Method(
        name="multi_critique",
        paper="Training Language Models to Critique With Multi-agent Feedback (MultiCritique)",
        arxiv="2410.15287",
        summary="Several agents criticise a rollout on their own; a meta-judge aggregates them into one verdict.",
        reads=("problems", "rollouts"),
        writes=("critiques", "verdicts", "refinements"),
        params=CritiquesConfig,
        function="pipelines.agents.aggregate.aggregate",
    ),
)
