"""Methods by which agents criticise, judge and refine, and what critics and judges learn from."""

from pipelines.agents import judge_data, rewards
from pipelines.agents.formalization_critique import FORMALIZATION_CRITIQUE, FORMALIZATION_RATES
from pipelines.agents.methods import METHODS as AGENT_METHODS
from pipelines.agents.tree_discrepancy import TREE_DISCREPANCY
from pipelines.catalogue.method import Method, Tier
from pipelines.config import CritiquesConfig
from pipelines.curation import Curation

CRITIQUES = "starter demo of 2026-11-21, 12,799 critiques of 3,200 samples (python -m tests.benchmarks yields)"


def _table_method(
    name: str,
    paper: str,
    arxiv: str | None,
    summary: str,
    curation: Curation,
    query: str,
    measured: str | None = None,
    tier: Tier = "experimental",
) -> Method:
    """A method that is one query over a table of critiques, judgments, answers or pairs; it writes no table here."""
    return Method(
        name=name, paper=paper, arxiv=arxiv, summary=summary, reads=(), writes=(), params=curation.params,
        function="pipelines.agents.rewards.over",
        query=f"critiques/{query}", curation=curation, measured=measured and f"{CRITIQUES}: {measured}", tier=tier,
    )  # fmt: skip


def _agents(
    name: str, paper: str, arxiv: str | None, function: str, summary: str, measured: str | None = None
) -> Method:
    """A method of `[[critiques.methods]]`; it writes records."""
    return Method(
        name=name, paper=paper, arxiv=arxiv, summary=summary, reads=("problems", "rollouts"),
        writes=("critique_records",), params=AGENT_METHODS[name].params, function=f"pipelines.agents.{function}",
        measured=measured,
    )  # fmt: skip


