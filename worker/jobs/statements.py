"""The SQL of jobs: claiming the steps that are due on a lane, and writing down what became of them."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    and_,
    bindparam,
    case,
    func,
    insert,
    literal,
    literal_column,
    null,
    select,
    update,
)

from paceline import tables
from paceline.ciphers import Unreadable
from paceline.clock import now
from paceline.content import Keyring, keyring_of
from paceline.jobs import JOB_EVENT, place
from paceline.status import Priority
from worker.lanes.topology import Work
from worker.rows import encode, table_of
from worker.statements import QUEUED, event, lane_row
from worker.work import Claimed, Order

job = tables.columns(tables.Job)

# In the text of the statements, or the partial indexes do not serve them.
SENDING: ColumnElement[str] = literal_column("'sending'")
UNKNOWN: ColumnElement[str] = literal_column("'unknown'")

# True of a lane on which a job's step is due: one probe of the index.
STEPS_DUE = (
    select(job.c.id)
    .where(job.c.lane == lane_row.c.name, job.c.status == QUEUED, job.c.due_at <= now())
    .order_by(job.c.due_at)
    .limit(1)
    .scalar_subquery()
    .is_not(None)
)

_RESULT = {
    "id": str, "grant_id": str, "attempt": int, "step": str, "status": str, "account": str, "reason": str, "made": bool,
    "left": bool, "due_in": float, "counts": bool, "unresolved": bool, "next_step": str, "memory": str, "result": str,
    "event": str, "sent_age": float,
}  # fmt: skip


class JobStatements:
    """The statements, built once for the database at hand."""

    def __init__(self, dialect: str) -> None:
        self._results(dialect)
        self._claims()

    def record(self, connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
        """Write what became of steps under claim. An answer to a claim that is not the job's last moves nothing."""
        given = encode(rows)
        moved = {row.id for row in connection.execute(self._finish, {"rows": given})}
        told = [row for row in rows if row["id"] in moved and row.get("event") is not None]
        if told:
            connection.execute(self._events, {"rows": encode(told)})

    def claim(self, connection: Connection, order: Order, count: int) -> tuple[Claimed, ...]:
        """Take up to so many steps that are due on the lane, those that are due for longest first."""
        lane = order.lane
        wish = {
            "of_lane": lane.name,
            "accounts": list(lane.callers),
            "count": count,
            "of_grant": order.operation_id,
            "lease": lane.lease,
        }
        return _claimed(connection.execute(self._claim, wish), keyring_of(connection))

    def claimed(self, connection: Connection, order: Order) -> tuple[Claimed, ...]:
        """What an earlier claim of that order took."""
        wish = {"of_lane": order.lane.name, "of_grant": order.operation_id}
        return _claimed(connection.execute(self._again, wish), keyring_of(connection))

    def _results(self, dialect: str) -> None:
        given = table_of(dialect, "rows", _RESULT)
        mine = and_(
            job.c.id == given.c.id,
            job.c.grant_id == given.c.grant_id,
            job.c.attempt == given.c.attempt,
            job.c.step == given.c.step,
            job.c.status.in_((SENDING, UNKNOWN)),
        )
        moves = given.c.next_step.is_not(None)
        put_back = and_(given.c.made.is_(False), given.c.status == "queued")
        self._finish = (
            update(job)
            .where(mine)
            .values(
                status=given.c.status,
                reason=case((put_back, job.c.reason), else_=given.c.reason),
                updated_at=case((put_back, job.c.updated_at), else_=now()),
                # What is put back keeps its place.
                due_at=case((given.c.due_in.is_(None), job.c.due_at), else_=now() + given.c.due_in),
                step=func.coalesce(given.c.next_step, job.c.step),
                memory=func.coalesce(given.c.memory, job.c.memory),
                result=func.coalesce(given.c.result, job.c.result),
                attempt=case((moves, 0), (given.c.made.is_(False), job.c.attempt - 1), else_=job.c.attempt),
                lease_until=null(),
                failures=case((moves, 0), (given.c.counts, job.c.failures + 1), else_=job.c.failures),
                unresolved=given.c.unresolved,
                first_sent_at=case(
                    (moves, null()),
                    (given.c.left, func.coalesce(job.c.first_sent_at, now() - given.c.sent_age)),
                    else_=job.c.first_sent_at,
                ),
            )
            .returning(job.c.id)
        )
        source = case((given.c.made, "response"), else_="worker")
        self._events = insert(event).from_select(
            ["account", "at", "source", "kind", "data"],
            select(given.c.account, now(), source, literal(JOB_EVENT), given.c.event),
        )

    def _claims(self) -> None:
        lane: Any = bindparam("of_lane")
        # Of a first attempt nothing has recovered yet. `updated_at` is when the last one failed: claims leave it alone.
        recovered = (
            select(and_(job.c.attempt > 1, func.coalesce(lane_row.c.succeeded_at > job.c.updated_at, False)))
            .where(lane_row.c.name == lane)
            .scalar_subquery()
            .label("recovered")
        )
        returned = (
            job.c.id, job.c.account, job.c.operation, job.c.arguments, job.c.step, job.c.memory, job.c.attempt,
            job.c.failures, job.c.unresolved, job.c.due_at, (job.c.expires_at - now()).label("expires_in"), recovered,
            (now() - job.c.first_sent_at).label("first_sent_age"),
        )  # fmt: skip
        due = (
            select(job.c.id)
            .where(
                job.c.lane == lane,
                job.c.status == QUEUED,
                job.c.due_at <= now(),
                job.c.account.in_(bindparam("accounts", expanding=True)),
            )
            .order_by(job.c.due_at)
            .limit(bindparam("count"))
            .with_for_update(skip_locked=True)
            .cte("due")
        )
        self._claim = (
            update(job)
            .where(job.c.id == due.c.id)
            .values(
                status="sending",
                grant_id=bindparam("of_grant"),
                attempt=job.c.attempt + 1,
                lease_until=now() + bindparam("lease", type_=Float()),
            )
            .returning(*returned)
        )
        held = job.c.status.in_((SENDING, UNKNOWN))  # also what a sweep gave up since: who asks knows it never left
        self._again = select(*returned).where(job.c.grant_id == bindparam("of_grant"), held)


