"""Political Comms' webhooks: bodies, headers, signature, and inbound events that a test has happen."""

import hashlib
import hmac
import json
from typing import Any

from pydantic import Field

from sandbox.call import json_body
from sandbox.ids import token
from sandbox.model import Model
from sandbox.webhooks import Event


class Inbound(Model):
    """An event to have happen: its name, and members of its data; what is missing is made up."""

    event: str = Field(min_length=1)
    data: dict[str, Any] = Field(default_factory=dict)


def event_of(
    name: str, at: float, data: dict[str, Any], recipient: str = "", message_id: str = "", caller: str = ""
) -> Event:
    """An event as the receiver reads it, about what the key `caller` made."""
    body = {"event_id": f"evt_{token(26)}", "event_type": name, "timestamp": int(at), "data": data}
    return Event(name, json_body(body), recipient=recipient, message_id=message_id, caller=caller)


def signature(body: bytes, secret: str) -> str:
    """`X-Webhook-Signature`: `sha256=` and the lower-case hexadecimal HMAC-SHA256 of the raw body."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def webhook_headers(event: Event, secret: str, now: float) -> dict[str, str]:
    """The headers of one attempt; the timestamp is when it leaves."""
    return {
        "Content-Type": "application/json",
        "X-Webhook-Signature": signature(event.body, secret),
        "X-Event-Type": event.name,
        "X-Event-ID": str(json.loads(event.body)["event_id"]),
        "X-Timestamp": str(int(now)),
    }
