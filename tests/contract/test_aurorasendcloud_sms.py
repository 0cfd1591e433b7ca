"""AuroraSendCloud's SMS, the facts: requests byte for byte, what a message may hold, and what answers mean."""

import json
import re
from typing import Any
from urllib.parse import parse_qsl

import pytest

from paceline.capabilities import check
from paceline.errors import InvalidMessage
from paceline.messages import Email, Message, Template, Text
from providers.aurorasendcloud.sms import PROVIDER, build_request, parse_response
from providers.base import (
    Accepted,
    Account,
    Misconfigured,
    Outcome,
    Refused,
    Response,
    Scope,
    Submission,
    Throttled,
    Unavailable,
    Unknown,
)

ACCOUNT = Account("sms-main", PROVIDER.base_url, {"sms_user": "acme_sms", "sms_key": "k_demo"}, {})
TO = "+447700900123"
CODE = Template(TO, "29999", variables={"code": "492817"})
SMS_ID = "1776090610123_7041_2_29999_ab3xq9$+447700900123"
NOW = 1_776_090_611.0


def fields(submission: Submission) -> dict[str, str]:
    return dict(parse_qsl(build_request(ACCOUNT, submission).body.decode("ascii"), strict_parsing=True))


def test_a_send_begins_byte_for_byte_with_the_references_form() -> None:
    request = build_request(ACCOUNT, Submission("dsp_01HZY9", CODE))

    assert (request.method, request.url) == ("POST", "https://api.aurorasendcloud.com/smsapi/send")
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert request.body == (
        b"smsUser=acme_sms&smsKey=k_demo&templateId=29999&phone=%2B447700900123"
        b"&vars=%7B%22code%22%3A%22492817%22%7D&sendRequestId=dsp_01HZY9"
        b"&customArgs=%7B%22dispatch_id%22%3A%22dsp_01HZY9%22%7D"
    )


def test_metadata_comes_back_in_custom_args_where_it_fits_into_128_characters() -> None:
    short = fields(Submission("id", CODE, {"order": "4821", "dispatch_id": "not ours"}))
    fitting = fields(Submission("id", CODE, {"x": "é" * 101}))
    long = fields(Submission("id", CODE, {"x": "é" * 102}))

    assert json.loads(short["customArgs"]) == {"order": "4821", "dispatch_id": "id"}
    assert len(fitting["customArgs"]) == 128
    assert json.loads(long["customArgs"]) == {"dispatch_id": "id"}


def test_custom_args_of_ones_own_travel_whole_and_our_id_and_metadata_where_they_leave_room() -> None:
    def args(given: object, metadata: dict[str, str]) -> Any:
        check(PROVIDER.capabilities(ACCOUNT), "sms-main", CODE, metadata, {"customArgs": given})
        return json.loads(fields(Submission("id", CODE, metadata, {"customArgs": given}))["customArgs"])

    order = {"order": "4821"}
    assert args({"a": 1}, order) == {"order": "4821", "a": 1, "dispatch_id": "id"}
    assert args('{"a": [1, 2]}', {}) == {"a": [1, 2], "dispatch_id": "id"}
    assert args({"a": "x" * 95}, order) == {"a": "x" * 95, "dispatch_id": "id"}
    assert args({"a": "x" * 120}, order) == {"a": "x" * 120}


def test_a_timestamp_travels_as_it_is() -> None:
    assert fields(Submission("id", CODE, {}, {"timestamp": "1776090600"}))["timestamp"] == "1776090600"


def test_a_sender_id_is_an_option_and_a_template_without_variables_sends_none() -> None:
    sent = fields(Submission("id", Template(TO, "29999"), options={"senderID": "ACME"}))

    assert sent["senderID"] == "ACME"
    assert "vars" not in sent


@pytest.mark.parametrize("message", [CODE, Template("+123456789012345", "1"), Template("+1234567", "9" * 18)])
def test_a_template_to_a_number_is_taken(message: Message) -> None:
    check(PROVIDER.capabilities(ACCOUNT), "sms-main", message, {"order": "4821"}, {"senderID": "ACME Ltd"})


