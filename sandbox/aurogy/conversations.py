"""GET /conversations: pages of a business's inbox."""

from collections.abc import Mapping
from typing import Any

from sandbox.aurogy.bodies import Refused
from sandbox.aurogy.business import Business
from sandbox.aurogy.events import instant
from sandbox.aurogy.inbox import Conversation, read_cursor, write_cursor
from sandbox.aurogy.settings import AurogySettings

STATUSES = ("active", "archived", "all")


def list_conversations(query: Mapping[str, str], business: Business, settings: AurogySettings) -> dict[str, Any]:
    """The page that the query asks for; raises `Refused`."""
    limit, wanted = _limit(query.get("limit", "20")), query.get("status", "active")
    if wanted not in STATUSES:
        raise Refused("invalid_request", f"status: one of {', '.join(STATUSES)}.")
    scope, before = f"{business.name}/{wanted}", None
    if "cursor" in query:
        before = read_cursor(query["cursor"], scope)
        if before is None:
            raise Refused("invalid_request", "cursor: it is not one of this list.")

    def status(conversation: Conversation) -> str:
        return "archived" if settings.is_archived(conversation.participant) else "active"

    found, more = business.inbox.page(limit, before, lambda item: wanted in ("all", status(item)))
    return {
        "conversations": [
            {
                "id": item.id,
                "participant": item.participant,
                "last_message_at": instant(item.last_message_at),
                "unread_count": item.unread_count,
                "status": status(item),
            }
            for item in found
        ],
        "next_cursor": write_cursor(found[-1].activity, scope) if more else None,
        "has_more": more,
    }


def _limit(text: str) -> int:
    if text.isascii() and text.isdecimal() and len(text) <= 3 and 1 <= int(text) <= 100:
        return int(text)
    raise Refused("invalid_request", "limit: a whole number from 1 to 100.")
