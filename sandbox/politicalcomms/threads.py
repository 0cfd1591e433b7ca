"""Conversations and their messages: begun by a project's send, continued by replies of both sides."""

import base64
import binascii
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any
from zlib import crc32

from sandbox.ids import token
from sandbox.lifecycle import Outcome, Step
from sandbox.politicalcomms.refused import Refused, invalid
from sandbox.politicalcomms.world import NUMBERS, instant

DAY = 86_400.0


class Message:
    """One message of either side. Times are Unix seconds."""

    __slots__ = (
        "code",
        "created_at",
        "delivered_at",
        "direction",
        "id",
        "number",
        "recipient",
        "sent_at",
        "status",
        "test",
        "text",
        "thread",
    )

    def __init__(self, thread: "Thread", number: int, text: str, at: float, *, inbound: bool = False) -> None:
        self.thread = thread
        self.recipient = thread.contact
        self.id = "msg_" + token(16)
        self.number = number
        self.text = text
        self.created_at = at
        self.direction = "inbound" if inbound else "outbound"
        self.status: Outcome = "queued"
        self.sent_at: float | None = None
        self.delivered_at: float | None = None
        self.code: str | None = None
        self.test = thread.test

    def reach(self, step: Step) -> None:
        """Takes on the status of a step of its lifecycle."""
        self.status = step.status
        if step.status == "sent":
            self.sent_at = step.when
        elif step.status == "delivered":
            self.delivered_at = step.when
        elif step.status == "failed":
            self.code = "012"

    def as_json(self) -> dict[str, Any]:
        """An item of GET /conversations/{id}/messages."""
        inbound = self.direction == "inbound"
        return {
            "message_id": self.id,
            "direction": self.direction,
            "text": self.text,
            "media_urls": [],
            "status": "received" if inbound else self.status,
            "sent_at": _time(self.sent_at),
            "delivered_at": _time(self.delivered_at),
            "received_at": instant(self.created_at) if inbound else None,
            "error_code": self.code,
        }


class Thread:
    """One conversation with one contact."""

    def __init__(self, id_: str, contact: str, ours: str, organization: str, project: str, *, test: bool) -> None:
        self.id = id_
        self.contact = contact
        self.ours = ours  # our number
        self.organization = organization
        self.project = project
        self.test = test
        self.status = "active"
        self.deleted = False  # its project
        self.inbound_at: float | None = None
        self.place = 0  # in the order of inbound messages
        self.messages: list[Message] = []

    def as_json(self) -> dict[str, Any]:
        """An item of GET /conversations."""
        last = self.messages[-1].text if self.messages else None
        return {
            "conversation_id": self.id,
            "project_id": self.project,
            "contact_phone": self.contact,
            "phone_number": self.ours,
            "status": self.status,
            "is_test": self.test,
            "last_message": last,
            "last_inbound_at": _time(self.inbound_at),
        }


class Threads:
    """All conversations."""

    def __init__(self) -> None:
        self._threads: dict[str, Thread] = {}
        self._by_contact: dict[tuple[str, str], Thread] = {}
        self._places = 0

    def clear(self) -> None:
        """Forgets all."""
        self._threads.clear()
        self._by_contact.clear()

    def of(self, contact: str, ours: str, organization: str, project: str, *, test: bool = False) -> Thread:
        """The conversation of a project with a contact."""
        found = self._by_contact.get((project, contact))
        if found is None:
            found = Thread("conv_" + token(12), contact, ours, organization, project, test=test)
            self._keep(found)
        return found

    def get(self, id_: str, reach: list[str], open_: tuple[str, ...]) -> Thread:
        """One; those whose id a glob names are there from the start. Raises `Refused`."""
        found = self._threads.get(id_)
        if found is None and any(fnmatchcase(id_, glob) for glob in open_):
            contact = f"+1555{crc32(id_.encode()) % 10_000_000:07}"
            ours = next(number for number, _, organization in NUMBERS.values() if organization in reach)
            found = Thread(id_, contact, ours, reach[0], "proj_sandbox", test=False)
            self._keep(found)
        if found is None or found.organization not in reach:
            raise Refused(404, "CONVERSATION_NOT_FOUND")
        return found

    def by_contact(self, contact: str) -> Thread | None:
        """The latest conversation with a contact."""
        return next((one for one in reversed(self._threads.values()) if one.contact == contact), None)

    def came(self, thread: Thread, at: float) -> None:
        """Notes an inbound message."""
        self._places += 1
        thread.place, thread.inbound_at = self._places, at

    def page(self, query: dict[str, str], reach: list[str], now: float) -> dict[str, Any]:
        """GET /conversations: newest inbound first; raises `Refused`."""
        limit, before = limit_of(query), cursor_of(query)
        since = _since(query.get("updated_since"), now)
        tests = _flag(query, "include_test")
        found = [
            one
            for one in self._threads.values()
            if one.inbound_at is not None
            and one.inbound_at >= since
            and one.organization in reach
            and query.get("project_id") in (None, one.project)
            and (tests or not one.test)
            and (before is None or one.place < before)
        ]
        found.sort(key=lambda one: -one.place)
        return page_of([(one.place, one.as_json()) for one in found], limit)

    def _keep(self, thread: Thread) -> None:
        self._threads[thread.id] = thread
        self._by_contact[thread.project, thread.contact] = thread


def messages_page(thread: Thread, query: dict[str, str]) -> dict[str, Any]:
    """GET /conversations/{id}/messages: newest first."""
    limit, before = limit_of(query), cursor_of(query)
    numbered = list(enumerate(thread.messages, start=1))
    found = [(place, one.as_json()) for place, one in reversed(numbered) if before is None or place < before]
    return page_of(found, limit)


def page_of(found: list[tuple[int, dict[str, Any]]], limit: int) -> dict[str, Any]:
    """A keyset page."""
    shown, more = found[:limit], len(found) > limit
    cursor = base64.urlsafe_b64encode(f"k{shown[-1][0]}".encode()).decode() if more else None
    return {"data": [item for _, item in shown], "has_more": more, "next_cursor": cursor}


def limit_of(query: dict[str, str], default: int = 50, most: int = 200) -> int:
    """The query's `limit`; raises `Refused`."""
    value = query.get("limit", str(default))
    if not value.isascii() or not value.isdecimal() or not 1 <= int(value) <= most:
        raise invalid("limit", f"must be from 1 to {most}.")
    return int(value)


def cursor_of(query: dict[str, str]) -> int | None:
    """The place that a cursor stands for; raises `Refused`."""
    value = query.get("cursor")
    if value is None:
        return None
    try:
        place = base64.urlsafe_b64decode(value).decode()
        if place.startswith("k"):
            return int(place[1:])
    except (binascii.Error, ValueError):
        pass
    raise invalid("cursor", "is not one of ours.")


def _since(value: str | None, now: float) -> float:
    if value is None:
        return now - 7 * DAY
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise invalid("updated_since", "must be ISO 8601.") from None
    at = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if at < now - 90 * DAY:
        raise invalid("updated_since", "must not be more than 90 days ago.")
    return at


def _flag(query: dict[str, str], name: str) -> bool:
    value = query.get(name, "false")
    if value not in ("true", "false"):
        raise invalid(name, "must be true or false.")
    return value == "true"


def _time(at: float | None) -> str | None:
    return None if at is None else instant(at)
