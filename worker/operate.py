"""What an operator does by hand: requeue or settle a message, open or close an account or one of its lanes."""

from collections.abc import Mapping

from sqlalchemy import Connection, Engine, insert, null, or_, select, update

from paceline import tables
from paceline.clock import now
from paceline.database import write
from paceline.errors import MessageNotFound, PacelineError
from paceline.jobs import JOB_EVENT
from paceline.status import Status
from worker.jobs import steps as jobs
from worker.lanes.topology import Lane, Topology
from worker.statements import event, key_row, lane_row, message, stream

broadcast = tables.columns(tables.Broadcast)
job = tables.columns(tables.Job)

CLOSED_BY_HAND = "closed by an operator"

_RETRIED = (Status.FAILED, Status.EXPIRED, Status.CANCELLED, Status.UNKNOWN)
_RESOLVED = {"delivered": Status.DELIVERED, "failed": Status.FAILED, "resend": Status.QUEUED}
_JOB_RESOLVED = {"delivered": jobs.DONE, "failed": jobs.FAILED, "resend": jobs.QUEUED}


def retry(engine: Engine, message_id: str) -> None:
    """Queue a message again that ended without being sent, with a fresh retry budget.

    Raises `MessageNotFound`, or `PacelineError` if its status is another (an `unknown` one may have been accepted, so
    that is for `resolve` to say), or if its broadcast was cancelled.
    """
    with write(engine) as connection:
        status = _status(connection, message_id)
        if status is Status.UNKNOWN:
            raise PacelineError(
                f"Message {message_id} is unknown: it may have been accepted. "
                f"Say `paceline resolve {message_id} --as resend` to send it again all the same."
            )
        if status not in _RETRIED:
            raise PacelineError(
                f"Message {message_id} is {status}; only failed, expired or cancelled ones are retried."
            )
        _requeue(connection, message_id, "retried by an operator")


def resolve(engine: Engine, message_id: str, verdict: str) -> None:
    """Settle an `unknown` message or job: `delivered`, `failed`, or `resend`, which queues it again.

    Of a job `delivered` says that the provider did what its last request asked for: it is done, and what would have
    come after that is not asked for. Raises `MessageNotFound`, or `PacelineError` if it is not unknown or the verdict
    is another.
    """
    if verdict not in _RESOLVED:
        raise PacelineError(f"--as must be one of {', '.join(_RESOLVED)}.")
    with write(engine) as connection:
        if _resolve_job(connection, message_id, verdict):
            return
        status = _status(connection, message_id)
        if status is not Status.UNKNOWN:
            raise PacelineError(f"Message {message_id} is {status}; only unknown ones are resolved.")
        if verdict == "resend":
            _requeue(connection, message_id, "resent by an operator")
            return
        values = {"status": str(_RESOLVED[verdict]), "reason": "resolved by an operator"}
        connection.execute(
            update(message)
            .where(message.c.id == message_id)
            .values(**values, unresolved=False, updated_at=now(), poll_at=null())
        )
        _note(connection, message_id, _RESOLVED[verdict], values["reason"])


def _resolve_job(connection: Connection, id_: str, verdict: str) -> bool:
    """Settle the job of that id; False if there is none."""
    found = connection.execute(
        select(job.c.account, job.c.operation, job.c.status).where(job.c.id == id_).with_for_update()
    ).one_or_none()
    if found is None:
        return False
    if found.status != jobs.UNKNOWN:
        raise PacelineError(f"Job {id_} is {found.status}; only unknown ones are resolved.")
    status = _JOB_RESOLVED[verdict]
    again = {"due_at": now(), "failures": 0, "first_sent_at": null()} if verdict == "resend" else {}
    reason = None if again else "resolved by an operator"
    connection.execute(
        update(job)
        .where(job.c.id == id_)
        .values(status=status, reason=reason, unresolved=False, updated_at=now(), lease_until=null(), **again)
    )
    connection.execute(
        insert(event).values(
            account=found.account, at=now(), source="operator", kind=JOB_EVENT,
            data=jobs.event_of(id_, found.operation, status),
        )
    )  # fmt: skip
    return True


