"""Political Comms' webhooks: whether one is genuine, and what it says.

The reference prints no whole body, so each member is looked for under `data` and beside it.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from paceline.status import Status
from providers.answers import digest, instant, json_object, member, opt_in_word, opt_out_word, sha256, signed, text
from providers.base import STATUS_EVENT, Account, Event, Inbound, Option

# The signature covers no time, and an attacker could change the header's: this is a weak check, and a replay does no
# harm, because an event that came before changes nothing. The provider repeats an event for about 84 seconds and the
# time of four requests, which fits into its own suggestion of five minutes. Only what somebody sends again by hand, in
# the dashboard, is older: set 0 for as long as that takes.
FRESHNESS = Option(300.0, "seconds after which a webhook is refused as too old, by X-Timestamp; 0: never", least=0)

# "Webhooks": sent is accepted by the carrier, delivered is confirmed by it.
REPORTS = {"message.sent": Status.SENT, "message.delivered": Status.DELIVERED, "message.failed": Status.FAILED}

_EVENT = re.compile(r"[a-z][a-z_.]{0,63}")
_ID = re.compile(r"[A-Za-z0-9][!-~]{0,254}")
_PHONE = re.compile(r"\+[1-9][0-9]{6,14}")
# A carrier's code is an opaque string such as "300" or "012". Too short to be anybody's number, so it may be a reason.
_ERROR = re.compile(r"[0-9]{1,6}")
# Beside `data`, these are the envelope's own.
_ENVELOPE = ("event_id", "event_type", "event", "type", "timestamp", "data")


def verify(account: Account, inbound: Inbound) -> bool:
    """Whether Political Comms signed these bytes: `sha256=` and hexadecimal HMAC-SHA256 of the body, with the secret.

    Where `webhook.freshness` is not 0, `X-Timestamp` must be that recent too.
    """
    secret = account.credentials.get("webhook_secret", "")
    if not signed(secret, inbound.body, inbound.headers.get("x-webhook-signature", ""), prefix="sha256="):
        return False
    freshness = float(account.options.get("webhook.freshness", FRESHNESS.default))
    at = _seconds(inbound.headers.get("x-timestamp", ""))
    return not freshness or (at is not None and abs(inbound.received_at - at) <= freshness)


def parse_event(_account: Account, inbound: Inbound) -> Sequence[Event]:
    """What a webhook says: where a message stands, or what happened to the account; nothing if it cannot be read.

    The same event id may come with several kinds of event, and an id that looks like the message's own with several
    clicks on its link: the kind, and of a click its time and link too, are part of the key.
    """
    said = _Said(inbound)
    kind, message = said.name.replace(".", "_"), said.id("message_id")
    status = REPORTS.get(said.name)
    if status is not None:
        reason = _reason(said.get("error_code")) if status is Status.FAILED else ""
        # Replies are sent to conversations, so that is what their recipient is called.
        return (
            [Event(said.key(), STATUS_EVENT, said.at(), message, status, reason, said.id("conversation_id"))]
            if message
            else []
        )
    if kind in ("", STATUS_EVENT):
        return []
    out, in_ = _wishes(said) if said.name == "message.replied" else ("", "")
    # Replies are sent to conversations: who said STOP in one wants none there either.
    known_as = said.id("conversation_id") if out or in_ else ""
    return [Event(said.key(), kind, said.at(), data=said.data(), opted_out=out, opted_in=in_, known_as=known_as)]


class _Said:
    """A webhook's body, whichever way its members are nested."""

    def __init__(self, inbound: Inbound) -> None:
        self._inbound = inbound
        self._envelope = json_object(inbound.body)
        self._data = member(self._envelope, "data")
        # The body's name is signed, the header's is not.
        names = (self._envelope.get("event_type"), self._envelope.get("event"), inbound.headers.get("x-event-type"))
        self.name = next((name for name in (text(value, _EVENT) for value in names) if name), "")

    def get(self, name: str) -> Any:
        value = self._data.get(name)
        return self._envelope.get(name) if value is None else value

    def id(self, name: str) -> str:
        return text(self.get(name), _ID)

    def key(self) -> str:
        event = text(self.get("event_id"), _ID) or text(self._inbound.headers.get("x-event-id"), _ID)
        if not event:
            return sha256(self._inbound.body)
        if self.name == "link.clicked" and event == self.id("message_id"):
            return digest(self.name, event, str(self.get("clicked_at")), str(self.get("url")))
        return digest(self.name, event)

    def at(self) -> float | None:
        for value in (self.get("clicked_at"), self._data.get("timestamp"), self._envelope.get("timestamp")):
            found = instant(value) if isinstance(value, str) else _number(value)
            if found is not None:
                return found
        return _seconds(self._inbound.headers.get("x-timestamp", ""))

    def data(self) -> Mapping[str, Any]:
        return self._data or {name: value for name, value in self._envelope.items() if name not in _ENVELOPE}


def _wishes(said: _Said) -> tuple[str, str]:
    sender, words = text(said.get("from"), _PHONE), said.get("text")
    if not sender or not isinstance(words, str):
        return "", ""
    return (sender if opt_out_word(words) else ""), (sender if opt_in_word(words) else "")


def _reason(error_code: object) -> str:
    code = text(error_code, _ERROR)
    return f"carrier_error {code}" if code else "not_delivered"


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**11 else None


def _seconds(value: str) -> float | None:
    return float(value) if value.isascii() and value.isdigit() and len(value) <= 11 else None
