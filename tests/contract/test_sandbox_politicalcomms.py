"""The sandbox as Political Comms: keys, rates, strict bodies, every code of its error table."""

from collections.abc import Iterator
from typing import Any

import pytest

from sandbox import SandboxServer
from tests.contract.sandbox_politicalcomms_support import (
    FOREIGN,
    FREE,
    IMPORT,
    KEY,
    MEDIA,
    PROJECT,
    ROOT,
    SCHEDULE,
    SETTINGS,
    URL,
    call,
    code,
    good,
    project,
)


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    with SandboxServer({"politicalcomms": FREE}) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(server: SandboxServer) -> SandboxServer:
    server.settings("politicalcomms", dict.fromkeys(SETTINGS))
    server.settings("politicalcomms", {"imports": FREE["imports"]})
    server.clear("politicalcomms")
    return server


# Keys and rates


@pytest.mark.parametrize("key", ["", "pc_live_short", "pc_test_0123456789", "auro_live_sk_sandbox_01"])
def test_any_other_key_is_unknown_and_gets_no_rate_headers(sandbox: SandboxServer, key: str) -> None:
    answer = call(sandbox, "GET", "/organizations", key=key)

    assert (answer.status, set(answer.json)) == (401, {"error", "message"})
    assert "X-RateLimit-Limit" not in answer.headers


def test_generation_1_says_the_same_in_its_own_words() -> None:
    with SandboxServer({"politicalcomms": {"generation": 1}}) as sandbox:
        answer = call(sandbox, "GET", "/organizations", key="")

    assert answer.json == {"success": False, "error": "API key unknown or revoked", "code": "INVALID_API_KEY",
                           "statusCode": 401}  # fmt: skip


def test_a_key_reaches_its_organization_and_all_below_it(sandbox: SandboxServer) -> None:
    child = "01JV0ORG0000000000000000A2"
    sandbox.settings("politicalcomms", {"keys": {KEY: {"organization": child}}})

    assert [one["id"] for one in good(call(sandbox, "GET", "/organizations"))] == [child, child[:-1] + "3"]
    assert code(call(sandbox, "GET", f"/brands?organization_id={ROOT}")) == (403, "ORG_ACCESS_DENIED")
    assert code(call(sandbox, "GET", f"/hierarchy?organizationId={FOREIGN}")) == (403, "ORG_ACCESS_DENIED")


@pytest.mark.usefixtures("still")
def test_a_hundred_an_hour_from_the_first_request_on() -> None:
    with SandboxServer({"politicalcomms": {}}) as sandbox:
        answers = [call(sandbox, "GET", "/organizations") for _ in range(101)]
        reset = int(answers[0].headers["X-RateLimit-Reset"])
        sandbox.advance(3600)
        fresh = call(sandbox, "GET", "/organizations")

    assert [answer.status for answer in answers].count(200) == 100
    assert [answers[0].headers[name] for name in ("X-RateLimit-Limit", "X-RateLimit-Remaining")] == ["100", "99"]
    assert code(answers[100]) == (429, None)  # generation 2 has a body of its own
    assert answers[100].json["retryAfter"] == 3600
    assert int(answers[100].headers["X-RateLimit-Reset"]) == reset
    assert (fresh.status, fresh.headers["X-RateLimit-Remaining"]) == (200, "99")


@pytest.mark.usefixtures("still")
def test_profile_2_is_a_bucket_that_refills() -> None:
    with SandboxServer(
        {"politicalcomms": {"ratelimit": {"profile": 2, "bucket": "6/3600s"}, "generation": 1}}
    ) as sandbox:
        statuses = [call(sandbox, "GET", "/organizations").status for _ in range(7)]
        sandbox.advance(600)
        again = [call(sandbox, "GET", "/organizations") for _ in range(2)]

    assert statuses == [200] * 6 + [429]
    assert [answer.status for answer in again] == [200, 429]
    assert again[1].json["code"] == "RATE_LIMIT_EXCEEDED"
    assert "Retry-After" not in again[1].headers  # generation 1 does not mention it


# Strictness


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/contact-lists/import", IMPORT | {"csv": "x"}),
        ("POST", "/contact-lists/import", {"source_url": URL}),
        ("POST", "/contact-lists/import", IMPORT | {"merge_tags": {"shoe": "Shoe size"}}),
        ("POST", "/media", MEDIA | {"size": 5}),
        ("POST", "/media", {"source_url": "http://files.example.com/a.jpg"}),
        ("POST", "/projects", PROJECT | {"body": "Hi", "send_at": "now"}),
        ("POST", "/projects", PROJECT | {"contact_list_ids": []}),
        ("POST", "/projects", PROJECT | {"phone_number_ids": []}),
        ("POST", "/projects", PROJECT | {"protocol": "rcs"}),
        ("POST", "/projects", PROJECT | {"message_text": "x" * 1592}),
        ("POST", "/projects", PROJECT | {"toll_free_verification_id": "x"}),
        ("POST", "/projects", PROJECT | {"channel": "toll-free"}),
        ("POST", "/projects", PROJECT | {"link_tracking_enabled": True}),
        ("POST", "/projects", PROJECT | {"link_tracking_enabled": "true"}),
        ("POST", "/projects", b"{"),
        ("POST", "/conversations/conv_sandbox1/messages", {"text": "Hi", "media_url": "https://a.org/b.jpg"}),
        ("POST", "/conversations/conv_sandbox1/messages", {"text": ""}),
        ("POST", "/conversations/conv_sandbox1/messages", {"text": "x" * 1601}),
    ],
)
def test_what_is_not_documented_is_refused(sandbox: SandboxServer, method: str, path: str, body: object) -> None:
    assert code(call(sandbox, method, path, body)) == (400, "VALIDATION_ERROR")


