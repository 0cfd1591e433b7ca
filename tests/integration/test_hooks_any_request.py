"""Any request at all over ASGI: a documented answer, and nothing is stored that was not verified."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from providers.registry import PROVIDERS
from tests.integration.hooks_world import SIGNED, World, signature, world
from worker.hooks.app import LARGEST, SENTENCES

DESCRIPTION = json.loads((Path(__file__).parents[2] / "docs" / "reference" / "hooks.openapi.json").read_text())
ANSWERS = DESCRIPTION["paths"]["/hooks/{account}"]["post"]["responses"]
DOCUMENTED = {int(status) for status in ANSWERS} - {400}  # that one is said before the application is asked
FEW = settings(max_examples=200)
ACCOUNTS = [f"{name}-main" for name in PROVIDERS]

PATHS = st.sampled_from([f"/hooks/{account}" for account in ACCOUNTS]) | st.text(max_size=8).map(
    lambda text: f"/hooks/{text}"
)
METHODS = st.sampled_from(["POST", "POST", "POST", "GET", "HEAD", "PUT", "OPTIONS"]) | st.text(max_size=5)
NAMES = st.sampled_from([
    b"x-aurogy-signature", b"x-aulm-signature", b"x-webhook-signature", b"x-timestamp", b"authorization", b"digest",
    b"date", b"host", b"content-type", b"content-length", b"transfer-encoding", b"x-aulm-delivery-id", b"x-any",
])  # fmt: skip
HEADERS = st.lists(
    st.tuples(
        NAMES,
        st.sampled_from([
            b"", b"0", b"9" * 30, b"-1", b"sha256=", b"sha256=" + b"0" * 64, b"application/json",
            b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=x", b"Signature keyId=\"x\"",
            b'Signature keyId="x",algorithm="hmac-sha256",headers="date",signature="AAAA"',
        ])
        | st.binary(max_size=30),
    ),
    max_size=5,
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from([
    "event", "timestamp", "data", "message_id", "to", "from", "status", "error", "type", "body", "id", "token",
    "signature", "MessageSid", "SmsStatus", "To", "occurred_at", "delivery_id", "emailId", "recipient", "smsId",
])  # fmt: skip
VALUES = JSON | st.sampled_from([
    "message.delivered", "message.failed", "message.received", "message_status", "inbound_message", "delivered", "read",
    "failed", "STOP", "+966512345678", "2026-04-13T14:30:02Z", "msg_1", "\x00", "\ud800", "x" * 3000, 10**30,
])  # fmt: skip
EVENTS = st.recursive(
    st.dictionaries(FIELDS, VALUES, max_size=6),
    lambda inner: st.dictionaries(FIELDS, inner | VALUES, max_size=6),
    max_leaves=4,
)
BODIES = st.lists(st.binary(max_size=60), max_size=4) | (EVENTS | JSON).map(lambda data: [json.dumps(data).encode()])


@pytest.fixture(scope="module")
def hooks(sqlite_template: Path) -> Iterator[World]:
    with world(sqlite_template) as made:
        yield made


@FEW
@given(method=METHODS, path=PATHS, query=st.binary(max_size=20), headers=HEADERS, body=BODIES)
@example("POST", "/hooks/aurogy-main", b"m=x.y", [(b"content-length", b"9" * 5000)], [b"{}"])
@example("POST", "/hooks/aurogy-main", b"m=\xff", [], [b""])
@example("POST", "/hooks/augnet-main", b"m=" + b"&m=" * 2000, [], [b"{}"])
@example("POST", "/hooks/augnet-main", b"m=a.b", [(b"digest", b"\xff"), (b"authorization", b"Signature \xff")], [b"{}"])
@example("POST", "/hooks/aurogy-main", b"", [], [b"x" * (LARGEST + 1)])
@example("POST", "/hooks/aurogy-main", b"", [(b"content-length", str(LARGEST + 1).encode())], [b"x"])
def test_whatever_is_asked_is_answered_as_documented_and_nothing_is_stored(
    hooks: World, method: str, path: str, query: bytes, headers: list[tuple[bytes, bytes]], body: list[bytes]
) -> None:
    before = hooks.stored()

    status = hooks.ask(method, path, query, headers, body)

    assert status in DOCUMENTED - {503}
    content = ANSWERS[str(status)].get("content", {"": {"schema": {"const": ""}}})
    [(media_type, described)] = content.items()
    assert hooks.said == described["schema"]["const"].encode()
    answered = {name.decode(): value.decode() for name, value in hooks.headers}
    assert answered.get("content-type", "") == media_type
    assert {name: answered.get(name.lower()) for name in ANSWERS[str(status)].get("headers", {})} == {
        name: header["schema"]["const"] for name, header in ANSWERS[str(status)].get("headers", {}).items()
    }
    assert hooks.stored() == before
    if method not in ("POST", "GET", "HEAD"):
        assert status == 405


def test_what_is_documented_is_what_can_be_answered() -> None:
    """No status is in the description that the receiver never gives, and none is missing there."""
    assert set(SENTENCES) == DOCUMENTED


@FEW
@given(account=st.sampled_from(sorted(SIGNED)), body=BODIES.map(b"".join))
@example("aurogy-main", b"[" * 60_000)
@example("aurogy-main", b'{"event": "message.received", "data": {"text": "\\ud800\\u0000"}}')
@example("aulm-main", b'{"event":"message_status","message_id":"x","status":"delivered","occurred_at":"9999-99-99"}')
@example("aulm-main", b'{"event": "inbound_message", "from": "+966512345678", "body": 1e999}')
def test_whatever_is_signed_is_stored_once_whatever_it_says(hooks: World, account: str, body: bytes) -> None:
    before = hooks.stored()
    headers = signature(account, body)

    first = hooks.ask("POST", f"/hooks/{account}", headers=headers, body=[body])
    after = hooks.stored()
    again = hooks.ask("POST", f"/hooks/{account}", headers=headers, body=[body[:7], body[7:]])

    assert (first, again) == (200, 200)
    assert after - before in (0, 1) or b"[" in body  # 0: it came in an earlier example; several of one list
    assert hooks.stored() == after


@FEW
@given(
    account=st.sampled_from(sorted(SIGNED)),
    body=st.binary(min_size=1, max_size=50),
    place=st.integers(0, 10_000),
    bit=st.integers(0, 7),
)
def test_one_bit_makes_a_signature_worthless(hooks: World, account: str, body: bytes, place: int, bit: int) -> None:
    before = hooks.stored()
    changed = bytearray(body)
    changed[place % len(body)] ^= 1 << bit

    assert hooks.ask("POST", f"/hooks/{account}", headers=signature(account, body), body=[bytes(changed)]) == 401
    assert hooks.stored() == before


@FEW
@given(data=EVENTS)
def test_an_unsigned_event_is_believed_only_at_its_messages_own_address(hooks: World, data: dict[str, Any]) -> None:
    """Given any token but the one that was made for the message, then nothing is believed."""
    before = hooks.stored()
    genuine = hooks.callbacks.url("augnet-main", "m1").partition("?")[2].encode()
    forged = genuine[:-1] + (b"0" if genuine[-1:] != b"0" else b"1")

    for query in (forged, genuine.replace(b"m1.", b"m2."), genuine + b"&" + genuine, genuine.upper()):
        assert hooks.ask("POST", "/hooks/augnet-main", query, [], [json.dumps(data).encode()]) == 401
    assert hooks.stored() == before
