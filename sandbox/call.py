"""One request as a provider sees it, and what the provider says to it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

UNREADABLE = object()  # what `Call.data` is when the body is not JSON


@dataclass(frozen=True)
class Call:
    """A request, read to its end. `at` and `monotonic` are its arrival, in seconds of the sandbox's clock."""

    method: str
    path: str  # below the provider's prefix, decoded
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    at: float
    monotonic: float
    secure: bool = False  # it came over TLS
    address: str = ""  # of the caller, where the connection tells
    lag: float | None = None  # seconds from its arrival until it was read, where the kernel tells

    @cached_property
    def data(self) -> object:
        """The body read as JSON, or `UNREADABLE`."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return UNREADABLE

    @cached_property
    def body_sha(self) -> str:
        """The first 64 bits of the body's SHA-256 in hexadecimal; empty without a body."""
        return hashlib.sha256(self.body).hexdigest()[:16] if self.body else ""


@dataclass(frozen=True, slots=True)
class Trace:
    """What the ledger says about a request, read from it without judging it; empty where it says nothing."""

    key: str = ""  # the credential's mode and fingerprint, never the credential
    group: str = ""  # the endpoint group whose limit applies
    recipient: str = ""
    dispatch_id: str = ""  # the sender's own reference, or else its metadata as JSON


@dataclass(slots=True)
class Answer:
    """What the provider answers, and whether it took a message."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    message_id: str = ""
    accepted: bool = False


def json_body(value: object) -> bytes:
    """`value` as the shortest JSON, in UTF-8."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def fingerprint(credential: str) -> str:
    """Twelve hexadecimal digits that tell credentials apart without giving them away."""
    return hashlib.sha256(credential.encode("utf-8", "surrogateescape")).hexdigest()[:12]
