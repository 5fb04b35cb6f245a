"""What all miners of pairs share: which columns they read, and how what they propose becomes pairs.

A miner is a `Curation` of grain "table". It reads trees (`TREE`), whole answers (`ANSWER`) or critiques, proposes pairs
with a query of its own, and every miner's proposals go the same way: equal texts once, sides of equal text never, and
no more of a problem than `max_pairs_per_problem`. Both scores stand beside every pair, and margin is their difference.
"""

from collections.abc import Mapping
from dataclasses import replace

import pyarrow as pa
from pydantic import BaseModel, Field

import sql as queries
from pipelines.config import Section
from pipelines.curation import Column, Curation
from pipelines.tables import RELATIONS
from pipelines.warehouse import Warehouse

FOLDER = "preference_pairs/"
PAIRS = pa.schema([field for field in RELATIONS["mined_pairs"] if field.name != "position"])
"""The columns of a miner's result."""


class PairParams(Section):
    """Parameters of a method that makes, weighs or cleans pairs: immutable, without unknown keys."""


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
    "group_id": "answers to a problem are compared within it; null: all of them",
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
    "chosen_scores": "every critic's score of chosen, in one order; null: none",
    "rejected_scores": "every critic's score of rejected, in the same order; null: none",
    "chosen_logprobs": "log-probability of every token of chosen under the policy; null: not known",
    "rejected_logprobs": "the same for rejected",
    "chosen_square_logprobs": "per token of chosen, log of the sum of the squared probabilities of all tokens",
    "rejected_square_logprobs": "the same for rejected",
    "strengths": "every annotator's strength from -3 to 3, above 0 for chosen; null: none",
    "iteration": "round of training that the pair was made for",
}
OPTIONAL_IN_TREES = ("prompt", "action", "raw_value", "outcome_reward", "policy")
NEVER_NULL = (
    "tree_id", "node_id", "response_id", "rollout_id", "critique_id", "original_id", "refinement_id", "first_id",
    "second_id", "response", "chosen", "rejected", "critique", "original", "refinement", "first", "second",
    "tactic_id", "tactic",
)  # fmt: skip
"""Ids and texts without which a row says nothing: where a method needs one, a null is refused with its row."""
REQUIRED_OF_ANSWERS = ("problem_id", "response_id", "response")
REQUIRED_OF_PAIRS = ("problem_id", "chosen", "rejected")


def columns(relation: str, meanings: dict[str, str], required: tuple[str, ...]) -> tuple[Column, ...]:
    """Columns of a relation with their meanings."""
    schema = RELATIONS[relation]
    return tuple(
        Column(name, schema.field(name).type, text, name in required, name not in required or name not in NEVER_NULL)
        for name, text in meanings.items()
    )


TREE_COLUMNS = columns("tree_nodes", TREE, tuple(name for name in TREE if name not in OPTIONAL_IN_TREES))


def answer_columns(*needed: str, also: tuple[str, ...] = ()) -> tuple[Column, ...]:
    """Columns of whole answers, `needed` of which there must be besides ids and texts; `also` are read if given."""
    usual = ("group_id", "prompt", "outcome_reward", "score", "policy", *also)
    return _named_columns("responses", ANSWER, REQUIRED_OF_ANSWERS, needed, usual)


def pair_columns(*needed: str) -> tuple[Column, ...]:
    """Columns of pairs, `needed` of which there must be besides the texts."""
    return _named_columns("known_pairs", PAIR, REQUIRED_OF_PAIRS, needed, ("prompt",))


def _named_columns(
    relation: str, meanings: dict[str, str], required: tuple[str, ...], needed: tuple[str, ...], usual: tuple[str, ...]
) -> tuple[Column, ...]:
    read = {name: text for name, text in meanings.items() if name in (*required, *needed, *usual)}
    return columns(relation, read, (*required, *needed))


def values_for(query: str, params: BaseModel, more: Mapping[str, object]) -> dict[str, object]:
    """The named parameters of a query: fields of the method's parameters, `more`, and `salt` from the seed."""
    fields = {**params.model_dump(), **more}
    return {name: str(fields["seed"]) if name == "salt" else fields[name] for name in queries.read(query).params}


def answered(query: str, relations: Mapping[str, pa.Table], params: BaseModel) -> pa.Table:
    """The rows of a query of this folder over relations; a column of theirs that is not given is null."""
    return answered_in_turn({"": query}, relations, params, {})


def answered_in_turn(
    named: Mapping[str, str],
    relations: Mapping[str, pa.Table],
    params: BaseModel,
    more: Mapping[str, object],
) -> pa.Table:
    """The rows of the last one of several queries, each of which also reads what those before it yield, under the
    names of their relations. `more` are parameters besides those of the method.
    """
    with Warehouse.over({name: _complete(name, table) for name, table in relations.items()}) as warehouse:
        for name, query in named.items():
            rows = warehouse.named(FOLDER + query, **values_for(FOLDER + query, params, more))
            if name:
                warehouse.hold(name, _complete(name, rows))
    return rows


def _complete(relation: str, table: pa.Table) -> pa.Table:
    """The table with every column of its relation."""
    for field in RELATIONS[relation]:
        if field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(table.num_rows, field.type))
    return table


def miner(
    method: str,
    kind: str,
    params: type[MinerParams],
    reads: tuple[Column, ...],
    query: str,
    relation: str = "responses",
    before: Mapping[str, str] | None = None,
) -> Curation:
    """A miner whose query yields `pair_candidates`, from the table as `relation` and from what the queries `before` it
    yield, each under the name of its relation.
    """
    queries_in_turn = {**(before or {}), "pair_candidates": query, "": "mined_pairs"}

    def run(table: pa.Table, params: BaseModel) -> pa.Table:
        pairs = answered_in_turn(queries_in_turn, {relation: table}, params, {"method": method, "kind": kind})
        return pairs.cast(RELATIONS["mined_pairs"])

    return Curation(params=params, reads=reads, writes=PAIRS, grain="table", run=run)


def step_miner(method: str, kind: str, params: type[TreeParams], query: str) -> Curation:
    """A miner whose query turns `tree_nodes` into `node_pairs`; the shared prefix is put before both sides."""
    return miner(method, kind, params, TREE_COLUMNS, "step_candidates", "tree_nodes", {"node_pairs": query})


def pair_judge(params: type[PairParams], reads: tuple[Column, ...], query: str, writes: pa.Schema) -> Curation:
    """A weight or filter over pairs (relation `known_pairs`): one row per pair, by position."""

    def run(table: pa.Table, params: BaseModel) -> pa.Table:
        return answered(query, {"known_pairs": table}, params).select(["position", *writes.names])

    return Curation(params=params, reads=reads, writes=writes, grain="rows", run=run)


def requiring(curation: Curation, *names: str) -> Curation:
    """The same method for tables that must have these columns too."""
    reads = (replace(column, is_required=column.is_required or column.name in names) for column in curation.reads)
    return replace(curation, reads=tuple(reads))


def reading_too(curation: Curation, relation: str, meanings: dict[str, str], *names: str) -> Curation:
    """The same method, which also looks at these columns where a table has them."""
    return replace(curation, reads=(*curation.reads, *columns(relation, {name: meanings[name] for name in names}, ())))
