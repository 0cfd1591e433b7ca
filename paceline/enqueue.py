"""Storing one message: a row, and where it has an idempotency key the row of that key, in one transaction."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Double,
    Executable,
    Integer,
    String,
    and_,
    bindparam,
    case,
    false,
    func,
    insert,
    literal,
    null,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite

from paceline import tables
from paceline.clock import now
from paceline.directory import Directory
from paceline.door import Entry
from paceline.errors import DatabaseNotReady, IdempotencyConflict
from paceline.ids import position_of
from paceline.status import Status
from paceline.suppression import find, refusal
from paceline.transactions import Transaction

MESSAGE = tables.columns(tables.Message)
KEY = tables.columns(tables.IdempotencyKey)
STREAM = tables.columns(tables.Stream)
LOOKS = 3  # a key that was purged between our INSERT and our look is free again


@dataclass(frozen=True, slots=True)
class Receipt:
    """What `enqueue` answers: the message's id, and whether its idempotency key was seen before.

    `warning` is a sentence if the message will probably expire before it can leave.
    """

    id: str
    replayed: bool
    warning: str | None = None


def store(transaction: Transaction, entry: Entry, stream_id: int) -> Receipt:
    """Write the message, or find the one that its idempotency key stands for.

    Safe to repeat with the same entry: it stores it once. Raises `IdempotencyConflict`, and `Suppressed` for a
    recipient who opted out of every channel that it may go by.
    """
    parameters = row_of(entry, stream_id)
    if entry.asked and len(find(transaction, entry.asked)) == len(entry.asked):
        return _replay_only(transaction, entry)
    if entry.idempotency_key is None:
        transaction.run(INSERT[transaction.dialect], parameters)
        return Receipt(entry.id, replayed=False)
    for _ in range(LOOKS):
        if _store_with_key(transaction, parameters):
            return Receipt(entry.id, replayed=False)
        found = transaction.run(_FIND_KEY, {"new_key": entry.idempotency_key})
        if found:
            message_id, digest = found[0]
            return replay(entry, message_id, digest)
    raise DatabaseNotReady("The idempotency key was taken and freed again while it was looked up; repeat the call.")


def _replay_only(transaction: Transaction, entry: Entry) -> Receipt:
    """The receipt of a message that was stored before its recipient opted out; else `Suppressed`."""
    found = transaction.run(_FIND_KEY, {"new_key": entry.idempotency_key}) if entry.idempotency_key else ()
    if not found:
        raise refusal(entry.asked[0][0])
    message_id, digest = found[0]
    return replay(entry, message_id, digest)


def replay(entry: Entry, message_id: str, digest: str) -> Receipt:
    """The receipt of a key that is taken, if it was taken for the same message; else `IdempotencyConflict`."""
    if digest != entry.digest:
        raise IdempotencyConflict(
            "idempotency_key: was used before for a different message or via; use a new key for a new message"
        )
    return Receipt(message_id, replayed=message_id != entry.id)


def row_of(entry: Entry, stream_id: int) -> dict[str, Any]:
    """The parameters of our statements; SQLAlchemy keeps the columns' own names for itself."""
    return {
        "new_id": entry.id,
        "new_stream_id": stream_id,
        "new_position": position_of(entry.id),
        "new_payload": entry.payload,
        "new_idempotency_key": entry.idempotency_key,
        "new_digest": entry.digest,
        "new_send_at": entry.send_at,
        "new_expires_at": entry.expires_at,
        "new_broadcast": entry.broadcast,
    }


def stream_of(transaction: Transaction, via: str, priority: int) -> int:
    """The id of the line for this via and priority, made if it is missing."""
    parameters = {"new_via": via, "new_priority": priority}
    transaction.run(_NEW_STREAM[transaction.dialect], parameters)
    return int(transaction.run(_FIND_STREAM, parameters)[0][0])


def known_stream(directory: Directory, entry: Entry) -> int | None:
    """The line's id, if the directory has it."""
    return directory.streams.get((entry.via.name, entry.priority))


