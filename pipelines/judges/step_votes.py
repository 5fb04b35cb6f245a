"""Several agents' verdicts on the steps of a rollout -> one verdict, on anybody's table.

The rule is the meta-judge's of the critique pipeline (`pipelines.agents.aggregate`): the verdict is `wrong` when the
weighted share of agents that found a wrong step exceeds `threshold`; the first error is the first step that this share
calls wrong, else the step with the largest one. Which threshold is best depends on the agents: on AgentProcessBench a
share chosen on other queries did far better than the majority (`tests/benchmarks/results/agents.md`).

Degenerate cases: a judgment without steps, with another word than right and wrong, or with a weight that is not above 0
is counted in `num_unreadable` and has no vote; of two judgments of one agent the first by position counts; a rollout
that nobody could read has no verdict and the reason `no_judgement`.
"""

import math
from collections import defaultdict
from collections.abc import Sequence

import pyarrow as pa
from pydantic import Field

from pipelines.agents.aggregate import Vote, aggregate, wrong_shares
from pipelines.agents.parse import NO_ERROR, RIGHT, WRONG, Judgement
from pipelines.config import Section
from pipelines.curation import Column, Curation

WRITES = pa.schema(
    [
        ("rollout_id", pa.string()),
        ("verdict", pa.string()),
        ("confidence", pa.float64()),
        ("first_error_step", pa.int64()),
        ("wrong_shares", pa.list_(pa.float64())),
        ("num_agents", pa.int64()),
        ("num_unreadable", pa.int64()),
        ("reason", pa.string()),
    ]
)


class StepVotesParams(Section):
    """Parameters of `step_votes`."""

    threshold: float = Field(0.5, ge=0.0, lt=1.0, description="share of agents that must be exceeded to call it wrong")


def vote_of(agent: str, weight: float | None, verdicts: Sequence[str | None] | None) -> Vote | None:
    """One agent's vote; None where it cannot be read. No weight is weight 1."""
    weight = 1.0 if weight is None else weight
    if not verdicts or any(verdict not in (RIGHT, WRONG) for verdict in verdicts) or not 0.0 < weight < math.inf:
        return None
    first = next((step for step, verdict in enumerate(verdicts) if verdict == WRONG), NO_ERROR)
    return Vote(agent, weight, Judgement(tuple(verdicts), first))


def run(table: pa.Table, params: StepVotesParams) -> pa.Table:
    """One row per rollout, by id."""
    given: dict[str | None, dict[str | None, Vote | None]] = defaultdict(dict)
    for row in table.sort_by("position").to_pylist():
        agents = given[row["rollout_id"]]
        agents.setdefault(row["agent"], vote_of(row["agent"], row["weight"], row["step_verdicts"]))
    rows = [
        _row(rollout_id, [vote for vote in agents.values() if vote is not None], len(agents), params.threshold)
        for rollout_id, agents in sorted(given.items(), key=lambda item: (item[0] is not None, item[0]))
    ]
    return pa.Table.from_pylist(rows, schema=WRITES)


def _row(
    rollout_id: str | None, votes: list[Vote], num_agents: int, threshold: float
) -> dict[str, str | float | int | list[float] | None]:
    unreadable = {"rollout_id": rollout_id, "num_agents": len(votes), "num_unreadable": num_agents - len(votes)}
    conclusion = aggregate(votes, threshold)
    if conclusion is None:
        return unreadable | {"reason": "no_judgement"}
    return unreadable | {
        "verdict": conclusion.verdict,
        "confidence": conclusion.confidence,
        "first_error_step": conclusion.first_error_step,
        "wrong_shares": wrong_shares(votes),
    }


CURATION = Curation(
    params=StepVotesParams,
    reads=(
        Column("rollout_id", pa.string(), "what was judged"),
        Column("agent", pa.string(), "who judged; one vote per agent and rollout"),
        Column("step_verdicts", pa.list_(pa.string()), "right | wrong for each step from the first; null: unreadable"),
        Column("weight", pa.float64(), "weight of the vote, above 0; null: 1", False),
    ),
    writes=WRITES,
    grain="table",
    run=run,
)
