"""The SQL of webhooks, in Core, built once for the database at hand; many rows are one parameter."""

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Text,
    and_,
    bindparam,
    case,
    cast,
    func,
    insert,
    literal,
    literal_column,
    null,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import JSONB

from paceline import tables
from paceline.clock import now
from paceline.status import Status
from worker.rows import table_of
from worker.statements import QUEUED, REPORTED, attempt, event, message

webhook = tables.columns(tables.Webhook)

_ARRIVAL = {
    "n": int, "fingerprint": str, "account": str, "dedup_key": str, "kind": str, "happened_at": float,
    "provider_message_id": str, "status": str, "reason": str, "recipient": str, "message_id": str, "data": str,
}  # fmt: skip
_NAMED = {"account": str, "provider_message_id": str}
_OURS = {"message_id": str}
_MOVED = {"id": str, "status": str, "reason": str, "poll_in": float}
_ADOPTING = {"id": str, "provider_message_id": str}
_TOLD = {
    "n": int, "message_id": str, "account": str, "status": str, "reason": str, "kind": str, "data": str,
}  # fmt: skip
_PUT_OFF = {"id": int, "seconds": float}
SENDING: ColumnElement[str] = literal_column("'sending'")
UNKNOWN: ColumnElement[str] = literal_column(
    "'unknown'"
)  # a partial index serves only a statement that holds its condition


# What an operator called failed or delivered may be told of all the same.
_SAID_MORE_OF = [status for status in REPORTED if status != Status.READ]


