"""Jobs: what a provider is asked for besides sending. Starting one, reading where it stands, cancelling it.

A job is a row that workers carry out step by step, paced like everything else that its account sends.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    Connection,
    Double,
    Executable,
    Row,
    String,
    Text,
    and_,
    bindparam,
    case,
    false,
    insert,
    literal,
    null,
    select,
)
from sqlalchemy import update as update_
from sqlalchemy.dialects import postgresql, sqlite

from paceline import tables
from paceline.capabilities import check_call
from paceline.clock import now
from paceline.content import CLEAR, Content, Keyring, keyring_of
from paceline.directory import Carrier, Via
from paceline.door import check_key, digest
from paceline.errors import DatabaseNotReady, IdempotencyConflict, InvalidMessage, JobNotFound, UnknownAccount
from paceline.ids import new_id
from paceline.status import Status
from paceline.transactions import Transaction
from paceline.views import JobStatus, JobView, moment
from paceline.waiting import Shut, Situation, sentence

MOST_ARGUMENTS = 10_000_000  # bytes of JSON
MOST_LISTED = 10_000
LOOKS = 3  # an idempotency key that was purged between our INSERT and our look is free again
JOB_EVENT = "job"  # the kind of an event that says where a job stands

JOB = tables.columns(tables.Job)
EVENT = tables.columns(tables.Event)
LANE = tables.columns(tables.Lane)
KEY = tables.columns(tables.Key)


@dataclass(frozen=True, slots=True)
class Call:
    """A job that was admitted: what its row will hold. `fresh_for` in seconds, what the provider's answers serve."""

    id: str
    account: str
    operation: str
    lane: str
    arguments: str = field(repr=False)
    digest: str
    idempotency_key: str | None
    fresh_for: float


def carrier_of(vias: Mapping[str, Via], account: object) -> Carrier:
    """The account of that name; `UnknownAccount` names those there are."""
    via = vias.get(account) if isinstance(account, str) else None
    if via is None or len(via.carriers) != 1 or via.carriers[0].account != account:
        names = {carrier.account for each in vias.values() for carrier in each.carriers}
        raise UnknownAccount("account", f"must name an account, not a route; there are {', '.join(sorted(names))}")
    return via.carriers[0]


def admit(
    carrier: Carrier,
    operation: str,
    arguments: Mapping[str, Any],
    idempotency_key: str | None,
    secret: bytes,
    safe: Content = CLEAR,
) -> Call:
    """Check what is asked of the account's provider; the row it becomes. Raises `InvalidMessage`, `ContentLocked`."""
    check_key(idempotency_key)
    given = check_call(carrier.capabilities, carrier.account, operation, arguments)
    offered = carrier.capabilities.calls[operation]
    text = json.dumps(given, allow_nan=False, separators=(",", ":"), default=_plain)
    if len(text) > MOST_ARGUMENTS:
        raise InvalidMessage("arguments", f"must have at most {MOST_ARGUMENTS:,} bytes as JSON, together")
    id_ = new_id()
    return Call(
        id=id_,
        account=carrier.account,
        operation=operation,
        lane=offered.lane,
        arguments=safe.seal(text, *place("arguments", id_)),
        digest=digest(secret, f"{carrier.account}/{operation}", json.loads(text)),
        idempotency_key=idempotency_key,
        fresh_for=offered.fresh_for,
    )


def start(transaction: Transaction, call: Call, expires_in: float | None) -> str:
    """Store the job, or find the one that its idempotency key stands for; its id. Safe to repeat."""
    for _ in range(LOOKS):
        transaction.run(_INSERT[transaction.dialect], _row_of(call, expires_in))
        if call.idempotency_key is None:
            return call.id
        found = transaction.run(_FIND_KEY, {"the_key": call.idempotency_key})
        if found:
            return replayed(call, *found[0])
    raise DatabaseNotReady("The idempotency key was taken and freed again while it was looked up; repeat the call.")


