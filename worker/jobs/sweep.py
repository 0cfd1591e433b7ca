"""What time does to jobs: leases end, and what nobody waits for any more is not begun."""

from typing import Any

from sqlalchemy import Connection, case, func, insert, literal, null, or_, select, update

from paceline.clock import now
from paceline.jobs import JOB_EVENT
from worker.in_hand import Witness
from worker.jobs.statements import SENDING, job
from worker.jobs.steps import EXPIRED, FAILED, QUEUED, UNKNOWN, after_lease, event_of
from worker.lanes.topology import Topology
from worker.rows import encode, table_of
from worker.statements import QUEUED as QUEUED_NOW
from worker.statements import event, grant

_OVER = {
    "id": str, "attempt": int, "grant_id": str, "status": str, "reason": str, "due_in": float, "counts": bool,
    "left": bool,
}  # fmt: skip


class JobSweeper:
    """Each method moves at most `chunk` rows in the caller's transaction, and answers how many."""

    def __init__(self, topology: Topology, chunk: int) -> None:
        self._topology = topology
        self._chunk = chunk

    def expire(self, connection: Connection) -> int:
        """End jobs that did not begin in time; one whose first request may have been accepted becomes `unknown`."""
        late = (
            select(job.c.id)
            .where(job.c.status == QUEUED_NOW, job.c.expires_at <= now(), job.c.step == "", job.c.memory == "{}")
            .limit(self._chunk)
            .with_for_update(skip_locked=True)
            .cte("late")
        )
        end = (
            update(job)
            .where(job.c.id == late.c.id)
            .values(status=case((job.c.unresolved, UNKNOWN), else_=FAILED), reason=EXPIRED, updated_at=now())
            .returning(job.c.id, job.c.account, job.c.operation, job.c.status)
        )
        rows = connection.execute(end).all()
        _tell(connection, [(row.account, event_of(row.id, row.operation, row.status)) for row in rows])
        return len(rows)

    def end_leases(self, connection: Connection, reason: str, witness: Witness) -> int:
        """Settle the steps that were under claim when their worker died: asked again where that is harmless, or where
        the witness knows that they never left."""
        columns = (job.c.id, job.c.grant_id, job.c.attempt, job.c.account, job.c.operation, job.c.step, job.c.failures)
        over = (
            select(*columns, grant.c.process)
            .outerjoin(grant, grant.c.id == job.c.grant_id)
            .where(job.c.status == SENDING, job.c.lease_until <= now())
            .order_by(job.c.lease_until)
            .limit(self._chunk)
            .with_for_update(skip_locked=True, of=job)
        )
        rows = connection.execute(over).all()
        if not rows:
            return 0
        decided = [self._decide(row, reason, witness) for row in rows]
        given = table_of(connection.dialect.name, "rows", _OVER)
        claimed_at = select(grant.c.created_at).where(grant.c.id == given.c.grant_id).scalar_subquery()
        connection.execute(
            update(job)
            .where(job.c.id == given.c.id, job.c.attempt == given.c.attempt)
            .values(
                status=given.c.status,
                reason=given.c.reason,
                updated_at=now(),
                due_at=now() + func.coalesce(given.c.due_in, 0.0),
                lease_until=null(),
                attempt=case((given.c.left, job.c.attempt), else_=job.c.attempt - 1),
                unresolved=or_(job.c.unresolved, given.c.left),
                failures=case((given.c.counts, job.c.failures + 1), else_=job.c.failures),
                first_sent_at=case(
                    (given.c.left, func.coalesce(job.c.first_sent_at, claimed_at)), else_=job.c.first_sent_at
                ),
            ),
            {"rows": encode(decided)},
        )
        ended = zip(rows, decided, strict=True)
        _tell(
            connection,
            [
                (row.account, event_of(row.id, row.operation, values["status"]))
                for row, values in ended
                if values["status"] != QUEUED
            ],
        )
        return len(rows)

    def _decide(self, row: Any, reason: str, witness: Witness) -> dict[str, Any]:
        claim = {"id": row.id, "attempt": row.attempt, "grant_id": row.grant_id}
        if witness.never_left(row.process, row.grant_id, row.id):
            return {**claim, "status": QUEUED, "reason": None, "due_in": None, "counts": False, "left": False}
        sender = self._topology.senders.get(row.account)
        decision = after_lease(sender, row.operation, row.step, row.failures, reason)
        return {
            **claim,
            "status": UNKNOWN if decision is None else str(decision.status),
            "reason": reason if decision is None else decision.reason,
            "due_in": None if decision is None else decision.due_in,
            "counts": decision is not None and decision.counts,
            "left": True,
        }


def _tell(connection: Connection, said: list[tuple[str, str]]) -> None:
    if said:
        rows = [{"account": account, "data": data} for account, data in said]
        connection.execute(insert(event).values(at=now(), source=literal("worker"), kind=literal(JOB_EVENT)), rows)
