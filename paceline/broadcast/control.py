"""Showing broadcasts and steering them: pause, resume and cancel change a row of the broadcast and of its lines, and no
message; so they take effect at the next claim, whatever waits."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import Connection, String, bindparam, func, insert, null, or_, select, update

from paceline import jobs, tables
from paceline.broadcast import hosted
from paceline.broadcast.forecast import Forecast, forecast_of_row
from paceline.broadcast.hosted import Start
from paceline.broadcast.hosted_forecast import forecast_under_way
from paceline.broadcast.steps import note
from paceline.broadcast.stored import definition_in, metadata_in
from paceline.clock import now
from paceline.content import Keyring, keyring_of
from paceline.errors import BroadcastNotFound, PacelineError
from paceline.opened import Opened
from paceline.status import LEVELS, Status
from paceline.transactions import Transaction
from paceline.views import JobView, iso, moment

BROADCAST = tables.columns(tables.Broadcast)
STREAM = tables.columns(tables.Stream)
MESSAGE = tables.columns(tables.Message)
EVENT = tables.columns(tables.Event)

EXACT = 20_000  # messages up to which a broadcast's are counted whenever it is looked at
CHUNK = 500  # rows a transaction
REPORTED_FOR = 7 * 86_400.0  # seconds after its end in which reports on its messages are still counted
OVER = ("finished", "cancelled")


@dataclass(frozen=True, slots=True)
class BroadcastView:
    """Where a broadcast stands. `status` is scheduled, running, paused, finished or cancelled.

    `counts` has `recipients` (rows read), `duplicates`, `suppressed`, `invalid`, `messages`, `parts` (what is billed)
    and one number for each message status; they are as of `counted_at`. `reason` says why it ended short, or what holds
    it. Times are aware, in UTC.
    """

    id: str
    name: str
    status: str
    via: str
    priority: str
    counts: Mapping[str, int]
    reason: str | None
    send_at: datetime | None
    expires_at: datetime | None
    next_run_at: datetime | None
    created_at: datetime
    released_at: datetime | None
    finished_at: datetime | None
    counted_at: datetime | None
    job_id: str | None
    metadata: Mapping[str, str]
    _control: "Steering" = field(repr=False, compare=False)

    def refresh(self) -> "BroadcastView":
        """The same broadcast, as it stands now."""
        return self._control.show(self.id)

    def pause(self) -> "BroadcastView":
        """Let nothing more of it leave until it is resumed."""
        return self._control.pause(self.id)

    def resume(self) -> "BroadcastView":
        """Let it go on."""
        return self._control.resume(self.id)

    def cancel(self) -> "BroadcastView":
        """End it: what has not left never will. What has left is not called back."""
        return self._control.cancel(self.id)

    def forecast(self) -> Forecast:
        """When its last message will have left."""
        return self._control.forecast(self.id)

    def as_json(self) -> dict[str, Any]:
        """The shape of `broadcast show --json`, without the forecast."""
        values = {name: getattr(self, name) for name in self.__slots__ if name != "_control"}
        return {
            name: iso(value) if isinstance(value, datetime) else dict(value) if isinstance(value, Mapping) else value
            for name, value in values.items()
        }


class Steering(Protocol):
    """What a view can do, wherever its broadcast is."""

    def show(self, name: str) -> BroadcastView:
        """Where it stands."""
        ...

    def pause(self, name: str) -> BroadcastView:
        """Let nothing more leave."""
        ...

    def resume(self, name: str) -> BroadcastView:
        """Let it go on."""
        ...

    def cancel(self, name: str) -> BroadcastView:
        """End it."""
        ...

    def forecast(self, name: str) -> Forecast:
        """When it will be done."""
        ...


class Control:
    """The broadcasts of one installation. `wake` is told the account or route to wake."""

    def __init__(
        self,
        opened: Opened,
        wake: Callable[[str], None],
        start: Start,
        cancel_job: Callable[[str], bool],
    ) -> None:
        self._opened = opened
        self._wake = wake
        self._start = start
        self._cancel_job = cancel_job

    def show(self, name: str) -> BroadcastView:
        """The broadcast of that name or id. Raises `BroadcastNotFound`."""
        with self._opened.read() as connection:
            return self._view(connection, _row(connection, name))

    def all(self, limit: int = 100) -> list[BroadcastView]:
        """The newest first."""
        with self._opened.read() as connection:
            rows = connection.execute(select(BROADCAST).order_by(BROADCAST.c.id.desc()).limit(limit)).all()
            return [self._view(connection, row) for row in rows]

    def forecast(self, name: str) -> Forecast:
        """When its last message will have left. Raises `BroadcastNotFound`."""
        with self._opened.read() as connection:
            return _forecast(connection, _row(connection, name))

    def pause(self, name: str) -> BroadcastView:
        """Raises `BroadcastNotFound`, or `PacelineError` if it is over."""
        return self._steer(name, "paused", lambda transaction, row: self._set_paused(transaction, row, paused=True))

    def resume(self, name: str) -> BroadcastView:
        """Raises `BroadcastNotFound`, or `PacelineError` if it is over."""
        begin = self._not_begun(self._find(name))

        def change(transaction: Transaction, row: Any) -> None:
            if begin is None:
                self._set_paused(transaction, row, paused=False)
            else:
                begin(transaction)

        view = self._steer(name, "resumed", change)
        self._wake(view.via)
        return view

    def cancel(self, name: str) -> BroadcastView:
        """Raises `BroadcastNotFound`, or `PacelineError` if it is finished."""

        def change(transaction: Transaction, row: Any) -> None:
            values = {"status": "cancelled", "paused": False, "updated_at": now(), "finished_at": now()}
            transaction.run(update(BROADCAST).where(BROADCAST.c.id == row.id).values(values))
            transaction.run(update(STREAM).where(STREAM.c.broadcast == row.id).values(cancelled=True))

        return self._steer(name, "cancelled", change)

    def retry(self, name: str, reason: str | None = None) -> int:
        """Queue its failed messages again, those whose reason begins with `reason`; how many.

        Never one that may have been accepted, nor one that failed after this was called. Raises `BroadcastNotFound`,
        or `PacelineError` if it was cancelled, or is its provider's to send.
        """
        row = self._find(name)
        check_retriable(row.name, row.status)
        if row.job_id is not None:
            raise PacelineError(
                f"The broadcast {row.name!r} is sent by its provider: nothing of it is retried from here."
            )
        with self._opened.read() as connection:
            at = connection.scalar(select(now()))
        lines = select(STREAM.c.id).where(STREAM.c.broadcast == row.id)
        failed = select(MESSAGE.c.id).where(
            MESSAGE.c.broadcast,
            MESSAGE.c.stream_id.in_(lines),
            MESSAGE.c.status == str(Status.FAILED),
            MESSAGE.c.accepted_at.is_(None),
            MESSAGE.c.unresolved.is_(False),
            MESSAGE.c.payload != tables.ERASED,
            MESSAGE.c.updated_at <= at,
            or_(MESSAGE.c.expires_at.is_(None), MESSAGE.c.expires_at > now()),
        )
        if reason is not None:
            failed = failed.where(func.substr(MESSAGE.c.reason, 1, len(reason)) == reason)
        total = 0
        while moved := self._opened.write(lambda transaction: _retry_some(transaction, row.id, failed.limit(CHUNK))):
            total += moved
        if total:
            self._wake(row.via)
        return total

    def _steer(self, name: str, step: str, change: Callable[[Transaction, Any], None]) -> BroadcastView:
        row = self._find(name)
        check_steerable(row.name, row.status, step)
        if row.status != "cancelled":
            if row.job_id is not None:
                self._steer_job(row, step)

            def work(transaction: Transaction) -> None:
                change(transaction, row)
                note(transaction, row.id, row.name, row.via, step)

            self._opened.write(work)
        return self.show(row.id)

    def _steer_job(self, row: Any, step: str) -> None:
        with self._opened.read() as connection:
            zone = hosted.zone_of_schedule(definition_in(keyring_of(connection), row.id, row.definition))
        hosted.steer(lambda: self._job(row.job_id), step, zone or "", self._start, self._cancel_job)

    def _job(self, id: str) -> JobView:  # noqa: A002  # the job's id
        with self._opened.read() as connection:
            return jobs.job(connection, id)

    def _not_begun(self, row: Any) -> Callable[[Transaction], None] | None:
        """What asks its provider for it, if that is to send it and was not asked yet."""
        with self._opened.read() as connection:
            definition = definition_in(keyring_of(connection), row.id, row.definition)
        if row.job_id is not None or row.status in OVER or not hosted.is_hosted(definition):
            return None
        call = hosted.admitted(self._opened.directories.current(row.via), definition, row.id, row.created_at)
        return lambda transaction: hosted.begin(transaction, row.id, definition, call)

    def _set_paused(self, transaction: Transaction, row: Any, *, paused: bool) -> None:
        values = {"paused": paused, "updated_at": now()}
        transaction.run(update(BROADCAST).where(BROADCAST.c.id == row.id).values(values))
        transaction.run(update(STREAM).where(STREAM.c.broadcast == row.id).values(paused=paused))

    def under_way(self, broadcast_id: str) -> tuple[BroadcastView, Forecast]:
        """Where one stands that is staged and not let go yet, and when it would end if it were now."""
        with self._opened.read() as connection:
            row = _row(connection, broadcast_id)
            return self._view(connection, row), _forecast(connection, row, resumed=True)

    def _find(self, name: str) -> Any:
        with self._opened.read() as connection:
            return _row(connection, name)

    def _view(self, connection: Connection, row: Any) -> BroadcastView:
        keys = keyring_of(connection)
        if row.job_id is not None and (standing := hosted.standing_of(connection, row)) is not None:
            view = self._made(keys, row, standing.counts, connection.scalar(select(now())))
            status = row.status if row.status in OVER else standing.status
            return replace(view, status=status, counts=standing.counts, reason=standing.reason)
        counts = json.loads(row.counts)
        counted_at = row.counted_at
        # Its messages may be forgotten before its counts are.
        at = float(connection.scalar(select(now())) or 0.0)
        old = row.finished_at is not None and row.finished_at < at - REPORTED_FOR
        if row.job_id is None and (row.counted_at is None or (row.messages <= EXACT and not old)):
            counts, counted_at = counts_of(connection, row.id), at
        return self._made(keys, row, counts, counted_at)

    def _made(self, keys: Keyring, row: Any, counts: Mapping[str, int], counted_at: float | None) -> BroadcastView:
        total = {"recipients": row.recipients, "duplicates": row.duplicates, "suppressed": row.suppressed}
        total |= {"invalid": row.invalid, "messages": row.messages, "parts": row.parts}
        return BroadcastView(
            id=row.id,
            name=row.name,
            status=_status(row),
            via=row.via,
            priority=str(LEVELS[row.priority]),
            counts=total | {str(status): int(counts.get(str(status), 0)) for status in Status},
            reason=_reason(row),
            send_at=_moment(row.send_at),
            expires_at=_moment(row.expires_at),
            next_run_at=_moment(row.next_run_at),
            created_at=moment(row.created_at),
            released_at=_moment(row.released_at),
            finished_at=_moment(row.finished_at),
            counted_at=_moment(counted_at),
            job_id=row.job_id,
            metadata=metadata_in(keys, row.id, row.definition),
            _control=self,
        )


def counts_of(connection: Connection, broadcast_id: str) -> dict[str, int]:
    """Its messages by status, counted along one index."""
    lines = [row[0] for row in connection.execute(select(STREAM.c.id).where(STREAM.c.broadcast == broadcast_id))]
    statement = (
        select(MESSAGE.c.status, func.count())
        .where(MESSAGE.c.broadcast, MESSAGE.c.stream_id.in_(lines))
        .group_by(MESSAGE.c.status)
    )
    return {row[0]: int(row[1]) for row in connection.execute(statement)} if lines else {}


def shortfall(counts: Mapping[str, int]) -> str | None:
    """Why it ended with fewer than it began with."""
    short = {name: counts[name] for name in ("failed", "expired", "cancelled", "unknown") if counts.get(name)}
    return ", ".join(f"{number:,} {name}" for name, number in short.items()) or None


def check_steerable(name: str, status: str, step: str) -> None:
    """Raise `PacelineError` for a broadcast that is over."""
    if status == "finished" or (status == "cancelled" and step != "cancelled"):
        raise PacelineError(f"The broadcast {name!r} is {status}: it cannot be {step} any more.")


def check_retriable(name: str, status: str) -> None:
    """Raise `PacelineError` for a broadcast of which nothing is sent any more."""
    if status == "cancelled":
        raise PacelineError(f"The broadcast {name!r} is cancelled: nothing of it is sent any more.")


def _retry_some(transaction: Transaction, broadcast_id: str, failed: Any) -> int:
    ids = [found[0] for found in transaction.run(failed)]
    if not ids:
        return 0
    fresh = {"status": "queued", "reason": null(), "failures": 0, "failed_at": null(), "polls": 0}
    fresh |= {"first_sent_at": null(), "due_at": null(), "poll_at": null(), "updated_at": now()}
    again = update(MESSAGE).where(MESSAGE.c.id.in_(ids), MESSAGE.c.status == str(Status.FAILED))
    moved = transaction.run(again.values(fresh).returning(MESSAGE.c.id, MESSAGE.c.account))
    told = {"at": now(), "source": "operator", "status": "queued", "reason": "retried by an operator"}
    for id_, account in moved:
        transaction.run(insert(EVENT).values(message_id=id_, account=account, **told))
    over = update(BROADCAST).where(BROADCAST.c.id == broadcast_id, BROADCAST.c.status == "finished")
    transaction.run(over.values(status="running", finished_at=null(), reason=null(), updated_at=now()))
    return len(ids)


def _row(connection: Connection, name: str) -> Any:
    row = connection.execute(_FIND, {"wanted": name}).first()
    if row is None:
        raise BroadcastNotFound("No broadcast has this name or id.")
    return row


def _forecast(connection: Connection, row: Any, *, resumed: bool = False) -> Forecast:
    if hosted.is_hosted(definition_in(keyring_of(connection), row.id, row.definition)):
        return forecast_under_way(connection, row, resumed=resumed)
    return forecast_of_row(connection, row, resumed=resumed)


def _status(row: Any) -> str:
    if row.status in OVER:
        return str(row.status)
    if row.paused:
        return "paused"
    return "scheduled" if row.status in ("expanding", "discarding") else str(row.status)


def _reason(row: Any) -> str | None:
    if row.status == "expanding":
        return f"its recipients are being read, {row.recipients:,} so far; if that was interrupted, start it again"
    if row.status == "discarding":
        return "its recipients could not be used; what was staged of it is being removed"
    return row.reason  # type: ignore[no-any-return]  # text or nothing


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else moment(seconds)


_wanted = bindparam("wanted", type_=String())
_FIND = (
    select(BROADCAST)
    .where((BROADCAST.c.name == _wanted) | (BROADCAST.c.id == _wanted))
    .order_by((BROADCAST.c.name == _wanted).desc())
)

__all__ = ["BroadcastView", "Control", "check_retriable", "check_steerable", "counts_of", "shortfall"]
