"""Retention: what is over is kept for a while, then forgotten. Contents go first, rows later, idempotency keys last.

Rows are found in a transaction that only reads, by an index and from where the last look ended; those found are locked,
looked at again and changed, a bounded number at a time. Between two of these transactions it rests for longer than one
took. So claims and producers hardly notice, and a purge that is stopped has done what it has counted.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Select,
    and_,
    bindparam,
    delete,
    func,
    literal,
    literal_column,
    not_,
    null,
    or_,
    select,
    true,
    update,
)

from paceline import tables
from paceline.broadcast.control import OVER, REPORTED_FOR
from paceline.clock import now
from paceline.database import read, write
from worker.lanes.topology import Topology
from worker.ledger import horizon
from worker.notify import relay
from worker.statements import attempt, event, grant, message, stream

CHUNK = 200  # rows a transaction: SQLite's lets nobody else write meanwhile
REST = 2.0  # how many times longer than a transaction it leaves the database to others afterwards
SHORTEST_REST = 0.01  # seconds
MARGIN = 3600.0  # seconds beyond the longest window, for limits that another worker's configuration still has

webhook = tables.columns(tables.Webhook)
idempotency_key = tables.columns(tables.IdempotencyKey)
job = tables.columns(tables.Job)
broadcast = tables.columns(tables.Broadcast)

# As they stand in the partial indexes.
SETTLED: ColumnElement[bool] = literal_column(f"({tables.SETTLED})")
HAS_CONTENT: ColumnElement[bool] = literal_column(f"(payload <> '{tables.ERASED}')")
IS_ERASED: ColumnElement[bool] = literal_column(f"(payload = '{tables.ERASED}')")

KINDS = ("contents", "messages", "events", "webhooks", "jobs", "broadcasts", "idempotency_keys", "grants")


@dataclass(frozen=True, slots=True)
class Ages:
    """For how long each is kept, in seconds: contents since their message is final, messages likewise, the others since
    they were written."""

    content: float
    messages: float
    events: float
    webhooks: float
    idempotency_keys: float
    jobs: float
    grants: float


@dataclass(frozen=True, slots=True)
class Step:
    """One kind of row to go: `doomed` is true of it, `act` takes those that are locked. They are walked by `place`.

    Where the place is a time, what is young is never looked at. Elsewhere `old` says it, and the first that is not ends
    the walk.
    """

    name: str
    ref: Any
    place: Any
    doomed: ColumnElement[bool]
    act: Callable[[Connection, Sequence[Any]], object]
    start: float | int = 0.0
    old: ColumnElement[bool] | None = None
    walked: ColumnElement[bool] | None = None  # what the walk's index holds
    foreseen: ColumnElement[bool] | None = None  # true of what goes once the steps before are done

    def rows(self) -> Select[Any]:
        """The next rows from `place` on: their `ref`, their `place`, and whether they are old enough."""
        if self.old is None:
            found = select(self.ref.label("ref"), self.place.label("place"), true().label("old"))
            found = found.where(self.place >= bindparam("place"), self.doomed)
        else:
            found = select(self.ref.label("ref"), self.place.label("place"), self.old.label("old"))
            found = found.where(self.place > bindparam("place"))
        if self.walked is not None:
            found = found.where(self.walked)
        return found.order_by(self.place).limit(CHUNK)


class Retention:
    """Forgets what is old. Every method is safe to run anywhere, any number of times at once.

    `told`: an application's task is told of events, so that none goes before it was published.
    """

    def __init__(self, engine: Engine, topology: Topology, ages: Ages, *, told: bool = False) -> None:
        self._engine = engine
        self._ages = ages
        # The ledger outlasts every window of every key, whatever was asked for; so do messages with their attempts.
        lanes = list(topology.lanes.values())
        self._ledger = horizon(lanes) + MARGIN if lanes else ages.grants
        self._free = event.c.position.is_not(None)
        if told:
            self._free = and_(self._free, event.c.position <= select(relay.c.published).scalar_subquery())

    def purge(self, stop: Event | None = None) -> dict[str, int]:
        """Forget everything that is old enough; how many rows of each kind. Ends early once `stop` is set."""
        stop = stop or Event()
        counts = dict.fromkeys(KINDS, 0)
        for step in self._steps():
            counts[step.name] += self._run(step, stop)
        return counts

    def count(self) -> dict[str, int]:
        """How many rows of each kind `purge` would forget now. Events count also where they will go with their message,
        which `purge` does not count again."""
        counts = dict.fromkeys(KINDS, 0)
        with read(self._engine) as connection:
            for step in self._steps():
                goes = step.doomed if step.foreseen is None else step.foreseen
                found = select(func.count()).select_from(select(step.ref).where(goes).subquery())
                counts[step.name] += connection.scalar(found) or 0
        return counts

    def _run(self, step: Step, stop: Event) -> int:
        total, place = 0, step.start
        query = step.rows()
        while not stop.is_set():
            began = time.monotonic()
            with read(self._engine) as connection:
                rows = connection.execute(query, {"place": place}).all()
            old = [row.ref for row in _while_old(rows)]
            moved = self._take(step, old) if old else 0
            total += moved
            if len(old) < CHUNK or (rows[-1].place == place and not moved):
                break  # nothing more is old, or others hold all that is
            place = rows[-1].place
            stop.wait(max(SHORTEST_REST, REST * (time.monotonic() - began)))
        return total

    def _take(self, step: Step, refs: Sequence[Any]) -> int:
        mine = select(step.ref).where(step.ref.in_(refs), step.doomed).with_for_update(skip_locked=True, of=step.ref)
        with write(self._engine) as connection:
            taken = connection.scalars(mine).all()
            if taken:
                step.act(connection, taken)
        return len(taken)

    # What goes, in order

    def _steps(self) -> Iterator[Step]:
        yield self._contents()
        yield self._events_contents()
        yield self._jobs_contents()
        yield self._messages()
        yield self._events()
        yield self._webhooks()
        yield self._jobs()
        yield self._broadcasts()
        yield self._keys()
        yield from self._grants()

    def _contents(self) -> Step:
        def erase(connection: Connection, ids: Sequence[str]) -> None:
            # `updated_at` stays: the message's own age counts from when it became final.
            connection.execute(update(message).where(message.c.id.in_(ids)).values(payload=tables.ERASED))

        # With the message itself its content goes too, however long that was to be kept.
        age = min(self._ages.content, self._ages.messages)
        doomed = and_(SETTLED, HAS_CONTENT, message.c.updated_at < _before(age))
        return Step("contents", message.c.id, message.c.updated_at, doomed, erase)

    def _events_contents(self) -> Step:
        def erase(connection: Connection, ids: Sequence[int]) -> None:
            connection.execute(update(event).where(event.c.id.in_(ids)).values(data=null()))

        old, held = event.c.at < _before(self._ages.content), event.c.data.is_not(None)
        doomed = and_(held, self._free, old)
        return Step("contents", event.c.id, event.c.position, doomed, erase, 0, old, and_(held, self._free))

    def _jobs_contents(self) -> Step:
        """Of those that go: a job that is kept for its idempotency key is kept without what it says."""

        def erase(connection: Connection, ids: Sequence[str]) -> None:
            values = {"arguments": tables.ERASED, "memory": tables.ERASED, "result": null()}
            connection.execute(update(job).where(job.c.id.in_(ids)).values(**values))

        says = or_(job.c.arguments != tables.ERASED, job.c.memory != tables.ERASED, job.c.result.is_not(None))
        doomed = and_(_over(self._ages.jobs), says)
        return Step("contents", job.c.id, job.c.created_at, doomed, erase)

    def _messages(self) -> Step:
        def forget(connection: Connection, ids: Sequence[str]) -> None:
            connection.execute(delete(attempt).where(attempt.c.message_id.in_(ids)))
            # An event that nobody was told of yet stays behind, until it was.
            connection.execute(delete(event).where(event.c.message_id.in_(ids), self._free))
            connection.execute(delete(message).where(message.c.id.in_(ids)))

        doomed = and_(IS_ERASED, self._old_message())
        return Step("messages", message.c.id, message.c.updated_at, doomed, forget, foreseen=self._old_message())

    def _old_message(self) -> ColumnElement[bool]:
        # A broadcast counts its messages until it is over, and reports on them for a while longer.
        line, its = stream.alias(), broadcast.alias()
        counts = or_(its.c.status.not_in(OVER), its.c.finished_at > _before(REPORTED_FOR))
        counted = select(line.c.id).join(its, its.c.id == line.c.broadcast).where(counts)
        counted = counted.where(line.c.id == message.c.stream_id).correlate(message)
        old = message.c.updated_at < _before(max(self._ages.messages, self._ledger))
        return and_(SETTLED, old, or_(message.c.broadcast.is_(False), ~counted.exists()))

    def _events(self) -> Step:
        def forget(connection: Connection, ids: Sequence[int]) -> None:
            connection.execute(delete(event).where(event.c.id.in_(ids)))

        # The history of a message that is not final stays with it.
        is_open = select(message.c.id).where(message.c.id == event.c.message_id, ~SETTLED).exists()
        old = event.c.at < _before(self._ages.events)
        doomed = and_(self._free, old, ~is_open)
        return Step("events", event.c.id, event.c.position, doomed, forget, 0, old, self._free)

    def _webhooks(self) -> Step:
        def forget(connection: Connection, ids: Sequence[int]) -> None:
            connection.execute(delete(webhook).where(webhook.c.id.in_(ids)))

        old = webhook.c.received_at < _before(self._ages.webhooks)
        doomed = and_(old, webhook.c.match_at.is_(None))
        return Step("webhooks", webhook.c.id, webhook.c.id, doomed, forget, 0, old)

    def _jobs(self) -> Step:
        def forget(connection: Connection, ids: Sequence[str]) -> None:
            connection.execute(delete(job).where(job.c.id.in_(ids)))

        keyless = or_(job.c.idempotency_key.is_(None), job.c.created_at < _before(self._ages.idempotency_keys))
        return Step("jobs", job.c.id, job.c.created_at, and_(_over(self._ages.jobs), keyless), forget)

    def _broadcasts(self) -> Step:
        """With their lines and counts, once their messages are gone: their names keep them from being sent twice, as
        keys do messages."""

        def forget(connection: Connection, ids: Sequence[str]) -> None:
            mine = and_(stream.c.broadcast.in_(ids), stream.c.broadcast != literal_column("''"))
            connection.execute(delete(stream).where(mine))
            connection.execute(delete(broadcast).where(broadcast.c.id.in_(ids)))

        age = max(self._ages.idempotency_keys, self._ages.messages)
        old = and_(broadcast.c.status.in_(OVER), broadcast.c.finished_at < _before(age))
        its = select(message.c.id).join(stream, stream.c.id == message.c.stream_id)
        its = its.where(message.c.broadcast, stream.c.broadcast == broadcast.c.id, stream.c.broadcast != "")
        its = its.correlate(broadcast)
        doomed, foreseen = and_(old, ~its.exists()), and_(old, ~its.where(not_(self._old_message())).exists())
        return Step("broadcasts", broadcast.c.id, broadcast.c.finished_at, doomed, forget, foreseen=foreseen)

    def _keys(self) -> Step:
        def forget(connection: Connection, keys: Sequence[str]) -> None:
            connection.execute(delete(idempotency_key).where(idempotency_key.c.key.in_(keys)))

        age = max(self._ages.idempotency_keys, self._ages.messages)
        old = idempotency_key.c.created_at < _before(age)
        its = select(message.c.id).where(message.c.id == idempotency_key.c.message_id)
        doomed, foreseen = and_(old, ~its.exists()), and_(old, ~its.where(not_(self._old_message())).exists())
        return Step(
            "idempotency_keys", idempotency_key.c.key, idempotency_key.c.created_at, doomed, forget, foreseen=foreseen
        )

    def _grants(self) -> Iterator[Step]:
        def forget(connection: Connection, ids: Sequence[str]) -> None:
            connection.execute(delete(grant).where(grant.c.id.in_(ids)))

        old = grant.c.created_at < _before(max(self._ages.grants, self._ledger))
        for key in self._ledger_keys():  # key by key, as their index is
            doomed = and_(grant.c.key == key, old, grant.c.lease_until < now())
            yield Step("grants", grant.c.id, grant.c.created_at, doomed, forget)

    def _ledger_keys(self) -> list[str]:
        """The keys that have grants, also those that no account has any more: one probe of the index for each."""
        found: list[str] = []
        with read(self._engine) as connection:
            while True:
                following = select(func.min(grant.c.key)).where(grant.c.key > (found[-1] if found else ""))
                key = connection.scalar(following)
                if key is None:
                    return found
                found.append(key)


def _before(age: float) -> ColumnElement[float]:
    """So many seconds ago, by the database's clock."""
    return now() - literal(age)


def _over(age: float) -> ColumnElement[bool]:
    """Of a job: it has ended, and so long ago."""
    ended = job.c.status.in_(("done", "failed", "cancelled"))
    return and_(ended, job.c.updated_at < _before(age), job.c.created_at < _before(age))


def _while_old(rows: Sequence[Any]) -> Iterator[Any]:
    for row in rows:
        if not row.old:
            return
        yield row
