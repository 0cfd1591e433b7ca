"""What is in the database already, encrypted under the key that encrypts now: what was stored before there was a key,
and under an older one. In chunks, each a transaction; whatever changes a value meanwhile goes before.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine, and_, bindparam, delete, func, or_, select, tuple_, update

from paceline import tables
from paceline.broadcast.steps import BROADCAST_EVENT
from paceline.broadcast.stored import PLACE as BROADCAST
from paceline.ciphers import SEARCHED, Unreadable
from paceline.content import NAMED, SAID, Content, Keyring, content_of, keyring_of
from paceline.database import read, write
from paceline.directory import FRESH_FOR
from paceline.door import MESSAGE
from paceline.errors import PacelineError
from paceline.events import place as place_of_event
from paceline.jobs import JOB_EVENT
from paceline.jobs import place as place_of_job
from paceline.suppression import sealed
from worker.hooks.nonces import NONCE

CHUNK = 500  # rows a transaction
REST = 1.0  # times what a chunk took, until the next

Place = Callable[[Any], tuple[str, ...]]
Connecting = Callable[[], AbstractContextManager[Connection]]

message, event = tables.columns(tables.Message), tables.columns(tables.Event)
webhook, job = tables.columns(tables.Webhook), tables.columns(tables.Job)
broadcast, suppression = tables.columns(tables.Broadcast), tables.columns(tables.Suppression)
installation = tables.columns(tables.Installation)


@dataclass(frozen=True, slots=True)
class Column:
    """A column whose values are sealed. `place` tells of a row what they are bound to, from the columns `by`."""

    table: Any
    name: str
    place: Place
    by: Sequence[Any] = ()
    only: Any = None


def _of_jobs(name: str) -> Column:
    return Column(job, name, lambda row: place_of_job(name, row.id))


SEALED_COLUMNS = (
    Column(message, "payload", lambda row: (MESSAGE, row.id)),
    *(_of_jobs(name) for name in ("arguments", "memory", "result")),
    Column(
        event,
        "data",
        lambda row: place_of_event(row.account, row.kind),
        (event.c.account, event.c.kind),
        event.c.kind.not_in((JOB_EVENT, BROADCAST_EVENT)),  # ids and names, which nobody need hide
    ),
    Column(
        webhook,
        "data",
        lambda row: ("webhook", row.fingerprint, row.dedup_key),
        (webhook.c.fingerprint, webhook.c.dedup_key),
        webhook.c.kind != NONCE,
    ),
    Column(broadcast, "definition", lambda row: (BROADCAST, row.id)),
)

# Columns that are compared, and how their values begin once that is done: digests of a recipient, of what a broadcast
# says and of whom it is for, and providers' ids.
NAMED_COLUMNS: Mapping[Any, tuple[str, Callable[[Content, str], str]]] = {
    webhook.c.recipient: (NAMED, lambda safe, value: safe.name("", value)),
    broadcast.c.digest: (NAMED, lambda safe, value: safe.keyed(value)),
    broadcast.c.read_digest: (NAMED, lambda safe, value: safe.keyed(value)),
    message.c.provider_message_id: (SEARCHED, lambda safe, value: safe.id(value)),
    webhook.c.provider_message_id: (SEARCHED, lambda safe, value: safe.id(value)),
}


class NotEncrypting(PacelineError):
    """There is no key to encrypt with."""


class Encryption:
    """Brings everything under the first key. Safe to repeat, and to break off."""

    def __init__(self, engine: Engine, wait: Callable[[float], object] = time.sleep) -> None:
        self._engine = engine
        self._wait = wait

    def run(self) -> int:
        """Encrypt what is not under the first key, then take the other keys out of use; how many values it were.

        Raises `NotEncrypting`, and `ContentLocked` if a key is missing.
        """
        keys = self._keys()
        # Whoever read the installation before `migrate` put the first key there may still write under another.
        self._wait(FRESH_FOR)
        total = self._pass(keys)
        with write(self._engine) as connection:
            said = connection.scalar(select(SAID)) or ""
            connection.execute(update(installation).values(content=keys.only_first(said)))
        self._wait(FRESH_FOR)
        total += self._pass(keys)
        self._forget()
        return total

    def _forget(self) -> None:
        """Have SQLite write its file anew: what was changed still stands in it. PostgreSQL vacuums by itself."""
        if self._engine.dialect.name == "sqlite":
            connection = self._engine.raw_connection()
            try:
                connection.cursor().execute("VACUUM")
                connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                connection.close()

    def _keys(self) -> Keyring:
        with read(self._engine) as connection:
            keys, said = keyring_of(connection), connection.scalar(select(SAID)) or ""
        if not keys.ids:
            raise NotEncrypting("There is no content key: set PACELINE_CONTENT_KEY, or content.key in paceline.toml.")
        keys.check(said)
        return keys

    def _pass(self, keys: Keyring) -> int:
        total = sum(self._column(keys, column) for column in SEALED_COLUMNS)
        total += sum(self._named(column, mark, form) for column, (mark, form) in NAMED_COLUMNS.items())
        return total + suppressed(keys, partial(read, self._engine), partial(write, self._engine))

    def _column(self, keys: Keyring, column: Column) -> int:
        value = column.table.c[column.name]
        other = and_(value != tables.ERASED, value.is_not(None), func.substr(value, 1, len(keys.mark)) != keys.mark)
        if column.only is not None:
            other = and_(other, column.only)

        def change(connection: Connection, rows: Sequence[Any]) -> int:
            safe, done = content_of(connection), 0
            for row in rows:
                place = column.place(row)
                fresh = _again(keys, safe, row.value, place)
                done += _replace(connection, column.table, value, row, fresh)
            return done

        return self._walk(column.table.c.id, (value.label("value"), *column.by), other, change)

    def _named(self, value: Any, mark: str, form: Callable[[Content, str], str]) -> int:
        other = and_(value.is_not(None), value != "", func.substr(value, 1, len(mark)) != mark)
        if mark == SEARCHED:
            other = and_(other, value.like("%@%"))

        def change(connection: Connection, rows: Sequence[Any]) -> int:
            safe = content_of(connection)
            return sum(_replace(connection, value.table, value, row, form(safe, row.value)) for row in rows)

        return self._walk(value.table.c.id, (value.label("value"),), other, change)

    def _walk(
        self, key: Any, values: Sequence[Any], other: Any, change: Callable[[Connection, Sequence[Any]], int]
    ) -> int:
        """Change what is to be changed, in the order of the table's key, a chunk after the other."""
        last, total = None, 0
        while True:
            began = time.monotonic()
            query = select(key.label("id"), *values).where(other).order_by(key).limit(CHUNK)
            with read(self._engine) as connection:
                rows = connection.execute(query if last is None else query.where(key > last)).all()
            if not rows:
                return total
            with write(self._engine) as connection:
                total += change(connection, rows)
            last = rows[-1].id
            self._wait(REST * (time.monotonic() - began))


