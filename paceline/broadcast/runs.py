"""Runs of a recurring broadcast: each is a broadcast of its own, whose messages are copied from the recurring one's."""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, literal_column, select, update
from sqlalchemy.dialects import postgresql, sqlite

from paceline import tables
from paceline.broadcast.definition import Definition
from paceline.broadcast.staging import ZEROS, make_stream
from paceline.broadcast.steps import note
from paceline.broadcast.stored import definition_in, written
from paceline.bulk import CHUNK, store_entries
from paceline.capabilities import Capabilities
from paceline.ciphers import Unreadable
from paceline.clock import now
from paceline.content import Content, Keyring, content_of, keyring_of
from paceline.directory import Via
from paceline.door import MESSAGE as MESSAGE_PLACE
from paceline.door import Entry
from paceline.errors import InvalidMessage
from paceline.ids import new_id
from paceline.messages import from_json
from paceline.segments import SEGMENTATIONS
from paceline.status import LEVELS
from paceline.suppression import Pair, named, pairs_of
from paceline.transactions import CoreTransaction, Transaction

BROADCAST = tables.columns(tables.Broadcast)
STREAM = tables.columns(tables.Stream)
MESSAGE = tables.columns(tables.Message)
ACCOUNT = tables.columns(tables.Account)
ROUTE = tables.columns(tables.Route)

EXTRAS = ("metadata", "options")  # what stands beside a message's own fields


def new_run(transaction: Transaction, parent: Any, definition: Definition, run_at: float, name: str) -> str:
    """The id of the run of that time, made if it is missing: there is one, however often this is asked."""
    id_, safe = new_id(), transaction.content()
    for each in (name, f"{name}#{id_}"):  # somebody may have named one of theirs like this
        data = {**definition.as_json(), "name": each}
        data.pop("cron", None)
        counts = {kind: getattr(parent, kind) for kind in ("recipients", "duplicates", "suppressed", "invalid")}
        values = ZEROS | counts | {
            "id": id_,
            "name": each,
            "digest": safe.keyed(Definition.from_json(data).digest),
            "via": parent.via,
            "priority": parent.priority,
            "definition": written(safe, id_, data),
            "status": "expanding",
            "created_at": now(),
            "updated_at": now(),
            "parent": parent.id,
            "run_at": run_at,
        }  # fmt: skip
        make = postgresql.insert if transaction.dialect == "postgresql" else sqlite.insert
        transaction.run(make(BROADCAST).values(values).on_conflict_do_nothing())
        found = select(BROADCAST.c.id).where(BROADCAST.c.parent == parent.id, BROADCAST.c.run_at == run_at)
        rows = transaction.run(found)
        if rows:
            return str(rows[0][0])
    raise AssertionError("an id is nobody else's")


def copy_chunk(connection: Connection, run: Any) -> tuple[int, bool]:
    """Copy the next messages of the recurring broadcast into this run of it; how many, and whether more may follow.

    `run` is its row, locked. What is copied and how far that is commits together.
    """
    transaction, keys, safe = CoreTransaction(connection), keyring_of(connection), content_of(connection)
    definition = definition_in(keys, run.id, run.definition)
    rows, more = _next_rows(transaction, run)
    carriers = _carriers(transaction, run.via)
    channels = [carries.channel for carries in carriers]
    streams: dict[str, int] = {}
    entries, lines, billed = [], {}, {}
    for number, (_, id_, sealed, zone) in enumerate(rows):
        if zone not in streams:
            streams[zone] = make_stream(transaction, run.id, definition, zone)
        payload, content = _read(keys, sealed, id_)
        entry = _entry(definition, run.via, payload, pairs_of(channels, content.get("to", "")), safe)
        entries.append((number, entry))
        lines[entry.id] = streams[zone]
        billed[entry.id] = _parts(carriers, content)
    refused = store_entries(transaction, entries, lines) if entries else {}
    values: dict[str, Any] = {
        "cursor": rows[-1][0] if rows else run.cursor,
        "messages": run.messages + len(entries) - len(refused),
        "parts": run.parts + sum(count for id_, count in billed.items() if id_ not in refused),
        "suppressed": run.suppressed + len(refused),
        "updated_at": now(),
    }
    if not more:
        values |= _over(transaction, run, definition)
    transaction.run(update(BROADCAST).where(BROADCAST.c.id == run.id).values(values))
    return len(entries), more


def _next_rows(transaction: Transaction, run: Any) -> tuple[list[Any], bool]:
    """Position, id, payload and zone of the next messages in order, never one without others of the same position."""
    size = CHUNK[transaction.dialect]
    rows = transaction.run(
        select(MESSAGE.c.position, MESSAGE.c.id, MESSAGE.c.payload, STREAM.c.zone)
        .join(STREAM, STREAM.c.id == MESSAGE.c.stream_id)
        .where(
            STREAM.c.broadcast == run.parent,
            STREAM.c.broadcast != literal_column("''"),
            MESSAGE.c.status == literal_column("'queued'"),
            MESSAGE.c.due_at.is_(None),
            MESSAGE.c.position > run.cursor,
        )
        .order_by(MESSAGE.c.position)
        .limit(size + 1)
    )
    if len(rows) <= size:
        return list(rows), False
    last = rows[size][0]
    return [row for row in rows if row[0] < last] or list(rows), True


def _over(transaction: Transaction, run: Any, definition: Definition) -> dict[str, Any]:
    """Let it go, or leave that to its hours: what its row is to hold."""
    held = definition.waits
    released = {} if held else {"released_at": now()}
    transaction.run(update(STREAM).where(STREAM.c.broadcast == run.id).values(held=held, **released))
    status = "scheduled" if held else "running"
    note(transaction, run.id, run.name, run.via, status)
    return {"status": status, **released}


def _carriers(transaction: Transaction, via: str) -> list[Capabilities]:
    routes = transaction.run(select(ROUTE.c.accounts).where(ROUTE.c.name == via))
    names = json.loads(routes[0][0]) if routes else [via]
    rows = transaction.run(select(ACCOUNT.c.capabilities).where(ACCOUNT.c.name.in_(names)))
    return [Capabilities.from_json(json.loads(row[0])) for row in rows]


def _read(keys: Keyring, sealed: str, id_: str) -> tuple[str, dict[str, Any]]:
    """A message's payload, and what it says. One that was damaged is copied too, and fails alone when it is sent."""
    try:
        payload = keys.open(sealed, MESSAGE_PLACE, id_)
    except Unreadable:
        return tables.ERASED, {}
    try:
        content = from_json({name: value for name, value in json.loads(payload).items() if name not in EXTRAS})
    except (ValueError, AttributeError, RecursionError, InvalidMessage):
        return payload, {}
    return payload, content.as_json()


def _parts(carriers: list[Capabilities], content: dict[str, Any]) -> int:
    text = content.get("text")
    counts = [SEGMENTATIONS[each.segmentation](text) for each in carriers if each.segmentation and text]
    return max(counts, default=1)


def _entry(definition: Definition, via: str, payload: str, asked: Sequence[Pair], safe: Content) -> Entry:
    id_ = new_id()
    return Entry(
        id=id_,
        via=Via(via, ()),
        priority=[str(level) for level in LEVELS].index(definition.priority),
        payload=safe.seal(payload, MESSAGE_PLACE, id_),
        idempotency_key=None,
        digest="",
        send_at=None,
        expires_at=definition.expires_at,
        ready=True,
        asked=named(safe, asked),
        broadcast=True,
    )
