"""The schedule: one heap and one timer, on a real event loop."""

import asyncio

from sandbox.clock import Clock
from sandbox.schedule import BATCH, Schedule


class Fired:
    """Collects what fires, and waits for it."""

    def __init__(self) -> None:
        self.items: list[str] = []
        self._changed = asyncio.Event()

    def __call__(self, item: str, when: float) -> None:
        self.items.append(item)
        self._changed.set()

    async def reach(self, count: int) -> None:
        async with asyncio.timeout(60.0):
            while len(self.items) < count:
                self._changed.clear()
                await self._changed.wait()


def test_items_fire_in_the_order_of_their_times_whatever_the_order_they_came_in() -> None:
    async def story() -> list[str]:
        clock, fired = Clock(), Fired()
        schedule: Schedule[str] = Schedule(clock, fired)
        now = clock.now()
        schedule.add(now + 0.03, "third")
        schedule.start()
        schedule.add(now + 0.01, "first")  # earlier than what the timer was set for
        schedule.add(now + 0.02, "second")
        await fired.reach(3)
        return fired.items

    assert asyncio.run(story()) == ["first", "second", "third"]


def test_an_item_does_not_fire_before_its_time_and_advancing_the_clock_brings_it() -> None:
    async def story() -> tuple[list[str], list[str]]:
        clock, fired = Clock(), Fired()
        schedule: Schedule[str] = Schedule(clock, fired)
        schedule.start()
        schedule.add(clock.now() + 3600.0, "in an hour")
        schedule.add(clock.now(), "now")
        await fired.reach(1)
        before = list(fired.items)
        clock.advance(3600.0)
        await fired.reach(2)
        return before, fired.items

    assert asyncio.run(story()) == (["now"], ["now", "in an hour"])


def test_a_great_number_due_at_once_lets_the_loop_breathe_between_batches() -> None:
    async def story() -> tuple[int, int]:
        clock, fired = Clock(), Fired()
        schedule: Schedule[str] = Schedule(clock, fired)
        now = clock.now()
        for _ in range(BATCH * 3):
            schedule.add(now, "item")
        schedule.start()
        await fired.reach(1)
        first = len(fired.items)
        await fired.reach(BATCH * 3)
        return first, len(schedule)

    assert asyncio.run(story()) == (BATCH, 0)


def test_a_stopped_or_cleared_schedule_fires_nothing() -> None:
    async def story() -> list[str]:
        clock, fired, other = Clock(), Fired(), Fired()
        stopped: Schedule[str] = Schedule(clock, fired)
        cleared: Schedule[str] = Schedule(clock, fired)
        live: Schedule[str] = Schedule(clock, other)
        for schedule in (stopped, cleared, live):
            schedule.start()
            schedule.add(clock.now() + 0.01, "item")
        stopped.stop()
        cleared.clear()
        await other.reach(1)
        return fired.items

    assert asyncio.run(story()) == []
