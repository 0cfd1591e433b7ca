"""Aurogy's webhooks, against the worked example of its API reference."""

import hashlib
import hmac

from sandbox.aurogy.events import Inbound, inbound_data, instant, signature, status_event, webhook_headers

SECRET = "auro_whsec_4f1d9c7b2e"
BODY = (
    b'{"event":"message.delivered","timestamp":"2026-04-13T14:30:02Z","data":{"message_id":"msg_a1b2c3d4e5f6",'
    b'"to":"auro_usr_8f3k29d1a7","status":"delivered","timestamp":"2026-04-13T14:30:02Z"}}'
)
DELIVERED_AT = 1776090602.9  # 2026-04-13 14:30:02 and a bit


def test_the_worked_example_is_signed_as_printed() -> None:
    assert len(BODY) == 188
    assert signature(BODY, SECRET) == "9500baa2b610a6a096226f447785e35ba4cdcb480a71dec5e73b41786ede2145"


def test_the_signature_is_of_the_raw_bytes() -> None:
    spaced = BODY.replace(b'":', b'": ').replace(b',"', b', "')
    assert len(spaced) == 200
    assert signature(spaced, SECRET) == "07e39fffb227bb59b115ac96d1f56f124bffb4dec7f67934075ac0534683ad8b"


def test_a_status_event_is_written_byte_for_byte_like_the_example() -> None:
    event = status_event("msg_a1b2c3d4e5f6", "auro_usr_8f3k29d1a7", "delivered", DELIVERED_AT)
    assert event.body == BODY
    assert (
        webhook_headers(event, SECRET, 1)["X-Aurogy-Signature"]
        == hmac.new(SECRET.encode(), BODY, hashlib.sha256).hexdigest()
    )


def test_a_failure_carries_its_error() -> None:
    event = status_event("msg_1", "auro_usr_1", "failed", DELIVERED_AT)
    assert event.name == "message.failed"
    assert b'"error":{"code":"undeliverable","message":"' in event.body


def test_instants_are_whole_seconds_in_utc() -> None:
    assert instant(DELIVERED_AT) == "2026-04-13T14:30:02Z"


def test_an_inbound_message_has_the_documented_data_and_what_the_test_gave() -> None:
    inbound = Inbound(event="message.received", data={"from": "auro_usr_1", "text": "When?"})
    data = inbound_data(inbound, "conv_1", DELIVERED_AT)
    assert list(data) == ["message_id", "conversation_id", "from", "type", "text", "timestamp"]
    assert (data["conversation_id"], data["from"], data["text"]) == ("conv_1", "auro_usr_1", "When?")


def test_a_payment_is_in_auro() -> None:
    data = inbound_data(Inbound(event="payment.received", data={"from": "u"}), "", DELIVERED_AT)
    assert list(data) == ["payment_id", "from", "amount", "currency", "timestamp"]
    assert data["currency"] == "AURO"
