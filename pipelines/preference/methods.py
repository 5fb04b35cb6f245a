"""The methods that `[[preference_pairs.methods]]` can name: miners, and weights and filters over their pairs.

A miner reads one relation, which `pipelines.preference_pairs` makes from the lake's tables; a weight or filter reads
the pairs with what is known of their sides (relation `known_pairs`). One of the user's own is a `Curation`: with
grain "table" and the columns of pairs in `writes` it is a miner of the first relation that has all columns it requires;
with grain "rows" and `kept, reason, score` in `writes` it judges pairs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError

from pipelines.config import PairMethodConfig, PairsConfig, allowed_values
from pipelines.curation import DECISION, Curation
from pipelines.errors import ConfigError, WorkspaceError
from pipelines.preference.annotations import ANNOTATIONS
from pipelines.preference.branch_points import BRANCH_POINTS
from pipelines.preference.critiques import CRITIQUE_PAIRS, REFINEMENT_PAIRS
from pipelines.preference.cycles import CONTRADICTIONS, CYCLES
from pipelines.preference.density_ratio import DENSITY_RATIO
from pipelines.preference.length_control import LENGTH_CONTROL
from pipelines.preference.lengths import LENGTH_BALANCE
from pipelines.preference.likelihoods import LIKELIHOOD_WEIGHTS, TOKEN_REWARDS, TOKEN_WEIGHTS
from pipelines.preference.mcts_dpo import MCTS_DPO
from pipelines.preference.mining import PAIRS
from pipelines.preference.mutual_taught import MUTUAL_TAUGHT
from pipelines.preference.policies import DISSATISFACTION, SOURCE_MODELS, TUNED_AGAINST_BASE
from pipelines.preference.ppm_steps import PPM_STEPS
from pipelines.preference.rejection_sampling import REJECTION_SAMPLING
from pipelines.preference.score_margins import REPLAY_SHARES, SCORE_MARGINS
from pipelines.preference.sibling_steps import SIBLING_STEPS
from pipelines.preference.strata import STRATA
from pipelines.preference.strength import STRENGTH
from pipelines.preference.tactics import TACTIC_PAIRS
from pipelines.preference.temporal_anchors import TEMPORAL_ANCHORS
from pipelines.preference.tree_paths import TREE_PATHS
from pipelines.preference.unpaired import UNPAIRED
from pipelines.preference.whole_rollouts import WHOLE_ROLLOUTS
from pipelines.preference.win_rates import WIN_RATES
from pipelines.rows import near_names
from pipelines.tables import RELATIONS

LoadMethodFn = Callable[[str], object]
"""A user's method by its reference (`my_pairs.py:METHOD` or an installed name)."""


@dataclass(frozen=True)
class Miner:
    """A miner and the relation that it reads."""

    curation: Curation
    relation: str


MINERS: Mapping[str, Miner] = {
    "sibling_step_pairs": Miner(SIBLING_STEPS, "tree_nodes"),
    "rollout_pairs": Miner(WHOLE_ROLLOUTS, "responses"),
    "ppm_step_pairs": Miner(PPM_STEPS, "tree_nodes"),
    "mcts_dpo_pairs": Miner(MCTS_DPO, "tree_nodes"),
    "tree_path_pairs": Miner(TREE_PATHS, "tree_nodes"),
    "branch_point_pairs": Miner(BRANCH_POINTS, "responses"),
    "rso": Miner(REJECTION_SAMPLING, "responses"),
    "dno_pairs": Miner(SCORE_MARGINS, "responses"),
    "temporal_pairs": Miner(TEMPORAL_ANCHORS, "responses"),
    "density_ratio_pairs": Miner(DENSITY_RATIO, "responses"),
    "wrpo_pairs": Miner(SOURCE_MODELS, "responses"),
    "tuned_against_base": Miner(TUNED_AGAINST_BASE, "responses"),
    "mutual_taught": Miner(MUTUAL_TAUGHT, "shifted_responses"),
    "stratified_pairs": Miner(STRATA, "responses"),
    "marv_critique_pairs": Miner(CRITIQUE_PAIRS, "critique_outcomes"),
    "refinement_pairs": Miner(REFINEMENT_PAIRS, "refined_responses"),
}
"""Method -> what proposes pairs."""

JUDGES: Mapping[str, Curation] = {
    "preference_strength": STRENGTH,
    "length_balance": LENGTH_BALANCE,
    "contradictions": CONTRADICTIONS,
    "intransitive_pairs": CYCLES,
    "likelihood_weights": LIKELIHOOD_WEIGHTS,
}
"""Method -> what weighs, turns round or removes pairs."""

ON_TABLES: Mapping[str, Curation] = {
    "spo_pairs": WIN_RATES,
    "drift_pairs": DISSATISFACTION,
    "tactic_pairs": TACTIC_PAIRS,
    "annotator_strengths": ANNOTATIONS,
    "replay_shares": REPLAY_SHARES,
    "length_controlled_rates": LENGTH_CONTROL,
    "unpaired": UNPAIRED,
    "token_rewards": TOKEN_REWARDS,
    "token_weights": TOKEN_WEIGHTS,
}
"""Methods whose columns the lake does not have: they run on a table of the user's own only."""


def curation_named(name: str) -> Curation:
    """The curation of a method by name, whatever kind of method it is."""
    return MINERS[name].curation if name in MINERS else {**JUDGES, **ON_TABLES}[name]


