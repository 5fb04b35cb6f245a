"""Methods that keep, weigh or reject rollouts."""

from pipelines.catalogue.method import Method
from pipelines.consistency import prof
from pipelines.curation import Curation

SAMPLES = ("rollouts", "step_scores")
RESULTS = ("consistency_results",)
PROF_PAPER = "Beyond Correctness: Harmonizing Process and Outcome Rewards (PROF)"


def _judging(name: str, paper: str, arxiv: str | None, summary: str, curation: Curation, query: str | None) -> Method:
    """A filter of the lake's rollouts, and of anybody's."""
    return Method(
        name=name, paper=paper, arxiv=arxiv, summary=summary, reads=SAMPLES, writes=RESULTS, params=curation.params,
        function="pipelines.consistent_rollouts.filter_rollouts", query=query, curation=curation,
    )  # fmt: skip


METHODS = (
    _judging(
        "prof", PROF_PAPER, "2509.03403",
        "Removes the right rollouts with the worst steps and the wrong ones with the best, balancing both.",
        prof.PROF, "consistent_rollouts/prof",
    ),
    _judging(
        "prof_ratio", PROF_PAPER, "2509.03403",
        "PROF that keeps the proportion of right to wrong (variant of the paper; its rounding is deduced).",
        prof.PROF_RATIO, "consistent_rollouts/prof",
    ),
    _judging(
        "prof_joint", PROF_PAPER, "2509.03403",
        "PROF that ranks right and wrong rollouts together (variant of the paper, worse there).",
        prof.PROF_JOINT, "consistent_rollouts/prof",
    ),
    _judging(
        "random_removal", PROF_PAPER, "2509.03403",
        "Removes as many right and wrong rollouts as PROF, but by lot: the baseline of every filter.",
        prof.RANDOM_REMOVAL, "consistent_rollouts/prof",
    ),
)  # fmt: skip
