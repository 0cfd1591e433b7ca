"""How `PoliticalComms` asks for an operation, and what its arguments look like on the way."""

import math
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, Protocol

from paceline.errors import InvalidMessage
from paceline.politicalcomms import rules as rules

# What an account's options may say, as `Operations` takes it; a worker publishes it with the account.
CHOICES = ("max_range_days", "max_age_days", "longest_text", "longest_name", "cents_per_number", "loopback")

Data = dict[str, Any]
Rows = list[dict[str, Any]]


class Call(Protocol):
    """Carries an operation out and returns what it ended with."""

    def __call__(self, operation: str, /, **arguments: Any) -> Any: ...


class Start(Protocol):
    """Begins an operation and returns the id of its job."""

    def __call__(self, operation: str, /, **arguments: Any) -> str: ...


def today() -> date:
    """The date in UTC, by which the age of a report is judged."""
    return datetime.now(UTC).date()


class Operations:
    """Carries operations out by the two callables it is given.

    The others are what the account says of itself, where it is not the default: the longest report and its greatest age
    in days (`dates.…`; generation 2 of the API allows 180), the longest text and name of a project in characters
    (`limits.…`), what a line analysis costs for each number in cents (`analysis.cents_per_number`; 0 where the account
    does not say, None where nobody knows), and whether files are fetched from http too, as a sandbox does.
    """

    def __init__(
        self,
        call: Call,
        start: Start,
        *,
        max_range_days: int = 31,
        max_age_days: int = 90,
        longest_text: int = rules.LONGEST_TEXT,
        longest_name: int = rules.LONGEST_NAME,
        cents_per_number: float | None = None,
        loopback: bool = False,
    ) -> None:
        self._carry_out = call
        self._begin = start
        self._max_range_days = max_range_days
        self._max_age_days = max_age_days
        self._lengths = {"longest_text": longest_text, "longest_name": longest_name}
        self._cents_per_number = cents_per_number
        self._loopback = loopback

    def _period(self, start: date, end: date, most: float = math.inf) -> dict[str, str]:
        """The dates of a report; `most` days whatever the account's options allow."""
        first, last, now = _day("start_date", start), _day("end_date", end), today().isoformat()
        longest, oldest = min(self._max_range_days, most), min(self._max_age_days, most)
        rules.check_period(first, last, max_days=longest, max_age=oldest, today=now)
        return {"start_date": first, "end_date": last, "today": now}

    def _check_cost(self, most: float | None) -> None:
        if most is not None:
            rules.check_cost(most, priced=self._cents_per_number != 0)

    def _check_source(self, name: str, url: str | None) -> None:
        if url is not None:
            rules.check_source(name, url, loopback=self._loopback)

    def _rows(self, operation: str, **arguments: Any) -> Rows:
        return [dict(row) for row in self._carry_out(operation, **_given(arguments))]

    def _data(self, operation: str, **arguments: Any) -> Data:
        return dict(self._carry_out(operation, **_given(arguments)))

    def _start(self, operation: str, **arguments: Any) -> str:
        return self._begin(operation, **_given(arguments))


def choices_of(published: Mapping[str, Any]) -> dict[str, Any]:
    """What `Operations` takes of what was published with an account."""
    return {name: published[name] for name in CHOICES if name in published}


def _day(name: str, day: object) -> str:
    if not isinstance(day, date):
        raise InvalidMessage(name, "must be a date, such as date(2026, 3, 21)")
    return day.isoformat()


def _given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value is not None}


def schedule(scheduled_at: datetime, timezone: str, bypass: bool) -> dict[str, Any]:
    """The arguments of a schedule; raises `InvalidMessage`."""
    at = aware("scheduled_at", scheduled_at)
    rules.check_schedule(at, timezone)
    return {"scheduled_at": at, "scheduled_timezone": timezone, "daily_cap_bypass": bypass}


def aware(name: str, at: datetime) -> str:
    """A time in ISO 8601 with its offset; raises `InvalidMessage` where it has none."""
    if not isinstance(at, datetime) or at.tzinfo is None:
        raise InvalidMessage(name, "must be an aware datetime")
    return at.isoformat(timespec="seconds")


def within(name: str, value: int, least: int, most: int) -> None:
    """Raise `InvalidMessage` unless the number is within bounds."""
    if not isinstance(value, int) or not least <= value <= most:
        raise InvalidMessage(name, f"must be from {least} to {most}")
