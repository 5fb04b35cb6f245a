"""Which leaves to expand next, in searches that go by rounds: one function per method.

Symbols: v = the evaluator's estimate of a node (`raw_value`, [0, 1]), B = width of the beam. A node is open
when it can still be expanded: it is no answer, not at the depth limit, and not without proposals. Ties go to
the node created first.
"""

import bisect
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from pipelines.search.tree import ROOT, Tree
from pipelines.search.types import Frontier, Rounds


def best_first(tree: Tree, frontier: Frontier, children: Sequence[int]) -> Frontier:
    """The one open leaf of the whole tree with the largest v (critic-guided search of InternLM2.5-StepProver,
    arXiv 2410.15700).

    What lies above a leaf does not matter, and nothing is ever pruned. With a constant v this is breadth-first.
    The leaves that wait are kept in order, best first.
    """
    leaves = list(frontier.wait)
    for child in _open(tree, children):
        bisect.insort(leaves, child, key=_rank(tree))
    return Frontier(tuple(leaves[:1]), tuple(leaves[1:]))


def beam(tree: Tree, frontier: Frontier, children: Sequence[int], *, width: int) -> Frontier:
    """The B open children of this round with the largest v; all other paths end here (Snell et al. 2024, arXiv
    2408.03314).

    Answers leave the beam and make room. With B = 1 this is greedy search.
    """
    return Frontier(_best(tree, _open(tree, children), width))


def diverse_verifier_tree_search(tree: Tree, frontier: Frontier, children: Sequence[int], *, width: int) -> Frontier:
    """The child with the largest v in each of B subtrees, which never compete (Beeching, Tunstall and Rush 2024).

    The children of the root are dealt into B groups in turn, and each group's best founds a subtree; below, each
    expanded node passes on to its best child. A subtree ends with its first answer. With B = 1 this is greedy
    search over all children, answers included.
    """
    if frontier.expand == (ROOT,):
        groups = [children[start::width] for start in range(width)]
    else:
        groups = [tree.children[node_id] for node_id in frontier.expand]
    return Frontier(tuple(_open(tree, [node_id for group in groups for node_id in _best(tree, group, 1)])))


def tree_of_thoughts(tree: Tree, frontier: Frontier, children: Sequence[int], *, width: int) -> Frontier:
    """The B states with the largest v of this level, the open ones of which are expanded (Yao et al. 2023, arXiv
    2305.10601, algorithm 1: S_t = the B states of S'_t with the largest sum of v).

    The paper's states of one level are equally long. Here an answer counts as its own only continuation: it keeps
    its place among the B as long as it is good enough, and the search ends when only answers are left.
    """
    kept = _best(tree, [*frontier.wait, *children], width)
    is_open = set(_open(tree, kept))
    return Frontier(
        tuple(node_id for node_id in kept if node_id in is_open),
        tuple(node_id for node_id in kept if node_id not in is_open),
    )


def best_first_rounds(width: int | None) -> Rounds:
    """One leaf per round, whatever the width."""
    return Rounds(best_first)


def beam_rounds(width: int) -> Rounds:
    """`beam`; the first beam is the best B of B times as many steps, so that every round values as many."""
    return Rounds(partial(beam, width=width), root_factor=width)


def diverse_verifier_rounds(width: int) -> Rounds:
    """`diverse_verifier_tree_search`; each of the B subtrees has its own candidates for the first step."""
    return Rounds(partial(diverse_verifier_tree_search, width=width), root_factor=width)


def tree_of_thoughts_rounds(width: int) -> Rounds:
    """`tree_of_thoughts`; S_0 is the problem alone."""
    return Rounds(partial(tree_of_thoughts, width=width))


def _open(tree: Tree, node_ids: Iterable[int]) -> list[int]:
    return [node_id for node_id in node_ids if not tree.is_exhausted[node_id]]


def _best(tree: Tree, node_ids: Iterable[int], count: int) -> tuple[int, ...]:
    """The `count` nodes with the largest v, best first."""
    return tuple(sorted(node_ids, key=_rank(tree))[:count])


def _rank(tree: Tree) -> Callable[[int], tuple[float, int]]:
    """Sorts nodes by falling v, those created first before their equals."""
    return lambda node_id: (-tree.raw_value[node_id], node_id)
