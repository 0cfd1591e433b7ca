"""What is sent, the line it waits in, the key it must not be sent twice under, and who wants nothing more."""

from sqlalchemy import BigInteger, Double, Index, Text, false
from sqlmodel import Field

from paceline.tables.base import Base, Id, Name, partial_index


class Stream(Base, table=True):
    """Messages that wait in one line: the same `via`, priority and broadcast; of a broadcast that keeps to its
    recipients' own time the same zone, and of one that is ramped up the same `day`, counted from 1. Pausing one is one
    row: `paused` by people, `held` until its schedule lets it go, which it did first at `released_at`.

    `passed` is the stream's place in stride scheduling: the stream with the lowest goes next, and what it takes,
    divided by its weight, is added.
    """

    __tablename__ = "paceline_stream"
    __table_args__ = (
        Index("uq_paceline_stream_line", "via", "priority", "broadcast", "zone", "day", unique=True),
        partial_index("ix_paceline_stream_broadcast", "broadcast", where="broadcast <> ''"),
    )

    id: int | None = Field(default=None, primary_key=True)
    via: str = Field(sa_type=Name)
    priority: int
    broadcast: str = Field(default="", sa_type=Id)
    weight: float = Field(default=1.0, sa_type=Double)
    passed: float = Field(default=0.0, sa_type=Double)
    paused: bool = False
    cancelled: bool = False
    zone: str = Field(default="", sa_type=Name, sa_column_kwargs={"server_default": ""})
    held: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    day: int = Field(default=1, sa_column_kwargs={"server_default": "1"})
    released_at: float | None = Field(default=None, sa_type=Double)


# For how long what is over is kept, `worker/retention.py` says. A payload is erased first, its message goes later.
SETTLED = "status NOT IN ('queued', 'sending', 'unknown') AND poll_at IS NULL"
ERASED = "{}"


class Message(Base, table=True):
    """One thing for one recipient. `due_at` is set while it waits for a time, and null once it may be claimed."""

    __tablename__ = "paceline_message"
    __table_args__ = (
        partial_index(
            "ix_paceline_message_ready", "stream_id", "position", where="status = 'queued' AND due_at IS NULL"
        ),
        partial_index(
            "ix_paceline_message_urgent",
            "stream_id",
            "expires_at",
            "position",
            where="status = 'queued' AND due_at IS NULL AND expires_at IS NOT NULL",
        ),
        partial_index(
            "ix_paceline_message_unresolved",
            "account",
            "stream_id",
            "position",
            where="status = 'queued' AND due_at IS NULL AND unresolved",
        ),
        partial_index("ix_paceline_message_due", "due_at", where="status = 'queued' AND due_at IS NOT NULL"),
        partial_index("ix_paceline_message_lease", "lease_until", where="status = 'sending'"),
        partial_index("ix_paceline_message_expiry", "expires_at", where="status = 'queued' AND expires_at IS NOT NULL"),
        partial_index("ix_paceline_message_poll", "account", "poll_at", where="poll_at IS NOT NULL"),
        partial_index("ix_paceline_message_unknown", "id", where="status = 'unknown'"),
        partial_index("ix_paceline_message_content", "updated_at", where=f"{SETTLED} AND payload <> '{ERASED}'"),
        partial_index("ix_paceline_message_erased", "updated_at", where=f"payload = '{ERASED}'"),
        partial_index(
            "ix_paceline_message_provider_message_id",
            "account",
            "provider_message_id",
            where="provider_message_id IS NOT NULL",
        ),
        partial_index("ix_paceline_message_broadcast", "stream_id", "status", where="broadcast"),
        partial_index(
            "ix_paceline_message_unnamed", "account", where="provider_message_id IS NULL AND accepted_at IS NOT NULL"
        ),
    )

    id: str = Field(primary_key=True, sa_type=Id)
    stream_id: int
    # Its place in its stream, the time in its id. A number of its own, since an index on the id would be
    # larger, and PostgreSQL would at times walk the primary key through all that was ever sent.
    position: int = Field(sa_type=BigInteger)
    status: str = Field(sa_type=Name)
    reason: str | None = Field(default=None, sa_type=Text)
    payload: str = Field(sa_type=Text)  # JSON: the message's fields, `metadata`, `options`
    idempotency_key: str | None = Field(default=None, sa_type=Text)
    created_at: float = Field(sa_type=Double)
    updated_at: float = Field(sa_type=Double)
    send_at: float | None = Field(default=None, sa_type=Double)
    expires_at: float | None = Field(default=None, sa_type=Double)
    due_at: float | None = Field(default=None, sa_type=Double)

    account: str | None = Field(default=None, sa_type=Name)
    provider_message_id: str | None = Field(default=None, sa_type=Text)
    grant_id: str | None = Field(default=None, sa_type=Id)
    attempt: int = 0
    lease_until: float | None = Field(default=None, sa_type=Double)
    failures: int = 0  # what counts against the retry budget
    failed_at: float | None = Field(default=None, sa_type=Double)
    first_sent_at: float | None = Field(default=None, sa_type=Double)  # opens the provider's deduplication window
    unresolved: bool = False  # an attempt of it may have been accepted
    accepted_at: float | None = Field(default=None, sa_type=Double)
    polls: int = 0
    poll_at: float | None = Field(default=None, sa_type=Double)
    broadcast: bool = Field(default=False, sa_column_kwargs={"server_default": false()})  # it is one of a broadcast's


class IdempotencyKey(Base, table=True):
    """A key that was used, and a keyed digest of what for. Kept for longer than the message itself."""

    __tablename__ = "paceline_idempotency_key"

    key: str = Field(primary_key=True, sa_type=Text)
    message_id: str = Field(sa_type=Id)
    digest: str = Field(sa_type=Name)
    created_at: float = Field(sa_type=Double, index=True)


class Suppression(Base, table=True):
    """A recipient who wants nothing more on a channel: neither enqueue nor a claim lets a message to them through.

    `recipient` is as `paceline.suppression.normalised` writes it; where content is encrypted it is a keyed digest of
    that, and `sealed` the recipient, encrypted. `source` says who told: webhook, response, poll or operator.
    """

    __tablename__ = "paceline_suppression"

    channel: str = Field(primary_key=True, sa_type=Name)
    recipient: str = Field(primary_key=True, sa_type=Text)
    at: float = Field(sa_type=Double)
    source: str = Field(sa_type=Name)
    account: str | None = Field(default=None, sa_type=Name)
    reason: str | None = Field(default=None, sa_type=Text)
    sealed: str | None = Field(default=None, sa_type=Text)