def _store_with_key(transaction: Transaction, parameters: dict[str, Any]) -> bool:
    if transaction.dialect == "postgresql":
        return bool(transaction.run(_INSERT_BOTH, parameters))
    if not transaction.run(_INSERT_KEY, parameters):
        return False
    transaction.run(INSERT["sqlite"], parameters)
    return True


def values_of_message() -> dict[str, Any]:
    """Each column of a new message, from the parameters that `row_of` makes and the database's clock."""
    send_at: Any = bindparam("new_send_at", type_=Double())
    return {
        "id": bindparam("new_id", type_=String()),
        "stream_id": bindparam("new_stream_id", type_=Integer()),
        "position": bindparam("new_position", type_=BigInteger()),
        "payload": bindparam("new_payload", type_=String()),
        "idempotency_key": bindparam("new_idempotency_key", type_=String()),
        "send_at": send_at,
        "expires_at": bindparam("new_expires_at", type_=Double()),
        "broadcast": bindparam("new_broadcast", type_=Boolean()),
        **fresh_columns(send_at),
    }


def fresh_columns(send_at: Any) -> dict[str, Any]:
    """The columns that are the same for every new message, and those that the database's clock decides."""
    return {
        "status": literal(Status.QUEUED.value),
        "created_at": now(),
        "updated_at": now(),
        "due_at": case((send_at > now(), send_at), else_=null()),
        "attempt": literal(0),
        "failures": literal(0),
        "unresolved": false(),
        "polls": literal(0),
    }


KEY_VALUES = {
    "key": bindparam("new_idempotency_key", type_=String()),
    "message_id": bindparam("new_id", type_=String()),
    "digest": bindparam("new_digest", type_=String()),
    "created_at": now(),
}


def _insert_both() -> Executable:
    values = values_of_message()
    taken = postgresql.insert(KEY).values(KEY_VALUES).on_conflict_do_nothing().returning(KEY.c.message_id).cte("taken")
    return (
        insert(MESSAGE)
        .from_select(list(values), select(*values.values()).select_from(taken), include_defaults=False)
        .returning(MESSAGE.c.id)
    )


def _new_stream(dialect: Any) -> Executable:
    via, priority = bindparam("new_via", type_=String()), bindparam("new_priority", type_=Integer())
    # A line that comes late must not catch up on what the others were given before it was there.
    lowest = select(func.min(STREAM.c.passed)).where(and_(STREAM.c.via == via, STREAM.c.priority == priority))
    values = {
        "via": via,
        "priority": priority,
        "broadcast": literal(""),
        "weight": literal(1.0),
        "passed": func.coalesce(lowest.scalar_subquery(), 0.0),
        "paused": false(),
        "cancelled": false(),
    }
    return dialect.insert(STREAM).values(values).on_conflict_do_nothing()  # type: ignore[no-any-return]  # the dialects share no type


INSERT: dict[str, Executable] = {
    "postgresql": postgresql.insert(MESSAGE).values(values_of_message()).on_conflict_do_nothing(),
    "sqlite": sqlite.insert(MESSAGE).values(values_of_message()).on_conflict_do_nothing(),
}
_INSERT_KEY = sqlite.insert(KEY).values(KEY_VALUES).on_conflict_do_nothing().returning(KEY.c.message_id)
_INSERT_BOTH = _insert_both()
_FIND_KEY = select(KEY.c.message_id, KEY.c.digest).where(KEY.c.key == bindparam("new_key", type_=String()))
_FIND_STREAM = select(STREAM.c.id).where(
    STREAM.c.via == bindparam("new_via", type_=String()),
    STREAM.c.priority == bindparam("new_priority", type_=Integer()),
    STREAM.c.broadcast == "",
)
_NEW_STREAM: dict[str, Executable] = {"postgresql": _new_stream(postgresql), "sqlite": _new_stream(sqlite)}
