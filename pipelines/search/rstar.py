"""The tree search of rStar and rStar-Math: several kinds of steps, terminals worth +1 or -1, and mutual agreement.

rStar (Qi et al. 2024, arXiv 2408.06195) proposes by several actions and asks a second agent whether it would come to
the same answer; rStar-Math (Guan et al. 2025, arXiv 2501.04519) selects and backs up as below. The selection and the
backup are those of its released code, the rest is built from the papers' descriptions.

One simulation goes down from the root by `selection.rstar` and expands, on and on, until a node that it added completes
a path. Expanding a node adds
- the next steps of the ordinary proposer (A1 of rStar),
- the remaining steps at once, as a chain of nodes (A2), each of which can be expanded like any other later,
- the next steps of every further action that the search was given.
Equal steps of several actions are one child, the first.

Values in the tables are in [0, 1]: v = (q + 1) / 2 of the papers' q in [-1, 1], so a right terminal is 1, a wrong one
0, and selection reads q = 2 v - 1. A terminal backs its value up to the root. What went wrong without an answer (cut
off by a limit, a step without a successor, or at the depth limit with nothing below it) is worth 0 to itself alone, so
that its parent may have fewer visits than it. A new step that is no end counts as one visit at its estimate
(`value_steps`; the process preference model of rStar-Math's later rounds), which is not backed up and in the tables is
raw_value alone; without it only terminals guide the search.

The value of a terminal is its grade. Where grades must not be seen it is the agreement of a second agent,

    v = share of k completions of a prefix of the path that end in the same answer       (mutual consistency of rStar)

The prefix has between `min_prefix` and `max_prefix` of the steps, drawn by a hash of tree and node. The second agent is
the policy itself with draws of its own (the paper has another model of equal strength).
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from pipelines.records import stable_seed
from pipelines.search.search import ExploreFn, SearchFunctions, all_at_rest, can_be_expanded, evaluate, simulations
from pipelines.search.selection import rstar
from pipelines.search.tree import ROOT, Tree
from pipelines.search.types import Candidate, Evaluation, Path, SearchParams

REMAINING_STEPS = "remaining_steps"
"""`Candidate.action` of the steps that came all at once."""


@dataclass(frozen=True, slots=True)
class RStar:
    """The method's own parameters."""

    exploration: float = 2.0  # c, >= 0
    num_completions: int = 1  # chains of remaining steps per expansion, >= 0
    num_agreements: int = 4  # k, completions of the second agent per terminal, >= 1
    min_prefix: float = 0.2  # share of the steps that the second agent is given, in [0, max_prefix]
    max_prefix: float = 0.8  # in [min_prefix, 1]
    value_steps: bool = True  # new steps are valued by the evaluator at hand

    def __post_init__(self) -> None:
        if not (math.isfinite(self.exploration) and self.exploration >= 0):
            raise ValueError(f"exploration is {self.exploration}; it must be a finite number of at least 0")
        if self.num_completions < 0:
            raise ValueError(f"num_completions is {self.num_completions}; it must be at least 0")
        if self.num_agreements < 1:
            raise ValueError(f"num_agreements is {self.num_agreements}; it must be at least 1")
        if not 0 <= self.min_prefix <= self.max_prefix <= 1:
            raise ValueError(
                f"min_prefix is {self.min_prefix} and max_prefix {self.max_prefix}; they must be in [0, 1], the first "
                "not above the second"
            )


async def explore(tree: Tree, functions: SearchFunctions, params: SearchParams, *, own: RStar) -> None:
    """Expand until `num_simulations` are spent or nothing can be expanded."""
    _keep_open(tree, ROOT, params)
    for _ in simulations(tree, functions, range(params.num_simulations)):
        node_id = _select(tree, ROOT, own)
        if node_id is None:
            return
        while node_id is not None:
            added = await _expand(tree, node_id, functions, params, own)
            has_ended = any(tree.is_terminal(node) for node in added)
            node_id = None if has_ended or not added else _select(tree, node_id, own)


def make_explore(own: RStar) -> ExploreFn:
    """`explore` with the method's parameters bound."""
    return partial(explore, own=own)


def prefix_length(num_steps: int, tree_id: str, leaf: int, own: RStar) -> int:
    """Steps that the second agent is given, 0 to num_steps - 1: a share drawn by a hash of tree and leaf, rounded."""
    share = random.Random(stable_seed("rstar", tree_id, leaf)).uniform(own.min_prefix, own.max_prefix)
    return min(num_steps - 1, round(share * num_steps))


