"""The search of AlphaLLM, eta-MCTS (Tian et al. 2024, arXiv 2404.12253; where paper and code differ, as said below).

An option of the paper (text up to a stop string) is a step here. One simulation:
1. select  from the root: a node that may have another child is widened, any other is left for its child with the
           largest Q + c sqrt(ln N_p / N)  (no factor 2 under the root; exhausted subtrees are passed over);
2. widen   the node by one new step: up to `num_tries` independent samples, of which the first is taken whose distance
           to every sibling, edits / length of the longer text, is at least `min_distance`; when none is, the one
           farthest from its nearest sibling is merged with that sibling;
3. value   the new node by a weighted mean of value critic, process critic and outcome critic, and back it up;
4. go on   with 2 from the new node until its path is complete (`to_the_end`; without it one simulation is one step, as
           in the code, which goes beyond its budget until the tree has answers enough).

Adaptive branching (paper):  n(s) = max(c_min, min(floor(a I(s)) + 1, c_max)),  I(s) = max over children |v(c) - v(s)|,
v = the value of 3. The root has no v; the mean of its children's stands in, as the code has it everywhere.

State merge: a step that is merged leaves an edge to the sibling with its own wording instead of a node, and with
`merge_states` so does a step that leads to the same set of steps in another order as a node that exists. A merged step
is a simulation and a widening, but no visit.

Values: every part is in [0, 1] (the code mixes [-1, 1] and [0, 1]), so a, the paper's factor of I, is three times that
of the code, whose values span 3. The parts:
- value    `evaluate`, whatever stands behind it;
- process  `critics["process"]`: in the nights the score that the guiding critic gives the last step. Left out of trees
           that are searched without a guide; a weight for it where no tree can have one is refused;
- outcome  mean of `critics["outcome"]` over the ends of `num_rollouts` fast rollouts, which the policy itself writes.
           Until an outcome critic is trained the rollouts' mean grade stands in, and where grades must not be seen, the
           value critic's mean score of their ends. A complete path is its own end.
What is backed up is the weighted mean. The tables' raw_value is the share of right graded completions, with their
number, where there were any (so that labels stay counts), and the weighted mean where there were none.

Left out: the greedy first child, the second language model that judges equality, and the roll to the end at the
depth limit.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import fmean

from pipelines.search.search import ExploreFn, SearchFunctions, evaluate_paths, note_end, simulations
from pipelines.search.selection import uct
from pipelines.search.tree import ROOT, Tree
from pipelines.search.types import Candidate, Continuation, Evaluation, Path, SearchParams


@dataclass(frozen=True, slots=True)
class AlphaLlm:
    """The method's own parameters.

    The paper merges steps less than 20 characters apart. Of 1,028 pairs of siblings in trees of the starter (median 7
    characters) all are; 51 % differ in less than 0.15 of the longer text, and three in five of these have values at
    least 0.5 apart; 0.7 % differ in less than 0.1. GSM8K's written steps have a median of 71 characters, of which 20
    are 0.28. The code's root has 40 children, for 40 simulations and more.
    """

    min_width: int = 3  # c_min, children of a node, >= 1
    root_width: int = 6  # c_min of the root, >= 1
    max_width: int = 10  # c_max, >= 1
    importance_factor: float = 6.0  # a, >= 0; 0 = widths do not adapt
    max_split_depth: int = 10  # from this depth on a node has one child, >= 0
    min_distance: float = 0.1  # edits / length of the longer text between siblings, [0, 1]; 0 = only equal texts merge
    num_tries: int = 5  # samples for one new child, >= 1
    merge_states: bool = False  # equal sets of steps are one state, whatever their order
    num_rollouts: int = 4  # fast rollouts behind the outcome part, >= 1
    value_weight: float = 1.0  # of the three parts, >= 0, not all 0
    process_weight: float = 0.0  # needs rollouts.guided = true
    outcome_weight: float = 1.0
    exploration: float = 1.0  # c, >= 0
    to_the_end: bool = True  # a simulation goes on until its path is complete or a step is merged

    def __post_init__(self) -> None:
        for name in ("min_width", "root_width", "max_width", "num_tries", "num_rollouts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("importance_factor", "max_split_depth", "exploration", *_WEIGHTS):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ValueError(f"{name} is {getattr(self, name)}; it must be a finite number of at least 0")
        if not 0 <= self.min_distance <= 1:
            raise ValueError(f"min_distance is {self.min_distance}; it must be in [0, 1]")
        if self.value_weight + self.outcome_weight == 0:
            raise ValueError("value_weight and outcome_weight are 0; one of them must be above 0")


_WEIGHTS = ("value_weight", "process_weight", "outcome_weight")


@dataclass(slots=True)
class _Growth:
    """What the search remembers of a tree beside the tree."""

    num_draws: dict[int, int] = field(default_factory=dict)  # steps asked for, by node
    num_widenings: dict[int, int] = field(default_factory=dict)  # merged ones included
    worth: dict[int, float] = field(default_factory=dict)  # v of every valued node
    states: dict[tuple[str, ...], int] = field(default_factory=dict)  # sorted steps -> node


async def explore(tree: Tree, functions: SearchFunctions, params: SearchParams, *, own: AlphaLlm) -> None:
    """Widen nodes until `num_simulations` are spent or nothing can be added."""
    growth = _Growth()
    if params.max_depth:
        tree.keep_growing(ROOT)
    for _ in simulations(tree, functions, range(params.num_simulations)):
        node_id = _select(tree, own)
        if node_id is None:
            return
        while node_id is not None:
            child = await _widen(tree, node_id, growth, functions, params, own)
            node_id = child if own.to_the_end and child in tree.growing else None


def make_explore(own: AlphaLlm) -> ExploreFn:
    """`explore` with the method's parameters bound."""
    return partial(explore, own=own)


