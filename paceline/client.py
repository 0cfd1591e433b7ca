"""`Client`: what an application calls. What it accepts is durable in the database before it returns."""

import contextlib
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from paceline import connection as connections
from paceline import events as said
from paceline import queries, suppression
from paceline.announce import Announcer, Lanes
from paceline.broadcast.broadcasting import Broadcasting
from paceline.broadcast.lateness import Lateness
from paceline.bulk import CHUNK, BulkReceipt, Taken, Work, enqueue_stream
from paceline.calling import Calling
from paceline.capabilities import Rule
from paceline.door import Entry, admit
from paceline.enqueue import Receipt, store, stream_of
from paceline.errors import InvalidMessage, PacelineError
from paceline.messages import Message, Outgoing
from paceline.opened import Opened
from paceline.suppression import SuppressionView, channels_of, check_channel, check_recipient
from paceline.transactions import Transaction, join
from paceline.views import EventView, MessageView


class Client(Calling, Broadcasting):
    """Enqueues messages and tells where they stand. Cheap to make, thread-safe, and opens nothing before it is used.

    The addresses come from `config` (a `paceline.toml`), `database_url` and `broker_url`, else from `PACELINE_CONFIG`,
    `PACELINE_DATABASE_URL` and `PACELINE_BROKER_URL`, else from `./paceline.toml`. A process that forks may go on with
    the client it inherited. Every method raises `ConfigurationError` if an address or a content key cannot be used, and
    `DatabaseNotReady` if the database is away, is not migrated, was migrated by another version, or holds no accounts
    yet. A broker that is away costs nothing but the wake-up.
    """

    def __init__(
        self,
        config: Path | str | None = None,
        *,
        database_url: str | None = None,
        broker_url: str | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._sources = (config, database_url, broker_url, environ)
        self._lock = threading.Lock()
        self._opened: Opened | None = None
        self._announcer = Announcer(self._wake)
        self._lateness = Lateness()

    def enqueue(
        self,
        message: Message,
        *,
        via: str,
        idempotency_key: str | None = None,
        priority: str = "normal",
        send_at: datetime | None = None,
        expires_at: datetime | None = None,
        metadata: Mapping[str, str] | None = None,
        options: Mapping[str, Any] | None = None,
        session: object = None,
    ) -> Receipt:
        """Store one message, to be sent by the account or route `via`, and return its receipt.

        `idempotency_key` (1 to 255 characters, one scope for the whole installation) makes a repetition harmless: the
        same key with the same message and `via` answers the first one's id. `priority` is high, normal or bulk;
        `send_at` and `expires_at` are aware datetimes; `metadata` maps strings to strings and comes back from `status`;
        `options` are a provider's extras. A message holds at most 1 MB as JSON, attachments and data
        URIs aside.

        With `session` it is stored in the caller's own transaction, and commits or vanishes with it: a SQLAlchemy or
        SQLModel session or connection, a psycopg 3 or sqlite3 connection, or Django's. Workers are woken after the
        commit of a session or of Django's `atomic`; after that of a bare connection call `wake`, or let them find the
        message within about a second.

        Raises `InvalidMessage` for what an account of `via` cannot carry (`UnknownAccount` if there is no such
        account, `Suppressed` for a recipient who opted out), `IdempotencyConflict` for a key that was used for another
        message; nothing is stored then. The receipt has a `warning` if the message will probably expire unsent.
        """
        item = Outgoing(message, via, idempotency_key, priority, send_at, expires_at, metadata, options)
        entry = self._admit(item)
        if session is None:
            stream = self._stream(entry)
            receipt = self._open().write(lambda transaction: store(transaction, entry, stream))
        else:
            transaction = join(session)
            with transaction.atomic():
                receipt = store(transaction, entry, self._stream(entry, transaction))
        if not receipt.replayed:
            self._announce([entry], session)
        return self._with_warning(receipt, entry)

    def enqueue_many(
        self, items: Iterable[Outgoing], *, chunk: int | None = None, session: object = None
    ) -> BulkReceipt:
        """Store a stream of messages, of any length, in constant memory, and count what became of them.

        What `enqueue` would refuse is rejected, with its index, field and reason, and the rest goes on. Every `chunk`
        items (5,000; on SQLite at most 500, because nobody else can write meanwhile) are a transaction of their own:
        if the process dies, enqueue the same items again, and those with idempotency keys that were stored replay.
        With `session` everything belongs to the caller's transaction instead.
        """
        opened = self._open()
        joined = None if session is None else join(session)
        most = CHUNK[opened.dialect]
        size = most if chunk is None else max(1, min(chunk, most) if opened.dialect == "sqlite" else chunk)

        def write(work: Work) -> Taken:
            if joined is None:
                return opened.write(work)
            with joined.atomic():
                return work(joined)

        return enqueue_stream(
            items,
            size,
            admit=self._admit,
            stream_of=lambda entry: self._stream(entry, joined),
            write=write,
            announce=lambda entries: self._announce(entries, session),
        )

    def status(
        self,
        id: str | None = None,  # noqa: A002  # the message's id, as everywhere
        *,
        idempotency_key: str | None = None,
    ) -> MessageView:
        """Where a message stands, with its attempts and events. Raises `MessageNotFound`."""
        with self._open().read() as connection:
            return queries.status(connection, id, idempotency_key)

    def messages(
        self,
        *,
        status: str | None = None,
        via: str | None = None,
        since: datetime | timedelta | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> list[MessageView]:
        """The newest messages first, without their attempts and events; `after` is the id of the last one seen.

        `since` is an instant, or how long ago by the database's clock, whatever this host's says.
        """
        with self._open().read() as connection:
            return queries.messages(connection, status, via, since, limit, after)

    def events(self, after: int | None = None, *, limit: int = 1000) -> list[EventView]:
        """Every status change and inbound event after the cursor `after`, in order, at most `limit` (up to 10,000).

        Keep the last event's `cursor` with what you made of it, and ask again with that: nothing is skipped, and an
        empty list means that there is nothing new. Events that a running worker has not placed yet, which takes it
        about a second, come later. Raises `InvalidMessage` for a cursor that is none.
        """
        with self._open().read() as connection:
            return said.after(connection, after, limit)

    def cancel(self, id: str) -> bool:  # noqa: A002  # the message's id, as everywhere
        """Cancel a message that has not left; True if it is cancelled, now or since an earlier call.

        False for one that is on the wire or done otherwise. One that waits to be sent again while nothing says what
        became of an earlier attempt ends in `unknown`: also False. Raises `MessageNotFound`.
        """
        return self._open().write(lambda transaction: queries.cancel(transaction, id))

    def suppress(self, channel: str, recipient: str, reason: str | None = None) -> bool:
        """Put a recipient on the list of those who want nothing more on a channel (`sms`, `email`, `whatsapp` …).

        Neither `enqueue` nor a worker lets a message to them through from now on. False if they were on the list.
        Opt-outs that providers report and STOP answers come onto it by themselves. Raises `InvalidMessage`, also for
        what is no recipient of that channel.
        """
        channels = self._channels()
        known = check_channel(channel, channels)
        to = check_recipient(known, recipient, channels[known])
        safe = self._open().directories.current().content
        return self._open().write(lambda transaction: suppression.add(transaction, known, to, reason, safe))

    def unsuppress(self, channel: str, recipient: str) -> bool:
        """Take a recipient off that list, because they ask to be written to again; False if they were not on it."""
        known = check_channel(channel, self._channels())
        safe = self._open().directories.current().content
        return self._open().write(lambda transaction: suppression.remove(transaction, known, recipient, safe))

    def suppressions(
        self, channel: str | None = None, *, limit: int = 1000, after: SuppressionView | None = None
    ) -> list[SuppressionView]:
        """The list, by channel and recipient, at most `limit` (up to 10,000) entries; `after` is the last one seen."""
        known = None if channel is None else check_channel(channel, self._channels())
        last = None if after is None else (after.channel, after.recipient)
        with self._open().read() as connection:
            return suppression.listed(connection, known, limit, last)

    def wake(self) -> None:
        """Wake the workers for what was enqueued on bare connections whose owner has committed since."""
        self._announcer.announce()

    def close(self) -> None:
        """Close every connection. A client that is used again opens new ones."""
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> Opened:
        opened = self._opened
        if opened is None or opened.process != os.getpid():
            opened = self._open_here(opened)
        return opened

    def _open_here(self, inherited: Opened | None) -> Opened:
        if inherited is not None:
            self._lock = threading.Lock()  # another thread of the parent may have held it at the fork
            inherited.abandon()
        with self._lock:
            if self._opened is None or self._opened is inherited:
                self._opened = Opened(connections.resolve(*self._sources))
            return self._opened

    def _channels(self) -> dict[str, list[Rule]]:
        return channels_of(self._open().directories.current().vias.values())

    def _admit(self, item: Outgoing) -> Entry:
        if not isinstance(item, Outgoing):
            raise InvalidMessage("item", "must be an Outgoing")
        directories = self._open().directories
        directory = directories.current(item.via)
        via, at = directory.find(item.via), directories.database_now(directory)
        return admit(item, via, directory.secret, at, directory.content)

    def _stream(self, entry: Entry, joined: Transaction | None = None) -> int:
        opened = self._open()
        line = (entry.via.name, entry.priority)
        streams = opened.directories.current().streams
        known = streams.get(line)
        if known is not None:
            return known
        if joined is not None and joined.dialect == "sqlite":
            # The caller may hold SQLite's only write lock; and what it makes here may still be rolled back.
            return stream_of(joined, *line)
        made = streams[line] = opened.write(lambda transaction: stream_of(transaction, *line))
        return made

    def _with_warning(self, receipt: Receipt, entry: Entry) -> Receipt:
        if entry.expires_at is None or receipt.replayed:
            return receipt
        opened = self._open()
        at = opened.directories.database_now(opened.directories.current())
        warning = self._lateness.warning(opened.read, entry.via.name, entry.priority, entry.expires_at, at)
        return receipt if warning is None else replace(receipt, warning=warning)

    def _wake(self, lanes: Sequence[str], high: bool) -> None:
        # What was stored is stored: nothing that fails from here on may look as if it were not.
        with contextlib.suppress(PacelineError):
            self._open().wake(lanes, high)

    def _announce(self, entries: Sequence[Entry], session: object) -> None:
        lanes = Lanes()
        for entry in entries:
            if entry.ready:
                lanes.add(entry.via.lanes, entry.priority == 0)
        if session is None:
            lanes.wake(self._wake)
        else:
            self._announcer.after_commit(session, lanes)
