"""Aurogy's operations: the request of each, and what every kind of answer means."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from paceline.errors import InvalidMessage
from providers.aurogy.calls import OPERATIONS
from providers.base import (
    Account,
    Done,
    Job,
    Misconfigured,
    Refused,
    Request,
    Response,
    Throttled,
    Unavailable,
    Unknown,
)

ACCOUNT = Account("main", "https://api.aurogy.com/v1/", {"api_key": "auro_test_sk_0123456789"})
PAGE = {
    "conversations": [
        {
            "id": "conv_x1y2z3",
            "participant": "auro_usr_5m2q70x1ck",
            "last_message_at": "2026-04-13T14:30:02Z",
            "unread_count": 3,
            "status": "active",
        }
    ],
    "next_cursor": "eyJsYXN0X2lkIjoiY29udl94MXkyejMifQ",
    "has_more": True,
}
PROFILE = {
    "id": "biz_a1b2c3d4",
    "name": "Acme Corp",
    "description": "Widgets",
    "avatar_url": "https://api.aurogy.com/v1/profile/avatar",
    "verified": True,
    "created_at": "2026-01-15T09:00:00Z",
}
UPDATED = {"id": "biz_a1b2c3d4", "name": "Acme", "description": "More", "updated_at": "2026-04-13T15:00:00Z"}
STATUS = {
    "id": "msg_k3v9c1t7w2b8",
    "status": "delivered",
    "to": "auro_usr_5m2q70x1ck",
    "created_at": "2026-04-13T14:30:00Z",
    "delivered_at": "2026-04-13T14:30:02Z",
    "read_at": None,
}
AT = 1776090600.0  # 2026-04-13T14:30:00Z


def build(operation: str, **arguments: Any) -> Request:
    return OPERATIONS[operation].build(ACCOUNT, Job("job-1", arguments))


def read(operation: str, body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> object:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return OPERATIONS[operation].read(ACCOUNT, Job("job-1", {}), Response(status, headers or {}, raw, 0.0))


@pytest.mark.parametrize(
    ("operation", "arguments", "method", "url"),
    [
        ("conversations", {}, "GET", "/conversations"),
        ("conversations", {"limit": 100, "status": "all"}, "GET", "/conversations?limit=100&status=all"),
        ("conversations", {"cursor": "a+b/c="}, "GET", "/conversations?cursor=a%2Bb%2Fc%3D"),
        ("profile", {}, "GET", "/profile"),
        ("update_profile", {"name": "Acme"}, "PUT", "/profile"),
        ("message_status", {"message_id": "msg_a/b"}, "GET", "/messages/msg_a%2Fb"),
    ],
)
def test_each_operation_is_the_request_that_the_reference_prints(
    operation: str, arguments: dict[str, Any], method: str, url: str
) -> None:
    made = build(operation, **arguments)

    assert (made.method, made.url) == (method, f"https://api.aurogy.com/v1{url}")
    assert made.headers["Authorization"] == "Bearer auro_test_sk_0123456789"


def test_an_update_holds_what_was_given_alone() -> None:
    made = build("update_profile", description="Widgets and more", avatar_url="https://x.example/a.png")

    assert json.loads(made.body) == {"description": "Widgets and more", "avatar_url": "https://x.example/a.png"}
    assert made.headers["Content-Type"] == "application/json"
    assert build("profile").body == b""


def test_an_update_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidMessage, match="an update changes at least one"):
        OPERATIONS["update_profile"].check(ACCOUNT, {})
    OPERATIONS["update_profile"].check(ACCOUNT, {"name": ""})


@pytest.mark.parametrize(
    ("operation", "body", "result"),
    [
        (
            "conversations",
            PAGE,
            {**PAGE, "conversations": [{**PAGE["conversations"][0], "last_message_at": AT + 2}]},  # type: ignore[index]
        ),
        (
            "conversations",
            {"conversations": [], "next_cursor": None, "has_more": False},
            {"conversations": [], "next_cursor": None, "has_more": False},
        ),
        ("profile", PROFILE, {**PROFILE, "created_at": 1768467600.0}),
        ("update_profile", UPDATED, {**UPDATED, "updated_at": AT + 1800}),
        ("message_status", STATUS, {**STATUS, "created_at": AT, "delivered_at": AT + 2}),
    ],
)
def test_an_answer_is_told_with_its_times_in_seconds(operation: str, body: object, result: object) -> None:
    assert read(operation, body) == Done(result)


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"conversations": 7, "id": 7, "status": 7}', b"null"])
def test_what_only_says_200_answers_nothing(operation: str, body: bytes) -> None:
    assert read(operation, body) == Unknown("unreadable_answer")


def test_members_that_are_not_as_documented_do_no_harm() -> None:
    odd = {"conversations": [7, {"id": ["x"], "unread_count": "3", "last_message_at": 5}], "has_more": "yes"}

    assert read("conversations", odd) == Done(
        {
            "conversations": [{"id": "", "participant": "", "last_message_at": None, "unread_count": 0, "status": ""}],
            "next_cursor": None,
            "has_more": False,
        }
    )


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "invalid_request", Refused),
        (401, "unauthorized", Misconfigured),
        (403, "forbidden", Misconfigured),
        (404, "not_found", Refused),
        (429, "rate_limited", Throttled),
        (500, "internal_error", Unknown),
        (502, "", Unknown),
        (503, "service_unavailable", Unavailable),
    ],
)
def test_errors_are_those_of_the_table(operation: str, status: int, code: str, kind: type) -> None:
    found = read(operation, {"error": {"code": code, "message": "…", "status": status}}, status, {"retry-after": "7"})

    assert isinstance(found, kind)
    if isinstance(found, Throttled | Unavailable):
        assert found.retry_after == 7


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_all_of_it_may_be_asked_again(operation: str) -> None:
    assert OPERATIONS[operation].repeatable("")
