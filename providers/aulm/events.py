"""What aulm posts to us: where a message stands, and what somebody wrote."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from paceline.status import Status
from providers.answers import digest, instant, json_object, opt_in_word, opt_out_word, sha256, signed, text
from providers.aulm.wire import ID, NUMBER, SIMULATED, STATUSES, WORD
from providers.base import STATUS_EVENT, Account, Event, Inbound

_NUMBER = re.compile(NUMBER)


def verify(account: Account, inbound: Inbound) -> bool:
    """Whether aulm signed these bytes ("Webhooks"): `sha256=` and the hexadecimal HMAC-SHA256 of the body."""
    secret, signature = account.credentials.get("webhook_secret", ""), inbound.headers.get("x-aulm-signature", "")
    return signed(secret, inbound.body, signature, prefix="sha256=")


def parse_event(_account: Account, inbound: Inbound) -> Sequence[Event]:
    """What a webhook says: where a message stands, or what somebody wrote; nothing if it cannot be read.

    A delivery fired from the dashboard as a test says nothing. Repetitions bear the same delivery id.
    """
    envelope = json_object(inbound.body)
    if envelope.get("test") is True:
        return []
    name = text(envelope.get("event"), WORD)
    key = _event_key(envelope, inbound)
    if name == "message_status":
        return _report(envelope, key)
    if name in ("", STATUS_EVENT):
        return []
    sender, said = text(envelope.get("from"), _NUMBER), envelope.get("body")
    words = said if name == "inbound_message" and envelope.get("type") == "text" and isinstance(said, str) else ""
    at = instant(envelope.get("received_at")) or instant(envelope.get("occurred_at"))
    return [
        Event(
            key,
            name,
            at,
            data=envelope,
            opted_out=sender if opt_out_word(words) else "",
            opted_in=sender if opt_in_word(words) else "",
        )
    ]


def _report(envelope: Mapping[str, Any], key: str) -> Sequence[Event]:
    # "Webhooks": a failure carries no reason. Of a report no more is required than the message and a status we know.
    message, status = text(envelope.get("message_id"), ID), STATUSES.get(text(envelope.get("status"), WORD))
    if not message or status is None:
        return []
    notes = {SIMULATED: message.startswith("sim_"), "not_delivered": status is Status.FAILED}
    reason = ", ".join(note for note, holds in notes.items() if holds)
    to = text(envelope.get("to"), _NUMBER)
    return [Event(key, STATUS_EVENT, instant(envelope.get("occurred_at")), message, status, reason, to)]


def _event_key(envelope: Mapping[str, Any], inbound: Inbound) -> str:
    # The header and the body name the same delivery; should they differ, the header wins (our choice).
    delivery = text(inbound.headers.get("x-aulm-delivery-id"), ID) or text(envelope.get("delivery_id"), ID)
    return digest(delivery) if delivery else sha256(inbound.body)
