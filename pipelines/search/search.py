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

Two things can be replaced as a whole. `grow` (2-4 above) where a paper simulates in its own way. And the
descent: with `rounds`, one simulation is one round, in which every leaf of a frontier is expanded at the same
time and all new children are valued and backed up; which leaves come next is `rounds.advance`'s choice. The
children of a round are added in the frontier's order, so its tree never depends on the order of answers.
A method that fits neither brings its whole loop (`explore`), made of the same verbs and of `simulations`.

With one simulation in flight the search is exactly sequential: the tree depends on the functions'
answers alone. With more, a leaf that is being expanded is waited for, never expanded twice, and
virtual visits steer the others away. An exception of a received function ends the tree's search and
is raised when all its simulations have come to rest; the tree keeps what it had.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pipelines.search.flight import all_at_rest
from pipelines.search.tree import ROOT, Tree, check_value
from pipelines.search.types import (
    AnswerFn,
    BackupFn,
    Candidate,
    CompleteFn,
    EntropyFn,
    EvaluateFn,
    Evaluation,
    Frontier,
    Path,
    ProposeFn,
    RefineFn,
    ReopenFn,
    Rounds,
    SearchParams,
    SelectFn,
)


@dataclass(frozen=True, slots=True)
class SearchFunctions:
    """What a search is made of."""

    propose: ProposeFn
    evaluate: EvaluateFn
    select_child: SelectFn | None  # None: the search goes by rounds, or explores in a way of its own
    backup: BackupFn
    grow: "GrowFn | None" = None  # None: `grow`
    rounds: Rounds | None = None  # None: every simulation descends from the root
    is_done: "IsDoneFn | None" = None  # asked before each simulation; None: the budget alone ends a search
    explore: "ExploreFn | None" = None  # the whole search; None: by rounds or simulations
    complete: CompleteFn | None = None  # this and what follows: only where the recipe asks for it
    refine: RefineFn | None = None
    reopen: ReopenFn | None = None
    entropy: EntropyFn | None = None  # None: nobody knows it
    actions: Mapping[str, ProposeFn] = field(default_factory=dict)  # kind of step -> its proposals
    critics: Mapping[str, EvaluateFn] = field(default_factory=dict)  # further evaluators by what they judge
    answer_of: AnswerFn | None = None  # None: grades are to be seen, so that nobody needs to compare answers


GrowFn = Callable[[Tree, int, SearchFunctions, SearchParams], Awaitable[None]]
"""`grow(tree, node_id, functions, params)`: expand, evaluate and back up from a selected leaf."""

IsDoneFn = Callable[[Tree], bool]
"""`is_done(tree)`: whether the search of this tree ends before its simulations are used up."""

ExploreFn = Callable[[Tree, SearchFunctions, SearchParams], Awaitable[None]]
"""`explore(tree, functions, params)`: grow a tree from its root until the budget is spent."""


@dataclass(slots=True)
class _Flight:
    """The leaves of one tree from which some simulation is growing now, each with the event of its end."""

    busy: dict[int, asyncio.Event] = field(default_factory=dict)


def simulations(tree: Tree, functions: SearchFunctions, numbers: Iterable[int]) -> Iterator[int]:
    """The numbers of a loop's simulations, until they are used up or `is_done` ends the search before."""
    for number in numbers:
        if functions.is_done is not None and functions.is_done(tree):
            return
        yield number


def mean_backup(tree: Tree, node_id: int, value: float) -> None:
    """Record one return on every node from here to the root; a node's value is the mean of its returns."""
    tree.record_returns(node_id, value)


def select(tree: Tree, select_child: SelectFn, skip_exhausted: bool, first: Sequence[int] | None = None) -> int:
    """Descend from the root to a node without children, past exhausted subtrees where they are to be skipped, and past
    what nobody can value in any case; the way begins at one of `first`, children of the root (None: at any of them).
    """
    node_id, children, is_exhausted = ROOT, tree.children[ROOT] if first is None else first, tree.is_exhausted
    is_known = tree.is_known
    while children:
        if skip_exhausted:
            children = [child for child in children if not is_exhausted[child]] or children
        else:
            children = [child for child in children if is_known[child]] or children
        node_id = select_child(tree, node_id, children)
        children = tree.children[node_id]
    return node_id


async def expand(tree: Tree, node_id: int, functions: SearchFunctions, params: SearchParams) -> list[int]:
    """Add the proposed children of a leaf and return their ids; none where nothing can follow."""
    if not can_be_expanded(tree, node_id, params):
        return []
    return _add(tree, node_id, await functions.propose(tree.path(node_id), params.num_candidates))


async def expand_together(
    tree: Tree, node_ids: Sequence[int], functions: SearchFunctions, params: SearchParams
) -> list[int]:
    """Expand leaves at the same time; their children are added, and returned, in the order of the leaves."""
    leaves = [node_id for node_id in node_ids if can_be_expanded(tree, node_id, params)]
    factors = {ROOT: functions.rounds.root_factor if functions.rounds else 1}
    proposals = await all_at_rest(
        [functions.propose(tree.path(leaf), params.num_candidates * factors.get(leaf, 1)) for leaf in leaves]
    )
    return [child for leaf, candidates in zip(leaves, proposals, strict=True) for child in _add(tree, leaf, candidates)]


async def evaluate(tree: Tree, node_ids: Sequence[int], functions: SearchFunctions) -> None:
    """Value nodes at the same time; all have come to rest before an exception is raised."""
    evaluations = await all_at_rest([functions.evaluate(tree.path(node_id)) for node_id in node_ids])
    for node_id, evaluation in zip(node_ids, evaluations, strict=True):
        tree.record_evaluation(node_id, evaluation)


