"""The sandbox as Political Comms, seen from outside: plain requests and what they must have been answered."""

from typing import Any

from sandbox import SandboxServer
from tests.contract.sandbox_support import Answered, ask

KEY = "pc_live_sandbox0000"
ROOT, FOREIGN = "01JV0ORG0000000000000000A1", "01JV0ORG0000000000000000F1"
URL = "https://files.example.com/a.csv"
CSV = "phone,First Name,Shoe size\n(555) 555-0101,Ana,38\n+15555550102,Bob,41\n5555550101,Ana again,38\nnobody,Cy,40\n"
BRAND, CAMPAIGN = "01JV0BRD0000000000000000A1", "01JV0CMP0000000000000000A1"
FREE = {"ratelimit": {"api": "100000/hour"}, "imports": {"files": {URL: CSV}}}
IMPORT = {"source_url": URL, "list_name": "Spring", "phone_column": "phone"}
PROJECT = {
    "organization_id": ROOT,
    "name": "Spring",
    "protocol": "sms",
    "message_text": "Hi {first_name}",
    "phone_number_ids": ["01JV0NUM0000000000000000D1"],
    "brand_id": BRAND,
    "campaign_id": CAMPAIGN,
}
SCHEDULE = {"scheduled_at": "2026-01-01T09:00:00-05:00", "scheduled_timezone": "America/New_York"}
MEDIA = {"source_url": "https://files.example.com/a.jpg"}
SETTINGS = ("keys", "imports", "media", "analysis", "sending_paused", "unavailable_numbers", "throughput_timeout",
            "require_test", "balance_cents", "email", "idempotency")  # fmt: skip


def call(
    sandbox: SandboxServer, method: str, path: str, data: object = None, *, key: str = KEY, again: str = ""
) -> Answered:
    headers = {"X-API-Key": key} if key else {}
    headers |= {"Idempotency-Key": again} if again else {}
    return ask(sandbox.base_url("politicalcomms"), method, path, data, key="", headers=headers)


def good(answer: Answered, status: int = 200) -> Any:
    assert answer.status == status, answer.body
    assert answer.json["success"] is True
    return answer.json["data"]


def code(answer: Answered) -> tuple[int, str | None]:
    return answer.status, answer.json.get("code")


def ready_list(sandbox: SandboxServer, key: str = KEY) -> str:
    made = str(good(call(sandbox, "POST", "/contact-lists/import", IMPORT, key=key), 202)["list_id"])
    sandbox.advance(2)
    return made


def project(sandbox: SandboxServer, key: str = KEY, **more: Any) -> str:
    body = {**PROJECT, "contact_list_ids": [ready_list(sandbox, key)], **more}
    return str(good(call(sandbox, "POST", "/projects", body, key=key), 201)["project_id"])
