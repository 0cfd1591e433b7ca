"""Aurogy's webhooks: bodies, signature, and inbound events that a test has happen."""

import hashlib
import hmac
from datetime import UTC, datetime
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
    business: str = "main"  # whom it happens to


def instant(at: float) -> str:
    """Unix seconds as ISO 8601 in UTC, whole seconds."""
    return datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def envelope(name: str, at: float, data: dict[str, Any]) -> dict[str, Any]:
    """An event as the receiver reads it."""
    return {"event": name, "timestamp": instant(at), "data": data}


def status_event(message_id: str, to: str, status: str, at: float, caller: str = "") -> Event:
    """`message.delivered`, `message.read` or `message.failed`; `caller` sent the message."""
    data: dict[str, Any] = {"message_id": message_id, "to": to, "status": status, "timestamp": instant(at)}
    if status == "failed":
        data["error"] = {"code": "undeliverable", "message": "The message could not be delivered."}
    name = f"message.{status}"
    return Event(name, json_body(envelope(name, at, data)), recipient=to, message_id=message_id, caller=caller)


def inbound_data(inbound: Inbound, conversation_id: str, at: float) -> dict[str, Any]:
    """The data of an inbound event, with what the test did not give."""
    when = instant(at)
    made_up: dict[str, dict[str, Any]] = {
        "message.received": {
            "message_id": "msg_" + token(),
            "conversation_id": conversation_id,
            "from": "",
            "type": "text",
            "text": "Hello",
            "timestamp": when,
        },
        "conversation.started": {"conversation_id": conversation_id, "from": "", "timestamp": when},
        "payment.received": {
            "payment_id": "pay_" + token(),
            "from": "",
            "amount": "1.00",
            "currency": "AURO",
            "timestamp": when,
        },
    }
    return made_up.get(inbound.event, {}) | inbound.data


def signature(body: bytes, secret: str) -> str:
    """`X-Aurogy-Signature`: lower-case hexadecimal HMAC-SHA256 of the raw body, without a prefix."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def webhook_headers(event: Event, secret: str, _attempt: int) -> dict[str, str]:
    """The headers of one attempt."""
    return {
        "Content-Type": "application/json",
        "User-Agent": "Aurogy-Webhooks/1.0",
        "X-Aurogy-Signature": signature(event.body, secret),
    }
