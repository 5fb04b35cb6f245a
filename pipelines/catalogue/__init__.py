"""The catalogue: one record per published method that this project uses.

It drives the command line and the documentation; a test resolves every path. Adding a method is one file with the
code and one entry in the file of its family here.
"""

import inspect
import re
from collections.abc import Iterator
from dataclasses import asdict, fields

from pipelines.catalogue.audit import METHODS as AUDIT
from pipelines.catalogue.consistency import METHODS as CONSISTENCY
from pipelines.catalogue.critics import METHODS as CRITICS
from pipelines.catalogue.critique import METHODS as CRITIQUE
from pipelines.catalogue.duplicates import METHODS as DUPLICATES
from pipelines.catalogue.judges import METHODS as JUDGES
from pipelines.catalogue.method import Method
from pipelines.catalogue.preference import METHODS as PREFERENCE
from pipelines.catalogue.search import METHODS as SEARCH
from pipelines.catalogue.tree_extracts import METHODS as TREE_EXTRACTS
from pipelines.catalogue.votes import METHODS as VOTES
from pipelines.config import RolloutsConfig
from pipelines.search.recipes import RECIPES, Recipe

SEARCH_KEYS = ("num_simulations", "num_candidates", "max_depth")  # of RolloutsConfig
SAMPLE_KEYS = ("group_size",)

FAMILIES: dict[str, tuple[Method, ...]] = {
    "search": SEARCH,
    "critique": CRITIQUE,
    "critics": CRITICS,
    "tree_extracts": TREE_EXTRACTS,
    "preference": PREFERENCE,
    "consistency": CONSISTENCY,
    "votes": VOTES,
    "judges": JUDGES,
    "duplicates": DUPLICATES,
    "audit": AUDIT,
}
METHODS: dict[str, Method] = {method.name: method for family in FAMILIES.values() for method in family}


def methods() -> Iterator[Method]:
    """All methods, by name."""
    return (METHODS[name] for name in sorted(METHODS))


def recipe_rows() -> list[dict[str, object]]:
    """Every built-in recipe, by name: `parameters` are keys of the section `rollouts` with what holds when they are
    not set, `own_parameters` those of `rollouts.parameters`, `constants` the numbers of the method that only a
    recipe of your own changes.
    """
    defaults = RolloutsConfig()
    rows = []
    for recipe in sorted(RECIPES.values(), key=lambda recipe: recipe.name):
        keys = SAMPLE_KEYS if recipe.merge_samples else SEARCH_KEYS
        own = {"exploration": recipe.exploration, "beam_width": recipe.beam_width}
        parameters = {key: getattr(defaults, key) for key in keys if key not in recipe.ignores}
        rows.append(
            {
                "recipe": recipe.name,
                "summary": recipe.summary,
                "paper": recipe.paper,
                "parameters": parameters | {key: value for key, value in own.items() if value is not None},
                "own_parameters": asdict(recipe.params) if recipe.params is not None else {},
                "constants": dict(recipe.constants),
                "tier": METHODS[recipe.name].tier,
            }
        )
    return rows


def parameter_meanings(recipe: Recipe) -> dict[str, str]:
    """What each of a recipe's own parameters means: the comment beside its field; "" where there is none."""
    if recipe.params is None:
        return {}
    source = inspect.getsource(type(recipe.params))
    comments = dict(re.findall(r"^ +(\w+): [^#\n]*# *(.*)$", source, flags=re.MULTILINE))
    return {one.name: comments.get(one.name, "") for one in fields(recipe.params)}
