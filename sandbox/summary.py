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
    entries = [Entry(*row) for row in rows]
    statuses = Counter(str(entry.status) for entry in entries)
    accepted = [entry for entry in entries if entry.accepted]
    return {
        "requests": len(entries),
        "accepted": len(accepted),
        "throttled": statuses["429"],
        "closed": statuses[CLOSED],
        "statuses": dict(statuses),
        "faults": dict(Counter(entry.fault for entry in entries if entry.fault)),
        "duplicates": _doubled(accepted, by_reference=False),
        "doubled_dispatch_ids": _doubled([entry for entry in accepted if entry.dispatch_id], by_reference=True),
        "windows": _windows(entries, limits),
    }


def _doubled(accepted: list[Entry], *, by_reference: bool) -> dict[str, Any]:
    seen: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for entry in accepted:
        slot = (entry.key, entry.dispatch_id) if by_reference else (entry.recipient, entry.body_sha)
        seen[slot].append(entry.seq)
    doubled = [seqs for seqs in seen.values() if len(seqs) > 1]
    return {
        "surplus": sum(len(seqs) - 1 for seqs in doubled),
        "examples": [{"times": len(seqs), "seqs": seqs[:SHOWN]} for seqs in doubled[:SHOWN]],
    }


def _windows(entries: list[Entry], limits: Mapping[str, Limit]) -> list[dict[str, Any]]:
    arrivals: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for entry in entries:
        if entry.key and entry.group in limits:
            arrivals[entry.key, entry.group].append(entry.monotonic)
    windows = []
    for (key, group), times in sorted(arrivals.items()):
        limit = limits[group]
        busiest = busiest_window(times, limit.seconds)
        windows.append(
            {
                "key": key,
                "group": group,
                "limit": str(limit),
                "requests": len(times),
                "highest": busiest.requests,
                "from": busiest.start,
                "exceeded": busiest.requests > limit.count,
            }
        )
    return windows
