"""Step pairs for a process preference model (rStar-Math, arXiv 2501.04519): siblings with outcomes on both sides.

Other than in `sibling_steps` a chosen step must have led to a right answer and a rejected one to a wrong answer, two of
each meet, and the continuations must agree with the pair. A search with several kinds of steps (`rstar`) makes most of
them; any tree with graded ends gives some.
"""

from pydantic import Field

from pipelines.preference.mining import TreeParams, requiring, step_miner


class PpmStepParams(TreeParams):
    """Pairs for a process preference model."""

    min_margin: float = Field(
        0.2, ge=0.0, le=1.0, description="smallest gap of values; the released 0.5 is for values in [-1, 1]: 0.25 here"
    )
    min_edit_distance: int = Field(
        1, ge=1, description="edits between the two steps; the paper's code has 20, for long steps"
    )


PPM_STEPS = requiring(step_miner("ppm_step_pairs", "ppm_step", PpmStepParams, "ppm_steps"), "outcome_reward")
