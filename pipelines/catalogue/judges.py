"""Methods that read the judgments of language models: scores, verdicts, consistency, bias, aggregation."""

from pipelines.catalogue.method import Method
from pipelines.judges import position_consistency, score_comparison, transitivity, trustjudge_pairs, trustjudge_scores

TRUSTJUDGE = "TrustJudge: Inconsistencies of LLM-as-a-Judge and How to Alleviate Them"

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
    ),
    Method(
        name="score_comparison",
        paper=TRUSTJUDGE,
        arxiv="2509.21117",
        summary="Finds pairs whose verdict (both orders, else a tie) contradicts the judge's own single scores.",
        reads=(),
        writes=(),
        params=score_comparison.ComparisonParams,
        function="pipelines.judges.score_comparison.run",
        query="judges/score_comparison",
        curation=score_comparison.CURATION,
    ),
    Method(
        name="judge_transitivity",
        paper=TRUSTJUDGE,
        arxiv="2509.21117",
        summary="Share of 3- to 5-subsets of answers with a circle or a broken equality; which of the 27 rows is "
        "which beyond the published examples is inferred from orders with ties.",
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
        reads=(),
        writes=(),
        params=position_consistency.PositionParams,
        function="pipelines.judges.position_consistency.run",
        query="judges/position_consistency",
        curation=position_consistency.CURATION,
    ),
)
