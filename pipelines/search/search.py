"""The four verbs of tree search and the loop. No formula lives here: functions are received.

One simulation:
1. select   descends from the root by `select_child` until a node without children;
2. expand   asks `propose` for that node's next steps (never for a closed node or at the depth limit);
3. evaluate asks `evaluate` for the value of every new child at once (`evaluate_children`: siblings
            then have comparable values, which is what critics and pairs learn from), or of one child;
4. backup   records each value as a return on the way to the root.
With `expand_to_end` a simulation goes on with 2-4 from the selected child until its path is complete.
A node that was evaluated and cannot be expanded returns its value again; with `skip_exhausted` it is not
selected again, because its return is known: the simulations go where something is still to be learnt, and
the search ends early when that is nowhere. (Plain MCTS visits a known answer over and over.)

With one simulation in flight the search is exactly sequential: the tree depends on the functions'
answers alone. With more, a leaf that is being expanded is waited for, never expanded twice, and
virtual visits steer the others away. An exception of a received function ends the tree's search and
is raised when all its simulations have come to rest; the tree keeps what it had.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from pipelines.search.tree import ROOT, Tree
from pipelines.search.types import BackupFn, EvaluateFn, ProposeFn, SearchParams, SelectFn

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class SearchFunctions:
    """What a search is made of."""

    propose: ProposeFn
    evaluate: EvaluateFn
    select_child: SelectFn
    backup: BackupFn


@dataclass(slots=True)
class _Flight:
    """The leaves of one tree from which some simulation is growing now, each with the event of its end."""

    busy: dict[int, asyncio.Event] = field(default_factory=dict)


def mean_backup(tree: Tree, node_id: int, value: float) -> None:
    """Record one return on every node from here to the root; a node's value is the mean of its returns."""
    for ancestor in tree.to_root(node_id):
        tree.record_return(ancestor, value)


def select(tree: Tree, select_child: SelectFn, skip_exhausted: bool) -> int:
    """Descend from the root to a node without children, past exhausted subtrees where they are to be skipped."""
    node_id = ROOT
    while children := tree.children[node_id]:
        if skip_exhausted:
            children = [child for child in children if not tree.is_exhausted[child]] or children
        node_id = select_child(tree, node_id, children)
    return node_id


async def expand(tree: Tree, node_id: int, functions: SearchFunctions, params: SearchParams) -> list[int]:
    """Add the proposed children of a leaf and return their ids; none where nothing can follow."""
    if tree.is_closed[node_id] or tree.depth[node_id] >= params.max_depth:
        return []
    candidates = await functions.propose(tree.path(node_id), params.num_candidates)
    if not candidates:
        tree.close(node_id)
    return tree.add_children(node_id, candidates)


async def evaluate(tree: Tree, node_ids: Sequence[int], functions: SearchFunctions) -> None:
    """Value nodes at the same time; all have come to rest before an exception is raised."""
    evaluations = await _all_at_rest([functions.evaluate(tree.path(node_id)) for node_id in node_ids])
    for node_id, evaluation in zip(node_ids, evaluations, strict=True):
        tree.record_evaluation(node_id, evaluation)


async def search_tree(tree: Tree, functions: SearchFunctions, params: SearchParams) -> None:
    """Run `num_simulations` simulations on a tree; stops early when there is nothing left to do."""
    flight = _Flight()
    tickets = iter(range(params.num_simulations))

    async def simulate_in_turn() -> None:
        for _ in tickets:
            if tree.is_closed[ROOT] or (params.skip_exhausted and tree.is_exhausted[ROOT]):
                return
            await _simulate(tree, functions, params, flight)

    workers = min(params.simulations_in_flight, params.num_simulations)
    await _all_at_rest([simulate_in_turn() for _ in range(workers)])


async def evaluate_remaining_terminals(tree: Tree, functions: SearchFunctions) -> None:
    """Evaluate complete paths that no simulation reached, without counting visits."""
    await evaluate(tree, [node for node in tree.terminals() if tree.raw_value[node] is None], functions)


async def _simulate(tree: Tree, functions: SearchFunctions, params: SearchParams, flight: _Flight) -> None:
    leaf = select(tree, functions.select_child, params.skip_exhausted)
    if params.simulations_in_flight == 1:
        await _grow(tree, leaf, functions, params)
        return
    while (owner := _owner(tree, leaf, flight)) is not None:
        await owner.wait()
        if params.skip_exhausted and tree.is_exhausted[ROOT]:
            return
        leaf = select(tree, functions.select_child, params.skip_exhausted)
    flight.busy[leaf] = asyncio.Event()
    _add_virtual_visits(tree, leaf, 1)
    try:
        await _grow(tree, leaf, functions, params)
    finally:
        _add_virtual_visits(tree, leaf, -1)
        flight.busy.pop(leaf).set()


async def _grow(tree: Tree, node_id: int, functions: SearchFunctions, params: SearchParams) -> None:
    """Expand, evaluate and back up from a selected leaf."""
    has_returned = False
    while _is_to_expand(tree, node_id, params):
        children = await expand(tree, node_id, functions, params)
        if not children:
            break
        if params.evaluate_children:
            await evaluate(tree, children, functions)
            for child in children:
                _back_up(tree, child, functions)
                _note_end(tree, child, params)
            has_returned = True
        node_id = functions.select_child(tree, node_id, children)
        if not params.expand_to_end:
            break
    if node_id == ROOT:
        return
    if not has_returned:
        if tree.raw_value[node_id] is None:
            await evaluate(tree, [node_id], functions)
        _back_up(tree, node_id, functions)
    _note_end(tree, node_id, params)


def _back_up(tree: Tree, node_id: int, functions: SearchFunctions) -> None:
    """Record the value of a node, unless nobody knows it: an ungraded answer is not a wrong one."""
    if tree.is_known[node_id]:
        functions.backup(tree, node_id, tree.raw_value[node_id])


def _note_end(tree: Tree, node_id: int, params: SearchParams) -> None:
    """Call a valued node exhausted when it can never be expanded."""
    if tree.is_closed[node_id] or tree.depth[node_id] >= params.max_depth:
        tree.exhaust(node_id)


def _is_to_expand(tree: Tree, node_id: int, params: SearchParams) -> bool:
    """A node valued on its own is evaluated on its first visit and expanded on its second."""
    return params.evaluate_children or params.expand_to_end or node_id == ROOT or tree.raw_value[node_id] is not None


def _owner(tree: Tree, node_id: int, flight: _Flight) -> asyncio.Event | None:
    """The simulation that grows this node or the subtree it lies in, if any: such a subtree is still a leaf."""
    return next((flight.busy[ancestor] for ancestor in tree.to_root(node_id) if ancestor in flight.busy), None)


def _add_virtual_visits(tree: Tree, node_id: int, change: int) -> None:
    for ancestor in tree.to_root(node_id):
        tree.virtual_visits[ancestor] += change


async def _all_at_rest(awaitables: Sequence[Awaitable[Result]]) -> list[Result]:
    """Results in order; the first exception is raised only when every awaitable has ended."""
    if len(awaitables) == 1:
        return [await awaitables[0]]
    results = await asyncio.gather(*awaitables, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results
