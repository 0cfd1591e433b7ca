"""Message ids: UUIDv7 (RFC 9562, section 5.7), so that ids sort by the time they were made."""

import os
import threading
import time
import uuid

_lock = threading.Lock()
_last = 0
_last_at = 0  # of those whose time was given: a clock that is ahead must not push these along


def new_id(at: float | None = None) -> str:
    """A UUIDv7 as text, later than every id that this process made before.

    `at` is its time where that must not be this host's, in Unix seconds: producers' clocks need not agree, and what
    they enqueue stands in one line, by its ids. Such ids are later than every earlier one of their kind.
    """
    global _last_at
    if at is None:
        return str(uuid.UUID(int=_next()))
    with _lock:
        _last_at = max(_ticks(int(at * 1e9)), _last_at + 1)
        return str(uuid.UUID(int=_made(_last_at)))


def new_ids(count: int) -> list[str]:
    """As many ids as asked for, in ascending order."""
    return [str(uuid.UUID(int=_next())) for _ in range(count)]


def position_of(message_id: str) -> int:
    """An id's place in time as a number that fits 64 bits: its milliseconds, and the twelve bits of finer clock."""
    return int(message_id[:8] + message_id[9:13] + message_id[15:18], 16)


def _next() -> int:
    global _last
    with _lock:
        _last = max(_ticks(time.time_ns()), _last + 1)
        return _made(_last)


def _ticks(nanoseconds: int) -> int:
    # 48 bits of milliseconds and the 12 bits of rand_a as a finer clock, counted up where the clock stands still.
    return (nanoseconds // 1_000_000 << 12) | (nanoseconds % 1_000_000 << 12) // 1_000_000


def _made(ticks: int) -> int:
    random = int.from_bytes(os.urandom(8)) & ((1 << 62) - 1)
    return (ticks >> 12) << 80 | 0x7 << 76 | (ticks & 0xFFF) << 64 | 0b10 << 62 | random
