"""What Aurogy answers and changes besides sending: conversations, the business profile, a message's status.

    aurogy = client.aurogy("aurogy-main")
    page = aurogy.conversations(limit=50)
    for conversation in aurogy.all_conversations(status="all"): ...
    aurogy.update_profile(description="Widgets and more")

Every call is a job that a worker carries out within Aurogy's limits, and raises what `Client.call` does. Field names,
bounds and defaults are those of Aurogy's API reference, version 1.0.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

from paceline.errors import InvalidMessage

LARGEST_PAGE = 100
NOTHING_TO_CHANGE = "or description or avatar_url must be given: an update changes at least one of them"


@dataclass(frozen=True, slots=True)
class Conversation:
    """One conversation. `participant` is the other side's Aurogy id; `status` is active or archived."""

    id: str
    participant: str = field(repr=False)
    last_message_at: datetime | None
    unread_count: int
    status: str

    def as_json(self) -> dict[str, Any]:
        """Plain data, times in ISO 8601."""
        return _json(self)


@dataclass(frozen=True, slots=True)
class Page:
    """Conversations, most recent activity first; `next_cursor` asks for the next page, if `has_more`."""

    conversations: tuple[Conversation, ...]
    next_cursor: str | None = field(repr=False)
    has_more: bool

    def as_json(self) -> dict[str, Any]:
        """Plain data, times in ISO 8601."""
        return {
            "conversations": [conversation.as_json() for conversation in self.conversations],
            "next_cursor": self.next_cursor,
            "has_more": self.has_more,
        }


@dataclass(frozen=True, slots=True)
class Profile:
    """The business profile. The avatar is served from Aurogy's own address, whatever URL was written."""

    id: str
    name: str
    description: str
    avatar_url: str
    verified: bool
    created_at: datetime | None

    def as_json(self) -> dict[str, Any]:
        """Plain data, times in ISO 8601."""
        return _json(self)


@dataclass(frozen=True, slots=True)
class ProfileUpdate:
    """What an update of the profile answers: Aurogy repeats name and description alone."""

    id: str
    name: str
    description: str
    updated_at: datetime | None

    def as_json(self) -> dict[str, Any]:
        """Plain data, times in ISO 8601."""
        return _json(self)


@dataclass(frozen=True, slots=True)
class MessageStatus:
    """What Aurogy says of a message: `status` is queued, sent, delivered, read or failed."""

    id: str
    status: str
    to: str = field(repr=False)
    created_at: datetime | None
    delivered_at: datetime | None
    read_at: datetime | None

    def as_json(self) -> dict[str, Any]:
        """Plain data, times in ISO 8601."""
        return _json(self)


class Aurogy:
    """An account's conversations and profile. Made by `Client.aurogy`; thread-safe.

    `call` asks for an operation with its arguments and answers its result; `provider_id` knows what Aurogy calls a
    message of ours.
    """

    def __init__(self, call: Callable[..., Any], provider_id: Callable[[str], str]) -> None:
        self._call = call
        self._provider_id = provider_id

    def conversations(
        self,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        status: str | None = None,
    ) -> Page:
        """One page: at most `limit` (1 to 100, Aurogy's default is 20) conversations behind `cursor`.

        `status` is active (the default), archived or all.
        """
        answer = self._call("conversations", limit=limit, cursor=cursor, status=status)
        return Page(
            tuple(_conversation(item) for item in answer["conversations"]), answer["next_cursor"], answer["has_more"]
        )

    def all_conversations(self, *, status: str | None = None, limit: int = LARGEST_PAGE) -> Iterator[Conversation]:
        """Every conversation, page by page of `limit`, each asked for when the one before is used up.

        A conversation whose activity moves it up meanwhile may be missed or come twice: pages are Aurogy's, and follow
        the activity.
        """
        cursor, seen = None, set[str]()
        while True:
            page = self.conversations(limit=limit, cursor=cursor, status=status)
            yield from page.conversations
            cursor = page.next_cursor
            if not page.has_more or cursor is None or cursor in seen:
                return
            seen.add(cursor)

    def profile(self) -> Profile:
        """The business profile."""
        answer = self._call("profile")
        return Profile(
            **_picked(answer, "id", "name", "description", "avatar_url", "verified"), **_at(answer, "created_at")
        )

    def update_profile(
        self,
        *,
        name: str | None = None,
        description: str | None = None,
        avatar_url: str | None = None,
    ) -> ProfileUpdate:
        """Change what is given, and leave the rest: a name of at most 128 characters, a description of at most 512, the
        https URL of an avatar. Raises `InvalidMessage` if nothing is given.
        """
        if name is None and description is None and avatar_url is None:
            raise InvalidMessage("name", NOTHING_TO_CHANGE)
        answer = self._call("update_profile", name=name, description=description, avatar_url=avatar_url)
        return ProfileUpdate(**_picked(answer, "id", "name", "description"), **_at(answer, "updated_at"))

    def message_status(self, message_id: str) -> MessageStatus:
        """What Aurogy says of a message now, by our id or by Aurogy's own.

        Messages of ours are asked about by themselves, as `[accounts.NAME.poll]` says: `Client.status` has the answers.
        Raises `MessageNotFound` for an id of ours that there is none of.
        """
        answer = self._call("message_status", message_id=self._provider_id(message_id))
        times = _at(answer, "created_at", "delivered_at", "read_at")
        return MessageStatus(**_picked(answer, "id", "status", "to"), **times)


def _conversation(item: Mapping[str, Any]) -> Conversation:
    return Conversation(**_picked(item, "id", "participant", "unread_count", "status"), **_at(item, "last_message_at"))


def _picked(answer: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: answer[name] for name in names}


def _at(answer: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Unix seconds as aware datetimes in UTC."""
    return {name: None if answer[name] is None else datetime.fromtimestamp(answer[name], UTC) for name in names}


def _json(view: Any) -> dict[str, Any]:
    found = {item.name: getattr(view, item.name) for item in fields(view)}
    return {
        name: value.isoformat(timespec="milliseconds").replace("+00:00", "Z") if isinstance(value, datetime) else value
        for name, value in found.items()
    }