SOURCES = {
    "tree_nodes": ("problems", "search_nodes", "rollouts"),
    "responses": ("problems", "rollouts", "step_scores"),
    "shifted_responses": ("problems", "rollouts", "step_scores"),
    "critique_outcomes": ("problems", "rollouts", "critiques", "refinements"),
    "refined_responses": ("problems", "rollouts", "refinements"),
    "known_pairs": ("rollouts", "step_scores", "critiques", "token_scores"),
}
"""Relation -> tables of the lake that it is made from."""

MINED = tuple(relation for relation in SOURCES if relation not in ("known_pairs", "shifted_responses"))
"""Relations that miners read, the nearest to a tree first."""


@dataclass(frozen=True)
class Step:
    """One configured method, ready to run."""

    name: str
    method: str
    curation: Curation
    relation: str
    params: BaseModel
    is_miner: bool  # else it judges pairs


def steps_of(config: PairsConfig, separator: str = "\n", load: LoadMethodFn | None = None) -> tuple[Step, ...]:
    """The configured methods in their order; `load` finds those of the user's own. ConfigError for an unknown method or
    parameter, a value out of bounds, a name that is used twice, a miner behind a filter, or a list without a miner."""
    steps = tuple(_step(index, one, config, separator, load) for index, one in enumerate(config.methods))
    names = [step.name for step in steps]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(
                f'preference_pairs.methods has the name "{name}" {names.count(name)} times; give each its own `name`.'
            )
    are_miners = [step.is_miner for step in steps]
    if not are_miners[0]:
        raise ConfigError(
            f'preference_pairs.methods begins with "{steps[0].method}", which works on pairs; name a method that makes '
            f"some before it: {', '.join(MINERS)}."
        )
    if are_miners != sorted(are_miners, reverse=True):
        late = steps[are_miners.index(True, are_miners.index(False))]
        raise ConfigError(
            f'preference_pairs.methods has "{late.name}", which makes pairs, behind a weight or filter, which would '
            "not see its pairs; put it before them."
        )
    return steps


def tables_of(config: PairsConfig, load: LoadMethodFn | None = None) -> tuple[str, ...]:
    """Tables of the lake that the configured methods read, those of the default methods always among them."""
    steps = steps_of(config, load=load)
    needed = [*SOURCES["tree_nodes"], "step_scores", *(table for step in steps for table in SOURCES[step.relation])]
    if any(step.method == "density_ratio_pairs" for step in steps):
        needed.append("token_scores")
    return tuple(dict.fromkeys(needed))


def compares_policies(config: PairsConfig, load: LoadMethodFn | None = None) -> bool:
    """Whether a configured method reads the samples of the policy before the last update, too."""
    return any(step.relation == "shifted_responses" for step in steps_of(config, load=load))


def _step(index: int, entry: PairMethodConfig, config: PairsConfig, separator: str, load: LoadMethodFn | None) -> Step:
    key = f"preference_pairs.methods[{index}]"
    if entry.method in MINERS:
        curation, relation = MINERS[entry.method].curation, MINERS[entry.method].relation
    elif entry.method in JUDGES:
        curation, relation = JUDGES[entry.method], "known_pairs"
    else:
        curation, relation = _own_method(key, entry.method, load)
    name = entry.name or entry.method.rpartition(":")[2]
    params = _params(key, entry, curation, config, separator)
    return Step(name, entry.method, curation, relation, params, is_miner=relation != "known_pairs")


def _own_method(key: str, reference: str, load: LoadMethodFn | None) -> tuple[Curation, str]:
    """A method of the user's own and the relation that it reads."""
    unknown = f'{key}.method = "{reference}" is no method over pairs; {near_names(reference, [*MINERS, *JUDGES])}'
    if load is None or reference in ON_TABLES:
        raise ConfigError(unknown)
    try:
        found = load(reference)
    except WorkspaceError as error:
        raise ConfigError(f"{unknown} {error}" if ":" not in reference else f"{key}.method: {error}") from error
    if not isinstance(found, Curation):
        raise ConfigError(
            f"{key}.method = {reference!r} is a {type(found).__name__}; a pipelines.curation.Curation is needed there."
        )
    needed = {column.name for column in found.reads if column.is_required}
    if found.grain == "rows" and set(DECISION.names) <= set(found.writes.names):
        relations = ("known_pairs",)
    else:
        relations = MINED if found.grain == "table" and set(PAIRS.names) <= set(found.writes.names) else ()
    fitting = [relation for relation in relations if needed <= set(RELATIONS[relation].names)]
    if not fitting:
        raise ConfigError(
            f'{key}.method = {reference!r} neither makes nor judges pairs. A miner has grain "table", writes '
            f'{", ".join(PAIRS.names)} and reads columns of one of {", ".join(MINED)}; a judge has grain "rows", '
            f"writes {', '.join(DECISION.names)} and reads columns of known_pairs. It requires "
            f"{', '.join(sorted(needed)) or 'none'}."
        )
    return found, fitting[0]


def _params(key: str, entry: PairMethodConfig, curation: Curation, config: PairsConfig, separator: str) -> BaseModel:
    """The method's parameters: its own defaults, then those of the section, then what the entry sets."""
    fields = curation.params.model_fields
    for name in entry.parameters:
        if name not in fields:
            raise ConfigError(
                f'The method "{entry.method}" has no parameter "{name}" (key {key}.parameters.{name}); '
                f"{near_names(name, fields)}"
            )
    shared = {"separator": separator} | {name: getattr(config, name) for name in type(config).model_fields}
    given = {name: value for name, value in shared.items() if name in fields} | entry.parameters
    try:
        return curation.params.model_validate(given, strict=True)
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        value = given.get(name, "nothing")
        raise ConfigError(
            f"{key}.parameters.{name} = {value!r} is not possible; allowed is {allowed_values(fields[name])} "
            f"({fields[name].description})."
        ) from error
