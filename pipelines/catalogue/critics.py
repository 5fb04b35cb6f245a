"""Methods by which critics are trained: what steps are said to be worth, and how a value is represented.

`process_critic.labels` names what is judged and by whom, `process_critic.head` (or `ensemble`) the representation.
"""

from pipelines.catalogue.method import Method
from pipelines.config import CloudCriticConfig, CriticConfig, GenerativeCriticConfig

TREES = ("problems", "search_nodes")
VALUES = (*TREES, "node_values")


def _labels(
    name: str,
    paper: str,
    arxiv: str | None,
    summary: str,
    *,
    function: str,
    reads: tuple[str, ...] = TREES,
    query: str | None = None,
) -> Method:
    path = f"critics.{function}"
    return Method(name, paper, arxiv, summary, reads, ("critics",), CriticConfig, path, query)


def _head(name: str, paper: str, arxiv: str | None, summary: str, function: str) -> Method:
    return Method(name, paper, arxiv, summary, TREES, ("critics",), CriticConfig, f"critics.{function}")


LABELS = (
    _labels(
        "relative_labels", "Reasonmill (after Math-Shepherd)", None,
        "labels = relative: a step's share of right completions against the best that its parent could reach.",
        function="labels.relative_labels",
    ),
    _labels(
        "monte_carlo_labels", "Math-Shepherd: Verify and Reinforce LLMs Step-by-step without Human Annotations",
        "2312.08935",
        "labels = monte_carlo: a step's share of right completions, with their count; weight n / (n + 2) is ours.",
        function="labels.monte_carlo_labels",
    ),
    _labels(
        "outcome_critic", "Training Verifiers to Solve Math Word Problems", "2110.14168",
        "labels = outcome: the grade of a whole path, read at its last step only (the paper reads every token).",
        function="labels.outcome_labels",
    ),
    _labels(
        "stepwise_outcome_critic",
        "GLoRe: When, Where, and How to Improve LLM Reasoning via Global and Local Refinements", "2402.10963",
        "labels = stepwise_outcome (SORM): could the policy still solve it; evidence weights are ours, and GLoRe's "
        "balancing of labels per prefix is left out.",
        function="labels.stepwise_outcome_labels",
    ),
    _labels(
        "outcome_bags", "Solving the Multiple Instance Problem with Axis-Parallel Rectangles (Dietterich et al., 1997)",
        None,
        "labels = outcome_bag: step values learned from outcomes alone, pooled by min, product or soft-min; built from "
        "the idea of multiple instances, not from one paper's recipe.",
        function="labels.outcome_bags",
    ),
    _labels(
        "advantage_critic",
        "Improving Multi-Step Reasoning Abilities of LLMs with Direct Advantage Policy Optimization (DAPO)",
        "2412.18279",
        "labels = advantage: child value minus parent value, moved to [0, 1]; regressed by a critic here, "
        "while DAPO takes the difference of two predicted values. ReAd (arXiv 2405.14314) regresses the advantage of "
        "each agent's action in a plan likewise.",
        function="labels.advantage_labels",
    ),
    _labels(
        "sibling_preferences", "Training language models to follow instructions with human feedback", "2203.02155",
        "labels = siblings: Bradley-Terry pairs of siblings of a tree and no values.",
        function="labels.sibling_labels",
    ),
    _labels(
        "preference_critic", "HelpSteer2-Preference: Complementing Ratings with Preferences", "2410.01257",
        "labels = preference_pairs: Bradley-Terry on stored pairs, plain, scaled by strength or with it as a margin "
        "(pair_loss); strength is the pair's margin here, 1 to 3 in the paper.",
        function="losses.margin_contrast", reads=("problems", "preference_pairs"), query="critics/preference_pairs",
    ),
    _labels(
        "policy_shift_critic", "Mutual-Taught for Co-adapting Policy and Reward Models", "2506.06292",
        "labels = policy_shift: the M-step. Plain Bradley-Terry on the pairs that mutual_taught made on the night "
        "before and on ranked whole answers, from the initial model each time.",
        function="losses.plain_contrast", reads=("problems", "preference_pairs"), query="critics/policy_shift",
    ),
    _labels(
        "td_lambda_labels", "Reinforcement Learning: An Introduction, 2nd ed., section 12.1 (Sutton and Barto)", None,
        "labels = td_lambda: lambda-returns of the trees, from node_values.",
        function="labels.values_of", reads=VALUES,
    ),
    _labels(
        "rest_mcts_labels", "ReST-MCTS*: LLM Self-Training via Process Reward Guided Tree Search", "2406.03816",
        "labels = rest_mcts: quality values from node_values; head = mse is the paper's.",
        function="labels.values_of", reads=VALUES,
    ),
    _labels(
        "quantile_labels", "Distributional Reinforcement Learning with Quantile Regression (QR-DQN)", "1710.10044",
        "labels = beta_quantiles: a node's posterior quantiles as samples of the label, for heads that learn more than "
        "a mean.",
        function="labels.values_of", reads=VALUES,
    ),
    _labels(
        "judge_labels", "PRM800K: Let's Verify Step by Step", "2305.20050",
        "labels = judge: right before the first error of a verdict, wrong at it, masked behind it; judged by models "
        "here, weighted by their confidence (ours).",
        function="labels.labels_until", reads=("problems", "rollouts", "verdicts"), query="critics/judged_rollouts",
    ),
    _labels(
        "consensus_labels", "The Lessons of Developing Process Reward Models in Mathematical Reasoning", "2501.07301",
        "labels = consensus: only rollouts whose first error judges and Monte Carlo estimates agree on.",
        function="labels.labels_until",
        reads=("problems", "rollouts", "verdicts", "first_errors", "step_scores"), query="critics/agreed_rollouts",
    ),
    _labels(
        "vote_labels", "Aligning Crowd Feedback via Distributional Preference Reward Modeling", "2402.09764",
        "labels = votes: share and distribution of the agents' votes on a step; the paper's Bayesian updates by "
        "annotator are left out.",
        function="labels.masked_after_error", reads=("problems", "rollouts", "critiques"), query="critics/voted_steps",
    ),
    _labels(
        "human_labels", "PRM800K: Let's Verify Step by Step", "2305.20050",
        "labels = human: steps that people reviewed, right before the first error and wrong at it; where most "
        "reviewers name no same step, nothing. Beside other sources of steps by reviewed_weight; the paper's neutral "
        "labels and its active choice of solutions are left out.",
        function="labels.labels_until", reads=("problems", "human_labels"), query="critics/reviewed_rollouts",
    ),
    _labels(
        "formal_labels", "Reasonmill", None,
        "labels = formal: what a formal checker says of the steps that it could check, masked behind a refuted one.",
        function="labels.masked_after_error", reads=("problems", "rollouts", "step_scores"),
        query="critics/formal_steps",
    ),
    _labels(
        "token_returns", "DVPO: Decoupled value policy optimization with a global value model", "2502.16944",
        "labels = monte_carlo, read_at = every_token: the mean outcome of all that goes on from a step, learned "
        "at each of its tokens; the paper trains on the returns of single trajectories.",
        function="batches.encode_examples",
    ),
    _labels(
        "outcome_classes_critic",
        "CodeRL: Mastering Code Generation through Pretrained Models and Deep Reinforcement Learning", "2207.01780",
        "labels = outcome_classes: pass, fail or error (no answer, or cut off) of a whole rollout; the paper has four "
        "classes of code.",
        function="heads.OutcomeClassesHead", reads=("problems", "rollouts"), query="critics/outcome_classes",
    ),
)  # fmt: skip

