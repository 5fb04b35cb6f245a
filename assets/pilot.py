"""A pilot: a small part of tonight's work, really done, to predict the whole.

It asks for exactly what the night will ask for (same problems, seeds and prompts) through the same functions, and every
answer goes to the response store, so that the night replays it. No table is written.
"""

import asyncio
import math
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.compute as pc

from assets.critiques import critique_rounds
from assets.rollouts import NightPlan, explore, plan_night
from pipelines.agents.methods import MULTI_CRITIQUE
from pipelines.config import Settings
from pipelines.critiques import select_rollouts
from pipelines.errors import ReasonmillError
from pipelines.estimate import StageCosts, UnitCost, tokens_per_s, unit_cost
from pipelines.inference.session import Session
from pipelines.inference.types import Completion, GenerationRequest, ScoreRequest, TokenScores
from pipelines.lake import Lake
from pipelines.problem_rows import Rollouts
from pipelines.reasoning.metering import MeteredSession
from pipelines.records import TokenUsage, no_progress, stable_digest
from pipelines.rollouts import SAMPLES, SEARCH
from pipelines.warehouse import Warehouse

CRITIQUES, REFINEMENTS = "critiques", "refinements"
UNITS = {SEARCH: "problem", SAMPLES: "problem", CRITIQUES: "rollout", REFINEMENTS: "rollout"}


@dataclass
class StageMeter:
    """A session that counts what one unit of a stage asks for; refinements are told from the critiques before them."""

    session: Session
    stage: str
    _meters: dict[str, MeteredSession] = field(default_factory=dict)

    def metered(self) -> Session:
        """The session to work with."""
        return replace(self.session, generate=self._generate, score=self._score)

    def usage(self, stage: str) -> TokenUsage:
        """What a stage has cost so far; zero where it has asked for nothing."""
        return self._meters[stage].usage if stage in self._meters else TokenUsage()

    async def _generate(self, request: GenerationRequest) -> Completion:
        is_refinement = self.stage == CRITIQUES and request.purpose == "refine"
        return await self._meter(REFINEMENTS if is_refinement else self.stage).generate(request)

    async def _score(self, request: ScoreRequest) -> TokenScores:
        return await self._meter(self.stage).score(request)

    def _meter(self, stage: str) -> MeteredSession:
        return self._meters.setdefault(stage, MeteredSession(self.session))


async def run_pilot(
    session: Session, settings: Settings, lake: Lake, problems: pa.Table, night: str, num_problems: int
) -> list[StageCosts]:
    """Search, samples, critiques and refinements of `num_problems` of tonight's problems, and what they cost.

    No token limit is applied: a unit's cost is what it would be, not what was left. ReasonmillError when the night has
    no problem.
    """
    settings = settings.model_copy(update={"rollouts": settings.rollouts.model_copy(update={"max_total_tokens": None})})
    plan = plan_night(settings, settings.rollouts, lake, problems, night)
    sampling = _sampling(session, settings, plan)
    await _each(_only(plan.to_sample, 1), sampling)  # a fresh engine's first answers take longer than all later ones
    sampled, samples = await _each(_only(plan.to_sample, num_problems), sampling)
    searched, trees = await _each(_only(plan.to_search, num_problems), _searching(session, settings, plan))
    rollouts = pa.concat_tables([one.rollouts for one in samples]) if samples else None
    chosen = select_rollouts(problems, rollouts, settings.critiques.num_rollouts)[:num_problems] if samples else []
    ids = pa.array([rollout["rollout_id"] for _, rollout in chosen], pa.string())
    criticised, _ = await _each(ids, _criticising(session, settings, problems, rollouts, night))
    num_criticised = min(settings.critiques.num_rollouts, plan.to_sample.num_rows * settings.rollouts.group_size)
    measured = [
        (SEARCH, searched, _num_trees(plan, trees)),
        (SAMPLES, sampled, plan.to_sample.num_rows),
        (CRITIQUES, criticised, num_criticised if chosen else 0),
        (REFINEMENTS, criticised, num_criticised if chosen else 0),
    ]
    if not any(num_units for _, _, num_units in measured):
        raise ReasonmillError("There is nothing to estimate: the configured night searches and samples no problem.")
    return [_stage_costs(stage, run, num_units) for stage, run, num_units in measured]


