"""Aurogy, what its answers mean: every row of its API reference's error table, and answers that nobody documents."""

import json
import time
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.status import Status
from providers.aurogy import PROVIDER, parse_poll, parse_response
from providers.base import (
    Accepted,
    Account,
    Misconfigured,
    Outcome,
    Refused,
    Report,
    Response,
    Scope,
    Throttled,
    Unavailable,
    Unknown,
)

ACCOUNT = Account("aurogy-main", PROVIDER.base_url, {"api_key": "auro_live_sk_0123456789abcdef"})
TO = "auro_usr_5m2q70x1ck"
NOW = 1_776_090_600.0  # 2026-04-13T14:30:00Z
DATE = "Mon, 13 Apr 2026 14:30:00 GMT"


def answer(status: int, body: object = b"", headers: Mapping[str, str] | None = None) -> Response:
    return Response(status, headers or {}, body if isinstance(body, bytes) else json.dumps(body).encode(), NOW)


def error(status: int, code: str) -> Response:
    return answer(status, {"error": {"code": code, "message": f"No user matches {TO}.", "status": status}})


CHECK_KEY = "check api_key and its standing at Aurogy"
PERMIT = "give api_key the permission at Aurogy"
REDIRECT = "a redirect, so check base_url"
# What a send and a poll make of each row of the reference's error table, and of what the table leaves out.
ERRORS: list[tuple[Response, Outcome, Report | Outcome | None]] = [
    (error(400, "invalid_request"), Refused("invalid_request", "invalid_request"), None),
    (error(400, "invalid_recipient"), Refused("invalid_recipient", "invalid_recipient"), None),
    (error(400, "invalid_template"), Refused("invalid_template", "invalid_template"), None),
    (error(400, "media_too_large"), Refused("media_too_large", "media_too_large"), None),
    (error(401, "unauthorized"), Misconfigured(f"unauthorized: {CHECK_KEY}", "unauthorized", Scope.KEY), None),
    (error(403, "forbidden"), Misconfigured(f"forbidden: {PERMIT}", "forbidden", Scope.LANE), None),
    (error(404, "not_found"), Refused("not_found", "not_found"), Report(None, "not_found")),
    (error(429, "rate_limited"), Throttled(None, "rate_limited"), None),
    (error(500, "internal_error"), Unknown("internal_error", "internal_error"), Unavailable(None, "internal_error")),
    (error(503, "service_unavailable"), Unavailable(None, "service_unavailable"), None),
    (answer(301), Misconfigured(f"http_301: {REDIRECT}", "", Scope.LANE), None),
    (answer(308), Misconfigured(f"http_308: {REDIRECT}", "", Scope.LANE), None),
    (answer(400, b"<html>Bad Request</html>"), Refused("http_400"), None),
    (answer(402), Misconfigured(f"http_402: {CHECK_KEY}", "", Scope.KEY), None),
    (answer(404), Refused("http_404"), Report(None, "not_found")),
    (answer(413), Refused("http_413"), None),
    (answer(415), Refused("http_415"), None),
    (answer(422), Refused("http_422"), None),
    (answer(429), Throttled(), None),
    (answer(500), Unknown("http_500"), Unavailable()),
    (answer(502, b"<html>Bad Gateway</html>"), Unknown("http_502"), Unavailable()),
    (answer(503, b"<html>Maintenance</html>"), Unavailable(), None),
    (answer(504), Unknown("http_504"), Unavailable()),
    (answer(599), Unknown("http_599"), Unavailable()),
    (answer(100), Unknown("http_100"), Unavailable()),
    (answer(600), Unknown("http_600"), Unavailable()),
]


@pytest.mark.parametrize(("response", "sent", "polled"), ERRORS)
def test_an_error_says_what_may_happen_next(response: Response, sent: Outcome, polled: Report | Outcome | None) -> None:
    assert parse_response(ACCOUNT, response) == sent
    assert parse_poll(ACCOUNT, response) == (polled or sent)


