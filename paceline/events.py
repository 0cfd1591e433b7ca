"""Reading events: those of one message, and all of them, in order, from wherever a reader stopped."""

import json
from typing import Any

from sqlalchemy import Connection, Row, select

from paceline import tables
from paceline.errors import InvalidMessage
from paceline.status import Status
from paceline.views import EventView, moment

EVENT = tables.columns(tables.Event)
MOST = 10_000  # events of one reading


def of_message(connection: Connection, id: str) -> tuple[EventView, ...]:  # noqa: A002  # the message's id
    """What was said about one message, in order."""
    found = connection.execute(select(EVENT).where(EVENT.c.message_id == id).order_by(EVENT.c.id))
    return tuple(map(view, found))


def after(connection: Connection, cursor: int | None, limit: int) -> list[EventView]:
    """The next events after that cursor. Raises `InvalidMessage` for one that is none, or a limit out of bounds."""
    start, most = check(cursor, limit)
    query = select(EVENT).where(EVENT.c.position > start).order_by(EVENT.c.position).limit(most)
    return list(map(view, connection.execute(query)))


def check(cursor: object, limit: object) -> tuple[int, int]:
    """Where to begin, and how many at most."""
    start = 0 if cursor is None else cursor
    if not isinstance(start, int) or isinstance(start, bool) or not 0 <= start < 2**63:
        raise InvalidMessage("after", "must be an event's cursor, or None to begin with the first event")
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MOST:
        raise InvalidMessage("limit", f"must be a whole number from 1 to {MOST}")
    return start, limit


def view(row: "Row[Any]") -> EventView:
    """A row of the table as its readers see it."""
    return EventView(
        at=moment(row.at),
        source=row.source,
        status=Status(row.status) if row.status else None,
        reason=row.reason,
        kind=row.kind,
        message_id=row.message_id,
        account=row.account,
        data=json.loads(row.data) if row.data else {},
        cursor=row.position,
    )
