"""Log-probabilities of given tokens under a session's model."""

import asyncio
from collections.abc import Sequence

from pipelines.inference.session import Session


async def score_tokens(session: Session, token_ids: Sequence[Sequence[int]]) -> list[tuple[float | None, ...]]:
    """For each sequence the natural log-probability of every token after those before it; None for the first.

    All sequences are in flight at once. Raises RequestError subclasses; a sequence needs one token less than the
    context holds. Scores are not kept in the response store.
    """
    return list(await asyncio.gather(*(session.score(ids) for ids in token_ids)))
