"""What `status` answers: where a message stands, what was tried, and what was said about it. Never its content."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from paceline.status import Status

OPEN = "open"  # the outcome of an attempt whose answer is not there yet


@dataclass(frozen=True, slots=True)
class AttemptView:
    """One request that was made for the message. `outcome` is `open` until there is one; `code` is the provider's."""

    at: datetime
    outcome: str
    http_status: int | None
    code: str
    request_id: str | None
    duration_ms: float | None

    def as_json(self) -> dict[str, Any]:
        """The shape of `show --json`."""
        return _json(self)


@dataclass(frozen=True, slots=True)
class EventView:
    """Something that was said: by a response, a poll, a webhook, the worker, an operator or the application.

    Of kind `status`, it is about the message `message_id`, which has been `status` since. Of kind `job`, a job of the
    account has come further or has ended: `data` has its id as `job`, its `operation` and its `status`. Every other
    kind happened to the account (`message_received`, for one), and `data` is what the provider wrote of it. `at` is
    when it was recorded. `cursor` is its place among all events, None until a worker has given it one, about a second
    later. Its repr holds neither reason nor data, which may quote the provider.
    """

    at: datetime
    source: str
    status: Status | None
    reason: str | None = field(repr=False)
    kind: str = "status"
    message_id: str | None = None
    account: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)
    cursor: int | None = None

    def as_json(self) -> dict[str, Any]:
        """The shape of `show --json`."""
        return _json(self)


@dataclass(frozen=True, slots=True)
class MessageView:
    """Where a message stands. Times are aware, in UTC.

    `waiting_for` says in a sentence why it has not left or is not final, None if it is. `account` is the one that sent
    or is sending it. `parts` is how many messages its provider bills for it, where that cuts a text. Its repr holds
    neither metadata nor reasons, which may quote the provider.
    """

    id: str
    status: Status
    reason: str | None
    waiting_for: str | None
    via: str
    account: str | None
    provider_message_id: str | None
    idempotency_key: str | None
    priority: str
    created_at: datetime
    send_at: datetime | None
    expires_at: datetime | None
    metadata: Mapping[str, str]
    parts: int = 1
    attempts: tuple[AttemptView, ...] = ()
    events: tuple[EventView, ...] = ()

    def __repr__(self) -> str:
        return f"MessageView({self.id}, {self.status}, via={self.via!r})"

    def as_json(self) -> dict[str, Any]:
        """The shape of `show --json`: plain data, times in ISO 8601."""
        return _json(self)


class JobStatus(StrEnum):
    """Where a job stands. Each member's `meaning` is one sentence."""

    QUEUED = "queued"
    SENDING = "sending"
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"
    CANCELLED = "cancelled"

    @property
    def meaning(self) -> str:
        """One sentence for people."""
        return JOB_MEANINGS[self]

    @property
    def final(self) -> bool:
        """True if nothing more is asked for it."""
        return self not in (JobStatus.QUEUED, JobStatus.SENDING)


JOB_MEANINGS = {
    JobStatus.QUEUED: "Its next request waits for its time, its lane, or a retry.",
    JobStatus.SENDING: "A request of it is, or may be, on the wire.",
    JobStatus.DONE: "The provider did it, or answered.",
    JobStatus.FAILED: "The provider refused, it was asked wrongly, or nobody asked in time.",
    JobStatus.UNKNOWN: "A request of it left and no answer that settles it came; it is not asked again on its own.",
    JobStatus.CANCELLED: "It was cancelled while no request of it was on the wire.",
}


@dataclass(frozen=True, slots=True)
class JobView:
    """Where a job stands: an operation of an account's provider. Times are aware, in UTC.

    `step` is the one that is asked for next, empty at first; `progress` is what the provider last said of how far it
    is, and `result` what came of it, None until it is `done`. `waiting_for` says in a sentence why the next request has
    not left. Its repr holds neither what was asked nor what was found, nor reasons.
    """

    id: str
    account: str
    operation: str
    status: JobStatus
    reason: str | None = field(repr=False)
    waiting_for: str | None = field(repr=False)
    step: str
    progress: Any = field(repr=False)
    result: Any = field(repr=False)
    idempotency_key: str | None = field(repr=False)
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None

    def as_json(self) -> dict[str, Any]:
        """The shape of `jobs show --json`: plain data, times in ISO 8601."""
        return _json(self)


def moment(seconds: float) -> datetime:
    """Unix seconds as an aware datetime in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC, to the millisecond: `2026-03-01T09:30:00.000Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _json(view: Any) -> dict[str, Any]:
    return {item.name: _plain(getattr(view, item.name)) for item in fields(view)}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, tuple):
        return [item.as_json() for item in value]
    if isinstance(value, Mapping):
        return dict(value)
    return str(value) if isinstance(value, StrEnum) else value
