"""Limits as an operator writes them: `"100/minute"`, `"20000/day"`, `"1000/day@Europe/London"`."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

LONGEST_GUARD = 0.5
DAY_GUARD = 5.0
LONGEST_DURATION = 1e10  # seconds: three hundred years, which a database's clock can still be moved by
LONGEST_QUOTED = 40  # characters of what is no duration

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_WORDS = {"second": 1, "minute": 60, "hour": 3600}
_LIMIT = re.compile(r"(?P<count>[1-9][0-9]{0,11})/(?P<window>\S+)", re.ASCII)
_SPAN = re.compile(r"(?P<number>[1-9][0-9]{0,8})(?P<unit>[smh])", re.ASCII)
# Without the text itself, which may have been read from the environment.
_REFUSAL = (
    "is not a limit: write '<n>/<window>' where n is a whole number from 1 and window is second, minute, hour, <k>s, "
    "<k>m, <k>h, day or day@<zone>, as in '100/minute'."
)
_DURATION = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<unit>[smhd]?)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Limit:
    """`count` requests in any `window` seconds, or, where `window` is None, in one calendar day of `zone`.

    `text` is the limit as configured; it names the limit in reports and in Redis.
    """

    count: int
    window: float | None
    zone: str | None
    text: str

    @classmethod
    def parse(cls, text: str) -> "Limit":
        """Read `"<n>/<window>"`: second, minute, hour, `<k>s`, `<k>m`, `<k>h`, `day` (UTC) or `day@<zone>`.

        Raises ValueError, a sentence without its subject, when the text is anything else.
        """
        match = _LIMIT.fullmatch(text)
        if match is None:
            raise ValueError(_REFUSAL)
        count, window = int(match["count"]), match["window"]
        if window == "day" or window.startswith("day@"):
            zone = window[4:] if "@" in window else "UTC"
            _zone(zone)
            return cls(count, None, zone, text)
        if window in _WORDS:
            return cls(count, float(_WORDS[window]), None, text)
        span = _SPAN.fullmatch(window)
        if span is None:
            raise ValueError(_REFUSAL)
        return cls(count, float(int(span["number"]) * _UNITS[span["unit"]]), None, text)

    @property
    def is_day(self) -> bool:
        """Whether this is a calendar quota rather than a rolling window."""
        return self.window is None


def guard_for(limit: Limit, configured: float | None = None, *, skew: float = 0.0) -> float:
    """Seconds added to the limit's window, for drift and for the spread between grant and arrival.

    A rolling window gets `configured`, else the smaller of half a second and a tenth of the window.
    A day gets five seconds and the measured `skew` (seconds, either sign) between our clock and the provider's.
    """
    if limit.window is None:
        return DAY_GUARD + abs(skew)
    return min(LONGEST_GUARD, limit.window / 10) if configured is None else configured


def day_bounds(now: float, zone: str) -> tuple[float, float, float, float]:
    """Unix seconds at which the previous day, this day, the next and the one after begin in `zone`.

    A day has 23 or 25 hours where the clocks change; where midnight itself is skipped, with its first instant.
    """
    where = ZoneInfo(zone)
    today = datetime.fromtimestamp(now, where).date()
    starts = [_midnight(today + timedelta(days=offset), where) for offset in (-1, 0, 1, 2)]
    return starts[0], starts[1], starts[2], starts[3]


def tightest(limits: Iterable[Iterable[Limit]]) -> tuple[Limit, ...]:
    """The limits of several accounts on one key as one list: of those with the same window the smallest count holds."""
    kept: dict[tuple[float | None, str | None], Limit] = {}
    for one in (limit for account in limits for limit in account):
        window = (one.window, one.zone)
        if window not in kept or one.count < kept[window].count:
            kept[window] = one
    return tuple(
        sorted(kept.values(), key=lambda limit: (math.inf if limit.window is None else limit.window, limit.text))
    )


def parse_duration(value: str | float) -> float:
    """Seconds in `"30s"`, `"10m"`, `"72h"`, `"30d"` or a plain number of seconds. Raises ValueError otherwise."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LONGEST_DURATION:
        return float(value)
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    seconds = math.inf if match is None else float(match["number"]) * _UNITS.get(match["unit"], 1)
    if seconds > LONGEST_DURATION:
        said = repr(value) if isinstance(value, str | float) and len(str(value)) <= LONGEST_QUOTED else "this"
        raise ValueError(
            f"{said} is not a duration: write a number of seconds, or one with s, m, h or d as in '30s' or '72h'."
        )
    return seconds


def _midnight(day: date, where: tzinfo) -> float:
    # fold=0 is the first of two midnights. A midnight that the zone skips is read with the offset before the gap, which
    # is the instant the gap ends: the first one of that day.
    return datetime.combine(day, time(), where).astimezone(UTC).timestamp()


def _zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, malformed, or a folder of the zone database
        raise ValueError("names no time zone: write one of the IANA names, as in '1000/day@Europe/London'.") from None
