"""Rate windows: four ways in which providers count a key's requests, and the limits they count against.

A request is judged when it has been read, and counts from when it arrived, which may be before another that was judged
already: the order in which a busy machine comes to read is nobody's doing. Windows look back once as far as they are
long; a bucket, which has no past, counts such a request with the last one judged. One that is refused takes nothing.
"""

import re
from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, floor, inf
from typing import Annotated, Literal, NamedTuple, Protocol

from pydantic import BeforeValidator, PlainSerializer

WindowKind = Literal["fixed", "first-hit", "sliding", "bucket"]
UNITS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_ROUNDING = 1e-9  # of tokens: what adding fractions loses
_LIMIT = re.compile(r"([1-9][0-9]*)/(second|minute|hour|day|([1-9][0-9]*|[0-9]+\.[0-9]+)([smh]))")


@dataclass(frozen=True, slots=True)
class Limit:
    """`count` requests in each window of `seconds`."""

    count: int
    seconds: float

    def __str__(self) -> str:
        seconds = int(self.seconds) if self.seconds.is_integer() else self.seconds
        return f"{self.count}/{seconds}s"


def parse_limit(value: object) -> Limit:
    """Reads `"100/minute"`, `"60/10s"`, `"5/0.5s"`.

    Raises:
        ValueError: it is not of that form.
    """
    if isinstance(value, Limit):
        return value
    match = _LIMIT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('a limit is "<n>/<window>", such as "100/minute" or "60/10s"')
    count, unit, number, letter = match.groups()
    seconds = UNITS[unit] if number is None else float(number) * UNITS[letter]
    if seconds <= 0:
        raise ValueError('a limit\'s window is longer than nothing, such as "60/10s"')
    return Limit(int(count), seconds)


LimitSetting = Annotated[Limit, BeforeValidator(parse_limit), PlainSerializer(str, return_type=str)]


class Reading(NamedTuple):
    """What a window said about one request. `reset` and `free` are Unix seconds."""

    admitted: bool
    limit: int
    remaining: int
    reset: float  # when the whole window, or its oldest entry, is over
    free: float  # when one more request would be admitted


class Window(Protocol):
    """One key's count for one group of endpoints."""

    def hit(self, now: float) -> Reading:
        """Counts a request that arrived at `now`, or refuses it."""


class Fixed:
    """Windows aligned to the epoch: minute 0, minute 1, …"""

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._start = 0.0
        self._used = {0.0: 0}  # by the window's start: the latest, and the one before

    def hit(self, now: float) -> Reading:
        """Counts or refuses the request."""
        seconds = self._limit.seconds
        start = max(floor(now / seconds) * seconds, self._start - seconds)
        if start > self._start:
            self._used = {start: 0, start - seconds: self._used.get(start - seconds, 0)}
            self._start = start
        used = self._used.get(start, 0)
        admitted = used < self._limit.count
        self._used[start] = used + admitted
        end = start + seconds
        remaining = self._limit.count - used - admitted
        return Reading(admitted, self._limit.count, remaining, end, now if remaining else end)


class FirstHit:
    """A window opens with the first request after the last one ended."""

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._start = self._end = -inf
        self._used = 0
        self._before = (-inf, 0)  # the end of the window before, and what was used of it

    def hit(self, now: float) -> Reading:
        """Counts or refuses the request."""
        if now >= self._end:
            self._before = (self._end, self._used)
            self._start, self._end, self._used = now, now + self._limit.seconds, 0
        elif now < self._before[0]:
            return self._in_the_one_before(now)
        elif now < self._start:  # this one was the first, and is only judged late
            self._start, self._end = now, now + self._limit.seconds
        admitted = self._used < self._limit.count
        self._used += admitted
        remaining = self._limit.count - self._used
        return Reading(admitted, self._limit.count, remaining, self._end, now if remaining else self._end)

    def _in_the_one_before(self, now: float) -> Reading:
        end, used = self._before
        admitted = used < self._limit.count
        self._before = (end, used + admitted)
        remaining = self._limit.count - used - admitted
        return Reading(admitted, self._limit.count, remaining, end, now if remaining else end)


