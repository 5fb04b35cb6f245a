"""Methods that read the judgments of language models: scores, verdicts, consistency, bias, aggregation."""

from pipelines.catalogue.method import Method
from pipelines.judges import (
    bias,
    confidence,
    length_control,
    position_consistency,
    score_comparison,
    step_votes,
    transitivity,
    trustjudge_pairs,
    trustjudge_scores,
)

TRUSTJUDGE = "TrustJudge: Inconsistencies of LLM-as-a-Judge and How to Alleviate Them"
TRUSTJUDGE_YIELD = "Starter demo of 2026-11-21, its verify role with the engine's log-probabilities, 180 pairs"

METHODS = (
    Method(
        name="trustjudge_scores",
        paper=TRUSTJUDGE,
        arxiv="2509.21117",
        summary="A grade from the score token's distribution, weights (p / (1 - p))^5; p = 1 counts as certain, where "
        "the published code drops it.",
        reads=(),
        writes=(),
        params=trustjudge_scores.ScoreParams,
        function="pipelines.judges.trustjudge_scores.run",
        curation=trustjudge_scores.CURATION,
        measured=f"{TRUSTJUDGE_YIELD}: conflicts of scores and verdicts 0.122 (0.050 to 0.206) before; after "
        "0.072 (0.022 to 0.133) where scores within half a grade count as equal, 0.622 (0.550 to 0.706) where none do: "
        "they hardly ever are",
        tier="verified",
    ),
    Method(
        name="trustjudge_pairs",
        paper=TRUSTJUDGE,
        arxiv="2509.21117",
        summary="The verdict on a pair from the label probabilities, or the perplexities, of both orders.",
        reads=(),
        writes=(),
        params=trustjudge_pairs.PairParams,
        function="pipelines.judges.trustjudge_pairs.run",
        query="judges/trustjudge_pairs",
        curation=trustjudge_pairs.CURATION,
        measured=f"{TRUSTJUDGE_YIELD}: the order changes 0.067 (0.022 to 0.117) of the likeliest labels; the "
        "flawless one is not chosen in 24 of 60 pairs before, 20 after; circles or broken equalities in 4 of 120 "
        "triples before, 10 after",
        tier="verified",
    ),
    Method(
        name="score_comparison",
        paper=TRUSTJUDGE,
        arxiv="2509.21117",
        summary="Finds pairs whose verdict (both orders, else a tie) contradicts the judge's own single scores.",
        measured="LLMBar, not the starter lake: conflicts in 0.195 (0.145 to 0.250) of GPT-4's 220 pairs, 0.475 "
        "(0.412 to 0.543) of ChatGPT's 221",
        reads=(),
        writes=(),
        params=score_comparison.ComparisonParams,
        function="pipelines.judges.score_comparison.run",
        query="judges/score_comparison",
        curation=score_comparison.CURATION,
        tier="verified",
    ),
    Method(
        name="judge_transitivity",
        paper=TRUSTJUDGE,
        arxiv="2509.21117",
        summary="Share of 3- to 5-subsets of answers with a circle or a broken equality; which of the 27 rows is "
        "which beyond the published examples is inferred from orders with ties.",
        measured="PandaLM's test set, not the starter lake: circles in 0.045 (0.018 to 0.080) of GPT-3.5's 220 "
        "triples, 0.009 (0.000 to 0.029) of PandaLM's 229, 0.004 (0.000 to 0.015) of each person's",
        reads=(),
        writes=(),
        params=transitivity.TransitivityParams,
        function="pipelines.judges.transitivity.run",
        query="judges/transitivity",
        curation=transitivity.CURATION,
    ),
    Method(
        name="judge_position_consistency",
        paper="Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena",
        arxiv="2306.05685",
        summary="Share of pairs on which a judge says something else when the answers change places.",
        measured="Recorded verdicts, not the starter lake: GPT-4 0.059 (0.032 to 0.090) on LLMBar (Vanilla, 221 "
        "pairs), 0.270 (0.135 to 0.405) on MT-Bench (37); o1-mini 0.277 (0.213 to 0.340) on JudgeBench (188)",
        reads=(),
        writes=(),
        params=position_consistency.PositionParams,
        function="pipelines.judges.position_consistency.run",
        query="judges/position_consistency",
        curation=position_consistency.CURATION,
        tier="verified",
    ),
    Method(
        name="step_votes",
        paper="Training Language Models to Critique With Multi-agent Feedback (MultiCritique)",
        arxiv="2410.15287",
        summary="Several agents' verdicts on steps become one, by weighted shares per step (the vote is ours; the "
        "paper's aggregator is a language model).",
        reads=(),
        writes=(),
        params=step_votes.StepVotesParams,
        function="pipelines.judges.step_votes.run",
        curation=step_votes.CURATION,
        measured="AgentProcessBench, 20 judges, threshold of other queries: first-error F1 0.651, 0.687, 0.658 on "
        "bfcl, hotpotqa, tau2 against 0.364, 0.363, 0.381 of the mean judge; plain majority 0.319, 0.285, 0.388",
    ),
    Method(
        name="judge_bias",
        paper="Any Large Language Model Can Be a Reliable Judge: Debiasing with a Reasoning-based Bias Detector (RBD)",
        arxiv="2505.17100",
        summary="Consistency and loss of accuracy of a judge under perturbations: position, verbosity, bandwagon, "
        "sentiment (measures from the abstract; the detector itself is not built).",
        reads=(),
        writes=(),
        params=bias.BiasParams,
        function="pipelines.judges.bias.run",
        query="judges/bias",
        curation=bias.CURATION,
        measured="LLMBar (Vanilla), position probe: consistency 0.941 (0.902 to 0.965) for GPT-4, 0.407 (0.345 to "
        "0.473) for Falcon",
    ),
    Method(
        name="judging_with_confidence",
        paper="Judging with Confidence: Calibrating Autoraters to Preference Distributions",
        arxiv="2510.00263",
        summary="Rewards of a judge's probability against people's votes, and a cross-fitted calibration of ours (from "
        "the abstract; the paper fine-tunes).",
        reads=(),
        writes=(),
        params=confidence.ConfidenceParams,
        function="pipelines.judges.confidence.run",
        curation=confidence.CURATION,
        measured="PandaLM's test set: squared distance of GPT-3.5's bare verdicts from three people's votes 0.200 "
        "(0.157 to 0.245), calibrated on other questions 0.142 (0.119 to 0.165)",
    ),
    Method(
        name="length_control",
        paper="Length-Controlled AlpacaEval: A Simple Way to Debias Automatic Evaluators",
        arxiv="2404.04475",
        summary="Win rate of a logistic model at equal lengths; a small fixed penalty replaces the published "
        "cross-validated one.",
        measured="starter demo of 2026-11-21, the critic's mean step score as judge of the first two different "
        "samples of 286 problems: the first is preferred in 0.500, at equal lengths in 0.499 (0.454 to 0.559). "
        "LLMBar (Vanilla): LLaMA2 prefers the better output in 0.434 of 219 pairs, 0.557 (0.494 to 0.630) at equal "
        "lengths; GPT-4 in 0.839 and 0.852 (0.802 to 0.912)",
        reads=(),
        writes=(),
        params=length_control.LengthParams,
        function="pipelines.judges.length_control.run",
        curation=length_control.CURATION,
        tier="verified",
    ),
)
