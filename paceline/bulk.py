"""Storing many messages: a stream of any length in chunks, each of them one transaction.

Every chunk is written in the order of its idempotency keys, so that two producers with the same keys wait for each
other in one direction only, and never in a circle.
"""

import functools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import (
    BigInteger,
    Boolean,
    Double,
    Executable,
    Integer,
    String,
    Text,
    bindparam,
    cast,
    column,
    func,
    insert,
    or_,
    select,
    table,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import JSONB

from paceline.clock import now
from paceline.door import Entry
from paceline.enqueue import INSERT, KEY, KEY_VALUES, LOOKS, MESSAGE, fresh_columns, replay, row_of
from paceline.errors import DatabaseNotReady, IdempotencyConflict, InvalidMessage
from paceline.messages import Outgoing
from paceline.suppression import find, refusal
from paceline.transactions import Transaction

CHUNK = {"postgresql": 5_000, "sqlite": 500}  # rows a transaction: SQLite's lets nobody else write meanwhile

Item = TypeVar("Item")
# By our entry's id: the message that has its key already, and that one's digest; None for who opted out.
Taken = dict[str, tuple[str, str] | None]
Work = Callable[[Transaction], Taken]


@dataclass(frozen=True, slots=True)
class Reject:
    """An item that was not stored: its place in the stream, counted from 0, the field and the rule it breaks."""

    index: int
    field: str
    reason: str


@dataclass(slots=True)
class BulkReceipt:
    """What became of a stream of messages: how many were stored, how many had been before, and what was refused."""

    enqueued: int = 0
    replayed: int = 0
    rejected: list[Reject] = field(default_factory=list)


def enqueue_stream(
    items: Iterable[Outgoing],
    size: int,
    admit: Callable[[Outgoing], Entry],
    stream_of: Callable[[Entry], int],
    write: Callable[[Work], Taken],
    announce: Callable[[Sequence[Entry]], None],
) -> BulkReceipt:
    """Store the items, `size` at a time: `admit` checks one, `stream_of` finds its line, `write` runs a transaction,
    and `announce` hears of every chunk that is stored."""
    receipt = BulkReceipt()
    for chunk in _chunks(enumerate(items), size):
        entries = _admitted(chunk, admit, receipt)
        if not entries:
            continue
        entries.sort(key=lambda pair: pair[1].idempotency_key or "")
        streams = {entry.id: stream_of(entry) for _, entry in entries}
        taken = write(functools.partial(store_entries, entries=entries, streams=streams))
        announce([entry for _, entry in entries if entry.id not in taken])
        _count(entries, taken, receipt)
    receipt.rejected.sort(key=lambda reject: reject.index)
    return receipt


def store_chunk(transaction: Transaction, rows: Sequence[dict[str, Any]]) -> Taken:
    """Write what is new, and answer what has its key taken. Safe to repeat with the same rows."""
    if transaction.dialect == "postgresql":
        return _store_by_copy(transaction, rows)
    return _store_by_rows(transaction, rows)


def store_entries(transaction: Transaction, entries: Sequence[tuple[int, Entry]], streams: Mapping[str, int]) -> Taken:
    """Write what is new of these, in the order of their keys, and answer what was not written and why."""
    refused = find(transaction, {pair for _, entry in entries for pair in entry.asked})
    closed = [entry for _, entry in entries if entry.asked and refused.issuperset(entry.asked)]
    taken = _keys_of(transaction, closed)
    rows = [row_of(entry, streams[entry.id]) for _, entry in entries if entry.id not in taken]
    return taken | store_chunk(transaction, rows) if rows else taken


def _keys_of(transaction: Transaction, closed: Sequence[Entry]) -> Taken:
    """Of those who opted out: the messages that were stored before they did."""
    keys = [entry.idempotency_key for entry in closed if entry.idempotency_key is not None]
    rows = transaction.run(_FIND_KEYS[transaction.dialect], {"keys": json.dumps(keys)}) if keys else ()
    found = {key: (message_id, digest) for key, message_id, digest in rows}
    return {entry.id: found.get(entry.idempotency_key or "") for entry in closed}


def _chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _admitted(
    chunk: Sequence[tuple[int, Outgoing]], admit: Callable[[Outgoing], Entry], receipt: BulkReceipt
) -> list[tuple[int, Entry]]:
    entries = []
    for index, item in chunk:
        try:
            entries.append((index, admit(item)))
        except InvalidMessage as error:
            receipt.rejected.append(Reject(index, error.field, error.rule))
    return entries


def _count(entries: Sequence[tuple[int, Entry]], taken: Taken, receipt: BulkReceipt) -> None:
    for index, entry in entries:
        if entry.id not in taken:
            receipt.enqueued += 1
            continue
        found = taken[entry.id]
        if found is None:
            refused = refusal(entry.asked[0][0])
            receipt.rejected.append(Reject(index, refused.field, refused.rule))
            continue
        try:
            replay(entry, *found)
            receipt.replayed += 1
        except IdempotencyConflict as error:
            field_name, _, reason = str(error).partition(": ")
            receipt.rejected.append(Reject(index, field_name, reason))


def _store_by_copy(transaction: Transaction, rows: Sequence[dict[str, Any]]) -> Taken:
    transaction.run(_CREATE)
    transaction.run(_EMPTY)
    if not transaction.copy(_COPY, map(_fields, rows)):
        transaction.run_many(_INSERT_INCOMING, rows)
    for _ in range(LOOKS):
        if transaction.run(_MOVE)[0][0] == len(rows):
            return {}
        found = [(entry, (message_id, digest)) for entry, message_id, digest in transaction.run(_TAKEN)]
        if all(owner[0] is not None for _, owner in found):
            return dict(found)
    raise DatabaseNotReady("Idempotency keys were taken and freed again while they were looked up; repeat the call.")


def _fields(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row.values())


def _store_by_rows(transaction: Transaction, rows: Sequence[dict[str, Any]]) -> Taken:
    keyed = [row for row in rows if row["new_idempotency_key"] is not None]
    taken: Taken = _take_keys(transaction, keyed) if keyed else {}
    new = [row for row in rows if row["new_id"] not in taken]
    if new:
        transaction.run_many(INSERT["sqlite"], new)
    return taken


def _take_keys(transaction: Transaction, rows: Sequence[dict[str, Any]]) -> Taken:
    transaction.run_many(_INSERT_KEYS, rows)
    keys = json.dumps([row["new_idempotency_key"] for row in rows])
    found = {
        key: (message_id, digest) for key, message_id, digest in transaction.run(_FIND_KEYS["sqlite"], {"keys": keys})
    }
    owners = {row["new_id"]: found[row["new_idempotency_key"]] for row in rows}
    return {entry: owner for entry, owner in owners.items() if owner[0] != entry}


# A pooler may keep it for the next client of the same server connection: give it a new name when its columns change.
_CREATE = text(
    'CREATE TEMPORARY TABLE IF NOT EXISTS paceline_arriving (id text COLLATE "C", stream_id integer, position bigint, '
    'payload text, idempotency_key text COLLATE "C", digest text, send_at float8, expires_at float8, broadcast boolean)'
    " "
    "ON COMMIT DELETE ROWS"
)
_INCOMING = table(
    "paceline_arriving",
    column("id", Text()),
    column("stream_id", Integer()),
    column("position", BigInteger()),
    column("payload", Text()),
    column("idempotency_key", Text()),
    column("digest", Text()),
    column("send_at", Double()),
    column("expires_at", Double()),
    column("broadcast", Boolean()),
)


def _move() -> Executable:
    new = _INCOMING.c
    keys = select(new.idempotency_key, new.id, new.digest, now()).where(new.idempotency_key.is_not(None))
    taken = (
        postgresql.insert(KEY)
        .from_select(["key", "message_id", "digest", "created_at"], keys.order_by(new.idempotency_key, new.id))
        .on_conflict_do_nothing()
        .returning(KEY.c.message_id)
        .cte("taken")
    )
    same = {
        name: new[name]
        for name in ("id", "stream_id", "position", "payload", "idempotency_key", "send_at", "expires_at", "broadcast")
    }
    values = {**same, **fresh_columns(new.send_at)}
    fresh = (
        select(*values.values())
        .select_from(_INCOMING.outerjoin(taken, taken.c.message_id == new.id))
        .where(or_(new.idempotency_key.is_(None), taken.c.message_id.is_not(None)))
    )
    stored = (
        postgresql.insert(MESSAGE)
        .from_select(list(values), fresh, include_defaults=False)
        .on_conflict_do_nothing()
        .returning(MESSAGE.c.id)
        .cte("stored")
    )
    return select(func.count()).select_from(stored)


_EMPTY = text(f"TRUNCATE {_INCOMING.name}")
_COPY = f"COPY {_INCOMING.name} ({', '.join(_INCOMING.c.keys())}) FROM STDIN"
_INSERT_INCOMING = insert(_INCOMING).values(
    {item.name: bindparam(f"new_{item.name}", type_=item.type) for item in _INCOMING.c}
)
_MOVE = _move()
_TAKEN = (
    select(_INCOMING.c.id, KEY.c.message_id, KEY.c.digest)
    .select_from(_INCOMING.outerjoin(KEY, KEY.c.key == _INCOMING.c.idempotency_key))
    .where(_INCOMING.c.idempotency_key.is_not(None), KEY.c.message_id.is_distinct_from(_INCOMING.c.id))
)

_INSERT_KEYS = sqlite.insert(KEY).values(KEY_VALUES).on_conflict_do_nothing()
_keys = bindparam("keys", type_=String())
_EACH: dict[str, Any] = {
    "postgresql": func.jsonb_array_elements_text(cast(_keys, JSONB())).table_valued("value", name="asked"),
    "sqlite": func.json_each(_keys).table_valued("value", name="asked"),
}
_FIND_KEYS = {
    dialect: select(KEY.c.key, KEY.c.message_id, KEY.c.digest).where(KEY.c.key.in_(select(each.c.value)))
    for dialect, each in _EACH.items()
}
