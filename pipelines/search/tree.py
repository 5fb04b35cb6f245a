"""A search tree as append-only arrays with integer ids. It stores and answers; it decides nothing.

Invariants (stated as tests):
- the root is node 0, ids are in creation order, so `parent[i] < i`;
- `visit_count[i]` is the number of returns recorded at i, `value(i)` their mean, in [0, 1] (a backup that is no
  mean sets the value itself: `record_value`);
- a parent was visited at least as often as all its children together (where returns are backed up to the root, as they
  are by every recipe but `omegaprm`);
- nothing is ever removed, and a node's candidate never changes.
`virtual_visits` counts simulations under way below a node; it is 0 everywhere when none is.
"""

from collections.abc import Iterator, Mapping, Sequence

from pipelines.search.types import Candidate, Evaluation, Path

ROOT = 0
NO_PARENT = -1


def check_value(value: float, where: str) -> None:
    """ValueError that names the place when an estimate is not in [0, 1]; NaN is not."""
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{where}: value {value} is not in [0, 1]")


class Tree:
    """One problem's search tree. Every list below is indexed by node id."""

    __slots__ = (
        "tree_id", "problem", "parent", "depth", "candidate", "children", "visit_count", "virtual_visits",
        "value_sum", "raw_value", "is_known", "num_samples", "outcome_reward", "is_closed", "is_exhausted",
        "num_critic_tokens", "num_graded", "graded_value", "growing", "extra_edges", "_known_path",
    )  # fmt: skip

    def __init__(self, tree_id: str, problem: Mapping[str, object]) -> None:
        self.tree_id = tree_id
        self.problem = problem
        self.parent: list[int] = []
        self.depth: list[int] = []
        self.candidate: list[Candidate | None] = []  # None at the root only
        self.children: list[tuple[int, ...]] = []  # empty until expanded; tuples, which garbage collection skips
        self.visit_count: list[int] = []
        self.virtual_visits: list[int] = []
        self.value_sum: list[float] = []
        self.raw_value: list[float | None] = []  # None until evaluated
        self.is_known: list[bool] = []  # False: evaluated, but nobody could value it; such a node has no returns
        self.num_samples: list[int] = []
        self.outcome_reward: list[float | None] = []
        self.is_closed: list[bool] = []  # nothing can follow this node
        self.is_exhausted: list[bool] = []  # nothing in this subtree can be expanded, and its leaves are valued
        self.num_critic_tokens = 0
        self.num_graded = 0  # nodes with graded completions behind their value (num_samples > 0)
        self.graded_value = 0.0  # sum of the values of these
        self.growing: set[int] = set()  # nodes that may get more children than they have, so are not exhausted
        self.extra_edges: list[tuple[int, int, str]] = []  # from, to, action: merged steps, which have no node
        self._known_path: tuple[int, tuple[Candidate, ...]] = (ROOT, ())  # the latest that was asked for
        self._append(NO_PARENT, 0, [None])

    def __len__(self) -> int:
        return len(self.parent)

    def _append(self, parent: int, depth: int, candidates: Sequence[Candidate | None]) -> list[int]:
        first, count = len(self.parent), len(candidates)
        self.parent += [parent] * count
        self.depth += [depth] * count
        self.candidate += candidates
        self.children += [()] * count
        self.visit_count += [0] * count
        self.virtual_visits += [0] * count
        self.value_sum += [0.0] * count
        self.raw_value += [None] * count
        self.is_known += [True] * count
        self.num_samples += [0] * count
        self.outcome_reward += [None] * count
        self.is_closed += [candidate is not None and candidate.is_terminal for candidate in candidates]
        self.is_exhausted += [False] * count
        return list(range(first, first + count))

    def add_children(self, node_id: int, candidates: Sequence[Candidate]) -> list[int]:
        """Append one child per candidate and return their ids, in the candidates' order."""
        ids = self._append(node_id, self.depth[node_id] + 1, candidates)
        self.children[node_id] += tuple(ids)
        return ids

    def close(self, node_id: int) -> None:
        """Note that nothing can follow this node, though it is no answer."""
        self.is_closed[node_id] = True

    def exhaust(self, node_id: int) -> None:
        """Note that a node has nothing left to expand, and with the last of its siblings neither has its parent."""
        self.is_exhausted[node_id] = True
        for ancestor in self.to_root(self.parent[node_id]):
            if ancestor in self.growing or not all(self.is_exhausted[child] for child in self.children[ancestor]):
                return
            self.is_exhausted[ancestor] = True

    def keep_growing(self, node_id: int) -> None:
        """Note that a node may get more children later."""
        self.growing.add(node_id)

    def stop_growing(self, node_id: int) -> None:
        """Note that a node has all children that it will have; with the last of them exhausted so is the node."""
        self.growing.discard(node_id)
        if self.children[node_id] and all(self.is_exhausted[child] for child in self.children[node_id]):
            self.exhaust(node_id)

    def add_edge(self, from_node: int, to_node: int, action: str) -> None:
        """Note that a step leads to a node that exists; an edge that is known already is not kept twice."""
        edge = (from_node, to_node, action)
        is_own = self.parent[to_node] == from_node and self.candidate[to_node].step_text == action
        if not is_own and edge not in self.extra_edges:
            self.extra_edges.append(edge)

    def record_evaluation(self, node_id: int, evaluation: Evaluation) -> None:
        """Keep an evaluator's estimate; this is not a visit."""
        check_value(evaluation.value, f"tree {self.tree_id} node {node_id}")
        self._count_graded(node_id, -1)
        self.raw_value[node_id] = evaluation.value
        self.is_known[node_id] = evaluation.is_known
        self.num_samples[node_id] = evaluation.num_samples
        self._count_graded(node_id, 1)
        self.outcome_reward[node_id] = evaluation.outcome_reward
        self.num_critic_tokens += evaluation.num_critic_tokens

    def _count_graded(self, node_id: int, change: int) -> None:
        if self.num_samples[node_id]:
            self.num_graded += change
            self.graded_value += change * self.raw_value[node_id]

    def count_sample(self, node_id: int) -> None:
        """Note one more graded completion with the outcome that the node has already by another."""
        self.num_samples[node_id] += 1

    def record_return(self, node_id: int, value: float) -> None:
        """Count one visit of this node alone with its return."""
        self.visit_count[node_id] += 1
        self.value_sum[node_id] += value

    def record_returns(self, node_id: int, value: float) -> None:
        """Count one visit of the node and of every node above it, with the same return."""
        parent, visit_count, value_sum = self.parent, self.visit_count, self.value_sum
        while node_id != NO_PARENT:
            visit_count[node_id] += 1
            value_sum[node_id] += value
            node_id = parent[node_id]

    def record_value(self, node_id: int, value: float) -> None:
        """Count one visit of this node alone and let `value(node_id)` be this value from now on."""
        self.visit_count[node_id] += 1
        self.value_sum[node_id] = value * self.visit_count[node_id]

    def value(self, node_id: int) -> float | None:
        """Mean return through the node; None when it was never visited."""
        visits = self.visit_count[node_id]
        return self.value_sum[node_id] / visits if visits else None

    def is_terminal(self, node_id: int) -> bool:
        """Whether the node completes a path."""
        candidate = self.candidate[node_id]
        return candidate is not None and candidate.is_terminal

    def to_root(self, node_id: int) -> Iterator[int]:
        """The node, its parent, and so on up to the root."""
        while node_id != NO_PARENT:
            yield node_id
            node_id = self.parent[node_id]

    def from_root(self, node_id: int) -> list[int]:
        """Ids of the steps that lead to the node, the root left out and the node included."""
        return [ancestor for ancestor in self.to_root(node_id) if ancestor != ROOT][::-1]

    def path(self, node_id: int) -> Path:
        """Problem and steps from the root to the node."""
        return Path(self.problem, self._steps(node_id))

    def _steps(self, node_id: int) -> tuple[Candidate, ...]:
        """Steps to a node; one step more than those of its parent where that was asked for last, as siblings do."""
        known, steps = self._known_path
        if node_id == known:
            return steps
        if self.parent[node_id] == known:
            return (*steps, self.candidate[node_id])
        steps = tuple(self.candidate[step] for step in self.from_root(node_id))
        self._known_path = (node_id, steps)
        return steps

    def terminals(self) -> list[int]:
        """Ids of the nodes that complete a path, in creation order."""
        return [node_id for node_id in range(len(self)) if self.is_terminal(node_id)]
