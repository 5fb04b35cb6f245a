"""OmegaPRM trees as OpenR writes them (arXiv 2406.06592): solution prefixes with their Monte Carlo values.

`mc_value` is the share of completions of a prefix that reached the right answer. It is both the estimate at expansion
(`raw_value`) and the mean return below the node (`value`); the number of completions is not in the file, so that
`visit_count` and `num_samples` are null. A leaf whose text states a final answer is a complete solution, and its value,
where it is 0 or 1, is its grade.
"""

from collections.abc import Mapping

from pipelines.grading import extract_answer
from pipelines.trees.fields import Place, field, number_in, objects_in, text_in
from pipelines.trees.grown import FileTree

GRADER = "math"


def read_nested(row: Mapping, place: Place) -> FileTree:
    """The form of nested nodes: `text`, `mc_value`, `children`. Equal siblings stay apart, as in the file."""
    tree = _empty_tree(row, place)
    root = field(row, "reasoning_steps", place)
    waiting = [(root, place / "reasoning_steps", 0)]
    _set_value(tree, 0, root, place / "reasoning_steps")
    while waiting:
        node, where, index = waiting.pop()
        added = []
        for child, child_place in objects_in(node, "children", where):
            child_index = tree.add(index, text_in(child, "text", child_place).strip())
            _set_value(tree, child_index, child, child_place)
            added.append((child, child_place, child_index))
        waiting += reversed(added)
    return _with_outcomes(tree)


def read_prefixes(row: Mapping, place: Place) -> FileTree:
    """The flat form: a list of `solution_prefix` and `mc_value`; the parent is the longest other prefix.

    A prefix that the search came upon more than once is one node with the mean of its values.
    """
    tree = _empty_tree(row, place)
    values, places = _values_by_prefix(row, place)
    root = min(values, key=len)
    tree.num_merged = sum(len(found) - 1 for found in values.values())
    parents = longest_prefixes(list(values))
    index_of = {root: 0}
    for prefix in sorted(values, key=len):  # stable: parents first, then the file's order
        parent = parents[prefix]
        if prefix == root:
            continue
        if parent is None:
            raise places[prefix].wrong(prefix, f"a text that begins with the shortest one, {root[:40]!r}")
        index_of[prefix] = tree.add(index_of[parent], prefix[len(parent) :].strip())
    for prefix, found in values.items():
        node = tree.nodes[index_of[prefix]]
        node.value = node.raw_value = sum(found) / len(found)
    return _with_outcomes(tree)


def longest_prefixes(texts: list[str]) -> dict[str, str | None]:
    """For each of several different texts the longest other one that it begins with; None where none does."""
    found: dict[str, str | None] = {}
    open_texts: list[str] = []
    for text in sorted(texts):  # a text comes right before those that begin with it
        while open_texts and not text.startswith(open_texts[-1]):
            open_texts.pop()
        found[text] = open_texts[-1] if open_texts else None
        open_texts.append(text)
    return found


def _values_by_prefix(row: Mapping, place: Place) -> tuple[dict[str, list[float]], dict[str, Place]]:
    values: dict[str, list[float]] = {}
    places: dict[str, Place] = {}
    for step, where in objects_in(row, "reasoning_steps", place):
        prefix = text_in(step, "solution_prefix", where)
        values.setdefault(prefix, []).append(number_in(step, "mc_value", where, 0, 1))
        places.setdefault(prefix, where / "solution_prefix")
    if not values:
        raise (place / "reasoning_steps").wrong([], "a tree with at least its root")
    return values, places


def _empty_tree(row: Mapping, place: Place) -> FileTree:
    return FileTree(text_in(row, "question", place), text_in(row, "final_answer", place), GRADER)


def _set_value(tree: FileTree, index: int, row: Mapping, place: Place) -> None:
    node = tree.nodes[index]
    node.value = node.raw_value = number_in(row, "mc_value", place, 0, 1)


def _with_outcomes(tree: FileTree) -> FileTree:
    inner = tree.has_children()
    for index, node in enumerate(tree.nodes):
        node.is_terminal = index not in inner and index > 0 and extract_answer("exact", node.step_text) is not None
        if node.is_terminal and node.value in (0.0, 1.0):
            node.outcome_reward = node.value
    return tree
