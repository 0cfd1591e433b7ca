"""Aurogy."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from paceline.messages import Email, Media, Template, Text
from paceline.status import Status
from providers.base import Accepted, Misconfigured, Outcome, Refused, Scope, Throttled, Unavailable, Unknown
from tests.contract.exhibits.base import SILENT, Answer, Exhibit, Forbidden, Posted, Said, as_json, hexadecimal_hmac

ANA = "auro_usr_5m2q70x1ck"
PDF = "https://files.example.com/a.pdf"
KEY = "check api_key and its standing at Aurogy"
RIGHTS = "give api_key the permission at Aurogy"


def error(status: int, code: str, outcome: Outcome) -> Answer:
    sentence = f"No user matches {ANA}."  # a provider's sentence may quote the recipient
    return Answer(status, as_json({"error": {"code": code, "message": sentence, "status": status}}), outcome)


def throttled(headers: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes]:
    return 429, headers, error(429, "rate_limited", Throttled()).body


def webhook(said: Said) -> Posted:
    at = datetime.fromtimestamp(said.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    data: dict[str, Any] = {"message_id": said.message_id, "to": said.to, "status": str(said.status), "timestamp": at}
    if said.status is Status.FAILED:
        data["error"] = {"code": "undeliverable", "message": "The message could not be delivered."}
    body = as_json({"event": f"message.{said.status}", "timestamp": at, "data": data})
    signature = hexadecimal_hmac(said.secret, body)
    return Posted(body, {"Content-Type": "application/json", "X-Aurogy-Signature": signature})


def text(**fields: Any) -> Text:
    return Text(**{"to": ANA, "text": "Your parcel leaves today.", **fields})


def media(**fields: Any) -> Media:
    return Media(**{"to": ANA, "url": PDF, "media_type": "application/pdf", **fields})


def template(**fields: Any) -> Template:
    return Template(**{"to": ANA, "template": "order_confirmation", "language": "en", **fields})


EXHIBIT = Exhibit(
    credentials={"api_key": "auro_live_sk_0123456789", "webhook_secret": "auro_whsec_4f1d9c7b2e"},
    messages={"text": text(), "media": media(), "template": template(variables={"order": "7719"})},
    answers=[
        Answer(200, as_json({"id": "msg_1", "status": "queued", "to": ANA}), Accepted("msg_1", Status.ACCEPTED)),
        error(400, "invalid_request", Refused("invalid_request", "invalid_request")),
        error(400, "invalid_recipient", Refused("invalid_recipient", "invalid_recipient")),
        error(400, "invalid_template", Refused("invalid_template", "invalid_template")),
        error(400, "media_too_large", Refused("media_too_large", "media_too_large")),
        error(401, "unauthorized", Misconfigured(f"unauthorized: {KEY}", "unauthorized", Scope.KEY)),
        error(403, "forbidden", Misconfigured(f"forbidden: {RIGHTS}", "forbidden", Scope.LANE)),
        error(404, "not_found", Refused("not_found", "not_found")),
        error(429, "rate_limited", Throttled(None, "rate_limited")),
        error(500, "internal_error", Unknown("internal_error", "internal_error")),
        error(503, "service_unavailable", Unavailable(None, "service_unavailable")),
    ],
    throttled=throttled,
    forbidden=[
        Forbidden(text(to=""), "to", "must be an Aurogy id"),
        Forbidden(text(to="+447700900123"), "to", "never the phone number"),
        Forbidden(text(to="447700900123"), "to", "never the phone number"),
        Forbidden(text(text=""), "text", "at least 1 character"),
        Forbidden(text(text="x" * 4097), "text", "at most 4096 characters"),
        Forbidden(text(reply_to=""), "reply_to", "at least 1 character", ours=True),
        Forbidden(text(), "options.reply_to", "at least 1 character", options={"reply_to": ""}, ours=True),
        Forbidden(text(sender="ACME"), "sender", "no such field", ours=True),
        Forbidden(text(), "metadata", "at most 10 entries", metadata={f"key{n}": "x" for n in range(11)}),
        Forbidden(text(), "metadata", "at most 256 characters", metadata={"key": "x" * 257}),
        Forbidden(text(), "metadata", "at most 256 characters", metadata={"k" * 257: "x"}),
        Forbidden(text(), "options.unheard", "is not an option", options={"unheard": "x"}, ours=True),
        Forbidden(media(url="http://files.example.com/a.pdf"), "url", "https://"),
        Forbidden(media(url="data:image/png;base64,iVBORw0KGgo="), "url", "https://"),
        Forbidden(media(media_type="image/gif"), "media_type", "one of image/jpeg"),
        Forbidden(media(caption="x" * 1025), "caption", "at most 1024 characters"),
        Forbidden(media(filename="x" * 256), "filename", "at most 255 characters"),
        Forbidden(template(template=""), "template", "at least 1 character"),
        Forbidden(template(language=None), "language", "is required"),
        Forbidden(template(language="english please"), "language", "a language code"),
        Forbidden(template(variables={f"v{n}": "x" for n in range(257)}), "variables", "at most 256 entries"),
        Forbidden(Email(ANA, "Hello", text="Hi"), "message", "not email", ours=True),
    ],
    webhook=webhook,
    edges=[
        text(text="🐢" * 4096),
        media(caption="x" * 1024, filename="x" * 255),
        template(variables={f"v{n}": "x" for n in range(256)}),
    ],
    still={
        "ratelimit": dict.fromkeys(("send", "status", "conversations", "profile", "profile_read"), "100000/minute"),
        "lifecycle": SILENT,
    },
)
