"""aulm, what its answers mean: every row of its API reference's error table, and answers that nobody documents."""

import json
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paceline.status import Status
from providers.aulm import PROVIDER, parse_probe, parse_response
from providers.aulm.wire import ERRORS
from providers.base import (
    Accepted,
    Account,
    Misconfigured,
    Outcome,
    Refused,
    Remaining,
    Response,
    Scope,
    Throttled,
    Unavailable,
    Unknown,
)

ACCOUNT = Account("aulm-main", PROVIDER.base_url, {"api_key": "k", "session_id": "s"})
TO = "+966512345678"
NOW = 1_779_963_342.0  # 2026-05-28T10:15:42Z
DATE = "Thu, 28 May 2026 10:15:42 GMT"
MIDNIGHT = "2026-05-29T00:00:00.000Z"
UNTIL_MIDNIGHT = 49_458.0  # seconds from NOW


def answer(status: int, body: object = b"", headers: Mapping[str, str] | None = None) -> Response:
    return Response(status, headers or {}, body if isinstance(body, bytes) else json.dumps(body).encode(), NOW)


def error(status: int, code: str, headers: Mapping[str, str] | None = None) -> Response:
    return answer(status, {"error": {"code": code, "message": f"No session may write to {TO}."}}, headers)


KEY = "check api_key and its standing in aulm's dashboard"
SESSION = "check the session that session_id names in aulm's dashboard"
REDIRECT = "a redirect, so check base_url"
# What a send makes of each row of the reference's error table, and a probe where that is not the same.
TABLE: list[tuple[int, str, Outcome, Outcome | None]] = [
    (400, "invalid_json", Refused("invalid_json", "invalid_json"), None),
    (400, "invalid_request", Refused("invalid_request", "invalid_request"), None),
    *(
        (401, code, Misconfigured(f"{code}: {KEY}", code, Scope.KEY), None)
        for code in (
            "missing_authorization",
            "invalid_authorization",
            "invalid_api_key",
            "api_key_revoked",
            "api_key_expired",
            "account_deactivated",
        )
    ),
    (429, "too_many_auth_failures", Throttled(60.0, "too_many_auth_failures", Scope.ADDRESS), None),
    (
        404,
        "session_not_found",
        Misconfigured(f"session_not_found: {SESSION}", "session_not_found", Scope.LANE),
        None,
    ),
    (403, "session_disabled", Misconfigured(f"session_disabled: {SESSION}", "session_disabled", Scope.LANE), None),
    (
        403,
        "session_not_allowed",
        Misconfigured("session_not_allowed: let api_key use the session", "session_not_allowed", Scope.LANE),
        None,
    ),
    (409, "session_not_ready", Unavailable(None, "session_not_ready", probe_first=True), None),
    (429, "daily_quota_exceeded", Throttled(None, "daily_quota_exceeded", Scope.KEY), None),
    (
        429,
        "trial_quota_exceeded",
        Misconfigured(
            "trial_quota_exceeded: the trial is over or used up, choose a plan in aulm's dashboard",
            "trial_quota_exceeded",
            Scope.KEY,
        ),
        None,
    ),
    (
        504,
        "messaging_service_timeout",
        Unknown("messaging_service_timeout", "messaging_service_timeout"),
        Unavailable(None, "messaging_service_timeout", probe_first=True),
    ),
    *(
        (status, code, Unavailable(None, code), Unavailable(None, code, probe_first=True))
        for status, code in (
            (502, "messaging_service_unreachable"),
            (502, "messaging_service_error"),
            (503, "service_unavailable"),
        )
    ),
]
NOT_YET = Unavailable(None, "", probe_first=True)
UNDOCUMENTED: list[tuple[Response, Outcome, Outcome | None]] = [
    (answer(301), Misconfigured(f"http_301: {REDIRECT}", "", Scope.LANE), None),
    (answer(308), Misconfigured(f"http_308: {REDIRECT}", "", Scope.LANE), None),
    (answer(400, b"<html>Bad Request</html>"), Refused("http_400"), None),
    (answer(401, b"<html>"), Misconfigured(f"http_401: {KEY}", "", Scope.KEY), None),
    (error(401, "key_on_holiday"), Misconfigured(f"key_on_holiday: {KEY}", "key_on_holiday", Scope.KEY), None),
    (answer(402), Misconfigured(f"http_402: {KEY}", "", Scope.KEY), None),
    (answer(403), Misconfigured(f"http_403: {SESSION}", "", Scope.LANE), None),
    (answer(404), Refused("http_404"), None),
    (error(409, "conflict"), Refused("conflict", "conflict"), None),
    (answer(413), Refused("http_413"), None),
    (error(422, "invalid_request"), Refused("invalid_request", "invalid_request"), None),
    (answer(429), Throttled(), None),
    (answer(500), Unknown("http_500"), NOT_YET),
    # A code is believed with its own status alone: a gateway's 502 says nothing of where the message is.
    (answer(502, b"<html>Bad Gateway</html>"), Unknown("http_502"), NOT_YET),
    (error(500, "service_unavailable"), Unknown("service_unavailable", "service_unavailable"), Unavailable(
        None, "service_unavailable", probe_first=True)),
    (answer(503, b"<html>Maintenance</html>"), Unavailable(), NOT_YET),
    (answer(504), Unknown("http_504"), NOT_YET),
    (answer(599), Unknown("http_599"), NOT_YET),
    (answer(100), Unknown("http_100"), NOT_YET),
    (answer(600), Unknown("http_600"), NOT_YET),
]  # fmt: skip


