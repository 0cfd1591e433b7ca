"""Counts from a ledger's rows: what arrived, what was doubled, and how close each key came to its limits.

Pure functions of the rows, so that they can run beside the event loop and on a file read back.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from sandbox.ledger import CLOSED, Entry
from sandbox.windows import Limit

SHOWN = 20  # duplicates listed, and numbers of each; all are counted


class Busiest(NamedTuple):
    """The interval as long as the window in which most requests arrived, and when it began."""

    requests: int
    start: float


def busiest_window(arrivals: Iterable[float], seconds: float) -> Busiest:
    """The most arrivals in any interval [t, t + `seconds`), exactly."""
    ordered = sorted(arrivals)
    best = Busiest(0, 0.0)
    first = 0
    for index, arrival in enumerate(ordered):
        while arrival - ordered[first] >= seconds:
            first += 1
        count = index - first + 1
        if count > best.requests:
            best = Busiest(count, ordered[first])
    return best


def summarize(rows: Iterable[tuple[Any, ...]], limits: Mapping[str, Limit]) -> dict[str, Any]:
    """Requests, acceptances, duplicates, statuses, and the busiest window of each key and group."""
    statuses: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    accepted = 0
    bodies, references = Doubles(), Doubles()
    arrivals: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows:
        entry = Entry._make(row)
        statuses[str(entry.status)] += 1
        if entry.fault:
            faults[entry.fault] += 1
        if entry.key and entry.group in limits:
            arrivals[entry.key, entry.group].append(entry.monotonic)
        if entry.accepted:
            accepted += 1
            bodies.add((entry.recipient, entry.body_sha), entry.seq)
            if entry.dispatch_id:
                references.add((entry.key, entry.dispatch_id), entry.seq)
    return {
        "requests": statuses.total(),
        "accepted": accepted,
        "throttled": statuses["429"],
        "closed": statuses[CLOSED],
        "statuses": dict(statuses),
        "faults": dict(faults),
        "duplicates": bodies.as_json(),
        "doubled_dispatch_ids": references.as_json(),
        "windows": [_window(slot, times, limits[slot[1]]) for slot, times in sorted(arrivals.items())],
    }


class Doubles:
    """Which slots were taken more than once."""

    def __init__(self) -> None:
        self._first: dict[tuple[str, str], int] = {}
        self._again: dict[tuple[str, str], list[int]] = {}

    def add(self, slot: tuple[str, str], seq: int) -> None:
        """Notes that entry `seq` took the slot."""
        first = self._first.setdefault(slot, seq)
        if first != seq:
            self._again.setdefault(slot, [first]).append(seq)

    def as_json(self) -> dict[str, Any]:
        """How many entries there were beyond the first of their slot, and examples."""
        doubled = list(self._again.values())
        return {
            "surplus": sum(len(seqs) - 1 for seqs in doubled),
            "examples": [{"times": len(seqs), "seqs": seqs[:SHOWN]} for seqs in doubled[:SHOWN]],
        }


def _window(slot: tuple[str, str], times: list[float], limit: Limit) -> dict[str, Any]:
    busiest = busiest_window(times, limit.seconds)
    return {
        "key": slot[0],
        "group": slot[1],
        "limit": str(limit),
        "requests": len(times),
        "highest": busiest.requests,
        "from": busiest.start,
        "exceeded": busiest.requests > limit.count,
    }