async def search_tree(tree: Tree, functions: SearchFunctions, params: SearchParams) -> None:
    """Run `num_simulations` simulations on a tree; stops early when there is nothing left to do."""
    if functions.explore is not None:
        await functions.explore(tree, functions, params)
        return
    if functions.rounds is not None:
        await _search_by_rounds(tree, functions, functions.rounds, params)
        return
    flight = _Flight()
    tickets = iter(range(params.num_simulations))

    async def simulate_in_turn() -> None:
        for _ in tickets:
            if tree.is_closed[ROOT] or (params.skip_exhausted and tree.is_exhausted[ROOT]):
                return
            if functions.is_done is not None and functions.is_done(tree):
                return
            await _simulate(tree, functions, params, flight)

    workers = min(params.simulations_in_flight, params.num_simulations)
    await all_at_rest([simulate_in_turn() for _ in range(workers)])


async def evaluate_remaining_terminals(tree: Tree, functions: SearchFunctions) -> None:
    """Evaluate complete paths that no simulation reached, without counting visits."""
    await evaluate(tree, [node for node in tree.terminals() if tree.raw_value[node] is None], functions)


async def evaluate_paths(tree: Tree, paths: Sequence[Path], functions: SearchFunctions) -> list[Evaluation]:
    """Value paths that are no nodes of the tree, such as continuations that are tried and not kept."""
    evaluations = await all_at_rest([functions.evaluate(path) for path in paths])
    for evaluation in evaluations:
        check_value(evaluation.value, f"tree {tree.tree_id}, a continuation")
        tree.num_critic_tokens += evaluation.num_critic_tokens
    return evaluations


async def _search_by_rounds(tree: Tree, functions: SearchFunctions, rounds: Rounds, params: SearchParams) -> None:
    frontier = Frontier((ROOT,))
    for _ in range(params.num_simulations):
        if functions.is_done is not None and functions.is_done(tree):
            return
        children = await expand_together(tree, frontier.expand, functions, params)
        await evaluate(tree, children, functions)
        for child in children:
            back_up(tree, child, functions)
        for node_id in (*frontier.expand, *children):
            if node_id != ROOT:
                note_end(tree, node_id, params)
        frontier = rounds.advance(tree, frontier, children)
        if not frontier.expand:
            return


async def _simulate(tree: Tree, functions: SearchFunctions, params: SearchParams, flight: _Flight) -> None:
    simulate_from = functions.grow or grow
    leaf = select(tree, functions.select_child, params.skip_exhausted)
    if params.simulations_in_flight == 1:
        await simulate_from(tree, leaf, functions, params)
        return
    while (owner := _owner(tree, leaf, flight)) is not None:
        await owner.wait()
        if params.skip_exhausted and tree.is_exhausted[ROOT]:
            return
        leaf = select(tree, functions.select_child, params.skip_exhausted)
    flight.busy[leaf] = asyncio.Event()
    _add_virtual_visits(tree, leaf, 1)
    try:
        await simulate_from(tree, leaf, functions, params)
    finally:
        _add_virtual_visits(tree, leaf, -1)
        flight.busy.pop(leaf).set()


async def grow(tree: Tree, node_id: int, functions: SearchFunctions, params: SearchParams) -> None:
    """Expand, evaluate and back up from a selected leaf."""
    has_returned = False
    while _is_to_expand(tree, node_id, params):
        children = await expand(tree, node_id, functions, params)
        if not children:
            break
        if params.evaluate_children:
            await evaluate(tree, children, functions)
            for child in children:
                back_up(tree, child, functions)
                note_end(tree, child, params)
            has_returned = True
        node_id = functions.select_child(tree, node_id, children)
        if not params.expand_to_end:
            break
    if node_id == ROOT:
        return
    if not has_returned:
        if tree.raw_value[node_id] is None:
            await evaluate(tree, [node_id], functions)
        back_up(tree, node_id, functions)
    note_end(tree, node_id, params)


def back_up(tree: Tree, node_id: int, functions: SearchFunctions) -> None:
    """Record the value of a node, unless nobody knows it: an ungraded answer is not a wrong one."""
    if tree.is_known[node_id]:
        functions.backup(tree, node_id, tree.raw_value[node_id])


def note_end(tree: Tree, node_id: int, params: SearchParams) -> None:
    """Call a valued node exhausted when it can never be expanded."""
    if not can_be_expanded(tree, node_id, params):
        tree.exhaust(node_id)


def can_be_expanded(tree: Tree, node_id: int, params: SearchParams) -> bool:
    """Whether something may follow a node: it is neither closed nor at the depth limit, nor beyond what can be valued
    (what follows it is longer still, and without returns nothing would lead the search out of there again).
    """
    return not tree.is_closed[node_id] and tree.depth[node_id] < params.max_depth and tree.is_known[node_id]


def _add(tree: Tree, node_id: int, candidates: Sequence[Candidate]) -> list[int]:
    """Children of an expanded leaf; without any it is closed."""
    if not candidates:
        tree.close(node_id)
    return tree.add_children(node_id, candidates)


def _is_to_expand(tree: Tree, node_id: int, params: SearchParams) -> bool:
    """A node valued on its own is evaluated on its first visit and expanded on its second."""
    return params.evaluate_children or params.expand_to_end or node_id == ROOT or tree.raw_value[node_id] is not None


def _owner(tree: Tree, node_id: int, flight: _Flight) -> asyncio.Event | None:
    """The simulation that grows this node or the subtree it lies in, if any: such a subtree is still a leaf."""
    return next((flight.busy[ancestor] for ancestor in tree.to_root(node_id) if ancestor in flight.busy), None)


def _add_virtual_visits(tree: Tree, node_id: int, change: int) -> None:
    for ancestor in tree.to_root(node_id):
        tree.virtual_visits[ancestor] += change