CALIBRATION = (
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

HEADS = (
    _head(
        "soft_cross_entropy_head", "Math-Shepherd: Verify and Reinforce LLMs Step-by-step without Human Annotations",
        "2312.08935", "head = bce: one logit, soft targets; starts as the policy's own verdict.", "heads.BceHead",
    ),
    _head(
        "squared_error_head", "ReST-MCTS*: LLM Self-Training via Process Reward Guided Tree Search", "2406.03816",
        "head = mse: squared error on sigmoid(logit); the sigmoid is ours.", "heads.MseHead",
    ),
    _head(
        "generalised_cross_entropy_head",
        "Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels", "1805.07836",
        "head = gce: robust to wrong labels, q = 0.7; soft targets are ours.", "heads.GceHead",
    ),
    _head(
        "attributes_head", "HelpSteer2: Open-source dataset for training top-performing reward models", "2406.08673",
        "head = attributes: several targets of one step at once, each with an output of its own; attributes are other "
        "label sources here, people's ratings in the paper, and cross-entropy takes the place of its squared error.",
        "heads.AttributesHead",
    ),
    _head(
        "hl_gauss_head", "Stop Regressing: Training Value Functions via Classification for Scalable Deep RL",
        "2403.03950", "head = hl_gauss: a histogram of smeared labels, sigma 0.75 bins, padded by 3 sigma.",
        "heads.HlGaussHead",
    ),
    _head(
        "two_hot_head", "A Distributional Perspective on Reinforcement Learning (C51)", "1707.06887",
        "head = two_hot: a histogram on atoms from 0 to 1, labels projected onto their neighbours.",
        "heads.TwoHotHead",
    ),
    _head(
        "quantile_head", "Distributional Reinforcement Learning with Quantile Regression (QR-DQN)", "1710.10044",
        "head = quantile: Huber quantile regression, quantiles that cannot cross; kappa 0.05 and not 1, see the code. "
        "QRM (arXiv 2409.10164) has one such head per attribute, mixed by a gate on the prompt, which is not built.",
        "heads.QuantileHead",
    ),
    _head(
        "implicit_quantile_head", "Implicit Quantile Networks for Distributional Reinforcement Learning (IQN)",
        "1806.06923",
        "head = iqn: a quantile for any level, learned at levels drawn per node, sorted when read; the paper's learned "
        "layer on the cosines of the level is left out, so that the head stays linear; 16 cosines (64 there) are ours.",
        "heads.ImplicitQuantileHead",
    ),
    _head(
        "beta_head", "Beta-binomial likelihood (Skellam, 1948)", None,
        "head = beta: a Beta distribution of the rate of right completions, learned from counts.", "heads.BetaHead",
    ),
    _head(
        "grades_head", "Aligning Crowd Feedback via Distributional Preference Reward Modeling", "2402.09764",
        "head = grades: a distribution over ordered grades, optimal-transport loss.", "heads.GradesHead",
    ),
    _head(
        "label_smoothing", "Rethinking the Inception Architecture for Computer Vision", "1512.00567",
        "label_smoothing > 0: that share of the labels is taken for a coin's.", "losses.smoothed",
    ),
)  # fmt: skip

ENSEMBLES = (
    _head(
        "ensemble_head", "Deep Exploration via Bootstrapped DQN", "1602.04621",
        "ensemble: several heads, also of mixed kinds, on one backbone; each leaves a block of problems out (the paper "
        "resamples); the variance of their means is stored as step_scores.disagreement.",
        "ensembles.EnsembleHead",
    ),
    _head(
        "truncated_pooling",
        "Controlling Overestimation Bias with Truncated Mixture of Continuous Distributional Quantile Critics (TQC)",
        "2005.04269", "pooling = truncated: the members' atoms pooled, the highest share dropped.",
        "ensembles.truncated_mean",
    ),
    _head(
        "averaged_quantiles", "Reasonmill (Vincent averaging)", None,
        "pooling = quantiles: the members' quantile functions, averaged by member_weights.",
        "ensembles.weighted_quantiles",
    ),
    _head(
        "pair_strength_votes", "Secrets of RLHF in Large Language Models Part II: Reward Modeling", "2401.06080",
        "Mean and spread of several critics' gaps on a pair, here from Python; the members of `ensemble` are stored as "
        "step_scores.member_scores, by which the pair method preference_strength votes every night. The paper takes "
        "ten reward models, the members here share a backbone.",
        "ensembles.vote_on_pairs",
    ),
)  # fmt: skip

GENERATIVE = (
    Method(
        name="generative_verifier",
        paper="Generative Verifiers: Reward Modeling as Next-Token Prediction (GenRM)",
        arxiv="2408.15240",
        summary="process_critic.kind = generative: a step's score is the right verdict's share of the probability, "
        "read in place or after a question; with num_rationales the mean over sampled critiques (GenRM-CoT). The model "
        "is taken as it is: the training on verdicts and reference-guided rationales of the paper are left out.",
        reads=("problems", "rollouts"),
        writes=("step_scores",),
        params=GenerativeCriticConfig,
        function="critics.generative.GenerativeScorer",
    ),
    Method(
        name="zero_shot_questions",
        paper="ZYN: Zero-Shot Reward Models with Yes-No Questions for RLAIF",
        arxiv="2308.06385",
        summary="The same of a model that was never taught it: generative_critic.question with verdict_tokens such as "
        "Yes and No; asked of every step here, of a whole text in the paper.",
        reads=("problems", "rollouts"),
        writes=("step_scores",),
        params=GenerativeCriticConfig,
        function="critics.generative.GenerativeScorer",
    ),
)

CLOUD = (
    Method(
        name="critique_out_loud",
        paper="Critique-out-Loud Reward Models (CLoud)",
        arxiv="2408.11791",
        summary="`reasonmill critic train-cloud`: writes a critique, then a reward head scores problem, solution and "
        "critique; its own critiques, joint loss, mean over sampled critiques. Critiques to begin with are the agents' "
        "that agree with the grade, a stronger model's in the paper; pairs are right and wrong rollouts of a problem; "
        "steps are scored by their prefixes, whole answers in the paper; dropout and step counts are ours.",
        reads=("problems", "rollouts", "critiques"),
        writes=("critics",),
        params=CloudCriticConfig,
        function="critics.cloud_train.train_cloud_critic",
        query="critics/critiqued_rollouts",
        measured="learned from 1,178 graded rollouts of the demo's night: 0.78 of 61 pairs of whole rollouts of unseen "
        "problems, the policy's own verdict 0.56; first-error F1 0.85, its own 0.87; without critiques the same steps "
        "teach nothing (results/cloud.md)",
    ),
)

METHODS = LABELS + HEADS + ENSEMBLES + CALIBRATION + GENERATIVE + CLOUD
