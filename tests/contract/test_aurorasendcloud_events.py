"""AuroraSendCloud's webhooks, of both kinds and both generations: which are genuine, and what each of them says."""

import hashlib
import hmac
import json
import subprocess
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.status import Status
from providers.aurorasendcloud.hooks import nonce, verify_email, verify_sms
from providers.aurorasendcloud.hooks import parse_email as _parse_email
from providers.aurorasendcloud.hooks import parse_sms as _parse_sms
from providers.base import Account, Event, Inbound

SECRET = "sc_app_9d2f6b7c41e8"
ACCOUNT = Account("mail-main", "https://api.aurorasendcloud.com", {"webhook_secret": SECRET}, {})
ANA, PHONE = "ana@example.org", "+447700900123"
MAIL_ID = "1776090600123_7041_25239_6195.sg-10_1_253_1-inbound0$ana@example.org"
SMS_ID = "1776090610123_7041_2_29999_ab3xq9$+447700900123"
FORM, JSON = "application/x-www-form-urlencoded", "application/json; charset=utf-8"
# The reference's worked examples.
MAIL_BODY = (
    b"event=deliver&message=Successfully+delivered&apiUser=acme_api&category=7041"
    b"&emailId=1776090600123_7041_25239_6195.sg-10_1_253_1-inbound0%24ana%40example.org&recipient=ana%40example.org"
    b"&outIp=203.0.113.25&labelId=0&labelName=&timestamp=1776090602345"
    b"&token=Zk3vQ9sLw2YbT7nRc5XhJ8dMf1GpV6uAe4KiBo0NqStUyWxzHr"
    b"&signature=a31f613c2c466efac4752345351ebd6411a5ec0d7bea798c029fbfe6c2d930ed"
    b"&userHeaders=%7B%22SC-Custom-dispatch-id%22%3A%22dsp_01HZX3%22%7D"
)
SMS_BODY = (
    b'{"event":"Delivered","eventType":20,"message":"Successfully delivered","userId":19999,"smsUser":"acme_sms",'
    b'"smsId":"1776090610123_7041_2_29999_ab3xq9$+447700900123","templateId":29999,"phone":"+447700900123",'
    b'"outboundTime":"2026-04-13 22:30:10","receiptTime":"2026-04-13 22:30:11","msgCount":1,'
    b'"timestamp":1776090611000,"token":"m4RbY8cXw1QzL6tGv3NhK9sPd2FjU7eAo5ViBxC0qTnWyHrJkE",'
    b'"signature":"8c80fd50a2c5e610a654260dc21a0b462ed737817c24452d12ff67ccc3dd0c83"}'
)
MAIL_AT, SMS_AT = 1_776_090_602.345, 1_776_090_611.0
HOUR = 3600.0


def inbound(body: bytes, content_type: str, at: float = MAIL_AT) -> Inbound:
    return Inbound("POST", "/hooks/mail-main", "", {"content-type": content_type} if content_type else {}, body, at)


def signature(message: str) -> str:
    return hmac.new(SECRET.encode(), message.encode(), hashlib.sha256).hexdigest()


def signed(fields: dict[str, Any], content_type: str = FORM) -> Inbound:
    """Fields as they would be posted, at once."""
    proof = {"timestamp": 1776090602345, "token": "t" * 50}
    whole = fields | proof | {"signature": signature(f"{proof['timestamp']}{proof['token']}")}
    if content_type == JSON:
        return inbound(json.dumps(whole).encode(), JSON)
    text = {name: value if isinstance(value, str) else json.dumps(value) for name, value in whole.items()}
    return inbound(urlencode(text).encode(), FORM)


def mail(content_type: str = FORM, **fields: Any) -> list[Event]:
    return list(_parse_email(ACCOUNT, signed(fields, content_type)))


def sms(content_type: str = JSON, **fields: Any) -> list[Event]:
    return list(_parse_sms(ACCOUNT, signed(fields, content_type)))


# Genuine or not


def test_the_references_examples_are_genuine() -> None:
    assert len(MAIL_BODY) == 445
    assert verify_email(ACCOUNT, inbound(MAIL_BODY, FORM))
    assert verify_sms(ACCOUNT, inbound(SMS_BODY, JSON, SMS_AT))