def replayed(call: Call, id: str, digest: str) -> str:  # noqa: A002  # the job's id
    """The id of the job that has this idempotency key, if it was started for the same; else `IdempotencyConflict`."""
    if digest != call.digest:
        raise IdempotencyConflict(
            "idempotency_key: was used before for another account, operation or arguments; use a new key"
        )
    return id


def fresh(connection: Connection, call: Call, seconds: float) -> JobView | None:
    """The newest answer to the same question that is at most so old, if there is one."""
    if seconds <= 0:
        return None
    query = (
        _BASE.where(
            JOB.c.account == call.account,
            JOB.c.digest == call.digest,
            JOB.c.status == str(JobStatus.DONE),
            JOB.c.result.is_not(None),
            JOB.c.updated_at >= now() - seconds,
        )
        .order_by(JOB.c.updated_at.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else _view(row, None, keyring_of(connection))


def job(connection: Connection, id: str) -> JobView:  # noqa: A002  # the job's id
    """Where a job stands. Raises `JobNotFound`."""
    row = connection.execute(_BASE.where(JOB.c.id == id)).one_or_none()
    if row is None:
        raise JobNotFound("No job has this id; it may have been purged, or started elsewhere.")
    return _view(row, _waiting_for(connection, row), keyring_of(connection))


def jobs(
    connection: Connection,
    account: str | None,
    operation: str | None,
    status: str | None,
    limit: int,
    after: str | None,
) -> list[JobView]:
    """The newest jobs first, without what they wait for."""
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MOST_LISTED:
        raise InvalidMessage("limit", f"must be a whole number from 1 to {MOST_LISTED}")
    query = _BASE.order_by(JOB.c.id.desc()).limit(limit)
    if account is not None:
        query = query.where(JOB.c.account == account)
    if operation is not None:
        query = query.where(JOB.c.operation == operation)
    if status is not None:
        query = query.where(JOB.c.status == str(check_status(status)))
    if after is not None:
        query = query.where(JOB.c.id < after)
    return [_view(row, None, keyring_of(connection)) for row in connection.execute(query)]


def check_status(name: str) -> JobStatus:
    """The status of that name, or `InvalidMessage`."""
    try:
        return JobStatus(name)
    except ValueError:
        raise InvalidMessage("status", f"must be one of {', '.join(JobStatus)}") from None


def cancel(transaction: Transaction, id: str) -> bool:  # noqa: A002  # the job's id
    """Cancel a job if it is queued; True if it is `cancelled` in the end. Safe to repeat. Raises `JobNotFound`."""
    moved = transaction.run(_CANCEL, {"the_id": id})
    if not moved:
        found = transaction.run(_STATUS, {"the_id": id})
        if not found:
            raise JobNotFound("No job has this id; it may have been purged, or started elsewhere.")
        return bool(found[0][0] == JobStatus.CANCELLED)
    account, operation, became = moved[0]
    data = json.dumps({"job": id, "operation": operation, "status": became})
    transaction.run(_CANCELLED, {"the_account": account, "the_data": data})
    return bool(became == JobStatus.CANCELLED)


def _row_of(call: Call, expires_in: float | None) -> dict[str, Any]:
    return {
        "new_id": call.id,
        "new_account": call.account,
        "new_lane": call.lane,
        "new_operation": call.operation,
        "new_arguments": call.arguments,
        "new_digest": call.digest,
        "new_key": call.idempotency_key,
        "new_expires_in": expires_in,
    }


def place(column: str, id: str) -> tuple[str, str, str]:  # noqa: A002  # the job's id
    """What a job's content is bound to where it is encrypted."""
    return "job", column, id


def _view(row: "Row[Any]", waiting_for: str | None, keys: Keyring) -> JobView:
    memory = keys.shown(row.memory, *place("memory", row.id))
    return JobView(
        id=row.id,
        account=row.account,
        operation=row.operation,
        status=JobStatus(row.status),
        reason=row.reason,
        waiting_for=waiting_for,
        step=row.step,
        progress=memory.get("progress") if isinstance(memory, dict) else None,
        result=None if row.result is None else keys.shown(row.result, *place("result", row.id)),
        idempotency_key=row.idempotency_key,
        created_at=moment(row.created_at),
        updated_at=moment(row.updated_at),
        expires_at=None if row.expires_at is None else moment(row.expires_at),
    )


def _waiting_for(connection: Connection, row: "Row[Any]") -> str | None:
    if row.status not in (JobStatus.QUEUED, JobStatus.SENDING):
        return None
    return sentence(
        Situation(
            now=row.now,
            status=Status(row.status),
            due_at=row.due_at,
            lease_until=row.lease_until,
            attempts=row.attempt,
            lanes=(row.lane,),
            shut=_shut(connection, row),
        )
    )


def _shut(connection: Connection, row: "Row[Any]") -> list[Shut]:
    query = (
        select(LANE.c.closed_reason, LANE.c.closed_until, KEY.c.closed_reason, KEY.c.closed_until)
        .select_from(LANE.outerjoin(KEY, KEY.c.name == LANE.c.key))
        .where(LANE.c.name == row.lane)
    )
    found = connection.execute(query).one_or_none()
    if found is None:
        return []
    closures = ((found[2], found[3]), (found[0], found[1]))
    shut = [
        Shut(row.lane, reason, until)
        for reason, until in closures
        if reason is not None and (until is None or until > row.now)
    ]
    return shut[:1]


def _plain(value: object) -> dict[Any, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(type(value).__name__)


_BASE = select(JOB, now().label("now"))

_id: Any = bindparam("the_id", type_=String())
_expires_in: Any = bindparam("new_expires_in", type_=Double())
_VALUES = {
    "id": bindparam("new_id", type_=String()),
    "account": bindparam("new_account", type_=String()),
    "lane": bindparam("new_lane", type_=String()),
    "operation": bindparam("new_operation", type_=String()),
    "arguments": bindparam("new_arguments", type_=Text()),
    "digest": bindparam("new_digest", type_=String()),
    "idempotency_key": bindparam("new_key", type_=Text()),
    "status": literal(str(JobStatus.QUEUED)),
    "step": literal(""),
    "memory": literal("{}"),
    "created_at": now(),
    "updated_at": now(),
    "due_at": now(),
    "expires_at": now() + _expires_in,
    "attempt": literal(0),
    "failures": literal(0),
    "unresolved": false(),
}
_INSERT: dict[str, Executable] = {
    "postgresql": postgresql.insert(JOB).values(_VALUES).on_conflict_do_nothing(),
    "sqlite": sqlite.insert(JOB).values(_VALUES).on_conflict_do_nothing(),
}
_FIND_KEY = select(JOB.c.id, JOB.c.digest).where(
    and_(JOB.c.idempotency_key == bindparam("the_key", type_=Text()), JOB.c.idempotency_key.is_not(None))
)
_STATUS = select(JOB.c.status).where(JOB.c.id == _id)
_CANCEL = (
    update_(JOB)
    .where(JOB.c.id == _id, JOB.c.status == str(JobStatus.QUEUED))
    .values(
        status=case((JOB.c.unresolved, str(JobStatus.UNKNOWN)), else_=str(JobStatus.CANCELLED)),
        reason=case((JOB.c.unresolved, "cancelled after a request whose outcome is unknown"), else_="cancelled"),
        lease_until=null(),
        updated_at=now(),
    )
    .returning(JOB.c.account, JOB.c.operation, JOB.c.status)
)
_CANCELLED = insert(EVENT).values(
    account=bindparam("the_account", type_=String()),
    at=now(),
    source=literal("application"),
    kind=literal(JOB_EVENT),
    data=bindparam("the_data", type_=Text()),
)