REWARDS = (
    _table_method(
        "critique_rl",
        "Critique-RL: two-stage reinforcement learning of critics",
        None,
        "Rewards a critic for being right, then also for what its critiques do to refinements, in three modes.",
        rewards.CRITIQUE_RL,
        "critique_rl",
        measured="4,056 have a reward of stage 2, on average -.43 (a wrong verdict is -1, a right one without a "
        "refinement has none)",
        tier="verified",
    ),
    _table_method(
        "ref_critic",
        "RefCritic: long chain-of-thought critics with refinement feedback",
        None,
        "The mean of a verdict reward and the share of right refinements; that right solutions have no second part is "
        "our deduction.",
        rewards.REF_CRITIC,
        "ref_critic",
        measured="8,419 have a reward, on average .79",
    ),
    _table_method(
        "ctrl",
        "CTRL: critic training via reinforcement learning",
        None,
        "Does the refinement pass? As a reward, and as a filter for supervised training without leaks and balanced.",
        rewards.CTRL,
        "ctrl",
        measured="1,280 of the 1,496 with a refinement kept unbalanced; none balanced, since only wrong verdicts were "
        "refined",
        tier="verified",
    ),
    _table_method(
        "critique_label_match",
        "Critique-Coder: critique reinforcement learning",
        None,
        "1 where a critic's verdict is the label, else 0; from the paper's description as remembered.",
        rewards.LABEL_MATCH,
        "label_match",
        measured="the verdict is the grade in 77.2 %",
    ),
    _table_method(
        "metric_gain",
        "RL4F: natural language feedback with reinforcement learning; PIT: implicit self-improvement",
        None,
        "Any metric after the refinement (RL4F), or its gain and a soft label of the pair (PIT); from the papers' "
        "descriptions as remembered.",
        rewards.METRIC_GAIN,
        "metric_gain",
    ),
    _table_method(
        "drlc_span_rewards",
        "DRLC: dense rewards from a language model critic",
        None,
        "Rewards of steps from a critic's verdicts beside the outcome; from the paper's description as remembered.",
        rewards.SPAN_REWARDS,
        "span_rewards",
    ),
    _table_method(
        "critique_grpo",
        "Critique-GRPO: natural language and numerical feedback",
        None,
        "Answers and their refinements as one group with advantages, without the paper's shaping of the loss; from its "
        "description as remembered.",
        rewards.CRITIQUE_GRPO,
        "critique_grpo",
    ),
)
JUDGE_DATA = (
    _table_method(
        "judgment_pairs",
        "Direct Judgement Preference Optimization",
        None,
        "Pairs of judgments: with reasoning, verdicts alone, and what a judgment was about; from the paper's "
        "description as remembered.",
        judge_data.JUDGMENT_PAIRS,
        "judgment_pairs",
        measured="3,945 pairs with reasoning, 1,520 of verdicts alone",
    ),
    _table_method(
        "self_rationalization",
        "Self-rationalization improves a model as a judge",
        None,
        "Pairs of a judge's own rationales by how far their scores are from the label or its own majority; from the "
        "paper's description as remembered.",
        judge_data.SELF_RATIONALIZATION,
        "self_rationalization",
    ),
    _table_method(
        "kept_rationales",
        "GenRM: generative verifiers; Critic-RM",
        None,
        "Keeps rationales that reach the label, do not speak of the reference, and are balanced by label.",
        judge_data.KEPT_RATIONALES,
        "kept_rationales",
        measured="8,546 kept; 2,916 have the wrong verdict, 1,337 went for the balance of right and wrong",
    ),
    _table_method(
        "recycled_rollouts",
        "SPARK: policy and reward co-evolving",
        None,
        "Graded rollouts as judge prompts of three kinds (pointwise, pairwise, reflection); from the description "
        "as remembered.",
        judge_data.RECYCLED_ROLLOUTS,
        "recycled_rollouts",
        measured="1,600 pointwise and 1,012 pairwise prompts, 996 reflections",
    ),
    _table_method(
        "preference_prompts",
        "LLaVA-Critic-R1; R1-Reward (text form)",
        None,
        "Preference pairs as prompts whose answer can be verified; from the papers' descriptions as remembered.",
        judge_data.PREFERENCE_PROMPTS,
        "preference_prompts",
        measured="all of 1,033 preference pairs are prompts",
    ),
    _table_method(
        "judge_share",
        "Judge rows among RL rows (Critique-Coder, SPARK)",
        None,
        "Thins judge rows by lot to a set share of an RL set; the share of 0.2 is remembered, not checked.",
        judge_data.JUDGE_SHARE,
        "judge_share",
    ),
)
AGENTS = (
    _agents(
        "tampered_solutions",
        "LLM critics help catch LLM bugs (CriticGPT)",
        "2407.00215",
        "tampered_solutions.run",
        "Errors are inserted into right solutions and critics must find them; precision and recall per agent in "
        "sql/reports/tampering.sql; from the paper's description as remembered.",
        measured="96 samples of the demo lake (59 right ones), starter through transformers: recall 27, 34 and 34 %, "
        "precision 40, 50 and 45 % of the three agents; all read",
    ),
    _agents(
        "typed_corruptions",
        "REFINER: reasoning feedback on intermediate representations",
        "2304.01904",
        "typed_corruptions.run",
        "Right solutions with typed errors and structured feedback, kept where the refinement is right; from the "
        "paper's description as remembered.",
        measured="59 right samples of the demo lake, starter through transformers: all 177 corrupted solutions were "
        "refined right",
    ),
    _agents(
        "self_play",
        "SPC: self-play critic",
        None,
        "self_play.run",
        "A sneaky generator against a critic with zero-sum rewards; errors must do harm; wins and losses are kept.",
        measured="59 right samples of the demo lake, starter through transformers: 38 harmful errors, 21 void games; "
        "the critics judge 33 of the 38 right steps and 14 of the 38 sneaky ones rightly",
    ),
    _agents(
        "critic_cot",
        "Critic-CoT: step-wise critique and refinement",
        None,
        "critic_cot.run",
        "Step-wise critiques kept by weak supervision: no error in a right sample, or one whose refinement is right.",
        measured="96 samples of the demo lake, starter through transformers: 72 kept, 15 false alarms, 5 overlooked, 4 "
        "whose refinement fails",
    ),
    _agents(
        "auto_math_critique",
        "AutoMathCritique: critiques filtered by refinements",
        None,
        "auto_math_critique.run",
        "Critiques of flawed solutions kept by the share of right refinements; one new solution per problem.",
        measured="96 samples of the demo lake, starter through transformers: 57 of 111 critiques of wrong samples "
        "kept, 79 of 177 of tampered ones, 12 new solutions",
    ),
    _agents(
        "teacher_correction",
        "SuperCorrect: cross-model collaborative preference pairs",
        None,
        "teacher_correction.run",
        "A teacher's critique and correction chosen over the student's own, where the teacher's alone is right.",
        measured="37 wrong samples of the demo lake, starter through transformers, critique_c teaching critique_a: 7 "
        "pairs, 19 where both are right, 11 where the teacher fails",
    ),
    _agents(
        "tool_critique",
        "CRITIC: self-correction with tool-interactive critiquing",
        "2305.11738",
        "tool_critique.run",
        "A calculator's findings as the critique, until it finds nothing; from the paper's description as remembered.",
        measured="96 samples of the demo lake, starter through transformers: 34 with a wrong equation, all of them "
        "refined right; 62 without",
    ),
    _agents(
        "local_and_global_refinement",
        "GLoRe: when, where and how to improve reasoning",
        None,
        "local_and_global.refine_both_ways",
        "Goes on before the first error, and rewrites the whole; an outcome critic (here the agents' vote) chooses.",
        measured="96 samples of the demo lake, starter through transformers: of 47 with an error found 33 global and "
        "18 local refinements are right, 32 of the chosen solutions",
    ),
    _agents(
        "magicore",
        "MAgICoRe: multi-agent iterative coarse-to-fine refinement",
        None,
        "magicore.run",
        "Tells easy from hard problems, reviews and refines the hard ones; agents' votes stand for its reward models.",
        measured="12 problems of the demo lake, 8 samples each, starter through transformers: 1 hard, solved after one "
        "round; 9 of 11 easy ones right",
    ),
    _agents(
        "unary_feedback",
        "UFO: unary feedback as observation",
        None,
        "unary_feedback.run",
        "Episodes of try again, with a reward that halves per turn and a penalty for repeated answers.",
        measured="12 problems of the demo lake, 8 samples each: 9 episodes end right, mean reward 0.89",
    ),
    _agents(
        "self_correction_turns",
        "SCoRe, SPOC, RISE, SELF: two turns of one policy",
        None,
        "self_correction_turns.run",
        "A first answer, its own critique and a second answer, in the shape, mask and reward that a method trains on; "
        "from the papers' descriptions as remembered.",
        measured="96 samples of the demo lake, starter through transformers, shape score: 96 episodes, mean reward "
        "1.16",
    ),
    _agents(
        "critique_post_edit",
        "Critique-Post-Edit",
        None,
        "critique_post_edit.run",
        "Answers edited after a critique as rollouts of their own, pairs where the edit is better; from the paper's "
        "description as remembered.",
        measured="96 samples of the demo lake, starter through transformers: 44 edits kept, 49 unchanged, 3 worse",
    ),
    _agents(
        "contrastive_self_critique",
        "SCRIT: self-evolving critic",
        None,
        "contrastive_self_critique.run",
        "Critiques made beside a right solution, kept where their correction is right, trained on without it.",
    ),
    _agents(
        "deep_critic",
        "DeepCritic: deliberate critique",
        None,
        "deep_critic.run",
        "A critique of the critique, kept where its first error is the label from continuations.",
    ),
    _agents(
        "checklist",
        "IF-CRITIC; KLCF: checklists",
        None,
        "checklist.run",
        "Items that a right solution must fulfil, checked one by one; from the papers' descriptions as remembered.",
    ),
    _agents(
        "principles",
        "SPCT: self-principled critique tuning",
        None,
        "principles.run",
        "Generated principles, parallel votes and a meta score; from the paper's description as remembered.",
    ),
    _agents(
        "scored_critique",
        "ChatGLM-Math: Math-Critique; CritiqueLLM",
        None,
        "scored_critique.run",
        "Pointwise critiques that end in a score, with or without a reference; from the papers' descriptions as "
        "remembered.",
    ),
    _agents(
        "table_critic",
        "Table-Critic: multi-agent criticism with a template tree",
        None,
        "table_critic.run",
        "Judge, router, critic, refiner and curator with a growing tree of templates, on step solutions.",
    ),
    _agents(
        "reflection_splice",
        "Agent-R; ThinkTuning",
        None,
        "reflection_splice.run",
        "Wrong samples cut where their actor stops believing them and led back to a right one, or guided, with a mask "
        "of what is learned; ThinkTuning's form is remembered.",
    ),
)
FORMAL = (
    Method(
        name="formalization_critique",
        paper="CriticLean: critics of formal statements",
        arxiv=None,
        summary="Rewards of critics of formal statements, and which rows are worth learning from; the loop with Lean "
        "is not here.",
        reads=(),
        writes=(),
        params=FORMALIZATION_CRITIQUE.params,
        function="pipelines.agents.formalization_critique.run",
        curation=FORMALIZATION_CRITIQUE,
    ),
    _table_method(
        "formalization_rates",
        "CriticLean: CriticLeanBench",
        None,
        "Accuracy and the four rates of a critic of formal statements.",
        FORMALIZATION_RATES,
        "formalization_rates",
    ),
)
TREES = (
    _table_method(
        "tree_discrepancy",
        "MMC: multimodal critics from tree discrepancies",
        None,
        "A good and a bad child of one node as a critique of the bad one, by a rule in place of an annotator.",
        TREE_DISCREPANCY,
        "tree_discrepancy",
    ),
)