@pytest.mark.parametrize(
    ("message", "options", "rule"),
    [
        (Text(TO, "free text"), {}, "message: account sms-main carries template, not text"),
        (Template("447700900123", "29999"), {}, "to: must be a number in E.164"),
        (Template(" 447700900123", "29999"), {}, "to: must be a number in E.164"),
        (Template("+4477009001231234", "29999"), {}, "to: must be a number in E.164"),
        (Template(f"{TO},+447700900124", "29999"), {}, "to: must be a number in E.164"),
        (Template(TO, "hello"), {}, "template: must be the number of an approved template"),
        (Template(TO, "29999", "en"), {}, "language: account sms-main has no such field"),
        (CODE, {"senderID": "AC"}, "options.senderID: must have at least 3 characters"),
        (CODE, {"senderID": "A" * 12}, "options.senderID: must have at most 11 characters"),
    ],
)
def test_anything_else_is_refused(message: Message, options: dict[str, Any], rule: str) -> None:
    with pytest.raises(InvalidMessage, match=f"^{re.escape(rule)}"):
        check(PROVIDER.capabilities(ACCOUNT), "sms-main", message, None, options)


def test_a_kind_that_was_not_checked_is_a_bug() -> None:
    with pytest.raises(TypeError, match="no email message"):
        build_request(ACCOUNT, Submission("id", Email("ana@example.org", "Hi", text="Hi")))


def answer(body: object, status: int = 200) -> Outcome:
    return parse_response(ACCOUNT, Response(status, {}, json.dumps(body).encode(), NOW))


def test_an_accepted_number_has_its_id_whether_or_not_result_is_stated() -> None:
    info = {"successCount": 1, "failedCount": 0, "items": [], "smsIds": [SMS_ID]}

    assert answer({"result": True, "statusCode": 200, "message": "success", "info": info}) == Accepted(
        SMS_ID, code="200"
    )
    assert answer({"statusCode": 200, "message": "success", "info": info}) == Accepted(SMS_ID, code="200")


def test_a_success_is_read_for_our_one_number() -> None:
    refused = {"successCount": 0, "failedCount": 1, "items": [{"phone": TO, "message": f"{TO} is bad"}], "smsIds": []}

    assert answer({"result": True, "statusCode": 311, "info": refused}) == Refused("311 number refused", "311")
    assert answer({"statusCode": 311, "info": {**refused, "smsIds": [SMS_ID]}}) == Accepted(SMS_ID, code="311")


KEY_HINT = "check the credentials, and the region they belong to"
FIX = "put it right at AuroraSendCloud, then retry"
REFUSALS: list[tuple[int, Outcome]] = [
    (312, Refused("312 all refused", "312")),
    (412, Refused("412 phone malformed", "412")),
    (422, Misconfigured(f"422 signature wrong: {KEY_HINT}", "422", Scope.KEY)),
    (432, Misconfigured(f"432 template not submitted or not approved: {FIX}", "432", Scope.MESSAGE)),
    (471, Misconfigured(f"471 no such SMS user: {KEY_HINT}", "471", Scope.KEY)),
    (496, Throttled(60.0, "496", Scope.MESSAGE)),
    (498, Refused("498 too many to this number within a day", "498")),
    (499, Throttled(3600.0, "499")),
    (501, Unavailable(None, "501")),
    (601, Misconfigured(f"601 no permission: {KEY_HINT}", "601", Scope.KEY)),
    (6001, Misconfigured(f"6001 no permission for this call: {KEY_HINT}", "6001", Scope.LANE)),
    (40005, Misconfigured(f"40005 bad api_user/api_key: {KEY_HINT}", "40005", Scope.KEY)),
    (50000, Throttled(None, "50000")),
    (430, Refused("unknown_code_430", "430")),  # exists in webhooks alone
    (500, Unknown("unknown_code_500", "500")),  # likewise; here it only looks like an HTTP status
]


@pytest.mark.parametrize(("code", "outcome"), REFUSALS)
def test_a_refusal_is_read_by_the_sms_codes_first_and_then_by_the_common_ones(code: int, outcome: Outcome) -> None:
    for body in ({"result": False, "statusCode": code, "message": f"{TO} is bad"}, {"statusCode": code}):
        assert answer(body) == outcome


def test_the_record_is_the_references() -> None:
    assert dict(PROVIDER.limits) == {"send": ("10/second",)}
    assert (PROVIDER.channel, PROVIDER.poll_class, PROVIDER.deduplicates_for) == ("sms", None, 3600)
    assert PROVIDER.base_urls == {}
    assert [it.name for it in PROVIDER.credentials if it.identifies_key] == ["sms_user", "sms_key"]
    for credential in PROVIDER.credentials:
        assert re.fullmatch(credential.pattern or ".+", credential.sandbox)
