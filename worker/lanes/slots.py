"""How many requests a process may have on the wire, and whose they are: so that a provider that hangs slows nobody."""

import threading
from collections import Counter
from collections.abc import Collection

KEPT_SHARE = 8  # one slot in so many is kept for `high`
LANE_SHARE = 4  # a lane holds at most one in so many while others wait


class Slots:
    """The process's slots, counted by lane. Thread-safe."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._kept = capacity // KEPT_SHARE
        self._share = max(1, capacity // LANE_SHARE)
        self._used: Counter[str] = Counter()
        self._total = 0
        self._lock = threading.Lock()

    @property
    def in_use(self) -> int:
        """Requests on the wire or about to be."""
        return self._total

    def crowded(self) -> Collection[str]:
        """The lanes that hold their share."""
        with self._lock:
            return [lane for lane, used in self._used.items() if used >= self._share]

    def reserve(self, lane: str, wanted: int, *, others: bool) -> tuple[int, int]:
        """Reserve up to `wanted` slots: how many in all, and how many of them for other than `high` messages.

        A lane that is alone may hold all slots but one share: should it hang, the next lane finds those.
        """
        with self._lock:
            most = self._share if others else max(1, self._capacity - self._share)
            room = min(self._capacity - self._total, most - self._used[lane])
            total = max(0, min(room, wanted))
            rest = max(0, min(total, self._capacity - self._kept - self._total))
            self._used[lane] += total
            self._total += total
            return total, rest

    def release(self, lane: str, count: int = 1) -> None:
        """Give back slots that are free again or were not needed."""
        with self._lock:
            self._used[lane] -= count
            self._total -= count
            if not self._used[lane]:
                del self._used[lane]
