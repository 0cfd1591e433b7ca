"""Augnet, what its answers mean: the status alone decides, because no error is documented."""

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.augnet import ERRORS, parse_response
from providers.base import (
    Accepted,
    Misconfigured,
    Outcome,
    Refused,
    Response,
    Scope,
    Throttled,
    Unavailable,
    Unknown,
)
from tests.unit.augnet_support import SID, TO, account

NOW = 1_776_090_600.0  # 2026-04-13T14:30:00Z
DATE = "Mon, 13 Apr 2026 14:30:00 GMT"
QUOTING = {"message": f"The number {TO} is no number."}


def answer(status: int, body: object = b"", headers: Mapping[str, str] | None = None) -> Response:
    return Response(status, headers or {}, body if isinstance(body, bytes) else json.dumps(body).encode(), NOW)


def said(status: int, body: object = b"", headers: Mapping[str, str] | None = None) -> Outcome:
    return parse_response(account(), answer(status, body, headers))


TABLE: list[tuple[int, Outcome]] = [
    (400, Refused("bad_request", "bad_request")),
    (401, Misconfigured("unauthorized: check project_id and api_key", "unauthorized", Scope.KEY)),
    (402, Misconfigured("payment_required: check the balance at Augnet", "payment_required", Scope.KEY)),
    (403, Misconfigured("forbidden: check what the project may do at Augnet", "forbidden", Scope.LANE)),
    (404, Misconfigured("not_found: check base_url", "not_found", Scope.LANE)),
    (415, Misconfigured("unsupported_media_type: check base_url", "unsupported_media_type", Scope.LANE)),
    (422, Refused("unprocessable", "unprocessable")),
    (429, Throttled(None, "too_many_requests")),
    (500, Unknown("server_error", "server_error")),
    (502, Unknown("bad_gateway", "bad_gateway")),
    (503, Unavailable(None, "service_unavailable")),
    (504, Unknown("gateway_timeout", "gateway_timeout")),
]
BEYOND: list[tuple[int, Outcome]] = [
    (301, Misconfigured("http_301: a redirect, so check base_url", scope=Scope.LANE)),
    (308, Misconfigured("http_308: a redirect, so check base_url", scope=Scope.LANE)),
    (405, Refused("http_405")),
    (413, Refused("http_413")),
    (501, Unknown("http_501")),
    (599, Unknown("http_599")),
    (100, Unknown("http_100")),
    (600, Unknown("http_600")),
]


@pytest.mark.parametrize("body", [b"", b"<html>Oops</html>", QUOTING, b"\xff\xfe", {"message": 5}, []], ids=repr)
@pytest.mark.parametrize(("status", "outcome"), TABLE + BEYOND)
def test_an_error_says_what_may_happen_next_whatever_its_body(status: int, outcome: Outcome, body: object) -> None:
    assert said(status, body) == outcome


def test_the_table_is_whole() -> None:
    assert list(ERRORS) == [status for status, _ in TABLE]


def test_no_sentence_of_theirs_is_kept() -> None:
    for status in range(300, 600):
        assert TO not in repr(said(status, QUOTING))
        assert TO.removeprefix("+") not in repr(said(status, QUOTING))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "30"}, 30.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Mon, 13 Apr 2026 14:31:30 GMT"}, 90.0),
        ({"retry-after": "Mon, 13 Apr 2026 15:01:30 GMT", "date": "Mon, 13 Apr 2026 15:00:00 GMT"}, 90.0),
        ({"retry-after": "Mon, 13 Apr 2026 14:29:00 GMT", "date": DATE}, 0.0),
    ],
)
def test_retry_after_is_carried_in_both_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert said(429, headers=headers) == Throttled(seconds, "too_many_requests")
    assert said(503, headers=headers) == Unavailable(seconds, "service_unavailable")


@pytest.mark.parametrize(
    ("body", "sid"),
    [
        ({"sid": SID}, SID),
        ({"sid": "SM42", "price": 0.05, "sids": ["x"]}, "SM42"),  # not a UUID, and with members nobody documents
        ({"sid": SID, "status": "failed"}, SID),
        ({}, None),
        (b" {\n} ", None),
        (b"", None),
        ({"id": SID}, None),
        ({"sid": None}, None),
        ({"sid": 42}, None),
        ({"sid": ""}, None),
        ({"sid": "two words"}, None),
        ({"sid": "x" * 256}, None),
    ],
)
@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_a_2xx_is_an_acceptance_with_or_without_an_id(status: int, body: object, sid: str | None) -> None:
    assert said(status, body) == Accepted(sid)


@pytest.mark.parametrize("body", [b"<html>Welcome</html>", b'{"sid":"0b9d', b"[]", b'"ok"', b"null", b"OK", b"\xff"])
def test_a_2xx_that_is_no_word_of_augnets_leaves_it_unknown(body: bytes) -> None:
    assert said(200, body) == Unknown("unreadable_answer")


@given(status=st.integers(100, 599), body=st.binary(max_size=200), after=st.text(max_size=20))
def test_no_answer_makes_it_raise(status: int, body: bytes, after: str) -> None:
    assert isinstance(said(status, body, {"retry-after": after}), Outcome)
