"""Aurogy's webhooks, by its API reference 1.0: which are genuine, and what each of them says."""

import hmac
import json
import subprocess
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from paceline.status import Status
from providers.answers import sha256
from providers.aurogy import PROVIDER, parse_event, verify
from providers.base import Account, Event, Inbound

SECRET = "auro_whsec_4f1d9c7b2e"
BODY = (
    b'{"event":"message.delivered","timestamp":"2026-04-13T14:30:02Z","data":{"message_id":"msg_a1b2c3d4e5f6",'
    b'"to":"auro_usr_8f3k29d1a7","status":"delivered","timestamp":"2026-04-13T14:30:02Z"}}'
)
SIGNATURE = "9500baa2b610a6a096226f447785e35ba4cdcb480a71dec5e73b41786ede2145"
SPACED = "07e39fffb227bb59b115ac96d1f56f124bffb4dec7f67934075ac0534683ad8b"  # of the same JSON, written with spaces
PRODUCED = datetime(2026, 4, 13, 14, 30, 2, tzinfo=UTC).timestamp()


def account(secret: str | None = SECRET, freshness: float = 0.0) -> Account:
    credentials = {"api_key": "auro_test_sk_0123456789"} | ({} if secret is None else {"webhook_secret": secret})
    return Account("aurogy-main", PROVIDER.base_url, credentials, {"webhook.freshness": freshness})


def inbound(body: bytes | object, signature: str | None = None, at: float = PRODUCED) -> Inbound:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {} if signature is None else {"x-aurogy-signature": signature}
    return Inbound("POST", "/hooks/aurogy-main", "", headers, raw, at)


def told(body: bytes | object) -> list[Event]:
    return list(parse_event(account(), inbound(body)))


def test_the_references_worked_example_is_genuine() -> None:
    assert len(BODY) == 188
    assert verify(account(), inbound(BODY, SIGNATURE))


def test_the_same_json_in_other_bytes_has_another_signature() -> None:
    spaced = json.dumps(json.loads(BODY)).encode()

    assert len(spaced) == 200
    assert not verify(account(), inbound(spaced, SIGNATURE))
    assert verify(account(), inbound(spaced, SPACED))


@given(body=st.binary(max_size=300), secret=st.text("0123456789abcdef_", min_size=1, max_size=40))
@example(body=BODY, secret=SECRET)
def test_the_signature_is_openssls(body: bytes, secret: str) -> None:
    """Checked against a second implementation, for any bytes."""
    command = ["openssl", "dgst", "-sha256", "-hmac", secret, "-r"]
    other = subprocess.run(command, input=body, capture_output=True, check=True).stdout.split()[0].decode()

    assert verify(account(secret), inbound(body, other))
    assert not verify(account(secret + "0"), inbound(body, other))
    assert not verify(account(secret), inbound(body + b" ", other))


@pytest.mark.parametrize(
    "signature",
    [
        None,
        "",
        SIGNATURE[:-1],
        SIGNATURE + "0",
        SIGNATURE.upper(),
        f"sha256={SIGNATURE}",
        f"{SIGNATURE}, {SIGNATURE}",  # a header that came twice
        "é" * 64,
        "\ud800" * 64,
        "0" * 64,
    ],
)
def test_anything_but_the_signature_is_refused(signature: str | None) -> None:
    assert not verify(account(), inbound(BODY, signature))


@pytest.mark.parametrize("secret", [None, ""])
def test_without_a_secret_nothing_is_genuine(secret: str | None) -> None:
    signed_with_nothing = hmac.new(b"", BODY, "sha256").hexdigest()
    assert not verify(account(secret), inbound(BODY, signed_with_nothing))
    assert not verify(account(secret), inbound(BODY, ""))


@pytest.mark.parametrize(
    ("freshness", "late", "genuine"),
    [(0.0, 1e9, True), (300, 299, True), (300, 301, False), (300, -301, False), (300.5, 300.25, True)],
)
def test_how_old_a_webhook_may_be_is_a_setting(freshness: float, late: float, genuine: bool) -> None:
    fresh = account(freshness=freshness)

    assert verify(fresh, inbound(BODY, SIGNATURE, PRODUCED + late)) is genuine


def test_with_that_setting_what_names_no_time_is_too_old() -> None:
    body = b'{"event":"payment.received"}'
    signature = subprocess.run(
        ["openssl", "dgst", "-sha256", "-hmac", SECRET, "-r"], input=body, capture_output=True, check=True
    ).stdout[:64]
    signed = inbound(body, signature.decode())

    assert verify(account(), signed)
    assert not verify(account(freshness=300.0), signed)


REPORT = {"message_id": "msg_1", "to": "auro_usr_8f3k29d1a7", "timestamp": "2026-04-13T14:30:02Z"}


