"""aulm's webhooks, by its API reference 1.0.0: which are genuine, and what each of them says."""

import hmac
import json
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from paceline.status import Status
from providers.answers import sha256
from providers.aulm import PROVIDER
from providers.aulm.events import parse_event, verify
from providers.base import Account, Event, Inbound

SECRET = "aulm_whsec_b7e2d90c5f"
BODY = (
    b'{"event":"message_status","delivery_id":"3d6c9a52-1f7e-4b0a-8c34-5e9f2a7b1c60",'
    b'"session_id":"9b2f4c1e-6d3a-4e57-a1c8-0f7d5b3e2a94","message_id":"3EB0C767D26A1D8F2B4E","status":"delivered",'
    b'"to":"+966512345678","occurred_at":"2026-05-28T10:15:43.000Z"}'
)
SIGNATURE = "sha256=7a6dc380242b968d1018e28f38e581417ebf690030c791d119b176b84e849f1e"
AT = datetime(2026, 5, 28, 10, 15, 43, tzinfo=UTC).timestamp()
REPORT: dict[str, Any] = json.loads(BODY)
WRITTEN: dict[str, Any] = {
    "event": "inbound_message",
    "delivery_id": "c0a8f1d2-3b4c-4d5e-8f60-718293a4b5c6",
    "session_id": "9b2f4c1e-6d3a-4e57-a1c8-0f7d5b3e2a94",
    "from": "+966512345678",
    "message_id": "3A5F0B",
    "type": "text",
    "body": "hi",
    "received_at": "2026-05-28T10:15:42.000Z",
}


def account(secret: str | None = SECRET) -> Account:
    credentials = {"api_key": "k", "session_id": "s"} | ({} if secret is None else {"webhook_secret": secret})
    return Account("aulm-main", PROVIDER.base_url, credentials)


def inbound(body: object, headers: Mapping[str, str] | None = None) -> Inbound:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Inbound("POST", "/hooks/aulm-main", "", headers or {}, raw, AT)


def signed(body: bytes, signature: str) -> Inbound:
    return inbound(body, {"x-aulm-signature": signature})


def told(body: object, **headers: str) -> list[Event]:
    return list(parse_event(account(), inbound(body, {name.replace("_", "-"): v for name, v in headers.items()})))


def test_the_references_worked_example_is_genuine() -> None:
    assert len(BODY) == 250
    assert verify(account(), signed(BODY, SIGNATURE))


def test_the_same_json_in_other_bytes_has_another_signature() -> None:
    assert not verify(account(), signed(json.dumps(json.loads(BODY)).encode(), SIGNATURE))


@settings(max_examples=25)  # each starts a process
@given(body=st.binary(max_size=300), secret=st.text("0123456789abcdef_", min_size=1, max_size=40))
@example(body=BODY, secret=SECRET)
def test_the_signature_is_openssls(body: bytes, secret: str) -> None:
    """Checked against a second implementation, for any bytes."""
    command = ["openssl", "dgst", "-sha256", "-hmac", secret, "-r"]
    other = subprocess.run(command, input=body, capture_output=True, check=True).stdout.split()[0].decode()

    assert verify(account(secret), signed(body, f"sha256={other}"))
    assert not verify(account(secret + "0"), signed(body, f"sha256={other}"))
    assert not verify(account(secret), signed(body + b" ", f"sha256={other}"))


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "sha256=",
        SIGNATURE.removeprefix("sha256="),
        SIGNATURE[:-1],
        SIGNATURE + "0",
        SIGNATURE.upper(),
        "sha256=" + SIGNATURE.removeprefix("sha256=").upper(),
        "SHA256=" + SIGNATURE.removeprefix("sha256="),
        "sha512=" + SIGNATURE.removeprefix("sha256="),
        f" {SIGNATURE}",
        f"{SIGNATURE}, {SIGNATURE}",  # a header that came twice
        "sha256=" + "é" * 64,
        "sha256=" + "\ud800" * 64,
        "sha256=" + "0" * 64,
    ],
)
def test_anything_but_the_whole_header_is_refused(signature: str) -> None:
    assert not verify(account(), signed(BODY, signature))
    assert not verify(account(), inbound(BODY))


@pytest.mark.parametrize("secret", [None, ""])
def test_without_a_secret_nothing_is_genuine(secret: str | None) -> None:
    assert not verify(account(secret), signed(BODY, "sha256=" + hmac.new(b"", BODY, "sha256").hexdigest()))


@pytest.mark.parametrize(
    ("word", "status", "reason"),
    [
        ("sent", Status.SENT, ""),
        ("delivered", Status.DELIVERED, ""),
        ("read", Status.READ, ""),
        ("played", Status.READ, ""),
        ("failed", Status.FAILED, "not_delivered"),
    ],
)
def test_a_report_names_message_status_recipient_and_time(word: str, status: Status, reason: str) -> None:
    [said] = told(REPORT | {"status": word})

    assert (said.kind, said.provider_message_id, said.status) == ("status", "3EB0C767D26A1D8F2B4E", status)
    assert (said.reason, said.recipient, said.at, said.data) == (reason, "+966512345678", AT, {})
    assert not any(secret in repr(said) for secret in ("3EB0", "+966512345678"))


