"""How MCTS* of ReST-MCTS* simulates and backs up (arXiv 2406.03816, in the form of its released code).

One simulation, after `selection.rest_mcts` has led to a leaf:
1. expand   the leaf; every new child gets its value v at once, and none of them is a visit yet;
2. roll     from the best child, greedily along the largest v, for a few steps that are not kept in the tree;
3. blend    the child's value becomes (1 - alpha) v + alpha * (the largest v seen while rolling);
4. backup   the child counts one visit; every node above it, one visit and V = sum_c N_c V_c / sum_c N_c.
So a node that was expanded no longer remembers its own estimate: its value is what its children say.
Left out: the early stop at a value above 0.8, as its data generation does too (`sample_value = full`).
"""

from dataclasses import dataclass
from functools import partial

from pipelines.search.search import GrowFn, SearchFunctions, evaluate, evaluate_paths, expand, note_end
from pipelines.search.tree import ROOT, Tree
from pipelines.search.types import Path, SearchParams


@dataclass(frozen=True, slots=True)
class RollForward:
    """How far a value looks ahead; the defaults are those of the paper's data generation."""

    num_steps: int = 1
    num_branches: int = 1  # continuations sampled per step, of which the best is followed
    weight: float = 0.5  # alpha, [0, 1]; 0 = nothing is rolled


def weighted_backup(tree: Tree, node_id: int, value: float) -> None:
    """Set the node's value, and every ancestor's to the visit-weighted mean of its children's values."""
    tree.record_value(node_id, value)
    for ancestor in tree.to_root(tree.parent[node_id]):
        visits = sum(tree.visit_count[child] for child in tree.children[ancestor])
        total = sum(tree.value_sum[child] for child in tree.children[ancestor])
        tree.record_value(ancestor, total / visits)


async def grow_and_roll(
    tree: Tree, leaf: int, functions: SearchFunctions, params: SearchParams, *, roll: RollForward
) -> None:
    """Expand a leaf and visit its best child; a leaf that cannot be expanded returns its value again."""
    children = await expand(tree, leaf, functions, params)
    if children:
        await evaluate(tree, children, functions)
        for child in children:
            note_end(tree, child, params)
        best = functions.select_child(tree, leaf, children)
        value = await _rolled_value(tree, best, functions, params, roll)
        if tree.is_known[best]:
            functions.backup(tree, best, value)
    elif leaf != ROOT:
        before = tree.value(leaf)
        if tree.is_known[leaf]:
            functions.backup(tree, leaf, tree.raw_value[leaf] if before is None else before)
        note_end(tree, leaf, params)


def make_grow_and_roll(roll: RollForward) -> GrowFn:
    """`grow_and_roll` with its look-ahead bound."""
    return partial(grow_and_roll, roll=roll)


async def _rolled_value(
    tree: Tree, node_id: int, functions: SearchFunctions, params: SearchParams, roll: RollForward
) -> float:
    """(1 - alpha) v + alpha * max v of the continuations; v alone where nothing follows."""
    own = tree.raw_value[node_id]
    values = await _values_ahead(tree, tree.path(node_id), functions, params, roll) if roll.weight else []
    return (1 - roll.weight) * own + roll.weight * max(values) if values else own


async def _values_ahead(
    tree: Tree, path: Path, functions: SearchFunctions, params: SearchParams, roll: RollForward
) -> list[float]:
    """Largest value of each step of a greedy continuation; shorter where the path completes, the depth ends, or
    nothing is known of what follows."""
    values: list[float] = []
    while len(values) < roll.num_steps and not path.is_terminal and len(path.steps) < params.max_depth:
        candidates = await functions.propose(path, roll.num_branches)
        if not candidates:
            break
        paths = [Path(path.problem, (*path.steps, candidate)) for candidate in candidates]
        evaluations = await evaluate_paths(tree, paths, functions)
        best = max(range(len(paths)), key=lambda index: (evaluations[index].is_known, evaluations[index].value))
        if not evaluations[best].is_known:
            break
        path = paths[best]
        values.append(evaluations[best].value)
    return values
