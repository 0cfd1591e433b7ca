"""When a broadcast's lines may go: from its definition and a zone, instants and windows. Pure."""

from datetime import datetime

from paceline.broadcast.definition import Definition
from paceline.broadcast.schedule import instant_in

DAYS = 400  # of sending hours that are looked ahead
FOREVER = 1e12  # Unix seconds


def begins_at(definition: Definition, zone: str) -> float | None:
    """The instant at which a zone's messages are let go, Unix seconds; None: at once."""
    if definition.local_send_at is None:
        return definition.send_at
    return instant_in(datetime.fromisoformat(definition.local_send_at), zone)


def zone_for(definition: Definition, zone: str) -> str:
    """The zone in which its sending hours are meant, for a line of recipients in `zone`."""
    return zone if definition.by_recipient else (definition.timezone or "UTC")


def outside(definition: Definition, zone: str, at: float) -> bool:
    """Whether `at` is outside of its sending hours."""
    hours = definition.hours
    return hours is not None and hours.open_from(at, zone_for(definition, zone)) > at


def windows(definition: Definition, zone: str, start: float, at: float) -> tuple[tuple[float, float], ...]:
    """Between which instants a zone's messages may leave from `start` on; none if that is always, seen from `at`."""
    start = max(start, begins_at(definition, zone) or start)
    hours = definition.hours
    if hours is None:
        return () if start <= at else ((start, FOREVER),)
    where, found = zone_for(definition, zone), []
    for _ in range(DAYS):
        opens = hours.open_from(start, where)
        start = hours.closes_after(opens, where)
        found.append((opens, start))
    return tuple(found)