@given(timestamp=st.integers(10**9, 10**15), token=st.text("azAZ09", min_size=1, max_size=60))
def test_the_signature_is_openssls(timestamp: int, token: str) -> None:
    """Checked against a second implementation."""
    command = ["openssl", "dgst", "-sha256", "-hmac", SECRET, "-r"]
    made = subprocess.run(command, input=f"{timestamp}{token}".encode(), capture_output=True, check=True).stdout
    fields = {"timestamp": str(timestamp), "token": token, "signature": made.split()[0].decode()}
    at = timestamp / 1000 if timestamp >= 10**11 else timestamp

    assert verify_email(ACCOUNT, inbound(urlencode(fields).encode(), FORM, at))
    assert verify_email(ACCOUNT, inbound(json.dumps(fields).encode(), JSON, at))
    assert not verify_email(ACCOUNT, inbound(urlencode(fields | {"token": token + "a"}).encode(), FORM, at))


@pytest.mark.parametrize(
    "change",
    [
        (b"timestamp=1776090602345", b"timestamp=1776090602346"),
        (b"timestamp=1776090602345", b"timestamp=01776090602345"),
        (b"timestamp=1776090602345", b"timestamp=1.776090602345e12"),
        (b"token=Zk3", b"token=Zk4"),
        (b"signature=a31f", b"signature=A31F"),
        (b"signature=a31f", b"signature="),
        (b"&signature=", b"&other="),
        (b"&token=", b"&other="),
    ],
)
def test_any_other_timestamp_token_or_signature_is_not(change: tuple[bytes, bytes]) -> None:
    assert not verify_email(ACCOUNT, inbound(MAIL_BODY.replace(*change), FORM))


def test_a_number_is_signed_as_it_was_written() -> None:
    text = "1776090602345.0"
    body = f'{{"timestamp":{text},"token":"t","signature":"{signature(text + "t")}"}}'.encode()

    assert not verify_email(ACCOUNT, inbound(body, JSON))  # genuine or not: it is no time
    assert verify_email(ACCOUNT, signed({"event": "open"}, JSON))


def test_without_a_secret_or_with_another_nothing_is_genuine() -> None:
    for credentials in ({}, {"webhook_secret": ""}, {"webhook_secret": "sc_app_other"}):
        other = Account("mail-main", ACCOUNT.base_url, credentials, {})
        assert not verify_email(other, inbound(MAIL_BODY, FORM))
        assert not verify_sms(other, inbound(SMS_BODY, JSON, SMS_AT))


@pytest.mark.parametrize("late", [1, -1])
def test_an_event_is_fresh_for_two_hours_or_by_sms_for_26(late: int) -> None:
    assert verify_email(ACCOUNT, inbound(MAIL_BODY, FORM, MAIL_AT + late * (2 * HOUR - 1)))
    assert not verify_email(ACCOUNT, inbound(MAIL_BODY, FORM, MAIL_AT + late * (2 * HOUR + 1)))
    assert verify_sms(ACCOUNT, inbound(SMS_BODY, JSON, SMS_AT + late * (26 * HOUR - 1)))
    assert not verify_sms(ACCOUNT, inbound(SMS_BODY, JSON, SMS_AT + late * (26 * HOUR + 1)))


def test_how_long_is_a_setting() -> None:
    strict = Account("mail-main", ACCOUNT.base_url, ACCOUNT.credentials, {"webhook.replay_window": 60.0})

    assert verify_email(strict, inbound(MAIL_BODY, FORM, MAIL_AT + 59))
    assert not verify_email(strict, inbound(MAIL_BODY, FORM, MAIL_AT + 61))


def test_the_nonce_is_the_token_in_either_encoding() -> None:
    assert nonce(ACCOUNT, inbound(MAIL_BODY, FORM)) == "Zk3vQ9sLw2YbT7nRc5XhJ8dMf1GpV6uAe4KiBo0NqStUyWxzHr"
    assert nonce(ACCOUNT, inbound(SMS_BODY, JSON)) == "m4RbY8cXw1QzL6tGv3NhK9sPd2FjU7eAo5ViBxC0qTnWyHrJkE"
    assert nonce(ACCOUNT, inbound(b"", FORM)) == ""


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/vnd.aurora+json", FORM])
def test_where_the_content_type_does_not_say_the_body_does(content_type: str) -> None:
    if content_type != FORM:
        assert verify_sms(ACCOUNT, inbound(SMS_BODY, content_type, SMS_AT))
    if "json" not in content_type:
        assert verify_email(ACCOUNT, inbound(MAIL_BODY, content_type))


