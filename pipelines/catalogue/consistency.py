"""Methods that keep, weigh or reject rollouts."""

from pipelines.catalogue.method import Method
from pipelines.consistency import prof

METHODS = (
    Method(
        name="prof",
        paper="Beyond Correctness: Harmonizing Process and Outcome Rewards (PROF)",
        arxiv="2509.03403",
        summary="Removes the right rollouts with the worst steps and the wrong ones with the best, balancing both.",
        reads=("rollouts", "step_scores"),
        writes=("consistency_results",),
        params=prof.ProfParams,
        function="pipelines.consistent_rollouts.filter_rollouts",
        query="consistent_rollouts/prof",
        curation=prof.CURATION,
    ),
)
