"""The work of broadcasts that takes longer than a tick may: runs are copied, what was cancelled or given up is ended,
messages are counted. Chunk by chunk, so that it never stands in a claim's way; any number of workers may do it."""

import json
import time
from collections.abc import Callable
from typing import Any

import structlog
from sqlalchemy import Connection, Engine, and_, case, func, insert, literal_column, null, or_, select, update

from paceline import tables
from paceline.broadcast.control import OVER, REPORTED_FOR, counts_of
from paceline.broadcast.definition import Definition
from paceline.broadcast.runs import copy_chunk
from paceline.broadcast.staging import discard_some
from paceline.broadcast.stored import definition_in
from paceline.clock import now
from paceline.content import keyring_of
from paceline.database import read, write
from paceline.transactions import CoreTransaction

BROADCAST = tables.columns(tables.Broadcast)
STREAM = tables.columns(tables.Stream)
MESSAGE = tables.columns(tables.Message)
EVENT = tables.columns(tables.Event)

CHUNK = 500  # rows a transaction
DUTY = 50.0  # times what all counts took, until the next: a fiftieth of the time
RUNNING_EVERY = 2.0  # seconds between two counts of one that runs
OVER_EVERY = 60.0  # of one that is over
DISCARDED_AFTER = 60.0  # seconds after which whoever was removing a broadcast is taken for dead
BUDGET = 20.0  # seconds of one round

log = structlog.get_logger("paceline.broadcast")

CANCELLED = "its broadcast was cancelled"