@pytest.mark.parametrize(("status", "code", "sent", "probed"), TABLE)
def test_every_row_of_the_error_table_says_what_may_happen_next(
    status: int, code: str, sent: Outcome, probed: Outcome | None
) -> None:
    assert parse_response(ACCOUNT, error(status, code)) == sent
    assert parse_probe(ACCOUNT, error(status, code)) == (probed or sent)


def test_the_table_is_whole() -> None:
    assert set(ERRORS) == {(status, code) for status, code, _, _ in TABLE}
    assert len(ERRORS) == 19


@pytest.mark.parametrize(("response", "sent", "probed"), UNDOCUMENTED)
def test_what_is_not_in_the_table_goes_by_its_status(response: Response, sent: Outcome, probed: Outcome | None) -> None:
    assert parse_response(ACCOUNT, response) == sent
    assert parse_probe(ACCOUNT, response) == (probed or sent)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (429, "too_many_auth_failures"),
        (429, "daily_quota_exceeded"),
        (429, "slow_down"),
        (409, "session_not_ready"),
        (502, "messaging_service_error"),
        (503, "service_unavailable"),
    ],
)
def test_retry_after_is_read_wherever_it_appears(status: int, code: str) -> None:
    waiting = parse_response(ACCOUNT, error(status, code, {"retry-after": "90"}))

    assert isinstance(waiting, Throttled | Unavailable)
    assert waiting.retry_after == 90.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"x-ratelimit-reset": MIDNIGHT}, UNTIL_MIDNIGHT),
        ({"x-ratelimit-reset": MIDNIGHT, "date": "Thu, 28 May 2026 23:00:00 GMT"}, 3600.0),  # by aulm's own clock
        ({"x-ratelimit-reset": MIDNIGHT, "date": "nonsense"}, UNTIL_MIDNIGHT),
        ({"x-ratelimit-reset": MIDNIGHT, "retry-after": "7"}, 7.0),
        ({"x-ratelimit-reset": "2026-05-28T10:00:00Z"}, 0.0),
        ({"x-ratelimit-reset": "1779926400"}, None),  # never an epoch
        ({"x-ratelimit-reset": "soon"}, None),
    ],
)
def test_a_spent_day_is_waited_for_until_its_reset(headers: dict[str, str], seconds: float | None) -> None:
    spent = parse_response(ACCOUNT, error(429, "daily_quota_exceeded", headers))

    assert spent == Throttled(seconds, "daily_quota_exceeded", Scope.KEY)


def test_the_reset_is_nobody_elses_wait() -> None:
    headers = {"x-ratelimit-reset": MIDNIGHT}

    assert parse_response(ACCOUNT, error(429, "too_many_auth_failures", headers)) == Throttled(
        60.0, "too_many_auth_failures", Scope.ADDRESS
    )
    assert parse_response(ACCOUNT, answer(429, headers=headers)) == Throttled()


