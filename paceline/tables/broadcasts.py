"""One message for many, and the work that a provider does for us over a while."""

from sqlalchemy import BigInteger, Double, Index, Text
from sqlmodel import Field

from paceline.tables.base import Base, Id, Name, partial_index


class Broadcast(Base, table=True):
    """One message for many recipients. What it says, and how it is scheduled, is `definition`, as JSON.

    `cursor` is how many of its recipients' rows have been read, and `read_digest` a digest of those: an expansion that
    was interrupted goes on from there. `run_at` is set of one run of a recurring broadcast, its `parent`. `counts` are
    those of its messages by status, as JSON, taken at `counted_at`. `job_id` is the job of one that its provider sends.
    """

    __tablename__ = "paceline_broadcast"
    __table_args__ = (
        partial_index("ix_paceline_broadcast_run", "parent", "run_at", where="parent IS NOT NULL", unique=True),
        partial_index("ix_paceline_broadcast_open", "status", where="status NOT IN ('finished', 'cancelled')"),
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


class Job(Base, table=True):
    """An operation of a provider under way: a question, a change, or work that takes the provider a while.

    `arguments`, `memory` and `result` are JSON. `step` is the one that is to be asked for next, at `due_at`; a request
    for it is under claim while `status` is `sending`. `digest` names the same question among those that were answered.
    """

    __tablename__ = "paceline_job"
    __table_args__ = (
        partial_index("ix_paceline_job_due", "lane", "due_at", where="status = 'queued'"),
        partial_index("ix_paceline_job_lease", "lease_until", where="status = 'sending'"),
        partial_index("ix_paceline_job_unknown", "lane", where="status = 'unknown'"),
        Index("ix_paceline_job_created_at", "created_at"),
        partial_index("ix_paceline_job_digest", "account", "digest", where="digest IS NOT NULL"),
        partial_index(
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
