"""The methods that `[[critiques.methods]]` can name, besides multi_critique, whose parameters are the section's own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError

from pipelines.agents.ask import Room, Row
from pipelines.agents.records import AgentMethod, Group, record_row
from pipelines.config import AgentMethodConfig, CritiquesConfig
from pipelines.errors import ConfigError
from pipelines.reasoning.prompts import PromptStyle
from pipelines.rows import near_names

MULTI_CRITIQUE = "multi_critique"

METHODS: Mapping[str, AgentMethod] = {}


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
