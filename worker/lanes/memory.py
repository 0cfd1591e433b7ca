"""What a process remembers of a lane between claims: the room it was last told of, and whether the lane is closed.

It is a hint and a shortcut: the database and the limiter decide, and nothing is remembered for long.
"""

import math
import threading
import time
from dataclasses import dataclass
from enum import Enum

RECENT = 2.0  # seconds after which an answer is asked for again, whatever it was
NEWS_INTERVAL = 1.0  # seconds between two notes that a lane works


class Recovery(Enum):
    """What a success means for its lane."""

    NOTHING_NEW = 0
    NOTE = 1
    OPENS = 2


@dataclass(frozen=True, slots=True)
class Budget:
    """How many messages of each urgency to claim, or how long to leave the lane alone if none."""

    high: int
    rest: int
    wait: float = 0.0


class LaneMemory:
    """One lane, as one process sees it. Thread-safe; instants on the monotonic clock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked_at = -math.inf
        self._room = (0, 0)
        self._open_at = (0.0, 0.0)
        self._closed_until = -math.inf
        self._promised_until = -math.inf  # the part of it that no success ends: a date, a key, an operator
        self._closed_at = -math.inf
        self._probing = False
        self._refusals = 0
        self._noted_at = -math.inf
        self.succeeded_at = -math.inf

    def budget(self) -> Budget:
        """What to claim now: no more than the room last reported, one message where nothing recent was reported."""
        now = time.monotonic()
        with self._lock:
            if now - self._asked_at > RECENT:
                return Budget(1, 1)
            if self._closed_until > now:
                return Budget(0, 0, min(self._closed_until - now, RECENT))
            high, rest = (max(room, 1) if at <= now else 0 for room, at in zip(self._room, self._open_at, strict=True))
            wait = 0.0 if high or rest else max(0.0, min(self._open_at) - now)
            return Budget(high, rest, min(wait, RECENT))

    def answered(self, asked_at: float, room: tuple[int, int], waits: tuple[float, float]) -> None:
        """Note what `acquire` said: the room left and the seconds until the next token, for `high` and for the rest.

        It answered from an open lane, so a closing from before it was asked at `asked_at` is over.
        """
        now = time.monotonic()
        with self._lock:
            if self._closed_at < asked_at:
                self._closed_until = self._promised_until = -math.inf
            self._asked_at = now
            self._room = room
            self._open_at = (now + waits[0], now + waits[1])

    def probes(self) -> None:
        """Note that the limiter let one request through to see whether the lane works again."""
        with self._lock:
            self._probing = True

    def shut(self, seconds: float | None) -> None:
        """Note that the lane was found closed for so long (None: until an operator opens it).

        Who found that may have looked before the lane was closed here: it does not shorten a promise.
        """
        now = time.monotonic()
        with self._lock:
            self._asked_at = now
            self._closed_until = max(self._promised_until, now + (math.inf if seconds is None else seconds))

    def refusals_for(self, sent_at: float | None) -> int:
        """Refusals in a row, counting one of a request sent at that instant: requests that left together are one."""
        with self._lock:
            together = sent_at is not None and sent_at <= self._closed_at
            return max(1, self._refusals if together else self._refusals + 1)

    def close(self, seconds: float | None, refusals: int) -> None:
        """Close the lane for this process at once; a later closing never shortens an earlier one.

        `refusals` in a row make it a backoff, which a success ends; with none of them it is kept to its end.
        """
        now = time.monotonic()
        with self._lock:
            self._closed_at = now
            self._refusals = refusals
            self._closed_until = max(self._closed_until, now + (math.inf if seconds is None else seconds))
            if not refusals:
                self._promised_until = self._closed_until

    def closed(self) -> bool:
        """True while nothing may leave for this lane."""
        return self._closed_until > time.monotonic()

    def refused_before(self, refusals: int) -> None:
        """Note how many refusals in a row the database knows of."""
        with self._lock:
            self._refusals = refusals

    def success(self) -> Recovery:
        """Note that a message got through."""
        now = time.monotonic()
        with self._lock:
            self.succeeded_at = now
            if self._promised_until > now:
                return Recovery.NOTHING_NEW  # it left before the closing, which it does not end
            if self._refusals or self._probing:
                self._refusals = 0
                self._probing = False
                self._closed_until = -math.inf
                self._asked_at = -math.inf  # there is more room now than the probe was told of
                self._noted_at = now
                return Recovery.OPENS
            if now - self._noted_at > NEWS_INTERVAL:
                self._noted_at = now
                return Recovery.NOTE
            return Recovery.NOTHING_NEW