class InboundStatements:
    """The statements, built once."""

    def __init__(self, dialect: str) -> None:
        self._dialect = dialect
        self._storing()
        self._moving()
        self._parking()
        self._adopting()

    def _storing(self) -> None:
        given = table_of(self._dialect, "rows", _ARRIVAL)
        kept = [name for name in _ARRIVAL if name != "n"]
        source = select(*(given.c[name] for name in kept), now()).where(given.c.n.is_not(None))
        make = postgresql.insert if self._dialect == "postgresql" else sqlite.insert
        self.store = (
            make(webhook)
            .from_select([*kept, "received_at"], source)
            .on_conflict_do_nothing(index_elements=["fingerprint", "dedup_key"])
            .returning(webhook.c.id, webhook.c.fingerprint, webhook.c.dedup_key)
        )
        told = table_of(self._dialect, "rows", _TOLD)
        self.tell = insert(event).from_select(
            ["message_id", "account", "at", "source", "status", "reason", "kind", "data"],
            select(
                told.c.message_id, told.c.account, now(), literal("webhook"), told.c.status, told.c.reason,
                told.c.kind, told.c.data,
            ).order_by(told.c.n),
        )  # fmt: skip

    def _moving(self) -> None:
        given = table_of(self._dialect, "rows", _NAMED)
        # What waits to be sent once more, because nobody knows what became of it, is as good as unknown.
        undecided = and_(message.c.status == QUEUED, message.c.unresolved)
        standing = (
            message.c.id,
            message.c.account,
            case((undecided, str(Status.UNKNOWN)), else_=message.c.status).label("status"),
            message.c.provider_message_id,
        )
        ours = table_of(self._dialect, "rows", _OURS)
        self.look_up_ours = (
            select(*standing)
            .join(ours, ours.c.message_id == message.c.id)
            .order_by(message.c.id)
            .with_for_update(of=message)
        )
        self.look_up = (
            select(*standing)
            .join(
                given,
                and_(
                    message.c.account == given.c.account,
                    message.c.provider_message_id == given.c.provider_message_id,
                ),
            )
            .order_by(message.c.id)
            .with_for_update(of=message)
        )
        moved = table_of(self._dialect, "rows", _MOVED)
        self.move = (
            update(message)
            .where(message.c.id == moved.c.id)
            .values(
                status=moved.c.status,
                reason=moved.c.reason,
                updated_at=now(),
                due_at=null(),
                unresolved=False,
                accepted_at=func.coalesce(message.c.accepted_at, now()),
                # A settled message is asked about no more; one that is merely on its way has its next question already.
                poll_at=case(
                    (moved.c.poll_in.is_(None), null()), else_=func.coalesce(message.c.poll_at, now() + moved.c.poll_in)
                ),
            )
        )

        # By itself, since it is rare: SQLite writes an index anew for any column that is named, changed or not.
        named = table_of(self._dialect, "rows", _ADOPTING)
        self.adopt = (
            update(message).where(message.c.id == named.c.id).values(provider_message_id=named.c.provider_message_id)
        )

    def _parking(self) -> None:
        self.parked = (
            select(
                webhook.c.id.label("webhook"),
                webhook.c.fingerprint,
                webhook.c.provider_message_id,
                webhook.c.status,
                webhook.c.reason,
                webhook.c.recipient,
                webhook.c.message_id,
                (now() - webhook.c.received_at).label("age"),
            )
            .where(webhook.c.match_at <= now())
            .order_by(webhook.c.match_at, webhook.c.id)
            .limit(bindparam("count"))
            .with_for_update(skip_locked=True)
        )
        later = table_of(self._dialect, "rows", _PUT_OFF)
        self.put_off = update(webhook).where(webhook.c.id == later.c.id).values(match_at=now() + later.c.seconds)

        accounts: BindParameter[str] = bindparam("accounts", expanding=True)
        # Whether a message of these accounts may have been accepted under an id that we do not know yet.
        self.open_sends = select(
            or_(
                select(message.c.id).where(message.c.status == SENDING, message.c.account.in_(accounts)).exists(),
                select(attempt.c.message_id)
                .where(attempt.c.outcome == UNKNOWN, attempt.c.account.in_(accounts))
                .exists(),
                select(message.c.id)
                .where(
                    message.c.account.in_(accounts),
                    message.c.provider_message_id.is_(None),
                    message.c.accepted_at.is_not(None),
                )
                .exists(),
            )
        )

    def _adopting(self) -> None:
        accounts: BindParameter[str] = bindparam("accounts", expanding=True)
        recipients: BindParameter[str] = bindparam("recipients", expanding=True)
        tried = select(attempt.c.message_id, attempt.c.number, attempt.c.at, message.c.payload).join(
            message, message.c.id == attempt.c.message_id
        )
        unanswered = tried.where(attempt.c.outcome == UNKNOWN, attempt.c.account.in_(accounts))
        nameless = tried.where(
            attempt.c.outcome == "accepted",
            message.c.account.in_(accounts),
            message.c.provider_message_id.is_(None),
            message.c.accepted_at.is_not(None),
        )
        # These first, and by their indexes: only then is it worth reading what is in them.
        unnamed = union_all(unanswered, nameless).cte("unnamed").prefix_with("MATERIALIZED")
        recipient = (
            cast(unnamed.c.payload, JSONB)["to"].astext
            if self._dialect == "postgresql"
            else func.json_extract(unnamed.c.payload, "$.to", type_=Text())
        )
        self.unnamed = select(unnamed.c.message_id, unnamed.c.number, unnamed.c.at, recipient.label("recipient")).where(
            recipient.in_(recipients)
        )
        # Where content is encrypted only its owner can tell whom it is for.
        self.unnamed_sealed = select(unnamed.c.message_id, unnamed.c.number, unnamed.c.at, unnamed.c.payload)
        self.orphans = (
            select(webhook)
            .where(
                webhook.c.match_at.is_not(None),
                webhook.c.fingerprint == bindparam("fingerprint"),
                webhook.c.recipient.in_(recipients),
            )
            .order_by(webhook.c.id)
            .with_for_update()
        )
        self.lock = (
            select(message.c.id, message.c.account, message.c.status, message.c.reason)
            .where(
                message.c.id == bindparam("message"),
                message.c.status.in_(_SAID_MORE_OF),
                message.c.provider_message_id.is_(None),
            )
            .with_for_update()
        )
        self.named = (
            update(attempt)
            .where(
                attempt.c.message_id == bindparam("message"),
                attempt.c.number == bindparam("attempt_number"),
                attempt.c.outcome == UNKNOWN,
            )
            .values(outcome="accepted")
        )
