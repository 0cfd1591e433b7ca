"""Reading events: those of one message, and all of them, in order, from wherever a reader stopped."""

from typing import Any

from sqlalchemy import Connection, Row, select

from paceline import tables
from paceline.content import Keyring, keyring_of
from paceline.errors import InvalidMessage
from paceline.status import Status
from paceline.views import EventView, moment

EVENT = tables.columns(tables.Event)
MOST = 10_000  # events of one reading


def of_message(connection: Connection, id: str) -> tuple[EventView, ...]:  # noqa: A002  # the message's id
    """What was said about one message, in order."""
    found = connection.execute(select(EVENT).where(EVENT.c.message_id == id).order_by(EVENT.c.id))
    return tuple(view(row, keyring_of(connection)) for row in found)


def after(connection: Connection, cursor: int | None, limit: int) -> list[EventView]:
    """The next events after that cursor. Raises `InvalidMessage` for one that is none, or a limit out of bounds."""
    start, most = check(cursor, limit)
    query = select(EVENT).where(EVENT.c.position > start).order_by(EVENT.c.position).limit(most)
    return [view(row, keyring_of(connection)) for row in connection.execute(query)]


def check(cursor: object, limit: object) -> tuple[int, int]:
    """Where to begin, and how many at most."""
    start = 0 if cursor is None else cursor
    if not isinstance(start, int) or isinstance(start, bool) or not 0 <= start < 2**63:
        raise InvalidMessage("after", "must be an event's cursor, or None to begin with the first event")
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MOST:
        raise InvalidMessage("limit", f"must be a whole number from 1 to {MOST}")
    return start, limit


def place(account: str | None, kind: str) -> tuple[str, str, str]:
    """What an event's data is bound to where it is encrypted: its id comes later than that."""
    return "event", account or "", kind


def view(row: "Row[Any]", keys: Keyring) -> EventView:
    """A row of the table as its readers see it."""
    return EventView(
        at=moment(row.at),
        source=row.source,
        status=Status(row.status) if row.status else None,
        reason=row.reason,
        kind=row.kind,
        message_id=row.message_id,
        account=row.account,
        data=keys.shown(row.data, *place(row.account, row.kind)) if row.data else {},
        cursor=row.position,
    )
