"""Methods by which agents criticise, judge and refine, and what critics and judges learn from."""

from pipelines.agents import judge_data, rewards
from pipelines.catalogue.method import Method
from pipelines.config import CritiquesConfig
from pipelines.curation import Curation


def _table_method(
    name: str,
    paper: str,
    arxiv: str | None,
    summary: str,
    curation: Curation,
    query: str,
    measured: str | None = None,
) -> Method:
    """A method that is one query over a table of critiques, judgments, answers or pairs; it writes no table here."""
    return Method(
        name=name, paper=paper, arxiv=arxiv, summary=summary, reads=(), writes=(), params=curation.params,
        function="pipelines.agents.rewards.over",
        query=f"critiques/{query}", curation=curation, measured=measured,
    )  # fmt: skip


REWARDS = (
    _table_method(
        "critique_rl",
        "Critique-RL: two-stage reinforcement learning of critics",
        None,
        "Rewards a critic for being right, then also for what its critiques do to refinements, in three modes.",
        rewards.CRITIQUE_RL,
        "critique_rl",
    ),
    _table_method(
        "ref_critic",
        "RefCritic: long chain-of-thought critics with refinement feedback",
        None,
        "The mean of a verdict reward and the share of right refinements; that right solutions have no second part is "
        "our deduction.",
        rewards.REF_CRITIC,
        "ref_critic",
    ),
    _table_method(
        "ctrl",
        "CTRL: critic training via reinforcement learning",
        None,
        "Does the refinement pass? As a reward, and as a filter for supervised training without leaks and balanced.",
        rewards.CTRL,
        "ctrl",
    ),
    _table_method(
        "critique_label_match",
        "Critique-Coder: critique reinforcement learning",
        None,
        "1 where a critic's verdict is the label, else 0; from the paper's description as remembered.",
        rewards.LABEL_MATCH,
        "label_match",
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
    ),
    _table_method(
        "recycled_rollouts",
        "SPARK: policy and reward co-evolving",
        None,
        "Graded rollouts as judge prompts of three kinds: pointwise, pairwise, reflection; from the paper's description "
        "as remembered.",
        judge_data.RECYCLED_ROLLOUTS,
        "recycled_rollouts",
    ),
    _table_method(
        "preference_prompts",
        "LLaVA-Critic-R1; R1-Reward (text form)",
        None,
        "Preference pairs as prompts whose answer can be verified; from the papers' descriptions as remembered.",
        judge_data.PREFERENCE_PROMPTS,
        "preference_prompts",
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
    ),
    *REWARDS,
    *JUDGE_DATA,
)