LEFT = {"x-ratelimit-limit": "1000", "x-ratelimit-remaining": "412", "x-ratelimit-reset": MIDNIGHT, "date": DATE}


@pytest.mark.parametrize(
    ("response", "left"),
    [
        (answer(201, headers=LEFT), Remaining(86_400.0, 412, UNTIL_MIDNIGHT)),
        (answer(201, headers=LEFT | {"date": "Thu, 28 May 2026 23:59:59 GMT"}), Remaining(86_400.0, 412, 1.0)),
        (answer(201, headers={**LEFT, "date": ""}), Remaining(86_400.0, 412, UNTIL_MIDNIGHT)),
        (answer(201, headers=LEFT | {"x-ratelimit-remaining": "0"}), Remaining(86_400.0, 0, UNTIL_MIDNIGHT)),
        (
            error(429, "daily_quota_exceeded", LEFT | {"x-ratelimit-remaining": "0"}),
            Remaining(86_400.0, 0, UNTIL_MIDNIGHT),
        ),
        (error(429, "trial_quota_exceeded", LEFT), None),
        (error(429, "too_many_auth_failures", LEFT), None),
        (error(409, "session_not_ready", LEFT), None),
        (answer(200, headers=LEFT), None),
        (answer(503, headers=LEFT), None),
        (answer(201), None),
        (answer(201, headers=LEFT | {"x-ratelimit-remaining": "-1"}), None),
        (answer(201, headers=LEFT | {"x-ratelimit-remaining": "many"}), None),
        (answer(201, headers=LEFT | {"x-ratelimit-remaining": "٤١٢"}), None),
        (answer(201, headers=LEFT | {"x-ratelimit-remaining": "9" * 400}), None),
        (answer(201, headers=LEFT | {"x-ratelimit-reset": "1779926400"}), None),
        (answer(201, headers=LEFT | {"x-ratelimit-reset": "2026-05-28T10:15:42Z"}), None),  # it has happened
        (answer(201, headers=LEFT | {"x-ratelimit-reset": "2026-06-02T09:00:00Z"}), None),  # a trial's
    ],
    ids=str,
)
def test_what_is_left_of_the_day_is_read_where_it_is_documented(response: Response, left: Remaining | None) -> None:
    assert PROVIDER.remaining(ACCOUNT, response) == left


SENT = {
    "message_id": "3EB0C767D26A1D8F2B4E",
    "session_id": "9b2f4c1e-6d3a-4e57-a1c8-0f7d5b3e2a94",
    "to": TO,
    "status": "sent",
    "simulated": False,
}
TEN_MB = 10 * 1024 * 1024


@pytest.mark.parametrize(
    "response",
    [
        answer(201, {"data": SENT, "request_id": "7d1c0b3a-52e4-4f8e-9a6d-2b8c1f0e4d55"}),
        answer(200, {"data": SENT}),
        answer(201, {"data": SENT}, {"content-type": "text/html"}),
        answer(201, {"data": {**SENT, "status": "teleported"}}),
        answer(201, {"data": {**SENT, "status": ["sent"]}}),
        answer(201, {"data": {**SENT, "simulated": "no"}}),
        answer(201, {"data": SENT, "padding": "x" * TEN_MB}),
    ],
    ids=lambda response: f"{response.status} {response.body[:40]!r}",
)
def test_a_201_is_sent_under_the_engines_id(response: Response) -> None:
    assert parse_response(ACCOUNT, response) == Accepted("3EB0C767D26A1D8F2B4E", Status.SENT)


def test_a_simulated_message_says_so() -> None:
    simulated = answer(201, {"data": {**SENT, "message_id": "sim_4f1d9c", "simulated": True}})

    assert parse_response(ACCOUNT, simulated) == Accepted("sim_4f1d9c", Status.SENT, note="simulated")


