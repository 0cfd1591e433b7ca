"""Message ids: UUIDv7 (RFC 9562, section 5.7), so that ids sort by the time they were made."""

import os
import threading
import time
import uuid

_lock = threading.Lock()
_last = 0


def new_id() -> str:
    """A UUIDv7 as text, later than every id that this process made before."""
    return str(uuid.UUID(int=_next()))


def new_ids(count: int) -> list[str]:
    """As many ids as asked for, in ascending order."""
    return [str(uuid.UUID(int=_next())) for _ in range(count)]


def position_of(message_id: str) -> int:
    """An id's place in time as a number that fits 64 bits: its milliseconds, and the twelve bits of finer clock."""
    return int(message_id[:8] + message_id[9:13] + message_id[15:18], 16)


def _next() -> int:
    # 48 bits of milliseconds and the 12 bits of rand_a as a finer clock, counted up where the clock stands still.
    global _last
    nanoseconds = time.time_ns()
    ticks = (nanoseconds // 1_000_000 << 12) | (nanoseconds % 1_000_000 << 12) // 1_000_000
    with _lock:
        _last = max(ticks, _last + 1)
        ticks = _last
    random = int.from_bytes(os.urandom(8)) & ((1 << 62) - 1)
    return (ticks >> 12) << 80 | 0x7 << 76 | (ticks & 0xFFF) << 64 | 0b10 << 62 | random
