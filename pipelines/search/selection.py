"""Which child to descend into: one function per formula.

Symbols: Q = mean return of the child, N = visits of the child, N_p = visits of its parent, P = prior,
c = exploration. Simulations that are still under way below a child count as visits with return 0
(virtual loss; none are when one simulation is in flight). Ties go to the child created first.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial

from pipelines.search.tree import Tree
from pipelines.search.types import SelectFn

UNVISITED_BONUS = 0.9  # of ReST-MCTS*: what its data generation adds to the value of a child without visits


def puct(tree: Tree, node_id: int, children: Sequence[int], *, exploration: float) -> int:
    """Child with the largest Q + c * P * sqrt(N_p) / (1 + N)  (MCTS-DPO, arXiv 2405.00451, section 2).

    P is used as the proposer gives it, not normalised over the siblings. A child that was never
    visited has the parent's mean return as its Q. With c = 0 this is greedy on Q.
    """
    weight = exploration * math.sqrt(tree.visit_count[node_id] + tree.virtual_visits[node_id])
    unvisited = tree.value(node_id) or 0.0
    best, best_score = -1, -math.inf
    for child in children:
        visits = tree.visit_count[child] + tree.virtual_visits[child]
        quality = tree.value_sum[child] / visits if visits else unvisited
        score = quality + weight * tree.candidate[child].prior / (1 + visits)
        if score > best_score:
            best, best_score = child, score
    return best


def uct(tree: Tree, node_id: int, children: Sequence[int], *, exploration: float) -> int:
    """Child with the largest Q + c * sqrt(ln N_p / N)  (Kocsis and Szepesvari, 2006; UCB1 has c = sqrt 2).

    Children that were never visited come first, in order of creation. Priors are ignored. With
    c = 0 this is greedy on Q once every child was visited.
    """
    log_parent = math.log(max(1, tree.visit_count[node_id] + tree.virtual_visits[node_id]))
    best, best_score = -1, -math.inf
    for child in children:
        visits = tree.visit_count[child] + tree.virtual_visits[child]
        if not visits:
            return child
        score = tree.value_sum[child] / visits + exploration * math.sqrt(log_parent / visits)
        if score > best_score:
            best, best_score = child, score
    return best


def rest_mcts(tree: Tree, node_id: int, children: Sequence[int], *, exploration: float) -> int:
    """Child with the largest V + c * sqrt(2 ln N_p / N), or v + 0.9 where it was never visited (ReST-MCTS*, arXiv
    2406.03816, in the form of its released code).

    V = value of the child as `rest_mcts.weighted_backup` keeps it, v = the evaluator's estimate. Among siblings
    that were never visited the best estimate wins. Priors are ignored. (The released code draws ties by lot.)
    """
    log_parent = math.log(max(1, tree.visit_count[node_id] + tree.virtual_visits[node_id]))
    best, best_score = -1, -math.inf
    for child in children:
        visits = tree.visit_count[child] + tree.virtual_visits[child]
        if visits:
            score = tree.value_sum[child] / visits + exploration * math.sqrt(2 * log_parent / visits)
        else:
            score = (tree.raw_value[child] or 0.0) + UNVISITED_BONUS  # None: another simulation is valuing it now
        if score > best_score:
            best, best_score = child, score
    return best


def rstar(tree: Tree, node_id: int, children: Sequence[int], *, exploration: float) -> int:
    """Child with the largest q + c * sqrt(ln N_p / N), and 0 for one that was never visited (rStar-Math, arXiv
    2501.04519, in the form of its released code).

    q = 2 Q - 1 in [-1, 1]. A step that the evaluator valued has that estimate as its first visit. An unvisited child
    ranks below every child of positive score and above those of negative score: it is not known to be bad. Priors
    are ignored.
    """
    log_parent = math.log(max(1, _visits_with_estimate(tree, node_id)))
    best, best_score = -1, -math.inf
    for child in children:
        visits = _visits_with_estimate(tree, child)
        if visits:
            total = tree.value_sum[child] + (tree.raw_value[child] if visits > tree.visit_count[child] else 0.0)
            score = 2 * total / visits - 1 + exploration * math.sqrt(log_parent / visits)
        else:
            score = 0.0
        if score > best_score:
            best, best_score = child, score
    return best


def _visits_with_estimate(tree: Tree, node_id: int) -> int:
    """Visits of a node, its own estimate being one; a terminal's value is that of its visits."""
    is_estimated = tree.raw_value[node_id] is not None and tree.is_known[node_id] and not tree.is_terminal(node_id)
    return tree.visit_count[node_id] + is_estimated


def best_group(tree: Tree, groups: Mapping[str, Sequence[int]], *, exploration: float) -> str:
    """Name of the group of siblings with the largest W / N + c * sqrt(ln(sum over the groups of N) / N): UCB1 (Auer,
    Cesa-Bianchi and Fischer 2002), whose arms are groups of nodes.

    N and W = sums of the visits and returns of a group's nodes. A group without visits comes first (nobody could grade
    what is in it); ties go to the first group. With c = 0 this is greedy on the groups' mean returns.
    """
    visits = {name: sum(tree.visit_count[node] for node in nodes) for name, nodes in groups.items()}
    log_all = math.log(max(1, sum(visits.values())))

    def bound(name: str) -> float:
        if not visits[name]:
            return math.inf
        mean = math.fsum(tree.value_sum[node] for node in groups[name]) / visits[name]
        return mean + exploration * math.sqrt(log_all / visits[name])

    return max(groups, key=bound)


def make_puct(exploration: float) -> SelectFn:
    """`puct` with its exploration constant bound."""
    return partial(puct, exploration=exploration)


def make_uct(exploration: float) -> SelectFn:
    """`uct` with its exploration constant bound."""
    return partial(uct, exploration=exploration)


def make_rest_mcts(exploration: float) -> SelectFn:
    """`rest_mcts` with its exploration constant bound."""
    return partial(rest_mcts, exploration=exploration)