def _select(tree: Tree, start: int, own: RStar) -> int | None:
    """The node to expand below `start`; None when there is none. Complete paths are passed over."""
    node_id = start
    while node_id not in tree.growing:
        children = [child for child in tree.children[node_id] if not tree.is_exhausted[child]]
        if not children:
            return None
        node_id = rstar(tree, node_id, children, exploration=own.exploration)
    return node_id


async def _expand(tree: Tree, node_id: int, functions: SearchFunctions, params: SearchParams, own: RStar) -> list[int]:
    """Add, value and back up what may follow a node; the ids of the nodes that were added."""
    path = tree.path(node_id)
    names = list(functions.actions)
    ways = [functions.propose, *(functions.actions[name] for name in names)]
    proposed = await all_at_rest([way(path, params.num_candidates) for way in ways])
    chains = await functions.complete(path, own.num_completions) if own.num_completions else []
    steps = proposed[0] + [
        replace(step, action=step.action or name)
        for name, found in zip(names, proposed[1:], strict=True)
        for step in found
    ]
    next_steps = _add_steps(tree, node_id, steps)
    added = next_steps + [node for chain in chains for node in _add_chain(tree, node_id, chain.steps)]
    if not tree.children[node_id]:
        _end_without_answer(tree, node_id)
    await _value(tree, [node for node in added if _is_to_value(tree, node, node_id, own)], functions, own)
    for node in added:
        if not tree.is_terminal(node):
            _keep_open(tree, node, params)
    for node in added:
        if node not in tree.growing and not tree.children[node]:
            if not tree.is_closed[node] and tree.depth[node] >= params.max_depth:
                tree.record_return(node, 0.0)
            tree.exhaust(node)
    tree.stop_growing(node_id)
    return added


def _add_steps(tree: Tree, node_id: int, steps: Sequence[Candidate]) -> list[int]:
    """Children for the steps whose text no child has yet."""
    added = []
    for step in steps:
        if step.step_text not in {tree.candidate[child].step_text for child in tree.children[node_id]}:
            added += tree.add_children(node_id, [step])
    return added


def _add_chain(tree: Tree, node_id: int, steps: Sequence[Candidate]) -> list[int]:
    """Nodes for steps one below the other, as far as they do not exist with the same tokens."""
    added = []
    for step in steps:
        same = (
            child
            for child in tree.children[node_id]
            if tree.candidate[child].token_ids == step.token_ids and tree.is_terminal(child) == step.is_terminal
        )
        known = next(same, None)
        if known is None:
            (known,) = tree.add_children(node_id, [replace(step, action=REMAINING_STEPS)])
            added.append(known)
        node_id = known
    return added


def _is_to_value(tree: Tree, node_id: int, expanded: int, own: RStar) -> bool:
    """Ends always; of the other new nodes the next steps, not those further down a chain."""
    return tree.is_terminal(node_id) or (own.value_steps and tree.parent[node_id] == expanded)


async def _value(tree: Tree, node_ids: Sequence[int], functions: SearchFunctions, own: RStar) -> None:
    """Value new nodes at the same time and back the ends among them up, in order of creation."""
    is_agreed = functions.answer_of is not None
    ends = [node for node in node_ids if tree.is_terminal(node) and is_agreed]
    await evaluate(tree, [node for node in node_ids if node not in ends], functions)
    agreements = await all_at_rest([_agreement(tree, end, functions, own) for end in ends])
    for end, agreement in zip(ends, agreements, strict=True):
        tree.record_evaluation(end, agreement)
    for node in node_ids:
        if tree.is_terminal(node) and tree.is_known[node]:
            if tree.candidate[node].finish_reason == "length":
                tree.record_return(node, 0.0)
            else:
                functions.backup(tree, node, tree.raw_value[node])


async def _agreement(tree: Tree, leaf: int, functions: SearchFunctions, own: RStar) -> Evaluation:
    """How many completions of a prefix end in the leaf's answer; 0 without an answer, not known without completions."""
    path = tree.path(leaf)
    answer = functions.answer_of(path)
    if answer is None:
        return Evaluation(0.0)
    length = prefix_length(len(path.steps), tree.tree_id, leaf, own)
    prefix = Path(path.problem, path.steps[:length], draw=leaf)
    others = await functions.complete(prefix, own.num_agreements)
    if not others:
        return Evaluation(0.0, is_known=False)
    return Evaluation(sum(other.answer == answer for other in others) / len(others))


def _end_without_answer(tree: Tree, node_id: int) -> None:
    tree.close(node_id)
    if node_id != ROOT:
        tree.record_return(node_id, 0.0)
        tree.exhaust(node_id)


def _keep_open(tree: Tree, node_id: int, params: SearchParams) -> None:
    if can_be_expanded(tree, node_id, params):
        tree.keep_growing(node_id)
