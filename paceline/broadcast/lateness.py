"""Whether a message that must leave soon will: what `enqueue` says in its receipt when it probably will not."""

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from sqlalchemy import Connection

from paceline.broadcast.forecast import leaves_at
from paceline.errors import PacelineError
from paceline.views import iso, moment

NEAR = 86_400.0  # seconds: what expires later is not asked about
FRESH = 2.0  # seconds for which an answer serves everybody who enqueues to the same line

Read = Callable[[], AbstractContextManager[Connection]]


class Lateness:
    """Asks for a line's forecast, at most once in `FRESH` seconds however many are enqueued. Thread-safe."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._known: dict[tuple[str, int], tuple[float, float | None]] = {}

    def warning(self, read: Read, via: str, level: int, expires_at: float | None, at: float) -> str | None:
        """A sentence if a message that has just joined the line will expire before it can leave; Unix seconds."""
        if expires_at is None or expires_at - at > NEAR:
            return None
        leaves = self._leaves_at(read, via, level)
        if leaves is None or leaves <= expires_at:
            return None
        return (
            f"expires_at: will probably pass before it can leave, which is expected for {iso(moment(leaves))}; "
            "a higher priority or a later expires_at would help"
        )

    def _leaves_at(self, read: Read, via: str, level: int) -> float | None:
        with self._lock:
            asked, answer = self._known.get((via, level), (-FRESH, None))
            if self._monotonic() - asked < FRESH:
                return answer
            self._known[via, level] = (self._monotonic(), answer)  # meanwhile the others take the old answer
        try:
            with read() as connection:
                answer = leaves_at(connection, via, level)
        except PacelineError:
            answer = None  # the message is stored; nobody is to think otherwise
        with self._lock:
            self._known[via, level] = (self._monotonic(), answer)
        return answer
