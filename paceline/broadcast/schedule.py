"""When a broadcast goes: an instant, a local time in a zone, a recurrence, and the hours in which it may. Pure.

Clocks change twice a year. A local time that a zone skips is refused, of one that it has twice the first is meant; a
recurrence runs once for each time its crontab names, as cron does.
"""

import functools
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from paceline.errors import InvalidMessage

RECIPIENT = "recipient"  # instead of a zone: each recipient's own

_HOURS = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-4]):([0-5][0-9])")


@dataclass(frozen=True, slots=True)
class Hours:
    """The part of each local day in which something may be sent, as minutes; over midnight if `end` is earlier."""

    start: int
    end: int

    @classmethod
    def parse(cls, text: str) -> "Hours":
        """Read `"09:00-20:00"`. Raises `InvalidMessage`."""
        match = _HOURS.fullmatch(text) if isinstance(text, str) else None
        start, end = (0, 0) if match is None else (_minutes(match[1], match[2]), _minutes(match[3], match[4]))
        if match is None or start == end or end > 24 * 60:
            raise InvalidMessage("sending_hours", "must be two different times of day, as in '09:00-20:00'")
        return cls(start, end)

    def open_from(self, at: float, zone: str) -> float:
        """The first instant from `at` on, Unix seconds, at which the hours are open in that zone."""
        where = zone_of(zone)
        local = datetime.fromtimestamp(at, where)
        if self._contains(local):
            return at
        for days in range(3):
            begins = _instant_of(local.date() + timedelta(days=days), self.start, where)
            if begins >= at:
                return begins
        raise AssertionError("hours open every day")

    def closes_after(self, at: float, zone: str) -> float:
        """The instant at which hours that are open at `at` close."""
        where = zone_of(zone)
        local = datetime.fromtimestamp(at, where)
        for days in range(3):
            ends = _instant_of(local.date() + timedelta(days=days), self.end, where)
            if ends > at:
                return ends
        raise AssertionError("hours close every day")

    def _contains(self, local: datetime) -> bool:
        minute = local.hour * 60 + local.minute
        if self.start < self.end:
            return self.start <= minute < self.end
        return minute >= self.start or minute < self.end


def check_zone(zone: object, field: str = "timezone") -> str:
    """The zone, if it is an IANA name; `InvalidMessage` otherwise."""
    if isinstance(zone, str):
        try:
            zone_of(zone)
        except (KeyError, ValueError, OSError):  # unknown, malformed, or a folder of the zone database
            pass
        else:
            return zone
    raise InvalidMessage(field, "must be an IANA name such as Europe/London")


@functools.cache
def zone_of(zone: str) -> ZoneInfo:
    """The zone. Raises KeyError, ValueError or OSError for what is none."""
    return ZoneInfo(zone)


def local_instant(local: datetime, zone: str, field: str = "send_at") -> float:
    """Unix seconds of a time on the wall in that zone; of one that its clocks show twice, the first.

    Raises `InvalidMessage` for one that they skip.
    """
    check_exists(local.replace(tzinfo=zone_of(zone), fold=0), field)
    return instant_in(local, zone)


def check_exists(moment: datetime, field: str = "send_at") -> datetime:
    """The aware datetime; `InvalidMessage` for one that the clocks of its zone skip."""
    if not _exists(moment):
        where = moment.tzinfo
        raise InvalidMessage(field, f"does not exist in {where}: the clocks skip it; take an hour earlier or later")
    return moment


def instant_in(local: datetime, zone: str) -> float:
    """The same of any time: one that the clocks skip is the instant at which they do."""
    return _instant(local.replace(tzinfo=None), zone_of(zone))


def check_cron(cron: object) -> str:
    """The crontab of five fields, if it is one that ever comes; `InvalidMessage` otherwise."""
    if isinstance(cron, str) and len(cron.split()) == 5:
        try:
            next(CronSim(cron, datetime(2024, 1, 1, tzinfo=UTC)))
        except (CronSimError, StopIteration):
            pass
        else:
            return cron
    raise InvalidMessage("cron", "must be a crontab of five fields that comes at some time, as in '0 9 * * 2'")


def next_run(cron: str, zone: str, after: float) -> float:
    """The first time of the crontab in that zone behind `after`, Unix seconds."""
    return next(CronSim(cron, datetime.fromtimestamp(after, zone_of(zone)))).timestamp()


def _minutes(hours: str, minutes: str) -> int:
    return int(hours) * 60 + int(minutes)


def _instant_of(day: date, minute: int, where: ZoneInfo) -> float:
    if minute == 24 * 60:
        day, minute = day + timedelta(days=1), 0
    return _instant(datetime.combine(day, time(minute // 60, minute % 60)), where)


def _instant(local: datetime, where: ZoneInfo) -> float:
    """Unix seconds of a time on the wall; of one that the zone's clocks skip, the instant at which they do."""
    moment = local.replace(tzinfo=where, fold=0)
    if _exists(moment):
        return moment.timestamp()
    # With the offset of after the change it is an instant before it, and with that of before the change one behind it.
    before, behind = moment.replace(fold=1).timestamp(), moment.timestamp()
    old = datetime.fromtimestamp(before, where).utcoffset()
    while behind - before > 0.5:
        middle = (before + behind) / 2
        if datetime.fromtimestamp(middle, where).utcoffset() == old:
            before = middle
        else:
            behind = middle
    return float(round(behind))


def _exists(moment: datetime) -> bool:
    back = moment.astimezone(UTC).astimezone(moment.tzinfo)
    return back.replace(tzinfo=None) == moment.replace(tzinfo=None, fold=0)
