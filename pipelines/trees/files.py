"""Trees in files of other projects -> rows of `problems`, `search_nodes` and `search_edges`.

Two projects' layouts are known, each in a module of its own: OmegaPRM (`omegaprm.py`) and Tree of Thoughts
(`tree_of_thoughts.py`). The layout is recognised line by line from the fields. A line becomes one problem and one tree.
Nothing is made up: what a file does not tell (visits, priors, tokens, clues of a crossword) is null.

Problems of an import are a family of their own, so that their ids meet no other problem's; they lie in a partition of
their own, which no night draws from.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from pipelines.errors import SourceError
from pipelines.problems import canonical_text, split_of
from pipelines.records import stable_digest
from pipelines.rows import rows_to_table
from pipelines.trees import omegaprm, tree_of_thoughts
from pipelines.trees.fields import Place, json_lines
from pipelines.trees.grown import FileTree

ReadFn = Callable[[Mapping, Place], FileTree]
KNOWN = (
    "Known are OmegaPRM trees (`question`, `final_answer`, `reasoning_steps`) and Tree of Thoughts logs "
    "(`puzzle`, `steps`, `ys`, `infos` for the game of 24; `idx`, `trace` for crosswords)"
)


@dataclass(frozen=True)
class ImportedTrees:
    """The tables of one import; `num_merged` counts nodes that the file held more than once."""

    problems: pa.Table
    search_nodes: pa.Table
    search_edges: pa.Table
    num_trees: int
    num_merged: int


def read_trees(path: Path, name: str, held_out_fraction: float) -> ImportedTrees:
    """All trees of a file (JSON Lines, `.gz` too). `name` becomes the problems' family and the rows' `night`.

    Raises SourceError, with file, line, field and value, for the first thing that is not as it must be.
    """
    problems: dict[str, dict] = {}
    nodes: list[dict] = []
    edges: list[dict] = []
    num_trees = num_merged = 0
    for row, place in json_lines(path):
        tree = _reader_of(row, place)(row, place)
        problem = _problem_row(tree, name, held_out_fraction, place)
        problems.setdefault(problem["problem_id"], problem)
        keys = {"tree_id": stable_digest("imported", name, place.line, tree.prompt), "night": name}
        nodes += [{**node, **keys, "problem_id": problem["problem_id"]} for node in tree.node_rows()]
        edges += [{**edge, **keys} for edge in tree.edge_rows()]
        num_trees += 1
        num_merged += tree.num_merged
    if num_trees == 0:
        raise SourceError(f"{path} holds no trees; at least one line is needed. {KNOWN}.")
    tables = {"problems": list(problems.values()), "search_nodes": nodes, "search_edges": edges}
    return ImportedTrees(
        **{table: rows_to_table(table, rows) for table, rows in tables.items()},
        num_trees=num_trees,
        num_merged=num_merged,
    )


def _reader_of(row: Mapping, place: Place) -> ReadFn:
    if "reasoning_steps" in row:
        is_nested = isinstance(row["reasoning_steps"], dict)
        return omegaprm.read_nested if is_nested else omegaprm.read_prefixes
    if "trace" in row:
        return tree_of_thoughts.read_crosswords
    if "puzzle" in row and "steps" in row:
        return tree_of_thoughts.read_game24
    hint = " (`ys` without `steps` are independent samples, which make no tree)" if "ys" in row else ""
    names = ", ".join(map(str, row)) or "no fields"
    raise SourceError(f"{place.file}, line {place.line}: no tree in the fields {names}{hint}. {KNOWN}.")


def _problem_row(tree: FileTree, name: str, held_out_fraction: float, place: Place) -> dict:
    canonical = canonical_text(tree.prompt)
    return {
        "problem_id": f"{name}-{stable_digest(name, tree.prompt, length=12)}",
        "family": name,
        "prompt": tree.prompt,
        "reference_answer": tree.reference_answer,
        "split": split_of(canonical, held_out_fraction),
        "canonical": canonical,
        "grader": tree.grader,
        "is_evaluation": False,
        "source": place.file,
        "source_line": place.line,
    }