# What e-mail events say


def test_the_references_mail_event_says_delivered_and_names_our_message() -> None:
    [event] = _parse_email(ACCOUNT, inbound(MAIL_BODY, FORM))

    assert (event.kind, event.status, event.reason) == ("status", Status.DELIVERED, "")
    assert (event.provider_message_id, event.recipient, event.at) == (MAIL_ID, ANA, MAIL_AT)
    assert (event.message_id, event.opted_out) == ("", "")  # an underscore: not an id of ours
    [own] = mail(event="deliver", emailId=MAIL_ID, userHeaders='{"Sc-Custom-Dispatch-Id":"01HZX3TBN5"}')
    assert own.message_id == "01HZX3TBN5"


@pytest.mark.parametrize("content_type", [FORM, JSON])
@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        ("deliver", Status.DELIVERED, ""),
        ("delivered", Status.DELIVERED, ""),
        ("Delivered", Status.DELIVERED, ""),
        ("open", Status.READ, ""),
        ("invalid", Status.FAILED, "not_delivered"),
        ("invalid_email", Status.FAILED, "not_delivered"),
        ("invalid-email", Status.FAILED, "not_delivered"),
        ("soft_bounce", Status.FAILED, "not_delivered"),
        ("soft-bounce", Status.FAILED, "not_delivered"),
    ],
)
def test_reports_of_both_generations_are_read(content_type: str, name: str, status: Status, reason: str) -> None:
    [event] = mail(content_type, event=name, emailId=MAIL_ID)

    assert (event.kind, event.status, event.reason) == ("status", status, reason)
    assert (event.provider_message_id, event.recipient) == (MAIL_ID, ANA)


@pytest.mark.parametrize("name", ["substat", "subStat", "sub_stat"])
@pytest.mark.parametrize(
    ("code", "reason", "opted_out"),
    [
        (401, "401 suppressed: on the platform's block list", ANA),
        (402, "402 suppressed: unsubscribed", ANA),
        (406, "406 address does not exist", ANA),
        (503, "503 soft bounce: service not available", ""),
        (777, "unknown_code_777", ""),
        ("bad address ana@example.org", "not_delivered", ""),
    ],
)
def test_a_failure_has_its_sub_status(name: str, code: object, reason: str, opted_out: str) -> None:
    for content_type in (FORM, JSON):
        [event] = mail(content_type, event="invalid", emailId=MAIL_ID, **{name: code})
        assert (event.status, event.reason, event.opted_out) == (Status.FAILED, reason, opted_out)


def test_a_request_names_its_mails_in_a_list_or_in_the_text_of_one() -> None:
    ids = [MAIL_ID, MAIL_ID.replace("ana", "ben")]
    for content_type in (FORM, JSON):
        one, two = mail(content_type, event="request", emailIds=ids, recipientArray=[ANA, "ben@example.org"])
        assert (one.status, two.status) == (Status.ACCEPTED, Status.ACCEPTED)
        assert (two.provider_message_id, two.recipient) == (ids[1], "ben@example.org")
        assert one.key != two.key


def test_a_click_says_read_and_tells_the_application() -> None:
    status, clicked = mail(JSON, event="click", emailId=MAIL_ID, url="https://www.example.com/offer", labelId=7)

    assert (status.kind, status.status) == ("status", Status.READ)
    assert (clicked.kind, clicked.status, clicked.recipient) == ("link_clicked", None, ANA)
    assert (clicked.data["url"], clicked.data["labelId"]) == ("https://www.example.com/offer", 7)
    assert not {"token", "signature"} & clicked.data.keys()
    assert clicked.key != status.key


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("unsubscribe", "unsubscribe"),
        ("report_spam", "report_spam"),
        ("spam-report", "report_spam"),
    ],
)
def test_who_wants_no_more_is_named_and_no_status_changes(name: str, kind: str) -> None:
    [event] = mail(event=name, emailId=MAIL_ID, recipient=ANA)

    assert (event.kind, event.status, event.opted_out) == (kind, None, ANA)