class BroadcastWork:
    """One round of it at a time; `wake` is told the account or route to wake."""

    def __init__(self, engine: Engine, wake: Callable[[str], None]) -> None:
        self._engine = engine
        self._wake = wake

    def round(self) -> dict[str, int]:
        """Everything that is to be done, for at most `BUDGET` seconds; how many rows, runs and counts."""
        ends = time.monotonic() + BUDGET
        return {
            "copied": self._copy(ends),
            "cancelled": self._settle(ends),
            "discarded": self._discard(ends),
            "counted": self._count(ends),
        }

    def _copy(self, ends: float) -> int:
        """Copy the messages of recurring broadcasts into their runs, chunk by chunk."""
        runs = and_(BROADCAST.c.parent.is_not(None), BROADCAST.c.status == "expanding")
        with read(self._engine) as connection:
            ids = list(connection.scalars(select(BROADCAST.c.id).where(runs).order_by(BROADCAST.c.id)))
        return sum(guarded(id_, lambda id_: self._copy_one(id_, ends)) for id_ in ids)

    def _copy_one(self, id_: str, ends: float) -> int:
        total, more = 0, True
        while more and time.monotonic() < ends:
            with write(self._engine) as connection:
                row = connection.execute(
                    select(BROADCAST)
                    .where(BROADCAST.c.id == id_, BROADCAST.c.status == "expanding")
                    .with_for_update(skip_locked=True)
                ).one_or_none()
                copied, more = (0, False) if row is None else copy_chunk(connection, row)
            total += copied
            if row is not None and not more:
                self._wake(row.via)
        return total

    def _settle(self, ends: float) -> int:
        """End what waits in a broadcast that was cancelled, whenever it came to wait there; and let a finished one go
        on, should something of it wait again: an operator may have said so."""
        with read(self._engine) as connection:
            rows = connection.execute(_WAIT_THOUGH_OVER).all()
        finished = [row.id for row in rows if row.status == "finished"]
        cancelled = [row.id for row in rows if row.status != "finished"]
        for id_ in finished:
            guarded(id_, self._run_again)
        return sum(guarded(id_, lambda id_: self._cancel(id_, ends)) for id_ in cancelled)

    def _run_again(self, id_: str) -> None:
        again = {"status": "running", "finished_at": null(), "reason": null(), "updated_at": now()}
        with write(self._engine) as connection:
            connection.execute(
                update(BROADCAST).where(BROADCAST.c.id == id_, BROADCAST.c.status == "finished").values(**again)
            )

    def _cancel(self, id_: str, ends: float) -> int:
        total, moved = 0, CHUNK
        while moved == CHUNK and time.monotonic() < ends:
            with write(self._engine) as connection:
                moved = self._cancel_some(connection, id_)
            total += moved
        self._count_now(id_)
        return total

    def _cancel_some(self, connection: Connection, id_: str) -> int:
        lines = select(STREAM.c.id).where(STREAM.c.broadcast == id_)
        waiting = (
            select(MESSAGE.c.id)
            .where(MESSAGE.c.broadcast, MESSAGE.c.stream_id.in_(lines), MESSAGE.c.status == "queued")
            .limit(CHUNK)
            .with_for_update(skip_locked=True)
            .cte("waiting")
        )
        # What may have been accepted by an earlier attempt did not end by being cancelled.
        ended = update(MESSAGE).where(MESSAGE.c.id == waiting.c.id)
        ended = ended.values(
            status=case((MESSAGE.c.unresolved, "unknown"), else_="cancelled"),
            reason=CANCELLED,
            updated_at=now(),
            due_at=null(),
        )
        moved = connection.execute(ended.returning(MESSAGE.c.id, MESSAGE.c.account, MESSAGE.c.status)).all()
        if moved:
            rows = [{"message_id": row.id, "account": row.account, "status": row.status} for row in moved]
            connection.execute(insert(EVENT).values(at=now(), source="application", reason=CANCELLED), rows)
        return len(moved)

    def _discard(self, ends: float) -> int:
        """Remove what a producer staged in vain and died over."""
        dead = and_(BROADCAST.c.status == "discarding", BROADCAST.c.updated_at < now() - DISCARDED_AFTER)
        with read(self._engine) as connection:
            ids = list(connection.scalars(select(BROADCAST.c.id).where(dead)))
        for id_ in ids:
            guarded(id_, lambda id_: self._discard_one(id_, ends))
        return len(ids)

    def _discard_one(self, id_: str, ends: float) -> None:
        more = True
        while more and time.monotonic() < ends:
            with write(self._engine) as connection:
                more = discard_some(CoreTransaction(connection), id_)

    def _count(self, ends: float) -> int:
        """Count those that run or were over not long ago; all counts together take at most a fiftieth of the time."""
        recent = and_(BROADCAST.c.status.in_(OVER), BROADCAST.c.finished_at > now() - REPORTED_FOR)
        own = BROADCAST.c.job_id.is_(None)  # its provider counts the others
        asked = (
            BROADCAST.c.id,
            BROADCAST.c.status,
            BROADCAST.c.count_seconds,
            (now() - BROADCAST.c.counted_at).label("age"),
        )
        with read(self._engine) as connection:
            rows = connection.execute(select(*asked).where(own, or_(BROADCAST.c.status == "running", recent))).all()
        rest = DUTY * sum(row.count_seconds for row in rows)
        done = 0
        for row in rows:
            every = max(RUNNING_EVERY if row.status == "running" else OVER_EVERY, rest)
            if time.monotonic() < ends and (row.age is None or row.age >= every):
                guarded(row.id, self._count_now)
                done += 1
        return done

    def _count_now(self, id_: str) -> None:
        with write(self._engine) as connection:
            began = time.monotonic()
            counts = counts_of(connection, id_)
            values = counted(counts) | {"count_seconds": time.monotonic() - began}
            connection.execute(update(BROADCAST).where(BROADCAST.c.id == id_).values(values))


def guarded(id_: str, step: Callable[[str], int | None]) -> int:
    """What the step answers for that broadcast; 0 if it fails: one that cannot be read must not stop the others."""
    try:
        return step(id_) or 0
    except Exception as bug:
        log.error("broadcast_stuck", broadcast=id_, error=type(bug).__name__)  # noqa: TRY400  # it may quote a row
        return 0


def counted(counts: dict[str, int]) -> dict[str, Any]:
    """What a broadcast's row holds of a count."""
    return {"counts": json.dumps(counts), "counted_at": now()}


def definition_of(connection: Connection, id_: str) -> Definition:
    """A broadcast's definition."""
    text = connection.execute(select(BROADCAST.c.definition).where(BROADCAST.c.id == id_)).scalar_one()
    return definition_in(keyring_of(connection), id_, text)


_some = (
    select(MESSAGE.c.id)
    .where(MESSAGE.c.broadcast, MESSAGE.c.stream_id == STREAM.c.id, MESSAGE.c.status == literal_column("'queued'"))
    .limit(1)
)
_WAIT_THOUGH_OVER = (
    select(BROADCAST.c.id, func.max(BROADCAST.c.status).label("status"))
    .join(STREAM, STREAM.c.broadcast == BROADCAST.c.id)
    .where(BROADCAST.c.status.in_(OVER), _some.scalar_subquery().is_not(None))
    .group_by(BROADCAST.c.id)
)
