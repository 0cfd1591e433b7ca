"""Political Comms, the facts: replies byte for byte, the record, credentials, the hour's headers."""

import json
import re
import uuid
from collections.abc import Mapping
from typing import Any

import pytest

from paceline.capabilities import check
from paceline.errors import InvalidMessage
from paceline.messages import Media, Message, Text
from providers import registry
from providers.base import Accepted, Account, Job, Misconfigured, Remaining, ReportedLimit, Response, Submission
from providers.politicalcomms import PROVIDER, build_probe, build_request, capabilities, parse_probe

KEY = "pc_live_0123456789abcdef"
NOW = 1_768_412_400.0  # 2026-01-14T17:40:00Z
DATE = "Wed, 14 Jan 2026 17:40:00 GMT"


def account(options: Mapping[str, Any] | None = None) -> Account:
    return Account("pc-main", PROVIDER.base_url, {"api_key": KEY, "organization_id": "org_1"}, options or {})


def answer(status: int, body: object = b"", headers: Mapping[str, str] | None = None) -> Response:
    return Response(status, headers or {}, body if isinstance(body, bytes) else json.dumps(body).encode(), NOW)


def test_a_reply_is_byte_for_byte_the_documented_request() -> None:
    request = build_request(account(), Submission("0199-message", Text("conv_51aa90", "Żółw 🐢 until 7pm.")))

    assert (request.method, request.url) == (
        "POST",
        "https://api.politicalcomms.com/v1/conversations/conv_51aa90/messages",
    )
    assert request.body == '{"text":"Żółw 🐢 until 7pm."}'.encode()
    assert request.headers == {
        "X-API-Key": KEY,
        "Accept": "application/json",
        "Content-Type": "application/json",
        "Idempotency-Key": "0199-message",
    }
    assert not any(secret in repr(request) + repr(account()) for secret in (KEY, "7pm"))


def test_metadata_and_options_are_no_properties_of_a_reply() -> None:
    request = build_request(account(), Submission("id", Text("conv_1", "Hi"), {"order": "1"}, {"x": "y"}))

    assert json.loads(request.body) == {"text": "Hi"}


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (Text("+15555550100", "Hi"), "to"),
        (Text("../projects", "Hi"), "to"),
        (Text("conv 1", "Hi"), "to"),
        (Text("conv_1", ""), "text"),
        (Text("conv_1", "x" * 1601), "text"),
        (Text("conv_1", "Hi", sender="+15555550111"), "sender"),
        (Text("conv_1", "Hi", reply_to="msg_1"), "reply_to"),
        (Media("conv_1", "https://example.com/a.jpg", "image/jpeg"), "message"),
    ],
)
def test_what_the_api_would_refuse_is_refused_at_the_door(message: Message, field: str) -> None:
    with pytest.raises(InvalidMessage) as refused:
        check(capabilities(account()), "pc-main", message)

    assert refused.value.field == field


def test_the_longest_text_is_taken() -> None:
    check(capabilities(account()), "pc-main", Text("conv_51aa90", "x" * 1600))


def test_a_kind_that_was_not_checked_is_a_bug() -> None:
    with pytest.raises(TypeError, match="no media message"):
        build_request(account(), Submission("id", Media("conv_1", "https://example.com/a.jpg", "image/jpeg")))


def test_the_record_holds_the_documented_facts() -> None:
    assert registry.get("politicalcomms") is PROVIDER
    assert PROVIDER.base_url == "https://api.politicalcomms.com/v1"
    assert dict(PROVIDER.limits) == {"api": ("100/hour",)}
    assert (PROVIDER.channel, PROVIDER.send_class, PROVIDER.probe_class, PROVIDER.poll_class) == (
        "sms",
        "api",
        "api",
        None,
    )
    assert (PROVIDER.connect_timeout, PROVIDER.timeout) == (5.0, 35.0)
    assert PROVIDER.deduplicates_for == 600
    assert PROVIDER.webhook_credential == "webhook_secret"


def test_all_operations_share_the_one_lane_and_may_be_repeated() -> None:
    for name, operation in PROVIDER.operations.items():
        assert operation.lane_class == "api", name
        assert operation.repeatable(""), name
        assert operation.meaning
    hierarchy = {name for name, operation in PROVIDER.operations.items() if operation.fresh_for}
    assert hierarchy == {"organizations", "hierarchy", "brands", "campaigns", "phone_numbers", "tracking_domains",
                         "toll_free_verifications", "toll_free_verification"}  # fmt: skip
    assert {PROVIDER.operations[name].fresh_for for name in hierarchy} == {300.0}


