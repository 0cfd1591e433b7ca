"""Augnet's callbacks: which are believed, and what each of them says."""

import base64
import json
import subprocess
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.status import Status
from providers.augnet import parse_event, verify
from providers.base import Account, Event, Inbound
from tests.unit.augnet_support import EXAMPLE, MESSAGE, PROJECT, SENT, SID, SIGNING_KEY, TO, account, callback, inbound

SIGNED = Inbound("POST", "/webhooks/augnet", "m=01HZX3", EXAMPLE.headers, EXAMPLE.body, SENT)


def keyed(text: str = SIGNING_KEY, **options: Any) -> Account:
    named = {name.replace("__", "."): value for name, value in options.items()}
    return account(named, signing_key=text)


def told(body: bytes | object, message_id: str = "", **more: Any) -> list[Event]:
    return list(parse_event(account(**more), inbound(body, message_id)))


# Which are believed


def test_the_documentations_worked_example_is_believed() -> None:
    assert verify(keyed(), SIGNED)


@pytest.mark.parametrize(
    "forged",
    [
        replace(SIGNED, query="m=01HZX4"),
        replace(SIGNED, query=""),
        replace(SIGNED, path="/webhooks/augnet/"),
        replace(SIGNED, body=SIGNED.body.replace(b"delivered", b"undelivered")),
        replace(SIGNED, headers={}),
        replace(SIGNED, headers={}, message_id=MESSAGE),  # knowing the address is not enough
        replace(SIGNED, headers={**SIGNED.headers, "host": "127.0.0.1:8085"}),
    ],
)
def test_with_a_signing_key_only_a_good_signature_counts(forged: Inbound) -> None:
    assert not verify(keyed(), forged)
    assert not verify(keyed(require_signature=True), forged)


def test_the_signature_must_name_the_accounts_own_project() -> None:
    other = Account("a", "", {"project_id": PROJECT.replace("5f", "6f"), "signing_key": SIGNING_KEY}, {})

    assert not verify(other, SIGNED)
    assert verify(replace(other, credentials={"project_id": PROJECT.upper(), "signing_key": SIGNING_KEY}), SIGNED)


def test_without_a_signing_key_only_a_messages_own_address_counts() -> None:
    assert verify(account(), inbound(callback(), MESSAGE))
    assert not verify(account(), inbound(callback()))
    assert not verify(account(), SIGNED)  # nothing to verify it with


@pytest.mark.parametrize("arrived", [inbound(callback(), MESSAGE), SIGNED])
def test_where_a_signature_is_required_and_there_is_no_key_nothing_counts(arrived: Inbound) -> None:
    assert not verify(account({"require_signature": True}), arrived)


@pytest.mark.parametrize(
    ("text", "encoding", "genuine"),
    [
        (SIGNING_KEY, "utf8", True),
        (base64.b64encode(SIGNING_KEY.encode()).decode(), "base64", True),
        (SIGNING_KEY.encode().hex(), "hex", True),
        (SIGNING_KEY, "base64", False),
        (SIGNING_KEY, "hex", False),
        (SIGNING_KEY.encode().hex(), "utf8", False),
    ],
)
def test_what_the_keys_text_stands_for_is_a_setting(text: str, encoding: str, genuine: bool) -> None:
    assert verify(keyed(text, signing_key_encoding=encoding), SIGNED) is genuine


@pytest.mark.parametrize(
    ("skew", "late", "genuine"),
    [(0.0, 1e9, True), (300.0, 300, True), (300.0, 301, False), (300.0, -301, False), (300.0, -300, True)],
)
def test_how_old_a_callback_may_be_is_a_setting(skew: float, late: float, genuine: bool) -> None:
    assert verify(keyed(signature__max_skew=skew), replace(SIGNED, received_at=SENT + late)) is genuine


def test_with_that_setting_a_date_that_cannot_be_read_is_too_old() -> None:
    headers = {**SIGNED.headers, "date": "today"}
    text = f"(request-target): post /webhooks/augnet?m=01HZX3\ndate: today\ndigest: {headers['digest']}\n"
    headers["authorization"] = headers["authorization"].replace(
        headers["authorization"].partition('signature="')[2][:-1], openssl(text + "host: hooks.example.com")
    )
    signed = replace(SIGNED, headers=headers)

    assert verify(keyed(), signed)
    assert not verify(keyed(signature__max_skew=300.0), signed)


