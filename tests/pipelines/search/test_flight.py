"""Work at the same time: what answers at once costs no task, what waits waits together."""

import asyncio
from collections.abc import Coroutine

import pytest

from pipelines.search.flight import all_at_rest, run_in_flight


async def at_once(value: int) -> int:
    return value


def run(work: Coroutine) -> object:
    return asyncio.run(work)


def test_what_answers_at_once_runs_in_order_and_without_a_task():
    seen = []

    async def note(value):
        seen.append((value, len(asyncio.all_tasks())))
        return value

    assert run(all_at_rest([note(value) for value in range(4)])) == [0, 1, 2, 3]
    assert seen == [(0, 1), (1, 1), (2, 1), (3, 1)]


def test_as_soon_as_one_has_to_wait_all_others_begin():
    begun = []

    async def wait_for_all(value):
        begun.append(value)
        while len(begun) < 3:
            await asyncio.sleep(0)
        return value

    async def work():
        return await asyncio.wait_for(all_at_rest([at_once(9), *[wait_for_all(value) for value in range(3)]]), 5)

    assert run(work()) == [9, 0, 1, 2]


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_the_first_exception_is_raised_when_all_have_ended(failing):
    ended = []

    async def work(index):
        if index == failing:
            raise KeyError(index)
        await asyncio.sleep(0.001 * (3 - index))
        ended.append(index)

    with pytest.raises(KeyError, match=str(failing)):
        run(all_at_rest([work(index) for index in range(3)]))
    assert sorted(ended) == [index for index in range(3) if index != failing]


@pytest.mark.parametrize("num_turns", [1, 2, 5])
def test_cancelling_cancels_every_one_and_leaves_no_task(num_turns):
    cancelled = []

    async def wait(index):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(index)
            raise

    async def work():
        waiting = asyncio.create_task(all_at_rest([wait(index) for index in range(3)]))
        for _ in range(num_turns):
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return len(asyncio.all_tasks())

    assert run(work()) == 1
    assert sorted(cancelled) == ([0] if num_turns == 1 else [0, 1, 2])  # those that had begun


def test_work_that_was_cancelled_is_not_lost_in_silence():
    """Without its result the ones behind it would be held back, and the whole would end as if it had been done."""

    async def work(item):
        if item == 1:
            raise asyncio.CancelledError
        return item

    with pytest.raises(asyncio.CancelledError):
        run(run_in_flight(work, range(4), 2, print))
