"""search_nodes, search_edges, rollouts -> node_values, first_errors, splices, reflections: what trees say of steps.

Each table is made from those before it:
1. node_values   five answers to "how good is this step": its own completions, those of its subtree, their Beta
                 posterior with quantiles, TD(lambda) targets, quality value and process reward of ReST-MCTS*;
2. first_errors  where each wrong rollout was lost, by the counts of 1;
3. splices       wrong paths up to there, led back to a right path of the same tree (Agent-R, MMC);
4. reflections   whole wrong attempts with a pointer to the first error and a solution that keeps what was right.

Invariants: only trees of steps, and of training problems, are read; every row names its tree and nodes; gold steps are
never read; the recipe does not matter, only what its nodes hold: where documents were looked up, steps have values, but
nothing is spliced, since not all words are the policy's. Rows are ordered and distinct, so the same trees give
the same rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.config import TreeExtractsConfig
from pipelines.reasoning.reopen import REFLECT
from pipelines.search.beta_quantiles import beta_quantiles, posterior_mean
from pipelines.search.extraction import step_nodes
from pipelines.search.retrieval_planner import RETRIEVE
from pipelines.tables import SCHEMAS
from pipelines.warehouse import Warehouse

NODE_COLUMNS = [
    "tree_id", "node_id", "parent_id", "problem_id", "depth", "node_kind", "action", "step_text", "value", "raw_value",
    "num_samples", "is_terminal", "outcome_reward",
]  # fmt: skip
EDGE_COLUMNS = ["tree_id", "from_node", "to_node"]
ROLLOUT_COLUMNS = [
    "rollout_id", "problem_id", "tree_id", "leaf_node_id", "steps", "outcome_reward", "finish_reason", "error",
]  # fmt: skip
GIVEN_ACTIONS = pa.array([RETRIEVE, REFLECT])  # steps that the policy did not write


@dataclass(frozen=True)
class TreeExtracts:
    """The tables of this pipeline, in the order in which they are made."""

    node_values: pa.Table  # one row per (tree_id, node_id, method)
    first_errors: pa.Table  # one row per wrong tree rollout whose first error the tree shows
    splices: pa.Table  # one row per wrong path that is led back to a right one
    reflections: pa.Table  # one row per wrong attempt with its correction


def extract_trees(
    problems: pa.Table,
    search_nodes: pa.Table,
    search_edges: pa.Table,
    rollouts: pa.Table,
    config: TreeExtractsConfig,
    night: str,
) -> TreeExtracts:
    """All extracts of one night's trees; tables as in `pipelines.tables`, rollouts of no tree take no part."""
    train = problems.select(["problem_id", "prompt"]).filter(pc.equal(problems["split"], "train"))
    nodes = step_nodes(_of_problems(search_nodes.select(NODE_COLUMNS), train))
    own = _of_the_policy(nodes)
    walks = _of_problems(rollouts.select(ROLLOUT_COLUMNS), train)
    values = node_values(nodes, search_edges, config, night)
    shares = values.filter(pc.equal(values["method"], "monte_carlo"))
    known = {"problems": train, "search_nodes": own, "rollouts": walks, "node_values": shares}
    errors = _rows("first_errors", known, night, min_completions=config.min_completions)
    splices = _rows(
        "splices", known | {"first_errors": errors}, night,
        min_value_gap=config.min_value_gap, min_right_value=config.min_right_value,
        max_splices_per_problem=config.max_splices_per_problem, transitions=list(config.transitions),
    )  # fmt: skip
    made = known | {"first_errors": errors, "splices": splices}
    return TreeExtracts(values, errors, splices, _rows("reflections", made, night, pointer=config.pointer))


def node_values(search_nodes: pa.Table, search_edges: pa.Table, config: TreeExtractsConfig, night: str) -> pa.Table:
    """Rows of `node_values` for all five methods, grouped by method."""
    nodes = step_nodes(search_nodes.select(NODE_COLUMNS))
    tables = {"search_nodes": nodes, "search_edges": search_edges.select(EDGE_COLUMNS)}
    with Warehouse.over(tables) as warehouse:
        made = [
            warehouse.named("tree_extracts/monte_carlo", night=night),
            warehouse.named("tree_extracts/td_lambda", td_lambda=config.td_lambda, night=night),
            warehouse.named("tree_extracts/rest_mcts", night=night),
        ]
    made = [rows.cast(SCHEMAS["node_values"]) for rows in made]
    return pa.concat_tables([*made, posterior_values(made[0], config.num_quantiles)])


def posterior_values(shares: pa.Table, num_quantiles: int) -> pa.Table:
    """Rows of the method `beta_quantiles` from those of `monte_carlo`: value = posterior mean, with quantiles.

    Each distinct pair of counts is worked out once, however many nodes have it.
    """
    rows = shares.filter(pc.equal(shares["method"], "monte_carlo"))
    counts = np.column_stack([rows[name].to_numpy() for name in ("num_right", "num_completions")])
    pairs, place = np.unique(counts.reshape(-1, 2).astype(np.int64), axis=0, return_inverse=True)
    means = pa.array([posterior_mean(*pair) for pair in pairs.tolist()], pa.float64())
    quantiles = pa.array([beta_quantiles(*pair, num_quantiles) for pair in pairs.tolist()], pa.list_(pa.float64()))
    place = pa.array(place.reshape(-1))
    unknown = pa.nulls(rows.num_rows, pa.float64())
    changed = {
        "method": pa.array(["beta_quantiles"] * rows.num_rows, pa.string()),
        "value": means.take(place), "low": unknown, "high": unknown, "quantiles": quantiles.take(place),
    }  # fmt: skip
    for name, column in changed.items():
        rows = rows.set_column(rows.schema.get_field_index(name), name, column)
    return rows


def _rows(table: str, tables: Mapping[str, pa.Table], night: str, **params: object) -> pa.Table:
    """The rows of a table from the query of its name."""
    with Warehouse.over(tables) as warehouse:
        return warehouse.named(f"tree_extracts/{table}", night=night, **params).cast(SCHEMAS[table])


def _of_the_policy(nodes: pa.Table) -> pa.Table:
    """Nodes of trees without texts that were put there (documents, triggers): what is learnt word by word must be the
    policy's own, and the path below a reopened answer is no continuation of it."""
    given = nodes.filter(pc.is_in(nodes["action"], GIVEN_ACTIONS))["tree_id"].unique()
    return nodes.filter(pc.invert(pc.is_in(nodes["tree_id"], given)))


def _of_problems(rows: pa.Table, problems: pa.Table) -> pa.Table:
    return rows.filter(pc.is_in(rows["problem_id"], problems["problem_id"].combine_chunks()))
