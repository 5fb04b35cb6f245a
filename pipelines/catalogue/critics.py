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
    Method(
        name="temperature_scaling",
        paper="On Calibration of Modern Neural Networks",
        arxiv="1706.04599",
        summary="Divides the logits of a critic's step scores by one number that is fitted on validation problems.",
        reads=("problems", "search_nodes"),
        writes=("step_scores",),
        params=CriticConfig,
        function="critics.calibration.fit_temperature",
    ),
    Method(
        name="isotonic_calibration",
        paper="Zadrozny and Elkan: Transforming Classifier Scores into Accurate Multiclass Probability Estimates",
        arxiv=None,
        summary="Maps a critic's step scores by the rising function of least squares on validation problems.",
        reads=("problems", "search_nodes"),
        writes=("step_scores",),
        params=CriticConfig,
        function="critics.calibration.fit_isotonic",
    ),
)