@pytest.mark.parametrize(
    ("path", "refused"),
    [
        ("/brands?organizationId=x", "VALIDATION_ERROR"),  # lists are snake_case,
        ("/messages/stats?start_date=2026-01-01&end_date=2026-01-02", "VALIDATION_ERROR"),  # statistics are not
        ("/messages/stats?startDate=2026-1-1&endDate=2026-01-02", "INVALID_DATE_FORMAT"),
        ("/messages/stats?startDate=2020-01-01&endDate=2026-01-02", "RANGE_TOO_LARGE"),
        ("/messages/stats?startDate=2020-01-01&endDate=2020-01-02", "RANGE_TOO_OLD"),
        ("/conversations?limit=201", "VALIDATION_ERROR"),
        ("/conversations?cursor=abc", "VALIDATION_ERROR"),
        ("/conversations?updated_since=2020-01-01T00:00:00Z", "VALIDATION_ERROR"),
        ("/contact-lists/x/download", "NOT_FOUND"),
        ("/nothing", "NOT_FOUND"),
    ],
)
def test_a_wrong_question_is_refused(sandbox: SandboxServer, path: str, refused: str) -> None:
    assert code(call(sandbox, "GET", path))[1] == refused


@pytest.mark.parametrize(
    "wrong",
    [{"scheduled_at": "2026-01-01T09:00:00"}, {"scheduled_timezone": "Europe/London"}, {"daily_cap_bypass": "yes"},
     {"send_at": "now"}],
)  # fmt: skip
def test_a_schedule_needs_offset_and_zone(sandbox: SandboxServer, wrong: dict[str, Any]) -> None:
    answer = call(sandbox, "POST", f"/projects/{project(sandbox)}/schedule", SCHEDULE | wrong)

    assert code(answer) == (400, "VALIDATION_ERROR")


# The codes


CHILD_BRAND = "01JV0BRD0000000000000000A2"


def test_each_code_of_the_table_can_be_had(sandbox: SandboxServer) -> None:
    id_ = project(sandbox)
    list_id = good(call(sandbox, "GET", f"/projects/{id_}"))["contact_list_ids"][0]
    reply, text = "/conversations/conv_sandbox1/messages", {"text": "Hello"}
    link = {"link_tracking_enabled": True, "link_tracking_domain_id": "d",
            "link_tracking_destination_url": "https://a.org/{zip}"}  # fmt: skip

    def now(method: str, path: str, body: object = None, **settings: Any) -> tuple[int, str | None]:
        sandbox.settings("politicalcomms", settings)
        answer = call(sandbox, method, path, body)
        sandbox.settings("politicalcomms", dict.fromkeys(settings))
        return code(answer)

    assert now("POST", "/media", MEDIA | {"brand_id": CHILD_BRAND}) == (400, "BRAND_ORG_MISMATCH")
    assert now("POST", "/projects", PROJECT | link) == (400, "INVALID_LINK_PLACEHOLDER")
    assert now("POST", "/media", MEDIA | {"organization_id": FOREIGN}) == (403, "ORG_ACCESS_DENIED")
    assert now("POST", "/media", MEDIA, keys={KEY: {"write": False}}) == (403, "PERMISSION_DENIED")
    onboarding = {KEY: {"missing_steps": ["brand"]}}
    assert now("POST", f"/projects/{id_}/schedule", SCHEDULE, keys=onboarding) == (403, "ONBOARDING_INCOMPLETE")
    assert now("GET", "/email/campaigns") == (403, "ENTITLEMENT_REQUIRED")
    assert now("GET", "/email/campaigns", email="EMAIL_EARLY_ACCESS") == (403, "EMAIL_EARLY_ACCESS")
    assert now("DELETE", f"/contact-lists/{list_id}") == (409, "CONTACT_LIST_IN_USE")
    assert now("POST", f"/projects/{id_}/unschedule") == (409, "CONFLICT")
    assert now("POST", f"/projects/{id_}/schedule", SCHEDULE, require_test=True) == (409, "CONFLICT")
    assert now("POST", f"/projects/{id_}/schedule", SCHEDULE, balance_cents=1) == (402, "INSUFFICIENT_BALANCE")
    assert now("POST", f"/contact-lists/{list_id}/analyze", balance_cents=0.5) == (402, "INSUFFICIENT_BALANCE")
    assert now("GET", f"/projects/{id_}/throughput", throughput_timeout=True) == (503, "CARRIER_ESTIMATE_TIMEOUT")
    assert now("POST", reply, text, balance_cents=0) == (402, "INSUFFICIENT_BALANCE")
    assert now("POST", reply, text, sending_paused="platform") == (409, "SENDING_PAUSED")
    assert now("POST", reply, text, unavailable_numbers=["+1*"]) == (409, "PHONE_NUMBER_UNAVAILABLE")
    assert now("POST", "/conversations/conv_x/messages", text) == (404, "CONVERSATION_NOT_FOUND")
    changed = {"event": "conversation.changed", "data": {"conversation_id": "conv_sandbox1"}}
    for change, expected in (
        ({"deleted": True}, "PROJECT_DELETED"),
        ({"status": "inactive"}, "CONVERSATION_NOT_SENDABLE"),
        ({"status": "opted_out"}, "CONTACT_OPTED_OUT"),
    ):
        sandbox.inject("politicalcomms", changed | {"data": changed["data"] | change})  # type: ignore[operator]
        assert now("POST", reply, text) == (409, expected)
    for status, wanted in ((500, "INTERNAL_ERROR"), (503, "SEND_ENQUEUE_FAILED"), (409, "IDEMPOTENCY_IN_PROGRESS")):
        sandbox.fault("politicalcomms", "status", status=status, code=wanted, count=1)
        assert now("POST", reply, text) == (status, wanted)
