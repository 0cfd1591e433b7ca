"""The SQL of claims and results, in Core, built once for the database at hand."""

from typing import Any

from sqlalchemy import (
    ColumnElement,
    Float,
    and_,
    bindparam,
    case,
    func,
    insert,
    literal_column,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from paceline import tables
from paceline.clock import now
from paceline.content import SAID
from paceline.status import RANKS, Status
from worker.rows import later, table_of

message = tables.columns(tables.Message)
attempt = tables.columns(tables.Attempt)
event = tables.columns(tables.Event)
grant = tables.columns(tables.Grant)
stream = tables.columns(tables.Stream)
lane_row = tables.columns(tables.Lane)
key_row = tables.columns(tables.Key)

# Partial indexes serve a query only if the statement itself holds their condition.
QUEUED: ColumnElement[str] = literal_column("'queued'")
READY = and_(message.c.status == QUEUED, message.c.due_at.is_(None))
UNRESOLVED: ColumnElement[bool] = literal_column("paceline_message.unresolved")

# True of a stream in which something waits: one probe of the index over what is ready. Without the order and the limit
# PostgreSQL makes a join of it, and reads the whole index.
WAITING = (
    select(message.c.id)
    .where(message.c.stream_id == stream.c.id, READY)
    .order_by(message.c.position)
    .limit(1)
    .scalar_subquery()
    .is_not(None)
)

# Whether anybody at all has opted out: most installations' claims need not look any further.
ANY_SUPPRESSED = select(tables.columns(tables.Suppression).c.channel).limit(1).scalar_subquery().is_not(None)

# What a provider may say more about: not what an operator has queued again, nor what is under a new claim.
REPORTED = tuple(str(status) for status in (*RANKS, Status.UNKNOWN))

_RESULT = {
    "id": str, "grant_id": str, "attempt": int, "status": str, "reason": str, "left": bool, "account": str,
    "due_in": float, "counts": bool, "failed": bool, "unresolved": bool, "poll_in": float, "provider_message_id": str,
    "outcome": str, "http_status": int, "code": str, "request_id": str, "duration_ms": float, "sent_age": float,
}  # fmt: skip
_POLL = {"id": str, "polls": int, "status": str, "reason": str, "poll_in": float, "counted": bool}
_GRANTED = {"id": str, "high": int, "rest": int, "age": float}
_CLOSED = {"id": str, "closed": int, "age": float}


def rank_of(status: Any) -> Any:
    """A status' place in the providers' order, as SQL."""
    return case(*((status == str(name), rank) for name, rank in RANKS.items()), else_=0)


class Statements:
    """The statements, built once."""

    def __init__(self, dialect: str) -> None:
        self._dialect = dialect
        self._insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
        self._results()
        self._polls()
        self._ledger()
        self._claims()

    def _results(self) -> None:
        given = table_of(self._dialect, "rows", _RESULT)
        mine = and_(
            message.c.id == given.c.id,
            message.c.grant_id == given.c.grant_id,
            message.c.attempt == given.c.attempt,
            or_(
                message.c.status.in_((str(Status.SENDING), str(Status.UNKNOWN))),
                # What waits to be sent once more is not, if its answer comes after all and leaves nothing open.
                and_(message.c.status == str(Status.QUEUED), message.c.unresolved, given.c.unresolved.is_(False)),
            ),
        )
        accepted = given.c.poll_in.is_not(None)
        self.finish = (
            update(message)
            .where(mine)
            .values(
                status=given.c.status,
                reason=given.c.reason,
                updated_at=now(),
                due_at=now() + given.c.due_in,
                attempt=case((given.c.outcome.is_(None), message.c.attempt - 1), else_=message.c.attempt),
                lease_until=null(),
                failures=case((given.c.counts, message.c.failures + 1), else_=message.c.failures),
                failed_at=case((given.c.failed, now()), else_=message.c.failed_at),
                unresolved=given.c.unresolved,
                first_sent_at=case(
                    (given.c.left, func.coalesce(message.c.first_sent_at, now() - given.c.sent_age)),
                    else_=message.c.first_sent_at,
                ),
                provider_message_id=func.coalesce(given.c.provider_message_id, message.c.provider_message_id),
                accepted_at=case((accepted, now()), else_=message.c.accepted_at),
                poll_at=case((accepted, now() + given.c.poll_in), else_=null()),
            )
            .returning(message.c.id)
        )
        source = select(
            given.c.id, given.c.attempt, given.c.grant_id, given.c.account, now() - given.c.sent_age, given.c.outcome,
            given.c.http_status, given.c.code, given.c.request_id, given.c.duration_ms,
        ).where(given.c.outcome.is_not(None))  # fmt: skip
        new = self._insert(attempt).from_select(
            [
                "message_id",
                "number",
                "grant_id",
                "account",
                "at",
                "outcome",
                "http_status",
                "code",
                "request_id",
                "duration_ms",
            ],
            source,
        )
        replaced = ("grant_id", "at", "outcome", "http_status", "code", "request_id", "duration_ms")
        # Late evidence replaces what the sweeper had to assume, and nothing else.
        self.attempts = new.on_conflict_do_update(
            index_elements=["message_id", "number"],
            set_={name: new.excluded[name] for name in replaced},
            where=attempt.c.outcome == "unknown",
        )
        self.events = insert(event).from_select(
            ["message_id", "account", "at", "source", "status", "reason"],
            select(
                given.c.id, given.c.account, now(), case((given.c.outcome.is_(None), "worker"), else_="response"),
                given.c.status, given.c.reason,
            ).where(or_(given.c.outcome.is_not(None), given.c.status != QUEUED)),
        )  # fmt: skip

    def _polls(self) -> None:
        given = table_of(self._dialect, "rows", _POLL)
        forward = rank_of(given.c.status) > rank_of(message.c.status)
        self.reports = (
            update(message)
            .where(message.c.id == given.c.id, given.c.status.is_not(None), forward, message.c.status.in_(REPORTED))
            .values(status=given.c.status, reason=given.c.reason, updated_at=now(), unresolved=False)
            .returning(message.c.id)
        )
        self.next_polls = (
            update(message)
            .where(message.c.id == given.c.id, message.c.polls == given.c.polls)
            .values(
                polls=case((given.c.counted, message.c.polls + 1), else_=message.c.polls),
                reason=func.coalesce(given.c.reason, message.c.reason),
                # What a webhook settled meanwhile is asked about no more.
                poll_at=case((message.c.poll_at.is_(None), null()), else_=now() + given.c.poll_in),
            )
        )
        self.poll_events = insert(event).from_select(
            ["message_id", "account", "at", "source", "status", "reason"],
            select(given.c.id, message.c.account, now(), literal_column("'poll'"), given.c.status, given.c.reason).join(
                message, message.c.id == given.c.id
            ),
        )

    def _ledger(self) -> None:
        given = table_of(self._dialect, "rows", _GRANTED)
        self.granted = (
            update(grant)
            .where(grant.c.id == given.c.id)
            .values(granted_high=given.c.high, granted_rest=given.c.rest, granted_at=now() - given.c.age)
        )
        done = table_of(self._dialect, "rows", _CLOSED)
        self.closed = (
            update(grant)
            .where(grant.c.id == done.c.id)
            .values(closed=grant.c.closed + done.c.closed, last_at=later(grant.c.last_at, now() - done.c.age))
        )

    def _claims(self) -> None:
        def shut(table: Any) -> Any:
            return and_(
                table.c.closed_reason.is_not(None), or_(table.c.closed_until.is_(None), table.c.closed_until > now())
            )

        self.lane_state = (
            select(
                key_row.c.nonce,
                shut(key_row).label("key_closed"),
                (key_row.c.closed_until - now()).label("key_wait"),
                shut(lane_row).label("lane_closed"),
                (lane_row.c.closed_until - now()).label("lane_wait"),
                lane_row.c.refusals,
                lane_row.c.unready,
                lane_row.c.pace,
                key_row.c.fingerprint,
                ANY_SUPPRESSED.label("any_suppressed"),
                select(SAID).scalar_subquery().label("content"),
            )
            .join_from(lane_row, key_row, key_row.c.name == lane_row.c.key)
            .where(lane_row.c.name == bindparam("lane"))
            .with_for_update(read=True, of=key_row)
        )
        self.open_lanes = (
            select(lane_row.c.name, lane_row.c.late, key_row.c.nonce)
            .join(key_row, key_row.c.name == lane_row.c.key)
            .where(lane_row.c.name.in_(bindparam("lanes", expanding=True)), ~shut(lane_row), ~shut(key_row))
            .where(lane_row.c.unready.is_(None))
        )
        self.streams = (
            select(stream.c.id, stream.c.via, stream.c.priority, stream.c.passed, stream.c.weight)
            .where(
                stream.c.via.in_(bindparam("vias", expanding=True)),
                stream.c.paused.is_(False),
                stream.c.held.is_(False),
                stream.c.cancelled.is_(False),
                WAITING,
            )
            .order_by(stream.c.priority, stream.c.passed, stream.c.id)
        )
        returned = (
            message.c.id,
            message.c.attempt,
            message.c.payload,
            message.c.failures,
            message.c.unresolved,
            (now() - message.c.first_sent_at).label("first_sent_age"),
            (message.c.expires_at - now()).label("expires_in"),
            select(func.coalesce(lane_row.c.succeeded_at > message.c.failed_at, False))
            .where(lane_row.c.name == bindparam("lane"))
            .scalar_subquery()
            .label("recovered"),
        )
        waiting = (
            select(message.c.id)
            .where(message.c.stream_id == bindparam("stream"), READY)
            # What may have been accepted is repeated by the account that sent it, or by nobody: no other recognises it.
            .where(or_(message.c.unresolved.is_(False), message.c.account == bindparam("account")))
        )
        # What it may have sent already, while an earlier account of the route is open again.
        mine = and_(READY, UNRESOLVED, message.c.account == bindparam("account"))
        own = select(message.c.id).where(mine, message.c.stream_id == bindparam("stream"))
        self.own_lines = select(message.c.stream_id).where(mine).distinct()
        late = waiting.where(
            message.c.expires_at.is_not(None),
            message.c.expires_at >= bindparam("since"),
            message.c.expires_at < bindparam("until"),
            message.c.position >= bindparam("place"),
        )

        def take(candidates: Any) -> Any:
            front = candidates.limit(bindparam("count")).with_for_update(skip_locked=True).cte("front")
            return (
                update(message)
                .where(message.c.id == front.c.id)
                .values(
                    status=str(Status.SENDING),
                    grant_id=bindparam("grant"),
                    attempt=message.c.attempt + 1,
                    lease_until=now() + bindparam("lease", type_=Float()),
                    account=bindparam("account"),
                    updated_at=now(),
                )
                .returning(*returned)
            )

        self.claim = take(waiting.order_by(message.c.position))
        self.claim_own = take(own.order_by(message.c.position))
        # From the end: what an earlier account of the route still has room for stands before it, and is passed by.
        self.claim_late = take(late.order_by(message.c.expires_at.desc(), message.c.position.desc()))
        # Also what a sweep has called unknown since: who asks knows that it never left. An earlier attempt may have.
        held = message.c.status.in_((str(Status.SENDING), str(Status.UNKNOWN)))
        earlier = and_(
            attempt.c.message_id == message.c.id,
            attempt.c.number < message.c.attempt,
            attempt.c.outcome == str(Status.UNKNOWN),
        )
        unresolved = case(
            (message.c.status == str(Status.UNKNOWN), select(attempt.c.number).where(earlier).exists()),
            else_=message.c.unresolved,
        )
        self.claimed_by = (
            select(*(column for column in returned if column.name != "unresolved"), unresolved.label("unresolved"))
            .add_columns(stream.c.priority, stream.c.via)
            .join(stream, stream.c.id == message.c.stream_id)
            .where(message.c.grant_id == bindparam("grant"), held)
            .order_by(message.c.id)
        )
        overdue = (
            select(message.c.id)
            .where(message.c.account == bindparam("of_account"), message.c.poll_at <= now())
            .order_by(message.c.poll_at)
            .limit(bindparam("count"))
            .with_for_update(skip_locked=True)
            .cte("overdue")
        )
        self.ask = (
            update(message)
            .where(message.c.id == overdue.c.id)
            .values(poll_at=now() + bindparam("lease", type_=Float()))
            .returning(
                message.c.id,
                message.c.account,
                message.c.provider_message_id,
                message.c.polls,
                (now() - message.c.accepted_at).label("accepted_age"),
            )
        )