NOT_THE_APIS = {
    "empty": b"",
    "HTML": b"<!doctype html><title>Welcome</title>",
    "cut short": b'{"data":{"message_id":"3EB0","sta',
    "not UTF-8": b'{"data":{"message_id":"\xff"}}',
    "list": b'[{"data":{}}]',
    "null": b"null",
    "no data": b'{"ok":true}',
    "empty data": b'{"data":{}}',
    "data of another kind": b'{"data":[1]}',
    "an error": b'{"error":{"code":"invalid_request"}}',
    "deep": b'{"data":' * 100_000,
}


@pytest.mark.parametrize("body", NOT_THE_APIS.values(), ids=NOT_THE_APIS.keys())
def test_a_2xx_that_is_not_the_apis_own_json_is_unknown(body: bytes) -> None:
    assert parse_response(ACCOUNT, answer(201, body)) == Unknown("unreadable_answer")
    assert parse_probe(ACCOUNT, answer(200, body)) == Unavailable(None, "unreadable_answer", probe_first=True)


@pytest.mark.parametrize("wrong", [None, 7, "", " ", "a b", "é", "m" * 256, ["x"]])
def test_a_201_without_a_usable_id_is_sent_without_one(wrong: object) -> None:
    assert parse_response(ACCOUNT, answer(201, {"data": {**SENT, "message_id": wrong}})) == Accepted(None, Status.SENT)


@pytest.mark.parametrize("code", [TO, "No session for +966512345678", "x" * 65, "", "a\nb", None, 7, ["x"]])
def test_nothing_that_could_be_a_recipient_becomes_a_reason(code: object) -> None:
    assert parse_response(ACCOUNT, answer(400, {"error": {"code": code}})) == Refused("http_400")


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        ("connected", Accepted()),
        ("disconnected", Unavailable(None, "disconnected", probe_first=True)),
        ("awaiting_scan", Unavailable(None, "awaiting_scan", probe_first=True)),
        ("Connected", Unavailable(None, "unreadable_answer", probe_first=True)),
        ("banned", Unavailable(None, "banned", probe_first=True)),  # an open set: only one word means that it can send
        (True, Unavailable(None, "unreadable_answer", probe_first=True)),
        (None, Unavailable(None, "unreadable_answer", probe_first=True)),
    ],
)
def test_only_a_connected_session_can_send(state: object, outcome: Outcome) -> None:
    assert parse_probe(ACCOUNT, answer(200, {"data": {"session_id": "s", "status": state}})) == outcome


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
CODES = st.sampled_from([code for _, code in ERRORS]) | JSON
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "data": st.fixed_dictionaries({}, optional=dict.fromkeys(("message_id", "status", "simulated"), JSON)) | JSON,
        "error": st.fixed_dictionaries({}, optional={"code": CODES}) | JSON,
    },
)
RESPONSES = st.builds(
    Response,
    status=st.integers(-1, 1000) | st.sampled_from([201, *(status for status, _ in ERRORS)]),
    headers=st.dictionaries(
        st.sampled_from(["retry-after", "date", "x-ratelimit-remaining", "x-ratelimit-reset"]),
        st.text() | st.sampled_from([DATE, MIDNIGHT, "7", "0001-01-01T00:00:00+23:59"]),
    ),
    body=st.binary() | (JSON | BODIES).map(lambda value: json.dumps(value).encode()),
    received_at=st.just(NOW),
)


@settings(deadline=None)  # a busy machine is not a defect
@given(RESPONSES)
def test_no_answer_makes_a_parser_raise_or_contradict_its_status(response: Response) -> None:
    sent, probed, left = (
        parse_response(ACCOUNT, response),
        parse_probe(ACCOUNT, response),
        PROVIDER.remaining(ACCOUNT, response),
    )

    assert isinstance(sent, Outcome)
    assert isinstance(sent, Accepted | Unknown) or not 200 <= response.status < 300
    assert isinstance(probed, Accepted | Refused | Misconfigured | Throttled | Unavailable)
    assert not isinstance(probed, Unavailable) or probed.probe_first
    if isinstance(sent, Throttled | Unavailable):
        assert sent.retry_after is None or sent.retry_after >= 0
    if left is not None:
        assert left.left >= 0
        assert 0 < left.reset_in <= 86_460
