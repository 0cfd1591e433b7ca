"""What time does to messages: leases end, scheduled ones fall due, unsent ones expire, silent ones are given up.

Each sweep takes a bounded number of rows a transaction and goes on while there are more, so that it never stands in a
claim's way.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    case,
    func,
    insert,
    literal,
    literal_column,
    null,
    or_,
    select,
    union,
    update,
)

from paceline.clock import now
from paceline.database import read, write
from paceline.errors import ContentLocked
from paceline.status import Status
from worker.adoption import Adoption
from worker.hooks.inbound import Inbox
from worker.in_hand import Witness, forget
from worker.jobs.statements import job
from worker.jobs.sweep import JobSweeper
from worker.lanes.topology import Topology
from worker.retry import Standing, after_unknown
from worker.rows import encode, table_of
from worker.statements import QUEUED, attempt, event, grant, message

CHUNK = 500  # rows a transaction
LEASE_OVER = "no answer before its lease ended"
NEVER_LEFT = "its worker died before it left"

# In the text of the statement, or the partial index does not serve it.
_SENDING: ColumnElement[str] = literal_column("'sending'")

_UNKNOWN = {
    "id": str, "grant_id": str, "attempt": int, "account": str, "status": str, "reason": str, "due_in": float,
    "counts": bool, "left": bool,
}  # fmt: skip


# The processes whose claims are not settled.
_CLAIMING = union(
    *(
        select(grant.c.process)
        .join(table, table.c.grant_id == grant.c.id)
        .where(table.c.status == _SENDING, grant.c.process.is_not(None))
        for table in (message, job)
    )
)


class Sweeper:
    """Every method is safe to run anywhere, any number of times at once; each answers how many rows it moved."""

    def __init__(self, engine: Engine, topology: Topology, in_hand: Path | None = None) -> None:
        self._engine = engine
        self._in_hand = in_hand
        self._topology = topology
        self._inbox = Inbox(engine, topology)
        self._adoption = Adoption(engine, topology, self._inbox)
        self._jobs = JobSweeper(topology, CHUNK)
        self._silent = [sender.name for sender in topology.senders.values() if sender.poll_lane is None]

    def stage_due(self) -> int:
        """Let claims see what has reached its time. Future-dated messages are in an index of their own until then."""
        ready = (
            select(message.c.id)
            .where(message.c.status == QUEUED, message.c.due_at <= now())
            .order_by(message.c.due_at)
            .limit(CHUNK)
            .with_for_update(skip_locked=True)
            .cte("ready")
        )
        # Its rows are counted: SQLite tells no number of a statement that begins with WITH.
        statement = update(message).where(message.c.id == ready.c.id).values(due_at=null()).returning(message.c.id)
        return self._repeat(lambda connection: len(connection.execute(statement).all()))

    def expire(self) -> int:
        """End what could not leave in time: `expired`, or `unknown` if an earlier attempt may have been accepted.

        Jobs that did not begin in time have failed.
        """
        late = (
            select(message.c.id)
            .where(message.c.status == QUEUED, message.c.expires_at <= now())
            .limit(CHUNK)
            .with_for_update(skip_locked=True)
            .cte("late")
        )
        end = (
            update(message)
            .where(message.c.id == late.c.id)
            .values(
                status=case((message.c.unresolved, str(Status.UNKNOWN)), else_=str(Status.EXPIRED)),
                reason="expires_at passed",
                updated_at=now(),
                due_at=null(),
            )
            .returning(message.c.id, message.c.account, message.c.status, message.c.reason)
        )
        expired = self._repeat(lambda connection: self._note(connection, connection.execute(end).all()))
        return expired + self._repeat(self._jobs.expire)

    def give_up(self) -> int:
        """Make accepted messages final, reason `no_report`, where no question can be asked and no word came."""
        if not self._silent:
            return 0
        silent = (
            select(message.c.id)
            .where(message.c.account.in_(self._silent), message.c.poll_at <= now())
            .limit(CHUNK)
            .with_for_update(skip_locked=True)
            .cte("silent")
        )
        end = (
            update(message)
            .where(message.c.id == silent.c.id)
            .values(reason="no_report", updated_at=now(), poll_at=null())
            .returning(message.c.id, message.c.account, message.c.status, message.c.reason)
        )
        return self._repeat(lambda connection: self._note(connection, connection.execute(end).all()))

    def end_leases(self) -> int:
        """Settle what was under claim when its worker died: `unknown`, or again where a repeat is recognised, or where
        its worker died with it in hand."""
        over = (
            select(
                message.c.id,
                message.c.grant_id,
                message.c.attempt,
                message.c.account,
                message.c.failures,
                grant.c.process,
                (now() - func.coalesce(message.c.first_sent_at, grant.c.created_at)).label("first_sent_age"),
            )
            .outerjoin(grant, grant.c.id == message.c.grant_id)
            .where(message.c.status == _SENDING, message.c.lease_until <= now())
            .order_by(message.c.lease_until)
            .limit(CHUNK)
            .with_for_update(skip_locked=True, of=message)
        )
        ended = self._repeat(lambda connection: self._settle(connection, connection.execute(over).all()))
        witness = Witness(self._in_hand)
        ended += self._repeat(lambda connection: self._jobs.end_leases(connection, LEASE_OVER, witness))
        if self._in_hand is not None:
            forget(self._in_hand, self._claiming)
        return ended

    def match_parked(self) -> int:
        """Look again for the messages of webhooks that came before their message was known.

        Where the key for content is missing they wait for a worker that has it.
        """
        total = 0
        while True:
            try:
                due, parked = self._inbox.match_parked(CHUNK)
                self._adoption.adopt(parked)
            except ContentLocked:
                return total
            total += due
            if due < CHUNK:
                return total

    def _claiming(self) -> Sequence[str]:
        with read(self._engine) as connection:
            return connection.scalars(_CLAIMING).all()

    def _settle(self, connection: Connection, rows: Any) -> int:
        if not rows:
            return 0
        given = table_of(connection.dialect.name, "rows", _UNKNOWN)
        witness = Witness(self._in_hand)
        parameter = {"rows": encode([self._decide(row, witness) for row in rows])}
        claimed_at = select(grant.c.created_at).where(grant.c.id == given.c.grant_id).scalar_subquery()
        connection.execute(
            update(message)
            .where(message.c.id == given.c.id, message.c.attempt == given.c.attempt)
            .values(
                status=given.c.status,
                reason=given.c.reason,
                updated_at=now(),
                due_at=now() + given.c.due_in,
                lease_until=null(),
                attempt=case((given.c.left, message.c.attempt), else_=message.c.attempt - 1),
                unresolved=or_(message.c.unresolved, given.c.left),
                failures=case((given.c.counts, message.c.failures + 1), else_=message.c.failures),
                first_sent_at=case(
                    (given.c.left, func.coalesce(message.c.first_sent_at, claimed_at)), else_=message.c.first_sent_at
                ),
            ),
            parameter,
        )
        # What was assumed; the answer replaces it, should it still come.
        assumed = select(given.c.id, given.c.attempt, given.c.grant_id, given.c.account, now(), null(), given.c.reason)
        missing = (
            ~select(attempt.c.number)
            .where(attempt.c.message_id == given.c.id, attempt.c.number == given.c.attempt)
            .exists()
        )
        columns = ["message_id", "number", "grant_id", "account", "at", "http_status", "code"]
        assumed = assumed.where(given.c.left, missing).add_columns(literal("unknown"), literal(0.0))
        connection.execute(insert(attempt).from_select([*columns, "outcome", "duration_ms"], assumed), parameter)
        noted = select(given.c.id, given.c.account, now(), literal("worker"), given.c.status, given.c.reason)
        connection.execute(
            insert(event).from_select(["message_id", "account", "at", "source", "status", "reason"], noted), parameter
        )
        return len(rows)

    def _decide(self, row: Any, witness: Witness) -> dict[str, Any]:
        sender = self._topology.senders.get(row.account)
        values = {
            "id": row.id,
            "grant_id": row.grant_id,
            "attempt": row.attempt,
            "account": row.account,
            "status": str(Status.UNKNOWN),
            "reason": LEASE_OVER,
            "due_in": None,
            "counts": False,
            "left": True,
        }
        if witness.never_left(row.process, row.grant_id, row.id):
            return {**values, "status": str(Status.QUEUED), "reason": NEVER_LEFT, "left": False}
        if sender is None:
            return values  # an account that this worker's configuration no longer has: nobody may resend for it
        # Where not even its grant is left, it is too long ago for anybody to recognise a repeat.
        age = math.inf if row.first_sent_age is None else row.first_sent_age
        standing = Standing(failures=row.failures, unresolved=True, first_sent_age=age)
        decision = after_unknown(LEASE_OVER, sender, standing)
        return {
            **values,
            "status": str(decision.status),
            "reason": decision.reason,
            "due_in": decision.due_in,
            "counts": decision.counts,
        }

    def _note(self, connection: Connection, rows: Any) -> int:
        if rows:
            noted = [
                {"message_id": row.id, "account": row.account, "status": row.status, "reason": row.reason}
                for row in rows
            ]
            connection.execute(insert(event).values(at=now(), source="worker"), noted)
        return len(rows)

    def _repeat(self, once: Callable[[Connection], int]) -> int:
        total = 0
        while True:
            with write(self._engine) as connection:
                moved = once(connection)
            total += moved
            if moved < CHUNK:
                return total
