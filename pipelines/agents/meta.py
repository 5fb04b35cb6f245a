"""The meta-critique: is each unit of a critique right?

By its peers (no further request): with the weights of the other agents that said anything of the unit's step,

    support = weight of those that call it wrong too / weight of all of them
    category: confirmed (support > 1/2) | contested | unheard (nobody else spoke of the step; support null)

and for a whole critique, the sum over the steps that it spoke of, right or wrong, of the share of the others that
contradict it there: `quality = -sum`, so that overlooking an error costs like a false alarm. Null where nobody else
could be read.

By a model: one request per unit, answered with one of CATEGORIES and a severity from 1 to 5 of what is wrong with the
unit; `quality = -sum of the severities` of the units that are not flawless, null without units (a critique that found
nothing shows a model nothing to judge) and where an answer could not be read. MultiCritique (arXiv 2410.15287) has
seven classes, whose names we could not find; the seven here are ours.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.agents.aggregate import Vote
from pipelines.agents.parse import WRONG
from pipelines.agents.units import Unit

CONFIRMED, CONTESTED, UNHEARD = "confirmed", "contested", "unheard"
FLAWLESS = "flawless"
CATEGORIES = (FLAWLESS, "no_flaw", "wrong_location", "wrong_reason", "wrong_suggestion", "too_vague", "off_topic")
KEPT = (CONFIRMED, UNHEARD, FLAWLESS, "wrong_suggestion", "too_vague")
"""Categories whose flaw is real; a suggestion that is wrong is replaced or left out."""
META_REGEX = rf"({'|'.join(CATEGORIES)}) [1-5]\n"
_ANSWER = re.compile(rf"\s*\**({'|'.join(CATEGORIES)})\**[\s:,(]+([1-5])\b")


@dataclass(frozen=True)
class MetaCritique:
    """What is said of one unit."""

    category: str | None  # None = it could not be read, or the request failed
    support: float | None  # peers: weighted share of the others that agree, [0, 1]; None = nobody else spoke
    severity: int | None  # model: how bad the unit is, 1..5; None = by peers
    error: str | None = None

    @property
    def is_kept(self) -> bool:
        """The unit's flaw is taken for real; what could not be judged is not."""
        return self.category in KEPT


def by_peers(unit: Unit, agent: str, votes: Sequence[Vote]) -> MetaCritique:
    """What the other agents' step verdicts say of a unit."""
    contradiction = _share_against(unit.step, WRONG, agent, votes)
    if contradiction is None:
        return MetaCritique(UNHEARD, None, None)
    return MetaCritique(CONFIRMED if contradiction < 0.5 else CONTESTED, 1.0 - contradiction, None)


def quality_by_peers(vote: Vote, votes: Sequence[Vote]) -> float | None:
    """Minus the sum over steps of the share of the others that contradict (module docstring)."""
    shares = [_share_against(step, said, vote.agent, votes) for step, said in enumerate(vote.judgement.step_verdicts)]
    heard = [share for share in shares if share is not None]
    return 0.0 - sum(heard) if heard else None


def read_meta(text: str) -> MetaCritique:
    """A model's answer; its reason where it cannot be read."""
    found = _ANSWER.match(text[:200])
    if found is None:
        return MetaCritique(None, None, None, "unreadable: no_category")
    return MetaCritique(found[1], None, int(found[2]))


def quality_by_model(metas: Sequence[MetaCritique]) -> float | None:
    """Minus the sum of the severities of what is not flawless; None without units or with one that was not judged."""
    if not metas or any(meta.category is None for meta in metas):
        return None
    return 0.0 - sum(meta.severity for meta in metas if meta.category != FLAWLESS)


def _share_against(step: int, said: str, agent: str, votes: Sequence[Vote]) -> float | None:
    """Weighted share of the others that spoke of the step and said something else; None when nobody else spoke."""
    others = [vote for vote in votes if vote.agent != agent and len(vote.judgement.step_verdicts) > step]
    if not others:
        return None
    against = sum(vote.weight for vote in others if vote.judgement.step_verdicts[step] != said)
    return against / sum(vote.weight for vote in others)
