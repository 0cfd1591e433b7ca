"""What there is to send through, as workers publish it: the installation, keys, lanes, accounts and routes."""

from sqlalchemy import Double, Text
from sqlmodel import Field

from paceline.tables.base import Base, Name


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