class Sliding:
    """An exact log: never more than the limit in any interval as long as the window."""

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._log: list[float] = []

    def hit(self, now: float) -> Reading:
        """Counts or refuses the request."""
        log, limit = self._log, self._limit
        if log:
            del log[: bisect_right(log, max(now, log[-1]) - 2 * limit.seconds)]
        admitted = self._most_around(now) < limit.count
        if admitted:
            insort(log, now)
        first = bisect_right(log, now - limit.seconds)
        remaining = max(0, limit.count - (bisect_right(log, now) - first))
        reset = log[first] + limit.seconds
        return Reading(admitted, limit.count, remaining, reset, now if remaining else reset)

    def _most_around(self, now: float) -> int:
        """The most entries in any interval as long as the window that `now` is in: it may end with a later entry."""
        log, seconds = self._log, self._limit.seconds
        ends = [now, *log[bisect_right(log, now) : bisect_left(log, now + seconds)]]
        return max(bisect_right(log, end) - bisect_right(log, end - seconds) for end in ends)


class Bucket:
    """A bucket of N tokens that refills at N a window; it can let twice N, less one, through one window."""

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._tokens = float(limit.count)
        self._at = 0.0

    def hit(self, now: float) -> Reading:
        """Counts or refuses the request."""
        count, rate = self._limit.count, self._limit.count / self._limit.seconds
        if self._at:
            now = max(now, self._at)
            self._tokens = min(float(count), self._tokens + (now - self._at) * rate)
        self._at = now
        admitted = self._tokens >= 1.0 - _ROUNDING
        self._tokens -= admitted
        full = now + (count - self._tokens) / rate
        free = now if self._tokens >= 1.0 - _ROUNDING else now + (1.0 - self._tokens) / rate
        return Reading(admitted, count, int(self._tokens), full, free)


_KINDS: Mapping[str, type[Fixed] | type[FirstHit] | type[Sliding] | type[Bucket]] = {
    "fixed": Fixed,
    "first-hit": FirstHit,
    "sliding": Sliding,
    "bucket": Bucket,
}


def open_window(kind: WindowKind, limit: Limit) -> Window:
    """A fresh window of that kind."""
    return _KINDS[kind](limit)


class RateLimits:
    """The windows of all keys and groups of one provider, opened at their first request."""

    def __init__(self, kind: WindowKind, limits: Mapping[str, Limit]) -> None:
        self._kind = kind
        self.limits = dict(limits)
        self._windows: dict[tuple[str, str], Window] = {}

    def hit(self, key: str, group: str, now: float) -> Reading:
        """Counts one request of `key` in `group`, or refuses it."""
        window = self._windows.get((key, group))
        if window is None:
            window = self._windows[key, group] = open_window(self._kind, self.limits[group])
        return window.hit(now)

    def change(self, kind: WindowKind, limits: Mapping[str, Limit]) -> None:
        """Takes new settings; only the windows that they alter start afresh."""
        altered = {group for group in limits if kind != self._kind or limits[group] != self.limits.get(group)}
        self._kind, self.limits = kind, dict(limits)
        self._windows = {slot: window for slot, window in self._windows.items() if slot[1] not in altered}

    def clear(self) -> None:
        """Forgets every count."""
        self._windows.clear()


def rate_headers(reading: Reading) -> dict[str, str]:
    """`X-RateLimit-Limit`, `-Remaining` and `-Reset`, the last as an instant in whole Unix seconds."""
    return {
        "X-RateLimit-Limit": str(reading.limit),
        "X-RateLimit-Remaining": str(reading.remaining),
        "X-RateLimit-Reset": str(ceil(reading.reset)),
    }


def wait_seconds(reading: Reading, now: float) -> int:
    """Whole seconds after which a refused request would be admitted, at least 1."""
    return max(1, ceil(reading.free - now))
