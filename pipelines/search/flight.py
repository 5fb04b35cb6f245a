"""Many pieces of work at once, few of them begun: how hundreds of trees keep one engine full."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


async def run_in_flight(
    work: Callable[[Item], Awaitable[Result]],
    items: Sequence[Item],
    limit: int,
    on_result: Callable[[Result], None],
) -> None:
    """Run `work` on every item, at most `limit` at once; `on_result` gets the results in the items' order.

    An exception of `work` cancels the rest and is raised.
    """
    numbered = iter(enumerate(items))
    early: dict[int, Result] = {}  # results that wait for one before them
    next_index = 0

    async def work_in_turn() -> None:
        nonlocal next_index
        for index, item in numbered:
            early[index] = await work(item)
            while next_index in early:
                on_result(early.pop(next_index))
                next_index += 1

    workers = [asyncio.create_task(work_in_turn()) for _ in range(min(limit, len(items)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
