"""What has been let out: claims before their requests leave, and attempts with their outcomes."""

from sqlalchemy import Double, Index, Text
from sqlmodel import Field

from paceline.tables.base import Base, Id, Name, partial_index


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
    process: str | None = Field(default=None, sa_type=Name)  # set if it keeps a file of what it has in hand
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
    __table_args__ = (partial_index("ix_paceline_attempt_unknown", "account", "at", where="outcome = 'unknown'"),)

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