@pytest.mark.parametrize("nothing", [0, "0", ""])
def test_a_sub_status_of_nothing_leaves_an_unsubscribe_what_it_is(nothing: object) -> None:
    [event] = mail(event="unsubscribe", emailId=MAIL_ID, recipient=ANA, subStat=nothing)
    assert (event.kind, event.opted_out) == ("unsubscribe", ANA)

    [event] = mail(event="invalid", emailId=MAIL_ID, recipient=ANA, subStat=nothing)
    assert (event.status, event.reason) == (Status.FAILED, "not_delivered")


def test_an_unsubscribe_with_a_sub_status_is_a_misprinted_invalid() -> None:
    [event] = mail(event="unsubscribe", emailId=MAIL_ID, subStat=404)

    assert (event.kind, event.status, event.reason, event.opted_out) == (
        "status",
        Status.FAILED,
        "404 address malformed",
        "",
    )


def test_inbound_mail_and_what_is_new_are_handed_on() -> None:
    [route] = mail(event="route", to="in@mail.example.com", subject="Re: Hello", text="Hi")
    [new] = mail(JSON, event="Greylisted", emailId=MAIL_ID, tries=2)

    assert (route.kind, route.data["subject"]) == ("message_received", "Re: Hello")
    assert (new.kind, new.data["tries"], new.status) == ("greylisted", 2, None)


def test_the_same_event_has_the_same_key_and_any_other_another() -> None:
    first = _parse_email(ACCOUNT, inbound(MAIL_BODY, FORM))
    retried = _parse_email(ACCOUNT, inbound(MAIL_BODY, FORM, MAIL_AT + 60))
    later = _parse_email(ACCOUNT, inbound(MAIL_BODY.replace(b"1776090602345", b"1776090602346"), FORM))
    other = _parse_email(ACCOUNT, inbound(MAIL_BODY.replace(b"event=deliver", b"event=open"), FORM))

    assert first[0].key == retried[0].key
    assert len({first[0].key, later[0].key, other[0].key}) == 3
    route = [mail(event="route", subject=subject)[0].key for subject in ("one", "two", "one")]
    assert route[0] == route[2] != route[1]


# What SMS events say


def test_the_references_sms_event_says_delivered() -> None:
    [event] = _parse_sms(ACCOUNT, inbound(SMS_BODY, JSON, SMS_AT))

    assert (event.kind, event.status, event.reason) == ("status", Status.DELIVERED, "")
    assert (event.provider_message_id, event.recipient, event.at) == (SMS_ID, PHONE, SMS_AT)


@pytest.mark.parametrize(
    ("name", "kind", "status"),
    [
        ("request", 1, Status.ACCEPTED),
        ("Requested", "1", Status.ACCEPTED),
        ("deliver", 2, Status.DELIVERED),
        ("Delivered", 20, Status.DELIVERED),
        ("workererror", 4, Status.FAILED),
        ("Suppressed", 4, Status.FAILED),
        ("delivererror", 5, Status.FAILED),
        ("Failed", "5", Status.FAILED),
        ("whatever", 20, Status.DELIVERED),  # the type comes first
        ("DELIVERED", None, Status.DELIVERED),
        ("workerError", 77, Status.FAILED),
    ],
)
@pytest.mark.parametrize("content_type", [FORM, JSON])
def test_sms_reports_are_read_by_type_and_then_by_name(
    name: str, kind: object, status: Status, content_type: str
) -> None:
    more = {} if kind is None else {"eventType": kind}
    [event] = sms(content_type, event=name, smsId=SMS_ID, **more)

    assert (event.kind, event.status, event.provider_message_id) == ("status", status, SMS_ID)
    assert event.recipient == PHONE  # from the id