def suppressed(keys: Keyring, reading: Connecting, writing: Connecting) -> int:
    """Bring the list of opt-outs under the first key: who stands there in the clear, or under an older one.

    How many entries it were. All in one transaction, if both give its connection.
    """
    pair = tuple_(suppression.c.channel, suppression.c.recipient)
    other = or_(suppression.c.sealed.is_(None), func.substr(suppression.c.sealed, 1, len(keys.mark)) != keys.mark)
    query = select(suppression).where(other).order_by(suppression.c.channel, suppression.c.recipient).limit(CHUNK)
    last, total = None, 0
    while True:
        with reading() as connection:
            rows = connection.execute(query if last is None else query.where(pair > tuple_(*last))).all()
        if not rows:
            return total
        with writing() as connection:
            safe = content_of(connection)
            total += _rename(connection, keys, safe, rows)
        last = (rows[-1].channel, rows[-1].recipient)


def _again(keys: Keyring, safe: Content, stored: str, place: tuple[str, ...]) -> str:
    """The value under the first key; one that cannot be read as it is."""
    try:
        return safe.seal(keys.open(stored, *place), *place)
    except Unreadable:
        return stored


def _replace(connection: Connection, table: Any, value: Any, row: Any, fresh: str) -> int:
    if fresh == row.value:
        return 0
    same = and_(table.c.id == row.id, value == row.value)
    return connection.execute(update(table).where(same).values({value.name: fresh})).rowcount


def _rename(connection: Connection, keys: Keyring, safe: Content, rows: Sequence[Any]) -> int:
    """A chunk of the list in statements for all of it: whoever switches encryption on waits for a million of them."""
    clear = {row: found for row in rows if (found := _clear(keys, row)) is not None}
    named = {row: (row.channel, safe.name(row.channel, recipient)) for row, recipient in clear.items()}
    pair = tuple_(suppression.c.channel, suppression.c.recipient)
    there = {
        tuple(row)
        for row in connection.execute(
            select(suppression.c.channel, suppression.c.recipient).where(pair.in_(named.values()))
        )
    }
    twins = {row for row, name in named.items() if name in there and name[1] != row.recipient}
    changes = [
        {**_old(row), "new": named[row][1], "said": sealed(safe, row.channel, recipient)}
        for row, recipient in clear.items()
        if row not in twins
    ]
    mine = and_(suppression.c.channel == bindparam("channel_"), suppression.c.recipient == bindparam("recipient_"))
    if twins:
        connection.execute(delete(suppression).where(mine), [_old(row) for row in twins])
    if changes:
        again = update(suppression).where(mine).values(recipient=bindparam("new"), sealed=bindparam("said"))
        connection.execute(again, changes)
    return len(clear)


def _clear(keys: Keyring, row: Any) -> str | None:
    """Whom the entry is about; None if nobody can tell."""
    try:
        return keys.open(row.sealed, "suppression", row.channel, row.recipient) if row.sealed else str(row.recipient)
    except Unreadable:
        return None


def _old(row: Any) -> dict[str, str]:
    return {"channel_": row.channel, "recipient_": row.recipient}