def wanted_critics(own: AlphaLlm) -> dict[str, str]:
    """Critics that have weight and that nothing stands in for -> the parameter that says so."""
    return {"process": "process_weight"} if own.process_weight else {}


def width(own: AlphaLlm, depth: int, importance: float) -> int:
    """n(s), the number of children that a node may have."""
    if depth >= own.max_split_depth:
        return 1
    least = own.min_width if depth else own.root_width
    return max(least, min(math.floor(own.importance_factor * importance) + 1, own.max_width))


def importance(value: float | None, children: Sequence[float]) -> float:
    """I(s): the largest distance of a child's value from the node's, or from the children's mean where it has none."""
    if not children:
        return 0.0
    centre = fmean(children) if value is None else value
    return max(abs(child - centre) for child in children)


def relative_distance(one: str, other: str, limit: float = 1.0) -> float:
    """Levenshtein distance over the length of the longer text, [0, 1]; 0 for two empty ones, 1 as soon as it must be
    above `limit`.
    """
    longer, shorter = (one, other) if len(one) >= len(other) else (other, one)
    before = list(range(len(shorter) + 1))
    for row, mine in enumerate(longer, start=1):
        now = [row]
        for column, theirs in enumerate(shorter, start=1):
            now.append(min(before[column] + 1, now[-1] + 1, before[column - 1] + (mine != theirs)))
        if min(now) > limit * len(longer):
            return 1.0
        before = now
    return before[-1] / len(longer) if longer else 0.0


def _select(tree: Tree, own: AlphaLlm) -> int | None:
    """The node to widen; None when there is none."""
    node_id = ROOT
    while node_id not in tree.growing:
        children = [child for child in tree.children[node_id] if not tree.is_exhausted[child]]
        if not children:
            return None
        node_id = uct(tree, node_id, children, exploration=own.exploration)
    return node_id


async def _widen(
    tree: Tree, node_id: int, growth: _Growth, functions: SearchFunctions, params: SearchParams, own: AlphaLlm
) -> int | None:
    """Give a node another child, which is returned, or merge what was proposed; a node without proposals grows no
    more.
    """
    found = await _new_step(tree, node_id, growth, functions, own)
    if found is None:
        if not tree.children[node_id]:
            tree.close(node_id)
            if node_id != ROOT:
                tree.exhaust(node_id)
        tree.stop_growing(node_id)
        return None
    growth.num_widenings[node_id] = growth.num_widenings.get(node_id, 0) + 1
    candidate, same = found
    child = None
    if same is None:
        child = await _add_child(tree, node_id, candidate, growth, functions, params, own)
    else:
        tree.add_edge(node_id, same, candidate.step_text)
    values = [growth.worth[node] for node in tree.children[node_id] if node in growth.worth]
    limit = width(own, tree.depth[node_id], importance(growth.worth.get(node_id), values))
    if growth.num_widenings[node_id] >= limit:
        tree.stop_growing(node_id)
    return child


async def _new_step(
    tree: Tree, node_id: int, growth: _Growth, functions: SearchFunctions, own: AlphaLlm
) -> tuple[Candidate, int | None] | None:
    """A sampled step and the node that it is merged with, None being that it is new; None where nothing came."""
    best, best_distance, nearest = None, -1.0, None
    for _ in range(own.num_tries):
        draw = growth.num_draws.get(node_id, 0)
        growth.num_draws[node_id] = draw + 1
        proposed = await functions.propose(replace(tree.path(node_id), draw=draw), 1)
        if not proposed:
            continue
        distance, sibling = _nearest(tree, tree.children[node_id], proposed[0].step_text, own.min_distance)
        if distance > best_distance:
            best, best_distance, nearest = proposed[0], distance, sibling
        if distance > 0 and distance >= own.min_distance:
            return proposed[0], _same_state(tree, node_id, proposed[0], growth) if own.merge_states else None
    return None if best is None else (best, nearest)