@pytest.mark.parametrize(
    ("code", "reason", "opted_out"),
    [
        (410, "410 suppressed: on the global block list", PHONE),
        (420, "420 suppressed: on the account's block list", PHONE),
        (430, "430 suppressed: unsubscribed", PHONE),
        (440, "440 invalid number", ""),
        (490, "490 suppressed, other", ""),
        (510, "510 number suspended", ""),
        ("530", "530 busy", ""),
        (590, "590 other failure", ""),
        (599, "unknown_code_599", ""),
        (None, "not_delivered", ""),
        (447700900123, "not_delivered", ""),
    ],
)
def test_an_sms_failure_has_its_code(code: object, reason: str, opted_out: str) -> None:
    [event] = sms(event="Failed", eventType=5, smsId=SMS_ID, statusCode=code)

    assert (event.status, event.reason, event.opted_out) == (Status.FAILED, reason, opted_out)


def test_several_sms_are_named_in_lists_or_in_the_texts_of_lists() -> None:
    ids, phones = [SMS_ID, SMS_ID.replace("123_", "124_")], [PHONE, "+447700900124"]
    for given_ids, given_phones in ((ids, phones), (json.dumps(ids), json.dumps(phones))):
        one, two = sms(event="request", eventType=1, smsIds=given_ids, phones=given_phones)
        assert (one.recipient, two.recipient) == tuple(phones)
        assert (one.provider_message_id, two.provider_message_id) == tuple(ids)


def test_a_plus_that_was_not_encoded_is_one_all_the_same() -> None:
    body = f"event=Delivered&eventType=20&smsId={SMS_ID.partition('$')[0]}&phone={PHONE}".encode()
    [event] = _parse_sms(ACCOUNT, inbound(body, FORM))

    assert event.recipient == PHONE


def test_so_is_one_in_an_id_and_in_an_address_so_that_no_opt_out_is_lost() -> None:
    body = f"event=Delivered&eventType=20&smsId={SMS_ID}&timestamp=1776090611000".encode()
    [delivered] = _parse_sms(ACCOUNT, inbound(body, FORM))
    assert (delivered.provider_message_id, delivered.recipient) == (SMS_ID, PHONE)

    body = b"event=unsubscribe&emailId=1_0$ana+news@example.org&recipient=ana+news@example.org&timestamp=1776090602345"
    [gone] = _parse_email(ACCOUNT, inbound(body, FORM))
    assert (gone.provider_message_id, gone.opted_out) == ("1_0$ana+news@example.org", "ana+news@example.org")


@pytest.mark.parametrize("args", ['{"dispatch_id":"01HZX3TBN5","order":"4821"}', {"dispatch_id": "01HZX3TBN5"}])
def test_our_id_comes_back_in_custom_args(args: object) -> None:
    [event] = sms(event="Delivered", eventType=20, smsId=SMS_ID, customArgs=args)

    assert event.message_id == "01HZX3TBN5"


@pytest.mark.parametrize(("name", "kind"), [("templateVerify", 8), ("Template Verify", None)])
def test_a_templates_review_is_told_to_the_application(name: str, kind: object) -> None:
    [event] = sms(event=name, eventType=kind, templateId=29999, verfiyResult=-1)

    assert (event.kind, event.status) == ("template_reviewed", None)
    assert (event.data["templateId"], event.data["verfiyResult"]) == (29999, -1)


# Whatever comes


@given(st.binary(max_size=300), st.sampled_from([FORM, JSON, "", "multipart/form-data"]))
def test_nothing_is_too_strange_to_be_read(body: bytes, content_type: str) -> None:
    for event in (
        *_parse_email(ACCOUNT, inbound(body, content_type)),
        *_parse_sms(ACCOUNT, inbound(body, content_type)),
    ):
        json.dumps(event.data)
    assert not verify_email(ACCOUNT, inbound(body, content_type))
    assert not verify_sms(ACCOUNT, inbound(body, content_type))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"event":"deliver"}',
        b'{"event":"deliver","emailId":"with a space"}',
        b'{"event":"request","emailIds":"not a list"}',
        b'{"event":"status","emailId":"x"}',
        b'{"event":["deliver"]}',
        b'{"event":"a sentence about ana@example.org"}',
    ],
)
def test_what_says_nothing_is_left_to_be_kept_as_it_came(body: bytes) -> None:
    assert list(_parse_email(ACCOUNT, inbound(body, JSON))) == []
    assert list(_parse_sms(ACCOUNT, inbound(body, JSON))) == []
