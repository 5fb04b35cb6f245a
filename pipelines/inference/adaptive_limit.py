"""How much may be asked for at once: one limit for all engines, which follows how they are doing.

Too little leaves the engines idle, too much makes requests wait in their queues (where they spend their time-outs) or
makes an engine set sequences aside and compute them again (preemption). `next_limit` is the rule, additive increase
and multiplicative decrease as in TCP (Chiu and Jain, 1989), looked at once per interval:

    refused or preempted                      limit <- 3/4 limit
    more than half of it only waits           limit <- 7/8 limit
    answers take three times their usual      limit <- 7/8 limit      (only for engines that do not tell their queue)
    it was used up, and the cache has room    limit <- limit + 1/16 ceiling, or twice the limit before its first cut
    otherwise                                 unchanged: what is not used up says nothing

A queue as long as the batch is wanted: it keeps the batch full when requests for many samples end at once. (With a
quarter of the limit instead of half, the limit fell below what a batch of such requests needs, and best of n lost a
tenth of the engine.) The rule starts at half of the ceiling, and doubles until it is cut for the first time ("slow
start"): an engine that can do it all waits one interval for it, not eight.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

DECREASE_ON_DISTRESS = 3 / 4  # refused or preempted
DECREASE_ON_QUEUE = 7 / 8
LONGEST_QUEUE = 1 / 2  # of the limit
SLOW = 3.0  # times the usual seconds per answer
FULL_CACHE = 0.95
NUM_INCREASES = 16  # from nothing to the ceiling
SMALLEST_LIMIT = 8  # samples


@dataclass(frozen=True)
class Health:
    """What all engines together showed during one interval."""

    num_refusals: int  # answers 429 and 503
    num_preemptions: int  # sequences set aside for want of cache; 0 where engines do not tell
    num_waiting: int | None  # samples in the engines' queues; None: they do not tell
    cache_usage: float | None  # of the fullest key-value cache, 0 to 1; None: they do not tell
    slowness: float | None  # seconds per answer over the usual; None: no answers, or not known yet
    was_full: bool  # a request had to wait for room


def first_limit(ceiling: int) -> int:
    """Samples to begin with."""
    return max(ceiling // 2, min(SMALLEST_LIMIT, ceiling))


def next_limit(limit: int, ceiling: int, health: Health, *, was_cut: bool = True) -> int:
    """Samples that may be asked for at once in the next interval, from min(8, ceiling) to `ceiling`.

    `was_cut`: whether the limit has been cut before.
    """
    if health.num_refusals or health.num_preemptions:
        wanted = int(limit * DECREASE_ON_DISTRESS)
    elif _is_queueing(limit, health):
        wanted = int(limit * DECREASE_ON_QUEUE)
    elif health.was_full and (health.cache_usage is None or health.cache_usage < FULL_CACHE):
        wanted = limit + max(1, ceiling // NUM_INCREASES) if was_cut else 2 * limit
    else:
        wanted = limit
    return min(ceiling, max(wanted, min(SMALLEST_LIMIT, ceiling)))


def _is_queueing(limit: int, health: Health) -> bool:
    if health.num_waiting is not None:
        return health.num_waiting > LONGEST_QUEUE * limit
    return health.slowness is not None and health.slowness > SLOW


class UsualPace:
    """Seconds per answer when nothing is in the way: the lowest smoothed mean, forgotten slowly.

    Requests grow longer as trees grow deeper, so that the usual rises by 2 % per interval.
    """

    def __init__(self) -> None:
        self._usual_s: float | None = None

    def slowness(self, seconds: float, num_answers: int) -> float | None:
        """Seconds per answer of this interval over the usual; None without answers. Learns from the interval."""
        if num_answers == 0:
            return None
        mean_s = max(seconds / num_answers, 1e-6)
        self._usual_s = mean_s if self._usual_s is None else min(mean_s, 1.02 * self._usual_s)
        return mean_s / self._usual_s


class Room:
    """Lets requests in while their samples and tokens fit; first come, first served."""

    def __init__(self, ceiling: int, tokens_per_sample: float | None = None) -> None:
        """`ceiling`: samples at most. `tokens_per_sample`: tokens allowed per sample of the limit; None: any."""
        self.ceiling = ceiling
        self.limit = first_limit(ceiling)  # samples; at least one request is let in whatever its size
        self._was_cut = False
        self._tokens_per_sample = tokens_per_sample
        self._num_samples = 0
        self._num_tokens = 0
        self._has_waited = False
        self._entry = asyncio.Lock()  # one request at a time waits for its share, so that large ones are not passed by
        self._changed = asyncio.Event()

    def adapt(self, ceiling: int, health: Health) -> None:
        """Take the next limit; what is in flight stays."""
        limit = next_limit(self.limit, ceiling, health, was_cut=self._was_cut)
        self._was_cut = self._was_cut or limit < self.limit
        self.ceiling, self.limit = ceiling, limit
        self._changed.set()

    def was_full(self) -> bool:
        """Whether a request has had to wait since this was last asked."""
        has_waited, self._has_waited = self._has_waited, self._entry.locked()
        return has_waited or self._entry.locked()

    @asynccontextmanager
    async def for_request(self, num_samples: int, num_tokens: int) -> AsyncIterator[None]:
        """Room for one request; one that asks for more than there is waits until it is alone.

        `num_tokens`: the most that the request can hold in the engine's cache, prompt and completions.
        """
        async with self._entry:
            while not self._fits(num_samples, num_tokens):
                self._has_waited = True
                self._changed.clear()
                await self._changed.wait()
            self._num_samples += num_samples
            self._num_tokens += num_tokens
        try:
            yield
        finally:
            self._num_samples -= num_samples
            self._num_tokens -= num_tokens
            self._changed.set()

    def _fits(self, num_samples: int, num_tokens: int) -> bool:
        if self._num_samples == 0:
            return True
        if self._num_samples + num_samples > self.limit:
            return False
        return self._tokens_per_sample is None or (
            self._num_tokens + num_tokens <= self._tokens_per_sample * self.limit
        )
