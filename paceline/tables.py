"""The tables. All bear the prefix `paceline_` and stand in a registry of their own, so that they may share a
database and a process with an application's own SQLModel classes.

Times are Unix seconds by the database's clock. Indexes over waiting messages are partial: what has left, and what is
not due yet, costs a claim nothing.
"""

from typing import Any, ClassVar

from sqlalchemy import BigInteger, Double, Index, Integer, MetaData, String, Text, false, text
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

SCHEMA_VERSION = "0001"  # the newest migration this code knows

naming = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = MetaData(naming_convention=naming)

# Byte order: ids are compared a million times a day, and a locale's collation costs and may even change.
Id = String(36).with_variant(String(36, collation="C"), "postgresql")
Serial = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up only its own INTEGER
Name = String(100).with_variant(String(100, collation="C"), "postgresql")


class Base(SQLModel, registry=registry(metadata=metadata)):
    """The root of our tables, apart from the application's."""

    metadata: ClassVar[MetaData] = metadata


def _partial(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    return Index(name, *columns, unique=unique, postgresql_where=text(where), sqlite_where=text(where))


class Installation(Base, table=True):
    """One row: what names this installation in Redis, and the secret under which message digests are made.

    Where content is encrypted that secret is in `content`, JSON that `paceline.content` writes, and not in the clear.
    """

    __tablename__ = "paceline_installation"

    id: int = Field(primary_key=True)
    name: str = Field(sa_type=Name)
    digest_secret: str = Field(sa_type=Name)
    content: str = Field(default="", sa_type=Text, sa_column_kwargs={"server_default": ""})


class Key(Base, table=True):
    """One provider credential, to which limits belong. `nonce` is the seed that its state in Redis must bear."""

    __tablename__ = "paceline_key"

    name: str = Field(primary_key=True, sa_type=Name)
    fingerprint: str = Field(sa_type=Name, unique=True)
    nonce: str = Field(default="", sa_type=Name)
    closed_reason: str | None = Field(default=None, sa_type=Text)
    closed_until: float | None = Field(default=None, sa_type=Double)  # None with a reason: until an operator opens it


class Lane(Base, table=True):
    """One key's queue for one class of endpoint; for one sender of several within the key, named by a digest: `pace`.

    While `unready` is set the provider has said that it cannot send for now; it is asked at `ask_at` whether it can
    again, and has been `asked` so many times since anything was sent. `late` is JSON: of the lines that the accounts
    behind it in a route may draw from, those messages that it has no tokens for in time (`worker/routing.py`).
    """

    __tablename__ = "paceline_lane"

    name: str = Field(primary_key=True, sa_type=Name)
    key: str = Field(sa_type=Name, index=True)
    lane_class: str = Field(default="", sa_type=Name)
    pace: str = Field(default="", sa_type=Name)
    limits: str = Field(default="[]", sa_type=Text)
    shape: str = Field(default="[]", sa_type=Text, sa_column_kwargs={"server_default": "[]"})  # guards, reserves
    closed_reason: str | None = Field(default=None, sa_type=Text)
    closed_until: float | None = Field(default=None, sa_type=Double)
    refusals: int = 0  # consecutive refusals without a date; the next backoff grows with them
    succeeded_at: float | None = Field(default=None, sa_type=Double)
    unready: str | None = Field(default=None, sa_type=Text)
    ask_at: float | None = Field(default=None, sa_type=Double)
    asked: int = 0
    late: str | None = Field(default=None, sa_type=Text)


class Account(Base, table=True):
    """What a producer may know of an account: its capabilities, and the lane on which its sends wait."""

    __tablename__ = "paceline_account"

    name: str = Field(primary_key=True, sa_type=Name)
    provider: str = Field(sa_type=Name)
    lane: str = Field(sa_type=Name)
    capabilities: str = Field(sa_type=Text)


class Route(Base, table=True):
    """A name for an ordered list of accounts, as JSON."""

    __tablename__ = "paceline_route"

    name: str = Field(primary_key=True, sa_type=Name)
    accounts: str = Field(sa_type=Text)


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
        _partial("ix_paceline_stream_broadcast", "broadcast", where="broadcast <> ''"),
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


class Broadcast(Base, table=True):
    """One message for many recipients. What it says, and how it is scheduled, is `definition`, as JSON.

    `cursor` is how many of its recipients' rows have been read, and `read_digest` a digest of those: an expansion that
    was interrupted goes on from there. `run_at` is set of one run of a recurring broadcast, its `parent`. `counts` are
    those of its messages by status, as JSON, taken at `counted_at`. `job_id` is the job of one that its provider sends.
    """

    __tablename__ = "paceline_broadcast"
    __table_args__ = (
        _partial("ix_paceline_broadcast_run", "parent", "run_at", where="parent IS NOT NULL", unique=True),
        _partial("ix_paceline_broadcast_open", "status", where="status NOT IN ('finished', 'cancelled')"),
    )

    id: str = Field(primary_key=True, sa_type=Id)
    name: str = Field(sa_type=Text, unique=True)
    digest: str = Field(sa_type=Name)
    via: str = Field(sa_type=Name)
    priority: int
    definition: str = Field(sa_type=Text)
    status: str = Field(sa_type=Name)  # expanding, discarding, scheduled, running, finished, cancelled
    paused: bool = False
    reason: str | None = Field(default=None, sa_type=Text)
    cursor: int = Field(default=0, sa_type=BigInteger)
    read_digest: str = Field(default="", sa_type=Name)
    recipients: int = Field(default=0, sa_type=BigInteger)
    duplicates: int = Field(default=0, sa_type=BigInteger)
    suppressed: int = Field(default=0, sa_type=BigInteger)
    invalid: int = Field(default=0, sa_type=BigInteger)
    messages: int = Field(default=0, sa_type=BigInteger)
    parts: int = Field(default=0, sa_type=BigInteger)
    counts: str = Field(default="{}", sa_type=Text)
    counted_at: float | None = Field(default=None, sa_type=Double)
    count_seconds: float = Field(default=0.0, sa_type=Double)  # what the last count took
    created_at: float = Field(sa_type=Double)
    updated_at: float = Field(sa_type=Double)
    send_at: float | None = Field(default=None, sa_type=Double)
    expires_at: float | None = Field(default=None, sa_type=Double)
    next_run_at: float | None = Field(default=None, sa_type=Double)
    parent: str | None = Field(default=None, sa_type=Id)
    run_at: float | None = Field(default=None, sa_type=Double)
    released_at: float | None = Field(default=None, sa_type=Double)
    finished_at: float | None = Field(default=None, sa_type=Double)
    job_id: str | None = Field(default=None, sa_type=Id)


# For how long what is over is kept, `worker/retention.py` says. A payload is erased first, its message goes later.
SETTLED = "status NOT IN ('queued', 'sending', 'unknown') AND poll_at IS NULL"
ERASED = "{}"


class Message(Base, table=True):
    """One thing for one recipient. `due_at` is set while it waits for a time, and null once it may be claimed."""

    __tablename__ = "paceline_message"
    __table_args__ = (
        _partial("ix_paceline_message_ready", "stream_id", "position", where="status = 'queued' AND due_at IS NULL"),
        _partial(
            "ix_paceline_message_urgent",
            "stream_id",
            "expires_at",
            "position",
            where="status = 'queued' AND due_at IS NULL AND expires_at IS NOT NULL",
        ),
        _partial(
            "ix_paceline_message_unresolved",
            "account",
            "stream_id",
            "position",
            where="status = 'queued' AND due_at IS NULL AND unresolved",
        ),
        _partial("ix_paceline_message_due", "due_at", where="status = 'queued' AND due_at IS NOT NULL"),
        _partial("ix_paceline_message_lease", "lease_until", where="status = 'sending'"),
        _partial("ix_paceline_message_expiry", "expires_at", where="status = 'queued' AND expires_at IS NOT NULL"),
        _partial("ix_paceline_message_poll", "account", "poll_at", where="poll_at IS NOT NULL"),
        _partial("ix_paceline_message_unknown", "id", where="status = 'unknown'"),
        _partial("ix_paceline_message_content", "updated_at", where=f"{SETTLED} AND payload <> '{ERASED}'"),
        _partial("ix_paceline_message_erased", "updated_at", where=f"payload = '{ERASED}'"),
        _partial(
            "ix_paceline_message_provider_message_id",
            "account",
            "provider_message_id",
            where="provider_message_id IS NOT NULL",
        ),
        _partial("ix_paceline_message_broadcast", "stream_id", "status", where="broadcast"),
        _partial(
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


class Grant(Base, table=True):
    """The ledger: one row a claim, written before any of its requests leaves.

    Until `granted` is set it counts in full, as now. Afterwards, of the `granted` requests, `closed` have an outcome
    and had left by `last_at`; the others count as now until `lease_until`.
    """

    __tablename__ = "paceline_grant"
    __table_args__ = (Index("ix_paceline_grant_key_created_at", "key", "created_at"),)

    id: str = Field(primary_key=True, sa_type=Id)
    key: str = Field(sa_type=Name)
    lane: str = Field(sa_type=Name)
    high: int = 0
    rest: int = 0
    created_at: float = Field(sa_type=Double)
    lease_until: float = Field(sa_type=Double)
    granted_high: int | None = None
    granted_rest: int | None = None
    granted_at: float | None = Field(default=None, sa_type=Double)
    closed: int = 0
    last_at: float | None = Field(default=None, sa_type=Double)


class Attempt(Base, table=True):
    """One request made for a message, written once, with its outcome; late evidence may replace an `unknown`."""

    __tablename__ = "paceline_attempt"
    __table_args__ = (_partial("ix_paceline_attempt_unknown", "account", "at", where="outcome = 'unknown'"),)

    message_id: str = Field(primary_key=True, sa_type=Id)
    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    grant_id: str = Field(sa_type=Id)
    account: str = Field(sa_type=Name)
    at: float = Field(sa_type=Double)
    outcome: str = Field(sa_type=Name)
    http_status: int | None = None
    code: str = Field(default="", sa_type=Text)
    request_id: str | None = Field(default=None, sa_type=Text)
    duration_ms: float = Field(default=0.0, sa_type=Double)


class Event(Base, table=True):
    """Something that was said about a message or to an account, in order: the truth behind notifications.

    `kind` is `status` for what was said about a message; every other kind happened to the account, and `data` is what
    the provider wrote of it, as JSON. `position` is the row's place for those who read along, given once it is
    committed: ids are given before, and transactions commit in another order than they took theirs.
    """

    __tablename__ = "paceline_event"
    __table_args__ = (
        Index("ix_paceline_event_message_id", "message_id"),
        _partial("ix_paceline_event_new", "id", where="position IS NULL"),
        _partial("ix_paceline_event_position", "position", where="position IS NOT NULL", unique=True),
        _partial("ix_paceline_event_data", "position", where="data IS NOT NULL"),
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=Serial)
    message_id: str | None = Field(default=None, sa_type=Id)
    account: str | None = Field(default=None, sa_type=Name)
    at: float = Field(sa_type=Double)
    source: str = Field(sa_type=Name)  # response, poll, webhook, worker, operator, application
    status: str | None = Field(default=None, sa_type=Name)
    reason: str | None = Field(default=None, sa_type=Text)
    kind: str = Field(default="status", sa_type=Name, sa_column_kwargs={"server_default": "status"})
    data: str | None = Field(default=None, sa_type=Text)
    position: int | None = Field(default=None, sa_type=BigInteger)


class Relay(Base, table=True):
    """One row: the last position that was given to an event, and the last that the application's task was told of.

    `published` is null until there is such a task. Whoever is `publisher` until `lease_until` tells it alone.
    """

    __tablename__ = "paceline_relay"

    id: int = Field(primary_key=True)
    assigned: int = Field(default=0, sa_type=BigInteger)
    published: int | None = Field(default=None, sa_type=BigInteger)
    publisher: str | None = Field(default=None, sa_type=Name)
    lease_until: float | None = Field(default=None, sa_type=Double)


class Webhook(Base, table=True):
    """Something a provider posted, once, however often it did: `dedup_key` names it among those of its key's accounts.

    `fingerprint` is the key's, which its name may change under. While `match_at` is set the message it speaks of is not
    known yet, and is looked for again then. `data` is what the provider wrote of anything but a message of ours.
    """

    __tablename__ = "paceline_webhook"
    __table_args__ = (
        Index("uq_paceline_webhook_dedup_key", "fingerprint", "dedup_key", unique=True),
        _partial("ix_paceline_webhook_parked", "match_at", where="match_at IS NOT NULL"),
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=Serial)
    fingerprint: str = Field(sa_type=Name)
    dedup_key: str = Field(sa_type=Name)
    account: str = Field(sa_type=Name)
    kind: str = Field(sa_type=Name)
    received_at: float = Field(sa_type=Double)
    happened_at: float | None = Field(default=None, sa_type=Double)  # the provider's clock
    provider_message_id: str | None = Field(default=None, sa_type=Text)
    status: str | None = Field(default=None, sa_type=Name)
    reason: str | None = Field(default=None, sa_type=Text)
    recipient: str | None = Field(default=None, sa_type=Text)
    message_id: str | None = Field(default=None, sa_type=Id)  # of ours, where it came to that message's own address
    data: str | None = Field(default=None, sa_type=Text)
    match_at: float | None = Field(default=None, sa_type=Double)


class Job(Base, table=True):
    """An operation of a provider under way: a question, a change, or work that takes the provider a while.

    `arguments`, `memory` and `result` are JSON. `step` is the one that is to be asked for next, at `due_at`; a request
    for it is under claim while `status` is `sending`. `digest` names the same question among those that were answered.
    """

    __tablename__ = "paceline_job"
    __table_args__ = (
        _partial("ix_paceline_job_due", "lane", "due_at", where="status = 'queued'"),
        _partial("ix_paceline_job_lease", "lease_until", where="status = 'sending'"),
        _partial("ix_paceline_job_unknown", "lane", where="status = 'unknown'"),
        Index("ix_paceline_job_created_at", "created_at"),
        _partial("ix_paceline_job_digest", "account", "digest", where="digest IS NOT NULL"),
        _partial(
            "ix_paceline_job_idempotency_key", "idempotency_key", where="idempotency_key IS NOT NULL", unique=True
        ),
    )

    id: str = Field(primary_key=True, sa_type=Id)
    account: str = Field(sa_type=Name)
    lane: str = Field(sa_type=Name)
    operation: str = Field(sa_type=Name)
    arguments: str = Field(default="{}", sa_type=Text)
    digest: str | None = Field(default=None, sa_type=Name)
    idempotency_key: str | None = Field(default=None, sa_type=Text)
    status: str = Field(default="queued", sa_type=Name)  # queued, sending, done, failed, unknown, cancelled
    reason: str | None = Field(default=None, sa_type=Text)
    step: str = Field(default="", sa_type=Text)
    memory: str = Field(default="{}", sa_type=Text)
    result: str | None = Field(default=None, sa_type=Text)
    created_at: float = Field(sa_type=Double)
    updated_at: float = Field(sa_type=Double)
    due_at: float = Field(sa_type=Double)
    expires_at: float | None = Field(default=None, sa_type=Double)
    grant_id: str | None = Field(default=None, sa_type=Id)
    attempt: int = 0  # of this step
    lease_until: float | None = Field(default=None, sa_type=Double)
    failures: int = 0  # of this step, against the retry budget
    unresolved: bool = False  # a request of this step may have been accepted
    first_sent_at: float | None = Field(default=None, sa_type=Double)  # of this step


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


def columns(table: type[Base]) -> Any:
    """The Core table behind a class, for claims and results."""
    return metadata.tables[str(table.__tablename__)]
