"""What can be sent: `Text`, `Media`, `Template`, `Email`, frozen, and `Outgoing`, which says by which way.

A message checks the types of its own fields; what an account's provider allows is data (`capabilities`).
Its repr names the kind alone, because recipients and bodies belong in no log.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, ClassVar

from paceline.errors import InvalidMessage

DEEPEST = 50  # lists and mappings within each other, of options and of what calls are given


@dataclass(frozen=True, slots=True, repr=False)
class Message:
    """The base of the four kinds."""

    kind: ClassVar[str]
    to: str

    def __post_init__(self) -> None:
        for name, check in _CHECKS[type(self)]:
            check(name, getattr(self, name))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"

    def as_json(self) -> dict[str, Any]:
        """`{"kind": …, "to": …}` and every field that is not empty: the form tables, files and Celery use."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {"kind": self.kind, **{name: value for name, value in values.items() if value not in (None, {}, [], ())}}


@dataclass(frozen=True, slots=True, repr=False)
class Text(Message):
    """A text message: `to`, `text`, and where the provider takes them `sender` and `reply_to`."""

    kind: ClassVar[str] = "text"
    text: str
    sender: str | None = None
    reply_to: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Media(Message):
    """A picture, film, sound or document at an https `url` (or a data URI where the provider takes one)."""

    kind: ClassVar[str] = "media"
    url: str
    media_type: str
    caption: str | None = None
    filename: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Template(Message):
    """A template that the provider has approved, with its `variables`."""

    kind: ClassVar[str] = "template"
    template: str
    language: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, repr=False)
class Email(Message):
    """An e-mail with `html`, `text` or both. Addresses are plain strings; attachments are
    `{"filename": …, "content": base64, "media_type": …}`."""

    kind: ClassVar[str] = "email"
    subject: str
    html: str | None = None
    text: str | None = None
    sender: str | None = None
    sender_name: str | None = None
    reply_to: Sequence[str] = ()
    cc: Sequence[str] = ()
    bcc: Sequence[str] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    attachments: Sequence[Mapping[str, str]] = ()


KINDS: dict[str, type[Message]] = {kind.kind: kind for kind in (Text, Media, Template, Email)}


@dataclass(frozen=True, slots=True, repr=False)
class Outgoing:
    """One item of `enqueue_many`: a message, the account or route it goes by, and what goes with it."""

    message: Message
    via: str
    idempotency_key: str | None = None
    priority: str = "normal"
    send_at: datetime | None = None
    expires_at: datetime | None = None
    metadata: Mapping[str, str] | None = None
    options: Mapping[str, Any] | None = None

    def __repr__(self) -> str:
        return f"Outgoing({self.message!r}, via={self.via!r})"


def from_json(data: Mapping[str, Any]) -> Message:
    """The message that `as_json` wrote.

    Raises `InvalidMessage` for an unknown kind, an unknown or missing field, or a field of the wrong type.
    """
    rest = dict(data)
    kind = KINDS.get(str(rest.pop("kind", "")))
    if kind is None:
        raise InvalidMessage("kind", f"must be one of {', '.join(KINDS)}")
    known = {item.name for item in fields(kind)}
    for name in rest:
        if name not in known:
            raise InvalidMessage(
                str(name), f"is not a field of a {kind.kind} message; it has {', '.join(sorted(known))}"
            )
    try:
        return kind(**rest)
    except TypeError:
        missing = next(name for name in _required(kind) if name not in rest)
        raise InvalidMessage(missing, f"is required in a {kind.kind} message") from None


def _required(kind: type[Message]) -> tuple[str, ...]:
    return tuple(name for name, check in _CHECKS[kind] if check is check_text)


def check_text(name: str, value: object) -> None:
    """Raise `InvalidMessage` unless the value is text that a database can store."""
    if not isinstance(value, str):
        raise InvalidMessage(name, "must be a string")
    _check_characters(name, value)


def _check_characters(name: str, value: str) -> None:
    # PostgreSQL stores neither, and no provider takes them.
    if "\x00" in value:
        raise InvalidMessage(name, "must not contain the character NUL")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidMessage(name, "must be valid Unicode, without lone surrogates") from None


def _check_optional_text(name: str, value: object) -> None:
    if value is not None:
        check_text(name, value)


def check_mapping(name: str, value: object) -> None:
    """Raise `InvalidMessage` unless the value maps strings to strings that a database can store."""
    if not isinstance(value, Mapping):
        raise InvalidMessage(name, "must map strings to strings")
    for key, item in value.items():
        if not (isinstance(key, str) and isinstance(item, str)):
            raise InvalidMessage(name, "must map strings to strings")
        _check_characters(name, key)
        _check_characters(name, item)


def check_storable(name: str, value: object, depth: int = DEEPEST) -> None:
    """Raise `InvalidMessage` unless the value is JSON that a database can store."""
    if not depth:
        raise InvalidMessage(name, f"must not be nested deeper than {DEEPEST} times")
    if isinstance(value, str):
        _check_characters(name, value)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            check_text(name, key)
            check_storable(name, item, depth - 1)
    elif isinstance(value, list | tuple):
        for item in value:
            check_storable(name, item, depth - 1)
    elif not (value is None or _is_number(value)):
        raise InvalidMessage(name, "must be text, a finite number, true or false, or a list or mapping of these")


def _is_number(value: object) -> bool:
    # What has more digits than the largest double is written and read by nobody.
    if isinstance(value, int):
        return value.bit_length() <= sys.float_info.max_exp
    return isinstance(value, float) and math.isfinite(value)


def _check_list(name: str, value: object) -> None:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise InvalidMessage(name, "must be a list of strings")
    for item in value:
        _check_characters(name, item)


def _check_attachments(name: str, value: object) -> None:
    if not isinstance(value, list | tuple):
        raise InvalidMessage(name, "must be a list of mappings with filename, content and media_type")
    for item in value:
        check_mapping(name, item)


_BY_ANNOTATION = {
    str: check_text,
    str | None: _check_optional_text,
    Mapping[str, str]: check_mapping,
    Sequence[str]: _check_list,
    Sequence[Mapping[str, str]]: _check_attachments,
}
_CHECKS = {
    kind: tuple((item.name, _BY_ANNOTATION[item.type]) for item in fields(kind))  # type: ignore[index]  # never a string here
    for kind in KINDS.values()
}
