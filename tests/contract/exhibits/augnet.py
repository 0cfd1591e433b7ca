"""Augnet."""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any
from urllib.parse import urlsplit

from paceline.messages import Media, Text
from paceline.status import Status
from providers.base import Accepted, Misconfigured, Outcome, Refused, Scope, Throttled, Unavailable, Unknown
from tests.contract.exhibits.base import SILENT, Answer, Exhibit, Forbidden, Posted, Said, as_json

TO = "+447700900123"
PROJECT = "5f0c2d7e-9a41-4b1f-8f57-2c1b7e0a9d33"
SID = "0b9d2f64-7c11-4e0e-9a55-3f1b8a6c2d10"
WORDS = {Status.ACCEPTED: "queued", Status.SENT: "sent", Status.DELIVERED: "delivered", Status.FAILED: "undelivered"}


def error(status: int, outcome: Outcome) -> Answer:
    return Answer(status, as_json({"message": f"{TO} is bad."}), outcome)


def misconfigured(code: str, remedy: str, scope: Scope) -> Outcome:
    return Misconfigured(f"{code}: {remedy}", code, scope)


def throttled(headers: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes]:
    return 429, headers, error(429, Throttled()).body


def webhook(said: Said) -> Posted:
    """Signed by draft-cavage-http-signatures-12, whose lines are method and path, date, digest of the body, host."""
    word = WORDS[said.status]
    body = as_json(
        {
            "SmsSid": said.message_id,
            "SmsStatus": word,
            "AccountSid": PROJECT,
            "From": "ABCTAXI",
            "To": said.to,
            "MessageStatus": word,
            "MessageSid": said.message_id,
        }
    )
    url = urlsplit(said.url)
    target = url.path + (f"?{url.query}" if url.query else "")
    date, digest = (
        formatdate(said.at, usegmt=True),
        "SHA-256=" + base64.b64encode(hashlib.sha256(body).digest()).decode(),
    )
    lines = f"(request-target): post {target}\ndate: {date}\ndigest: {digest}\nhost: {url.netloc}"
    signature = base64.b64encode(hmac.new(said.secret.encode(), lines.encode(), hashlib.sha256).digest()).decode()
    proof = (
        f'Signature keyId="{PROJECT}",algorithm="hmac-sha256",'
        f'headers="(request-target) date digest host",signature="{signature}"'
    )
    return Posted(
        body,
        {
            "Content-Type": "application/json",
            "Date": date,
            "Digest": digest,
            "Authorization": proof,
            "Host": url.netloc,
        },
    )


def text(**fields: Any) -> Text:
    return Text(**{"to": TO, "text": "Your taxi is here", **fields})


EXHIBIT = Exhibit(
    credentials={
        "project_id": PROJECT,
        "api_key": "ak_live_4b9c",
        "sender": "ABCTAXI",
        "signing_key": "sk_augnet_7Qm2xV9tLr",
    },
    messages={"text": text()},
    answers=[
        Answer(200, as_json({"sid": SID}), Accepted(SID)),
        Answer(200, b"{}", Accepted()),
        Answer(202, b"", Accepted()),
        error(400, Refused("bad_request", "bad_request")),
        error(401, misconfigured("unauthorized", "check project_id and api_key", Scope.KEY)),
        error(402, misconfigured("payment_required", "check the balance at Augnet", Scope.KEY)),
        error(403, misconfigured("forbidden", "check what the project may do at Augnet", Scope.LANE)),
        error(404, misconfigured("not_found", "check base_url", Scope.LANE)),
        error(415, misconfigured("unsupported_media_type", "check base_url", Scope.LANE)),
        error(422, Refused("unprocessable", "unprocessable")),
        error(429, Throttled(None, "too_many_requests")),
        error(500, Unknown("server_error", "server_error")),
        error(502, Unknown("bad_gateway", "bad_gateway")),
        error(503, Unavailable(None, "service_unavailable")),
        error(504, Unknown("gateway_timeout", "gateway_timeout")),
    ],
    throttled=throttled,
    forbidden=[
        Forbidden(text(to=""), "to", "E.164"),
        Forbidden(text(to="447700900123"), "to", "E.164"),
        Forbidden(text(to="+4477009001234567"), "to", "E.164"),
        Forbidden(text(to="+0447700900123"), "to", "E.164"),
        Forbidden(text(text=""), "text", "at least 1 character"),
        Forbidden(text(text="x" * 1601), "text", "must fit into 10 parts", ours=True),
        Forbidden(text(sender="A NAME TOO LONG"), "sender", "at most 11 characters", ours=True),
        Forbidden(text(reply_to="x"), "reply_to", "no such field", ours=True),
        Forbidden(text(), "options.unheard", "is not an option", options={"unheard": "x"}, ours=True),
        Forbidden(Media(TO, "https://files.example.com/a.pdf", "application/pdf"), "message", "not media", ours=True),
    ],
    webhook=webhook,
    edges=[text(text="x" * 1600, to="+449999999999999"), text(to="+4477009", sender="ELEVENCHARS")],
    still={"lifecycle": SILENT},
    empty_is_accepted=True,
)
