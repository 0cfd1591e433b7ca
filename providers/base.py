"""What a provider is: a frozen record of pure functions, and the values that pass between it and the worker.

A provider does no I/O and reads neither clock nor settings: it turns a message into a request, an answer into an
outcome, and a webhook into events. Outcomes are values; each says what the worker may do next.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from paceline.capabilities import Capabilities, Rule
from paceline.messages import Message
from paceline.status import Status


@dataclass(frozen=True, slots=True)
class Account:
    """What a provider may know of an account. The credentials are in no repr."""

    name: str
    base_url: str
    credentials: Mapping[str, str] = field(repr=False)
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Submission:
    """One message, about to be sent by an account. `id` is the message's own id, the same for every attempt.

    `callback` is a URL of our own that only this message's webhooks are asked to, empty where `[hooks] public_url` is
    not set: whoever posts there proves to know of this message (`Inbound.message_id`).
    """

    id: str
    message: Message
    metadata: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    callback: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Save:
    """Has the body of an answer of 200 and this media type written to a file instead of read into memory.

    `name` is the file's, in the worker's own directory of downloads; `most` is how many bytes it may have.
    """

    name: str
    media_type: str
    most: int


@dataclass(frozen=True, slots=True)
class Saved:
    """The file that an answer's body became, by its absolute path on that host. `sha256` is in hexadecimal.

    Where there is a `problem` nothing was kept: the body was longer than allowed, or could not be written there.
    """

    path: str
    host: str
    size: int
    sha256: str
    problem: Literal["", "too_long", "not_written"] = ""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, ready to be sent. Its headers and body are in no repr.

    `keyed`: it bears a key by which the provider recognises a repetition, for `deduplicates_for` and no longer.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    save: Save | None = None
    keyed: bool = False


@dataclass(frozen=True, slots=True)
class Response:
    """An answer that was read to its end. Header names are in lower case; `received_at` is Unix seconds, our clock.

    Where the request had it written to a file, `saved` says which, and `body` is empty.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    received_at: float
    saved: Saved | None = None


class Scope(StrEnum):
    """How far a refusal reaches."""

    MESSAGE = "message"
    LANE = "lane"
    KEY = "key"
    ADDRESS = "address"


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider took the message, and perhaps says how far it is already.

    `note` is kept as the message's reason (`simulated`, for one).
    """

    provider_message_id: str | None = None
    status: Status = Status.ACCEPTED
    code: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """The provider will never take this message. `opted_out`: its recipient wants nothing more on this channel."""

    reason: str
    code: str = ""
    opted_out: bool = False


@dataclass(frozen=True, slots=True)
class Throttled:
    """Over a limit; nothing was accepted. `retry_after` in seconds if the provider named a time."""

    retry_after: float | None = None
    code: str = ""
    scope: Scope = Scope.LANE


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The provider is down for now; nothing was accepted. `retry_after` in seconds if it named a time.

    `probe_first`: nothing more is sent before the provider's own probe (`build_probe`) says that it can be.
    """

    retry_after: float | None = None
    code: str = ""
    probe_first: bool = False


@dataclass(frozen=True, slots=True)
class Unknown:
    """The request left and nothing says whether it was accepted."""

    reason: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class NotSent:
    """Not a byte of the request left."""

    reason: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class Misconfigured:
    """An operator must act; nothing was accepted, and the messages wait."""

    reason: str
    code: str = ""
    scope: Scope = Scope.KEY


Outcome = Accepted | Refused | Throttled | Unavailable | Unknown | NotSent | Misconfigured


@dataclass(frozen=True, slots=True)
class Report:
    """What a provider says about a message it accepted earlier; `status` None if it says nothing we know.

    `opted_out`: its recipient wants nothing more on this channel.
    """

    status: Status | None
    reason: str = ""
    opted_out: bool = False


STATUS_EVENT = "status"  # the kind of an event that says where a message of ours stands


@dataclass(frozen=True, slots=True)
class Inbound:
    """A webhook as it arrived, before anything is believed. `received_at` is Unix seconds, our clock.

    Header names are in lower case; a header that came several times is one, its values joined with ", ". `body` holds
    the bytes exactly as they came: signatures are over nothing else. `message_id` is the message of ours whose
    `Submission.callback` this came to, empty if it came to no such address.
    """

    method: str
    path: str
    query: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    received_at: float
    message_id: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that a webhook says. Nothing of it is in its repr but its kind.

    `key` is the same whenever the provider says the same thing again, and another for everything else it ever says.
    Of kind `status`, it is about the message that the provider calls `provider_message_id`; `recipient` is whom that
    was for, where the event says so. Every other kind happened to the account, and `data` is what the provider wrote.
    `at` is Unix seconds, the provider's clock, None where it does not say. `message_id` is our own id, where the event
    came to that message's own address. `opted_out` and `opted_in` name who wants nothing more on this channel, or
    wants to be written to again; `known_as` is what messages call the same person where that is something else.
    """

    key: str = field(repr=False)
    kind: str
    at: float | None = None
    provider_message_id: str = field(default="", repr=False)
    status: Status | None = None
    reason: str = ""
    recipient: str = field(default="", repr=False)
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)
    message_id: str = ""
    opted_out: str = field(default="", repr=False)
    opted_in: str = field(default="", repr=False)
    known_as: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Remaining:
    """What a provider's headers say is left of a limit of `window` seconds, and in how many seconds it resets."""

    window: float
    left: int
    reset_in: float


