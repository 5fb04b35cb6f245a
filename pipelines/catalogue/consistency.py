"""Methods that keep, weigh or reject rollouts."""

from pipelines.catalogue.method import Method, Tier
from pipelines.consistency import (
    advantages,
    agreement,
    b_star,
    bandits,
    d3s,
    data_shapley,
    difficulty,
    policy_filtration,
    prof,
    selection,
)
from pipelines.curation import Curation

STARTER = "starter demo of 2026-11-21, 3,200 samples (python -m tests.benchmarks yields)"
SAMPLES = ("rollouts", "step_scores")
RESULTS = ("consistency_results",)
B_STAR_PAPER = "B-STaR: Monitoring and Balancing Exploration and Exploitation in Self-Taught Reasoners"
PF_PPO = "Policy Filtration for RLHF to Mitigate Noise in Reward Models (PF-PPO)"
PROF_PAPER = "Beyond Correctness: Harmonizing Process and Outcome Rewards (PROF)"


def _judging(
    name: str, paper: str, arxiv: str | None, summary: str, curation: Curation, query: str | None, tier: Tier,
    measured: str | None,
) -> Method:  # fmt: skip
    """A filter of the lake's rollouts, and of anybody's."""
    return Method(
        name=name, paper=paper, arxiv=arxiv, summary=summary, reads=SAMPLES, writes=RESULTS, params=curation.params,
        function="pipelines.consistent_rollouts.filter_rollouts", query=query, curation=curation, tier=tier,
        measured=measured and f"{STARTER}: {measured}",
    )  # fmt: skip


def _on_tables(
    name: str, paper: str, arxiv: str | None, summary: str, curation: Curation, query: str | None, tier: Tier,
    measured: str | None,
) -> Method:  # fmt: skip
    """A method for tables of one's own: no pipeline runs it."""
    return Method(
        name=name, paper=paper, arxiv=arxiv, summary=summary, reads=(), writes=(), params=curation.params,
        function="pipelines.apply.apply_method", query=query, curation=curation, tier=tier,
        measured=measured and f"{STARTER}: {measured}",
    )  # fmt: skip


