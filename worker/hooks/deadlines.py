"""Time limits of many waits that may all take as long, by one timer: one for each would cost as much as their work."""

import asyncio
from collections import deque


class Deadline:
    """The time limit of a block of the current task: `TimeoutError` if it is still running then."""

    __slots__ = ("over", "passed", "task", "until")

    def __init__(self, until: float, task: "asyncio.Task[object]") -> None:
        self.until = until
        self.task = task
        self.over = self.passed = False

    def __enter__(self) -> None:
        """It has begun already, when it was made."""

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.over = True
        # As in `asyncio.timeout`: a cancellation that somebody else asked for too goes on.
        if self.passed and self.task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise TimeoutError from None


class Deadlines:
    """Makes deadlines `seconds` from now. Belongs to one event loop."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._waits: deque[Deadline] = deque()  # in the order in which they end
        self._clock: asyncio.TimerHandle | None = None

    def limit(self) -> Deadline:
        """`with deadlines.limit():` raises `TimeoutError` if the block takes longer."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        while self._waits and self._waits[0].over:
            self._waits.popleft()
        deadline = Deadline(loop.time() + self._seconds, task)
        self._waits.append(deadline)
        if self._clock is None:
            self._clock = loop.call_at(deadline.until, self._end)
        return deadline

    def _end(self) -> None:
        """Interrupt what has taken too long, and come again for the next."""
        loop, waits = asyncio.get_running_loop(), self._waits
        while waits and (waits[0].over or waits[0].until <= loop.time()):
            deadline = waits.popleft()
            if not deadline.over:
                deadline.passed = True
                deadline.task.cancel()
        self._clock = loop.call_at(waits[0].until, self._end) if waits else None
