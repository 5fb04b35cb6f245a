"""What a configuration names, looked up: the recipe, filters, pair and agent methods, parameters, the user's files.

A wrong name or parameter is found here in a moment, before an engine has started or a problem has been sampled.
"""

from functools import partial

from pipelines.agents.methods import chosen_methods
from pipelines.config import ReportsConfig, RolloutsConfig, Settings
from pipelines.consistency.filters import OwnInputs, filter_of
from pipelines.errors import ConfigError
from pipelines.extensions import KINDS, extension_names, load_extension
from pipelines.posing.methods import check_made_sources, chosen_posings
from pipelines.preference.methods import steps_of
from pipelines.reasoning.prompts import load_prompts
from pipelines.reasoning.solve import CRITIC_GUIDED, answering_search
from pipelines.search.recipes import Recipe, recipe_named
from pipelines.tables import SCHEMAS


def own_recipes(settings: Settings, config: RolloutsConfig) -> dict[str, Recipe]:
    """The user's recipe under its name, if the configured recipe is one of the user's."""
    if config.recipe not in extension_names(settings, "recipes"):
        return {}
    recipe = load_extension(settings, "recipes", config.recipe)
    return {config.recipe: recipe if isinstance(recipe, Recipe) else recipe()}


def chosen_recipe(settings: Settings, config: RolloutsConfig) -> Recipe:
    """The configured recipe with its parameters.

    ConfigError or WorkspaceError for one that is not there, has no such parameter, or needs a critic that no night can
    have.
    """
    named = recipe_named(config.recipe, own_recipes(settings, config))
    recipe = named.with_parameters(config.exploration, config.beam_width, config.parameters)
    if not config.guided:
        recipe.check_critics(())
    return recipe


def reported_searches(settings: Settings, config: ReportsConfig) -> dict[str, Recipe]:
    """Strategy -> the search behind it, on the frozen problems: the night's recipe with its parameters (PUCT where a
    critic alone cannot guide that to an answer), then `config.recipes` with those of `rollouts` that every search has.

    ConfigError for a further one that is not there, or cannot answer.
    """
    name, recipe = answering_search(chosen_recipe(settings, settings.rollouts)) or (CRITIC_GUIDED.name, CRITIC_GUIDED)
    searches = {name: recipe}
    for named in config.recipes:
        further = answering_search(
            chosen_recipe(settings, settings.rollouts.model_copy(update={"recipe": named, "parameters": {}}))
        )
        if further is None:
            raise ConfigError(
                f'reports.recipes names "{named}", which makes data and answers no problem by a critic alone; '
                "`reasonmill recipes` says what each needs."
            )
        searches.setdefault(*further)
    return searches


def check_names(settings: Settings) -> None:
    """Look up everything that the configuration names. Raises ConfigError or WorkspaceError, which say where."""
    for kind in KINDS:
        for name in getattr(settings.extensions, kind, {}):
            load_extension(settings, kind, name)
    reported_searches(settings, settings.reports)
    nothing = OwnInputs(SCHEMAS["rollouts"].empty_table(), SCHEMAS["step_scores"].empty_table())
    for method in settings.consistency.methods:
        filter_of(method, partial(load_extension, settings, "filters"), nothing)
    steps_of(settings.preference_pairs, load=partial(load_extension, settings, "filters"))
    prompts = load_prompts(settings.policy.prompt_style, settings.prompts_dir)
    chosen_methods(settings.critiques, prompts)
    chosen_posings(settings.new_problems, prompts)
    check_made_sources(settings)
