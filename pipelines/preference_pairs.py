"""rollouts, search_nodes, step_scores -> preference_pairs: what the configured miners propose, weighed and filtered.

By default sibling steps of the trees and whole rollouts. Every method is a `Curation` that also runs on a table of
anybody's; here the lake's tables are brought into the relations that they read.

Invariants: ids come from the texts, so the same pair has the same id in every run; the limit per problem holds for
each method on its own; a pair that two methods of one kind find is a pair of the first; gold steps are never read.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

import sql as queries
from pipelines.config import PairsConfig
from pipelines.consistency.scorer import LATEST
from pipelines.consistency.scorer import scorer_version as find_version
from pipelines.preference.methods import MINERS, Step, steps_of
from pipelines.search.extraction import step_nodes
from pipelines.tables import RELATIONS, SCHEMAS
from pipelines.warehouse import Warehouse

FOLDER = "preference_pairs/"
NO_SCORES = ""


@dataclass(frozen=True)
class PairTables:
    """The tables that pairs are made from; one that is not needed may be left out."""

    problems: pa.Table
    search_nodes: pa.Table
    rollouts: pa.Table
    step_scores: pa.Table | None = None
    token_scores: pa.Table | None = None
    critiques: pa.Table | None = None
    refinements: pa.Table | None = None

    def given(self) -> dict[str, pa.Table]:
        """Name -> table, for those that are there; nodes that are whole answers are no steps."""
        tables = {name: table for name, table in vars(self).items() if table is not None}
        return tables | {"search_nodes": step_nodes(self.search_nodes)}


@dataclass(frozen=True)
class MadePairs:
    """The pairs of a night and what became of those that are not among them."""

    pairs: pa.Table  # table `preference_pairs`
    num_mined: Mapping[str, int]  # name of the miner -> pairs that it made
    num_removed: Mapping[str, int]  # "<name of the filter>_<reason>" -> pairs


def build_pairs(
    problems: pa.Table,
    search_nodes: pa.Table,
    rollouts: pa.Table,
    step_scores: pa.Table | None,
    config: PairsConfig,
    night: str,
    *,
    source: str = "critic",
    scorer_version: str = LATEST,
    separator: str = "\n",
) -> pa.Table:
    """All `preference_pairs` of one night from the tables that the default methods read."""
    tables = PairTables(problems, search_nodes, rollouts, step_scores)
    return make_pairs(tables, config, night, source=source, scorer_version=scorer_version, separator=separator).pairs


def make_pairs(
    tables: PairTables,
    config: PairsConfig,
    night: str,
    *,
    source: str = "critic",
    scorer_version: str = LATEST,
    separator: str = "\n",
) -> MadePairs:
    """The pairs of one night; prompt = statement and shared prefix, every step ended by `separator`.

    Without step scores, or without scores of the named scorer, whole rollouts are paired by outcome alone. Raises
    ConfigError where a configured method or parameter is not one.
    """
    steps = steps_of(config, separator)
    scores = tables.step_scores
    version = None if scores is None else find_version(scores, source, scorer_version)
    params = {
        "source": source, "scorer_version": version or NO_SCORES, "separator": separator,
        "strong_model": config.strong_model, "weak_model": config.weak_model,
    }  # fmt: skip
    with Warehouse.over(tables.given()) as warehouse:
        relations = {
            relation: _relation(warehouse, relation, params)
            for relation in dict.fromkeys(step.relation for step in steps if step.method in MINERS)
        }
        mined = [_mined(step, relations[step.relation]) for step in steps if step.method in MINERS]
    pairs = pa.concat_tables(mined)
    pairs = pairs.set_column(0, "position", pa.array(range(pairs.num_rows), pa.int64()))
    num_mined = dict(Counter(pairs["method"].to_pylist()))
    removed: Counter[str] = Counter()
    with Warehouse.over({"mined_pairs": pairs}) as warehouse:
        rows = warehouse.named(FOLDER + "preference_pairs", night=night)
    return MadePairs(rows.cast(SCHEMAS["preference_pairs"]), num_mined, dict(removed))


def _relation(warehouse: Warehouse, relation: str, params: Mapping[str, object]) -> pa.Table:
    query = FOLDER + relation
    return warehouse.named(query, **{name: params[name] for name in queries.read(query).params}).cast(
        RELATIONS[relation]
    )


def _mined(step: Step, table: pa.Table) -> pa.Table:
    """The pairs of one miner under its configured name."""
    positions = pa.array(range(table.num_rows), pa.int64())
    pairs = step.curation.run(table.append_column("position", positions), step.params)
    names = pa.array([step.name] * pairs.num_rows, pa.string())
    return pairs.set_column(pairs.schema.get_field_index("method"), "method", names)


def pair_numbers(pairs: pa.Table, tables: PairTables) -> dict[str, float]:
    """What a night's pairs cover: `coverage`, the share of tonight's problems that have a pair, and
    `on_policy_share`, the share of pairs both of whose sides come from the policy of tonight's rollouts.

    A share of nothing is left out.
    """
    seen = pc.unique(pa.concat_arrays([pc.unique(tables.search_nodes["problem_id"]),
                                       pc.unique(tables.rollouts["problem_id"])]))  # fmt: skip
    policies = pc.unique(tables.rollouts["policy_version"]).drop_null()
    numbers = {}
    if len(seen):
        numbers["coverage"] = len(pc.unique(pairs["problem_id"])) / len(seen)
    if pairs.num_rows:
        ours = pc.and_(*(pc.is_in(pairs[side], value_set=policies) for side in ("chosen_policy", "rejected_policy")))
        numbers["on_policy_share"] = pc.sum(ours).as_py() / pairs.num_rows
    return numbers
