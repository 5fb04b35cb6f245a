"""A configured filter as one function over samples, and lists of filters that follow each other.

A filter is a method of the catalogue whose curation judges rollouts, a curation of the user's own, or a plain function
of theirs. Whatever it is, it sees only rollouts that take part: finished, in a group, and scored step by step where it
reads step scores. What it keeps without a grade is rejected as `ungraded`, because no advantage could be computed.
"""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ValidationError

from pipelines.catalogue import METHODS
from pipelines.config import ConsistencyMethodConfig, allowed_values
from pipelines.consistency.own_filter import FilterFn, run_own_filter
from pipelines.curation import DECISION, Curation
from pipelines.errors import ConfigError, WorkspaceError
from pipelines.tables import RELATIONS
from pipelines.warehouse import Rows

LoadFilterFn = Callable[[str], FilterFn | Curation]
"""A user's filter by its reference (`my_filters.py:function` or an installed name)."""

INPUT_COLUMNS = [
    "rollout_id", "problem_id", "group_id", "policy_id", "steps", "answer", "outcome_reward", "num_tokens",
    "sum_logprob", "finish_reason", "error",
]  # fmt: skip
SAMPLE_COLUMNS = [name for name in RELATIONS["samples"].names if name != "position"]


@dataclass(frozen=True)
class Filter:
    """`judge(samples)` gets rows of the relation `samples`, and gives `kept, reason, score` of each in their order."""

    name: str
    judge: Callable[[pa.Table], pa.Table]
    reads: tuple[str, ...]  # columns of `samples` beside those that name a rollout and say whether it takes part

    @property
    def reads_scores(self) -> bool:
        return "step_values" in self.reads


@dataclass(frozen=True)
class OwnInputs:
    """What a plain function of the user's gets: rollouts, and the step scores of one scorer. Read when it is called."""

    all_rollouts: Rows
    all_scores: Rows
    source: str = ""
    scorer_version: str | None = None  # None: nothing was scored

    @cached_property
    def rollouts(self) -> pa.Table:
        """INPUT_COLUMNS of all rollouts."""
        rows = self.all_rollouts
        return rows.select(INPUT_COLUMNS) if isinstance(rows, pa.Table) else rows.to_table(INPUT_COLUMNS)

    @cached_property
    def step_scores(self) -> pa.Table:
        """The scores of the one scorer."""
        is_its = (pc.field("source") == self.source) & (pc.field("scorer_version") == (self.scorer_version or ""))
        rows = self.all_scores.filter(is_its)
        return rows if isinstance(rows, pa.Table) else rows.to_table()


def judging_methods() -> dict[str, Curation]:
    """The methods of the catalogue that can filter rollouts of the lake, by name."""
    return {
        name: method.curation
        for name, method in sorted(METHODS.items())
        if method.curation is not None and _judges_samples(method.curation)
    }


def _own_filter(method: ConsistencyMethodConfig, load_filter: LoadFilterFn, known: Iterable[str]) -> object:
    """What stands behind the user's reference; a name that is nobody's may be a built-in one misspelt."""
    try:
        return load_filter(method.reference)
    except WorkspaceError as error:
        near = difflib.get_close_matches(method.reference, known, n=3)
        if not near:
            raise
        raise ConfigError(f'consistency method "{method.name}": did you mean {" or ".join(near)}? {error}') from error


def _judges_samples(curation: Curation) -> bool:
    needed = {column.name for column in curation.reads if column.is_required}
    return (
        curation.grain == "rows" and set(DECISION.names) <= set(curation.writes.names) and needed <= {*SAMPLE_COLUMNS}
    )


def filter_of(method: ConsistencyMethodConfig, load_filter: LoadFilterFn | None, own: OwnInputs) -> Filter:
    """The filter that a [[consistency.methods]] table names; ConfigError where it or a parameter is wrong."""
    known = judging_methods()
    if method.reference in known:
        return _catalogue_filter(method, known[method.reference])
    if load_filter is None or not _may_be_own(method.reference):
        near = difflib.get_close_matches(method.reference, known, n=3) or known
        raise ConfigError(
            f'consistency method "{method.name}" has the filter "{method.reference}", which is not built in; there is '
            f"{', '.join(near)}. A filter of yours is written as my_filters.py:function."
        )
    found = _own_filter(method, load_filter, known)
    if isinstance(found, Curation):
        if not _judges_samples(found):
            raise ConfigError(
                f'consistency method "{method.name}": {method.reference} cannot filter rollouts. It must have grain '
                f'"rows", make {", ".join(DECISION.names)} and read only {", ".join(SAMPLE_COLUMNS)}.'
            )
        return _catalogue_filter(method, found)
    if method.parameters:
        raise ConfigError(
            f'consistency method "{method.name}": the function {method.reference} takes no parameters; write a '
            "pipelines.curation.Curation to have some."
        )
    return Filter(method.name, lambda samples: _judge_by_own(found, samples, own, method.name), reads=())