def test_the_http_status_is_trusted_and_not_its_copy_in_the_body() -> None:
    lying = answer(429, {"error": {"code": "invalid_request", "message": "", "status": 400}})

    assert parse_response(ACCOUNT, lying) == Throttled(None, "invalid_request")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": " 30 "}, 30.0),
        ({"retry-after": "86401"}, 86_401.0),
        ({"retry-after": "-30"}, None),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "٣٠"}, None),
        ({"retry-after": "Mon, 13 Apr 2026 14:31:30 GMT"}, 90.0),  # no Date: read against our clock
        ({"retry-after": "Mon, 13 Apr 2026 14:31:30 GMT", "date": "nonsense"}, 90.0),
        ({"retry-after": "Mon, 13 Apr 2026 15:01:30 GMT", "date": "Mon, 13 Apr 2026 15:00:00 GMT"}, 90.0),
        ({"retry-after": "Mon, 13 Apr 2026 14:29:00 GMT", "date": DATE}, 0.0),
        ({"x-ratelimit-reset": "1776090660"}, None),  # an instant, never a duration
    ],
)
def test_retry_after_is_carried_by_429_and_503(headers: dict[str, str], seconds: float | None) -> None:
    for parse in (parse_response, parse_poll):
        assert parse(ACCOUNT, answer(429, headers=headers)) == Throttled(seconds)
        assert parse(ACCOUNT, answer(503, headers=headers)) == Unavailable(seconds)
    assert parse_poll(ACCOUNT, answer(500, headers=headers)) == Unavailable(seconds)


