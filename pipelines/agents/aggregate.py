"""The meta-judge: several agents' judgements of one rollout -> one verdict with confidence and first error step.

The agents do not see each other (debate reduces diversity: MultiCritique, arXiv 2410.15287); the meta-judge is a
weighted vote, taken step by step. With wrong-share(i) = weight of the agents that call step i wrong / weight of the
agents that said anything of step i:

- verdict: `wrong` when the weighted share of agents that found an error exceeds `threshold`;
- first_error_step: the first step with wrong-share(i) > threshold; where the agents agree that something is wrong
  but no step gathers that share, the step with the largest one (the earliest of equals);
- confidence: weighted share of the agents whose own verdict is the aggregate's, in [0, 1].

A share "exceeds" the threshold when it is larger or when it is 1 (unanimous agents carry at any threshold).
Degenerate cases: one agent passes through with confidence 1; no readable agent gives no verdict (None), never "right".
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.agents.parse import NO_ERROR, RIGHT, WRONG, Judgement


@dataclass(frozen=True)
class Vote:
    """One agent's readable judgement with its weight (> 0)."""

    agent: str
    weight: float
    judgement: Judgement


@dataclass(frozen=True)
class Aggregate:
    """The meta-judge's conclusion on one rollout."""

    verdict: str  # right | wrong
    confidence: float  # [0, 1]
    first_error_step: int  # -1 = no error
    num_agents: int


def aggregate(votes: Sequence[Vote], threshold: float = 0.5) -> Aggregate | None:
    """Weighted vote over agents (module docstring). None when no agent could be read."""
    if not votes:
        return None
    total = sum(vote.weight for vote in votes)
    wrong = sum(vote.weight for vote in votes if vote.judgement.verdict == WRONG)
    verdict = WRONG if carries(wrong / total, threshold) else RIGHT
    agreeing = wrong if verdict == WRONG else total - wrong
    first = _first_error(votes, threshold) if verdict == WRONG else NO_ERROR
    return Aggregate(verdict, agreeing / total, first, len(votes))


def wrong_shares(votes: Sequence[Vote]) -> list[float]:
    """wrong-share(i) for every step some agent spoke of; steps nobody spoke of end the list."""
    num_steps = max((len(vote.judgement.step_verdicts) for vote in votes), default=0)
    shares = []
    for step in range(num_steps):
        spoke = [vote for vote in votes if len(vote.judgement.step_verdicts) > step]
        against = sum(vote.weight for vote in spoke if vote.judgement.step_verdicts[step] == WRONG)
        shares.append(against / sum(vote.weight for vote in spoke))
    return shares


def _first_error(votes: Sequence[Vote], threshold: float) -> int:
    shares = wrong_shares(votes)
    exceeding = [step for step, share in enumerate(shares) if carries(share, threshold)]
    return exceeding[0] if exceeding else shares.index(max(shares))


def carries(share: float, threshold: float) -> bool:
    """Whether a share exceeds the threshold (module docstring)."""
    return share > threshold or share == 1.0
