"""Methods that say what a table holds, and how far its labels can be trusted."""

from pipelines.audit import audited_sample, behaviour_tags, contamination, entropy_probe
from pipelines.catalogue.method import Method

DSL = "Using Imperfect Surrogates for Downstream Inference: Design-based Supervised Learning"

METHODS = (
    Method(
        name="contamination",
        paper="Language Models are Few-Shot Learners (n-gram overlap; from memory)",
        arxiv="2005.14165",
        summary="Finds texts that share 13 words in a row with a benchmark's items and certifies what was tested; "
        "the fallback for short texts is ours.",
        measured="starter demo of 2026-11-21, 1 of the 544 training problems long enough to be tested "
        "(1,087 were not) overlaps with the frozen ones, in words and not in signs; the 360 frozen ones that are long "
        "enough all do, a control. 1 of GSM8K's 7,473 training questions against half of its test set; 58 of "
        "480 of ProcessBench's MATH problems against half of MATH-500; 139 of 139 of RealCritic's GSM8K questions, a "
        "control",
        tier="verified",
        reads=(),
        writes=(),
        params=contamination.ContaminationParams,
        function="pipelines.audit.contamination.certified",
        curation=contamination.CURATION,
    ),
    Method(
        name="entropy_probe",
        paper="Detecting Data Contamination from Reinforcement Learning Post-training for LLMs (Self-Critique)",
        arxiv=None,
        summary="Cosine of the token entropies of two answers, times the ratio of their lengths.",
        reads=(),
        writes=(),
        params=entropy_probe.ProbeParams,
        function="pipelines.audit.entropy_probe.run",
        curation=entropy_probe.CURATION,
    ),
    Method(
        name="behaviour_tags",
        paper="Cognitive Behaviors that Enable Self-Improving Reasoners",
        arxiv="2503.01307",
        summary="Counts verification, backtracking, subgoals and backward chaining by lexical rules of our own.",
        reads=(),
        writes=(),
        params=behaviour_tags.TagParams,
        function="pipelines.audit.behaviour_tags.run",
        curation=behaviour_tags.CURATION,
        measured="ProcessBench: verification in 0.078 of 591 right and 0.089 of 1,114 wrong solutions, backtracking in "
        "0.012 and 0.035",
    ),
    Method(
        name="audited_sample",
        paper=DSL,
        arxiv="2306.04746",
        summary="Draws rows for people to label, stratified by the judge's label, with known inclusion probabilities.",
        reads=(),
        writes=(),
        params=audited_sample.SampleParams,
        function="pipelines.audit.audited_sample.draw",
        query="audit/audited_sample",
        curation=audited_sample.SAMPLE_CURATION,
    ),
    Method(
        name="audited_estimate",
        paper=DSL,
        arxiv="2306.04746",
        summary="Corrects yield and label error of a judge by an audited sample, with design-based intervals for the "
        "table itself (from memory; the safeguard for strata without a caught error is ours).",
        measured="AgentProcessBench, 40 of 110 to 130 rollouts audited: Qwen3-8B alone 0.718, 0.820, 0.815 right where "
        "people say 0.345, 0.624, 0.508; corrected 0.339, 0.619, 0.502 on average, 0.94 to 0.99 of intervals hold them",
        reads=(),
        writes=(),
        params=audited_sample.EstimateParams,
        function="pipelines.audit.audited_sample.estimate",
        curation=audited_sample.ESTIMATE_CURATION,
    ),
)