def recorded_costs(settings: Settings, lake: Lake, problems: pa.Table, night: str) -> tuple[str, list[StageCosts]]:
    """The last recorded night before or at `night`, and its costs as a measurement of the night to come.

    ReasonmillError when no night has been recorded.
    """
    recorded = [partition for partition in lake.partitions("token_usage") if partition <= night]
    if not recorded:
        raise ReasonmillError(
            f"No night up to {night} has recorded what it cost; `reasonmill estimate` without --from-lake measures a "
            "pilot instead."
        )
    with Warehouse(lake, tables=["token_usage", CRITIQUES, REFINEMENTS]) as warehouse:
        rows = warehouse.named("rollouts/token_usage", night=recorded[-1]).to_pylist()
    costs: defaultdict[str, list[UnitCost]] = defaultdict(list)
    for row in rows:
        costs[row["stage"]].append(UnitCost(row["num_requests"], row["prompt_tokens"], row["completion_tokens"]))
    plan = plan_night(settings, settings.rollouts, lake, problems, night)
    num_criticised = min(settings.critiques.num_rollouts, plan.to_sample.num_rows * settings.rollouts.group_size)
    num_units = {SEARCH: plan.num_wanted, SAMPLES: plan.to_sample.num_rows}
    stages = [
        StageCosts(stage, unit, tuple(costs[stage]), num_units.get(stage, num_criticised) if costs[stage] else 0, None)
        for stage, unit in UNITS.items()
    ]
    return recorded[-1], stages


@dataclass(frozen=True)
class _Run:
    """Units that were measured side by side."""

    meters: tuple[StageMeter, ...]
    seconds: float


def _only(problems: pa.Table, num: int) -> pa.Array:
    """Ids of the first problems by a hash, so that the choice says nothing of the problem."""
    return pa.array(sorted(problems["problem_id"].to_pylist(), key=lambda key: stable_digest("pilot", key))[:num])


UnitWork = Callable[[str], tuple[StageMeter, Awaitable[object]]]
"""`work(unit_id)`: one problem's or rollout's part of a stage, and the meter that counts what it asks for."""


async def _each(ids: pa.Array, work: UnitWork) -> tuple[_Run, Sequence[object]]:
    """Runs the units side by side."""
    started = time.monotonic()
    begun = [work(unit_id) for unit_id in ids.to_pylist()]
    made = await asyncio.gather(*(awaitable for _, awaitable in begun))
    return _Run(tuple(meter for meter, _ in begun), time.monotonic() - started), made


def _searching(session: Session, settings: Settings, plan: NightPlan) -> UnitWork:
    def work(problem_id: str) -> tuple[StageMeter, Awaitable[object]]:
        meter = StageMeter(session, SEARCH)
        part = replace(plan, to_search=_with_id(plan.to_search, problem_id), num_wanted=1, to_sample=plan.to_sample[:0])
        return meter, explore(meter.metered(), settings, settings.rollouts, part, no_progress)

    return work


def _sampling(session: Session, settings: Settings, plan: NightPlan) -> UnitWork:
    def work(problem_id: str) -> tuple[StageMeter, Awaitable[Rollouts]]:
        meter = StageMeter(session, SAMPLES)
        part = replace(plan, to_sample=_with_id(plan.to_sample, problem_id), num_wanted=0, to_search=plan.to_search[:0])
        return meter, _second(explore(meter.metered(), settings, settings.rollouts, part, no_progress))

    return work


def _criticising(
    session: Session, settings: Settings, problems: pa.Table, rollouts: pa.Table | None, night: str
) -> UnitWork:
    """Rounds of multi_critique; other methods of agents look at groups, and what they cost is not predicted."""
    rounds = tuple(one for one in settings.critiques.methods if one.method == MULTI_CRITIQUE)
    config = settings.critiques.model_copy(update={"methods": rounds})

    def work(rollout_id: str) -> tuple[StageMeter, Awaitable[object]]:
        meter = StageMeter(session, CRITIQUES)
        one = rollouts.filter(pc.equal(rollouts["rollout_id"], rollout_id))
        criticise = critique_rounds(settings, config, problems, one, night)
        return meter, criticise(meter.metered(), on_progress=no_progress)

    return work


def _num_trees(plan: NightPlan, trees: Sequence[tuple[Rollouts, Rollouts]]) -> int:
    """Trees that the night will begin: with oversampling as many as the pilot's share of useful ones asks for."""
    num_useful = sum(searched.num_useful for searched, _ in trees)
    needed = math.ceil(plan.num_wanted * len(trees) / num_useful) if num_useful else plan.to_search.num_rows
    return min(needed, plan.to_search.num_rows)


async def _second(pair: Awaitable[tuple[object, Rollouts]]) -> Rollouts:
    return (await pair)[1]


def _with_id(problems: pa.Table, problem_id: str) -> pa.Table:
    return problems.filter(pc.equal(problems["problem_id"], problem_id))


def _stage_costs(stage: str, run: _Run, num_units: int) -> StageCosts:
    """Critiques and refinements run together, so that the rate of one is that of both."""
    usages = [meter.usage(stage) for meter in run.meters]
    together = [REFINEMENTS, CRITIQUES] if stage in (CRITIQUES, REFINEMENTS) else [stage]
    spent = sum((meter.usage(one) for meter in run.meters for one in together), TokenUsage())
    rate = tokens_per_s(spent.completion_tokens, spent.replayed_tokens, run.seconds)
    return StageCosts(stage, UNITS[stage], tuple(map(unit_cost, usages)), num_units, rate)