def lanes_named(topology: Topology, name: str) -> list[Lane]:
    """The lanes that `ACCOUNT` or `ACCOUNT/CLASS` names; an account of a shared key names the key's.

    Of sends that are paced by sender, an account with its class names its own lane alone. Raises `PacelineError` that
    lists what there is.
    """
    account, _, lane_class = name.partition("/")
    sender = topology.senders.get(account)
    if sender is None:
        raise PacelineError(f"There is no account {account!r}; there are {', '.join(topology.senders)}.")
    lanes = topology.lanes_of(sender.key)
    found = [lane for lane in lanes if not lane_class or lane.name == sender.lane_for(lane_class)]
    if not found:
        classes = ", ".join(dict.fromkeys(lane.lane_class for lane in lanes))
        raise PacelineError(f"Account {account!r} has no class {lane_class!r}; it has {classes}.")
    return found


def close(engine: Engine, lanes: list[Lane], *, whole_key: bool) -> None:
    """Close lanes, or their key, until they are opened again."""
    values = {"closed_reason": CLOSED_BY_HAND, "closed_until": None}
    _gates(engine, lanes, whole_key=whole_key, values=values, key_values=values)


def open_(engine: Engine, lanes: list[Lane], *, whole_key: bool) -> None:
    """Open lanes, and with `whole_key` their key as well, whatever closed them; ready or not."""
    values = {"closed_reason": None, "closed_until": None}
    also = {"refusals": 0, "unready": None, "ask_at": None, "asked": 0}
    _gates(engine, lanes, whole_key=whole_key, values={**values, **also}, key_values=values, both=True)


def _gates(
    engine: Engine,
    lanes: list[Lane],
    *,
    whole_key: bool,
    values: Mapping[str, object],
    key_values: Mapping[str, object],
    both: bool = False,
) -> None:
    with write(engine) as connection:
        if both or not whole_key:
            names = sorted(lane.name for lane in lanes)
            connection.execute(update(lane_row).where(lane_row.c.name.in_(names)).values(**values))
        if whole_key:
            connection.execute(update(key_row).where(key_row.c.name == lanes[0].key).values(**key_values))


def _status(connection: Connection, message_id: str) -> Status:
    found = connection.execute(
        select(message.c.status).where(message.c.id == message_id).with_for_update()
    ).scalar_one_or_none()
    if found is None:
        raise MessageNotFound(f"There is no message {message_id!r}; `paceline list` shows those there are.")
    return Status(found)


def _requeue(connection: Connection, message_id: str, reason: str) -> None:
    if connection.scalar(select(message.c.payload).where(message.c.id == message_id)) == tables.ERASED:
        raise PacelineError(
            f"The content of message {message_id} was erased ([retention] content), so it cannot be sent again; "
            "enqueue it anew."
        )
    over = connection.scalar(
        select(broadcast.c.name)
        .join(stream, stream.c.broadcast == broadcast.c.id)
        .join(message, message.c.stream_id == stream.c.id)
        .where(message.c.id == message_id, message.c.broadcast, broadcast.c.status == "cancelled")
    )
    if over is not None:
        raise PacelineError(f"The broadcast {over!r} is cancelled: nothing of it is sent any more; enqueue it anew.")
    late = or_(message.c.expires_at.is_(None), message.c.expires_at > now())
    moved = connection.execute(
        update(message)
        .where(message.c.id == message_id, late)
        .values(
            status=str(Status.QUEUED),
            reason=None,
            failures=0,
            polls=0,
            failed_at=null(),
            unresolved=False,
            first_sent_at=null(),
            due_at=null(),
            poll_at=null(),
            updated_at=now(),
        )
    )
    if not moved.rowcount:
        raise PacelineError(f"The expires_at of message {message_id} has passed; enqueue it anew with a later one.")
    _note(connection, message_id, Status.QUEUED, reason)


def _note(connection: Connection, message_id: str, status: Status, reason: str) -> None:
    connection.execute(
        insert(event).values(message_id=message_id, at=now(), source="operator", status=str(status), reason=reason)
    )
