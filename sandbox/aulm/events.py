"""aulm's webhooks: bodies, signature, and what a receiver's answer means."""

import hashlib
import hmac
import json
import uuid
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from pydantic import Field

from sandbox.aulm.message import Message
from sandbox.call import json_body
from sandbox.ids import token
from sandbox.model import Model
from sandbox.webhooks import Event, Reply, Verdict

SESSION = "5a5a5a5a-0000-4000-8000-000000000001"  # to whom an inbound message comes unless the test says so
LONGEST_WAIT = 3600.0  # seconds for which a receiver's Retry-After is honoured


class Inbound(Model):
    """An event to have happen: members of its body, and what is missing is made up. `test`: as the dashboard does."""

    event: Literal["inbound_message", "message_status"] = "inbound_message"
    data: dict[str, Any] = Field(default_factory=dict)
    test: bool = False


def instant(at: float) -> str:
    """Unix seconds as ISO 8601 in UTC, with milliseconds and Z."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def status_event(message: Message, status: str, at: float) -> Event:
    """`message_status`."""
    body = {
        "event": "message_status",
        "delivery_id": str(uuid.uuid4()),
        "session_id": message.session_id,
        "message_id": message.id,
        "status": status,
        "to": message.recipient,
        "occurred_at": instant(at),
    }
    return Event(
        "message_status", json_body(body), recipient=message.recipient, message_id=message.id, caller=message.key
    )


def inbound_body(inbound: Inbound, at: float) -> dict[str, Any]:
    """The body of an event that a test has happen."""
    head = {"event": inbound.event, "delivery_id": str(uuid.uuid4()), "session_id": SESSION}
    made_up: dict[str, Any]
    if inbound.event == "inbound_message":
        made_up = {"from": "", "message_id": token(6).upper(), "type": "text", "body": "hi", "received_at": instant(at)}
        if inbound.data.get("type", "text") != "text":
            del made_up["body"]
    else:
        made_up = {"message_id": token(20).upper(), "status": "delivered", "to": "", "occurred_at": instant(at)}
    return head | made_up | inbound.data | ({"test": True} if inbound.test else {})


def signature(body: bytes, secret: str) -> str:
    """`x-aulm-signature`: `sha256=` and the lower-case hexadecimal HMAC-SHA256 of the raw body."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def webhook_headers(event: Event, secret: str, attempt: int) -> dict[str, str]:
    """The headers of one attempt: the delivery's id stays, the attempt's number grows."""
    return {
        "Content-Type": "application/json",
        "User-Agent": "aulm-webhooks/1.0",
        "x-aulm-event": event.name,
        "x-aulm-delivery-id": str(json.loads(event.body)["delivery_id"]),
        "x-aulm-attempt": str(attempt),
        "x-aulm-signature": signature(event.body, secret),
    }


def judge(reply: Reply, by_ladder: Verdict, now: float) -> Verdict:
    """A 4xx other than 429 is final; a 429 may say when; everything else follows the ladder."""
    answer = reply.answer
    if by_ladder.outcome != "retried" or not isinstance(answer, int) or not 400 <= answer < 500:
        return by_ladder
    if answer != 429:
        return Verdict("dropped")
    asked = _seconds(reply.retry_after.strip(), now)
    return by_ladder if asked is None else Verdict("retried", min(asked, LONGEST_WAIT))


def _seconds(value: str, now: float) -> float | None:
    if value.isascii() and value.isdecimal():
        return float(value[:9])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except ValueError:
        return None
