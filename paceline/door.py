"""The door: everything a message is checked for before a table is touched, and the row it becomes."""

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from paceline.capabilities import check
from paceline.content import CLEAR, Content
from paceline.directory import Via
from paceline.errors import InvalidMessage
from paceline.ids import new_id
from paceline.messages import Message, Outgoing, check_mapping, check_storable
from paceline.status import LEVELS, Priority
from paceline.suppression import Pair, named, pairs_of

MAX_PAYLOAD = 1_000_000  # bytes of JSON, attachments and data URIs aside
MAX_KEY = 255  # characters
MESSAGE = "message"  # what a payload's place is called where it is encrypted; beside it the message's id


@dataclass(frozen=True, slots=True, repr=False)
class Entry:
    """A message that was admitted: what its row will hold, as it holds it (`paceline.content`). Times are Unix seconds,
    `priority` is the level.

    `ready` unless it waits for its `send_at`: only then is there somebody to wake. `asked` is whom it is for, on each
    channel that it may go by: they must not have opted out of all of them.
    """

    id: str
    via: Via
    priority: int
    payload: str
    idempotency_key: str | None
    digest: str
    send_at: float | None
    expires_at: float | None
    ready: bool
    asked: tuple[Pair, ...] = ()
    broadcast: bool = False

    def __repr__(self) -> str:
        return f"Entry({self.id}, via={self.via.name!r})"


def admit(item: Outgoing, via: Via, secret: bytes, database_now: float, safe: Content = CLEAR) -> Entry:
    """Check the item against every account of `via`; the row it becomes, with a new id.

    `secret` keys the digest by which a repeated idempotency key is compared; `database_now` is Unix seconds by the
    database's clock; `safe` is how content is written there. Raises `InvalidMessage`, which names the field and the
    rule, and `ContentLocked`.
    """
    if not isinstance(item.message, Message):
        raise InvalidMessage("message", "must be a Text, Media, Template or Email")
    priority = check_priority(item.priority)
    check_key(item.idempotency_key)
    send_at, expires_at = check_times(item.send_at, item.expires_at)
    if expires_at is not None and expires_at <= database_now:
        raise InvalidMessage("expires_at", "must lie in the future")
    check_extras(item.metadata, item.options)
    for carrier in via.carriers:
        check(carrier.capabilities, carrier.account, item.message, item.metadata, item.options)
    content, id_ = item.message.as_json(), new_id(database_now)
    pairs = pairs_of([carrier.capabilities.channel for carrier in via.carriers], item.message.to)
    return Entry(
        id=id_,
        via=via,
        priority=LEVELS.index(priority),
        payload=safe.seal(payload_of(content, item.metadata, item.options), MESSAGE, id_),
        idempotency_key=item.idempotency_key,
        digest=digest(secret, via.name, content) if item.idempotency_key is not None else "",
        send_at=send_at,
        expires_at=expires_at,
        ready=send_at is None or send_at <= database_now,
        asked=named(safe, pairs),
    )


def digest(secret: bytes, via: str, content: Mapping[str, Any]) -> str:
    """HMAC-SHA256 of the message and its `via`, in hexadecimal: it tells a repetition from another message."""
    return hmac.digest(secret, _CANONICAL.encode([via, content]).encode(), "sha256").hex()


def check_priority(priority: object) -> Priority:
    """The priority of that name, or `InvalidMessage`."""
    try:
        return Priority(priority)  # type: ignore[arg-type]  # whatever it is, the answer is the same sentence
    except ValueError:
        raise InvalidMessage("priority", f"must be one of {', '.join(LEVELS)}") from None


def check_key(key: object) -> None:
    """Raise `InvalidMessage` unless the idempotency key is absent or 1 to 255 characters of text."""
    if key is None:
        return
    if not isinstance(key, str) or not 1 <= len(key) <= MAX_KEY:
        raise InvalidMessage("idempotency_key", f"must be a string of 1 to {MAX_KEY} characters")
    check_storable("idempotency_key", key)


def check_time(field: str, moment: object) -> float | None:
    """Unix seconds of an aware datetime, None of None; anything else raises `InvalidMessage`."""
    if moment is None:
        return None
    if not isinstance(moment, datetime) or moment.utcoffset() is None:
        raise InvalidMessage(field, "must be a datetime with a time zone, such as datetime.now(timezone.utc)")
    return moment.timestamp()


def check_times(send_at: object, expires_at: object) -> tuple[float | None, float | None]:
    """Both as Unix seconds; `InvalidMessage` unless they are absent or aware, and in this order."""
    start, end = check_time("send_at", send_at), check_time("expires_at", expires_at)
    if start is not None and end is not None and end <= start:
        raise InvalidMessage("expires_at", "must lie after send_at")
    return start, end


def check_extras(metadata: object, options: object) -> None:
    """Raise `InvalidMessage` unless metadata maps strings to strings and options map names to JSON."""
    if metadata is not None:
        check_mapping("metadata", metadata)
    if options is None:
        return
    if not (isinstance(options, Mapping) and all(isinstance(name, str) for name in options)):
        raise InvalidMessage("options", "must map names to values")
    for name, value in options.items():
        check_storable("options", name)
        check_storable(f"options.{name}", value)


def payload_of(content: dict[str, Any], metadata: Mapping[str, str] | None, options: Mapping[str, Any] | None) -> str:
    """A message's row as JSON: its fields, its metadata and options. Raises `InvalidMessage` if that is too long."""
    whole = dict(content)
    if metadata:
        whole["metadata"] = metadata
    if options:
        whole["options"] = options
    text = _COMPACT.encode(whole)
    if len(text) * 4 > MAX_PAYLOAD and (size := _size(text, whole)) > MAX_PAYLOAD:
        raise InvalidMessage(
            "message",
            f"must have at most {MAX_PAYLOAD:,} bytes as JSON, attachments and data URIs aside; this one has {size:,}",
        )
    return text


def _size(text: str, whole: dict[str, Any]) -> int:
    aside: dict[str, Any] = {"attachments": []} if whole.get("attachments") else {}
    if str(whole.get("url", ""))[:5].lower() == "data:":
        aside["url"] = []
    return len((_COMPACT.encode({**whole, **aside}) if aside else text).encode())


def _plain(value: object) -> dict[Any, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(type(value).__name__)


_COMPACT = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)
_CANONICAL = json.JSONEncoder(sort_keys=True, allow_nan=False, separators=(",", ":"), default=_plain)