def test_only_the_api_key_identifies_a_key() -> None:
    by_name = {credential.name: credential for credential in PROVIDER.credentials}

    assert [name for name, one in by_name.items() if one.required] == ["api_key"]
    assert [name for name, one in by_name.items() if one.identifies_key] == ["api_key"]
    assert [name for name, one in by_name.items() if one.secret] == ["api_key", "webhook_secret"]
    for one in by_name.values():
        assert one.pattern is None or re.fullmatch(one.pattern, one.sandbox)


@pytest.mark.parametrize(
    ("value", "fits"),
    [(KEY, True), ("pc_live_" + "a" * 7, False), ("pc_test_" + "a" * 16, False), (KEY + "\n", False), ("sk_1", False)],
)
def test_the_api_key_has_a_shape(value: str, fits: bool) -> None:
    assert (re.fullmatch(PROVIDER.credentials[0].pattern or "", value) is not None) is fits


def test_a_probe_asks_for_the_organizations() -> None:
    request = build_probe(account())

    assert (request.method, request.url) == ("GET", "https://api.politicalcomms.com/v1/organizations")
    assert "Idempotency-Key" not in request.headers
    assert parse_probe(account(), answer(200, {"success": True, "data": []})) == Accepted()
    assert isinstance(parse_probe(account(), answer(401)), Misconfigured)
    assert not isinstance(parse_probe(account(), answer(200, b"<html>")), Accepted)


def test_a_steps_key_is_the_same_at_every_repetition_and_another_for_every_step_and_job() -> None:
    def key(job: str, step: str) -> str:
        operation = PROVIDER.operations["pause_project"]
        request = operation.build(account(), Job(job, {"project_id": "proj_1"}, step))
        return request.headers["Idempotency-Key"]

    assert key("job-1", "") == key("job-1", "")
    assert len({key("job-1", ""), key("job-1", "#2"), key("job-2", "")}) == 3
    assert uuid.UUID(key("job-1", "")).version == 5


HEADERS = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")


@pytest.mark.parametrize(
    ("limit", "left", "reset_in", "told"),
    [
        ("100", "7", 1800, Remaining(3600.0, 7, 1800.0)),
        ("100", "0", 3600, Remaining(3600.0, 0, 3600.0)),
        ("100", "0", 3630, Remaining(3600.0, 0, 3600.0)),  # clocks differ a little
        ("100", "7", 30, Remaining(3600.0, 7, 30.0)),  # the last half minute of an hour
        ("1000", "900", 1800, Remaining(3600.0, 900, 1800.0)),  # a higher limit, by request
        ("600", "3", 60, None),  # generation 2's bucket: full again within a minute
        ("600", "599", 1, None),
        ("100", "7", 90_000, None),
        ("100", "7", 0, None),
        ("100", "7", -5, None),
        ("100", "", 1800, None),
        ("", "7", 1800, Remaining(3600.0, 7, 1800.0)),
        ("100", "-7", 1800, None),
        ("100", "\u0667", 1800, None),
        ("100", "7.5", 1800, None),
    ],
)
def test_only_what_can_be_of_an_hour_is_told_as_one(
    limit: str, left: str, reset_in: int, told: Remaining | None
) -> None:
    values = dict(zip(HEADERS, (limit, left, str(int(NOW) + reset_in)), strict=True))

    assert PROVIDER.remaining(account(), answer(200, headers=values)) == told


def test_a_reset_is_read_against_the_answers_own_date() -> None:
    later = {"x-ratelimit-limit": "100", "x-ratelimit-remaining": "7", "x-ratelimit-reset": str(int(NOW) + 600)}

    told = PROVIDER.remaining(account(), Response(200, later | {"date": DATE}, b"", NOW + 500))

    assert told == Remaining(3600.0, 7, 600.0)


def test_without_headers_nothing_is_told() -> None:
    assert PROVIDER.remaining(account(), answer(200)) is None
    assert PROVIDER.reported_limit(account(), answer(200)) is None


@pytest.mark.parametrize(
    ("limit", "reset_in", "told"),
    [(100, 1800, ReportedLimit(100, 3600.0)), (600, 30, ReportedLimit(600, 60.0)), (100, 30, ReportedLimit(100, None))],
)
def test_the_limit_that_headers_name(limit: int, reset_in: int, told: ReportedLimit) -> None:
    headers = {"x-ratelimit-limit": str(limit), "x-ratelimit-reset": str(int(NOW) + reset_in)}

    assert PROVIDER.reported_limit(account(), answer(200, headers=headers)) == told
