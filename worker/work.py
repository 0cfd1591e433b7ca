"""The values that pass between the pump and the store: what is wanted, what was taken, what became of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from paceline.status import Priority
from worker.topology import Lane


@dataclass(frozen=True, slots=True)
class Order:
    """A wish for work: at most so many messages of each urgency from this lane, and at most `total` of both."""

    operation_id: str
    lane: Lane
    high: int
    rest: int
    total: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message under claim (or, on a status lane, one to ask about). Its content is in no repr."""

    id: str
    attempt: int
    priority: int
    via: str
    payload: str = field(repr=False)
    failures: int = 0
    recovered: bool = False
    unresolved: bool = False
    first_sent_age: float | None = None
    expires_in: float | None = None
    provider_message_id: str | None = field(default=None, repr=False)
    polls: int = 0
    accepted_age: float = 0.0

    @property
    def high(self) -> bool:
        """True if what the account reserves is there for it."""
        return self.priority == Priority.HIGH.level


@dataclass(frozen=True, slots=True)
class Claim:
    """What an order got. `more_high` and `more_rest`: at least one more of that urgency may be waiting."""

    operation_id: str
    lane: Lane
    nonce: str
    messages: tuple[Claimed, ...] = ()
    more_high: bool = False
    more_rest: bool = False
    closed: bool = False
    closed_for: float | None = None
    refusals: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one message under claim. Durations in seconds, from the moment of writing on.

    `outcome` is None where no request was made: the message is put back, or expired, and its attempt never was.
    `granted`: it had a token. `left`: its request was let onto the wire.
    """

    id: str
    grant_id: str
    attempt: int
    status: str
    reason: str | None = None
    granted: bool = True
    left: bool = True
    account: str = ""
    due_in: float | None = None
    counts: bool = False
    failed: bool = False
    unresolved: bool = False
    poll_in: float | None = None
    provider_message_id: str | None = field(default=None, repr=False)
    outcome: str | None = None
    http_status: int | None = None
    code: str = ""
    request_id: str | None = None
    duration_ms: float = 0.0
    sent_at: float | None = None  # monotonic


@dataclass(frozen=True, slots=True)
class PollResult:
    """What a question about an accepted message brought."""

    id: str
    grant_id: str
    polls: int
    status: str | None = None
    reason: str | None = None
    poll_in: float | None = None
    granted: bool = True
    counted: bool = True  # False: the question is to be asked again, as if it had not been asked
    sent_at: float | None = None  # monotonic


@dataclass(frozen=True, slots=True)
class Granted:
    """`acquire`'s answer, for the ledger."""

    id: str
    high: int
    rest: int
    since: float  # monotonic: from when its tokens age


@dataclass(frozen=True, slots=True)
class LaneNews:
    """What a lane or its key learned: a closure, or that it works again."""

    lane: str
    key: str | None = None  # set: the closure is the key's
    reason: str | None = None
    seconds: float | None = None
    refusals: int = 0
    succeeded: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """Everything that one transaction writes."""

    results: Sequence[Result] = ()
    polls: Sequence[PollResult] = ()
    granted: Sequence[Granted] = ()
    news: Sequence[LaneNews] = ()

    def __bool__(self) -> bool:
        return bool(self.results or self.polls or self.granted or self.news)