def openssl(text: str) -> str:
    command = ["openssl", "dgst", "-sha256", "-hmac", SIGNING_KEY, "-binary"]
    return base64.b64encode(
        subprocess.run(command, input=text.encode(), capture_output=True, check=True).stdout
    ).decode()


def test_behind_a_proxy_host_and_path_are_the_public_ones() -> None:
    headers = {**SIGNED.headers, "host": "10.0.0.7:8085"}
    inside = replace(SIGNED, path="/augnet", headers=headers)

    assert not verify(keyed(), inside)
    assert not verify(keyed(public_host="hooks.example.com"), inside)
    assert not verify(keyed(public_path_prefix="/webhooks"), inside)
    assert verify(keyed(public_host="hooks.example.com", public_path_prefix="/webhooks"), inside)


# What they say


@pytest.mark.parametrize(
    ("word", "status", "reason"),
    [
        ("queued", Status.ACCEPTED, ""),
        ("sent", Status.SENT, ""),
        ("delivered", Status.DELIVERED, ""),
        (" Delivered ", Status.DELIVERED, ""),
        ("SENT", Status.SENT, ""),
        ("undelivered", Status.FAILED, "not_delivered"),
        ("Undelivered", Status.FAILED, "not_delivered"),
        ("not delivered", Status.FAILED, "not_delivered"),
        ("Not Delivered", Status.FAILED, "not_delivered"),
        ("not_delivered", Status.FAILED, "not_delivered"),
        ("NOT-DELIVERED", Status.FAILED, "not_delivered"),
        ("not  -_delivered", Status.FAILED, "not_delivered"),
        ("NotDelivered", Status.FAILED, "not_delivered"),
        ("failed", Status.FAILED, "not_delivered"),
    ],
)
def test_a_word_is_a_status(word: str, status: Status, reason: str) -> None:
    [event] = told(callback(word), MESSAGE)

    assert (event.kind, event.status, event.reason) == ("status", status, reason)
    assert (event.provider_message_id, event.message_id, event.recipient) == (SID, MESSAGE, TO)
    assert (event.at, event.data) == (None, {})
    assert SID not in repr(event)
    assert TO not in repr(event)


def test_which_words_mean_not_delivered_is_a_setting() -> None:
    options = {"statuses.failed": "Rejected by network, expired"}

    assert [told(callback(word), options=options)[0].status for word in ("rejected-by-network", "EXPIRED")] == [
        Status.FAILED,
        Status.FAILED,
    ]
    assert told(callback("undelivered"), options=options)[0].status is None


@pytest.mark.parametrize("word", ["expired", "sending", "read", "un delivered", "delivered!", "доставлено"])
def test_an_unknown_word_is_kept_and_moves_nothing(word: str) -> None:
    [event] = told(callback(word), MESSAGE)

    assert (event.kind, event.status, event.message_id) == ("unknown_status", None, MESSAGE)
    assert event.data == callback(word)


@pytest.mark.parametrize(
    ("said", "status", "reason"),
    [
        ({"MessageStatus": "sent", "SmsStatus": "delivered"}, Status.SENT, "sms_status_differs"),
        ({"MessageStatus": "Sent", "SmsStatus": "SENT"}, Status.SENT, ""),
        ({"MessageStatus": "failed", "SmsStatus": "sent"}, Status.FAILED, "not_delivered, sms_status_differs"),
        ({"MessageStatus": "odd", "SmsStatus": "sent"}, None, ""),
        ({"MessageStatus": None, "SmsStatus": "sent"}, Status.SENT, ""),
        ({"MessageStatus": "", "SmsStatus": "sent"}, Status.SENT, ""),
        ({"MessageStatus": 5, "SmsStatus": "sent"}, Status.SENT, ""),
        ({"MessageStatus": "sent", "SmsStatus": None}, Status.SENT, ""),
    ],
)
def test_message_status_goes_before_sms_status(said: dict[str, Any], status: Status | None, reason: str) -> None:
    [event] = told(callback(**said))

    assert (event.status, event.reason) == (status, reason)


