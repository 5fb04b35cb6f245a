"""Methods that make, weigh and clean preference pairs."""

from pipelines.catalogue.method import Method, Tier
from pipelines.preference import methods

TREES = ("problems", "search_nodes", "rollouts")
ANSWERS = ("problems", "rollouts", "step_scores")
PAIRS = ("preference_pairs",)


def _method(
    name: str,
    paper: str,
    arxiv: str | None,
    summary: str,
    query: str | None,
    reads: tuple[str, ...] = PAIRS,
    writes: tuple[str, ...] = PAIRS,
    tier: Tier = "experimental",
    measured: str | None = None,
) -> Method:
    """A method over pairs, which runs in the pipeline where it writes a table, and on any table."""
    curation = methods.curation_named(name)
    return Method(
        name=name,
        paper=paper,
        arxiv=arxiv,
        summary=summary,
        reads=reads,
        writes=writes,
        params=curation.params,
        function="pipelines.preference_pairs.make_pairs" if writes else "pipelines.preference.methods.curation_named",
        query=f"preference_pairs/{query}" if query else None,
        curation=curation,
        tier=tier,
        measured=measured,
    )


METHODS = (
    _method(
        "sibling_step_pairs",
        "Monte Carlo Tree Search Boosts Reasoning via Iterative Preference Learning (MCTS-DPO)",
        "2405.00451",
        "Pairs the best with a worse child of one node: same prefix, a gap of values.",
        "sibling_steps",
        TREES,
        tier="verified",
        measured="demo lake, one night, 400 problems: 526 pairs of 3,930 nodes, 64 % of the problems covered; chosen "
        "is the longer step in 27 %",
    ),
    _method(
        "ppm_step_pairs",
        "rStar-Math: Small LLMs Can Master Math Reasoning with Self-Evolved Deep Thinking",
        "2501.04519",
        "Pairs siblings that led to right and to wrong answers, where their continuations agree.",
        "ppm_steps",
        TREES,
        tier="verified",
        measured="demo lake, one night, 400 problems: 201 pairs, 40 % of the problems covered",
    ),
    _method(
        "mcts_dpo_pairs",
        "Monte Carlo Tree Search Boosts Reasoning via Iterative Preference Learning (MCTS-DPO)",
        "2405.00451",
        "One pair per depth of the chosen path, by visits and then values, with soft labels from the visit counts, as "
        "the released code makes them; children that were never visited are left out here.",
        "mcts_dpo",
        TREES,
        tier="verified",
        measured="demo lake, one night, 400 problems: 372 pairs, 62 % of the problems covered; in 171 both sides have "
        "equal visits (soft label 0.5), in 17 the value says the opposite; chosen is longer in 73 %, as it "
        "goes on through single children",
    ),
    _method(
        "tree_path_pairs",
        "Monte Carlo Tree Search Boosts Reasoning via Iterative Preference Learning (MCTS-DPO), on whole paths",
        None,
        "Pairs a right with a wrong whole path of one tree, by the mean value of their nodes (a rule of ours).",
        "tree_paths",
        TREES,
        measured="demo lake, one night, 400 problems: 204 pairs, 40 % of the problems covered",
    ),
    _method(
        "branch_point_pairs",
        "Exploiting Tree Structure for Credit Assignment in RL Training of LLMs (TEMPO, Prefix-to-Tree)",
        "2509.18314",
        "Pairs the children of the points where samples of a group part, by the mean outcome below them; TEMPO itself "
        "makes advantages of these gaps, not pairs, and merges by token instead of step.",
        "branch_points",
        ANSWERS,
        measured="demo lake, one night, 400 problems: 460 pairs, 63 % of the problems covered",
    ),
    _method(
        "rollout_pairs",
        "Direct Preference Optimization, on graded solutions (iterative reasoning preference optimisation)",
        "2404.19733",
        "Pairs a right with a wrong complete solution of one problem.",
        "whole_rollouts",
        ANSWERS,
        tier="verified",
        measured="demo lake, one night, 400 problems: 507 pairs, 63 % of the problems covered; 121 chosen solutions "
        "(24 %) have a wrong step by the gold labels",
    ),
    _method(
        "rso",
        "Statistical Rejection Sampling Improves Preference Optimization (RSO)",
        "2309.06657",
        "Accepts answers with probability exp((r - r_max) / beta), without replacement, and pairs the accepted ones in "
        "a first round or a tournament.",
        "accepted_responses",
        ANSWERS,
        tier="verified",
        measured="demo lake, one night, 400 problems, critic's mean step score as reward: 413 pairs of a first round "
        "(615 of a tournament), 72 % of the problems covered; of the 249 with different outcomes chosen is "
        "the right one in 194 (78 %)",
    ),
    _method(
        "dno_pairs",
        "Direct Nash Optimization: Teaching Language Models to Self-Improve with General Preferences (DNO-Prct)",
        "2404.03715",
        "Pairs a positive with every answer one or two points lower by a judge, and with samples that repeat "
        "themselves; the threshold of repetition is ours.",
        "score_margins",
        ANSWERS,
        measured="demo lake, one night, 400 problems: no pair, because nobody scores on six points there; 114 with the "
        "critic's scores and min_positive 0.8, min_gap 0.4, min_gap_of_student 0.2",
    ),
    _method(
        "replay_shares",
        "Direct Nash Optimization: Teaching Language Models to Self-Improve with General Preferences (DNO-Prct)",
        "2404.03715",
        "Keeps all pairs of the latest iteration, 30 % of the one before, 15 % of the one before that, and so on.",
        "replay_shares",
        writes=(),
    ),
    _method(
        "temporal_pairs",
        "Temporal Self-Rewarding Language Models: Decoupling Chosen-Rejected via Past-Future",
        "2508.06026",
        "Rejects the past model's worst answer and chooses the future model's best, both judged by the present one.",
        "temporal_anchors",
        ANSWERS,
    ),
    _method(
        "spo_pairs",
        "A Minimaximalist Approach to Reinforcement Learning from Human Feedback (SPO)",
        "2401.04056",
        "Pairs the answer with the highest with the one with the lowest self-play win rate; SPO itself trains on the "
        "win rates by policy gradient.",
        "win_rates",
        (),
        (),
    ),
    _method(
        "density_ratio_pairs",
        "Dr. SoW: Density Ratio of Strong-over-weak LLMs for Reducing the Cost of Human Annotation (CDR)",
        "2411.02481",
        "Pairs the best with the worst answer by the log density ratio of an aligned model and its base.",
        "density_ratios",
        ("problems", "rollouts", "token_scores"),
        measured="demo lake, one night, 400 problems: refused, because only one model scored tokens there",
    ),
    _method(
        "wrpo_pairs",
        "Weighted-Reward Preference Optimization for Implicit Model Fusion (WRPO)",
        "2412.03187",
        "Pairs the best answer of several source models and the target's own best with the target's worst, weighed by "
        "alpha; the paper mixes the two inside the loss, and its alpha is not checked here.",
        "source_models",
        ANSWERS,
    ),
    _method(
        "mutual_taught",
        "Mutual-Taught for Co-adapting Policy and Reward Models",
        "2506.06292",
        "Chooses the updated policy's answers over those of the policy before, unless the reward model of before "
        "scores them clearly lower; labels = policy_shift trains on them. From an account of the paper, not its code.",
        "mutual_taught",
        ANSWERS,
    ),
    _method(
        "tuned_against_base",
        "Weak supervision: a tuned model's answers against its base's",
        None,
        "Chooses the answers of one policy over those of another without a look at them.",
        "two_policies",
        ANSWERS,
    ),
    _method(
        "drift_pairs",
        "DRIFT: Learning from Abundant User Dissatisfaction in Real-World Preference Learning",
        None,
        "Rejects answers that users were dissatisfied with and chooses fresh samples of the policy, unfiltered.",
        "two_policies",
        (),
        (),
    ),
    _method(
        "stratified_pairs",
        "NAIPv2: Debiased Pairwise Learning for Efficient Paper Quality Estimation",
        "2509.25179",
        "Pairs answers of one stratum only, by a gap of scores; NAIPv2's review tendency signal is not built here.",
        "within_strata",
        ANSWERS,
        measured="demo lake, one night, 400 problems, one stratum, critic's scores: 256 pairs, 18 % of the problems "
        "covered",
    ),
    _method(
        "marv_critique_pairs",
        "Training Language Models to Critique With Multi-agent Feedback (MultiCritique)",
        "2410.15287",
        "Pairs critiques of one answer by judged quality, where the mean score of their refinements agrees (MARV).",
        "critique_pairs",
        ("problems", "rollouts", "critiques", "refinements"),
        measured="demo lake, one night, 400 problems: no pair, because only one critique of a rollout is refined there",
    ),
    _method(
        "refinement_pairs",
        "Refinements against their originals",
        None,
        "Pairs a refinement with the answer that it started from, where it is graded higher.",
        "refinement_pairs",
        ("problems", "rollouts", "refinements"),
        tier="verified",
        measured="demo lake, one night, 400 problems: 399 pairs of 1,496 refinements, 63 % of the problems covered",
    ),
    _method(
        "tactic_pairs",
        "BFS-Prover: Scalable Best-First Tree Search for LLM-based Automatic Theorem Proving",
        "2502.03438",
        "Pairs a tactic on a found proof with one that gave a Lean error at the same goals (from notes on the paper); "
        "what timed out or crashed is never rejected.",
        "tactic_pairs",
        (),
        (),
    ),
    _method(
        "preference_strength",
        "Secrets of RLHF in Large Language Models Part II: Reward Modeling",
        "2401.06080",
        "Measures each pair by an ensemble of critics and flips, drops, softens, widens or down-weighs by it; "
        "the soft label and the weight of strong pairs are ours.",
        "preference_strength",
        tier="verified",
        measured="demo lake, one night, 400 problems, 507 rollout pairs, critic and three agents as the ensemble: drop "
        "removes 102; the share of chosen solutions with a wrong gold step falls from 24 % (121 of 507) to 10 "
        "% (39 of 405), and 82 of the 102 had one; flip instead chooses wrong answers: 28 % flawed",
    ),
    _method(
        "length_balance",
        "Balance of lengths",
        None,
        "Drops the narrowest pairs until longer texts are chosen no more often than shorter ones (a rule of ours).",
        "length_balance",
        tier="verified",
        measured="demo lake, one night, 400 problems, 1,033 pairs: removes 47 rollout and step pairs; chosen is then "
        "longer in 50 % instead of 37 %",
    ),
    _method(
        "length_controlled_rates",
        "Length-Controlled AlpacaEval: A Simple Way to Debias Automatic Evaluators",
        "2404.04475",
        "Win rate of one policy over another with the effect of length regressed out; the penalty is fixed here, "
        "cross-validated there.",
        None,
        (),
        (),
        measured="mt-bench data, 38 comparisons by GPT-4, both orders averaged: phi-3 wins 44.7 % against phi-3-dpo, "
        "42.0 % with length controlled; its answers are the longer ones in 61 %",
    ),
    _method(
        "contradictions",
        "Contradictions among pairs",
        None,
        "Drops pairs that another pair of the same problem and prompt says the other way round.",
        "contradictions",
        tier="verified",
        measured="demo lake, one night, 400 problems, 1,033 pairs: none contradicts another",
    ),
    _method(
        "intransitive_pairs",
        "Cycles among pairs",
        None,
        "Drops all pairs on a cycle of wins within one problem and prompt.",
        "intransitive_pairs",
        tier="verified",
        measured="demo lake, one night, 400 problems, 1,033 pairs: none on a cycle of up to 8; all 15,000 planted ones "
        "among 60,000 found",
    ),
    _method(
        "annotator_strengths",
        "HelpSteer2-Preference: Complementing Ratings with Preferences",
        "2410.01257",
        "Drops pairs without consensus among annotators, averages the three most similar strengths and weighs by them.",
        "annotations",
        (),
        (),
    ),
    _method(
        "likelihood_weights",
        "WPO: Enhancing RLHF with Weighted Preference Optimization",
        "2406.11827",
        "Weighs pairs by how likely both sides are under the policy, per token, relative to its own samples.",
        "likelihood_weights",
        ("preference_pairs", "token_scores"),
        measured="demo lake, one night, 400 problems: 1 of 507 rollout pairs has token scores on both sides; weight "
        "0.85 without alignment",
    ),
    _method(
        "token_rewards",
        "T-REG: Preference Optimization with Token-Level Reward Regularization",
        "2412.02685",
        "Rewards every token by two opposite prompts; the formula is as we remember it, not checked.",
        "token_rewards",
        (),
        (),
    ),
    _method(
        "token_weights",
        "On the Generalization of SFT: A Reinforcement Learning Perspective with Reward Rectification (DFT)",
        "2508.05629",
        "Weighs every token's loss by its own probability; the first term of ASFT too.",
        "token_weights",
        (),
        (),
    ),
    _method(
        "unpaired",
        "KTO: Model Alignment as Prospect Theoretic Optimization, and dispreference-only training (D2O)",
        "2402.01306",
        "Turns pairs into single texts with labels and balanced weights, or into the rejected texts alone.",
        "unpaired",
        writes=(),
    ),
)
