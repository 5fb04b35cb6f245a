"""Published search methods by name: each binds a selection formula and a backup to a shape of search.

A recipe of a user's own is a `Recipe` too (or a function that returns one).
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipelines.errors import ConfigError
from pipelines.search.search import mean_backup
from pipelines.search.selection import make_puct, make_uct
from pipelines.search.types import BackupFn, SelectFn

INDEPENDENT_SAMPLES = "independent_samples"
"""`rollouts.recipe` of complete solutions sampled without a tree."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What distinguishes one tree search from another."""

    name: str
    paper: str
    summary: str
    make_select: Callable[[float], SelectFn]  # exploration constant -> selection
    backup: BackupFn = mean_backup
    evaluate_children: bool = True
    skip_exhausted: bool = True
    expand_to_end: bool = False


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="puct",
            paper="MCTS-DPO, Xie et al. 2024, arXiv 2405.00451",
            summary=(
                "PUCT with the prior exp(sum log p / length^1.25), not normalised over siblings. Other than in the "
                "paper every child of an expansion is valued by graded completions (instead of one path by a "
                "self-evaluation that sees the answer) and backed up as a visit, and Q is the mean of these returns"
            ),
            make_select=make_puct,
        ),
        Recipe(
            name="uct",
            paper="Kocsis and Szepesvari 2006, Bandit based Monte-Carlo Planning",
            summary="UCB1 on trees: the mean return and a bonus for few visits; priors are ignored",
            make_select=make_uct,
        ),
    )
}


def recipe_named(name: str, own: Mapping[str, Recipe] | None = None) -> Recipe:
    """The recipe of that name, the user's own first; ConfigError with the near names when there is none."""
    known = {**RECIPES, **(own or {})}
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.3) or sorted(known)
    raise ConfigError(
        f'There is no search recipe "{name}" (key rollouts.recipe). Did you mean {" or ".join(near)}? '
        f"All recipes: {', '.join(sorted(known))}."
    )
