"""Political Comms: replies in conversations."""

from collections.abc import Mapping, Sequence
from typing import Any

from paceline.messages import Media, Text
from providers.base import Accepted, Misconfigured, Outcome, Refused, Scope, Throttled, Unavailable, Unknown
from tests.contract.exhibits.base import SILENT, Answer, Exhibit, Forbidden, Posted, Said, as_json, hexadecimal_hmac

CONVERSATION = "conv_sandbox01"
RIGHTS = "check what api_key may do at Political Comms"


def error(status: int, code: str, outcome: Outcome) -> Answer:
    body = {"error": "No luck with +15555550100.", "code": code, "correlationId": "cor_1"}
    return Answer(status, as_json(body), outcome)


def refused(status: int, code: str) -> Answer:
    return error(status, code, Refused(code, code))


def closing(status: int, code: str, remedy: str, scope: Scope) -> Answer:
    return error(status, code, Misconfigured(f"{code}: {remedy}", code, scope))


def throttled(headers: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes]:
    return 429, headers, error(429, "RATE_LIMIT_EXCEEDED", Throttled()).body


def webhook(said: Said) -> Posted:
    name = f"message.{said.status}"
    data = {"message_id": said.message_id, "conversation_id": said.to, "error_code": "300"}
    event = f"evt_{said.message_id}_{said.status}"
    body = as_json({"event_id": event, "event_type": name, "timestamp": int(said.at), "data": data})
    return Posted(
        body,
        {
            "Content-Type": "application/json",
            "X-Webhook-Signature": f"sha256={hexadecimal_hmac(said.secret, body)}",
            "X-Event-Type": name,
            "X-Event-ID": event,
            "X-Timestamp": str(int(said.at)),
        },
    )


def text(**fields: Any) -> Text:
    return Text(**{"to": CONVERSATION, "text": "Polls are open until 7 p.m.", **fields})


LIST = {"list_id": "list_1", "polls": 3}
PROJECT = {"project_id": "proj_1", "polls": 3, "progress": {"status": "active"}}
FILE = {"media_id": "med_1", "polls": 3}
# Each step of the jobs that have several.
STEPS: Mapping[str, Sequence[tuple[str, Mapping[str, Any]]]] = {
    "import_contacts": [("import", {}), ("list", LIST)],
    "analyze": [("cost", LIST), ("analyze", LIST), ("analysis", LIST)],
    "download_contact_list": [("file", {}), ("list", LIST)],
    "edit_project": [("project", {}), ("edit", {})],
    "import_media": [("find", {}), ("import", {}), ("media", FILE)],
    "watch": [("project", PROJECT), ("stats", PROJECT)],
    "broadcast": [
        *((step, LIST) for step in ("import", "list", "analyze", "analysis", "find", "media_import", "create")),
        ("media", FILE),
        *((step, PROJECT) for step in ("test", "schedule", "project", "stats")),
    ],
}

EXHIBIT = Exhibit(
    credentials={
        "api_key": "pc_live_0123456789abcdef",
        "organization_id": "01JV0ORG0000000000000000A1",
        "webhook_secret": "whsec_pc_93ab",
    },
    messages={"text": text()},
    answers=[
        Answer(202, as_json({"message_id": "msg_1", "status": "queued"}), Accepted("msg_1")),
        refused(400, "VALIDATION_ERROR"),
        closing(401, "INVALID_API_KEY", "check api_key", Scope.KEY),
        closing(402, "INSUFFICIENT_BALANCE", "add money at Political Comms, then open the account", Scope.KEY),
        closing(403, "ORG_ACCESS_DENIED", RIGHTS, Scope.LANE),
        closing(403, "PERMISSION_DENIED", RIGHTS, Scope.LANE),
        closing(403, "ONBOARDING_INCOMPLETE", RIGHTS, Scope.LANE),
        refused(404, "CONVERSATION_NOT_FOUND"),
        closing(409, "SENDING_PAUSED", "sending is paused at Political Comms", Scope.LANE),
        refused(409, "CONFLICT"),
        error(409, "CONTACT_OPTED_OUT", Refused("CONTACT_OPTED_OUT", "CONTACT_OPTED_OUT", opted_out=True)),
        refused(409, "CONVERSATION_NOT_SENDABLE"),
        refused(409, "PROJECT_DELETED"),
        refused(409, "PHONE_NUMBER_UNAVAILABLE"),
        error(409, "IDEMPOTENCY_IN_PROGRESS", Unknown("IDEMPOTENCY_IN_PROGRESS", "IDEMPOTENCY_IN_PROGRESS")),
        error(429, "RATE_LIMIT_EXCEEDED", Throttled(None, "RATE_LIMIT_EXCEEDED")),
        error(500, "INTERNAL_ERROR", Unknown("INTERNAL_ERROR", "INTERNAL_ERROR")),
        error(502, "INTERNAL_ERROR", Unknown("INTERNAL_ERROR", "INTERNAL_ERROR")),
        error(503, "SEND_ENQUEUE_FAILED", Unavailable(None, "SEND_ENQUEUE_FAILED")),
        error(504, "INTERNAL_ERROR", Unknown("INTERNAL_ERROR", "INTERNAL_ERROR")),
    ],
    throttled=throttled,
    forbidden=[
        Forbidden(text(to=""), "to", "id of a conversation"),
        Forbidden(text(to="+15555550100"), "to", "id of a conversation"),
        Forbidden(text(to="../projects"), "to", "id of a conversation"),
        Forbidden(text(text=""), "text", "at least 1 character"),
        Forbidden(text(text="x" * 1601), "text", "at most 1600 characters"),
        Forbidden(text(sender="+15555550111"), "sender", "no such field", ours=True),
        Forbidden(text(), "options.unheard", "is not an option", options={"unheard": "x"}, ours=True),
        Forbidden(Media("conv_1", "https://files.example.com/a.jpg", "image/jpeg"), "message", "not media", ours=True),
    ],
    webhook=webhook,
    steps=STEPS,
    edges=[text(text="🐢" * 1600)],
    still={"ratelimit": {"api": "100000/hour"}, "lifecycle": SILENT},
)
