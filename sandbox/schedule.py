"""Things that fall due at an instant: one heap and one timer, however many things wait."""

import asyncio
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Generic, TypeVar

from sandbox.clock import Clock

BATCH = 500  # fired in one go; between two batches the event loop serves requests

T = TypeVar("T")


class Schedule(Generic[T]):
    """Calls `fire(item, when)` for each added item once its time has come, earliest first."""

    def __init__(self, clock: Clock, fire: Callable[[T, float], None]) -> None:
        self._clock = clock
        self._fire = fire
        self._heap: list[tuple[float, int, T]] = []
        self._added = 0
        self._timer: asyncio.Handle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        clock.watch(self._arm)

    def __len__(self) -> int:
        return len(self._heap)

    def start(self) -> None:
        """Begins to fire, on the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._arm()

    def stop(self) -> None:
        """Fires nothing more."""
        self._loop = None
        self._disarm()

    def clear(self) -> None:
        """Forgets all that waits."""
        self._heap.clear()
        self._arm()

    def add(self, when: float, item: T) -> None:
        """Has `item` fire at `when` (Unix seconds); at once if that is past."""
        self._added += 1
        entry = (when, self._added, item)
        heappush(self._heap, entry)
        if self._heap[0] is entry:
            self._arm()

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self._disarm()
        if self._loop is None or not self._heap:
            return
        delay = self._heap[0][0] - self._clock.now()
        self._timer = self._loop.call_later(max(delay, 0.0), self._run)

    def _run(self) -> None:
        now = self._clock.now()
        for _ in range(BATCH):
            if not self._heap or self._heap[0][0] > now:
                break
            when, _, item = heappop(self._heap)
            self._fire(item, when)
        self._arm()