EXPLANATIONS = (
    _agents(
        "expo",
        "ExPO: Unlocking Hard Reasoning with Self-Explanation-Guided Reinforcement Learning",
        "2507.02834",
        "self_explanation.run",
        "Where no sample is right the policy explains the given answer; kept where that makes the answer likelier than "
        "its wrong samples do (the paper's conditions from its abstract, their comparison and bounds ours).",
        measured="demo lake, starter on vLLM, the 19 of 400 sampled problems without a right sample x 4: 15 of 76 "
        "kept, of 13 problems, all steps right in 14; 50 wrong answers, 11 repeated; mean gain 14.5 nats. The starter "
        "does not use the answer, only its role of refining: told 0 in its place it has 15 kept, told the answer 16 "
        "(both through transformers)",
    ),
    _agents(
        "egsr",
        "Learning Like Humans: ADCL and Expert-Guided Self-Reformulation (EGSR)",
        "2505.08364",
        "self_reformulation.run",
        "Where no sample is right the policy writes a solution of the search trees again in its own way; kept where it "
        "is likelier per token than that solution (from the paper's abstract; what an expert is, is ours).",
        measured="demo lake, starter on vLLM, the 13 of 19 unsolved problems that a tree has solved x 4: 0 of 52 kept, "
        "37 copied, 15 wrong answers: the starter was taught to repeat what it is told is right",
    ),
)

METHODS = (
    Method(
        name="multi_critique",
        paper="Training Language Models to Critique With Multi-agent Feedback (MultiCritique)",
        arxiv="2410.15287",
        summary="Several agents criticise a rollout on their own; their units are judged one by one and merged into a "
        "final critique, which a refinement follows.",
        reads=("problems", "rollouts"),
        writes=("critiques", "critique_units", "verdicts", "refinements"),
        params=CritiquesConfig,
        function="pipelines.agents.multi_critique.criticise_rollout",
        tier="verified",
        measured="200 samples of the demo lake, starter sampled through transformers, 3 agents, 2 refinements of "
        "every critique: 389 units, of which 150 confirmed ones are wrong steps in 98 %, 239 contested ones in 69 %; "
        "first error of the vote right in 86 %, of the agents in 82, 74 and 70 %; wrong samples refined right after "
        "the final critique 76 % [69, 84], after the mean agent 63 % [58, 68], right ones ruined 1.8 % against 2.9 %; "
        "66 pairs of critiques (MARV) of 47 problems; no critique unreadable",
    ),
    *REWARDS,
    *JUDGE_DATA,
    *AGENTS,
    *EXPLANATIONS,
    *FORMAL,
    *TREES,
)
