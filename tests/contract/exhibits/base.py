"""What an exhibit is made of: a provider's credentials, its messages, its answers, its limits and its webhooks."""

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from paceline.messages import Message
from paceline.status import Status
from providers.base import Outcome

NOW = 1_779_963_342.0  # 2026-05-28T10:15:42Z, when answers arrive that are shown without a server
DATE = "Thu, 28 May 2026 10:15:42 GMT"


@dataclass(frozen=True, slots=True)
class Answer:
    """One row of the provider's tables: an answer to a send, and the outcome that it is declared to be."""

    status: int
    body: bytes
    outcome: Outcome
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.status} {self.outcome}"[:70]


@dataclass(frozen=True, slots=True)
class Forbidden:
    """What the contract forbids: a message with what goes with it, and the field that the refusal must name.

    `rule` is a part of the sentence. `ours`: the provider would take the message all the same, because the rule is
    ours, or because no request can hold such a thing.
    """

    message: Message
    field: str
    rule: str
    metadata: Mapping[str, str] | None = None
    options: Mapping[str, Any] | None = None
    ours: bool = False

    def __str__(self) -> str:
        return f"{self.message.kind} {self.field} {self.rule}"[:60]


@dataclass(frozen=True, slots=True)
class Said:
    """What a webhook is to say of a message, to whom it is posted, and what it is signed with; `at` in Unix seconds."""

    message_id: str
    to: str
    status: Status
    url: str
    secret: str
    at: float


@dataclass(frozen=True, slots=True)
class Posted:
    """A webhook as the provider posts it."""

    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A provider's examples. What has a default need be given only where the provider is special."""

    credentials: Mapping[str, str]
    messages: Mapping[str, Message]  # one for each kind, to somebody whom the sandbox knows
    answers: Sequence[Answer]  # every row of its tables of answers to sends
    throttled: Callable[[Mapping[str, str]], tuple[int, Mapping[str, str], bytes]]  # its 429, with these headers too
    forbidden: Sequence[Forbidden]  # each limit of its documentation, broken
    webhook: Callable[[Said], Posted]
    edges: Sequence[Message]  # messages that just keep the limits
    sandbox: str = ""  # its name in the sandbox, where that is not its own
    still: Mapping[str, Any] = field(default_factory=dict)  # sandbox settings: no limit in the way, nothing by itself
    webhook_setting: str = "webhook"  # the sandbox's setting of where its webhooks go
    # Later steps of operations, each with what earlier ones left in the job's memory.
    steps: Mapping[str, Sequence[tuple[str, Mapping[str, Any]]]] = field(default_factory=dict)
    empty_is_accepted: bool = False  # 2xx without a body is an acceptance
    signed_bodies: bool = True  # its webhooks' signatures cover their bodies


# The sandbox delivers at once.
QUICK = {"outcomes": {"*": "delivered"}, "sent_after": 0.02, "delivered_after": 0.05, "read_share": 0.0}
SILENT = {"outcomes": {"*": "queued"}}  # the sandbox does nothing to a message by itself


def as_json(value: object) -> bytes:
    """The value as JSON."""
    return json.dumps(value, ensure_ascii=False).encode()


def hexadecimal_hmac(secret: str, body: bytes) -> str:
    """HMAC-SHA256, written as most providers do."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
