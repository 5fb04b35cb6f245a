"""Finished trees -> rows of `search_nodes` and `search_edges`, and the values along a path."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.search.tree import ROOT, Tree

Row = dict[str, object]
"""One row of a table, keys as in `pipelines.tables.SCHEMAS`."""

STEP_NODE, ANSWER_NODE = "step", "answer"
"""`search_nodes.node_kind`: what the nodes of a tree are, its root included."""


def step_nodes(search_nodes: pa.Table) -> pa.Table:
    """The rows of trees whose nodes are steps: whole answers are no steps, and say nothing of any. Rows without a kind
    are from before there were others."""
    return search_nodes.filter(pc.not_equal(pc.fill_null(search_nodes["node_kind"], STEP_NODE), ANSWER_NODE))


def node_rows(tree: Tree, night: str, node_kind: str = STEP_NODE, is_guided: bool = False) -> Iterator[Row]:
    """One row per node in creation order; the root has no parent, prior, tokens or request.

    `is_guided`: a critic valued the tree's incomplete paths.
    """
    for node_id in range(len(tree)):
        candidate = tree.candidate[node_id]
        yield {
            "tree_id": tree.tree_id,
            "node_id": node_id,
            "parent_id": None if node_id == ROOT else tree.parent[node_id],
            "problem_id": tree.problem["problem_id"],
            "depth": tree.depth[node_id],
            "node_kind": node_kind,
            "action": (candidate.action or None) if candidate else None,
            "step_text": candidate.step_text if candidate else "",
            "prior": candidate.prior if candidate else None,
            "visit_count": tree.visit_count[node_id],
            "value": tree.value(node_id),
            "raw_value": _estimate(tree, node_id),
            "num_samples": tree.num_samples[node_id],
            "is_terminal": tree.is_terminal(node_id),
            "outcome_reward": tree.outcome_reward[node_id],
            "sum_logprob": candidate.sum_logprob if candidate else None,
            "token_ids": list(candidate.token_ids) if candidate else [],
            "request_id": candidate.request_id if candidate else None,
            "night": night,
            "is_guided": is_guided,
        }


def edge_rows(tree: Tree, night: str) -> Iterator[Row]:
    """One row per parent and child, in the child's creation order, and then one per merged step; the action is the
    step's text.
    """
    for node_id in range(1, len(tree)):
        yield {
            "tree_id": tree.tree_id,
            "from_node": tree.parent[node_id],
            "to_node": node_id,
            "action": tree.candidate[node_id].step_text,
            "night": night,
        }
    for from_node, to_node, action in tree.extra_edges:
        ends = {"from_node": from_node, "to_node": to_node}
        yield {"tree_id": tree.tree_id, **ends, "action": action, "night": night}


def step_values(tree: Tree, leaf: int) -> list[float | None]:
    """Value of each step's node on the way to the leaf: its mean return, or the evaluator's estimate where
    no simulation passed, or None where there is neither.
    """
    values = []
    for node_id in tree.from_root(leaf):
        value = tree.value(node_id)
        values.append(_estimate(tree, node_id) if value is None else value)
    return values


def _estimate(tree: Tree, node_id: int) -> float | None:
    """The evaluator's estimate; None where it was never asked, and where it knew none."""
    return tree.raw_value[node_id] if tree.is_known[node_id] else None
