"""Numbers from arrivals: rates, quantiles, and what the processes cost."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

MIDDLE = (0.1, 0.9)  # of the messages: what the start and the end of a run do not touch


@dataclass(frozen=True, slots=True)
class Run:
    """One side's run: messages a second in its sustained middle, and CPU a message in µs where it was counted."""

    rate: float
    cpu: float = 0.0


def sustained(times: Sequence[float]) -> float:
    """Arrivals a second between the first and the last tenth of them; `times` in seconds, not all the same."""
    ordered = sorted(times)
    first, last = (round((len(ordered) - 1) * part) for part in MIDDLE)
    return (last - first) / (ordered[last] - ordered[first])


def quantile(values: Sequence[float], part: float) -> float:
    """The least of them that at least `part` of them do not exceed."""
    return sorted(values)[max(0, math.ceil(part * len(values)) - 1)]


def spread(values: Sequence[float]) -> str:
    """`min / median / max`, for the table."""
    return f"{min(values):,.1f} / {statistics.median(values):,.1f} / {max(values):,.1f}"


def family(pid: int) -> list[psutil.Process]:
    """A process and all below it."""
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def cpu_seconds(pids: Sequence[int]) -> float:
    """What these processes and all below them, also those that have ended, have used of all processors so far."""
    return sum(sum(each.cpu_times()[:4]) for pid in pids for each in family(pid))


def resident(pid: int) -> int:
    """Bytes of memory that a process holds, shared pages included."""
    return int(psutil.Process(pid).memory_info().rss)
