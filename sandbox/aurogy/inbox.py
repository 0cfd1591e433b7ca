"""A business's conversations, most recent activity first, with opaque cursors."""

import base64
import hashlib
import hmac
import secrets
from bisect import bisect_left
from collections.abc import Callable
from operator import attrgetter

from sandbox.ids import token

_CURSOR_KEY = secrets.token_bytes(16)
_SLACK = 1000  # outdated places tolerated before the order is written afresh


class Conversation:
    """One conversation with one participant."""

    __slots__ = ("activity", "id", "last_message_at", "participant", "unread_count")

    def __init__(self, participant: str) -> None:
        self.id = "conv_" + token()
        self.participant = participant
        self.last_message_at = 0.0  # Unix seconds
        self.unread_count = 0
        self.activity = 0  # its place in the order of activity


class Inbox:
    """All conversations of one business."""

    def __init__(self) -> None:
        self._by_participant: dict[str, Conversation] = {}
        self._places: list[int] = []  # ascending, and beside each the conversation that took it;
        self._order: list[Conversation] = []  # only a conversation's last place counts
        self._activity = 0

    def touch(self, participant: str, at: float) -> Conversation:
        """Notes activity, opening the conversation if there is none."""
        conversation = self._by_participant.get(participant)
        if conversation is None:
            conversation = self._by_participant[participant] = Conversation(participant)
        self._activity += 1
        conversation.activity = self._activity
        conversation.last_message_at = max(conversation.last_message_at, at)
        self._places.append(self._activity)
        self._order.append(conversation)
        if len(self._order) > 2 * len(self._by_participant) + _SLACK:
            self._order = sorted(self._by_participant.values(), key=attrgetter("activity"))
            self._places = [other.activity for other in self._order]
        return conversation

    def page(
        self, limit: int, before: int | None, wanted: Callable[[Conversation], bool]
    ) -> tuple[list[Conversation], bool]:
        """At most `limit` wanted conversations older than the place `before`, and whether there are more."""
        end = len(self._order) if before is None else bisect_left(self._places, before)
        found: list[Conversation] = []
        for index in range(end - 1, -1, -1):
            conversation = self._order[index]
            if conversation.activity == self._places[index] and wanted(conversation):
                if len(found) == limit:
                    return found, True
                found.append(conversation)
        return found, False


def write_cursor(place: int, scope: str) -> str:
    """An opaque cursor that is good only for the same `scope` (business and filter)."""
    payload = str(place).encode()
    return base64.urlsafe_b64encode(_seal(payload, scope) + payload).decode().rstrip("=")


def read_cursor(cursor: str, scope: str) -> int | None:
    """The place a cursor stands for; None if this sandbox did not write it for this `scope`."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return None
    seal, payload = raw[:8], raw[8:]
    return int(payload) if hmac.compare_digest(seal, _seal(payload, scope)) else None


def _seal(payload: bytes, scope: str) -> bytes:
    return hmac.digest(_CURSOR_KEY, payload + b"\n" + scope.encode(), hashlib.sha256)[:8]