def test_a_test_keys_message_stays_simulated_whatever_is_reported_of_it() -> None:
    """Given a message that a test key sent, then each report says that nothing reached anybody."""
    reasons = {
        word: told(REPORT | {"status": word, "message_id": "sim_4f1d9c"})[0].reason for word in ("delivered", "failed")
    }

    assert reasons == {"delivered": "simulated", "failed": "simulated, not_delivered"}


def test_of_a_report_no_more_than_message_and_status_is_required() -> None:
    [said] = told({"event": "message_status", "message_id": "3EB0", "status": "read"})

    assert (said.provider_message_id, said.status, said.at, said.recipient) == ("3EB0", Status.READ, None, "")


def test_what_somebody_wrote_is_handed_on_whole() -> None:
    [said] = told(WRITTEN)

    assert (said.kind, said.data, said.at) == ("inbound_message", WRITTEN, AT - 1)
    assert (said.status, said.provider_message_id, said.opted_out, said.opted_in) == (None, "", "", "")


@pytest.mark.parametrize(
    ("more", "opted_out", "opted_in"),
    [
        ({"body": "STOP"}, "+966512345678", ""),
        ({"body": " stop.\n"}, "+966512345678", ""),
        ({"body": "Unsubscribe"}, "+966512345678", ""),
        ({"body": "START"}, "", "+966512345678"),
        ({"body": "unstop"}, "", "+966512345678"),
        ({"body": "stop by at four?"}, "", ""),
        ({"body": "STOP", "type": "image"}, "", ""),  # a caption is no answer
        ({"body": "STOP", "from": "966512345678@c.us"}, "", ""),
        ({"body": ["STOP"]}, "", ""),
        ({"body": None}, "", ""),
    ],
)
def test_who_writes_stop_wants_nothing_more(more: dict[str, Any], opted_out: str, opted_in: str) -> None:
    [said] = told(WRITTEN | more)

    assert (said.opted_out, said.opted_in) == (opted_out, opted_in)
    assert "+966512345678" not in repr(said)


@pytest.mark.parametrize("body", [REPORT, WRITTEN | {"body": "STOP"}])
def test_a_delivery_fired_as_a_test_is_genuine_and_says_nothing(body: dict[str, Any]) -> None:
    raw = json.dumps(body | {"test": True}).encode()
    signature = "sha256=" + hmac.new(SECRET.encode(), raw, "sha256").hexdigest()

    assert verify(account(), signed(raw, signature))
    assert told(raw) == []
    assert len(told(body | {"test": False})) == 1


def test_an_event_whose_name_is_new_is_handed_on_under_it() -> None:
    [said] = told({"event": "session_lost", "session_id": "s", "occurred_at": "2026-05-28T10:15:43.000Z"})

    assert (said.kind, said.at, said.data["session_id"]) == ("session_lost", AT, "s")


def test_a_repetition_is_known_by_its_delivery_id_and_the_header_wins() -> None:
    [one], [again] = told(REPORT), told(REPORT | {"occurred_at": "2026-05-28T10:20:00.000Z"})
    [headed] = told(REPORT, x_aulm_delivery_id="another")
    [moved] = told(REPORT | {"delivery_id": "third"}, x_aulm_delivery_id="another")
    [bare] = told({name: value for name, value in REPORT.items() if name != "delivery_id"})

    assert one.key == again.key
    assert one.key != headed.key == moved.key
    assert bare.key == sha256(json.dumps({n: v for n, v in REPORT.items() if n != "delivery_id"}).encode())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"message_status"',
        b"\xff\xfe\x00",
        b"[" * 100_000,
        {},
        {"event": "message_status"},
        {"event": "message_status", "message_id": "3EB0"},
        {"event": "message_status", "message_id": "3EB0", "status": "teleported"},
        {"event": "message_status", "message_id": 5, "status": "read"},
        {"event": "status"},
        {"event": "Message Status"},
        {"event": ["inbound_message"]},
    ],
)
def test_what_cannot_be_read_says_nothing(body: object) -> None:
    assert told(body) == []


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
envelopes = st.fixed_dictionaries(
    {},
    optional={
        "event": st.sampled_from(["message_status", "inbound_message", "status"]) | anything,
        "status": st.sampled_from(["read", "failed"]) | anything,
        "message_id": st.just("3EB0") | anything,
        "delivery_id": anything,
        "from": st.just("+966512345678") | anything,
        "to": anything,
        "type": st.just("text") | anything,
        "body": st.just("STOP") | anything,
        "received_at": st.just("0001-01-01T00:00:00+23:59") | anything,
    },
)


@given(
    body=st.binary(max_size=200) | envelopes.map(lambda envelope: json.dumps(envelope).encode()),
    delivery=st.text(max_size=40),
)
def test_no_bytes_make_it_raise(body: bytes, delivery: str) -> None:
    for event in parse_event(account(), inbound(body, {"x-aulm-delivery-id": delivery})):
        assert len(event.key) == 64
        assert 0 < len(event.kind) <= 64
        assert (event.kind == "status") == (event.status is not None) == bool(event.provider_message_id)
        assert not (event.opted_out and event.opted_in)
        json.dumps(event.data).encode()
    verify(account(), signed(body, "sha256=" + "0" * 64))
