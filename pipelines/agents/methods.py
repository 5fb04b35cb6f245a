"""The methods that `[[critiques.methods]]` can name, besides multi_critique, whose parameters are the section's own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError

from pipelines.agents.ask import Room, Row
from pipelines.agents.auto_math_critique import AUTO_MATH_CRITIQUE
from pipelines.agents.checklist import CHECKLIST
from pipelines.agents.contrastive_self_critique import CONTRASTIVE_SELF_CRITIQUE
from pipelines.agents.critic_cot import CRITIC_COT
from pipelines.agents.critique_post_edit import CRITIQUE_POST_EDIT
from pipelines.agents.deep_critic import DEEP_CRITIC
from pipelines.agents.local_and_global import LOCAL_AND_GLOBAL_REFINEMENT
from pipelines.agents.magicore import MAGICORE
from pipelines.agents.principles import PRINCIPLES
from pipelines.agents.records import AgentMethod, Group, record_row
from pipelines.agents.reflection_splice import REFLECTION_SPLICE
from pipelines.agents.scored_critique import SCORED_CRITIQUE
from pipelines.agents.self_correction_turns import SELF_CORRECTION_TURNS
from pipelines.agents.self_explanation import EXPO
from pipelines.agents.self_play import SELF_PLAY
from pipelines.agents.self_reformulation import EGSR
from pipelines.agents.table_critic import TABLE_CRITIC
from pipelines.agents.tampered_solutions import TAMPERED_SOLUTIONS
from pipelines.agents.teacher_correction import TEACHER_CORRECTION
from pipelines.agents.tool_critique import TOOL_CRITIQUE
from pipelines.agents.typed_corruptions import TYPED_CORRUPTIONS
from pipelines.agents.unary_feedback import UNARY_FEEDBACK
from pipelines.config import AgentMethodConfig, CritiquesConfig
from pipelines.errors import ConfigError
from pipelines.reasoning.prompts import PromptStyle
from pipelines.rows import near_names

MULTI_CRITIQUE = "multi_critique"

METHODS: Mapping[str, AgentMethod] = {
    "tampered_solutions": TAMPERED_SOLUTIONS,
    "typed_corruptions": TYPED_CORRUPTIONS,
    "self_play": SELF_PLAY,
    "critic_cot": CRITIC_COT,
    "auto_math_critique": AUTO_MATH_CRITIQUE,
    "teacher_correction": TEACHER_CORRECTION,
    "tool_critique": TOOL_CRITIQUE,
    "local_and_global_refinement": LOCAL_AND_GLOBAL_REFINEMENT,
    "unary_feedback": UNARY_FEEDBACK,
    "self_correction_turns": SELF_CORRECTION_TURNS,
    "critique_post_edit": CRITIQUE_POST_EDIT,
    "magicore": MAGICORE,
    "reflection_splice": REFLECTION_SPLICE,
    "contrastive_self_critique": CONTRASTIVE_SELF_CRITIQUE,
    "deep_critic": DEEP_CRITIC,
    "checklist": CHECKLIST,
    "principles": PRINCIPLES,
    "scored_critique": SCORED_CRITIQUE,
    "table_critic": TABLE_CRITIC,
    "expo": EXPO,
    "egsr": EGSR,
}


@dataclass(frozen=True)
class ChosenMethod:
    """A configured method with its checked parameters."""

    name: str
    method: AgentMethod
    params: BaseModel
    num_rollouts: int  # that it looks at, at most


def chosen_methods(config: CritiquesConfig, prompts: PromptStyle) -> list[ChosenMethod]:
    """What the configuration names, multi_critique left out. ConfigError where it cannot run."""
    chosen = [_chosen(one, prompts) for one in config.methods if one.method != MULTI_CRITIQUE]
    if config.meta_critique == "model":
        prompts.template_of("meta_critique")
    if config.crucial_information == "model":
        prompts.template_of("crucial_information")
    return chosen


async def run_method(room: Room, chosen: ChosenMethod, groups: Sequence[Group]) -> list[Row]:
    """The rows of `critique_records` that a method makes."""
    records = await chosen.method.run(room, groups, chosen.params)
    return [record_row(chosen.name, room.night, record) for record in records]


def _chosen(one: AgentMethodConfig, prompts: PromptStyle) -> ChosenMethod:
    if one.method not in METHODS:
        raise ConfigError(
            f"critiques.methods: there is no method of agents `{one.method}`; "
            f"{near_names(one.method, [MULTI_CRITIQUE, *METHODS])}"
        )
    method = METHODS[one.method]
    for role in method.roles:
        prompts.template_of(role)
    try:
        return ChosenMethod(one.method, method, method.params(**one.parameters), one.num_rollouts)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(
            f"critiques.methods: the parameter {'.'.join(map(str, first['loc']))} of {one.method}: {first['msg']}."
        ) from error