def _claimed(rows: Any, keys: Keyring) -> tuple[Claimed, ...]:
    return tuple(
        Claimed(
            id=row.id,
            attempt=row.attempt,
            priority=Priority.BULK.level,
            via=row.account,
            payload=arguments,
            failures=row.failures,
            recovered=bool(row.recovered),
            unresolved=bool(row.unresolved),
            first_sent_age=row.first_sent_age,
            expires_in=row.expires_in,
            work=Work.JOB,
            operation=row.operation,
            step=row.step,
            memory=memory,
            unreadable=unreadable,
        )
        for row in sorted(rows, key=lambda row: (row.due_at, row.id))
        for arguments, memory, unreadable in [_opened(row, keys)]
    )


def _opened(row: Any, keys: Keyring) -> tuple[str, str, str]:
    """Its arguments and its memory; of a row that cannot be decrypted none of both, and why."""
    try:
        arguments = keys.open(row.arguments, *place("arguments", row.id))
        return arguments, keys.open(row.memory, *place("memory", row.id)), ""
    except Unreadable as error:
        return tables.ERASED, tables.ERASED, str(error)


def relane(connection: Connection, account: str, operations: Sequence[str], lane: str) -> None:
    """Let the open jobs of these operations wait on the lane that the configuration in force gives them."""
    for state in (QUEUED, SENDING):
        moved = and_(job.c.status == state, job.c.account == account, job.c.operation.in_(operations))
        connection.execute(update(job).where(moved, job.c.lane != lane).values(lane=lane))
