"""The catalogue: one record per published method that this project uses.

It drives the command line and the documentation; a test resolves every path. Adding a method is one file with the
code and one entry in the file of its family here.
"""

import inspect
import re
from collections.abc import Iterator
from dataclasses import asdict, fields

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from pipelines.catalogue.audit import METHODS as AUDIT
from pipelines.catalogue.consistency import METHODS as CONSISTENCY
from pipelines.catalogue.critics import METHODS as CRITICS
from pipelines.catalogue.critique import METHODS as CRITIQUE
from pipelines.catalogue.duplicates import METHODS as DUPLICATES
from pipelines.catalogue.judges import METHODS as JUDGES
from pipelines.catalogue.method import Method
from pipelines.catalogue.new_problems import METHODS as NEW_PROBLEMS
from pipelines.catalogue.preference import METHODS as PREFERENCE
from pipelines.catalogue.search import METHODS as SEARCH
from pipelines.catalogue.tree_extracts import METHODS as TREE_EXTRACTS
from pipelines.catalogue.votes import METHODS as VOTES
from pipelines.config import RolloutsConfig, allowed_values
from pipelines.curation import Curation
from pipelines.kinds import words
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
    "new_problems": NEW_PROBLEMS,
}
METHODS: dict[str, Method] = {method.name: method for family in FAMILIES.values() for method in family}


def methods() -> Iterator[Method]:
    """All methods, by name."""
    return (METHODS[name] for name in sorted(METHODS))


def method_rows() -> list[dict[str, object]]:
    """Every method, by name, as JSON has it: paper, tables, columns on a table of one's own, parameters, measured."""
    return [
        {
            "method": method.name,
            "family": family,
            "summary": method.summary,
            "paper": method.paper,
            "arxiv": method.arxiv,
            "tier": method.tier,
            "measured": method.measured,
            "reads": list(method.reads),
            "writes": list(method.writes),
            "function": method.function,
            "query": method.query,
            **_columns_of(method.curation),
            "parameters": [_parameter_of(name, info) for name, info in method.params.model_fields.items()],
        }
        for method, family in sorted(
            ((method, family) for family, members in FAMILIES.items() for method in members),
            key=lambda pair: pair[0].name,
        )
    ]


def _columns_of(curation: Curation | None) -> dict[str, object]:
    """How a method runs on any table; without columns where it does not."""
    if curation is None:
        return {"grain": None, "columns_in": [], "columns_out": []}
    reads = [
        {"name": column.name, "kind": words(column.kind, column.is_nullable), "meaning": column.meaning,
         "is_required": column.is_required}
        for column in curation.reads
    ]  # fmt: skip
    writes = [{"name": field.name, "kind": str(field.type)} for field in curation.writes]
    return {"grain": curation.grain, "columns_in": reads, "columns_out": writes}


def _parameter_of(name: str, info: FieldInfo) -> dict[str, object]:
    default = None if info.is_required() else info.get_default(call_default_factory=True)
    return {
        "name": name,
        "default": TypeAdapter(object).dump_python(default, mode="json"),
        "is_required": info.is_required(),
        "allowed": allowed_values(info),
        "meaning": info.description or "",
    }


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