@pytest.mark.parametrize("value", ["99999999999", "9" * 400, "9" * 5000, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_huge_retry_after_is_still_a_long_wait(value: str) -> None:
    throttled = parse_response(ACCOUNT, answer(429, headers={"retry-after": value}))

    assert isinstance(throttled, Throttled)
    assert throttled.retry_after is not None
    assert throttled.retry_after == 366 * 86_400


@pytest.mark.parametrize("value", ["Mon Apr 13 14:31:30 2026", "Mon, 13 Apr 2026 14:31:30 -0000"])
def test_a_retry_after_date_is_in_gmt_whatever_our_own_zone(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Africa/Lagos")
    time.tzset()
    try:
        assert parse_response(ACCOUNT, answer(429, headers={"retry-after": value})) == Throttled(90.0)
    finally:
        monkeypatch.undo()
        time.tzset()


QUEUED = {"id": "msg_k3v9c1t7w2b8", "status": "queued", "to": TO, "created_at": "2026-04-13T14:30:00Z"}
TEN_MB = 10 * 1024 * 1024


@pytest.mark.parametrize(
    "response",
    [
        answer(200, QUEUED),
        answer(200, {**QUEUED, "media_cid": "bafybeih3examplecid7q"}),
        answer(200, {**QUEUED, "template": "order_confirmation"}),
        answer(201, QUEUED),
        answer(200, QUEUED, {"content-type": "text/html"}),
        answer(200, {**QUEUED, "status": "teleported"}),
        answer(200, {**QUEUED, "status": ["queued"]}),
        answer(200, {**QUEUED, "padding": "x" * TEN_MB}),
    ],
    ids=str,
)
def test_a_2xx_with_an_id_is_accepted_under_it(response: Response) -> None:
    assert parse_response(ACCOUNT, response) == Accepted("msg_k3v9c1t7w2b8", Status.ACCEPTED)


@pytest.mark.parametrize(
    ("word", "status"), [("sent", Status.SENT), ("delivered", Status.DELIVERED), ("failed", Status.FAILED)]
)
def test_a_2xx_may_say_how_far_the_message_is_already(word: str, status: Status) -> None:
    assert parse_response(ACCOUNT, answer(200, {**QUEUED, "status": word})) == Accepted("msg_k3v9c1t7w2b8", status)


NO_OBJECT = {
    "empty": b"",
    "HTML": b"<!doctype html><title>Welcome</title>",
    "cut short": b'{"id":"msg_k3v9c1t7w2b8","sta',
    "not UTF-8": b'{"id":"\xff\xfe"}',
    "list": b'[{"id":"msg_1"}]',
    "null": b"null",
    "number": b"1",
    "string": b'"msg_1"',
    "NaN": b"NaN",
    "endless number": b"1" * 5000,
    "deep lists": b"[" * TEN_MB,
    "deep objects": b'{"id":' * 100_000,
    "10 MB of HTML": b"<p>".ljust(TEN_MB, b"x"),
    "empty object": b"{}",
}
NO_ID = {
    **{
        f"id {value}": b'{"id":%b,"status":"queued"}' % value.encode()
        for value in (
            "null",
            "7",
            "true",
            "[]",
            "{}",
            '""',
            '" "',
            '".."',
            '"../profile"',
            '"a b"',
            '"a\\u0000"',
            '"a\\ud800"',
        )
    },
    "endless id": json.dumps({"id": "m" * 256}).encode(),
}


@pytest.mark.parametrize("body", NO_OBJECT.values(), ids=NO_OBJECT.keys())
def test_a_2xx_that_is_not_the_apis_own_json_is_unknown(body: bytes) -> None:
    """A portal on the way says 200 to anything: that is no acceptance."""
    assert parse_response(ACCOUNT, answer(200, body)) == Unknown("unreadable_answer")


@pytest.mark.parametrize("body", NO_ID.values(), ids=NO_ID.keys())
def test_a_2xx_without_a_usable_id_is_accepted_without_one(body: bytes) -> None:
    assert parse_response(ACCOUNT, answer(200, body)) == Accepted(None, Status.ACCEPTED)


@pytest.mark.parametrize("body", (NO_OBJECT | NO_ID).values(), ids=(NO_OBJECT | NO_ID).keys())
def test_an_error_with_a_hostile_body_keeps_its_meaning(body: bytes) -> None:
    assert parse_response(ACCOUNT, answer(400, body)) == Refused("http_400")
    assert parse_response(ACCOUNT, answer(502, body)) == Unknown("http_502")


@pytest.mark.parametrize("wrong", [None, 7, [], "invalid_request", {"code": None}, {"code": 7}, {"code": ["x"]}, {}])
def test_an_error_of_the_wrong_shape_has_no_code(wrong: object) -> None:
    assert parse_response(ACCOUNT, answer(400, {"error": wrong})) == Refused("http_400")


@pytest.mark.parametrize("code", [TO, "+4915112345678", "No user matches ana@example.org", "x" * 65, "", "a\nb"])
def test_nothing_that_could_be_a_recipient_becomes_a_reason(code: str) -> None:
    assert parse_response(ACCOUNT, error(400, code)) == Refused("http_400")
    assert parse_response(ACCOUNT, error(500, code)) == Unknown("http_500")


@pytest.mark.parametrize(
    ("word", "report"),
    [
        ("queued", Report(Status.ACCEPTED)),
        ("sent", Report(Status.SENT)),
        ("delivered", Report(Status.DELIVERED)),
        ("read", Report(Status.READ)),
        ("failed", Report(Status.FAILED, "not_delivered")),
        ("archived", Report(None, "unknown_status archived")),
        ("Delivered", Report(None, "unknown_status")),
        ("lost by auro_usr_5m2q70x1ck", Report(None, "unknown_status")),
        (None, Report(None, "unknown_status")),
        (1, Report(None, "unknown_status")),
        (["read"], Report(None, "unknown_status")),
        ({"read": True}, Report(None, "unknown_status")),
    ],
)
def test_a_poll_reports_the_status_and_an_unknown_word_reports_nothing(word: object, report: Report) -> None:
    polled = {**QUEUED, "status": word, "delivered_at": "2026-04-13T14:30:02Z", "read_at": None}

    assert parse_poll(ACCOUNT, answer(200, polled)) == report


@pytest.mark.parametrize("body", [b"", b"<html>", b"null", b"[]", b"7", b"[" * 100_000, b"{}"])
def test_a_poll_with_a_hostile_body_reports_nothing(body: bytes) -> None:
    assert parse_poll(ACCOUNT, answer(200, body)) == Report(None, "unknown_status")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
ANSWER = st.fixed_dictionaries({}, optional=dict.fromkeys(("id", "status", "error"), JSON))
ERROR = st.fixed_dictionaries({"error": st.fixed_dictionaries({}, optional={"code": JSON, "message": JSON})})
RESPONSES = st.builds(
    Response,
    status=st.integers(-1, 1000) | st.sampled_from([200, 400, 401, 403, 404, 429, 500, 503]),
    headers=st.dictionaries(st.sampled_from(["retry-after", "date", "content-type"]), st.text() | st.just(DATE)),
    body=st.binary() | (JSON | ANSWER | ERROR).map(lambda value: json.dumps(value).encode()),
    received_at=st.just(NOW),
)


@given(RESPONSES)
def test_no_answer_makes_a_parser_raise_or_contradict_its_status(response: Response) -> None:
    sent, polled = parse_response(ACCOUNT, response), parse_poll(ACCOUNT, response)

    assert isinstance(sent, Outcome)
    assert isinstance(polled, Outcome | Report)
    if 200 <= response.status < 300:
        assert isinstance(sent, Accepted | Unknown)
    else:
        assert isinstance(sent, Unknown) == (not 200 <= response.status < 500 and response.status != 503)
    assert not isinstance(polled, Accepted | Unknown)
    if isinstance(sent, Throttled | Unavailable):
        assert sent.retry_after is None or sent.retry_after >= 0