def _may_be_own(reference: str) -> bool:
    """Every other name of the catalogue is a mistake: the method exists, but judges no rollouts."""
    return reference not in METHODS


def _catalogue_filter(method: ConsistencyMethodConfig, curation: Curation) -> Filter:
    params = params_of(method, curation.params)
    names = [column.name for column in curation.reads]

    def judge(samples: pa.Table) -> pa.Table:
        rows = samples.select([name for name in names if name in samples.column_names])
        for column in curation.reads:
            if column.name not in rows.column_names:
                rows = rows.append_column(column.name, pa.nulls(rows.num_rows, column.kind))
        rows = rows.append_column("position", pa.array(np.arange(rows.num_rows)))
        return curation.run(rows, params).sort_by("position").select(DECISION.names).cast(DECISION)

    return Filter(method.name, judge, tuple(name for name in names if name in SAMPLE_COLUMNS))


def params_of(method: ConsistencyMethodConfig, model: type[BaseModel]) -> BaseModel:
    """The method's parameters; ConfigError names the key, near keys, and what a value may be."""
    where = f'consistency method "{method.name}"'
    for key in method.parameters:
        if key not in model.model_fields:
            near = difflib.get_close_matches(key, model.model_fields, n=3, cutoff=0.4) or model.model_fields
            raise ConfigError(
                f'{where}: the filter "{method.reference}" has no parameter "{key}" (key '
                f"consistency.methods.parameters.{key}). It has {', '.join(near) or 'none'}."
            )
    try:
        return model.model_validate(method.parameters)
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:
            raise ConfigError(f"{where} (keys consistency.methods.parameters): {first['msg']}.") from None
        key = str(first["loc"][0])
        wrong = (
            f"{key} = {method.parameters[key]!r} is not possible" if key in method.parameters else f"{key} is missing"
        )
        raise ConfigError(
            f"{where}: {wrong} (key consistency.methods.parameters.{key}); {key} is "
            f"{allowed_values(model.model_fields[key])}."
        ) from None


def _judge_by_own(function: FilterFn, samples: pa.Table, own: OwnInputs, name: str) -> pa.Table:
    """A plain function gets graded rollouts only."""
    is_graded = pc.is_valid(samples["outcome_reward"])
    ids = samples["rollout_id"].filter(is_graded)
    rollouts = own.rollouts.filter(pc.is_in(own.rollouts["rollout_id"], ids))
    answer = run_own_filter(function, rollouts, own.step_scores, name)
    by_sample = pc.index_in(samples["rollout_id"], rollouts["rollout_id"])
    kept = pc.fill_null(answer["kept"].take(by_sample), False)
    reason = pc.if_else(is_graded, answer["reason"].take(by_sample), "ungraded")
    return pa.table([kept, reason, answer["score"].take(by_sample)], schema=DECISION)


def judge_in_turn(samples: pa.Table, filters: tuple[Filter, ...]) -> pa.Table:
    """`kept, reason, score` of every sample: each filter judges only what those before it kept.

    The reason is that of the first filter that rejected the sample; the score is the last filter's, and null where that
    did not see the sample.
    """
    reason = samples["exclusion"].combine_chunks()
    scores = pa.nulls(samples.num_rows, pa.float64())
    for number, one in enumerate(filters, start=1):
        if one.reads_scores:
            reason = pc.if_else(pc.is_null(reason), samples["score_exclusion"].combine_chunks(), reason)
        takes_part = pc.is_null(reason)
        seen = samples.filter(takes_part)
        if seen.num_rows == 0:
            break
        answer = one.judge(seen).combine_chunks()
        graded = pc.or_(pc.invert(answer["kept"]), pc.is_valid(seen["outcome_reward"]))
        reasons = pc.if_else(graded, answer["reason"], "ungraded").combine_chunks()
        reason = pc.replace_with_mask(reason, takes_part, reasons)
        if number == len(filters):
            scores = pc.replace_with_mask(scores, takes_part, answer["score"].combine_chunks())
    return pa.table([pc.is_null(reason), reason, scores], schema=DECISION)
