"""AuroraSendCloud's answers: the body is the verdict, in the reference's order, and the HTTP status only the rest."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.status import Status
from providers.aurorasendcloud.email import PROVIDER, parse_poll, parse_probe, parse_response
from providers.aurorasendcloud.sms import parse_response as parse_sms
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

ACCOUNT = Account("mail-main", PROVIDER.base_url, {}, {})
ANA = "ana@example.org"
MAIL_ID = "1776090600123_7041_25239_6195.sg-10_1_253_1-inbound0$ana@example.org"
NOW = 1_776_090_600.0
KEY_HINT = "check the credentials, and the region they belong to"
FIX = "put it right at AuroraSendCloud, then retry"


def answer(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(status, headers or {}, body if isinstance(body, bytes) else json.dumps(body).encode(), NOW)


def refusal(code: object, status: int = 200, **more: Any) -> Response:
    return answer({"result": False, "statusCode": code, "message": f"{ANA} is bad", "info": {}} | more, status)


def taken(**more: Any) -> dict[str, Any]:
    return {"result": True, "statusCode": 200, "message": "ok", "info": {"emailIdList": [MAIL_ID]}} | more


def test_the_references_answers_are_read() -> None:
    assert parse_response(ACCOUNT, answer(taken())) == Accepted(MAIL_ID, code="200")
    assert parse_response(ACCOUNT, refusal(40005)) == Misconfigured(
        f"40005 bad api_user/api_key: {KEY_HINT}", "40005", Scope.KEY
    )


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        # `result: true` is a success whatever the code; one that says otherwise is noted.
        (taken(statusCode=40903), Accepted(MAIL_ID, code="40903")),
        (taken(statusCode=40907), Accepted(MAIL_ID, code="40907")),
        (
            taken(statusCode=40806),
            Accepted(MAIL_ID, code="40806", note="40806 an address in the recipient list is illegal"),
        ),
        (taken(statusCode=12345), Accepted(MAIL_ID, code="12345", note="unknown_code_12345")),
        (taken(statusCode=None), Accepted(MAIL_ID, note="no_code")),
        (taken(result="true", statusCode="200"), Accepted(MAIL_ID, code="200")),
        ({"result": True, "statuscode": 200, "info": {}}, Accepted(code="200")),
        ({"result": True, "statusCode": 40821, "info": {"maillistTaskId": [267131]}}, Accepted(code="40821")),
        # Without `result` the code decides.
        ({"statusCode": 200, "info": {"emailIdList": [MAIL_ID]}}, Accepted(MAIL_ID, code="200")),
        ({"statusCode": 40806}, Refused("40806 an address in the recipient list is illegal", "40806")),
        ({"statusCode": 40905}, Refused("40905 quota check passed", "40905")),
        # `result: false` is classified by its code, whatever the spelling of its name.
        ({"result": False, "statusCode": 40903}, Accepted(code="40903", note="40903 e-mail sent")),
        ({"result": False, "statusCode": 40907}, Refused("40907 no template match needed for this API user", "40907")),
        ({"result": False, "statuscode": 50000, "message": "interface frequency limited"}, Throttled(None, "50000")),
        ({"result": "False", "StatusCode": "50001"}, Throttled(None, "50001")),
        (
            {"result": False, "statusCode": 40824},
            Misconfigured(f"40824 template not approved: {FIX}", "40824", Scope.MESSAGE),
        ),
        (
            {"result": False, "statusCode": 6001},
            Misconfigured(f"6001 no permission for this call: {KEY_HINT}", "6001", Scope.LANE),
        ),
        (
            {"result": False, "statusCode": 40820},
            Misconfigured(f"40820 no permission for address lists: {KEY_HINT}", "40820", Scope.KEY),
        ),
        ({"result": False, "statusCode": 40913}, Throttled(3600.0, "40913")),
        ({"result": False, "statusCode": 40912}, Throttled(3600.0, "40912")),
        ({"result": False, "statusCode": 40901}, Unavailable(None, "40901")),
        ({"result": False, "statusCode": 501}, Unavailable(None, "501")),
        # What is in no table: numbers like those of HTTP mean what they mean there, all others are permanent.
        ({"result": False, "statusCode": 400}, Refused("unknown_code_400", "400")),
        ({"result": False, "statusCode": 403}, Refused("unknown_code_403", "403")),
        ({"result": False, "statusCode": 401}, Misconfigured(f"unknown_code_401: {KEY_HINT}", "401", Scope.KEY)),
        ({"result": False, "statusCode": 429}, Throttled(None, "429")),
        ({"result": False, "statusCode": 503}, Unavailable(None, "503")),
        ({"result": False, "statusCode": 500}, Unknown("unknown_code_500", "500")),
        ({"result": False, "statusCode": 599}, Unknown("unknown_code_599", "599")),
        ({"result": False, "statusCode": 600}, Refused("unknown_code_600", "600")),
        ({"result": False, "statusCode": 12345}, Refused("unknown_code_12345", "12345")),
        ({"result": False}, Refused("no_code")),
        # A code of eleven digits could be somebody's phone.
        ({"result": False, "statusCode": 447700900123}, Refused("no_code")),
        ({"result": False, "statusCode": "+447700900123"}, Refused("no_code")),
        ({"result": False, "statusCode": True}, Refused("no_code")),
    ],
)
def test_the_body_is_the_verdict(body: object, outcome: Outcome) -> None:
    assert parse_response(ACCOUNT, answer(body)) == outcome


@pytest.mark.parametrize("status", [200, 400, 401, 403, 429, 500, 502])
def test_the_http_status_changes_nothing_about_a_body_that_decides(status: int) -> None:
    assert parse_response(ACCOUNT, answer(taken(), status)) == Accepted(MAIL_ID, code="200")
    assert parse_response(ACCOUNT, refusal(40806, status)) == Refused(
        "40806 an address in the recipient list is illegal", "40806"
    )
    assert parse_response(ACCOUNT, refusal(40901, status)) == Unavailable(None, "40901")


@pytest.mark.parametrize(
    ("status", "body", "outcome", "asked"),
    [
        (200, b"<html>Welcome</html>", Unknown("unreadable_answer"), Unavailable()),
        (200, b'{"result":true,"statusCode":200,"inf', Unknown("unreadable_answer"), Unavailable()),
        (200, b"[]", Unknown("unreadable_answer"), Unavailable()),
        (200, b'{"message":"ok"}', Unknown("unreadable_answer"), Unavailable()),
        (301, b"", Misconfigured("http_301: a redirect, so check base_url", "", Scope.LANE), None),
        (400, b"<html>", Refused("http_400"), None),
        (401, b"", Misconfigured(f"http_401: {KEY_HINT}", "", Scope.KEY), None),
        (403, b"<html>", Refused("http_403"), None),
        (404, b"<html>", Misconfigured("http_404: check base_url and the options below paths", "", Scope.LANE), None),
        (413, b"", Refused("http_413"), None),
        (429, b"", Throttled(), None),
        (500, b"<html>", Unknown("http_500"), Unavailable()),
        (502, b"<html>", Unknown("http_502"), Unavailable()),
        (503, b"<html>", Unavailable(), None),
        (504, b"", Unknown("http_504"), Unavailable()),
        (401, b'{"result":false}', Misconfigured(f"http_401: {KEY_HINT}", "", Scope.KEY), None),
        (429, b'{"result":false}', Throttled(), None),
        (503, b'{"result":false,"message":"maintenance"}', Unavailable(), None),
    ],
)
def test_a_body_that_decides_nothing_leaves_it_to_the_status(
    status: int, body: bytes, outcome: Outcome, asked: Outcome | None
) -> None:
    response = answer(body, status)

    assert parse_response(ACCOUNT, response) == parse_sms(ACCOUNT, response) == outcome
    assert parse_poll(ACCOUNT, response) == parse_probe(ACCOUNT, response) == (asked or outcome)


def test_a_503_is_unavailable_whatever_number_its_body_repeats() -> None:
    assert parse_response(ACCOUNT, refusal(500, 503)) == Unavailable(None, "500")
    assert parse_response(ACCOUNT, refusal(500, 500)) == Unknown("unknown_code_500", "500")


def test_a_retry_after_is_a_promise_even_where_none_is_documented() -> None:
    wait = {"retry-after": "30"}

    assert parse_response(ACCOUNT, answer({"result": False, "statusCode": 50000}, 200, wait)) == Throttled(
        30.0, "50000"
    )
    assert parse_response(ACCOUNT, answer({"result": False, "statusCode": 40913}, 200, wait)) == Throttled(
        30.0, "40913"
    )
    assert parse_response(ACCOUNT, answer(b"", 503, wait)) == Unavailable(30.0)
    assert parse_response(ACCOUNT, answer({"result": False, "statusCode": 40901}, 200, wait)) == Unavailable(
        30.0, "40901"
    )


def test_how_often_a_used_up_quota_is_tried_again_is_a_setting() -> None:
    patient = Account("mail-main", PROVIDER.base_url, {}, {"quota.recheck": 7200.0})

    assert parse_response(patient, refusal(40904)) == Throttled(7200.0, "40904")


@pytest.mark.parametrize("listed", [[], "x", None, [None], [7], ["with space"], ["x" * 1000]])
def test_an_id_that_is_none_is_left_out(listed: object) -> None:
    assert parse_response(ACCOUNT, answer(taken(info={"emailIdList": listed}))) == Accepted(code="200")
    assert parse_response(ACCOUNT, answer(taken(info=listed))) == Accepted(code="200")


def found(**item: Any) -> Response:
    mail = {"emailId": MAIL_ID, "recipients": ANA, "sendLog": f"{ANA} did something", "subStatus": 0} | item
    return answer({"result": True, "statusCode": 200, "info": {"total": "1", "voListSize": 1, "voList": [mail]}})


@pytest.mark.parametrize(
    ("item", "report"),
    [
        ({"status": "delivered"}, Report(Status.DELIVERED)),
        ({"status": "Delivered", "subStatus": None}, Report(Status.DELIVERED)),
        ({"status": 1}, Report(Status.DELIVERED)),
        ({"status": "sending"}, Report(Status.ACCEPTED)),
        ({"status": "18"}, Report(Status.ACCEPTED)),
        ({"status": "invalid"}, Report(Status.FAILED, "not_delivered")),
        ({"status": "soft bounce"}, Report(Status.FAILED, "not_delivered")),
        ({"status": 5, "subStatus": 410}, Report(Status.FAILED, "not_delivered")),
        ({"status": "undelivered"}, Report(None, "unknown_status")),
        ({"status": f"gone to {ANA}"}, Report(None, "unknown_status")),
        ({}, Report(None, "unknown_status")),
        ({"subStatus": 401}, Report(Status.FAILED, "401 suppressed: on the platform's block list", opted_out=True)),
        ({"subStatus": "402"}, Report(Status.FAILED, "402 suppressed: unsubscribed", opted_out=True)),
        ({"subStatus": 403, "status": "invalid"}, Report(Status.FAILED, "403 server unreachable")),
        ({"subStatus": 404}, Report(Status.FAILED, "404 address malformed")),
        ({"subStatus": 405}, Report(Status.FAILED, "405 IP or domain rejected")),
        ({"subStatus": 406}, Report(Status.FAILED, "406 address does not exist", opted_out=True)),
        ({"subStatus": 407}, Report(Status.FAILED, "407 judged spam")),
        ({"subStatus": 408}, Report(Status.FAILED, "408 sender or recipient rejected")),
        ({"subStatus": 409}, Report(Status.FAILED, "409 other")),
        ({"subStatus": 503}, Report(Status.FAILED, "503 soft bounce: service not available")),
        ({"subStatus": 505}, Report(Status.FAILED, "505 soft bounce: IP or domain rejected")),
        ({"subStatus": 506}, Report(Status.FAILED, "506 soft bounce: address does not exist")),
        ({"subStatus": 507}, Report(Status.FAILED, "507 soft bounce: spam")),
        ({"subStatus": 508}, Report(Status.FAILED, "508 soft bounce: rejected")),
        ({"subStatus": 509}, Report(Status.FAILED, "509 soft bounce: other")),
    ],
)
def test_a_poll_reads_the_sub_status_first_and_then_the_status(item: dict[str, Any], report: Report) -> None:
    assert parse_poll(ACCOUNT, found(**item)) == report


@pytest.mark.parametrize("info", [{}, {"voList": []}, {"voList": None}, {"voList": ["x"]}, None])
def test_a_poll_that_finds_nothing_says_so(info: object) -> None:
    assert parse_poll(ACCOUNT, answer({"result": True, "statusCode": 200, "info": info})) == Report(None, "not_found")


def test_a_refused_question_is_read_like_a_refused_send_except_that_nothing_about_it_is_unknown() -> None:
    for parse in (parse_poll, parse_probe):
        assert parse(ACCOUNT, refusal(50000)) == Throttled(None, "50000")
        assert parse(ACCOUNT, refusal(500)) == Unavailable(None, "500")
        assert parse(ACCOUNT, refusal(40005)) == parse_response(ACCOUNT, refusal(40005))
    assert parse_probe(ACCOUNT, found(status="delivered")) == Accepted(code="200")


def everywhere(value: object) -> bytes:
    info = {"emailIdList": value, "voList": value, "smsIds": value, "items": value}
    return json.dumps({"result": value, "statusCode": value, "info": info}).encode()


ANYTHING = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5)


@given(st.binary(max_size=200) | ANYTHING.map(everywhere))
def test_no_answer_is_too_strange_and_none_is_quoted(body: bytes) -> None:
    for parse in (parse_response, parse_poll, parse_probe, parse_sms):
        outcome = parse(ACCOUNT, answer(body))
        assert getattr(outcome, "code", "").isdigit() or not getattr(outcome, "code", "")


def test_no_sentence_of_the_providers_is_kept() -> None:
    for code in (40005, 40806, 40824, 12345, 500, None):
        assert ANA not in repr(parse_response(ACCOUNT, refusal(code)))
    assert ANA not in repr(parse_poll(ACCOUNT, found(status=ANA)))