METHODS = (
    _judging(
        "prof", PROF_PAPER, "2509.03403",
        "Removes the right rollouts with the worst steps and the wrong ones with the best, balancing both.",
        prof.PROF, "consistent_rollouts/lots",
        "verified",
        "50 % kept; of the right answers 16.0 % were flawed before, 10.4 % after (by lot: 15.4 %). "
        "1 M samples from Parquet to Parquet on two cores: 1.4 times as long as DuckDB's plain copy, 1.0 GiB",
    ),
    _judging(
        "prof_ratio", PROF_PAPER, "2509.03403",
        "PROF that keeps the proportion of right to wrong (variant of the paper; its rounding is deduced).",
        prof.PROF_RATIO, None,
        "experimental",
        "50 % kept; of the right answers 16.0 % were flawed before, 11.3 % after",
    ),
    _judging(
        "prof_joint", PROF_PAPER, "2509.03403",
        "PROF that ranks right and wrong rollouts together (variant of the paper, worse there).",
        prof.PROF_JOINT, None,
        "experimental",
        "50 % kept; of the right answers 16.0 % were flawed before, 5.2 % after",
    ),
    _judging(
        "random_removal", PROF_PAPER, "2509.03403",
        "Removes as many right and wrong rollouts as PROF, but by lot: the baseline of every filter.",
        prof.RANDOM_REMOVAL, "consistent_rollouts/lots",
        "verified",
        "50 % kept; of the right answers 16.0 % were flawed before, 15.4 % after",
    ),
    _judging(
        "d3s", "Dual-level Down-Sampling (D3S)", "2509.22115",
        "Keeps, of a whole batch, the samples whose advantages vary most; exact, by the rule of two extremes.",
        d3s.D3S, "consistent_rollouts/d3s",
        "verified",
        "half kept; 56.9 % of the answers were right before, 42.9 % after; flawed of right 16.0 -> 22.6 %",
    ),
    _on_tables(
        "d3s_tokens", "Dual-level Down-Sampling (D3S)", "2509.22115",
        "Marks the tokens with the largest |advantage| * entropy (from notes on the paper).",
        d3s.D3S_TOKENS, "consistent_rollouts/d3s_tokens",
        "experimental",
        "2,359 of 11,791 tokens kept",
    ),
    _judging(
        "reinforce_rej", "A Minimalist Approach to LLM Reasoning: from Rejection Sampling to Reinforce", "2504.11343",
        "Drops groups that are all right or all wrong; the others are trained on with raw rewards.",
        selection.REINFORCE_REJ, "consistent_rollouts/reinforce_rej",
        "verified",
        "2,024 kept; 1,024 went in groups all right, 152 in groups all wrong; flawed of right 16.0 -> 26.4 %",
    ),
    _judging(
        "raft", "RAFT: Reward rAnked FineTuning; as in A Minimalist Approach to LLM Reasoning", "2304.06767",
        "Keeps right answers only, if wanted at most so many per group.",
        selection.RAFT, "consistent_rollouts/raft",
        "verified",
        "with max_per_group = 4: 1,216 kept, 1,380 wrong answers and 604 over the limit went; flawed of right 16.7 %",
    ),
    _judging(
        "nft", "Bridging Supervised Learning and Reinforcement Learning in Math Reasoning (NFT)", "2505.18116",
        "Keeps groups with right and wrong answers, with the success rate and the weights of NFT's two losses.",
        selection.NFT, "consistent_rollouts/nft",
        "verified",
        "2,024 kept, the same as Reinforce-Rej keeps",
    ),
    _judging(
        "overlong", "DAPO: An Open-Source LLM Reinforcement Learning System at Scale", "2503.14476",
        "Drops answers that were cut off or are too long; the score is the soft length penalty (from memory).",
        selection.OVERLONG, "consistent_rollouts/overlong",
        "experimental",
        "with max_tokens = 128, num_buffer_tokens = 25: nothing removed",
    ),
    _judging(
        "b_star", B_STAR_PAPER, "2412.17256",
        "Selects samples by outcome and lowest step score above a threshold, the best of every problem first.",
        b_star.B_STAR, "consistent_rollouts/b_star",
        "verified",
        "with threshold = 1.1: 1,508 kept; of the right answers 16.0 % were flawed before, 4.2 % after",
    ),
    _on_tables(
        "b_star_search", B_STAR_PAPER, "2412.17256",
        "Query effect of every temperature, number of samples and threshold on a pool, and the best of them.",
        b_star.B_STAR_SEARCH, "consistent_rollouts/b_star_search",
        "verified",
        "one temperature, 603 configurations, n* = 4: best 8 samples above 0.2, query effect .798",
    ),
    _judging(
        "self_consistency", "Self-Consistency Improves Chain of Thought Reasoning in Language Models", "2203.11171",
        "Keeps samples that agree with their group's majority, where that is large enough; needs no grade.",
        agreement.SELF_CONSISTENCY, "consistent_rollouts/self_consistency",
        "experimental",
        "2,283 kept; 56.9 % of the answers were right before, 65.0 % after",
    ),
    _on_tables(
        "self_certainty_votes", "Scalable Best-of-N Selection for Large Language Models via Self-Certainty",
        "2502.18581",
        "Ranks a group's samples by self-certainty and elects one by Borda votes; N counts answered samples.",
        agreement.SELF_CERTAINTY, "consistent_rollouts/self_certainty",
        "verified",
        "the elected answer is right in 56.8 % of 400 groups (by majority: 56.3 %)",
    ),
    _judging(
        "policy_filtration", PF_PPO, "2409.06957",
        "Keeps a group's samples with the highest and the lowest rewards, which are reliable (from the abstract).",
        policy_filtration.POLICY_FILTRATION, "consistent_rollouts/policy_filtration",
        "experimental",
        "best and worst of 8: 25 % kept; of the right answers 16.0 % were flawed before, 12.1 % after",
    ),
    _on_tables(
        "policy_filtration_search", PF_PPO, "2409.06957",
        "R^2 of rewards and outcomes on what each strategy of policy filtration keeps, and the strategy to use.",
        policy_filtration.SEARCH, None,
        "experimental",
        "2 of 8 kept: R^2 .291 for best and worst, .275 for best, .261 for best and random, .230 for a lot",
    ),
    _on_tables(
        "knapsack", "Knapsack RL: Unlocking Exploration of LLMs via Optimizing Budget Allocation", "2509.25849",
        "Rollouts per problem within a budget, by what seeing both outcomes would teach; the rate is a Beta posterior.",
        difficulty.KNAPSACK, None,
        "verified",
        "400 problems, 8 rollouts on average: 4 to 13 each, total value 28.19 against 27.50 for 8 each",
    ),
    _on_tables(
        "difficulty", "Probable Inference, the Law of Succession, and Statistical Inference (Wilson 1927)", None,
        "Drops problems that are surely too easy or too hard by Wilson's interval of their success rate.",
        difficulty.DIFFICULTY, "consistent_rollouts/difficulty",
        "verified",
        "400 problems tried 8 times each: all kept, 8 tries prove none too easy or too hard",
    ),
    _on_tables(
        "adcl", "Learning Like Humans: Adaptive Difficulty Curriculum Learning", "2505.08364",
        "Splits the problems not yet trained on into batches from easy to hard (from the abstract).",
        difficulty.ADCL, "consistent_rollouts/adcl",
        "experimental",
        "four batches of 100 problems with mean difficulty 0, .24, .63, .85",
    ),
    _on_tables(
        "dump", "DUMP: Automated Distribution-Level Curriculum Learning for RL-based LLM Post-training", "2504.09710",
        "How often to draw from each source: upper confidence bound of its latest absolute advantages.",
        bandits.DUMP, "consistent_rollouts/dump",
        "verified",
        "families as sources: countdown gets 95 % of the draws, dial 3 %, arithmetic 2 %",
    ),
    _on_tables(
        "sec", "Self-Evolving Curriculum for LLM Reasoning (SEC)", "2505.14970",
        "How often to draw from each category: running value of its absolute advantages (from notes on the paper).",
        bandits.SEC, "consistent_rollouts/sec",
        "experimental",
        "families as categories, one batch: a third of the draws each",
    ),
    _on_tables(
        "group_advantages", "DeepSeekMath (GRPO); also Dr. GRPO, RLOO and batch advantages by parameters", "2402.03300",
        "Advantages against a baseline, over a deviation, each of the group or of the whole batch.",
        advantages.GROUP_ADVANTAGES, "consistent_rollouts/advantages",
        "verified",
        "63.3 % of the samples have an advantage other than 0",
    ),
    _on_tables(
        "lite_ppo_advantages", "Tricks or Traps? A Deep Dive into RL for LLM Reasoning (Lite PPO)", "2508.08221",
        "Advantages with the mean of the group and the deviation of the batch.",
        advantages.LITE_PPO, "consistent_rollouts/advantages",
        "experimental",
        "63.3 % of the samples have an advantage other than 0",
    ),
    _on_tables(
        "delta_l", "Delta L Normalization: Rethink Loss Aggregation in RLVR", "2509.07558",
        "Weights by length that keep the gradient's variance small (from the abstract and memory).",
        advantages.DELTA_L, "consistent_rollouts/delta_l",
        "experimental",
        "groups of 8: weights from .100 to .154",
    ),
    _on_tables(
        "unlikeliness", "Rewarding the Unlikely: Lifting GRPO Beyond Distribution Sharpening", "2506.02355",
        "Rewards that favour right answers which the policy finds unlikely, and their advantages.",
        advantages.UNLIKELINESS, "consistent_rollouts/unlikeliness",
        "verified",
        "95.3 % of the samples have an advantage other than 0 (63.3 % without it)",
    ),
    _on_tables(
        "copo", "Consistency-Aware Policy Optimization (COPO)", "2508.04138",
        "Entropy of a group's answers, its local and global advantages, and the weight that blends them.",
        advantages.COPO, "consistent_rollouts/copo",
        "experimental",
        "mean entropy .54 nats, mean local weight .03: with 8 short answers nearly all is compared globally",
    ),
    _on_tables(
        "blend", PROF_PAPER, "2509.03403",
        "Adds the mean step score to the outcome: the baseline of PROF, which filters nothing.",
        advantages.BLEND, "consistent_rollouts/blend",
        "verified",
        "mean reward .57 before, 1.24 after",
    ),
    _on_tables(
        "co_reward", "Co-Reward: Self-supervised RL for LLM Reasoning via Contrastive Agreement", "2508.00410",
        "Labels a problem's samples by the majority of its paraphrase's, and the reverse.",
        agreement.CO_REWARD, "consistent_rollouts/co_reward",
        "experimental",
        None,
    ),
    _on_tables(
        "scir", "Self-Consistency of the Internal Reward Models Improves Self-Rewarding Language Models", "2502.08922",
        "Keeps pairs on which all judges agree; the score is the inconsistency penalty (its exact form is deduced).",
        agreement.SCIR, "consistent_rollouts/scir",
        "experimental",
        None,
    ),
    _on_tables(
        "contrast_instructions", "The Trickle-down Impact of Reward (In-)consistency on RLHF", "2309.16155",
        "Accuracy of a reward model on similar instructions and responses (from abstract and memory).",
        agreement.CONTRAST_INSTRUCTIONS, "consistent_rollouts/contrast_instructions",
        "experimental",
        None,
    ),
    _on_tables(
        "data_shapley", "Data Shapley: Equitable Valuation of Data for Machine Learning", "1904.02868",
        "What rows, or groups of rows, add to a small proxy, by truncated Monte Carlo (truncation as in the authors' "
        "code; the stopping rule by standard error is ours).",
        data_shapley.DATA_SHAPLEY, None,
        "experimental",
        "120 samples by three numbers of their step scores, labels of 12 turned round: 6 of them among the 12 lowest "
        "values (by lot: 1.2), after 281 orders with a standard error of .005",
    ),
)  # fmt: skip
