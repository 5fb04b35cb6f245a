"""Work at the same time: of hundreds of trees a few begun, so that one engine is full, and of siblings all."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

WINDOW = 4  # times the limit: how far work may run ahead of the first piece that has not ended

MayStartFn = Callable[[int], bool]
"""`may_start(index)`: whether the item at that place may begin now; asked again whenever a piece of work ends."""


def at_once(index: int) -> bool:
    """The `MayStartFn` of work that is all wanted."""
    return True


async def run_in_flight(
    work: Callable[[Item], Awaitable[Result]],
    items: Iterable[Item],
    limit: int,
    on_result: Callable[[Result], None],
    may_start: MayStartFn = at_once,
) -> int:
    """Run `work` on the items in order, at most `limit` at once; `on_result` gets the results in the items' order.

    Returns how many were begun: the first item that may not start, when nothing under way could change that, ends it.
    Results that wait for one before them are held back, so that work begins at most WINDOW x `limit` items ahead of
    it. An exception of `work` cancels the rest and is raised.
    """
    waiting = iter(items)
    early: dict[int, Result] = {}  # results that wait for one before them
    running: set[asyncio.Task[None]] = set()
    failures: list[BaseException] = []
    num_started = next_index = 0
    something_ended = asyncio.Event()

    async def run_one(index: int, item: Item) -> None:
        nonlocal next_index
        early[index] = await work(item)
        while next_index in early:
            on_result(early.pop(next_index))
            next_index += 1

    def ended(task: asyncio.Task[None]) -> None:
        running.discard(task)
        something_ended.set()
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is not None:
            failures.append(error)

    def begin_what_may() -> None:
        nonlocal num_started
        while len(running) < limit and num_started < next_index + WINDOW * limit and may_start(num_started):
            item = next(waiting, waiting)
            if item is waiting:
                return
            task = asyncio.create_task(run_one(num_started, item))
            num_started += 1
            running.add(task)
            task.add_done_callback(ended)

    try:
        while not failures:
            begin_what_may()
            if not running:
                return num_started
            await something_ended.wait()
            something_ended.clear()
        raise failures[0]
    finally:
        left = list(running)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def all_at_rest(awaitables: Sequence[Awaitable[Result]]) -> list[Result]:
    """Results in order; the first exception is raised only when every awaitable has ended.

    They run here in turn until one has to wait; then all that are left begin as tasks. So what answers at once costs
    no task: an asyncio task takes as long as all the rest of a simulation.
    """
    if len(awaitables) == 1:
        return [await awaitables[0]]
    left = iter(awaitables)
    tasks: list[asyncio.Future[Result]] = []
    results: list[Result] = []
    failures: list[BaseException] = []

    def begin_those_left() -> None:
        tasks.extend(map(asyncio.ensure_future, left))

    first_wait = asyncio.get_running_loop().call_soon(begin_those_left)
    try:
        for awaitable in left:
            try:
                results.append(await awaitable)
            except Exception as error:  # noqa: BLE001 - raised below, when the others have ended
                failures.append(error)
    except BaseException:  # cancelled, and the others with it
        begin_those_left()
        for task in tasks:
            task.cancel()
        raise
    finally:
        first_wait.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True) if tasks else []
    failures += [result for result in ended if isinstance(result, BaseException)]
    if failures:
        raise failures[0]
    return results + ended
