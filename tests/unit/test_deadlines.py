"""Time limits of many waits by one timer: who is late is interrupted, who is done or is cancelled by others is not."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from worker.hooks.deadlines import Deadlines

SHORT, LONG = 0.05, 30.0


async def waits(deadlines: Deadlines, until: Callable[[], Awaitable[object]]) -> str:
    try:
        with deadlines.limit():
            await until()
    except TimeoutError:
        return "late"
    return "done"


def test_each_wait_ends_in_time_or_is_interrupted() -> None:
    """Given waits of which every other never ends, when time is over, then those are late, and the others were done."""

    async def run() -> list[str]:
        deadlines = Deadlines(SHORT)
        never = asyncio.Event()
        return await asyncio.gather(
            *(waits(deadlines, never.wait if number % 2 else (lambda: asyncio.sleep(0))) for number in range(6))
        )

    assert asyncio.run(asyncio.wait_for(run(), LONG)) == ["done", "late"] * 3


def test_a_limit_that_is_over_interrupts_nothing_later() -> None:
    """Given a wait that was in time, when its task goes on for longer than the limit, then nobody interrupts it."""

    async def run() -> str:
        deadlines = Deadlines(SHORT)
        first = await waits(deadlines, lambda: asyncio.sleep(0))
        await asyncio.sleep(3 * SHORT)
        return first

    assert asyncio.run(asyncio.wait_for(run(), LONG)) == "done"


def test_later_waits_are_limited_too() -> None:
    """Given a limiter whose timer ran out, when more waits come one after another, then each has its limit."""

    async def run() -> list[str]:
        deadlines, never = Deadlines(SHORT), asyncio.Event()
        return [await waits(deadlines, never.wait) for _ in range(3)]

    assert asyncio.run(asyncio.wait_for(run(), LONG)) == ["late"] * 3


def test_a_cancellation_from_elsewhere_goes_on() -> None:
    async def run() -> None:
        task = asyncio.create_task(waits(Deadlines(LONG), asyncio.Event().wait))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(asyncio.wait_for(run(), LONG))


def test_a_late_wait_leaves_its_task_able_to_wait_again() -> None:
    """Given a wait that was late, when its task waits for something else, then it is not taken for a cancelled one."""

    async def run() -> tuple[str, int]:
        said = await waits(Deadlines(SHORT), asyncio.Event().wait)
        task = asyncio.current_task()
        assert task is not None
        return said, task.cancelling()

    assert asyncio.run(asyncio.wait_for(run(), LONG)) == ("late", 0)
