"""What providers said, in order, and how far the application has been told."""

from sqlalchemy import BigInteger, Double, Index, Text
from sqlmodel import Field

from paceline.tables.base import Base, Id, Name, Serial, partial_index


class Event(Base, table=True):
    """Something that was said about a message or to an account, in order: the truth behind notifications.

    `kind` is `status` for what was said about a message; every other kind happened to the account, and `data` is what
    the provider wrote of it, as JSON. `position` is the row's place for those who read along, given once it is
    committed: ids are given before, and transactions commit in another order than they took theirs.
    """

    __tablename__ = "paceline_event"
    __table_args__ = (
        Index("ix_paceline_event_message_id", "message_id"),
        partial_index("ix_paceline_event_new", "id", where="position IS NULL"),
        partial_index("ix_paceline_event_position", "position", where="position IS NOT NULL", unique=True),
        partial_index("ix_paceline_event_data", "position", where="data IS NOT NULL"),
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
        partial_index("ix_paceline_webhook_parked", "match_at", where="match_at IS NOT NULL"),
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
