"""Rewards for training critics, as columns of anybody's table of critiques: pure queries, no model.

The formulas stand in `sql/critiques/`. A critique that could not be read and a refinement that was not graded are no
zeros: the reward is null and `reason` says why. Critique-RL alone gives a missing verdict -1, as its released code
does, and says so too.

Degenerate cases: an empty table gives an empty table; a critique without refinements has no helpfulness; groups whose
grades are all equal have the advantage 0.
"""

from typing import Literal

import pyarrow as pa
from pydantic import BaseModel, Field

import sql as queries
from pipelines.config import Section
from pipelines.curation import DECISION, Column, Curation
from pipelines.preference.critiques import REFINEMENT
from pipelines.preference.mining import columns as relation_columns
from pipelines.tables import RELATIONS
from pipelines.warehouse import Warehouse

FOLDER = "critiques/"
REWARD = pa.schema([("reward", pa.float64()), ("reason", pa.string())])
JUDGED = {
    "rollout_id": "the criticised solution",
    "critique": "the critique's text; null: not known",
    "verdict": "right | wrong, what the critic said of the solution; anything else could not be read",
    "original_reward": "grade of the solution, 1 right, 0 wrong; null: not known",
    "refinement_rewards": "grades of the refinements made with the critique; null: none",
    "metric_before": "any metric of the solution, larger is better",
    "metric_after": "the same of the refinement",
}


class CritiqueRlParams(Section):
    """Parameters of Critique-RL."""

    stage: Literal[1, 2] = Field(2, description="1: discriminability alone; 2: helpfulness too")
    mode: Literal["refine", "delta", "correct"] = Field("refine", description="what of a refinement counts as help")
    bonus: float = Field(0.2, ge=0.0, le=10.0, description="stage 2: added to helpfulness where the verdict is right")


class RefCriticParams(Section):
    """Parameters of RefCritic."""

    balance_weight: float = Field(1.0, ge=0.0, le=1000.0, description="lambda: 0 in the first stage, 1 in the second")
    only_wrong: bool = Field(True, description="right solutions have no refinement reward (deduced, not stated)")


class CtrlParams(Section):
    """Parameters of CTRL."""

    min_share: float = Field(1.0, gt=0.0, le=1.0, description="share of right refinements that a critique needs")
    leaks: tuple[str, ...] = Field(("he hint",), description="texts that give away what the critic was told")
    balanced: bool = Field(True, description="thin by lot to the shares of right and wrong solutions")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of the lot")


class NoParams(Section):
    """A reward without parameters."""


class MetricGainParams(Section):
    """Parameters of the metric reward."""

    relative: bool = Field(False, description="reward the gain (PIT's gap) and not the metric afterwards (RL4F)")
    temperature: float = Field(1.0, gt=0.0, le=1000.0, description="gap at which the soft label is 1 / (1 + 1/e)")


class SpanRewardParams(Section):
    """Parameters of DRLC."""

    intrinsic_weight: float = Field(1.0, ge=0.0, le=1000.0, description="weight of the critic's verdicts on steps")
    outcome_weight: float = Field(1.0, ge=0.0, le=1000.0, description="weight of the outcome, at the last step")
    reward_right: bool = Field(False, description="steps that are called right have +1")


class CritiqueGrpoParams(Section):
    """Parameters of Critique-GRPO."""

    only_right: bool = Field(False, description="leave refinements out that are not right")


def over(
    relation: str,
    query: str,
    params: type[BaseModel],
    reads: tuple[Column, ...],
    writes: pa.Schema,
    grain: str = "rows",
) -> Curation:
    """A method that is a query of this folder over one relation; its parameters are those of the query, `salt` from
    the seed and the query's name.
    """

    def run(table: pa.Table, chosen: BaseModel) -> pa.Table:
        given = chosen.model_dump(mode="json")
        if "seed" in given:
            given["salt"] = f"{query}-{given['seed']}"
        values = {name: given[name] for name in queries.read(FOLDER + query).params}
        with Warehouse.over({relation: _complete(relation, table)}) as warehouse:
            made = warehouse.named(FOLDER + query, **values)
        place = [("position", pa.int64())] if grain == "rows" else []
        return made.cast(pa.schema([*place, *writes]))

    return Curation(params=params, reads=reads, writes=writes, grain=grain, run=run)


def columns(relation: str, meanings: dict[str, str], required: tuple[str, ...]) -> tuple[Column, ...]:
    """Columns of a relation with their meanings, `required` ones without stand-ins."""
    schema = RELATIONS[relation]
    return tuple(Column(name, schema.field(name).type, text, name in required) for name, text in meanings.items())


def _complete(relation: str, table: pa.Table) -> pa.Table:
    for field in RELATIONS[relation]:
        if field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(table.num_rows, field.type))
    return table


def _critique_reward(
    query: str, params: type[BaseModel], writes: pa.Schema, *names: str, optional: tuple[str, ...] = ()
) -> Curation:
    meanings = {name: JUDGED[name] for name in (*names, *optional)}
    return over("judged_critiques", query, params, columns("judged_critiques", meanings, names), writes)


def _with(*names: str) -> pa.Schema:
    return pa.schema([*((name, pa.float64()) for name in names), *REWARD])


CRITIQUE_RL = _critique_reward(
    "critique_rl", CritiqueRlParams, _with("discriminability", "helpfulness"), "verdict", "original_reward",
    optional=("refinement_rewards",),
)  # fmt: skip
REF_CRITIC = _critique_reward(
    "ref_critic", RefCriticParams, _with("verdict_reward", "refinement_reward"), "verdict", "original_reward",
    "refinement_rewards",
)  # fmt: skip
CTRL = _critique_reward(
    "ctrl", CtrlParams, DECISION, "rollout_id", "critique", "verdict", "original_reward", "refinement_rewards"
)
LABEL_MATCH = _critique_reward("label_match", NoParams, REWARD, "verdict", "original_reward")
METRIC_GAIN = _critique_reward(
    "metric_gain", MetricGainParams, _with("gap", "soft_label"), "metric_after", optional=("metric_before",)
)
SPAN_REWARDS = over(
    "judged_steps", "span_rewards", SpanRewardParams,
    columns(
        "judged_steps",
        {"step_verdicts": "right | wrong per step", "outcome_reward": "reward of the whole solution"},
        ("step_verdicts", "outcome_reward"),
    ),
    pa.schema([("step_rewards", pa.list_(pa.float64())), ("reason", pa.string())]),
)  # fmt: skip
CRITIQUE_GRPO = over(
    "refined_responses", "critique_grpo", CritiqueGrpoParams,
    relation_columns(
        "refined_responses",
        {name: text for name, text in REFINEMENT.items() if name != "policy"},
        tuple(name for name in REFINEMENT if name not in ("prompt", "policy")),
    ),
    pa.schema(
        [
            *((name, pa.string()) for name in ("problem_id", "response_id", "prompt", "response")),
            ("is_refinement", pa.bool_()),
            ("reward", pa.float64()),
            ("advantage", pa.float64()),
        ]
    ),
    "table",
)  # fmt: skip
