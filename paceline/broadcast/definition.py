"""A broadcast: one message for many recipients, when it goes, and where it stands."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

import phonenumbers

from paceline.broadcast.schedule import RECIPIENT, Hours, check_cron, check_exists, check_zone, local_instant
from paceline.door import check_extras, check_priority, check_time
from paceline.errors import InvalidMessage
from paceline.messages import Message, check_mapping, from_json

LONGEST_NAME = 200  # characters
LAST_ZONE = 12 * 3600.0  # seconds that the last zone is behind UTC

RAMP_DAY = 86_400.0  # seconds that each day of a ramp-up lasts, whatever the clocks do
MOST_DAYS = 366  # of a ramp-up
MOST_MESSAGES = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Ramp:
    """How a new number is warmed up: `first` messages on the first day, and `growth` times as many each day after."""

    first: int
    growth: float = 2.0

    def ends(self) -> tuple[int, ...]:
        """How many will have gone by the end of each of its days, up to more than any broadcast has."""
        total, ends = 0, list[int]()
        while total < MOST_MESSAGES and len(ends) < MOST_DAYS:
            total += int(self.first * self.growth ** len(ends))
            ends.append(total)
        return tuple(ends)


@dataclass(frozen=True, slots=True, repr=False)
class Definition:
    """All that makes a broadcast, checked. Times are Unix seconds; `local_send_at` is one on the recipients' walls."""

    name: str
    message: Message
    via: str
    priority: str = "bulk"
    send_at: float | None = None
    local_send_at: str | None = None
    timezone: str | None = None
    zone_column: str | None = None
    cron: str | None = None
    expires_at: float | None = None
    sending_hours: str | None = None
    default_region: str | None = None
    defaults: Mapping[str, str] = field(default_factory=dict)
    weight: float = 1.0
    ramp_up: Ramp | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Definition({self.name!r}, via={self.via!r})"

    @property
    def by_recipient(self) -> bool:
        """Whether it keeps to its recipients' own time."""
        return self.timezone == RECIPIENT

    @property
    def waits(self) -> bool:
        """Whether something but its lane decides when it goes."""
        return any((self.send_at, self.local_send_at, self.cron, self.sending_hours, self.ramp_up))

    @property
    def hours(self) -> Hours | None:
        """In which part of the day it may be sent."""
        return None if self.sending_hours is None else Hours.parse(self.sending_hours)

    def as_json(self) -> dict[str, Any]:
        """Plain data, for the table."""
        data = {item.name: getattr(self, item.name) for item in fields(self)}
        ramp = self.ramp_up
        data |= {"message": self.message.as_json(), "options": dict(self.options), "metadata": dict(self.metadata)}
        data |= {"defaults": dict(self.defaults), "ramp_up": None if ramp is None else [ramp.first, ramp.growth]}
        return {name: value for name, value in data.items() if value not in (None, {}, [])}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Definition":
        """What `as_json` wrote."""
        ramp = data.get("ramp_up")
        known = {item.name for item in fields(cls)}
        values = {name: value for name, value in data.items() if name in known}
        return cls(
            **{**values, "message": from_json(data["message"]), "ramp_up": None if ramp is None else Ramp(*ramp)}
        )

    @property
    def digest(self) -> str:
        """The same for the same definition: hexadecimal SHA-256."""
        text = json.dumps(self.as_json(), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Preview:
    """What a broadcast would do: how many rows go, and what becomes of the others. `parts` are what is billed.

    `warnings` are sentences that somebody should read before it starts.
    """

    recipients: int = 0
    duplicates: int = 0
    suppressed: int = 0
    invalid: int = 0
    messages: int = 0
    parts: int = 0
    warnings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {item.name: getattr(self, item.name) for item in fields(self)} | {"warnings": list(self.warnings)}


def define(
    name: str,
    message: Message,
    via: str,
    *,
    send_at: datetime | None = None,
    timezone: str | None = None,
    zone_column: str | None = None,
    cron: str | None = None,
    expires_at: datetime | None = None,
    priority: str = "bulk",
    sending_hours: str | None = None,
    default_region: str | None = None,
    defaults: Mapping[str, str] | None = None,
    weight: float = 1.0,
    ramp_up: Mapping[str, Any] | Ramp | None = None,
    options: Mapping[str, Any] | None = None,
    metadata: Mapping[str, str] | None = None,
    now: float = 0.0,
) -> Definition:
    """Check everything that needs no recipient. `now`, Unix seconds, is what times must lie behind.

    Raises `InvalidMessage`, naming the field.
    """
    if not isinstance(name, str) or not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        raise InvalidMessage("name", f"must be 1 to {LONGEST_NAME} printable characters")
    if not isinstance(message, Message):
        raise InvalidMessage("message", "must be a Text, Media, Template or Email")
    if timezone is not None and timezone != RECIPIENT:
        check_zone(timezone)
    if zone_column is not None and timezone != RECIPIENT:
        raise InvalidMessage("zone_column", 'needs timezone="recipient"')
    if cron is not None:
        _check_recurrence(cron, timezone, send_at, expires_at, ramp_up)
    at, local = _send_at(send_at, timezone, now)
    ends = _expires_at(expires_at, timezone)
    if ends is not None and ends <= max(now, at or 0.0):
        raise InvalidMessage("expires_at", "must lie in the future, and after send_at")
    if sending_hours is not None:
        Hours.parse(sending_hours)
        if timezone is None:
            raise InvalidMessage("sending_hours", 'needs a timezone: an IANA name, or "recipient"')
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0.01 <= weight <= 100:
        raise InvalidMessage("weight", "must be a number from 0.01 to 100")
    check_extras(metadata, options)
    check_mapping("defaults", defaults or {})
    return Definition(
        name=name,
        message=message,
        via=via,
        priority=str(check_priority(priority)),
        send_at=at,
        local_send_at=local,
        timezone=timezone,
        zone_column=zone_column,
        cron=None if cron is None else check_cron(cron),
        expires_at=ends,
        sending_hours=sending_hours,
        default_region=_region(default_region),
        defaults=dict(defaults or {}),
        weight=float(weight),
        ramp_up=_ramp(ramp_up),
        options=dict(options or {}),
        metadata=dict(metadata or {}),
    )


def _check_recurrence(cron: str, timezone: str | None, send_at: object, expires_at: object, ramp_up: object) -> None:
    check_cron(cron)
    if timezone is None or timezone == RECIPIENT:
        raise InvalidMessage("timezone", "is required beside cron: an IANA name such as Europe/London")
    if send_at is not None or expires_at is not None:
        raise InvalidMessage("cron", "stands instead of send_at and expires_at: leave those out")
    if ramp_up is not None:
        raise InvalidMessage("ramp_up", "cannot go with cron: each run would begin it anew")


def _send_at(send_at: object, timezone: str | None, now: float) -> tuple[float | None, str | None]:
    if send_at is None:
        return None, None
    if not isinstance(send_at, datetime):
        raise InvalidMessage("send_at", "must be a datetime")
    if send_at.utcoffset() is not None:
        at = check_exists(send_at).timestamp()
    elif timezone is None:
        raise InvalidMessage("send_at", "must have a time zone of its own, or a timezone beside it")
    elif timezone == RECIPIENT:
        if send_at.replace(tzinfo=UTC).timestamp() + LAST_ZONE <= now:
            raise InvalidMessage("send_at", "must lie in the future")
        return None, send_at.isoformat()
    else:
        at = local_instant(send_at, timezone)
    if at <= now:
        raise InvalidMessage("send_at", "must lie in the future; leave it out to send at once")
    return at, None


def _expires_at(expires_at: object, timezone: str | None) -> float | None:
    """One instant, also where recipients have their own time: a deadline is the broadcast's."""
    if isinstance(expires_at, datetime) and expires_at.utcoffset() is None:
        if timezone is None or timezone == RECIPIENT:
            rule = "must have an offset, such as +01:00 or Z, unless timezone names a zone in which it is meant"
            raise InvalidMessage("expires_at", rule)
        return local_instant(expires_at, timezone, "expires_at")
    ends = check_time("expires_at", expires_at)
    if isinstance(expires_at, datetime):
        check_exists(expires_at, "expires_at")
    return ends


def _region(region: object) -> str | None:
    if region is None:
        return None
    if not isinstance(region, str) or region not in phonenumbers.SUPPORTED_REGIONS:
        raise InvalidMessage("default_region", "must be a country's two letters, such as GB")
    return region


def _ramp(ramp: object) -> Ramp | None:
    if ramp is None or isinstance(ramp, Ramp):
        return ramp
    if isinstance(ramp, Mapping) and set(ramp) <= {"first", "growth"}:
        first, growth = ramp.get("first"), ramp.get("growth", 2.0)
        whole = isinstance(first, int) and not isinstance(first, bool) and first >= 1
        grows = isinstance(growth, int | float) and not isinstance(growth, bool) and 1 <= growth <= 100
        if whole and grows:
            return Ramp(int(first), float(growth))  # type: ignore[arg-type]  # a whole number, just now
    raise InvalidMessage("ramp_up", "must be {first: a whole number of messages, growth: a number from 1 to 100}")
