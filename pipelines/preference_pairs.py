"""rollouts, search_nodes, step_scores -> preference_pairs, pair_results: what miners propose, weighed and filtered.

By default sibling steps of the trees and whole rollouts. Every method is a `Curation` that also runs on a table of
anybody's; here the lake's tables are brought into the relations that they read.

Invariants: ids come from the texts, so the same pair has the same id in every run; the limit per problem holds for
each method on its own; a pair that two methods of one kind find is a pair of the first; gold steps are never read;
every mined pair is a row of `pair_results`, kept or with the filter that removed it and its reason.
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
from pipelines.errors import ReasonmillError
from pipelines.preference.methods import LoadMethodFn, Step, steps_of
from pipelines.preference.mining import PAIRS
from pipelines.search.extraction import step_nodes
from pipelines.tables import RELATIONS, SCHEMAS
from pipelines.warehouse import Warehouse

FOLDER = "preference_pairs/"
NO_SCORES = ""
DISTINCT, DUPLICATE = "distinct", "duplicate"
DENSITY_RATIO, POLICY = "density_ratio_pairs", "policy"


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
    earlier_rollouts: pa.Table | None = None  # of the policy before its last update
    earlier_scores: pa.Table | None = None  # of their steps, by the scorer of step_scores

    def given(self) -> dict[str, pa.Table]:
        """Name -> table, for those that are there; nodes that are whole answers are no steps."""
        tables = {name: table for name, table in vars(self).items() if table is not None}
        earlier = {name: RELATIONS[name].empty_table() for name in ("earlier_rollouts", "earlier_scores")}
        return earlier | tables | {"search_nodes": step_nodes(self.search_nodes)}


@dataclass(frozen=True)
class MadePairs:
    """The pairs of a night and what became of those that are not among them."""

    pairs: pa.Table  # table `preference_pairs`
    results: pa.Table  # table `pair_results`
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
    load: LoadMethodFn | None = None,
) -> MadePairs:
    """The pairs of one night; prompt = statement and shared prefix, every step ended by `separator`.

    `load` finds methods of the user's own by their references.
    Without step scores, or without scores of the named scorer, whole rollouts are paired by outcome alone. Raises
    ConfigError where a configured method or parameter is not one.
    """
    steps = steps_of(config, separator, load)
    scores = tables.step_scores
    version = None if scores is None else find_version(scores, source, scorer_version)
    params = {
        "source": source, "scorer_version": version or NO_SCORES, "separator": separator,
        "strong_model": config.strong_model, "weak_model": config.weak_model,
    }  # fmt: skip
    if any(step.method == DENSITY_RATIO for step in steps):
        _check_models(tables, config)
    with Warehouse.over(tables.given()) as warehouse:
        relations = {
            relation: _relation(warehouse, relation, params)
            for relation in dict.fromkeys(step.relation for step in steps if step.is_miner)
        }
        pairs = pa.concat_tables(_mined(step, relations[step.relation]) for step in steps if step.is_miner)
        pairs = pairs.set_column(0, "position", pa.array(range(pairs.num_rows), pa.int64()))
        num_mined = Counter(pairs["method"].to_pylist())
        warehouse.hold("all_pairs", pairs)
        pairs, doubles = _distinct(pairs, warehouse)
        removals = [doubles]
        for step in steps:
            if not step.is_miner:
                pairs, removed = _judged(step, pairs, warehouse, params)
                removals.append(removed)
        pairs, doubles = _distinct(pairs, warehouse)
        removals.append(doubles)
        warehouse.hold("mined_pairs", pairs)
        warehouse.hold("pair_removals", pa.concat_tables(removals))
        rows = warehouse.named(FOLDER + "preference_pairs", night=night)
        results = warehouse.named(FOLDER + "pair_results", night=night)
    num_removed = Counter(
        f"{name}_{reason}"
        for removed in removals
        for name, reason in zip(removed["filter"].to_pylist(), removed["reason"].to_pylist(), strict=True)
        if name != DISTINCT
    )
    made = rows.cast(SCHEMAS["preference_pairs"]), results.cast(SCHEMAS["pair_results"])
    return MadePairs(*made, dict(num_mined), dict(num_removed))


def _check_models(tables: PairTables, config: PairsConfig) -> None:
    """ReasonmillError where a model of the density ratio scored no tokens tonight."""
    scored = set() if tables.token_scores is None else set(tables.token_scores["model_id"].to_pylist())
    policies = set(tables.rollouts["policy_id"].to_pylist()) - {None}
    for key in ("strong_model", "weak_model"):
        name = getattr(config, key)
        if scored.isdisjoint(policies if name == POLICY else {name}):
            raise ReasonmillError(
                f'{DENSITY_RATIO} needs token scores of preference_pairs.{key} = "{name}", but token_scores of this '
                f"night hold {', '.join(sorted(scored)) or 'none'}; name the model in token_scores.models too."
            )


def _relation(warehouse: Warehouse, relation: str, params: Mapping[str, object]) -> pa.Table:
    query = FOLDER + relation
    return warehouse.named(query, **{name: params[name] for name in queries.read(query).params}).cast(
        RELATIONS[relation]
    )


def _mined(step: Step, table: pa.Table) -> pa.Table:
    """The pairs of one miner under its configured name."""
    pairs = step.curation.run(table, step.params).select(PAIRS.names).cast(PAIRS)
    names = pa.array([step.name] * pairs.num_rows, pa.string())
    named = pairs.set_column(pairs.schema.get_field_index("method"), "method", names)
    return named.add_column(0, "position", pa.array(range(pairs.num_rows), pa.int64()))


def _distinct(pairs: pa.Table, warehouse: Warehouse) -> tuple[pa.Table, pa.Table]:
    """The pairs, each once, and those that were there before as relation pair_removals."""
    warehouse.hold("mined_pairs", pairs)
    left = warehouse.named(FOLDER + "distinct_pairs").cast(RELATIONS["mined_pairs"])
    gone = pairs["position"].filter(pc.invert(pc.is_in(pairs["position"], value_set=left["position"])))
    return left, _removals(DISTINCT, gone, [DUPLICATE] * len(gone), pa.nulls(len(gone), pa.float64()))


def _removals(name: str, positions: pa.ChunkedArray, reasons: object, scores: object) -> pa.Table:
    """Relation pair_removals of one filter."""
    names = pa.array([name] * len(positions), pa.string())
    return pa.table([positions, names, reasons, scores], schema=RELATIONS["pair_removals"])


def _judged(
    step: Step, pairs: pa.Table, warehouse: Warehouse, params: Mapping[str, object]
) -> tuple[pa.Table, pa.Table]:
    """The pairs that a weight or filter leaves, and those that it removed as relation pair_removals."""
    warehouse.hold("mined_pairs", pairs)
    decisions = step.curation.run(_relation(warehouse, "known_pairs", params), step.params)
    for field in RELATIONS["pair_decisions"]:
        if field.name not in decisions.column_names:
            decisions = decisions.append_column(field, pa.nulls(decisions.num_rows, field.type))
    warehouse.hold("pair_decisions", decisions)
    left = warehouse.named(FOLDER + "decided_pairs").cast(RELATIONS["mined_pairs"])
    gone = decisions.filter(pc.is_valid(decisions["reason"]))
    return left, _removals(step.name, gone["position"], gone["reason"], gone["score"].cast(pa.float64()))


def pair_numbers(made: MadePairs, tables: PairTables) -> dict[str, float]:
    """A night's pairs in numbers: `num_step_pairs` and `num_rollout_pairs`, those of the two usual kinds;
    `num_mined_<method>` and `num_removed_<filter>_<reason>`; `coverage`, the share of tonight's problems that have a
    pair; `on_policy_share`, the share of pairs both of whose sides come from the policy of tonight's rollouts;
    `chosen_longer_share`, the share of pairs of unequal length whose chosen side is the longer one.

    A share of nothing is left out.
    """
    pairs = made.pairs
    kinds = pairs["kind"].to_pylist()
    numbers = {f"num_{kind}_pairs": kinds.count(kind) for kind in ("step", "rollout")}
    numbers |= {f"num_mined_{name}": count for name, count in made.num_mined.items()}
    numbers |= {f"num_removed_{reason}": count for reason, count in made.num_removed.items()}
    seen = set(tables.search_nodes["problem_id"].to_pylist()) | set(tables.rollouts["problem_id"].to_pylist())
    if seen:
        numbers["coverage"] = pc.count_distinct(pairs["problem_id"]).as_py() / len(seen)
    if pairs.num_rows:
        policies = pc.unique(tables.rollouts["policy_version"]).drop_null()
        ours = pc.and_(*(pc.is_in(pairs[side], value_set=policies) for side in ("chosen_policy", "rejected_policy")))
        numbers["on_policy_share"] = pc.sum(ours).as_py() / pairs.num_rows
    chosen, rejected = (pc.utf8_length(pairs[side]) for side in ("chosen", "rejected"))
    num_longer, num_unequal = (pc.sum(test(chosen, rejected)).as_py() for test in (pc.greater, pc.not_equal))
    if num_unequal:
        numbers["chosen_longer_share"] = num_longer / num_unequal
    return numbers