@pytest.mark.parametrize(
    ("event", "more", "status", "reason"),
    [
        ("message.delivered", {}, Status.DELIVERED, ""),
        ("message.read", {}, Status.READ, ""),
        ("message.failed", {}, Status.FAILED, "not_delivered"),
        ("message.failed", {"error": {"code": "undeliverable", "message": "To +1 555 0100."}}, Status.FAILED,
         "undeliverable"),
        ("message.failed", {"error": {"code": "+15550100"}}, Status.FAILED, "not_delivered"),
        ("message.failed", {"error": "gone"}, Status.FAILED, "not_delivered"),
        ("message.read", {"status": "failed"}, Status.READ, ""),  # the event's name is documented, its data is not
    ],
)  # fmt: skip
def test_a_report_names_message_status_and_reason(
    event: str, more: dict[str, Any], status: Status, reason: str
) -> None:
    [said] = told({"event": event, "timestamp": "2026-04-13T15:00:00Z", "data": REPORT | more})

    assert (said.kind, said.provider_message_id, said.status, said.reason) == ("status", "msg_1", status, reason)
    assert (said.at, said.recipient, said.data) == (PRODUCED, "auro_usr_8f3k29d1a7", {})
    assert "msg_1" not in repr(said)
    assert "auro_usr" not in repr(said)


def test_of_a_report_no_more_than_the_message_is_required() -> None:
    [said] = told({"event": "message.read", "data": {"message_id": "msg_1"}})

    assert (said.provider_message_id, said.status, said.at, said.recipient) == ("msg_1", Status.READ, None, "")


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (
            "message.received",
            {
                "message_id": "msg_r1e2c3v4d5",
                "conversation_id": "conv_x1y2z3",
                "from": "auro_usr_8f3k29d1a7",
                "type": "text",
                "text": "When will it arrive?",
                "timestamp": "2026-04-13T14:30:02Z",
            },
        ),
        ("conversation.started", {"conversation_id": "conv_1", "from": "x", "timestamp": "2026-04-13T14:30:02Z"}),
        ("payment.received", {"payment_id": "p", "amount": "1.00", "currency": "AURO"}),
        ("reaction.added", {"anything": [1, {"deep": None}]}),
    ],
)
def test_what_happens_to_the_account_is_handed_on_whole(event: str, data: dict[str, Any]) -> None:
    [said] = told({"event": event, "timestamp": "2026-04-13T14:30:02Z", "data": data})

    assert (said.kind, said.data, said.at) == (event.replace(".", "_"), data, PRODUCED)
    assert (said.status, said.provider_message_id) == (None, "")


def keys(*bodies: object) -> int:
    return len({event.key for body in bodies for event in told(body)})


def test_the_same_event_is_known_by_name_message_and_time() -> None:
    one = {"event": "message.read", "timestamp": "2026-04-13T14:30:02Z", "data": REPORT}
    again = {"event": "message.read", "timestamp": "2026-04-13T14:40:00Z", "data": REPORT | {"to": "somebody"}}

    assert keys(one, again) == 1
    assert keys(one, one | {"event": "message.delivered"}) == 2
    assert keys(one, one | {"data": REPORT | {"message_id": "msg_2"}}) == 2
    assert keys(one, one | {"data": REPORT | {"timestamp": "2026-04-13T14:30:03Z"}}) == 2


def test_what_lacks_message_or_time_is_known_by_its_bytes() -> None:
    payment = {"event": "payment.received", "data": {"payment_id": "p"}}
    [said] = told(payment)

    assert said.key == sha256(json.dumps(payment).encode())
    assert keys(payment, {"event": "payment.received", "data": {"payment_id": "q"}}) == 2
    assert (
        keys(
            b'{"event":"message.read","data":{"message_id":"m"}}',
            b'{"event":"message.read", "data":{"message_id":"m"}}',
        )
        == 2
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"message.read"',
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b"1" * 10_000,
        {},
        {"event": "message.read"},
        {"event": "message.read", "data": []},
        {"event": "message.read", "data": {"message_id": 5}},
        {"event": "message.read", "data": {"message_id": "../../profile"}},
        {"event": "status", "data": {}},
        {"event": "Message Read!", "data": {}},
        {"event": ["message.read"], "data": {"message_id": "m"}},
    ],
)
def test_what_cannot_be_read_says_nothing(body: bytes | object) -> None:
    assert told(body) == []


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
envelopes = st.fixed_dictionaries(
    {},
    optional={
        "event": st.sampled_from(["message.read", "message.failed", "message.received", "status"]) | anything,
        "timestamp": st.sampled_from(["2026-04-13T14:30:02Z", "0001-01-01T00:00:00+23:59"]) | anything,
        "data": st.dictionaries(
            st.sampled_from(["message_id", "to", "timestamp", "error", "from"]), st.sampled_from(["m", "{}"]) | anything
        )
        | anything,
    },
)


@given(body=st.binary(max_size=200) | envelopes.map(lambda envelope: json.dumps(envelope).encode()))
def test_no_bytes_make_it_raise(body: bytes) -> None:
    for event in told(body):
        assert 0 < len(event.key) <= 64
        assert 0 < len(event.kind) <= 64
        assert (event.kind == "status") == (event.status is not None) == bool(event.provider_message_id)
        json.dumps(event.data).encode()
    verify(account(freshness=300.0), inbound(body, "0" * 64))
