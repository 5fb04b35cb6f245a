"""What all miners of pairs share: which columns they read, and how what they propose becomes pairs.

A miner is a `Curation` of grain "table". It reads trees (`TREE`), whole answers (`ANSWER`) or critiques, proposes pairs
with a query of its own, and every miner's proposals go the same way: equal texts once, sides of equal text never, and
no more of a problem than `max_pairs_per_problem`. Both scores stand beside every pair, and margin is their difference.
"""

from dataclasses import replace

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

import sql as queries
from pipelines.curation import Column, Curation
from pipelines.tables import RELATIONS
from pipelines.warehouse import Warehouse

FOLDER = "preference_pairs/"
PAIRS = pa.schema([field for field in RELATIONS["mined_pairs"] if field.name != "position"])
"""The columns of a miner's result."""


class PairParams(BaseModel):
    """Parameters of a method that makes, weighs or cleans pairs: immutable, without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class MinerParams(PairParams):
    """What every miner of pairs can be told."""

    max_pairs_per_problem: int = Field(8, ge=1, description="the widest gaps are kept")


class TreeParams(MinerParams):
    """What every miner of steps can be told."""

    separator: str = Field("\n", description="text that ends every step")
    min_visits: int = Field(1, ge=0, description="both steps were visited this often")


TREE = {
    "tree_id": "the search tree",
    "node_id": "the node, in creation order",
    "parent_id": "the node above; null at the root",
    "problem_id": "the problem, at the root at least",
    "prompt": "the statement, at the root; null: none stands before the steps",
    "step_text": "the step that leads to the node",
    "action": "kind of step; null: an ordinary one",
    "value": "mean backed-up return through the node; null: never visited, which is not bad",
    "raw_value": "evaluator's estimate; null: none",
    "visit_count": "simulations that passed through the node",
    "outcome_reward": "1 or 0 where a finished path ends, null elsewhere",
    "policy": "who wrote the tree, at the root; null: not known",
}
ANSWER = {
    "problem_id": "the problem; answers to different ones never meet",
    "group_id": "answers are compared within it; null: within the problem",
    "response_id": "the answer, once per table",
    "prompt": "what was asked; null: nothing stands before the answer",
    "response": "the whole answer",
    "steps": "the answer's steps; null: not known",
    "outcome_reward": "1 right, 0 wrong; null: not graded",
    "score": "a judge's or critic's score; null: none",
    "policy": "who wrote it; null: not known",
    "is_teacher": "written by somebody better than the policy; null: no",
    "stratum": "answers meet within it only; null: one for all",
    "strong_logprob": "log-probability of the whole answer under the better aligned model; null: none",
    "weak_logprob": "the same under its base; null: none",
}
PAIR = {
    "problem_id": "the problem",
    "prompt": "what both sides answer; null: nothing",
    "chosen": "the better text",
    "rejected": "the worse text",
    "chosen_score": "what made it the better one; null: not known",
    "rejected_score": "the same for the worse one",
    "margin": "gap of the two; null: not known",
}
OPTIONAL_IN_TREES = ("prompt", "action", "raw_value", "outcome_reward", "policy")
REQUIRED_OF_ANSWERS = ("problem_id", "response_id", "response")
REQUIRED_OF_PAIRS = ("problem_id", "chosen", "rejected")


def columns(relation: str, meanings: dict[str, str], required: tuple[str, ...]) -> tuple[Column, ...]:
    """Columns of a relation with their meanings."""
    schema = RELATIONS[relation]
    return tuple(Column(name, schema.field(name).type, text, name in required) for name, text in meanings.items())


TREE_COLUMNS = columns("tree_nodes", TREE, tuple(name for name in TREE if name not in OPTIONAL_IN_TREES))


def answer_columns(*needed: str) -> tuple[Column, ...]:
    """Columns of whole answers, `needed` of which there must be besides ids and texts."""
    return columns("responses", ANSWER, (*REQUIRED_OF_ANSWERS, *needed))


def pair_columns(*needed: str) -> tuple[Column, ...]:
    """Columns of pairs, `needed` of which there must be besides the texts."""
    return columns("mined_pairs", PAIR, (*REQUIRED_OF_PAIRS, *needed))


def values_for(query: str, params: BaseModel) -> dict[str, object]:
    """The named parameters of a query from the fields of a method's parameters; `salt` from the seed."""
    fields = params.model_dump()
    return {name: str(fields["seed"]) if name == "salt" else fields[name] for name in queries.read(query).params}


def limited(candidates: pa.Table, method: str, kind: str, params: MinerParams) -> pa.Table:
    """The relation `pair_candidates` as a miner's result."""
    with Warehouse.over({"pair_candidates": candidates}) as warehouse:
        limit = params.max_pairs_per_problem
        pairs = warehouse.named(FOLDER + "mined_pairs", method=method, kind=kind, max_pairs_per_problem=limit)
    return pairs.cast(RELATIONS["mined_pairs"])


def miner(
    method: str,
    kind: str,
    params: type[MinerParams],
    reads: tuple[Column, ...],
    query: str,
    relation: str = "responses",
) -> Curation:
    """A miner whose query turns `relation` into `pair_candidates`."""
    query = FOLDER + query

    def run(table: pa.Table, params: BaseModel) -> pa.Table:
        with Warehouse.over({relation: table}) as warehouse:
            candidates = warehouse.named(query, **values_for(query, params))
        return limited(candidates, method, kind, params)

    return Curation(params=params, reads=reads, writes=PAIRS, grain="table", run=run)


def step_miner(method: str, kind: str, params: type[TreeParams], query: str) -> Curation:
    """A miner whose query turns `tree_nodes` into `node_pairs`; the shared prefix is put before both sides."""
    query = FOLDER + query

    def run(table: pa.Table, params: BaseModel) -> pa.Table:
        with Warehouse.over({"tree_nodes": table}) as warehouse:
            pairs = warehouse.named(query, **values_for(query, params))
        with Warehouse.over({"tree_nodes": table, "node_pairs": pairs}) as warehouse:
            candidates = warehouse.named(FOLDER + "step_candidates", separator=params.separator)
        return limited(candidates, method, kind, params)

    return Curation(params=params, reads=TREE_COLUMNS, writes=PAIRS, grain="table", run=run)


def requiring(curation: Curation, *names: str) -> Curation:
    """The same method, without which columns of its table it cannot work."""
    return replace(curation, reads=tuple(replace(one, is_required=one.is_required or one.name in names)
                                         for one in curation.reads))  # fmt: skip
