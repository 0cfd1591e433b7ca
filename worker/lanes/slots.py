"""How many requests a process may have on the wire, and whose they are: so that a provider that hangs slows nobody."""

import threading
from collections import Counter
from collections.abc import Collection, Mapping

KEPT_SHARE = 8  # one slot in so many is kept for `high`
LANE_SHARE = 4  # a lane holds at most one in so many while others wait
LEFT_SHARE = 4  # of what other providers leave, one provider leaves one in so many to the next


class Slots:
    """The process's slots, counted by lane and by provider: `addresses` says by lane where its requests go, for all
    lanes of one provider hang together. Thread-safe."""

    def __init__(self, capacity: int, addresses: Mapping[str, str] | None = None) -> None:
        self._capacity = capacity
        self._addresses = addresses or {}
        self._kept = capacity // KEPT_SHARE
        self._share = max(1, capacity // LANE_SHARE)
        self._used: Counter[str] = Counter()
        self._used_at: Counter[str] = Counter()  # by address
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

        A provider that is alone may hold all slots but a quarter: should it hang, the next one finds those.
        """
        with self._lock:
            address = self._addresses.get(lane, lane)
            free = self._capacity - self._total
            used = self._used_at[address]
            most = _all_but_a_share(free + used) - used
            if others:
                most = min(most, self._share - self._used[lane])
            total = max(0, min(free, most, wanted))
            rest = max(0, min(total, free - self._kept))
            self._count(lane, total)
            return total, rest

    def release(self, lane: str, count: int = 1) -> None:
        """Give back slots that are free again or were not needed."""
        with self._lock:
            self._count(lane, -count)

    def _count(self, lane: str, change: int) -> None:
        address = self._addresses.get(lane, lane)
        self._total += change
        for used, name in ((self._used, lane), (self._used_at, address)):
            used[name] += change
            if not used[name]:
                del used[name]


def _all_but_a_share(slots: int) -> int:
    return max(1, slots - slots // LEFT_SHARE)
