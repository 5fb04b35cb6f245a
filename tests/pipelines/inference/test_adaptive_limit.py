"""The rule of the limit by hand values, and the room that enforces it."""

import asyncio

import pytest

from pipelines.inference.adaptive_limit import Health, Room, UsualPace, first_limit, next_limit

HEALTHY = {
    "num_refusals": 0, "num_preemptions": 0, "num_waiting": 0, "cache_usage": 0.5, "slowness": 1.0, "was_full": True,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "limit", "expected"),
    [
        ({}, 256, 288),  # 512 / 16 more
        ({}, 500, 512),  # never above the ceiling
        ({"was_full": False}, 256, 256),  # what is not used up says nothing
        ({"cache_usage": 0.96}, 256, 256),  # a full cache: the next one more would preempt
        ({"cache_usage": None}, 256, 288),
        ({"num_preemptions": 1}, 256, 192),
        ({"num_refusals": 1, "num_waiting": None}, 256, 192),
        ({"num_waiting": 128}, 256, 288),  # half of 256 waits: that keeps the batch full
        ({"num_waiting": 129}, 256, 224),
        ({"num_waiting": None, "slowness": 3.0}, 256, 288),
        ({"num_waiting": None, "slowness": 3.1}, 256, 224),
        ({"num_waiting": 0, "slowness": 9.0}, 256, 288),  # the queue is known: long answers are just long
        ({"num_waiting": None, "slowness": None, "was_full": False}, 256, 256),
        ({"num_preemptions": 5}, 9, 8),  # never below 8
    ],
)
def test_the_next_limit_follows_the_health(changes, limit, expected):
    assert next_limit(limit, 512, Health(**(HEALTHY | changes))) == expected


def test_the_limit_doubles_until_it_is_cut_for_the_first_time():
    room, queueing = Room(512), Health(**(HEALTHY | {"num_waiting": 300}))
    seen = []
    for health in (Health(**HEALTHY), Health(**HEALTHY), queueing, Health(**HEALTHY)):
        room.adapt(512, health)
        seen.append(room.limit)
    assert seen == [512, 512, 448, 480]


def test_a_small_ceiling_is_the_floor_too():
    assert next_limit(4, 4, Health(**(HEALTHY | {"num_preemptions": 1}))) == 4
    assert [first_limit(ceiling) for ceiling in (1, 4, 8, 12, 512)] == [1, 4, 8, 8, 256]


def test_the_limit_swings_about_what_the_engine_can_hold():
    """An engine of 100 sequences with a queue for the rest: the limit settles where half of it waits."""
    limit, seen = 512, []
    for _ in range(60):
        limit = next_limit(limit, 512, Health(**(HEALTHY | {"num_waiting": max(0, limit - 100)})))
        seen.append(limit)
    assert 170 <= min(seen[20:]) <= max(seen[20:]) <= 233  # 200 waits with 100, half; one step of 32 above it


def test_answers_are_slow_compared_with_the_usual_and_the_usual_rises_slowly():
    pace = UsualPace()
    assert pace.slowness(4.0, 4) == 1.0
    assert pace.slowness(0.0, 0) is None
    assert pace.slowness(12.0, 4) == pytest.approx(3.0 / 1.02)
    assert pace.slowness(2.0, 4) == 1.0  # a new usual of 0.5 s


def test_the_room_bounds_samples_and_tokens_and_keeps_the_order():
    async def run() -> list[str]:
        room = Room(16, tokens_per_sample=10)  # begins with 8 samples and 80 tokens
        entered = []

        async def enter(name: str, num_samples: int, num_tokens: int, until: asyncio.Event) -> None:
            async with room.for_request(num_samples, num_tokens):
                entered.append(name)
                await until.wait()

        first, second = asyncio.Event(), asyncio.Event()
        tasks = [
            asyncio.create_task(enter("a", 4, 30, first)),
            asyncio.create_task(enter("too many samples", 5, 30, second)),
            asyncio.create_task(enter("would fit but came later", 1, 10, second)),
            asyncio.create_task(enter("too many tokens", 2, 50, second)),
        ]
        await asyncio.sleep(0.01)
        assert entered == ["a"]
        assert room.was_full()
        first.set()
        await asyncio.sleep(0.01)
        assert entered == ["a", "too many samples", "would fit but came later"]
        second.set()
        await asyncio.gather(*tasks)
        assert [room.was_full(), room.was_full()] == [True, False]  # the wait is over, and forgotten after one look
        return entered

    assert asyncio.run(run())[-1] == "too many tokens"


def test_a_request_larger_than_the_room_goes_alone():
    async def run() -> None:
        room = Room(4)
        async with room.for_request(20, 10**6):
            waiting = asyncio.create_task(room.for_request(1, 1).__aenter__())
            await asyncio.sleep(0.01)
            assert not waiting.done()
        await asyncio.wait_for(waiting, 1)

    asyncio.run(run())


def test_a_higher_limit_lets_the_waiting_in():
    async def run() -> None:
        room = Room(16)
        async with room.for_request(8, 8):
            waiting = asyncio.create_task(room.for_request(1, 1).__aenter__())
            await asyncio.sleep(0.01)
            assert (waiting.done(), room.limit) == (False, 8)
            room.adapt(16, Health(**HEALTHY))
            await asyncio.wait_for(waiting, 1)
            assert room.limit == 16

    asyncio.run(run())