@pytest.mark.parametrize(
    ("said", "sid"),
    [
        ({"MessageSid": "one", "SmsSid": "two"}, "one"),
        ({"MessageSid": None, "SmsSid": "two"}, "two"),
        ({"MessageSid": "not an id", "SmsSid": "two"}, "two"),
        ({"MessageSid": None, "SmsSid": None}, ""),
    ],
)
def test_message_sid_goes_before_sms_sid(said: dict[str, Any], sid: str) -> None:
    [event] = told(callback(**said), MESSAGE)

    assert (event.provider_message_id, event.message_id) == (sid, MESSAGE)


@pytest.mark.parametrize(
    ("own", "sender", "reason"),
    [
        ("ABCTAXI", "infomessage", "sender_replaced infomessage"),
        ("", "infomessage", "sender_replaced infomessage"),
        ("", "InfoMessage", "sender_replaced infomessage"),
        ("infomessage", "infomessage", ""),
        ("ABCTAXI", "ABCTAXI", ""),
        ("ABCTAXI", None, ""),
        ("ABCTAXI", 5, ""),
    ],
)
def test_a_sender_that_was_replaced_is_told(own: str, sender: object, reason: str) -> None:
    [delivered] = told(callback(From=sender), sender=own)
    [failed] = told(callback("failed", From=sender), sender=own)

    assert (delivered.status, delivered.reason) == (Status.DELIVERED, reason)
    assert failed.reason == ", ".join(filter(None, ["not_delivered", reason]))


def keys(*bodies: object, message_id: str = "") -> int:
    return len({event.key for body in bodies for event in told(body, message_id)})


def test_the_same_word_about_the_same_message_is_the_same_event() -> None:
    same = (callback(), callback("DELIVERED"), callback(From="infomessage"), callback(To="+1"), callback(SmsSid="x"))

    assert keys(*same) == 1
    assert keys(callback(), callback("sent")) == 2
    assert keys(callback(), callback(MessageSid="another")) == 2
    assert keys(callback("odd"), callback("odder")) == 2
    assert keys(callback("not delivered"), callback("not_delivered")) == 1


def test_without_an_id_of_theirs_it_is_the_message_that_is_the_same() -> None:
    nameless = callback(MessageSid=None, SmsSid=None)

    assert keys(nameless, nameless | {"To": "+1"}, message_id=MESSAGE) == 1
    assert {event.key for event in told(nameless, MESSAGE)}.isdisjoint(
        event.key for event in told(nameless, MESSAGE.replace("1", "2"))
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"delivered"',
        b"\xff\xfe",
        b"[" * 100_000,
        b"SmsSid=x&SmsStatus=delivered&MessageSid=x&MessageStatus=delivered",  # another provider's form
        {},
        callback(MessageStatus=None, SmsStatus=None),
        callback("   "),
        callback(MessageSid=None, SmsSid=None),  # and no address of a message's own
        callback(MessageSid="", SmsSid=5),
    ],
    ids=lambda body: repr(body)[:40],
)
def test_what_cannot_be_read_says_nothing(body: bytes | object) -> None:
    assert told(body) == []


ABSENT = object()
# What a member may hold: words and ids that mean something, and what nobody would write. Drawn from a list, because
# making such values up takes longer than all that is tried with them.
VALUES = [
    ABSENT, "delivered", "Not-Delivered", "queued", SID, "infomessage", "", "   ", "\x00", "\ud800", "ż" * 300, "nan",
    None, True, 0, -(2**70), 0.5, float("nan"), float("inf"), [], ["delivered"], {}, {"MessageStatus": "delivered"},
]  # fmt: skip
NAMES = list(callback())


def body_of(values: list[Any]) -> bytes:
    said = {name: value for name, value in zip(NAMES, values, strict=True) if value is not ABSENT}
    return json.dumps(said).encode()


@given(
    body=st.binary(max_size=100)
    | st.lists(st.sampled_from(VALUES), min_size=len(NAMES), max_size=len(NAMES)).map(body_of),
    message_id=st.sampled_from(["", MESSAGE]),
)
def test_no_bytes_make_it_raise(body: bytes, message_id: str) -> None:
    for event in told(body, message_id):
        assert 0 < len(event.key) <= 64
        assert (event.kind == "status") == (event.status is not None)
        assert event.provider_message_id or event.message_id
        json.dumps(event.data).encode()
    verify(keyed(), inbound(body, message_id))