@dataclass(frozen=True, slots=True)
class ReportedLimit:
    """The limit that a provider's headers name, of the class of endpoint that answered.

    `window` in seconds, None where neither the header nor the documentation says it.
    """

    count: int
    window: float | None


@dataclass(frozen=True, slots=True)
class Credential:
    """A configuration field that identifies an account at its provider.

    `identifies_key`: accounts which agree in all of these share the provider's limits. `pattern` is matched in full and
    `hint` says it in words.
    """

    name: str
    required: bool = True
    secret: bool = True
    identifies_key: bool = True
    pattern: str | None = None
    hint: str = ""
    sandbox: str = ""


@dataclass(frozen=True, slots=True)
class Option:
    """A field of `[accounts.NAME.options]`: its default, which fixes its type, what it means and what it may be.

    `least` is the smallest number allowed; `pattern` is matched in full and `hint` says it in words.
    """

    default: str | int | float | bool
    meaning: str
    one_of: tuple[str, ...] = ()
    least: float | None = None
    pattern: str | None = None
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """An operation under way, as its provider sees it. `id` is the same for every request it makes.

    `step` is empty at first, and later what `Next` named; `memory` is what earlier steps left for later ones, as JSON.
    """

    id: str
    arguments: Mapping[str, Any] = field(repr=False)
    step: str = ""
    memory: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Next:
    """The operation goes on with `step` in `wait` seconds."""

    step: str
    memory: Mapping[str, Any] = field(default_factory=dict, repr=False)
    wait: float = 0.0


@dataclass(frozen=True, slots=True)
class Done:
    """The operation is over; `result` is JSON."""

    result: Any = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Operation:
    """Something that a provider does besides sending: a question, a change, or work that takes it a while.

    It is made of steps, each one request on the lane of `lane_class`. `build` makes the request of a step; `read` says
    what its answer means. A step whose answer was lost is asked again only if `repeatable(step)`: questions are, and
    changes that the provider recognises, because both requests bear a key made of the job's id and the step, as long as
    it does (`Request.keyed`). `check` raises `InvalidMessage` for arguments that break a rule which `arguments` cannot
    say. An answer serves the same question for `fresh_for` seconds.
    """

    meaning: str
    lane_class: str
    build: Callable[[Account, Job], Request]
    read: Callable[[Account, Job, Response], Next | Done | Outcome]
    arguments: Mapping[str, Rule] = field(default_factory=dict)
    check: Callable[[Account, Mapping[str, Any]], None] = lambda _account, _arguments: None
    repeatable: Callable[[str], bool] = lambda _step: True
    fresh_for: float = 0.0


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider, whole: its facts as data and its behaviour as pure functions."""

    name: str
    base_url: str
    credentials: tuple[Credential, ...]
    limits: Mapping[str, tuple[str, ...]]
    capabilities: Callable[[Account], Capabilities]
    build_request: Callable[[Account, Submission], Request]
    parse_response: Callable[[Account, Response], Outcome]
    channel: str = ""  # what kind of address its recipients are: those who opted out are remembered by it
    # Its base URL by the value of the credential `region`, where there are several.
    base_urls: Mapping[str, str] = field(default_factory=dict)
    send_class: str = "send"
    # The credential that names a sender within a key: each has a send lane of its own, paced by the rolling limits of
    # the send class, while day quotas belong to the key. And how far above its window a pace varies, as a fraction.
    pace_credential: str | None = None
    pace_jitter: float = 0.0
    poll_class: str | None = None
    build_poll: Callable[[Account, str], Request] | None = None
    parse_poll: Callable[[Account, Response], Report | Outcome] | None = None
    # A harmless question that shows whether the account works; `Accepted` if it can send.
    probe_class: str | None = None
    build_probe: Callable[[Account], Request] | None = None
    parse_probe: Callable[[Account, Response], Outcome] | None = None
    operations: Mapping[str, Operation] = field(default_factory=dict)
    remaining: Callable[[Account, Response], Remaining | None] = lambda _account, _response: None
    reported_limit: Callable[[Account, Response], ReportedLimit | None] = lambda _account, _response: None
    # What the provider calls a request, by which its support finds it; empty if it does not say.
    request_id: Callable[[Response], str] = lambda response: response.headers.get("x-request-id", "")
    # Webhooks: the credential they are signed with; whether one is genuine; and what it says, whatever its bytes are
    # (nothing, where they cannot be read). None: this provider sends none.
    webhook_credential: str | None = None
    verify: Callable[[Account, Inbound], bool] | None = None
    parse_event: Callable[[Account, Inbound], Sequence[Event]] | None = None
    # Where a signature covers no body: what a genuine webhook bears once, and never with another body.
    nonce: Callable[[Account, Inbound], str] | None = None
    answers_get: bool = False  # it asks for the webhooks' address with GET or HEAD, and wants to hear 200
    # Seconds in which word of an unknown send may still come, before it is sent again with on_unknown = "retry".
    unknown_grace: float = 0.0
    options: Mapping[str, Option] = field(default_factory=dict)
    connect_timeout: float = 5.0
    timeout: float = 35.0
    deduplicates_for: float = 0.0  # seconds from the first send in which a repeat is recognised; 0: it never is
