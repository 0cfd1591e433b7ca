"""The values that pass between the pump and the store: what is wanted, what was taken, what became of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from paceline.status import Priority
from worker.lanes.topology import Lane, Work


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
    """A message under claim, one to ask about, or a job whose next step is under claim. Its content is in no repr.

    Of a job, `payload` holds the arguments, and `via` is its account. `unreadable` says why there is no content, where
    it cannot be decrypted.
    """

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
    suppressed: bool = False  # its recipient has opted out
    work: Work = Work.SEND
    operation: str = ""
    step: str = ""
    memory: str = field(default="{}", repr=False)
    unreadable: str = ""

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
    opted_out: str | None = None  # the channel on which its recipient wants nothing more


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
    account: str = ""
    opted_out: str | None = None  # the channel on which its recipient wants nothing more


@dataclass(frozen=True, slots=True)
class JobResult:
    """What became of the step `step` of a job under claim. Durations in seconds, from the moment of writing on.

    `made` is False where no request was: the step is put back, or the job ended before it. With `next_step` the job
    goes on there, and what was counted of this step is forgotten. `memory` and `result` are JSON, None if there is
    nothing new. `event` is the data of the event to write, if there is one.
    """

    id: str
    grant_id: str
    attempt: int
    step: str
    status: str
    lane: str
    account: str
    reason: str | None = None
    made: bool = True
    granted: bool = True
    due_in: float | None = None
    counts: bool = False
    unresolved: bool = False
    next_step: str | None = None
    memory: str | None = field(default=None, repr=False)
    result: str | None = field(default=None, repr=False)
    event: str | None = None
    sent_at: float | None = None  # monotonic


Record = Result | PollResult | JobResult


@dataclass(frozen=True, slots=True)
class Granted:
    """`acquire`'s answer, for the ledger."""

    id: str
    high: int
    rest: int
    since: float  # monotonic: from when its tokens age


@dataclass(frozen=True, slots=True)
class LaneNews:
    """What a lane or its key learned: a closure, or that it works again.

    `unready`: it waits until its provider, asked again and again, says that it can send.
    """

    lane: str
    key: str | None = None  # set: the closure is the key's
    reason: str | None = None
    seconds: float | None = None
    refusals: int = 0
    succeeded: bool = False
    unready: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """Everything that one transaction writes."""

    results: Sequence[Result] = ()
    polls: Sequence[PollResult] = ()
    granted: Sequence[Granted] = ()
    news: Sequence[LaneNews] = ()
    jobs: Sequence[JobResult] = ()

    def __bool__(self) -> bool:
        return bool(self.results or self.polls or self.granted or self.news or self.jobs)


@dataclass(slots=True)
class Outbox:
    """What the next transaction writes."""

    results: list[Result] = field(default_factory=list)
    polls: list[PollResult] = field(default_factory=list)
    jobs: list[JobResult] = field(default_factory=list)
    granted: list[Granted] = field(default_factory=list)
    news: list[LaneNews] = field(default_factory=list)

    def add(self, record: Record) -> None:
        """Add the record of a message, of a question, or of a job's step."""
        if isinstance(record, Result):
            self.results.append(record)
        elif isinstance(record, PollResult):
            self.polls.append(record)
        else:
            self.jobs.append(record)

    def batch(self) -> Batch:
        """Everything so far, as one batch."""
        return Batch(tuple(self.results), tuple(self.polls), tuple(self.granted), tuple(self.news), tuple(self.jobs))
