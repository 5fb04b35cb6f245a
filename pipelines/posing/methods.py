"""The methods that `[[new_problems.methods]]` can name.

TT-SI (arXiv 2510.07841) starts from what the model is uncertain of and asks it for similar examples; AlphaLLM
(arXiv 2404.12253) lets the model imagine new prompts from those that are there. Whom they start from, and what they are
asked, is all that tells them apart here; what they made goes through the same tests.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, Field, ValidationError

from pipelines.config import MadeSource, NewProblemMethodConfig, NewProblemsConfig, Section, Settings
from pipelines.errors import ConfigError
from pipelines.reasoning.prompts import PromptStyle
from pipelines.rows import near_names

JUDGE = "judge_problem"  # role that grades problems in words


class TtSiParams(Section):
    """Parameters of `tt_si`; the threshold is remembered from the paper, not checked; the rest is ours."""

    threshold: float = Field(
        0.95, gt=0.0, le=1.0, description="a problem is uncertain whose two likeliest answers are closer than this"
    )
    begun_share: float = Field(
        0.5, ge=0.0, lt=1.0, description="starter: share of the source's statement that the new one begins with"
    )


class ImaginationParams(Section):
    """Parameters of `imagination`, ours."""

    begun_share: float = Field(
        0.0, ge=0.0, lt=1.0, description="starter: share of the source's statement that the new one begins with"
    )


@dataclass(frozen=True)
class PosingMethod:
    """What a method is."""

    params: type[BaseModel]
    role: str  # template of the request for a statement
    is_for_uncertain: bool  # starts from problems that the policy is uncertain of, else from any training problem


METHODS: Mapping[str, PosingMethod] = {
    "tt_si": PosingMethod(TtSiParams, "similar_problem", is_for_uncertain=True),
    "imagination": PosingMethod(ImaginationParams, "imagined_problem", is_for_uncertain=False),
}


@dataclass(frozen=True)
class ChosenPosing:
    """A configured method with its checked parameters."""

    name: str
    method: PosingMethod
    params: TtSiParams | ImaginationParams
    num_sources: int
    num_variants: int


def chosen_posings(config: NewProblemsConfig, prompts: PromptStyle) -> list[ChosenPosing]:
    """What the configuration names. ConfigError where it cannot run."""
    return [_chosen(one, prompts) for one in config.methods]


def check_made_sources(settings: Settings) -> None:
    """ConfigError where a source of made problems names a method that does not exist."""
    for source in settings.problems.sources:
        for name in source.methods if isinstance(source, MadeSource) else ():
            _named(name, "problems.sources")


def _named(name: str, where: str) -> PosingMethod:
    if name not in METHODS:
        raise ConfigError(f"{where}: there is no method `{name}` that poses problems; {near_names(name, METHODS)}")
    return METHODS[name]


def _chosen(one: NewProblemMethodConfig, prompts: PromptStyle) -> ChosenPosing:
    method = _named(one.method, "new_problems.methods")
    for role in (method.role, JUDGE) if prompts.has_words else (method.role,):
        prompts.template_of(role)
    try:
        params = method.params(**one.parameters)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(
            f"new_problems.methods: the parameter {'.'.join(map(str, first['loc']))} of {one.method}: {first['msg']}."
        ) from error
    return ChosenPosing(one.method, method, params, one.num_sources, one.num_variants)
