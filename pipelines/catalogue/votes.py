"""Methods that choose among samples, and the scores of tokens behind them."""

from pipelines.catalogue.method import Method
from pipelines.config import ReportsConfig, TokenScoresConfig

METHODS = (
    Method(
        name="best_of_n_critic",
        paper="Let's Verify Step by Step",
        arxiv="2305.20050",
        summary="Picks, of n samples, the one whose steps the critic scores best.",
        reads=("problems",),
        writes=("policy_report",),
        params=ReportsConfig,
        function="pipelines.strategies.best_of_n_critic",
        tier="verified",
        measured="1,000 frozen starter problems, 3 seeds: 0.812 (0.795 to 0.829) right with n = 8",
    ),
    Method(
        name="majority_vote",
        paper="Self-Consistency Improves Chain of Thought Reasoning in Language Models",
        arxiv="2203.11171",
        summary="Picks the answer that most of n samples give; ties go to the lowest rollout id.",
        reads=("problems",),
        writes=("policy_report",),
        params=ReportsConfig,
        function="pipelines.strategies.majority",
        tier="verified",
        measured="1,000 frozen starter problems: 0.535 (0.509 to 0.560) right with n = 8",
    ),
    Method(
        name="weighted_majority",
        paper="Making Large Language Models Better Reasoners with Step-Aware Verifier (DiVeRSe)",
        arxiv="2206.02336",
        summary="Picks the answer whose samples have the largest sum of critic scores (from memory).",
        reads=("problems",),
        writes=("policy_report",),
        params=ReportsConfig,
        function="pipelines.strategies.weighted_majority",
    ),
    Method(
        name="own_logprob",
        paper="Towards a Human-like Open-Domain Chatbot (Meena: sample and rank)",
        arxiv="2001.09977",
        summary="Picks the sample that the policy finds likeliest, by sum or by mean over tokens (from memory).",
        reads=("problems",),
        writes=("policy_report",),
        params=ReportsConfig,
        function="pipelines.strategies.best_of_n_mean_logprob",
        tier="verified",
        measured="1,000 frozen starter problems: 0.464 (0.434 to 0.494) right with n = 8",
    ),
    Method(
        name="self_certainty",
        paper="Scalable Best-of-N Selection for Large Language Models via Self-Certainty",
        arxiv="2502.18581",
        summary=(
            "Ranks n samples by KL(uniform || p); rank r has (N - r + 1)^p votes. N counts answered samples. In the "
            "report where reports.extra_votes names it; the same vote by values is `vote = borda` of best_of_n."
        ),
        reads=("problems",),
        writes=("policy_report",),
        params=ReportsConfig,
        function="pipelines.strategies.borda_certainty",
    ),
    Method(
        name="self_prm",
        paper="Is PRM Necessary? Problem-Solving RL Implicitly Induces PRM Capability in LLMs (Self-PRM)",
        arxiv="2505.11227",
        summary=(
            "The policy judges its own steps, by probabilities of verdict tokens (from the abstract). In the report "
            "where reports.extra_votes names it; its scores are kept in no table."
        ),
        reads=("problems",),
        writes=("policy_report",),
        params=ReportsConfig,
        function="pipelines.self_verdicts.judge_own_steps",
    ),
    Method(
        name="density_ratio",
        paper="Dr. SoW: Density Ratio of Strong-over-weak LLMs for Preference Tuning",
        arxiv="2411.02481",
        summary="Log-probability of a solution under one model minus that under another; without domain prompts.",
        reads=("token_scores", "rollouts"),
        writes=(),
        params=TokenScoresConfig,
        function="pipelines.token_scores.score_rollouts",
        query="reports/density_ratio",
    ),
    Method(
        name="token_scores",
        paper="A Mathematical Theory of Communication (Shannon 1948)",
        arxiv=None,
        summary="What a model says of every token of a rollout; exact entropies for small vocabularies.",
        reads=("rollouts",),
        writes=("token_scores",),
        params=TokenScoresConfig,
        function="pipelines.token_scores.score_rollouts",
    ),
)
