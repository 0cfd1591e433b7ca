"""Notifications: every event gets its place in one order, and the application's task is told of each, by ids alone.

Why a place of its own: ids are taken when rows are inserted, but transactions commit in another order, so a reader who
remembers the highest id it saw would skip the row of a slower transaction with a lower one. Positions are given here,
by one relay at a time (the relay's row is locked meanwhile; in SQLite there is one writer anyway), and only to rows
that are committed. So whoever sees a position sees all lower ones, or they are gone for good. Of one message, whose row
is locked by whoever writes an event about it, ids are in the order of what happened, and so are positions, because each
relay gives them in the order of ids.

The task is told at least once: the marker of what was published moves after the broker took it. A broker that is away
costs a quarter of a second every five, and nothing is lost: the marker waits.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import uuid4

import structlog
from sqlalchemy import Connection, Engine, case, func, null, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from paceline import tables
from paceline.clock import now
from paceline.database import read, write
from paceline.wakeup import FAILURES, REST
from worker.statements import event

CHUNK = {"sqlite": 500, "postgresql": 5000}  # events that are given their positions in one transaction
BATCH = 500  # events that are published before the marker moves
BUDGET = 2.0  # seconds of one run for each of the two
LEASE = 15.0  # seconds in which one process publishes alone: longer than its budget and the broker's last answer

relay = tables.columns(tables.Relay)

log = structlog.get_logger("paceline.events")


class TaskPublisher(Protocol):
    """Puts one call of a Celery task on a queue."""

    def publish(self, queue: str, task: str, args: Sequence[Any]) -> None:
        """Raises one of `paceline.wakeup.FAILURES` if the broker is away."""
        ...

    def close(self) -> None:
        """Give the connection up."""
        ...


@dataclass(frozen=True, slots=True)
class Target:
    """The application's task, and where its workers look for calls."""

    task: str
    queue: str
    publisher: TaskPublisher


class Relay:
    """Gives events their positions, and tells the target of them, if there is one. Safe to run anywhere at once."""

    def __init__(
        self, engine: Engine, target: Target | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._engine = engine
        self._target = target
        self._monotonic = monotonic
        self._chunk = CHUNK[engine.dialect.name]
        self._made = False
        self._quiet_until = float("-inf")

    def run(self) -> int:
        """Give what is new its positions, and publish; how many events were published."""
        if not self._made:
            self._make()
        self._assign()
        if self._target is None or self._monotonic() < self._quiet_until:
            return 0
        return self._publish(self._target)

    def close(self) -> None:
        """Let the broker go."""
        if self._target is not None:
            self._target.publisher.close()

    def _make(self) -> None:
        """The relay's row. A task that is named for the first time is told of what happens from then on."""
        make = postgresql.insert if self._engine.dialect.name == "postgresql" else sqlite.insert
        with write(self._engine) as connection:
            connection.execute(make(relay).values(id=1, assigned=0).on_conflict_do_nothing())
            if self._target is not None:
                first = update(relay).where(relay.c.published.is_(None)).values(published=relay.c.assigned)
                connection.execute(first)
        self._made = True

    # Positions

    def _assign(self) -> None:
        until = self._monotonic() + BUDGET
        while self._monotonic() < until and self._waiting():
            with write(self._engine) as connection:
                if self._assign_some(connection) < self._chunk:
                    return

    def _waiting(self) -> bool:
        with read(self._engine) as connection:
            return connection.execute(select(event.c.id).where(event.c.position.is_(None)).limit(1)).first() is not None

    def _assign_some(self, connection: Connection) -> int:
        """Positions for some events; how many, none if another relay is at it."""
        base = connection.scalar(select(relay.c.assigned).with_for_update(skip_locked=True))
        if base is None:
            return 0
        first = select(event.c.id).where(event.c.position.is_(None)).order_by(event.c.id).limit(self._chunk).subquery()
        numbered = select(first.c.id, func.row_number().over(order_by=first.c.id).label("place")).subquery("numbered")
        given = connection.execute(
            update(event).where(event.c.id == numbered.c.id).values(position=base + numbered.c.place)
        ).rowcount
        connection.execute(update(relay).values(assigned=base + given))
        return given

    # Publishing

    def _publish(self, target: Target) -> int:
        me = uuid4().hex
        marker = self._lease(me)
        if marker is None:
            return 0
        until, published, failure = self._monotonic() + BUDGET, 0, None
        while failure is None and self._monotonic() < until:
            batch = self._batch(marker)
            if not batch:
                break
            for call in batch:
                failure = self._call(target, call)
                if failure is not None:
                    break
                marker, published = call["cursor"], published + 1
                if self._monotonic() > until:
                    break
            if not self._mark(me, marker, done=False):
                break
        self._mark(me, marker, done=True)
        if published or failure:
            log.info("published", events=published, cursor=marker, error=failure)
        return published

    def _lease(self, me: str) -> int | None:
        """Be the one who publishes; the marker, or None if there is nothing to publish or another one does."""
        free = or_(relay.c.lease_until.is_(None), relay.c.lease_until < now())
        behind = relay.c.published < relay.c.assigned
        with read(self._engine) as connection:
            if connection.execute(select(relay.c.id).where(free, behind)).first() is None:
                return None
        take = update(relay).where(free, behind).values(publisher=me, lease_until=now() + LEASE)
        with write(self._engine) as connection:
            return connection.execute(take.returning(relay.c.published)).scalar_one_or_none()

    def _mark(self, me: str, marker: int, *, done: bool) -> bool:
        """Move the marker; False if another one publishes by now, who tells again what was told since the last mark."""
        until = null() if done else now() + LEASE
        mine = update(relay).where(relay.c.publisher == me, relay.c.published <= marker)
        with write(self._engine) as connection:
            return bool(connection.execute(mine.values(published=marker, lease_until=until)).rowcount)

    def _batch(self, marker: int) -> list[dict[str, Any]]:
        fields = (
            event.c.position.label("cursor"), event.c.message_id, event.c.account, event.c.kind, event.c.status,
            event.c.source, case((event.c.kind.in_(_IDS), event.c.data)).label("data"),
        )  # fmt: skip
        query = select(*fields).where(event.c.position > marker).order_by(event.c.position).limit(BATCH)
        with read(self._engine) as connection:
            return [_told(dict(row)) for row in connection.execute(query).mappings()]

    def _call(self, target: Target, call: dict[str, Any]) -> str | None:
        """Publish one call; None, or what kept the broker from taking it, which is then left alone for a while."""
        try:
            target.publisher.publish(target.queue, target.task, [call])
        except FAILURES as error:
            self._quiet_until = self._monotonic() + REST
            return type(error).__name__
        return None


# Of what is about neither a message nor something that happened to an account: the member of its data that names it.
_IDS = {"job": "job", "broadcast": "id"}


def _told(event_row: dict[str, Any]) -> dict[str, Any]:
    """What the task is called with: ids, and nothing that anybody wrote."""
    data = json.loads(event_row.pop("data") or "{}")
    kind = event_row["kind"]
    return {**event_row, kind: data.get(_IDS[kind])} if kind in _IDS else event_row
