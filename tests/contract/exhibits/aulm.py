"""aulm."""

import base64
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from paceline.messages import Media, Template, Text
from paceline.status import Status
from providers.base import Accepted, Misconfigured, Outcome, Refused, Scope, Throttled, Unavailable, Unknown
from tests.contract.exhibits.base import SILENT, Answer, Exhibit, Forbidden, Posted, Said, as_json, hexadecimal_hmac

TO = "+966512345678"
SESSION = "9b2f4c1e-6d3a-4e57-a1c8-0f7d5b3e2a94"
PICTURE = "https://cdn.example.com/map.png"
KEY = "check api_key and its standing in aulm's dashboard"
PAIRED = "check the session that session_id names in aulm's dashboard"


def error(status: int, code: str, outcome: Outcome) -> Answer:
    return Answer(status, as_json({"error": {"code": code, "message": f"{TO} is bad."}}), outcome)


def refused(code: str) -> Answer:
    return error(400, code, Refused(code, code))


def bad_key(code: str) -> Answer:
    return error(401, code, Misconfigured(f"{code}: {KEY}", code, Scope.KEY))


def closing(status: int, code: str, remedy: str, scope: Scope) -> Answer:
    return error(status, code, Misconfigured(f"{code}: {remedy}", code, scope))


def throttled(headers: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes]:
    return 429, headers, as_json({"error": {"code": "slow_down", "message": "x"}})


def webhook(said: Said) -> Posted:
    # The delivery's id is the same for the same event, whoever tells of it: a repetition bears it again.
    delivery = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{said.message_id} {said.status}"))
    at = datetime.fromtimestamp(said.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    body = as_json(
        {
            "event": "message_status",
            "delivery_id": delivery,
            "session_id": SESSION,
            "message_id": said.message_id,
            "status": str(said.status),
            "to": said.to,
            "occurred_at": at,
        }
    )
    return Posted(
        body,
        {
            "Content-Type": "application/json",
            "x-aulm-event": "message_status",
            "x-aulm-delivery-id": delivery,
            "x-aulm-attempt": "1",
            "x-aulm-signature": f"sha256={hexadecimal_hmac(said.secret, body)}",
        },
    )


def text(**fields: Any) -> Text:
    return Text(**{"to": TO, "text": "Your appointment is at 16:00.", **fields})


def image(**fields: Any) -> Media:
    return Media(**{"to": TO, "url": PICTURE, "media_type": "image/png", **fields})


def data_uri(size: int) -> str:
    return "data:image/png;base64," + base64.b64encode(bytes(size)).decode()


TAKEN = {"data": {"message_id": "3EB0C767D26A1D8F2B4E", "session_id": SESSION, "to": TO, "status": "sent"}}

EXHIBIT = Exhibit(
    credentials={
        "api_key": "alm_sk_live_" + "0a" * 32,
        "session_id": SESSION,
        "webhook_secret": "aulm_whsec_b7e2d90c5f",
    },
    messages={"text": text(), "media": image(caption="Here")},
    answers=[
        Answer(201, as_json(TAKEN), Accepted("3EB0C767D26A1D8F2B4E", Status.SENT)),
        refused("invalid_json"),
        refused("invalid_request"),
        bad_key("missing_authorization"),
        bad_key("invalid_authorization"),
        bad_key("invalid_api_key"),
        bad_key("api_key_revoked"),
        bad_key("api_key_expired"),
        bad_key("account_deactivated"),
        error(429, "too_many_auth_failures", Throttled(60.0, "too_many_auth_failures", Scope.ADDRESS)),
        closing(404, "session_not_found", PAIRED, Scope.LANE),
        closing(403, "session_disabled", PAIRED, Scope.LANE),
        closing(403, "session_not_allowed", "let api_key use the session", Scope.LANE),
        error(409, "session_not_ready", Unavailable(None, "session_not_ready", probe_first=True)),
        error(429, "daily_quota_exceeded", Throttled(None, "daily_quota_exceeded", Scope.KEY)),
        closing(
            429,
            "trial_quota_exceeded",
            "the trial is over or used up, choose a plan in aulm's dashboard",
            Scope.KEY,
        ),
        error(504, "messaging_service_timeout", Unknown("messaging_service_timeout", "messaging_service_timeout")),
        error(502, "messaging_service_unreachable", Unavailable(None, "messaging_service_unreachable")),
        error(502, "messaging_service_error", Unavailable(None, "messaging_service_error")),
        error(503, "service_unavailable", Unavailable(None, "service_unavailable")),
    ],
    throttled=throttled,
    forbidden=[
        Forbidden(text(to=""), "to", "E.164"),
        Forbidden(text(to="966512345678"), "to", "E.164"),
        Forbidden(text(to="966512345678@c.us"), "to", "E.164"),
        Forbidden(text(to="+" + "9" * 20), "to", "at most 20 characters"),
        Forbidden(text(text=""), "text", "at least 1 character"),
        Forbidden(text(text="x" * 4097), "text", "at most 4096 characters"),
        Forbidden(text(sender="x"), "sender", "no such field", ours=True),
        Forbidden(image(url="http://cdn.example.com/map.png"), "url", "https://"),
        Forbidden(image(url="https://127.0.0.1/map.png"), "url", "public host"),
        Forbidden(image(url="https://10.1.2.3/map.png"), "url", "public host"),
        Forbidden(image(url="https://localhost/map.png"), "url", "public host"),
        Forbidden(image(url="https://[::1]/map.png"), "url", "public host"),
        Forbidden(image(url=data_uri(5 * 1024 * 1024 + 1)), "url", "at most 5,242,880 bytes"),
        Forbidden(image(url="data:image/png;base64,%%%"), "url", "data URI"),
        Forbidden(image(media_type="image/tiff"), "media_type", "one of image/jpeg", ours=True),
        Forbidden(image(caption="x" * 1025), "caption", "at most 1024 characters"),
        Forbidden(image(filename="map.png"), "filename", "no such field", ours=True),
        Forbidden(text(), "options.unheard", "is not an option", options={"unheard": "x"}, ours=True),
        Forbidden(Template(TO, "welcome"), "message", "not template", ours=True),
    ],
    webhook=webhook,
    edges=[
        text(text="🐢" * 4096, to="+999999999999999"),
        image(caption="x" * 1024),
        image(url=data_uri(700_000)),
    ],
    still={"lifecycle": SILENT, "quota": {"daily": 100_000}},
)