def _nearest(tree: Tree, siblings: Sequence[int], text: str, limit: float) -> tuple[float, int | None]:
    """Distance to the nearest sibling, as far as it is at most `limit`, and its node; 1 and None without siblings."""
    distances = [(relative_distance(text, tree.candidate[sibling].step_text, limit), sibling) for sibling in siblings]
    return min(distances, default=(1.0, None))


def _same_state(tree: Tree, node_id: int, candidate: Candidate, growth: _Growth) -> int | None:
    """A node that holds the same steps in another order."""
    return growth.states.get(_state(tree, node_id, candidate))


def _state(tree: Tree, node_id: int, candidate: Candidate) -> tuple[str, ...]:
    return tuple(sorted([*tree.path(node_id).step_texts, candidate.step_text]))


async def _add_child(
    tree: Tree,
    node_id: int,
    candidate: Candidate,
    growth: _Growth,
    functions: SearchFunctions,
    params: SearchParams,
    own: AlphaLlm,
) -> int:
    (child,) = tree.add_children(node_id, [candidate])
    growth.states[_state(tree, node_id, candidate)] = child
    value = await _value(tree, child, functions, own)
    if tree.is_known[child]:
        growth.worth[child] = value
        functions.backup(tree, child, value)
    note_end(tree, child, params)
    if not tree.is_exhausted[child]:
        tree.keep_growing(child)
    return child


async def _value(tree: Tree, node_id: int, functions: SearchFunctions, own: AlphaLlm) -> float:
    """Weighted mean of the parts, [0, 1]; what the tables say of the node is recorded."""
    path = tree.path(node_id)
    evaluation = await functions.evaluate(path)
    tree.record_evaluation(node_id, evaluation)
    found: list[tuple[float, float | None]] = [(own.value_weight, evaluation.value)]
    if own.process_weight and "process" in functions.critics:
        found.append((own.process_weight, await _mean_score(tree, [path], functions, "process")))
    rollouts = await functions.complete(path, own.num_rollouts) if own.outcome_weight else []
    if rollouts or (path.is_terminal and "outcome" in functions.critics):
        found.append((own.outcome_weight, await _outcome(tree, path, rollouts, functions)))
    parts = [(weight, part) for weight, part in found if part is not None]
    total = math.fsum(weight for weight, _ in parts)
    value = math.fsum(weight * part for weight, part in parts) / total if total else evaluation.value
    tree.record_evaluation(node_id, replace(_counted(evaluation, rollouts, value), num_critic_tokens=0))
    return value


async def _outcome(
    tree: Tree, path: Path, rollouts: Sequence[Continuation], functions: SearchFunctions
) -> float | None:
    """How well the path ends, [0, 1]: by the outcome critic, else by grades, else by the value critic; None where
    nobody knows."""
    ends = [Path(path.problem, (*path.steps, *rollout.steps)) for rollout in rollouts] or [path]
    if "outcome" in functions.critics:
        return await _mean_score(tree, ends, functions, "outcome")
    grades = _grades(rollouts)
    return fmean(grades) if grades else await _mean_score(tree, ends, functions, None)


async def _mean_score(
    tree: Tree, paths: Sequence[Path], functions: SearchFunctions, critic: str | None
) -> float | None:
    """Mean value of paths that are no nodes, by a named critic or the one evaluator, of those that it knows."""
    evaluate = functions.evaluate if critic is None else functions.critics[critic]
    scores = await evaluate_paths(tree, paths, replace(functions, evaluate=evaluate))
    known = [score.value for score in scores if score.is_known]
    return fmean(known) if known else None


def _counted(evaluation: Evaluation, rollouts: Sequence[Continuation], value: float) -> Evaluation:
    """The evaluation with all graded completions in it, or with the weighted mean where nothing was graded."""
    grades = _grades(rollouts)
    num_samples = evaluation.num_samples + len(grades)
    if not evaluation.is_known or evaluation.outcome_reward is not None:
        return evaluation
    if not num_samples:
        return replace(evaluation, value=value)
    num_right = math.fsum([evaluation.value * evaluation.num_samples, *grades])
    return replace(evaluation, value=min(1.0, num_right / num_samples), num_samples=num_samples)


def _grades(rollouts: Sequence[Continuation]) -> list[float]:
    return [rollout.outcome_reward for rollout in rollouts if rollout.outcome_reward is not None]
