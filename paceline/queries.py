"""Reading where messages stand, and cancelling them."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    String,
    bindparam,
    case,
    func,
    insert,
    literal,
    null,
    select,
    update,
)

from paceline import events, tables
from paceline.capabilities import Capabilities
from paceline.ciphers import SEARCHED, Unreadable
from paceline.clock import now
from paceline.content import HIDDEN, content_of, keyring_of
from paceline.door import MESSAGE as PLACE
from paceline.door import check_time
from paceline.errors import InvalidMessage, MessageNotFound
from paceline.segments import SEGMENTATIONS
from paceline.status import LEVELS, Status
from paceline.transactions import Transaction
from paceline.views import OPEN, AttemptView, EventView, MessageView, moment
from paceline.waiting import COUNTED, Shut, Situation, sentence

MESSAGE = tables.columns(tables.Message)
STREAM = tables.columns(tables.Stream)
KEY = tables.columns(tables.IdempotencyKey)
GRANT = tables.columns(tables.Grant)
ATTEMPT = tables.columns(tables.Attempt)
EVENT = tables.columns(tables.Event)
ACCOUNT = tables.columns(tables.Account)
ROUTE = tables.columns(tables.Route)
LANE = tables.columns(tables.Lane)
LANE_KEY = tables.columns(tables.Key)

Lanes = dict[str, tuple[Sequence[str], Sequence[Shut]]]  # by via: where its messages wait, and what of that is closed

Carried = dict[str, dict[str, Capabilities]]  # by via: what its accounts can carry

CLOCKS_APART = 3600.0  # seconds between a producer's clock, which ids bear, and the database's; for `since`

_BASE = select(
    MESSAGE, STREAM.c.via, STREAM.c.priority, STREAM.c.paused, STREAM.c.held, STREAM.c.broadcast, now().label("now")
).join_from(MESSAGE, STREAM, STREAM.c.id == MESSAGE.c.stream_id)


def status(connection: Connection, id: str | None, idempotency_key: str | None) -> MessageView:  # noqa: A002
    """One message with its attempts and events, by its id or by its idempotency key."""
    if (id is None) == (idempotency_key is None):
        raise TypeError("status takes an id or an idempotency_key, one of them.")
    if idempotency_key is not None:
        id = connection.scalar(select(KEY.c.message_id).where(KEY.c.key == idempotency_key))  # noqa: A001
    row = connection.execute(_BASE.where(MESSAGE.c.id == id)).one_or_none() if id is not None else None
    if row is None:
        name = "id" if idempotency_key is None else "idempotency key"
        raise MessageNotFound(f"No message has this {name}; it may have been purged, or enqueued elsewhere.")
    ahead = _ahead(connection, row) if row.status == Status.QUEUED else None
    situation = _situation(connection, row, ahead, {})
    said = _content(connection, row)
    billed = _parts(connection, row, said, {})
    named = _provider_id(connection, row)
    return _view(row, situation, said, named, billed, _attempts(connection, row), events.of_message(connection, row.id))


def messages(
    connection: Connection,
    status: str | None,
    via: str | None,
    since: datetime | timedelta | None,
    limit: int,
    after: str | None,
) -> list[MessageView]:
    """The newest messages first, by what was asked for."""
    query = _BASE.order_by(MESSAGE.c.id.desc()).limit(limit)
    if status is not None:
        query = query.where(MESSAGE.c.status == _status(status))
    if via is not None:
        query = query.where(STREAM.c.via == via)
    if isinstance(since, timedelta):
        start: float | None = connection.execute(select(now())).scalar_one() - since.total_seconds()
    else:
        start = check_time("since", since)
    if start is not None:
        # Ids begin with the time: the bound on them ends the walk, the other one decides.
        query = query.where(MESSAGE.c.created_at >= start, MESSAGE.c.id >= _id_bound(start - CLOCKS_APART))
    if after is not None:
        query = query.where(MESSAGE.c.id < after)
    known: Lanes = {}
    carried: Carried = {}
    found = [(row, _content(connection, row)) for row in connection.execute(query).all()]
    return [
        _view(
            row,
            _situation(connection, row, None, known),
            said,
            _provider_id(connection, row),
            _parts(connection, row, said, carried),
        )
        for row, said in found
    ]


def cancel(transaction: Transaction, id: str) -> bool:  # noqa: A002
    """Cancel a message if it is queued; True if it is `cancelled` in the end. Safe to repeat."""
    moved = transaction.run(_CANCEL, {"the_id": id})
    if not moved:
        found = transaction.run(_STATUS, {"the_id": id})
        if not found:
            raise MessageNotFound("No message has this id; it may have been purged, or enqueued elsewhere.")
        return bool(found[0][0] == Status.CANCELLED)
    became, reason = moved[0]
    transaction.run(_CANCELLED, {"the_id": id, "became": became, "why": reason})
    return bool(became == Status.CANCELLED)


def _status(name: str) -> str:
    try:
        return Status(name).value
    except ValueError:
        raise InvalidMessage("status", f"must be one of {', '.join(Status)}") from None


def _id_bound(seconds: float) -> str:
    digits = f"{max(0, int(seconds * 1000)):012x}"
    return f"{digits[:8]}-{digits[8:]}"


def _attempts(connection: Connection, row: "Row[Any]") -> tuple[AttemptView, ...]:
    query = select(ATTEMPT).where(ATTEMPT.c.message_id == row.id).order_by(ATTEMPT.c.number)
    found = connection.execute(query).all()
    views = [
        AttemptView(moment(item.at), item.outcome, item.http_status, item.code, item.request_id, item.duration_ms)
        for item in found
    ]
    if row.status == Status.SENDING and row.attempt not in {item.number for item in found}:
        grant = select(func.coalesce(GRANT.c.granted_at, GRANT.c.created_at)).where(GRANT.c.id == row.grant_id)
        left_at = connection.scalar(grant) or row.updated_at
        views.append(AttemptView(moment(left_at), OPEN, None, "", None, None))
    return tuple(views)


def _content(connection: Connection, row: "Row[Any]") -> Mapping[str, Any]:
    """What was enqueued; nothing of a row that cannot be read, which is to be shown all the same."""
    try:
        found = json.loads(keyring_of(connection).open(row.payload, PLACE, row.id))
    except Unreadable:
        return {"metadata": HIDDEN}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _provider_id(connection: Connection, row: "Row[Any]") -> str | None:
    stored: str | None = row.provider_message_id
    return content_of(connection).id_in(stored) if stored is not None and stored.startswith(SEARCHED) else stored


def _view(
    row: "Row[Any]",
    situation: Situation,
    content: Mapping[str, Any],
    provider_id: str | None,
    billed: int,
    attempts: tuple[AttemptView, ...] = (),
    said: tuple[EventView, ...] = (),
) -> MessageView:
    return MessageView(
        id=row.id,
        status=Status(row.status),
        reason=row.reason,
        waiting_for=sentence(situation),
        via=row.via,
        account=row.account,
        provider_message_id=provider_id,
        idempotency_key=row.idempotency_key,
        priority=LEVELS[row.priority].value,
        created_at=moment(row.created_at),
        send_at=None if row.send_at is None else moment(row.send_at),
        expires_at=None if row.expires_at is None else moment(row.expires_at),
        metadata=content.get("metadata", {}),
        parts=billed,
        attempts=attempts,
        events=said,
    )


def _parts(connection: Connection, row: "Row[Any]", content: Mapping[str, Any], carried: Carried) -> int:
    """How many messages its provider bills for it: by the account that sends it, or else the first that may."""
    if row.via not in carried:
        carried[row.via] = _carriers(connection, row.via)
    by_account = carried[row.via]
    capabilities = by_account.get(row.account) or next(iter(by_account.values()), None)
    text = content.get("text")
    if capabilities is None or not capabilities.segmentation or not isinstance(text, str):
        return 1
    return SEGMENTATIONS[capabilities.segmentation](text)


def _carriers(connection: Connection, via: str) -> dict[str, Capabilities]:
    """What the accounts of `via` can carry, in order."""
    route = connection.scalar(select(ROUTE.c.accounts).where(ROUTE.c.name == via))
    accounts: list[str] = [via] if route is None else json.loads(route)
    rows = connection.execute(select(ACCOUNT.c.name, ACCOUNT.c.capabilities).where(ACCOUNT.c.name.in_(accounts)))
    found = {row.name: Capabilities.from_json(json.loads(row.capabilities)) for row in rows}
    return {name: found[name] for name in accounts if name in found}


def _situation(connection: Connection, row: "Row[Any]", ahead: int | None, known: Lanes) -> Situation:
    ready = row.status == Status.QUEUED and (row.due_at is None or row.due_at <= row.now)
    # What an account may have sent already is repeated by it, or by nobody.
    via = row.account if row.unresolved and row.account else row.via
    if ready and via not in known:
        known[via] = _lanes(connection, via, row.now)
    lanes, shut = known[via] if ready else ((), ())
    return Situation(
        now=row.now,
        status=Status(row.status),
        reason=row.reason,
        due_at=row.due_at,
        send_at=row.send_at,
        lease_until=row.lease_until,
        poll_at=row.poll_at,
        paused=row.paused,
        held=row.held,
        attempts=row.attempt,
        ahead=ahead,
        lanes=lanes,
        shut=shut,
    )


def _ahead(connection: Connection, row: "Row[Any]") -> int:
    ahead = select(MESSAGE.c.id).where(
        MESSAGE.c.stream_id == row.stream_id,
        MESSAGE.c.status == Status.QUEUED.value,
        MESSAGE.c.due_at.is_(None),
        MESSAGE.c.id < row.id,
    )
    return connection.scalar(select(func.count()).select_from(ahead.limit(COUNTED + 1).subquery())) or 0


def _lanes(connection: Connection, via: str, at: float) -> tuple[Sequence[str], Sequence[Shut]]:
    route = connection.scalar(select(ROUTE.c.accounts).where(ROUTE.c.name == via))
    accounts: list[str] = [via] if route is None else json.loads(route)
    query = (
        select(
            ACCOUNT.c.name.label("account"),
            ACCOUNT.c.lane,
            LANE.c.unready,
            *_closures(LANE, "lane"),
            *_closures(LANE_KEY, "key"),
        )
        .select_from(ACCOUNT.outerjoin(LANE, LANE.c.name == ACCOUNT.c.lane))
        .outerjoin(LANE_KEY, LANE_KEY.c.name == LANE.c.key)
        .where(ACCOUNT.c.name.in_(accounts))
    )
    found = sorted(connection.execute(query), key=lambda item: accounts.index(item.account))
    lanes = {item.lane: _closure(item, at) for item in found}
    return tuple(lanes), tuple(shut for shut in lanes.values() if shut is not None)


def _closures(table: Any, name: str) -> tuple[Any, Any]:
    return table.c.closed_reason.label(f"{name}_reason"), table.c.closed_until.label(f"{name}_until")


def _closure(item: Any, at: float) -> Shut | None:
    for reason, until in ((item.key_reason, item.key_until), (item.lane_reason, item.lane_until)):
        if reason is not None and (until is None or until > at):
            return Shut(item.lane, reason, until)
    return None if item.unready is None else Shut(item.lane, item.unready, None, unready=True)


_CANCEL = (
    update(MESSAGE)
    .where(MESSAGE.c.id == bindparam("the_id", type_=String()), MESSAGE.c.status == Status.QUEUED.value)
    .values(
        status=case((MESSAGE.c.unresolved, Status.UNKNOWN.value), else_=Status.CANCELLED.value),
        reason=case((MESSAGE.c.unresolved, "cancelled after an attempt whose outcome is unknown"), else_="cancelled"),
        due_at=null(),
        updated_at=now(),
    )
    .returning(MESSAGE.c.status, MESSAGE.c.reason)
)
_STATUS = select(MESSAGE.c.status).where(MESSAGE.c.id == bindparam("the_id", type_=String()))
_CANCELLED = insert(EVENT).values(
    message_id=bindparam("the_id", type_=String()),
    at=now(),
    source=literal("application"),
    status=bindparam("became", type_=String()),
    reason=bindparam("why", type_=String()),
)
