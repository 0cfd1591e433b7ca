"""Group commit: what arrives while one transaction is being committed goes into the next one, all of it together.

A commit costs a flush of the disk whatever is in it, so a receiver that committed each webhook by itself would be as
slow as its disk. Groups form by themselves: whoever comes alone waits for nobody. Only after a group of several, when
more are about to come, is there a breath of a few milliseconds before the next, which then is several times as large.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

BREATH = 0.004  # seconds after a group of several
PATIENCE = 4.0  # seconds that an item waits, at the most

Item = TypeVar("Item")


class NotWritten(Exception):
    """The item may not be in the database: whoever sent it should send it again."""


@dataclass(slots=True)
class _Waiting(Generic[Item]):
    item: Item
    written: "asyncio.Future[None]"


class GroupCommit(Generic[Item]):
    """Writes items through `write`, in `threads` threads, in groups of at most `most`. Belongs to one event loop.

    `write` is given a group, and commits all of it or raises; it may be given an item that it has committed before.
    At most `room` items wait, none for longer than `PATIENCE`; what then is under way may still be written.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Item]], object],
        *,
        threads: int,
        most: int = 200,
        room: int = 2000,
    ) -> None:
        self._write = write
        self._threads = threads
        self._most = most
        self._room = room
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="write")
        self._waiting: deque[_Waiting[Item]] = deque()
        self._unanswered: deque[tuple[float, asyncio.Future[None]]] = deque()  # until when each waits, in that order
        self._clock: asyncio.TimerHandle | None = None
        self._working: set[asyncio.Task[None]] = set()

    async def put(self, item: Item) -> None:
        """Return once the item is committed. Raises `NotWritten`."""
        if len(self._waiting) >= self._room:
            raise NotWritten("too much is waiting")
        loop = asyncio.get_running_loop()
        waiting, until = _Waiting(item, loop.create_future()), loop.time() + PATIENCE
        self._waiting.append(waiting)
        while self._unanswered and self._unanswered[0][1].done():
            self._unanswered.popleft()
        self._unanswered.append((until, waiting.written))
        if self._clock is None:
            self._clock = loop.call_at(until, self._end_waits)
        if len(self._working) < self._threads:
            self._working.add(loop.create_task(self._work()))
        await waiting.written

    def close(self) -> None:
        """Begin nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _end_waits(self) -> None:
        """Let those go whose patience has ended. One timer for all: one for each would cost as much as the rest."""
        loop, waits = asyncio.get_running_loop(), self._unanswered
        while waits and (waits[0][1].done() or waits[0][0] <= loop.time()):
            _, written = waits.popleft()
            if not written.done():
                written.set_exception(NotWritten("the database did not answer in time"))
        self._clock = loop.call_at(waits[0][0], self._end_waits) if waits else None

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            if len(self._working) > 1:  # while another writes, more is about to come
                await asyncio.sleep(BREATH)
            while group := self._take():
                items = [waiting.item for waiting in group]
                failures = await loop.run_in_executor(self._pool, self._try, items)
                for waiting, failure in zip(group, failures, strict=True):
                    if waiting.written.done():
                        continue  # nobody waits any more
                    if failure is None:
                        waiting.written.set_result(None)
                    else:
                        waiting.written.set_exception(NotWritten(failure))
                if len(group) > 1:
                    await asyncio.sleep(BREATH)
        finally:  # at once, not by a callback later: an item put in between would find nobody at work
            task = asyncio.current_task()
            assert task is not None
            self._working.discard(task)

    def _take(self) -> list[_Waiting[Item]]:
        group: list[_Waiting[Item]] = []
        while self._waiting and len(group) < self._most:
            waiting = self._waiting.popleft()
            if not waiting.written.done():
                group.append(waiting)
        return group

    def _try(self, items: Sequence[Item]) -> list[str | None]:
        """Write a group; for each item None, or what kept it from being written, without its content."""
        try:
            self._write(items)
        except (OperationalError, InterfaceError, PoolTimeout) as error:
            return [_cause(error)] * len(items)
        except Exception as error:
            if len(items) == 1:
                return [_cause(error)]
            # One that the database refuses must not stand in the way of the others.
            return [failure for item in items for failure in self._try([item])]
        return [None] * len(items)


def _cause(error: Exception) -> str:
    return type(getattr(error, "orig", None) or error).__name__
